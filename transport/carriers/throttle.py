"""A client that is over a rate is read more slowly: what it pays for is time, and nothing it has sent is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.carriers.intake import RATE
from transport.carriers.rate import Bucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.clock import Clock, Timer
    from transport.carriers.intake import Intake
    from transport.limits import Limits

__all__ = ["Throttle"]


class Throttle:
    """Keeps one client within its rates of joins and of messages, by not reading it for as long as it is over one.

    What was received is handled all the same. `reached(limit)` is called once for each wait.
    """

    __slots__ = ("_clock", "_intake", "_joins", "_messages", "_reached", "_timer", "_until")

    def __init__(self, limits: Limits, intake: Intake, clock: Clock, reached: Callable[[str], object]) -> None:
        self._intake, self._clock, self._reached = intake, clock, reached
        self._joins = None if limits.joins is None else Bucket(limits.joins, clock.now())
        self._messages = None if limits.messages is None else Bucket(limits.messages, clock.now())
        self._timer: Timer | None = None
        self._until = 0.0

    def join(self) -> None:
        """Count a join that was received."""
        if self._joins is not None:
            self._count(self._joins, "joins")

    def message(self) -> None:
        """Count a message that was received, a join too."""
        if self._messages is not None:
            self._count(self._messages, "messages")

    def _count(self, bucket: Bucket, limit: str) -> None:
        now = self._clock.now()
        wait = bucket.spend(now)
        if not wait:
            return
        self._until = max(self._until, now + wait)
        if self._timer is None:
            self._timer = self._clock.call_at(self._until, self._go_on)
            self._intake.hold(RATE)
            self._reached(limit)

    def _go_on(self) -> None:
        """Read on, unless more was received meanwhile."""
        self._timer = None
        if self._until > self._clock.now():
            self._timer = self._clock.call_at(self._until, self._go_on)
        else:
            self._intake.release(RATE)

    def end(self) -> None:
        """Forget the wait, as the connection ends."""
        if self._timer is not None:
            self._timer.cancel()
