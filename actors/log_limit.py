"""How much is logged of what happens often: the first records of each kind, and the number of the others."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["LogLimit"]

K = TypeVar("K", bound=Hashable)

# Kinds that are remembered before those are forgotten of which nothing is left to report.
_SWEEP = 64


class _Window:
    """The time in which records of a kind are counted, from the first one on."""

    __slots__ = ("admitted", "end", "left_out")

    def __init__(self, end: float) -> None:
        self.end = end
        self.admitted, self.left_out = 1, 0


class LogLimit(Generic[K]):
    """Admits `most` records of each kind within `seconds`, and counts the others."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._windows: dict[K, _Window] = {}

    def admit(self, kind: K, now: float) -> int | None:
        """Return None if a record is to be left out; else how many were left out since the last one, not yet reported."""
        window = self._windows.get(kind)
        if window is not None and now < window.end:
            if window.admitted == self._most:
                window.left_out += 1
                return None
            window.admitted += 1
            return 0
        self._sweep(now)
        self._windows[kind] = _Window(now + self._seconds)
        return 0 if window is None else window.left_out

    def _sweep(self, now: float) -> None:
        if len(self._windows) >= _SWEEP:
            windows = self._windows.items()
            self._windows = {kind: window for kind, window in windows if now < window.end or window.left_out}

    def take(self) -> dict[K, int]:
        """Return how many records of each kind were left out and not yet reported, and forget these numbers."""
        left = {kind: window.left_out for kind, window in self._windows.items() if window.left_out}
        for kind in left:
            self._windows[kind].left_out = 0
        return left
