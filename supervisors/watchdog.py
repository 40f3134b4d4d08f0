"""The watchdog: it tells of actors that are stuck, of an event loop that is blocked, and of mailboxes that fill up.

    System(children, watchdog=Watchdog(stuck=5.0))

Each is told once, in the log and by telemetry, and again only after all was well in between:

| event | measurements | metadata |
|---|---|---|
| `("ashtree", "actor_stuck")` | `duration` | `actor`, `message`, `stack` |
| `("ashtree", "loop_blocked")` | `duration` | `actor` (or None), `message`, `stack` |
| `("ashtree", "mailbox_full")` | `length` | `actor`, `message` (the next one), `stack` |

`actor` is a ref; `message` and `stack` are texts, the message as its actor describes it: without secrets. Where there are many
at once the log shows ten and the number of the others, which telemetry is told without a stack.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from actors import telemetry
from actors.actor import Actor
from actors.clock import LoopClock
from actors.exceptions import ActorDeadError
from actors.lowlevel import blocked_at, described, waits_at
from supervisors.child_spec import ChildSpec

if TYPE_CHECKING:
    import asyncio

    from actors.lowlevel import Process, Scheduler

__all__ = ["LOOP_BLOCKED", "MAILBOX_FULL", "STUCK", "LoopWatch", "Watchdog", "WatchdogServer"]

_log = logging.getLogger("ashtree.watchdog")

STUCK = ("ashtree", "actor_stuck")
LOOP_BLOCKED = ("ashtree", "loop_blocked")
MAILBOX_FULL = ("ashtree", "mailbox_full")

# How many actors are looked at in one turn: some 0.1 ms.
_SLICE = 1000

# Of how many actors the log is told in one round: where thousands wait for one that is stuck, ten say it as well, and a stack
# takes its time. The others are counted.
_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """What is watched on an event loop, and from when on it is told; None: it is not watched.

    - `stuck`: seconds that an actor has been in one message (or in `on_start`, or in `terminate`) whose handler waits, or has
      a thread. The attribute `stuck_after` of a class goes before it. It is told up to two looks late.
    - `blocked`: seconds in which the event loop gets to nothing, as a handler does not return. Half as much more is always
      seen, less by chance. This is told from a thread, telemetry too. Not under a test's clock.
    - `mailbox`: messages in one mailbox. It is well again with half of them.
    - `every`: seconds between two looks at an actor; all actors of the loop are looked at, in small portions.

    Raises:
        ValueError: naming the option that is wrong.
    """

    stuck: float | None = 10.0
    blocked: float | None = 0.25
    mailbox: int | None = 1000
    every: float = 1.0

    def __post_init__(self) -> None:
        for option in ("stuck", "blocked", "mailbox"):
            value = getattr(self, option)
            if value is not None and not _is_positive(value):
                raise ValueError(f"{option} must be a number > 0 or None, got {value!r}")
        if not _is_positive(self.every):
            raise ValueError(f"every must be seconds > 0, got {self.every!r}")

    def child_spec(self) -> ChildSpec:
        """Return how a supervisor starts it."""
        return ChildSpec(WatchdogServer, (self,), id="watchdog")


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


class _Poll(msgspec.Struct, frozen=True):
    """The watchdog tells itself to go on."""


class _TaskWait:
    """An actor that was seen waiting in a task."""

    __slots__ = ("since", "task", "told")

    def __init__(self, task: asyncio.Task[Any], since: float) -> None:
        self.task, self.since, self.told = task, since, False


class _Patrol:
    """One look at each actor: those that are left, and what was found with the others."""

    def __init__(self, processes: list[Process]) -> None:
        self.left = processes
        self.waits: dict[Process, _TaskWait] = {}
        self.full: set[Process] = set()
        self._told = 0

    def next_is_logged(self) -> bool:
        """Count one more actor to tell of; tell whether the log has room for it."""
        self._told += 1
        return self._told <= _MOST

    @property
    def not_logged(self) -> int:
        """How many the log had no room for."""
        return max(0, self._told - _MOST)


class WatchdogServer(Actor):
    """The actor that a `Watchdog` stands for: it looks at all actors of its loop, round after round."""

    def __init__(self, limits: Watchdog) -> None:
        self._limits = limits
        self._before = self._round = _Patrol([])
        self._pause = limits.every

    def on_start(self) -> None:
        """Begin to look."""
        limits, scheduler = self._limits, self._process.scheduler
        if limits.blocked is not None and isinstance(self.clock, LoopClock):
            self.own(LoopWatch(scheduler, limits.blocked).end)
        self.send_after(limits.every, _Poll())

    def on_receive(self, message: Any) -> Any:
        """Look at some more actors."""
        if not isinstance(message, _Poll):
            super().on_receive(message)
            return
        if not self._round.left:
            self._begin_round()
        self._look()
        self.send_after(self._pause, message)

    def _begin_round(self) -> None:
        processes = list(self._process.scheduler.processes.values())
        self._before, self._round = self._round, _Patrol(processes)
        self._pause = self._limits.every / math.ceil(len(processes) / _SLICE)

    def _look(self) -> None:
        left, now = self._round.left, self.clock.now()
        for process in left[-_SLICE:]:
            # Nearly all actors rest, and it must cost nothing to see that.
            if process.task is not None or process.queue or process.debug is not None:
                self._look_at(process, now)
        del left[-_SLICE:]
        if not left and self._round.not_logged:
            _log.warning(
                "%d more actors are stuck, or have too many messages in their mailboxes", self._round.not_logged
            )

    def _look_at(self, process: Process, now: float) -> None:
        if process.task is not None:
            self._look_at_task(process, process.task, now)
        if self._limits.mailbox is not None:
            self._look_at_mailbox(process, self._limits.mailbox)

    def _look_at_task(self, process: Process, task: asyncio.Task[Any], now: float) -> None:
        wait = self._before.waits.get(process)
        if wait is None or wait.task is not task:
            wait = _TaskWait(task, now)
        self._round.waits[process] = wait
        limit = process.actor_class.stuck_after
        limit = self._limits.stuck if limit is None else limit
        if not wait.told and limit is not None and now - wait.since >= limit:
            wait.told = True
            seconds, message = now - wait.since, described(process.actor, process.current)
            self._tell(STUCK, {"duration": seconds}, process, message, _stuck(process, message, seconds))

    def _look_at_mailbox(self, process: Process, limit: int) -> None:
        length = process.waiting
        is_known = process in self._before.full
        if length > (limit / 2 if is_known else limit):
            self._round.full.add(process)
            if not is_known:
                message = described(process.actor, process.next_message)
                self._tell(MAILBOX_FULL, {"length": length}, process, message, _full(process, message, length))

    def _tell(
        self, event: telemetry.Event, measurements: Mapping[str, float], process: Process, message: str, text: str
    ) -> None:
        """Tell telemetry, and the log if it has room in this round."""
        stack = ""
        if self._round.next_is_logged():
            stack = waits_at(process)
            _log.warning("%s", _with_stack(text, stack))
        telemetry.execute(event, measurements, _about(process, message, stack))


class LoopWatch:
    """A thread that has an event loop give signs of life, and tells where it is when one does not come in time."""

    def __init__(self, scheduler: Scheduler, seconds: float) -> None:
        self._scheduler, self._seconds = scheduler, seconds
        self._answered, self._ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._serve, name="watchdog", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Let the thread end."""
        self._ended.set()
        self._answered.set()

    def _serve(self) -> None:
        while not self._ended.wait(self._seconds / 2):
            try:
                self._ask()
            except ActorDeadError:  # the loop is closed
                return

    def _ask(self) -> None:
        clock, answered = self._scheduler.clock, self._answered
        answered.clear()
        if self._ended.is_set():
            return
        asked = clock.now()
        self._scheduler.post(answered.set)
        if answered.wait(self._seconds):
            return
        tell_blocked(self._scheduler, self._seconds)
        answered.wait()
        if not self._ended.is_set():
            _log.info("the event loop goes on, after %.3f s", clock.now() - asked)


