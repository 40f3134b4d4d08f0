"""Idle connections expire; those that were read, or are not read for a while, do not."""

from __future__ import annotations

import pytest

from transport.carriers.idle_connections import IdleConnections


class Connection:
    """A connection that tells when it has been expired."""

    def __init__(self) -> None:
        self.sweeps = 0
        self.expired = False

    def expire(self) -> None:
        self.expired = True


def sweep(idle: IdleConnections, times: int = 1) -> None:
    for _ in range(times):
        idle.sweep()


def test_a_silent_connection_expires_when_the_timeout_has_passed() -> None:
    idle, silent = IdleConnections(60.0), Connection()
    idle.add(silent)
    sweep(idle, 12)
    assert idle.interval * 12 == 60.0
    assert not silent.expired
    sweep(idle)
    assert silent.expired


def test_a_connection_from_which_something_came_stays() -> None:
    idle, busy, silent = IdleConnections(), Connection(), Connection()
    idle.add(busy)
    idle.add(silent)
    for _ in range(20):
        busy.sweeps = 0
        sweep(idle)
    assert (busy.expired, silent.expired) == (False, True)


def test_a_connection_that_has_gone_is_not_expired() -> None:
    idle, gone = IdleConnections(), Connection()
    idle.add(gone)
    idle.discard(gone)
    sweep(idle, 20)
    assert not gone.expired
    assert len(idle) == 0


def test_a_connection_that_expires_may_take_another_one_with_it() -> None:
    class Couple(Connection):
        def expire(self) -> None:
            super().expire()
            for connection in couple:
                idle.discard(connection)

    idle, couple = IdleConnections(), [Couple(), Couple()]
    for connection in couple:
        idle.add(connection)
    sweep(idle, 13)
    assert sorted(connection.expired for connection in couple) == [False, True]
    assert len(idle) == 0


def test_the_time_of_a_connection_that_is_read_again_begins_anew() -> None:
    idle, connection = IdleConnections(), Connection()
    idle.add(connection)
    sweep(idle, 12)
    idle.discard(connection)
    sweep(idle, 100)
    idle.add(connection)
    sweep(idle, 12)
    assert not connection.expired
    sweep(idle)
    assert connection.expired


@pytest.mark.parametrize("timeout", [0, -1.0])
def test_a_timeout_must_be_positive(timeout: float) -> None:
    with pytest.raises(ValueError, match=f"idle_timeout must be seconds > 0, got {timeout}"):
        IdleConnections(timeout)
