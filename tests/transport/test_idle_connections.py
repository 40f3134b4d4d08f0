"""Idle connections expire; those that were not read, or whose bytes are still to be read, do not."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest

from transport.carriers.idle_connections import IdleConnections

if TYPE_CHECKING:
    from collections.abc import Callable


class Connection:
    """A connection that tells when it has been expired."""

    def __init__(self) -> None:
        self.sweeps = 0
        self.expired = False

    def expire(self) -> None:
        self.expired = True


class Loop:
    """An event loop that sweeps; in each of its turns it calls what is to be called soon, and then reads."""

    def __init__(self, idle: IdleConnections) -> None:
        self.idle, self.now = idle, 0.0
        self._soon: deque[Callable[[], object]] = deque()

    def sweep(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += self.idle.interval
            self.sweep_now()
            self.turn()
            self.turn()

    def sweep_now(self) -> None:
        self.idle.sweep(self.now, self._soon.append)

    def turn(self, *read: Connection) -> None:
        for _ in range(len(self._soon)):
            self._soon.popleft()()
        for connection in read:
            connection.sweeps = 0


def test_a_silent_connection_expires_when_the_timeout_has_passed() -> None:
    idle, silent = IdleConnections(60.0), Connection()
    loop = Loop(idle)
    idle.add(silent)
    loop.sweep(12)
    assert idle.interval * 12 == 60.0
    assert not silent.expired
    loop.sweep()
    assert silent.expired


def test_a_connection_from_which_something_came_stays() -> None:
    idle, busy, silent = IdleConnections(), Connection(), Connection()
    loop = Loop(idle)
    idle.add(busy)
    idle.add(silent)
    for _ in range(20):
        busy.sweeps = 0
        loop.sweep()
    assert (busy.expired, silent.expired) == (False, True)


def test_a_connection_that_has_gone_is_not_expired() -> None:
    idle, gone = IdleConnections(), Connection()
    idle.add(gone)
    idle.discard(gone)
    Loop(idle).sweep(20)
    assert not gone.expired
    assert len(idle) == 0


def test_the_sweeps_that_were_missed_in_a_stall_count_as_one() -> None:
    idle, connection = IdleConnections(), Connection()
    loop = Loop(idle)
    idle.add(connection)
    loop.sweep(2)
    loop.now += 1000
    for _ in range(50):
        loop.sweep_now()
        loop.turn()
    assert connection.sweeps == 3
    loop.sweep()
    assert connection.sweeps == 4


def test_nobody_expires_before_one_turn_of_reading() -> None:
    idle, beating, silent = IdleConnections(), Connection(), Connection()
    loop = Loop(idle)
    idle.add(beating)
    idle.add(silent)
    loop.sweep(12)
    loop.now += 1000
    loop.sweep_now()
    loop.turn(beating)  # what it has sent was waiting in the kernel
    assert not silent.expired
    loop.turn()
    assert (beating.expired, silent.expired) == (False, True)


def test_a_connection_that_goes_before_that_turn_is_not_expired() -> None:
    idle, connection = IdleConnections(), Connection()
    loop = Loop(idle)
    idle.add(connection)
    loop.sweep(12)
    loop.now += idle.interval
    loop.sweep_now()
    idle.discard(connection)
    loop.turn()
    loop.turn()
    assert not connection.expired


def test_the_time_of_a_connection_that_is_read_again_begins_anew() -> None:
    idle, connection = IdleConnections(), Connection()
    loop = Loop(idle)
    idle.add(connection)
    loop.sweep(12)
    idle.discard(connection)
    loop.sweep(100)
    idle.add(connection)
    loop.sweep(12)
    assert not connection.expired
    loop.sweep()
    assert connection.expired


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match=f"idle_timeout must be seconds > 0, got {timeout}"):
        IdleConnections(timeout)