# What is told


def tell_blocked(scheduler: Scheduler, seconds: float) -> None:
    """Tell, from another thread, of an event loop that has got to nothing for so long."""
    process, stack = scheduler.current, blocked_at(scheduler)
    message = described(process.actor, process.current) if process is not None else "none"
    who = "no actor is at work" if process is None else f"{process.name} is {_doing(process, message)}"
    text = f"the event loop is blocked: it has got to nothing else for {seconds:g} s; {who}"
    _log.warning("%s", _with_stack(text, stack))
    telemetry.execute(LOOP_BLOCKED, {"duration": seconds}, _about(process, message, stack))


def _stuck(process: Process, message: str, seconds: float) -> str:
    text = f"{process.name} is stuck: for {seconds:.1f} s it has been {_doing(process, message)}"
    asked = process.waits_for.asked if process.waits_for is not None else None
    return text if asked is None else f"{text}\n  it waits for an answer of {asked.name}"


def _full(process: Process, message: str, length: int) -> str:
    text = f"{process.name} has {length} messages in its mailbox, the next one {message}"
    if process.suspended:
        return f"{text}\n  it is suspended"
    if process.task is not None:
        return f"{text}\n  it is {_doing(process, described(process.actor, process.current))}"
    return text


def _with_stack(text: str, stack: str) -> str:
    return f"{text}\n{stack}" if stack else text


def _about(process: Process | None, message: str, stack: str) -> dict[str, Any]:
    return {"actor": process.ref if process is not None else None, "message": message, "stack": stack}


def _doing(process: Process, message: str) -> str:
    if process.ending is not None:
        return "in terminate"
    if process.started is not None:
        return "in on_start"
    return f"at the message {message}"
