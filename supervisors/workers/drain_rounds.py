"""The rounds in which several workers end their connections: pure rules, on the clock of the parent.

In each round every worker that stops says how many connections it has left, and is told how many of them to end. All of them
together are one batch at most, and the next one is not given out before its interval is over; so it takes as many rounds as if
all connections were in one process.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["DrainRounds", "DrainShare"]

PATIENCE = 1.0
"""Seconds that the workers which have said what is left wait for one that does not, as something blocks its event loop."""


class DrainShare(NamedTuple):
    """How many connections a worker ends in the round with this number, of all that all workers had at the first one."""

    number: int
    number_of_round: int
    total: int


class DrainRounds:
    """The rounds of one endpoint; workers are known by any number."""

    def __init__(self, batch_size: int, interval: float) -> None:
        self._size, self._interval = batch_size, interval
        self._left: dict[int, int] = {}
        self._not_before = -math.inf
        self._first_at = math.inf
        self._index = self._total = 0

    def report(self, worker: int, left: int, now: float) -> None:
        """Take down what a worker has left; it waits for its share."""
        if not self._left:
            self._first_at = now
        self._left[worker] = left

    def withdraw(self, worker: int) -> None:
        """Forget a worker that has ended."""
        self._left.pop(worker, None)

    def due_at(self, stopping: Iterable[int]) -> float:
        """Return when the next shares are to be given out, to the workers that stop; infinity if none waits for one."""
        if not self._left:
            return math.inf
        at = self._first_at
        if not self._left.keys() >= set(stopping):
            at += max(PATIENCE, self._interval)
        return max(at, self._not_before) if any(self._left.values()) else at

    def shares(self, now: float) -> dict[int, DrainShare | None]:
        """Give out the shares of the workers that wait: how many connections to end now, None if no worker has any left."""
        left, self._left = self._left, {}
        if not any(left.values()):
            # Those that stop later begin with the first round.
            self._index = self._total = 0
            return dict.fromkeys(left)
        self._not_before = now + self._interval
        self._index += 1
        self._total = self._total or sum(left.values())
        batch, shares = self._size, dict[int, DrainShare | None]()
        for worker, connections in left.items():
            number = min(batch, connections)
            shares[worker] = DrainShare(number, self._index, self._total)
            batch -= number
        return shares
