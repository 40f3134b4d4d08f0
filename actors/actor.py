"""The actor: a `pykka.Actor` that is scheduled on an event loop instead of owning a thread."""

from __future__ import annotations

from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, overload

import pykka
import pykka.messages

from actors.callbacks import check_callbacks, check_function, check_parameters, check_settings, is_awaitable
from actors.clock import check_duration
from actors.exceptions import NameTakenError
from actors.exits import NO_PROCESS, NORMAL, Crash, Down, ExitReason, MonitorRef, Stop, exit_reason
from actors.future import Future
from actors.log import Log
from actors.mailbox import Mailbox, check_mailbox
from actors.redaction import STATE_SECRETS, printable, safe_repr, safe_str
from actors.registry import check_missing, not_found
from actors.runtime.behaviour import FormatStatus, described
from actors.runtime.bounded_process import BoundedProcess
from actors.runtime.dead_letters import unaddressed
from actors.runtime.envelope import STOP, ActorStop, Answer, Carried, StopFor, SystemCall
from actors.runtime.idle_timeout import Idle
from actors.runtime.process import Process
from actors.runtime.spawn import spawn
from actors.runtime.unstarted import Unstarted
from actors.via import Via, check_name, resolve

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Sequence
    from types import TracebackType

    from actors.caller import From
    from actors.clock import Clock, Interval, MissedTicks, Timer
    from actors.ref import ActorRef, Stopped
    from actors.runtime.scheduler import Scheduler
    from actors.via import Target

__all__ = ["HOOKS", "Actor"]

if TYPE_CHECKING:
    # For type checkers a class of its own: pykka declares that its hooks return None, ours may be `async`.
    _PykkaActor = object
else:
    _PykkaActor = pykka.Actor

_log = Log("ashtree.actors")

HOOKS = ("on_start", "on_receive", "terminate", "on_stop", "on_failure")
SETTINGS = ("idle_timeout", "trap_exit")


