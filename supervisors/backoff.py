"""How long a child waits before it is started again: pure rules, for the supervisors and on their clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Backoff", "Waits"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits of a child that ends again and again: `min` seconds, then `factor` times as long each time, up to `max`.

    A child that has run for more than `max` seconds begins at `min` again. `jitter` is the part of a wait, 0 to 1, that chance
    takes off, so that many children that fail together do not come back together.

    Raises:
        ValueError: naming the option that is wrong, with its value.
    """

    min: float = 0.1
    max: float = 30.0
    factor: float = 2.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        for option in ("min", "max", "factor", "jitter"):
            _check_number(option, getattr(self, option))
        if not 0 < self.min < math.inf:
            raise ValueError(f"min must be seconds > 0, got {self.min!r}")
        if not self.min <= self.max < math.inf:
            raise ValueError(f"max must be seconds >= min ({self.min!r}), got {self.max!r}")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"factor must be >= 1, got {self.factor!r}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, got {self.jitter!r}")

    def seconds(self, waits: int, chance: float = 0.0) -> float:
        """Return the next wait after so many `waits` in a row; `chance` (0 to 1) is how much of the jitter is taken off."""
        try:
            longest = min(self.max, self.min * float(self.factor) ** waits)
        except OverflowError:
            longest = self.max
        return longest * (1 - self.jitter * chance)


class Waits:
    """The waits that one child has had in a row."""

    __slots__ = ("_backoff", "_number", "_over_at")

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._number = 0
        self._over_at = -math.inf

    def next(self, now: float, chance: float = 0.0) -> float:
        """Return the seconds to wait for a child that has ended at the monotonic time `now`."""
        if now - self._over_at > self._backoff.max:
            self._number = 0
        seconds = self._backoff.seconds(self._number, chance)
        self._number += 1
        self._over_at = now + seconds
        return seconds


def _check_number(option: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{option} must be a number, got {value!r}")  # noqa: TRY004  # as its other mistakes
