"""The deadline of a connection: one timer, however often it moves."""

from __future__ import annotations

import pytest

from actors.testing import ManualClock
from transport.http.connection_timer import ConnectionTimer


class Passed(list[float]):
    """The times at which a deadline has passed."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def passed() -> Passed:
    return Passed()


@pytest.fixture
def timer(clock: ManualClock, passed: Passed) -> ConnectionTimer:
    return ConnectionTimer(clock, lambda: passed.append(clock.now()))


def run(clock: ManualClock, end: float) -> None:
    while clock.step(end):
        pass


def test_a_deadline_passes_once(clock: ManualClock, passed: Passed, timer: ConnectionTimer) -> None:
    timer.set(10.0)
    run(clock, 100.0)
    assert passed == [10.0]


@pytest.mark.parametrize("seconds", [3.0, 20.0], ids=["earlier", "later"])
def test_the_last_deadline_counts(clock: ManualClock, passed: Passed, timer: ConnectionTimer, seconds: float) -> None:
    timer.set(10.0)
    run(clock, 5.0)
    timer.set(seconds)
    assert clock.pending() == 1
    run(clock, 100.0)
    assert passed == [5.0 + seconds]


def test_a_deadline_that_was_cleared_does_not_pass_until_another_is_set(
    clock: ManualClock, passed: Passed, timer: ConnectionTimer
) -> None:
    timer.set(10.0)
    timer.clear()
    run(clock, 20.0)
    assert passed == []
    timer.set(10.0)
    run(clock, 30.0)
    assert passed == [30.0]


def test_a_cancelled_deadline_leaves_no_timer(clock: ManualClock, passed: Passed, timer: ConnectionTimer) -> None:
    timer.set(10.0)
    timer.cancel()
    assert clock.pending() == 0
    run(clock, 20.0)
    assert passed == []