class Actor(_PykkaActor):
    """A lightweight process: state of its own, a mailbox, one message at a time.

    Write it as a pykka actor: `on_start`, `on_receive(message)`, `on_stop`, `on_failure`, and public methods for proxies.
    Each may be `def` (runs at once, must not block) or `async def` (the actor handles its next message when the coroutine has
    ended; other actors run meanwhile). What differs from pykka is OTP's:

    - An exception in a handler ends the actor; if the message was asked, the caller gets the exception too.
      KeyboardInterrupt and SystemExit then leave the event loop, as they are meant for the program.
    - `terminate(reason)` runs at every end except KILL; by default it calls pykka's `on_stop` or `on_failure`.
    - Links, monitors, timers and names end with the actor.

    Start it with `start(…)`, or better: as a child of a supervisor.
    """

    start_timeout: ClassVar[float | None] = None
    """Seconds that an `async` `on_start` may take; then the start fails with `Timeout`. None: unlimited."""

    record: ClassVar[int | None] = None
    """How many of its last messages it keeps for the report of a crash: see `actors.recorder`.

    None: as many as its supervisor. 0: none.
    """

    stuck_after: ClassVar[float | None] = None
    """Seconds in one message after which a watchdog reports it as stuck; None: the watchdog's own; `math.inf`: never."""

    mailbox: ClassVar[Mailbox | None] = None
    """How many messages may wait, and what becomes of more; None: unbounded. See `actors.Mailbox`."""

    # The types of messages that are no dead letters if it has ended before it handled them: those of the runtime.
    _no_dead_letters: ClassVar[tuple[type, ...]] = ()
    _process: Process
    _unstarted: ClassVar[Unstarted]

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Self:
        """Create the actor and its process, so that a subclass can use `actor_ref` anywhere in its `__init__`."""
        actor = super().__new__(cls)
        actor._process = Process(actor) if cls.mailbox is None else _bounded(actor, cls.mailbox)
        return actor

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        # pykka's own __init__ would make a queue, a lock and a UUID for each actor. __new__ has done what is needed.
        pass

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor with the arguments of its `__init__`, without a supervisor.

        It runs on the event loop of the current thread; without one, as in a plain script, on a loop in the background.

        Raises:
            StartError: if `on_start` raised.
        """
        return spawn(cls, args, kwargs)

    @classmethod
    def start_as(cls, name: Hashable | Via, /, *args: Any, **kwargs: Any) -> ActorRef[Self]:
        """Start an actor under a name, which it has before `on_start` begins and until it ends: `start`, for named actors.

            clock = Ticker.start_as("clock", 0.5)
            lobby = Room.start_as(Via(rooms, "lobby"), limit=10)

        All other arguments are those of its `__init__`. Without a supervisor: a child has the `name` of its `ChildSpec`.

        Raises:
            NameTakenError: if another living actor has the name; `error.owner` is its ref. The new actor has ended: its
                `__init__` has run, but neither `on_start` nor `terminate`.
            TypeError: if `name` is None, an actor or a ref, or not hashable.
            StartError: if `on_start` raised; then the name is free again.
        """
        check_name(name)
        try:
            return spawn(cls, args, kwargs, name=name)
        except NameTakenError as taken:
            # The frames of its traceback have the actor, which has it as its exit reason: that would be a cycle.
            raise taken.with_traceback(None) from None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a hook cannot be called as one, or a setting of each actor is one of the class."""
        super().__init_subclass__(**kwargs)
        check_callbacks(cls, HOOKS)
        check_callbacks(cls, ("format_status",), plain=True, instead="it is called where nothing can be awaited")
        check_parameters(cls, format_status=("status",))
        check_settings(cls, SETTINGS)
        check_mailbox(cls)
        cls._unstarted = Unstarted(cls)

    def __str__(self) -> str:
        return self._process.name

    # pykka's attributes, looked up instead of stored

    @property
    def actor_urn(self) -> str:
        """A URN that no other actor of this program has."""
        return self._process.ref.actor_urn

    @property
    def actor_inbox(self) -> Process:
        """The mailbox."""
        return self._process

    @property
    def actor_ref(self) -> ActorRef[Self]:
        """The reference to this actor, to be given to others."""
        return self._process.ref

    @property
    def actor_stopped(self) -> Stopped:
        """Pykka's stop flag, read-only."""
        return self._process.ref.actor_stopped

    @property
    def pid(self) -> str:
        """The pid as text, such as `<0.41.0>`."""
        return self._process.pid

    @property
    def clock(self) -> Clock:
        """The clock of this actor's runtime."""
        return self._process.scheduler.clock

    # Life. What the hooks below return, and besides whatever an override returns, which may be `async`: Any alone would be an
    # error of `mypy --strict` in an override that ends in `return super()…`.

    def on_start(self) -> Any | None:
        """Prepare before the first message; an exception here makes the start fail, with StartError."""

    def on_receive(self, message: Any) -> Any | None:
        """Handle a message; the return value is the reply to an `ask`. Return `Stop(reason, reply=…)` to end the actor."""
        _log.warning("%s got an unexpected message: %s", self, described(self, message))
        return None

    def terminate(self, reason: ExitReason) -> Any | None:
        """Clean up; called once, with the exit reason, except after KILL and a failed start."""
        if isinstance(reason, Crash):
            error = reason.exception
            return self.on_failure(type(error), error, error.__traceback__)
        return self.on_stop()

    def on_stop(self) -> Any | None:
        """Clean up after an orderly end (pykka's hook)."""

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any | None:
        """Clean up after a crash (pykka's hook)."""

    def stop(self, reason: object = NORMAL) -> None:
        """End this actor when it has handled all earlier messages, as `actor_ref.stop(reason=…)` does; do not wait for it.

        To end before the next message, let the handler return `Stop(reason)`, or call `self.actor_ref.exit(reason)`.

        Raises:
            TypeError: if `reason` is neither an exit reason nor an exception.
        """
        self.send(self, STOP if reason is NORMAL else StopFor(exit_reason(reason)))

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Return what is shown of the state or of a message, instead of the values themselves (OTP's `format_status/1`).

            def format_status(self, status):
                if status.state is not None:
                    status.state["board"] = f"<{len(self.board)} cells>"
                if isinstance(status.message, Pay):
                    status.message = f"pay {status.message.amount}"
                return status

        It is called for everything that shows an actor: log lines, crash reports, the watchdog, `sys.get_status`, `sys.peek`,
        `sys.trace`, the commands of the prompt, and the observer's page; not for `sys.get_state`, `sys.get_log` and functions
        given to `sys.install`, which get the values. What it returns is shown by its repr. Values whose names contain a word
        such as "password" are filtered afterwards in texts; in the objects of `sys` and of crash reports they are as returned.
        It does not get replies, which `sys.trace` and `sys.log` show, nor exceptions.

        It may be called in the middle of a handler, on the event loop or in another thread, also for a `ThreadedActor`. So it
        must be quick, must not block, and must not change the actor. If it raises, or returns something else, a text that
        says so is shown, and the value is not.
        """
        return status

    # Messages and signals: a target is an actor, a ref, a name or a `Via`

    def send(self, target: Target, message: object) -> None:
        """Send a message to an actor, a ref or a name; silently dropped if the actor is dead, or no actor has the name."""
        ref = self.whereis(target)
        if ref is not None:
            ref.send(message)
        else:
            check_missing(target)
            unaddressed(message, target)

    @overload
    def whereis(self, name: Target, *, required: Literal[True]) -> ActorRef: ...

    @overload
    def whereis(self, name: Target, *, required: bool = ...) -> ActorRef | None: ...

    def whereis(self, name: Target, *, required: bool = False) -> ActorRef | None:
        """Return the actor that has a name, or None.

        Raises:
            NotRegisteredError: if no actor has it, and one is `required`.
        """
        scheduler = self._process.scheduler
        ref = resolve(name, scheduler.names.whereis)
        if ref is None and required:
            raise not_found(name, [scheduler])
        return ref

    def register(self, name: Hashable | Via) -> None:
        """Register this actor under a name, until it ends or calls `unregister`.

        Raises:
            NameTakenError: if another living actor has it.
            TypeError: if `name` is None, an actor or a ref, or not hashable.
        """
        check_name(name)
        Via.of(name, self._process.scheduler.names).register(self.actor_ref)

    def unregister(self, name: Hashable | Via) -> None:
        """Give a name back, which another actor can have at once (Erlang's `unregister`).

        Links, monitors and messages in the mailbox stay. An actor that its supervisor restarts has the name of its `ChildSpec`
        again, if that is free; otherwise it cannot start.

        Raises:
            NotRegisteredError: if this actor does not have the name, also if another one has it.
            TypeError: as `register`.
        """
        check_name(name)
        Via.of(name, self._process.scheduler.names).unregister(self.actor_ref)

    def reply_later(self) -> From:
        """Keep the caller of the current message, to reply later: `from_.reply(value)`, by any actor (OTP's `from`).

        What the handler returns is then not a reply. If this actor ends before there is one, the caller gets ActorDeadError.
        """
        return self._process.reply_later()

    def continue_with(self, message: object) -> None:
        """Handle `message` next, before everything in the mailbox (OTP's `continue`).

        In `on_start` it is for work that must be done before the first message, but that the start need not wait for.
        """
        self._process.continue_with(message)

    @property
    def idle_timeout(self) -> float | None:
        """Seconds without a message after which this actor gets an `IdleTimeout`, repeatedly; None: never."""
        idle = self._process.idle
        return None if idle is None else idle.seconds

    @idle_timeout.setter
    def idle_timeout(self, seconds: float | None) -> None:
        process = self._process
        process.check_here()
        if process.idle is not None:
            process.idle.cancel()
        process.idle = None if seconds is None else Idle(process, seconds)

    def exit(self, target: Target, reason: object) -> None:
        """Send an exit signal from this actor; a target that traps exits gets it as an `Exit` (Erlang's `exit/2`).

        `reason` is an exit reason, an exception, or `KILL`, which cannot be trapped and ends the target with KILLED. NORMAL is
        ignored by other actors, unless they trap exits. Does nothing if the target is dead, or no actor has the name.
        """
        ref = self.whereis(target)
        if ref is not None:
            ref.process.send_exit(reason, self._process)
        else:
            check_missing(target)

    @property
    def trap_exit(self) -> bool:
        """Whether exit signals from links arrive as `Exit` messages instead of ending this actor."""
        return self._process.trap_exit

    @trap_exit.setter
    def trap_exit(self, trap: bool) -> None:
        self._process.trap_exit = trap

    def link(self, target: Target) -> None:
        """Link this actor and another: when one ends, the other gets an exit signal; at once, NO_PROCESS, if it is dead."""
        self._process.link(self._process_of(target))

    def unlink(self, target: Target) -> None:
        """Remove a link."""
        self._process.unlink(self._process_of(target))

    def monitor(self, target: Target) -> MonitorRef:
        """Get one `Down` message when another actor ends; at once, with NO_PROCESS, if it is dead or no actor has the name.

        A name is looked up once: the actor that has it now is monitored, not one that gets the name later.
        """
        return self._process.monitor(self._process_of(target))

    def _process_of(self, target: Target) -> Process:
        ref = self.whereis(target)
        if ref is not None:
            return ref.process
        check_missing(target)
        return _Nobody(target, self._process.scheduler)._process

    def demonitor(self, monitor: MonitorRef, *, flush: bool = False) -> None:
        """Remove a monitor; with `flush`, a `Down` that is in the mailbox is not handled either."""
        if not isinstance(monitor, MonitorRef):
            raise TypeError(f"demonitor() takes what monitor() returned, got {safe_repr(monitor)}")
        self._process.demonitor(monitor, flush=flush)

    def own(self, close: Callable[[], object]) -> None:
        """Call `close()` when this actor ends, even if it is killed (as Erlang closes the ports of a process)."""
        if not callable(close):
            raise TypeError(f"own() takes a function, such as connection.close, got {safe_repr(close)}")
        check_function("what own() takes", close, instead="await it in an `async` terminate()")
        self._process.own(close)

    # Time

    def send_after(self, seconds: float, message: object, target: Target | None = None) -> Timer:
        """Send `message` after `seconds`, to this actor or to `target`, unless it has ended by then.

        A name is looked up when the time is up.
        """
        if target is None:
            return self.clock.send_after(seconds, self._process, message)
        if isinstance(target, (pykka.ActorRef, pykka.Actor)):
            return self.clock.send_after(seconds, self._process_of(target), message)
        check_duration(seconds)
        return self.clock.call_after(seconds, lambda: self.send(target, message))

    def send_interval(self, seconds: float, message: object, *, missed_ticks: MissedTicks = "skip") -> Interval:
        """Send `message` to this actor every `seconds`, until it is cancelled or the actor ends.

        `missed_ticks` decides what happens when the handler is slower than that, or the process was stopped for a while, in the
        words of tokio's `MissedTickBehavior`:

        - "skip", the default: a message is sent only at the multiples of `seconds` at which the last one has been handled. A
          slow handler never has more than one of them waiting, and other messages get their turns between them.
        - "delay": the next message is sent `seconds` after the last one has been handled.
        - "burst": all are sent, those that are late at once. They pile up in the mailbox if the handler is slower, as those of
          Erlang's `timer:send_interval`; for a handler that counts them.

        An `async` handler has handled the message when its coroutine has ended.
        """
        return self.clock.send_interval(seconds, self._process, message, missed_ticks=missed_ticks)

    def cancel(self, timer: Timer | Interval) -> float | None:
        """Cancel a timer; return the seconds that were left, or None if it had fired or was cancelled before."""
        return timer.cancel()

    def remaining(self, timer: Timer | Interval) -> float | None:
        """Return the seconds left (Erlang's `read_timer`), or None if the timer has fired or was cancelled."""
        return timer.remaining()

    # What the kernel calls: see `actors.runtime.behaviour.Behaviour`

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    @staticmethod
    def _create_actor_inbox() -> object:
        raise NotImplementedError("an actor's mailbox is made with its process")

    def _start_actor_loop(self) -> None:
        raise NotImplementedError("actors are started by spawn()")

    def _secret_words(self) -> Sequence[str]:
        """Return the words in the names of values that are filtered, whatever `format_status` returns."""
        return STATE_SECRETS

    def _exit_reason(self, reason: ExitReason) -> ExitReason:
        """Return the reason to end with when a signal with `reason` has arrived."""
        return reason

    def _proxied(self) -> object:
        """Return the object that a proxy shows."""
        return self

    def _left_out(self, message: object) -> None:
        """Learn that a message found no room in the mailbox, or was dropped for another; in the sender's thread."""

    def _prepare(self) -> object:
        """Run `on_start`."""
        return self.on_start()

    def _cut_short(self, task: asyncio.Task[Any], reason: ExitReason) -> None:
        """Interrupt a waiting handler, as an exit signal has arrived."""
        task.cancel()

    def _end(self, reason: ExitReason) -> object:
        """Run `terminate`."""
        return self.terminate(reason)

    def _receive(self, message: object) -> object:
        """Handle a message: pykka's, the runtime's, or the author's."""
        handle = _MESSAGES.get(type(message))
        return self.on_receive(message) if handle is None else handle(self, message)


Actor._unstarted = Unstarted(Actor)


class _Nobody(Actor):
    """Represents in a `Down` or an `Exit` a name that no actor has; it never runs."""

    def __init__(self, name: object, scheduler: Scheduler) -> None:
        process = self._process
        process.scheduler, process.label, process.reason = scheduler, printable(safe_str(name)), NO_PROCESS


def _attribute(actor: Actor, path: tuple[str, ...]) -> object:
    value: object = actor
    for name in path:
        value = getattr(value, name)
    return value


def _call(actor: Actor, message: pykka.messages.ProxyCall) -> object:
    method: Any = _attribute(actor, message.attr_path)
    result: object = method(*message.args, **message.kwargs)
    return result


def _get(actor: Actor, message: pykka.messages.ProxyGetAttr) -> object:
    value = _attribute(actor, message.attr_path)
    # An attribute is a value, a future too; only an `async` property is awaited.
    return value if isinstance(value, CoroutineType) else Answer(value) if is_awaitable(value) else value


def _set(actor: Actor, message: pykka.messages.ProxySetAttr) -> None:
    setattr(_attribute(actor, message.attr_path[:-1]), message.attr_path[-1], message.value)


def _answer(actor: Actor, message: SystemCall[Process]) -> object:
    process = actor._process
    process.handled -= 1  # it is not a message of the actor's
    return message.answer(process)


def _carried(actor: Actor, message: Carried) -> object:
    actor._process.current = message.message
    return message.handle(partial(Actor._receive, actor))


def _down(actor: Actor, message: Down) -> object:
    return None if message.ref.flushed else actor.on_receive(message)


def _bounded(actor: Actor, bounds: object) -> Process:
    """Return the process of an actor whose class has a `mailbox`, which may have been set after the class was made."""
    check_mailbox(type(actor))
    return BoundedProcess(actor, bounds) if isinstance(bounds, Mailbox) else Process(actor)


_STOP_NORMALLY = Stop(NORMAL)

_MESSAGES: dict[type, Callable[[Actor, Any], object]] = {
    ActorStop: lambda _actor, _message: _STOP_NORMALLY,
    StopFor: lambda _actor, message: Stop(message.reason),
    SystemCall: _answer,
    Carried: _carried,
    Down: _down,
    pykka.messages.ProxyCall: _call,
    pykka.messages.ProxyGetAttr: _get,
    pykka.messages.ProxySetAttr: _set,
}
