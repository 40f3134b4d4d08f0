"""The process of an actor: how it starts, runs its handlers, receives exit signals and ends.

Everything here is for the scheduler's thread. What one actor sends to another arrives in order. When an actor ends:

1. its `terminate` runs (not after KILL, nor after a failed start);
2. what it owns is closed, its timers are cancelled, its names are released;
3. its links get an exit signal, then its monitors a `Down`, each in the order they were made;
4. callers that wait for its reply get ActorDeadError.

So an actor that learns of the end of another one finds none of its names or timers left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from itertools import count
from typing import TYPE_CHECKING, Any

from actors.callbacks import coroutine_of
from actors.exceptions import ActorDeadError, StartError, Timeout
from actors.exits import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Crash,
    Exit,
    ExitReason,
    Killed,
    Stop,
    exit_reason,
)
from actors.future import Future, shared_future
from actors.log import Log
from actors.recorder import messages_kept
from actors.redaction import Lines, printable, safe_str
from actors.runtime.behaviour import described
from actors.runtime.bypass import BUSY
from actors.runtime.coroutine import Contained, Entering, error_of, was_cancelled
from actors.runtime.debug import Debug
from actors.runtime.envelope import STOPS
from actors.runtime.message_queue import MessageQueue
from actors.runtime.program_exit import leave
from actors.runtime.report import CrashReport, keep
from actors.validation import check_seconds
from actors.via import Via

if TYPE_CHECKING:
    from collections.abc import Hashable
    from contextvars import Context

    from actors.runtime.behaviour import Behaviour
    from actors.runtime.bonds import Bonds
    from actors.runtime.current import Question
    from actors.runtime.scheduler import Scheduler

__all__ = ["Process"]

# The signal that cannot be trapped. An equal reason from a link or from `exit()` is an ordinary one.
_KILL: ExitReason = Killed()

# In the place of the future of an actor that could not start, which would keep its error, and that the actor.
_NOT_STARTED: Future[Any] = Future()

_numbers = count(1)
_log = Log("ashtree.actors")


class Process(MessageQueue):
    """What the runtime knows of one actor; refs keep it, small, after the actor has ended."""

    __slots__ = ("started_at", "task", "trap_exit", "waits_for")

    def __init__(self, actor: Behaviour) -> None:
        super().__init__(next(_numbers), type(actor))
        self.actor = actor
        self.trap_exit = False
        self.started = None
        self.started_at = 0.0
        self.handled = 0
        self.queue = self.current = self.idle = self.debug = self.reply_to = self.deferred = None
        self.bypass = None
        self.scheduled = False
        # The request whose reply this actor is waiting for.
        self.waits_for: Question | None = None
        self.task: asyncio.Task[Any] | None = None
        self.signal = self.ending = None

    # Start

    def start(
        self,
        scheduler: Scheduler,
        *,
        parent: Process | None,
        name: Hashable | None,
        label: str | None,
        record: int | None = None,
        entered: Context | None = None,
    ) -> None:
        """Run `on_start`, linked to the parent; `entered` is the context in which this is called, if it may be the actor's.

        Raises:
            StartError: if a plain `on_start` raised; an `async` one reports it through `started`.
            NameTakenError: if another living actor has the name; then `on_start` is not called.
        """
        self.scheduler, self.parent = scheduler, parent
        text = label or (None if name is None else safe_str(name))
        # A topic is one, and is shown in many places.
        self.label = text if text is None or text.isprintable() else printable(text)
        self.started_at = scheduler.clock.now()
        if (
            record is not None
            or self.actor_class.record is not None
            or (parent is not None and parent.debug is not None)
        ):
            self._record(record, parent)
        self.alive = True
        scheduler.processes[self.number] = self
        if parent is not None:
            self.link(parent)
        outer, scheduler.current = scheduler.current, self
        try:
            if self.context is entered:
                self.run_on_start(name)
            else:
                self.context.run(self.run_on_start, name)
        finally:
            scheduler.current = outer

    def _record(self, by_spec: int | None, parent: Process | None) -> None:
        debug = None if parent is None else parent.debug
        by_parent = None if debug is None or debug.record is None else debug.record.maxlen
        number = messages_kept(by_spec, self.actor_class.record, by_parent)
        if number:
            Debug.of(self).record = deque(maxlen=number)

    def run_on_start(self, name: Hashable | None) -> None:
        """Take the name, then call `on_start`."""
        actor = self.actor
        assert actor is not None
        if name is not None:
            self._take(name)
        try:
            if actor.start_timeout is not None:
                check_seconds("start_timeout", actor.start_timeout, "> 0", others=" or None")
            result = actor._prepare()
            coroutine = None if result is None else coroutine_of(result, actor)
        except BaseException as error:
            raise self._start_failed(error) from error
        if coroutine is not None:
            self.started = shared_future(self.scheduler, self)
            self._run_coroutine(coroutine)
            if actor.start_timeout is not None:
                self.scheduler.clock.call_at(self.started_at + actor.start_timeout, self._on_start_timeout, self)
        elif self.idle is not None and not self.scheduled:
            self.idle.rest()

    def _take(self, name: Hashable) -> None:
        """Take the name, or end, as nothing of the actor has run but its `__init__`."""
        try:
            Via.of(name, self.scheduler.names).register(self.ref)
        except BaseException as error:
            self._start_failed(error)
            raise

    def _on_start_done(self, started: Future[Any], task: asyncio.Task[Any], error: BaseException | None) -> None:
        if self.signal is not None:
            self._interrupted_start(started, self.signal, error)
        elif was_cancelled(task, error):
            self._interrupted_start(started, SHUTDOWN, error)
        elif error is not None:
            self._tell_failure(started, self._start_failed(error))
        else:
            self.started = None
            started.set(self.ref)
            self.go_on()

    def _interrupted_start(self, started: Future[Any], signal: ExitReason, error: BaseException | None) -> None:
        """End by a signal that arrived during `on_start`; `terminate` runs only if `on_start` came to its end."""
        started.set_exception(ActorDeadError(f"{self.name} was ended while it started"))
        if error is None:
            self._obey()
        else:
            self.finish(signal)

    def _on_start_timeout(self) -> None:
        if self.started is None or self.started.done or self.signal is not None:
            return
        actor, task = self.actor, self.task
        assert actor is not None
        assert task is not None
        started, late = self.started, Timeout(f"on_start took more than {actor.start_timeout} seconds")
        failed = self._start_failed(late)
        task.cancel()
        self._tell_failure(started, failed)

    def _tell_failure(self, started: Future[Any], failed: StartError) -> None:
        """Raise the failure where the start is awaited; log it if it is not."""
        if not started.is_awaited and self.scheduler.crash_log.admits(_log, "failed starts", self.actor_class):
            _log.error("%s; nothing awaits ref.started(), which raises this", failed, exc_info=failed.cause)
        started.set_exception(failed)

    def _start_failed(self, error: BaseException) -> StartError:
        """End without an exit signal to the parent, which gets the failure as the StartError of its call."""
        leave(error)
        if self.parent is not None:
            self.unlink(self.parent)
        self.started = None
        self.finish(Crash(error))
        self.started = _NOT_STARTED
        return StartError(self.name, error)

    def until_started(self) -> Future[Any]:
        """Return a future of the ref that is answered when `on_start` has ended."""
        if self.started is not None and self.started is not _NOT_STARTED:
            return self.started
        self.must_have_started()
        future: Future[Any] = Future(self.scheduler)
        if self.started is None:
            future.set(self.ref)
        else:
            assert isinstance(self.reason, Crash)
            future.set_exception(StartError(self.name, self.reason.exception))
        return future

    # Handlers that end the actor, and those that wait

    def _wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._run_coroutine(coroutine)

    def _stop(self, stop: Stop) -> None:
        if (
            type(self.current) not in STOPS
        ):  # `ref.stop()` is answered when the actor has stopped, not when it begins to
            self.reply(stop.reply)
        try:
            reason = exit_reason(stop.reason)
        except TypeError as error:
            self._crash(error)
            return
        self.end(reason)

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine of this actor as a task; the actor handles no message until it is done."""
        self.scheduled = True
        loop = self.scheduler.loop
        if loop.get_task_factory() is None:
            self.task = loop.create_task(Contained(coroutine, self), name=self.name, context=self.context)
        else:
            self.task = loop.create_task(Entering(coroutine, self), name=self.name)
        self.task.add_done_callback(self._on_task_done, context=self.context)
        if self.signal is not None and self.ending is None and self.task is not None:
            # It arrived before there was a task, as when a plain `on_receive` stops its actor and returns a coroutine.
            self._interrupt(self.signal)

    def _on_task_done(self, task: asyncio.Task[Any]) -> None:
        error = error_of(task)
        if task is not self.task:
            # The actor has ended, and did not wait for it.
            if error is not None:
                leave(error)
            return
        self.task = None
        try:
            if self.ending is not None:
                self._on_terminate_done(self.ending, task, error)
            elif self.started is not None:
                self._on_start_done(self.started, task, error)
            else:
                self._on_handler_done(task, error)
        except BaseException as escaped:  # noqa: BLE001  # as in a turn
            self.escaped(escaped)

    def _on_handler_done(self, task: asyncio.Task[Any], error: BaseException | None) -> None:
        if self.signal is not None and task.cancelling():
            self._obey()
        elif was_cancelled(task, error):
            # By other code than ours, such as `asyncio.run` at its end: the handler has not failed.
            self.end(SHUTDOWN)
        elif error is not None:
            self._crash(error)
        elif self._accept(task.result()):
            self.go_on()

    def interrupted(self) -> None:
        """Learn that a task of this actor is cancelled: by an exit signal, a time limit of its own, or other code than ours."""
        if self.signal is None and self.ending is None and self.alive:
            self.scheduler.look_for_end()

    # Signals

    def exit_signal(self, reason: ExitReason, sender: Bonds | None) -> None:
        """Receive an exit signal, by Erlang's rules: a message if exits are trapped; else it ends the actor, unless normal.

        A signal from the parent is an order to shut down even if exits are trapped (OTP's `gen_server`).
        """
        is_order = sender is not None and sender is self.parent
        if self.trap_exit and sender is not None and not is_order:
            self.put(Exit(sender.ref, reason))
        elif not is_order and sender is not self and reason == NORMAL:
            return
        else:
            self._signal(reason)

    def send_exit(self, reason: object, sender: Process | None) -> None:
        """Send this actor an exit signal from any thread; `reason` may be KILL, an exit reason or an exception.

        Raises:
            TypeError: if it is none of these.
        """
        if not self.alive:
            self.check_here()
            return
        if reason is KILL:
            self.scheduler.run_or_post(self.kill)
        else:
            self.scheduler.run_or_post(self.exit_signal, exit_reason(reason), sender)

    def kill(self) -> None:
        """Receive the signal that cannot be trapped."""
        self._signal(_KILL)

    def _signal(self, reason: ExitReason) -> None:
        if not self.alive:
            return
        if reason is not _KILL and (self.signal is not None or self.ending is not None):
            return
        self.signal = reason
        if self.task is not None:
            try:
                self._interrupt(reason)
            except BaseException as error:  # noqa: BLE001  # what it awaits may refuse to be cancelled
                self.run(self.escaped, error)
        elif not self.scheduled:
            self.scheduled = True
            self._be_ready()
        else:
            self.scheduler.unpark(self)

    def _interrupt(self, reason: ExitReason) -> None:
        """Interrupt a waiting handler; a killed actor has ended even if its handler ignores the cancellation."""
        task = self.task
        assert task is not None
        if reason is _KILL:
            self.finish(KILLED)
            task.cancel()
        elif self.actor is not None:
            self.actor._cut_short(task, reason)

    def _obey(self) -> None:
        """End as the received exit signal says."""
        reason = self.signal
        assert reason is not None
        if reason is _KILL:
            self.finish(KILLED)
        elif self.actor is not None:
            self.end(self.actor._exit_reason(reason))

    # End

    def _crash(self, error: BaseException) -> None:
        """End because a handler raised: log a report; the caller gets the exception when the actor has ended."""
        leave(error)
        self._report(error)
        self.end(Crash(error))

    def fail(self, item: object, error: BaseException) -> None:
        """End because something raised that was done with an item on behalf of the actor, while it rested."""
        leave(error)
        self.current = item
        self._report(error)
        self._signal(Crash(error))

    def escaped(self, error: BaseException) -> None:
        """End because something raised that is no handler: whatever leaves a turn, or what is done when a coroutine is over."""
        if not self.alive:
            self.failed_at_end(error)
        elif self.ending is None:
            self._crash(error)
        else:
            leave(error)
            self._report(error)
            self.finish(Crash(error))

    def _report(self, error: BaseException) -> None:
        if not self.alive:
            return  # killed while it was busy
        try:
            report = CrashReport(self, error)
            keep(report)
            if self.scheduler.crash_log.admits(_log, "crashes", self.actor_class):
                _log.error("%s", Lines(report), exc_info=error)
        except BaseException as failure:  # noqa: BLE001  # such as that of an attribute; the actor has to end
            leave(failure, of_report=True)
            _log.error("%s crashed: %s; there is no report, as that failed", self.name, error, exc_info=failure)

    def current_message(self) -> str:
        """Return the message that is being handled, as the actor describes it for logs."""
        return described(self.actor, self.current)

    def end(self, reason: ExitReason) -> None:
        """Run `terminate`, then finish."""
        if self.ending is not None or self.actor is None:
            return
        self.ending, self.scheduled = reason, True
        if self.bypass is not None:
            self.bypass.hold(BUSY)
        try:
            result = self.actor._end(reason)
            coroutine = None if result is None else coroutine_of(result, self.actor)
        except BaseException as error:  # noqa: BLE001  # as in a handler
            self.escaped(error)
            return
        if coroutine is not None:
            self._run_coroutine(coroutine)
        else:
            self.finish(reason)

    def _on_terminate_done(self, reason: ExitReason, task: asyncio.Task[Any], error: BaseException | None) -> None:
        if error is None or was_cancelled(task, error):
            self.finish(reason)
        else:
            self.escaped(error)

    def finish(self, reason: ExitReason) -> None:
        """Mark as exited; notify links, monitors and callers."""
        if not self.alive:
            return
        self.alive, self.reason = False, reason
        try:
            self._release()
            if self.links is not None:
                self._notify_links(reason)
            if self.watchers is not None or self.watching is not None:
                self._notify_watchers(reason)
            self.refuse_mail()
            if self.bypass is not None:
                self.bypass.hold(BUSY)
        finally:
            self.actor = self.task = self.current = self.bypass = self.idle = self.debug = self.waits_for = None
            self.context = self.scheduler.ended
            # The cycle of process and ref is broken, so that their memory is freed at once and not at the next collection.
            self._ref = None

    def finish_killed(self) -> None:
        """End at once, as the event loop itself ends."""
        task = self.task
        self.finish(KILLED)
        if task is not None:
            self.contain(task.cancel)
