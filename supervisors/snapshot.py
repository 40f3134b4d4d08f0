"""Incremental views of running actors: totals by sampling, and a search by name.

Each poll inspects a bounded number of actors, so that 100,000 of them can be watched. It is for the thread of the actors' event
loop; nothing is sent to the actors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from heapq import nlargest
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from supervisors.roster import Roster

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler

__all__ = ["Search", "Sweep"]


class _Sample(NamedTuple):
    """Some actors, and how many messages they had handled at a time."""

    processes: list[Process]
    handled: int
    at: float

    def rate(self, now: float) -> float:
        """Return the messages that they have handled in a second since then; a process that has ended keeps its count."""
        return (sum(process.handled for process in self.processes) - self.handled) / (now - self.at)


class Sweep:
    """Samples all actors in turn, except those of `without`, at most `at_once` in each poll.

    The results are those of the last complete round: `rate` is the number of messages that all actors handle in a second,
    `waiting` counts the messages in all mailboxes, `fullest` are the actors with the fullest mailboxes, `roots` those without a
    parent.
    """

    FULLEST = 10
    ROOTS = 100

    def __init__(self, scheduler: Scheduler, *, at_once: int = 10_000, without: Collection[Process] = ()) -> None:
        self.rate, self.waiting = 0.0, 0
        self.fullest: list[Process] = []
        self.roots: list[Process] = []
        self._scheduler, self._at_once, self._without = scheduler, at_once, set(without)
        self._sample: _Sample | None = None
        # Of the latest samples, as many as there are in a round.
        self._rates: deque[float] = deque(maxlen=1)
        self._roster: Roster | None = None

    def _begin_round(self) -> Roster:
        # At the first poll of a round and not after the last of the one before: actors that were started in between are in it.
        roster = Roster(self._scheduler, self._at_once, mixed=True, without=self._without)
        self._rates = deque(self._rates, maxlen=roster.slices)
        self._waiting, self._full, self._roots = 0, [], []  # type: tuple[int, list[Process], list[Process]]
        return roster

    def poll(self) -> None:
        """Inspect the next sample; call it at intervals."""
        if self._roster is None or self._roster.is_done:
            self._roster = self._begin_round()
        now = self._scheduler.clock.now()
        if self._sample is not None and now > self._sample.at:
            self._rates.append(self._sample.rate(now))
            # What the samples so far have on average, for each sample of a round.
            self.rate = sum(self._rates) / len(self._rates) * self._roster.slices
        processes = self._roster.next()
        self._sample = _Sample(processes, sum(process.handled for process in processes), now)
        self._inspect(processes)
        if self._roster.is_done:
            self.waiting, self.fullest, self.roots = self._waiting, self._full, self._roots

    def _inspect(self, processes: list[Process]) -> None:
        full = [process for process in processes if process.queue or process.debug is not None]
        self._waiting += sum(process.waiting for process in full)
        waiting = (process for process in [*self._full, *full] if process.alive and process.waiting)
        self._full = nlargest(self.FULLEST, waiting, key=attrgetter("waiting"))
        orphans = (process for process in processes if process.parent is None)
        self._roots.extend(islice(orphans, self.ROOTS - len(self._roots)))


class Search:
    """Finds actors by words in their names, classes and pids: those that are alive, `at_once` in each poll, then new ones.

    `hits` are the first `most` that were found and are still alive.
    """

    def __init__(self, scheduler: Scheduler, text: str, *, most: int = 100, at_once: int = 2_000) -> None:
        self.words = text.lower().split()
        self.most = most
        self.hits: list[Process] = []
        self._roster = Roster(scheduler, at_once)

    def poll(self) -> bool:
        """Inspect the next actors; return whether all that were alive at the beginning have been inspected."""
        self.hits = [process for process in self.hits if process.alive]
        candidates = self._roster.newcomers() if self._roster.is_done else self._roster.next()
        found = (process for process in candidates if self._matches(process))
        self.hits.extend(islice(found, self.most - len(self.hits)))
        return self._roster.is_done

    def _matches(self, process: Process) -> bool:
        text = f"{process.name} {process.actor_class.__name__}".lower()
        return all(word in text for word in self.words)
