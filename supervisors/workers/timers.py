"""Timers of a program without an event loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from actors.clock import monotonic_time

__all__ = ["Timers"]


class Timers:
    """Calls functions when their time has come, as often as `run` is called."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def call_at(self, at: float, function: Callable[[], object]) -> None:
        """Call a function at a monotonic time; never at infinity."""
        if at < math.inf:
            heappush(self._waiting, (at, next(self._numbers), function))

    def call_after(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function after so many seconds; never after infinity."""
        self.call_at(monotonic_time() + seconds, function)

    def seconds_left(self) -> float | None:
        """Return how long to wait for the next one, None if there is none."""
        return max(0.0, self._waiting[0][0] - monotonic_time()) if self._waiting else None

    def run(self) -> None:
        """Call the functions whose time has come."""
        while self._waiting and self._waiting[0][0] <= monotonic_time():
            heappop(self._waiting)[2]()
