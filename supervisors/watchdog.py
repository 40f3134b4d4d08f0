"""The watchdog: it reports stuck actors, a blocked event loop, and mailboxes that fill up.

    System(children, watchdog=Watchdog(stuck=5.0))

Each condition is reported once, in the log and by telemetry, and again only after it has cleared:

| event | measurements | metadata |
|---|---|---|
| `("ashtree", "actor_stuck")` | `duration` | `actor`, `message`, `stack` |
| `("ashtree", "loop_blocked")` | `duration` | `actor` (or None), `message`, `stack` |
| `("ashtree", "mailbox_full")` | `length` | `actor`, `message` (the next one), `stack` |

`actor` is a ref; `message` and `stack` are strings, the message as its actor describes it: without secrets. If there are many
reports at a time, the log has ten of them and the number of the others; telemetry gets all, the others without a stack.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from actors import telemetry
from actors.actor import Actor
from actors.clock import LoopClock, processor_time
from actors.exceptions import ActorDeadError
from actors.log import Log
from actors.lowlevel import blocked_at, described, waits_at
from actors.redaction import Lines
from actors.validation import check_number, check_seconds
from supervisors.child_spec import ChildSpec
from supervisors.roster import Roster

if TYPE_CHECKING:
    import asyncio

    from actors.clock import Clock
    from actors.lowlevel import Process, Scheduler

    _AnyTask = asyncio.Task[Any]

__all__ = [
    "BLOCKED",
    "LOOP_BLOCKED",
    "MAILBOX_FULL",
    "STUCK",
    "LoopWatch",
    "Watchdog",
    "WatchdogServer",
    "loop_watched",
]

_log = Log("ashtree.watchdog")

STUCK = ("ashtree", "actor_stuck")
LOOP_BLOCKED = ("ashtree", "loop_blocked")
MAILBOX_FULL = ("ashtree", "mailbox_full")

BLOCKED = 0.25
"""Seconds for which a handler may block the event loop, by default."""

# Actors that are inspected in one turn: some 0.1 ms.
_SLICE = 1000

# Waits of a ping until it counts as not answered: each is counted for itself, so that a stop of the process counts in none.
_STEPS = 4

# Seconds by which a wait is longer than it should be if the process was stopped, on a machine that is busy.
_STALL = 0.1

# Actors that are logged in one round: where thousands wait for one that is stuck, ten say it as well, and a stack takes time to
# format. The others are counted.
_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """Configure what is watched on an event loop: each check has a limit, and None turns it off.

    - `stuck`: seconds that an actor may spend on one message (or in `on_start`, or in `terminate`) in a handler that is a
      coroutine or has a thread. The attribute `stuck_after` of a class overrides it. The report is up to two inspections late.
    - `blocked`: seconds for which a handler may block the event loop. A block of one and a half times as long is always
      detected, a shorter one sometimes. Both the log and telemetry are called from a thread. Not with a test's clock.
    - `mailbox`: messages that may wait in one mailbox. The condition has cleared when half as many wait.
    - `every`: seconds between two inspections of an actor; all actors of the loop are inspected, in small slices.

    Raises:
        ValueError: naming the invalid option, with its value.
    """

    stuck: float | None = 10.0
    blocked: float | None = BLOCKED
    mailbox: int | None = 1000
    every: float = 1.0

    def __post_init__(self) -> None:
        for option in ("stuck", "blocked", "mailbox"):
            value = getattr(self, option)
            if value is not None:
                check_number(option, value, "> 0", others=" or None")
        check_seconds("every", self.every, "> 0")

    def child_spec(self) -> ChildSpec:
        """Return the spec of the actor that does it."""
        return ChildSpec(WatchdogServer, (self,), id="watchdog")


class _Poll(msgspec.Struct, frozen=True):
    """The watchdog's message to itself: inspect the next slice."""


class _TaskWait:
    """The task of an actor that was seen waiting, and since when."""

    __slots__ = ("is_reported", "since", "task")

    def __init__(self, task: _AnyTask, since: float) -> None:
        self.task, self.since, self.is_reported = task, since, False


