"""What runs, looked at a little at a time: the children of one actor, a sweep over all, and a search by name.

The work is bounded by what is asked for, not by how many actors there are, so that 100,000 of them can be watched. All of it
is for the thread of the actors; nothing is sent to them, and they do not notice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisors.child_spec import ChildKind
from supervisors.supervision import Supervision

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler
    from supervisors.child import Child

__all__ = ["Branch", "Branches", "Search", "Sweep", "branch_of", "branches", "line", "root_of"]


class Branch(NamedTuple):
    """One child: its process, and what its supervisor knows of it. Of one that does not run there is only the latter."""

    process: Process | None
    child: Child | None

    @property
    def restarts(self) -> int:
        """How often its supervisor has started it again."""
        return 0 if self.child is None else self.child.restarts

    @property
    def is_supervisor(self) -> bool:
        """Whether it is there for others."""
        if self.process is not None:
            return issubclass(self.process.actor_class, Supervision)
        return self.child is not None and self.child.spec.kind is ChildKind.SUPERVISOR


class Branches:
    """The children of one actor, in start order; counting those of a supervisor, or taking some, looks at no other.

    A supervisor's are those that it has a spec for, any other actor's those that are linked to it as to their parent.
    """

    def __init__(self, process: Process) -> None:
        actor = process.actor
        self._process = process
        self._children: Any = actor._children if isinstance(actor, Supervision) else None

    def __len__(self) -> int:
        if self._children is not None:
            return len(self._children)
        return sum(1 for _ in self._linked(self._process.links or ()))

    def __iter__(self) -> Iterator[Branch]:
        if self._children is not None:
            return map(_branch, self._children)
        return self._linked(self._process.links or ())

    def __reversed__(self) -> Iterator[Branch]:
        if self._children is not None:
            return map(_branch, reversed(self._children))
        return self._linked(reversed(self._process.links or {}))

    def _linked(self, links: Iterable[Any]) -> Iterator[Branch]:
        return (Branch(process, None) for process in links if process.parent is self._process)


def branches(process: Process) -> Branches:
    """Return the children of an actor, to be looked at before it goes on."""
    return Branches(process)


def branch_of(process: Process) -> Branch:
    """Return a process with what its supervisor, if it has one, knows of it."""
    supervisor = None if process.parent is None else process.parent.ref.process.actor
    known = supervisor._by_ref.get(process.ref) if isinstance(supervisor, Supervision) else None
    return Branch(process, known)


def _branch(child: Child) -> Branch:
    running = child.ref is not None and child.ref.process.alive
    return Branch(child.ref.process if running and child.ref is not None else None, child)


def line(process: Process) -> list[Process]:
    """Return an actor after its ancestors that live, the highest first."""
    found: list[Any] = []
    current: Any = process
    while current is not None and current.alive:
        found.append(current)
        current = current.parent
    return found[::-1]


def root_of(process: Process) -> Process:
    """Return the highest ancestor that lives, or the actor itself."""
    return line(process)[0]


class Sweep:
    """Looks at all actors in turn but those it is to do `without`, at most `at_once` each time.

    What it tells is of the last time it came round: `rate` is the messages that all actors handle in a second, `waiting` counts
    the messages in all mailboxes, `fullest` are the actors whose mailboxes hold most, `roots` are those without a parent.
    """

    FULLEST = 10
    ROOTS = 100

    def __init__(self, scheduler: Scheduler, *, at_once: int = 10_000, without: Collection[Process] = ()) -> None:
        self.rate, self.waiting = 0.0, 0
        self.fullest: list[Process] = []
        self.roots: list[Process] = []
        self._scheduler, self._at_once, self._without = scheduler, at_once, set(without)
        self._sample: list[Process] = []
        self._handled, self._at = 0, 0.0
        # The rates of the last samples, as many as it takes to come round.
        self._rates: deque[float] = deque(maxlen=1)
        self._samples: list[list[Process]] = []
        self._begin()

    def _begin(self) -> None:
        found = [process for process in self._scheduler.processes.values() if process not in self._without]
        count = max(-(-len(found) // self._at_once), 1)
        # Each sample is of all ages, as those who were born together often work together.
        self._samples = [found[first::count] for first in range(count)]
        self._rates = deque(self._rates, maxlen=count)
        self._waiting, self._full, self._roots = 0, [], []  # type: tuple[int, list[Process], list[Process]]

    def look(self) -> None:
        """Look at the next ones; call it now and then."""
        now = self._scheduler.clock.now()
        self._reckon(now)
        self._sample = sample = self._samples.pop()
        self._handled, self._at = sum(process.handled for process in sample), now
        self._look_at(sample)
        if not self._samples:
            self.waiting, self.fullest, self.roots = self._waiting, self._full, self._roots
            self._begin()

    def _reckon(self, now: float) -> None:
        """Reckon the rate of the sample of last time; one that has ended meanwhile still says what it handled."""
        seconds = now - self._at
        if self._sample and seconds > 0:
            self._rates.append((sum(process.handled for process in self._sample) - self._handled) / seconds)
            self.rate = sum(self._rates) * (self._rates.maxlen or 1) / len(self._rates)

    def _look_at(self, sample: list[Process]) -> None:
        full = [process for process in sample if process.queue or process.debug is not None]
        self._waiting += sum(process.waiting for process in full)
        waiting = (process for process in [*self._full, *full] if process.alive and process.waiting)
        self._full = nlargest(self.FULLEST, waiting, key=attrgetter("waiting"))
        orphans = (process for process in sample if process.parent is None and process.alive)
        self._roots.extend(islice(orphans, self.ROOTS - len(self._roots)))


class Search:
    """Finds actors by words in their names, classes and pids: first among those that live, then among those that are born.

    `hits` are the first `most` that were found and live.
    """

    def __init__(self, scheduler: Scheduler, text: str, most: int = 100) -> None:
        self.words = text.lower().split()
        self.most = most
        self.hits: list[Process] = []
        self._processes = scheduler.processes
        self._left = list(scheduler.processes.values())
        self._last = self._left[-1].number if self._left else 0

    def look(self, at_once: int = 2_000) -> bool:
        """Look at the next ones; tell whether all that lived at the beginning have been looked at."""
        self.hits = [process for process in self.hits if process.alive]
        if self._left:
            sample, self._left = self._left[:at_once], self._left[at_once:]
            self._take(sample)
        else:
            self._take(self._born())
        return not self._left

    def _born(self) -> list[Process]:
        # Whoever is born stands last, so nobody else is looked at.
        last, found = self._last, []
        for process in reversed(self._processes.values()):
            if process.number <= last:
                break
            found.append(process)
        if found:
            self._last = found[0].number
        return found[::-1]

    def _take(self, processes: list[Process]) -> None:
        found = (process for process in processes if process.alive and self._fits(process))
        self.hits.extend(islice(found, self.most - len(self.hits)))

    def _fits(self, process: Process) -> bool:
        text = f"{process.name} {process.actor_class.__name__}".lower()
        return all(word in text for word in self.words)
