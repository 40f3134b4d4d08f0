"""A client that is over a rate is not read for a while."""

from __future__ import annotations

from actors.testing.manual_clock import ManualClock
from transport.carriers.intake import FULL, RATE, Intake
from transport.carriers.rate import Rate
from transport.carriers.throttle import Throttle
from transport.limits import Limits


class Reader:
    """An intake with a throttle, and what they did."""

    def __init__(self, limits: Limits) -> None:
        self.clock, self.reached = ManualClock(), list[str]()
        self.intake = Intake(limits, lambda: None)
        self.throttle = Throttle(limits, self.intake, self.clock, self.reached.append)

    def advance(self, seconds: float) -> None:
        end = self.clock.after(seconds)
        while self.clock.step(end):
            pass


def test_within_the_rates_reading_goes_on() -> None:
    reader = Reader(Limits(joins=Rate(1, burst=2), messages=Rate(10, burst=5)))
    for _ in range(2):
        reader.throttle.join()
        reader.throttle.message()
    assert reader.intake.held == 0
    assert reader.reached == []
    assert reader.clock.next_at() is None


def test_over_a_rate_reading_pauses_until_the_rate_allows_the_next_one() -> None:
    reader = Reader(Limits(joins=Rate(2, burst=1)))
    reader.throttle.join()
    reader.throttle.join()
    assert reader.intake.held == RATE
    assert reader.reached == ["joins"]
    reader.advance(0.4)
    assert reader.intake.held == RATE
    reader.advance(0.1)
    assert reader.intake.held == 0
    reader.throttle.join()
    assert reader.reached == ["joins", "joins"]


def test_what_was_received_already_makes_the_pause_longer() -> None:
    reader = Reader(Limits(messages=Rate(10, burst=10)))
    for _ in range(30):
        reader.throttle.message()
    assert reader.reached == ["messages"]
    reader.advance(1.9)
    assert reader.intake.held == RATE
    reader.advance(0.1)
    assert reader.intake.held == 0


def test_the_slower_of_two_rates_decides() -> None:
    reader = Reader(Limits(joins=Rate(1, burst=1), messages=Rate(10, burst=1)))
    for _ in range(2):
        reader.throttle.message()
        reader.throttle.join()
    assert reader.reached == ["messages"]
    reader.advance(0.9)
    assert reader.intake.held == RATE
    reader.advance(0.1)
    assert reader.intake.held == 0


def test_other_reasons_not_to_read_stay() -> None:
    reader = Reader(Limits(joins=Rate(1, burst=1)))
    reader.throttle.join()
    reader.throttle.join()
    reader.intake.hold(FULL)
    reader.advance(1)
    assert reader.intake.held == FULL


def test_without_rates_nothing_is_counted() -> None:
    reader = Reader(Limits(joins=None, messages=None))
    for _ in range(10_000):
        reader.throttle.join()
        reader.throttle.message()
    assert reader.intake.held == 0


def test_the_end_of_the_connection_ends_the_wait() -> None:
    reader = Reader(Limits(joins=Rate(1, burst=1)))
    reader.throttle.end()
    reader.throttle.join()
    reader.throttle.join()
    reader.throttle.end()
    assert reader.clock.next_at() is None
