"""Inspect, trace and suspend any actor, without its cooperation (OTP's `sys`).

    >>> sys.get_state("counter").get()
    {'count': 3}

Each function takes an actor, a ref or a name, and returns a future: await it on an event loop, or `get()` it in another thread.
The request goes through the mailbox, so that it sees the effects of earlier messages; only `peek` does not. In the future, all
raise ActorDeadError if the actor is dead, and `pykka.Timeout` if it does not get to the request within 5 seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from actors import names
from actors.callbacks import check_function
from actors.exits import MonitorRef
from actors.future import Future, run_on
from actors.redaction import Shown, safe_repr, without_secrets
from actors.runtime.behaviour import described, shown_message, shown_state, state_of
from actors.runtime.behaviour import replace_state as give_state
from actors.runtime.debug import Debug, Event, Got, Handled, Raised, Statistics
from actors.runtime.envelope import SystemCall
from actors.validation import check_count

if TYPE_CHECKING:
    from weakref import ref as weak_ref

    from actors.runtime.behaviour import Behaviour
    from actors.runtime.process import Process
    from actors.via import Target

__all__ = [
    "Event",
    "Got",
    "Handled",
    "Raised",
    "Statistics",
    "Status",
    "get_log",
    "get_state",
    "get_statistics",
    "get_status",
    "install",
    "log",
    "no_debug",
    "peek",
    "remove",
    "replace_state",
    "resume",
    "state_of",
    "statistics",
    "status_of",
    "status_word",
    "suspend",
    "trace",
]

T = TypeVar("T")

State = dict[str, Any]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime knows of an actor. Other actors are given by name and pid, times in seconds."""

    name: str
    pid: str
    actor: type[Behaviour]
    status: str
    """`starting`, `running`, `waiting` (in an `async` handler, or in its thread), `suspended`, `ending` or `dead`."""
    parent: str | None
    ancestors: list[str]
    links: list[str]
    monitors: list[str]
    monitored_by: list[str]
    names: list[Any]
    trap_exit: bool
    mailbox: int
    """How many messages wait, including those held back while it is suspended."""
    mailbox_limit: int | None
    """How many may wait (`Actor.mailbox`); None: any number."""
    left_out: int | None
    """How many were refused or dropped, as there was no room; None if any number may wait."""
    message: str | None
    """The message that is being handled, as the actor describes it."""
    age: float
    handled: int
    timers: list[float]
    """The seconds left of each, the next one first."""
    log: list[Event]
    """The events that `log` keeps, with the messages that `Actor.format_status` returns."""
    state: State
    """What `Actor.format_status` returns: the attributes themselves, unless the actor has a hook of its own."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._shown().items())})"

    def _shown(self) -> dict[str, Any]:
        """Return the fields without the secrets in the state and in messages."""
        shown = {field: getattr(self, field) for field in self.__struct_fields__}
        shown["state"], shown["log"] = without_secrets(self.state), without_secrets(self.log)
        return shown

    def __str__(self) -> str:
        shown = self._shown()
        shown["actor"], shown["age"] = self.actor.__name__, f"{self.age:.3f} s"
        return "\n".join(f"{field:>13}: {value}" for field, value in shown.items() if value not in (None, []))


# State


def get_state(target: Target) -> Future[State]:
    """Return the attributes of an actor: a new dictionary, with the values themselves, secrets included."""
    return _ask(target, lambda process: state_of(process.actor))


def replace_state(target: Target, function: Callable[[State], Mapping[str, Any]]) -> Future[State]:
    """Replace the attributes of an actor by those that `function` returns for the present ones; return them.

    If it raises, or does not return a mapping of names, the actor is unchanged, and the future raises the error.
    """

    def replace(process: Process) -> State:
        actor = process.actor
        assert actor is not None
        new: object = function(state_of(actor))
        if not isinstance(new, Mapping) or not all(isinstance(name, str) for name in new):
            raise TypeError(
                f"replace_state() needs a function that returns a mapping of attributes, got {safe_repr(new)}"
            )
        give_state(actor, new)
        return state_of(actor)

    return _ask(target, replace)


def get_status(target: Target) -> Future[Status]:
    """Return what the runtime knows of an actor, and its state as `Actor.format_status` shows it."""
    return _ask(target, status_of)


def peek(target: Target) -> Future[Status]:
    """Return the same without waiting in its mailbox: also for an actor whose handler is waiting, and a dead one."""
    ref = names.whereis(target)
    if ref is None:
        return _ask(target, status_of)  # raises that no actor has the name
    return run_on(ref.process.scheduler, status_of, ref.process, timeout=_TIMEOUT)


def status_of(process: Process, most: int | None = None) -> Status:
    """Return what the runtime knows of a process, at most `most` links, monitors, names and timers each; in its own thread."""
    clock, debug = process.scheduler.clock, process.debug
    left = (timer.remaining() for timer in process.timers or ())
    return Status(
        name=process.name,
        pid=process.pid,
        actor=process.actor_class,
        status=status_word(process),
        parent=None if process.parent is None else process.parent.name,
        ancestors=process.ancestors(),
        links=[other.name for other in islice(process.links or (), most)],
        monitors=[monitor.target.name for monitor in islice(process.watching or (), most)],
        monitored_by=[_watcher(watcher) for watcher in islice(list(process.watchers or ()), most)],
        names=[key for _, key in islice(process.names or (), most)],
        trap_exit=process.trap_exit,
        mailbox=process.waiting,
        mailbox_limit=process.limit,
        left_out=None if process.limit is None else process.left_out,
        message=_current_message(process),
        age=clock.now() - process.started_at,
        handled=process.handled,
        timers=sorted(seconds for seconds in islice(left, most) if seconds is not None),
        log=[_shown_event(process, event) for event in debug.last or ()] if debug is not None else [],
        state=shown_state(process.actor),
    )


def status_word(process: Process) -> str:
    """Return what an actor is doing, in the words of `Status.status`; from any thread."""
    if not process.alive:
        return "dead"
    if process.ending is not None:
        return "ending"
    if process.started is not None:
        return "starting"
    if process.suspended:
        return "suspended"
    return "running" if process.task is None else "waiting"


def _watcher(watcher: MonitorRef | weak_ref[Future[Any]]) -> str:
    return str(watcher.watcher.name) if isinstance(watcher, MonitorRef) else "a future"


def _shown_event(process: Process, event: Event) -> Event:
    message = shown_message(process.actor, event.message)
    return event if message is event.message else msgspec.structs.replace(event, message=message)


def _current_message(process: Process) -> str | None:
    current = process.current
    return None if current is None or type(current) is SystemCall else described(process.actor, current)


# Suspending


def suspend(target: Target) -> Future[None]:
    """Suspend an actor: it handles no messages until it is resumed, only exit signals and the requests of this module."""
    return _ask(target, lambda process: Debug.of(process).suspend())


def resume(target: Target) -> Future[None]:
    """Resume a suspended actor, with the first message that was held back; does nothing if it is not suspended."""

    def go_on(process: Process) -> None:
        if process.debug is not None:
            process.debug.resume()
            process.debug.rest()

    return _ask(target, go_on)


# Tracing


def trace(target: Target, to: Callable[[str], object] | None = print) -> Future[None]:
    """Print a line when an actor gets and has handled a message, or call `to` with it; None: stop tracing."""
    if to is not None:
        check_function("the function that gets a trace", to, instead="let it send() to an actor")

    def line(process: Process, event: Event) -> str:
        text = described(process.actor, event.message)
        return f"*DBG* {process.name} {msgspec.structs.replace(event, message=Shown(text))}"

    def watch(process: Process) -> None:
        if to is None:
            _unwatch(process, trace)
        else:
            Debug.of(process).watchers[trace] = lambda event: to(line(process, event))

    return _ask(target, watch)


def install(target: Target, function: Callable[[Event], object]) -> Future[None]:
    """Call `function(event)` on the actor's thread for each event, until it raises or is removed by `remove`."""
    check_function("a debug function", function, instead="let it send() to an actor")

    def add(process: Process) -> None:
        Debug.of(process).watchers[function] = function

    return _ask(target, add)


