"""How often something may happen: a token bucket, whose debt says how long to wait."""

from __future__ import annotations

from dataclasses import dataclass

from actors.validation import check_count, check_number

__all__ = ["Bucket", "Rate"]


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of events in a second, on average, and how many may happen at once after a pause.

    Raises:
        ValueError: if one of them is not above zero.
    """

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        check_number("per_second", self.per_second, "> 0")
        check_count("burst", self.burst, least=1)


class Bucket:
    """The events of one connection, counted against a `Rate`."""

    __slots__ = ("_left", "_rate", "_since")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate, self._left, self._since = rate, float(rate.burst), now

    def spend(self, now: float, count: int = 1) -> float:
        """Count events that happened now; return the seconds to wait before the next one, 0 within the rate."""
        rate = self._rate
        self._left = min(rate.burst, self._left + max(0.0, now - self._since) * rate.per_second) - count
        self._since = now
        return max(0.0, -self._left / rate.per_second)
