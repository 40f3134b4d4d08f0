"""A clock that a test moves."""

from __future__ import annotations

from math import ceil, inf

from actors.clock import Clock, wall_time
from actors.validation import check_number

__all__ = ["ManualClock"]


class ManualClock(Clock):
    """A clock that stands still until it is moved. Its Unix time is that of its creation, and moves with it."""

    # Its Unix time moves with it, and is not set.
    longest_look = inf

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self._now = start
        # In whole seconds, so that sums are exact, and not before what the code under test has read from `time.time()`.
        self._offset = ceil(wall_time()) - start

    def now(self) -> float:
        """Return the time that the clock was moved to."""
        return self._now

    def unix_time(self) -> float:
        """Return the Unix time in seconds, of a machine that is as slow or as fast as the test."""
        return self._offset + self._now

    def _rearm(self) -> None:
        """Do nothing: moving the clock fires the timers that are due."""

    def after(self, seconds: float) -> float:
        """Return the time that is `seconds` from now.

        Raises:
            ValueError: unless `seconds` is a number >= 0.
        """
        check_number("seconds", seconds)
        return self._now + seconds

    def step(self, end: float) -> bool:
        """Move to the next timer up to `end` and fire it; without one, move to `end` and return False."""
        at = self.next_at()
        if at is None or at > end:
            self._now = max(self._now, end)
            return False
        self._now = max(self._now, at)
        self._fire_until(self._now)
        return True