class Awake:
    """The seconds in which the process ran, and not those for which it was stopped: by SIGSTOP, or with its laptop.

    It is told by the process itself: its timers are late, and meanwhile it has had no time of the processor. To be asked again
    and again, `count(expected)` after a wait of `expected` seconds.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self.seconds = clock, 0.0
        self._at, self._used = clock.now(), processor_time()

    def count(self, expected: float) -> None:
        """Count the time since the last call."""
        at, used = self._clock.now(), processor_time()
        passed = at - self._at
        if passed > expected + max(expected, _STALL):
            passed = min(passed, used - self._used)
        self.seconds += passed
        self._at, self._used = at, used


class _Findings:
    """The findings of one round over all actors."""

    def __init__(self) -> None:
        self.waits: dict[Process, _TaskWait] = {}
        self.full: set[Process] = set()
        self._reports = 0

    def next_is_logged(self) -> bool:
        """Count one more report; return whether it is to be logged."""
        self._reports += 1
        return self._reports <= _MOST

    @property
    def not_logged(self) -> int:
        """How many reports are not logged."""
        return max(0, self._reports - _MOST)


class WatchdogServer(Actor):
    """The actor of a `Watchdog`: it inspects all actors of its event loop, round after round."""

    def __init__(self, limits: Watchdog) -> None:
        self._limits = limits
        self._previous = self._found = _Findings()
        self._roster: Roster | None = None
        self._delay = limits.every

    def on_start(self) -> None:
        """Start watching."""
        limits, scheduler = self._limits, self._process.scheduler
        if limits.blocked is not None and isinstance(self.clock, LoopClock):
            self.own(LoopWatch(scheduler, limits.blocked).end)
        self._awake = Awake(self.clock)
        self.send_after(self._delay, _Poll())

    def on_receive(self, message: object) -> None:
        """Inspect the next actors."""
        if not isinstance(message, _Poll):
            super().on_receive(message)
            return
        roster = self._roster
        if roster is None or roster.is_done:
            self._roster = roster = self._begin_round()
        self._awake.count(self._delay)
        for process in roster.next():
            # Nearly all actors are idle, and skipping them must cost nothing.
            if process.task is not None or process.queue or process.debug is not None:
                self._inspect(process)
        if roster.is_done and self._found.not_logged:
            _log.warning(
                "%d more actors are stuck, or have too many messages in their mailboxes", self._found.not_logged
            )
        self._delay = self._limits.every / roster.slices
        self.send_after(self._delay, message)

    def _begin_round(self) -> Roster:
        self._previous, self._found = self._found, _Findings()
        return Roster(self._process.scheduler, _SLICE)

    def _inspect(self, process: Process) -> None:
        if process.task is not None:
            self._check_task(process, process.task)
        if self._limits.mailbox is not None:
            self._check_mailbox(process, self._limits.mailbox)

    def _check_task(self, process: Process, task: _AnyTask) -> None:
        wait, now = self._previous.waits.get(process), self._awake.seconds
        if wait is None or wait.task is not task:
            wait = _TaskWait(task, now)
        self._found.waits[process] = wait
        limit = process.actor_class.stuck_after
        limit = self._limits.stuck if limit is None else limit
        if not wait.is_reported and limit is not None and now - wait.since >= limit:
            wait.is_reported = True
            seconds, message = now - wait.since, described(process.actor, process.current)
            self._report(STUCK, {"duration": seconds}, process, message, _stuck(process, message, seconds))

    def _check_mailbox(self, process: Process, limit: int) -> None:
        length = process.waiting
        is_known = process in self._previous.full
        if length > (limit / 2 if is_known else limit):
            self._found.full.add(process)
            if not is_known:
                message = described(process.actor, process.next_message)
                self._report(MAILBOX_FULL, {"length": length}, process, message, _full(process, message, length))

    def _report(
        self, event: telemetry.Event, measurements: Mapping[str, float], process: Process, message: str, text: str
    ) -> None:
        """Execute a telemetry event, and log it unless this round has too many."""
        stack = ""
        if self._found.next_is_logged():
            stack = waits_at(process)
            _log.warning("%s", Lines(_with_stack(text, stack)))
        telemetry.execute(event, measurements, _about(process, message, stack))


class LoopWatch:
    """A thread that pings an event loop, and reports where the loop is blocked when it does not respond in time."""

    def __init__(self, scheduler: Scheduler, seconds: float) -> None:
        self._scheduler, self._seconds = scheduler, seconds
        self._answered, self._ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._serve, name="watchdog", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Stop the thread."""
        self._ended.set()
        self._answered.set()

    def _serve(self) -> None:
        while not self._ended.wait(self._seconds / 2):
            try:
                self._ping()
            except ActorDeadError:  # the loop is closed
                return

    def _ping(self) -> None:
        answered, awake, step = self._answered, Awake(self._scheduler.clock), self._seconds / _STEPS
        answered.clear()
        if self._ended.is_set():
            return
        self._scheduler.post(answered.set)
        is_reported = False
        while not answered.wait(step):
            awake.count(step)
            if not is_reported and awake.seconds >= self._seconds:
                is_reported = True
                report_blocked(self._scheduler, self._seconds)
        awake.count(step)
        if is_reported and not self._ended.is_set():
            _log.info("the event loop is running again, after %.3f s", awake.seconds)


@contextmanager
def loop_watched(scheduler: Scheduler, seconds: float) -> Iterator[None]:
    """Watch an event loop inside the block."""
    watch = LoopWatch(scheduler, seconds)
    try:
        yield
    finally:
        watch.end()


# Reports


def report_blocked(scheduler: Scheduler, seconds: float) -> None:
    """Report, from another thread, that an event loop has been blocked for so many seconds."""
    process, stack = scheduler.current, blocked_at(scheduler)
    message = described(process.actor, process.current) if process is not None else "none"
    culprit = "no actor is running" if process is None else f"{process.name} is {_doing(process, message)}"
    text = f"the event loop is blocked: nothing else has run for {seconds:g} s; {culprit}"
    _log.warning("%s", Lines(_with_stack(text, stack)))
    telemetry.execute(LOOP_BLOCKED, {"duration": seconds}, _about(process, message, stack))


def _stuck(process: Process, message: str, seconds: float) -> str:
    text = f"{process.name} is stuck: it has been {_doing(process, message)} for {seconds:.1f} s"
    asked = process.waits_for.asked if process.waits_for is not None else None
    return text if asked is None else f"{text}\n  it is waiting for a reply from {asked.name}"


def _full(process: Process, message: str, length: int) -> str:
    text = f"{process.name} has {length} messages in its mailbox, the next one {message}"
    if process.suspended:
        return f"{text}\n  it is suspended"
    if process.task is not None:
        return f"{text}\n  it is {_doing(process, described(process.actor, process.current))}"
    return text


def _with_stack(text: str, stack: str) -> str:
    return f"{text}\n{stack}" if stack else text


def _about(process: Process | None, message: str, stack: str) -> dict[str, object]:
    return {"actor": process.ref if process is not None else None, "message": message, "stack": stack}


def _doing(process: Process, message: str) -> str:
    if process.ending is not None:
        return "in terminate"
    if process.started is not None or (process.current is None and not process.handled):
        return "in on_start"
    return f"handling {message}"