def remove(target: Target, function: Callable[[Event], object]) -> Future[None]:
    """Remove a function that was installed by `install`."""
    return _ask(target, lambda process: _unwatch(process, function))


def _unwatch(process: Process, key: object) -> None:
    if process.debug is not None:
        process.debug.watchers.pop(key, None)
        process.debug.rest()


def log(target: Target, last: int | None = 10) -> Future[None]:
    """Keep the last events of an actor, for `get_log`; None: keep none."""
    if last is not None:
        check_count("last", last, least=1, others=" or None")

    def keep(process: Process) -> None:
        debug = Debug.of(process)
        debug.last = None if last is None else deque(debug.last or (), maxlen=last)
        debug.rest()

    return _ask(target, keep)


def get_log(target: Target) -> Future[list[Event]]:
    """Return the kept events of an actor, the oldest first."""
    return _ask(target, lambda process: list(process.debug.last or ()) if process.debug is not None else [])


def statistics(target: Target, on: bool = True) -> Future[None]:  # noqa: FBT001, FBT002  # as in OTP
    """Count what an actor does, from now on; False: stop counting."""

    def count(process: Process) -> None:
        debug = Debug.of(process)
        debug.count_from(process.scheduler.clock.now() if on else None)
        debug.rest()

    return _ask(target, count)


def get_statistics(target: Target) -> Future[Statistics | None]:
    """Return what an actor did since `statistics` was turned on; None if it is off."""
    return _ask(target, lambda process: process.debug.statistics() if process.debug is not None else None)


def no_debug(target: Target) -> Future[None]:
    """Turn off tracing, log, statistics and installed functions of an actor; it stays suspended if it is."""

    def end(process: Process) -> None:
        if process.debug is not None:
            process.debug.watchers.clear()
            process.debug.last = None
            process.debug.count_from(None)
            process.debug.rest()

    return _ask(target, end)


# OTP's default.
_TIMEOUT = 5.0


def _ask(target: Target, function: Callable[[Process], T]) -> Future[T]:
    return names.ask(target, SystemCall(function), block=False, timeout=_TIMEOUT)
