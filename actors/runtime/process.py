"""The process behind an actor: how it starts, waits, gets signals and ends; on its mailbox, links and monitors.

All of it belongs to the scheduler's thread. The order of things that one actor sends to another is kept. When an actor ends:

1. its `terminate` runs (not after KILL, and not when it could not start);
2. what it owned is closed, its timers are cancelled, its names are free;
3. its links are told, then its monitors, each in the order they were made;
4. who waits for an answer from it gets ActorDeadError.

So whoever knows of a death finds nothing left of the actor.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from actors.exceptions import ActorDeadError, StartError, Timeout
from actors.exits import (
    KILLED,
    NORMAL,
    Crash,
    Exit,
    ExitReason,
    Killed,
    Stop,
    exit_reason,
)
from actors.future import Future
from actors.recorder import keep, record_for
from actors.runtime.bypass import BUSY
from actors.runtime.coroutine import Contained, error_of
from actors.runtime.debug import Debug
from actors.runtime.envelope import ActorStop
from actors.runtime.mailbox import Mailbox
from actors.runtime.report import CrashReport, described
from actors.validation import check_seconds
from actors.via import Via

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.recorder import Recorded
    from actors.runtime.bonds import Bonds
    from actors.runtime.scheduler import Scheduler

__all__ = ["Process"]

# The signal that cannot be trapped. A reason equal to it that comes from a link or from `exit()` is an ordinary one.
_KILL: ExitReason = Killed()

_numbers = count(1)
_log = logging.getLogger("ashtree.actors")


class Process(Mailbox):
    """What the runtime knows of one actor; it stays behind, small, when the actor has ended."""

    __slots__ = ("started_at", "task", "trap_exit", "waits_for")

    def __init__(self, actor: Actor) -> None:
        super().__init__(next(_numbers), type(actor))
        self.actor = actor
        self.trap_exit = False
        self.started = None
        self.started_at = 0.0
        self.handled = 0
        self.queue = self.current = self.idle = self.debug = self.reply_to = self.deferred = None
        self.bypass = None
        self.scheduled = False
        # What this actor itself waits for.
        self.waits_for: Future[Any] | None = None
        self.task: asyncio.Task[Any] | None = None
        self.signal = self.ending = None

    # Start

    def start(
        self,
        scheduler: Scheduler,
        *,
        parent: Process | None,
        name: str | Via | None,
        label: str | None,
        record: int | None = None,
    ) -> None:
        """Begin to live: run `on_start` and be linked to the parent.

        Raises:
            StartError: if a plain `on_start` raised; an `async` one tells through `started`.
        """
        self.scheduler, self.parent = scheduler, parent
        self.label = label or (None if name is None else str(name))
        self.started_at = scheduler.clock.now()
        if (
            record is not None
            or self.actor_class.record is not None
            or (parent is not None and parent.debug is not None)
        ):
            self._record(record_for(self, record, parent))
        self.alive = True
        scheduler.processes[self.number] = self
        if parent is not None:
            self.link(parent)
        outer, scheduler.current = scheduler.current, self
        try:
            self._run_on_start(name)
        finally:
            scheduler.current = outer

    def _record(self, messages: deque[Recorded] | None) -> None:
        if messages is not None:
            Debug.of(self).record = messages

    def _run_on_start(self, name: str | Via | None) -> None:
        actor = self.actor
        assert actor is not None
        try:
            if actor.start_timeout is not None:
                check_seconds("start_timeout", actor.start_timeout, "> 0", others=" or None")
            if name is not None:
                Via.of(name, self.scheduler.names).register(self.ref)
            result: Any = actor._prepare()  # the actor's side of this very class
        except BaseException as error:
            raise self._start_failed(error) from error
        if type(result) is CoroutineType:
            self.started = Future(self.scheduler)
            self._run_coroutine(result, self._on_start_done)
            if actor.start_timeout is not None:
                self.scheduler.clock.call_at(self.started_at + actor.start_timeout, self._on_start_timeout, self)
        elif self.idle is not None and not self.scheduled:
            self.idle.rest()

    def _on_start_done(self, task: asyncio.Task[Any]) -> None:
        started, self.task = self.started, None
        assert started is not None
        if not self.alive:
            return
        error = error_of(task)
        if error is None and self.signal is None:
            self.started = None
            started.set(self.ref)
            self.go_on()
        elif self.signal is not None:
            started.set_exception(ActorDeadError(f"{self.name} was ended while it started"))
            if error is None:
                self._obey()
            else:
                self.finish(self.signal)
        else:
            assert error is not None
            started.set_exception(self._start_failed(error))

    def _on_start_timeout(self) -> None:
        if self.started is None or self.started.done or self.signal is not None:
            return
        actor, task = self.actor, self.task
        assert actor is not None
        assert task is not None
        started, late = self.started, Timeout(f"on_start took more than {actor.start_timeout} seconds")
        failed = self._start_failed(late)
        task.cancel()
        started.set_exception(failed)

    def _start_failed(self, error: BaseException) -> StartError:
        """End without a word to the parent: it learns of the failure as the one who starts us."""
        if self.parent is not None:
            self.unlink(self.parent)
        started, self.started = self.started, None
        self.finish(Crash(error))
        self.started = started
        return StartError(self.name, error)

    # Handlers that end the actor, and those that wait

    def _wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._run_coroutine(coroutine, self._on_handler_done)

    def _stop(self, stop: Stop) -> None:
        if type(self.current) is ActorStop:
            # `ref.stop()` is answered when the actor has stopped, not when it begins to.
            self.end(NORMAL)
            return
        self.reply(stop.reply)
        try:
            reason = exit_reason(stop.reason)
        except TypeError as error:
            self._crash(error)
            return
        self.end(reason)

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[asyncio.Task[Any]], None]) -> None:
        """Let a coroutine of this actor run as a task; the actor takes no message until it is done."""
        self.scheduled = True
        self.task = self.scheduler.loop.create_task(Contained(coroutine, self), name=self.name)
        self.task.add_done_callback(done)
        if self.signal is not None and self.ending is None:
            # It came while there was no task yet, as when a plain `on_receive` stops its actor and returns a coroutine.
            self._interrupt(self.signal)

    def _on_handler_done(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        error = error_of(task)
        if not self.alive:
            return
        if self.signal is not None and task.cancelling():
            self._obey()
        elif error is not None:
            self._crash(error)
        elif self._accept(task.result()):
            self.go_on()

    # Signals

    def exit_signal(self, reason: ExitReason, sender: Bonds | None) -> None:
        """Receive an exit signal (Erlang's rules): trapped as a message, ignored if normal, else the end.

        One from the parent is an order to shut down even when exits are trapped (OTP's `gen_server`).
        """
        is_order = sender is not None and sender is self.parent
        if self.trap_exit and sender is not None and not is_order:
            self.put(Exit(sender.ref, reason))
        elif reason == NORMAL and not is_order and sender is not self:
            return
        else:
            self._signal(reason)

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
            self._interrupt(reason)
        elif not self.scheduled:
            self._be_ready()

    def _interrupt(self, reason: ExitReason) -> None:
        """Cut a waiting handler short; one that is killed is gone even if it does not let itself be cut short."""
        task = self.task
        assert task is not None
        if reason is _KILL:
            self.finish(KILLED)
            task.cancel()
        elif self.actor is not None:
            self.actor._cut_short(task, reason)

    def _obey(self) -> None:
        """Do what the signal that has arrived says."""
        reason = self.signal
        assert reason is not None
        if reason is _KILL:
            self.finish(KILLED)
        elif self.actor is not None:
            self.end(self.actor._exit_reason(reason))  # the actor's side of this very class

    # End

    def _crash(self, error: BaseException) -> None:
        """End because a handler raised: the log gets a report, and whoever asked the exception, once we are gone."""
        self._report(error)
        self.end(Crash(error))

    def fail(self, item: Any, error: Exception) -> None:
        """End because something raised that was done with an item in the actor's place, while it rested."""
        self.current = item
        self._report(error)
        self._signal(Crash(error))

    def _report(self, error: BaseException) -> None:
        report = CrashReport(self, error)
        keep(report)
        _log.error("%s", report, exc_info=error)

    def _last_message(self) -> str:
        return described(self.actor, self.current)

    def end(self, reason: ExitReason) -> None:
        """Run `terminate`, then finish."""
        if self.ending is not None or self.actor is None:
            return
        self.ending, self.scheduled = reason, True
        if self.bypass is not None:
            self.bypass.hold(BUSY)
        try:
            result: Any = self.actor._end(reason)  # the actor's side of this very class
        except BaseException as error:  # noqa: BLE001  # as in a handler
            self._report(error)
            self.finish(Crash(error))
            return
        if type(result) is CoroutineType:
            self._run_coroutine(result, self._on_terminate_done)
        else:
            self.finish(reason)

    def _on_terminate_done(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        error = error_of(task)
        if not self.alive:
            return
        if error is not None:
            self._report(error)
        assert self.ending is not None
        self.finish(self.ending if error is None else Crash(error))

    def finish(self, reason: ExitReason) -> None:
        """Be gone, and let everybody know."""
        if not self.alive:
            return
        self.alive, self.reason = False, reason
        self._let_go()
        if self.links is not None:
            self._tell_links(reason)
        if self.watchers is not None or self.watching is not None:
            self._tell_watchers(reason)
        self.refuse_mail()
        if self.bypass is not None:
            self.bypass.hold(BUSY)
            self.bypass = None
        self.actor = self.task = self.current = self.idle = self.debug = self.waits_for = None
        # The ring of process and ref is broken, so that the memory is free at once and not at the next collection.
        self._ref = None

    def finish_killed(self) -> None:
        """Be gone at once, when the loop itself ends."""
        if self.task is not None:
            self.task.cancel()
        self.finish(KILLED)
