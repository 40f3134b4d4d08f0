"""How long a child waits before it is restarted: pure rules, on the clock of the supervisor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.redaction import safe_repr
from actors.validation import check_share, is_number, is_within

__all__ = ["Backoff", "Waits"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff of restarts: `min` seconds, then `factor` times as long each time, up to `max`.

    A child that has run for more than `max` seconds starts at `min` again. `jitter`, from 0 to 1, is the share of a wait that
    is randomly taken off, so that children that failed together are not restarted together.

    Raises:
        ValueError: naming the invalid option, with its value.
    """

    min: float = 0.1
    max: float = 30.0
    factor: float = 2.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not is_within(self.min, "> 0") or self.min == math.inf:
            raise ValueError(f"min must be seconds > 0, got {safe_repr(self.min)}")
        if not is_number(self.max) or not self.min <= self.max < math.inf:
            raise ValueError(f"max must be seconds >= min ({self.min!r}), got {safe_repr(self.max)}")
        if not is_number(self.factor) or not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be >= 1, got {safe_repr(self.factor)}")
        check_share("jitter", self.jitter)

    def seconds(self, waits: int, chance: float = 0.0) -> float:
        """Return the next wait after `waits` in a row; `chance`, from 0 to 1, is how much of the jitter is taken off."""
        try:
            longest = min(self.max, self.min * float(self.factor) ** waits)
        except OverflowError:
            longest = self.max
        return longest * (1 - self.jitter * chance)


class Waits:
    """The waits of one child in a row."""

    __slots__ = ("_backoff", "_number", "_over_at")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._number = 0
        self._over_at = -math.inf

    def next(self, now: float, chance: float = 0.0) -> float:
        """Return the seconds to wait before restarting a child that ended at the monotonic time `now`."""
        if now - self._over_at > self._backoff.max:
            self._number = 0
        seconds = self._backoff.seconds(self._number, chance)
        self._number += 1
        self._over_at = now + seconds
        return seconds
