"""A question of one worker to all of them: the answers so far, and the result. Pure data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["ANSWER", "Gathered", "Gathering"]

ANSWER = 1.0
"""Seconds in which the workers answer a question to all of them."""


class Gathered(msgspec.Struct):
    """What came of a question to all workers.

    - `answers`: of the workers that have answered in time, by process id.
    - `kept`: the sum of the numbers that the others have told before, and those that have ended (`Tallies`).
    - `workers`: the number of workers that were asked.
    - `deaths`: the number of workers that have died since the start.
    """

    answers: dict[int, Any]
    kept: dict[str, float]
    workers: int
    deaths: int


class Gathering:
    """Collects the answers of so many workers; `done(answers)` is called with them once, after the last or at the `end`."""

    def __init__(self, workers: int, done: Callable[[dict[int, Any]], object]) -> None:
        self._workers, self._done = workers, done
        self._answers: dict[int, Any] = {}
        self._is_over = False

    def take(self, pid: int, answer: object) -> None:
        """Store the answer of a worker; `None` says that it has nothing to tell."""
        self._workers -= 1
        if answer is not None:
            self._answers[pid] = answer
        if not self._workers:
            self.end()

    def end(self) -> None:
        """Wait no longer."""
        if not self._is_over:
            self._is_over = True
            self._done(dict(self._answers))
