"""The model's time, and its processes but for the supervisors: see `model`."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    from tests.supervisors.model import Supervisor

__all__ = [
    "BRUTAL_KILL",
    "KILLED",
    "SHUTDOWN",
    "Entry",
    "Exited",
    "Process",
    "Spec",
    "SupervisorSpec",
    "Worker",
    "WorkerSpec",
    "World",
]

KILLED, SHUTDOWN = "killed", "shutdown"
BRUTAL_KILL = -1.0


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What is common to all children; `shutdown` is in seconds, or BRUTAL_KILL."""

    id: str
    restart: str = "permanent"
    shutdown: float = inf
    significant: bool = False


@dataclass(frozen=True, kw_only=True)
class WorkerSpec(Spec):
    """A worker whose start and end take so many seconds; an end that takes for ever is `inf`."""

    start_takes: float = 0.0
    end_takes: float = 0.0
    traps_exit: bool = False


@dataclass(frozen=True, kw_only=True)
class SupervisorSpec(Spec):
    """A supervisor; one whose strategy is "dynamic" starts without children."""

    strategy: str = "one_for_one"
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: str = "never"
    max_children: float = inf
    children: tuple[Spec, ...] = ()


class Entry(NamedTuple):
    """What happened; `in_order` if one process did it after all that stands above it, so that its place is defined."""

    time: float
    text: str
    in_order: bool


class World:
    """Time, the processes of each id in the order of their lives, and the journal of what they did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lives: dict[str, list[Process]] = defaultdict(list)
        self.journal: list[Entry] = []
        # How many of the next starts of a worker fail.
        self.failures: Counter[str] = Counter()
        # What it does when it fails.
        self.meanwhile: dict[str, Callable[[Process], object]] = {}
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def processes(self) -> list[Process]:
        """Return all that live, in the order they came."""
        alive = [process for lives in self.lives.values() for process in lives if process.alive]
        return sorted(alive, key=lambda process: process.number)

    def number(self) -> int:
        """Return the next number."""
        return next(self._numbers)

    def soon(self, callback: Callable[[], object]) -> None:
        """Call back at this moment, after what is to be done before."""
        self._ready.append(callback)

    def after(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call back when so much time has passed."""
        heappush(self._timers, (self.now + seconds, next(self._numbers), callback))

    def settle(self) -> None:
        """Do what is to be done at this moment."""
        while self._ready:
            self._ready.popleft()()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= end:
            self.now, _, callback = heappop(self._timers)
            callback()
            self.settle()
        self.now = end


class Exited(NamedTuple):
    """A child has ended."""

    process: Process
    reason: str


class Process:
    """One life of a child: it starts, runs, ends."""

    # Whether it stops its children in no order.
    stops_together: ClassVar[bool] = False

    def __init__(self, world: World, spec: Spec, parent: Supervisor | None) -> None:
        self.world, self.id, self.parent = world, spec.id, parent
        self.number = world.number()
        self.state, self.ran, self.ordered = "starting", False, False
        self.reason: str | None = None
        self.observers: list[Callable[[], object]] = []
        world.lives[spec.id].append(self)

    @property
    def alive(self) -> bool:
        return self.state != "ended"

    def start(self) -> None:
        raise NotImplementedError

    def write(self, text: str) -> None:
        """Write into the journal.

        There is no defined place for what orphans do, for children that are stopped together, and for one that ends by
        itself while its supervisor is busy with others.
        """
        ancestor, in_order = self.parent, True
        if self.parent is not None and self.state == "ending" and not self.ordered:
            in_order = self.parent.work is None
        while ancestor is not None:
            in_order = in_order and ancestor.alive and not ancestor.stops_together
            ancestor = ancestor.parent
        self.world.journal.append(Entry(self.world.now, f"{self.id} {text}", in_order))

    def turn_to(self, state: str) -> None:
        self.state = state
        self.ran = self.ran or state == "running"
        observers, self.observers = self.observers, []
        for observer in observers:
            observer()

    # Signals

    def signal(self, reason: str, sender: Process | None) -> None:
        """Receive an exit signal: one from the parent is an order, one from nobody too unless it is normal."""
        if sender is None and reason == "normal":
            return
        if self.state in ("starting", "running"):
            self.ordered = sender is not None
            self.order(reason)

    def order(self, reason: str) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """Receive the signal that nobody survives."""
        if self.alive:
            self.finish(KILLED)

    def finish(self, reason: str) -> None:
        """Be gone: the parent hears of it, then the children."""
        self.reason = reason
        self.turn_to("ended")
        if self.parent is not None and self.parent.alive:
            self.parent.receive(Exited(self, reason))


class Worker(Process):
    """Ends when it is told to."""

    def __init__(self, world: World, spec: WorkerSpec, parent: Supervisor | None) -> None:
        super().__init__(world, spec, parent)
        self.spec = spec

    def start(self) -> None:
        if self.spec.start_takes:
            self.write("is starting")
            self.world.after(self.spec.start_takes, self._start)
        else:
            self._start()

    def _start(self) -> None:
        if self.state != "starting":
            return
        if self.world.failures[self.id]:
            if self.parent is not None and self.id in self.world.meanwhile:
                self.world.meanwhile[self.id](self)
            self.world.failures[self.id] -= 1
            self.write("fails")
            self.finish("BoomError")
        else:
            self.write("starts")
            self.turn_to("running")

    def order(self, reason: str) -> None:
        if self.state == "starting":
            self.finish(reason)
        else:
            self.end(reason)

    def stranger(self, reason: str) -> None:
        """Receive an exit signal from a linked process that is not the parent."""
        if self.state == "running" and not self.spec.traps_exit and reason != "normal":
            self.end(reason)

    def end(self, reason: str) -> None:
        """Clean up, which may take time, and be gone."""
        if self.state != "running":
            return
        self.turn_to("ending")
        if self.spec.end_takes:
            self.write("is ending")
            if self.spec.end_takes < inf:
                self.world.after(self.spec.end_takes, lambda: self._ended(reason))
        else:
            self._ended(reason)

    def _ended(self, reason: str) -> None:
        if self.state == "ending":
            self.write(f"ends: {reason}")
            self.finish(reason)
