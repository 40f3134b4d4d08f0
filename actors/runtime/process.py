"""The process behind an actor: mailbox, links, monitors, signals, and how it ends.

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
from collections.abc import Callable, Coroutine, Generator
from inspect import iscoroutine
from itertools import count
from typing import TYPE_CHECKING, Any

import pykka.messages

from actors.exceptions import ActorDeadError, StartError
from actors.exits import (
    KILLED,
    NORMAL,
    Crash,
    Exit,
    ExitReason,
    Killed,
    Refuse,
    Stop,
    exit_reason,
)
from actors.future import Future
from actors.registry import ActorRegistry
from actors.runtime.bonds import Bonds

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.runtime.scheduler import Scheduler

__all__ = ["Envelope", "Process"]

# Messages in one turn before the next process gets its own.
TURN = 64

# The signal that cannot be trapped. A reason equal to it that comes from a link or from `exit()` is an ordinary one.
_KILL: ExitReason = Killed()

_numbers = count(1)
_log = logging.getLogger("ashtree.actors")


class Envelope:
    """A message whose sender waits for an answer."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: Future[Any]) -> None:
        self.message, self.reply_to = message, reply_to


class Process(Bonds):
    """What the runtime knows of one actor; it stays behind, small, when the actor has ended."""

    __slots__ = (
        "actor",
        "current",
        "ending",
        "handled",
        "queue",
        "reply_to",
        "scheduled",
        "signal",
        "started",
        "started_at",
        "task",
        "trap_exit",
    )

    def __init__(self, actor: Actor) -> None:
        super().__init__(next(_numbers), type(actor))
        self.actor: Actor | None = actor
        self.trap_exit = False
        self.started: Future[Any] | None = None
        self.started_at = 0.0
        self.handled = 0
        # Mailbox: made when the first message comes and dropped when it is empty, as most actors are idle.
        self.queue: deque[Any] | None = None
        self.scheduled = False
        self.current: Any = None
        self.reply_to: Future[Any] | None = None
        self.task: asyncio.Task[Any] | None = None
        # How it is to end: a signal that has arrived, then the reason it is ending with.
        self.signal: ExitReason | None = None
        self.ending: ExitReason | None = None

    # Start

    def start(self, scheduler: Scheduler, *, parent: Process | None, name: str | None, label: str | None) -> None:
        """Begin to live: run `on_start` and be linked to the parent.

        Raises:
            StartError: if a plain `on_start` raised; an `async` one tells through `started`.
        """
        self.scheduler, self.parent, self.label = scheduler, parent, label or name
        self.started_at = scheduler.clock.now()
        self.alive = True
        scheduler.processes[self.number] = self
        ActorRegistry.register(self)
        if parent is not None:
            self.link(parent)
        outer, scheduler.current = scheduler.current, self
        try:
            self._run_on_start(name)
        finally:
            scheduler.current = outer

    def _run_on_start(self, name: str | None) -> None:
        assert self.actor is not None
        try:
            if name is not None:
                self.scheduler.names.register(name, self.ref)
            result: Any = self.actor.on_start()
        except BaseException as error:
            raise self._start_failed(error) from error
        if iscoroutine(result):
            self.started = Future(self.scheduler)
            self._run_coroutine(result, self._on_start_done)

    def _on_start_done(self, task: asyncio.Task[Any]) -> None:
        started, self.started, self.task = self.started, None, None
        assert started is not None
        if not self.alive:
            return
        error = _error_of(task)
        if error is None and self.signal is None:
            started.set(self.ref)
            self._resume()
        elif self.signal is not None:
            started.set_exception(ActorDeadError(f"{self.name} was ended while it started"))
            if error is None:
                self._obey()
            else:
                self.finish(self.signal)
        else:
            assert error is not None
            started.set_exception(self._start_failed(error))

    def _start_failed(self, error: BaseException) -> StartError:
        """End without a word to the parent: it learns of the failure as the one who starts us."""
        if self.parent is not None:
            self.unlink(self.parent)
        self.finish(Crash(error))
        return StartError(self.name, error)

    # Mailbox

    def put(self, item: Any) -> None:
        """Put a message, or an `Envelope`, in the mailbox; one to the dead is dropped."""
        if not self.alive:
            _refuse(item, self)
            return
        if self.queue is None:
            self.queue = deque((item,))
        else:
            self.queue.append(item)
        if not self.scheduled:
            self.scheduled = True
            self.scheduler.ready(self)

    def turn(self) -> None:
        """Handle what is in the mailbox, up to `TURN` messages, then let others go on."""
        if self.signal is not None:
            self._obey()
        elif self.actor is not None:
            self._handle_mail(self.actor._receive)

    def _handle_mail(self, receive: Callable[[Any], Any]) -> None:
        queue, left = self.queue, TURN
        while queue and left:
            left -= 1
            item = queue.popleft()
            if type(item) is Envelope:
                item, self.reply_to = item.message, item.reply_to
            self.current = item
            try:
                result = receive(item)
            except BaseException as error:  # noqa: BLE001  # whatever an actor raises ends that actor and no other
                self._crash(error)
                return
            # The common case first: nothing to answer, nothing to wait for.
            if (result is not None or self.reply_to is not None) and not self._accept(result):
                self.handled += TURN - left - 1
                return
            if self.signal is not None:
                self._obey()
                return
        self.handled += TURN - left
        self._resume()

    def _resume(self) -> None:
        """Go to the end of the ready queue if there is more to do, else rest."""
        if self.signal is not None or self.queue:
            self.scheduled = True
            self.scheduler.ready(self)
        else:
            self.scheduled = False
            self.queue = self.current = None

    def _accept(self, result: Any) -> bool:
        """Take what a handler returned; tell whether the next message may be handled at once."""
        if iscoroutine(result):
            self._run_coroutine(result, self._on_handler_done)
            return False
        if isinstance(result, Stop):
            self._stop(result)
            return False
        self._reply(result)
        return True

    def _reply(self, result: Any) -> None:
        reply_to, self.reply_to = self.reply_to, None
        if reply_to is None or reply_to.done:
            return
        if isinstance(result, Refuse):
            reply_to.set_exception(result.error)
        else:
            reply_to.set(result)

    def _stop(self, stop: Stop) -> None:
        if isinstance(self.current, _ActorStop):
            # `ref.stop()` is answered when the actor has stopped, not when it begins to.
            self.end(NORMAL)
            return
        self._reply(stop.reply)
        try:
            reason = exit_reason(stop.reason)
        except TypeError as error:
            self._crash(error)
            return
        self.end(reason)

    # Handlers that wait

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any], done: Callable[[asyncio.Task[Any]], None]) -> None:
        """Let a coroutine of this actor run as a task; the actor takes no message until it is done."""
        self.scheduled = True
        self.task = self.scheduler.loop.create_task(_Contained(coroutine), name=self.name)
        self.task.add_done_callback(done)

    def _on_handler_done(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        error = _error_of(task)
        if not self.alive:
            return
        self.handled += 1
        if self.signal is not None:
            self._obey()
        elif error is not None:
            self._crash(error)
        elif self._accept(task.result()):
            self._resume()

    # Signals

    def exit_signal(self, reason: ExitReason, sender: Bonds | None) -> None:
        """Receive an exit signal (Erlang's rules): trapped as a message, ignored if normal, else the end.

        One from the parent is an order to shut down even when exits are trapped (OTP's `gen_server`).
        """
        is_order = sender is not None and sender is self.parent
        if self.trap_exit and sender is not None and not is_order:
            self.put(Exit(sender.ref, reason))
        elif reason == NORMAL and not is_order:
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
            self.scheduled = True
            self.scheduler.ready(self)

    def _interrupt(self, reason: ExitReason) -> None:
        """Cut a waiting handler short; one that is killed is gone even if it does not let itself be cut short."""
        task = self.task
        assert task is not None
        if reason is _KILL:
            self.finish(KILLED)
        task.cancel()

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

    def _report(self, error: BaseException) -> None:
        _log.error(
            "%s crashed: %s: %s\n  last message: %s\n  ancestors: %s",
            self.name,
            type(error).__name__,
            error,
            self._last_message(),
            ", ".join(self.ancestors()) or "none",
            exc_info=error,
        )

    def _last_message(self) -> str:
        if self.actor is None or self.current is None:
            return "none"
        try:
            return self.actor._describe(self.current)
        except Exception:  # noqa: BLE001  # the author's __repr__; the end goes on
            return f"<{type(self.current).__name__} that cannot be shown>"

    def end(self, reason: ExitReason) -> None:
        """Run `terminate`, then finish."""
        if self.ending is not None or self.actor is None:
            return
        self.ending, self.scheduled = reason, True
        try:
            result: Any = self.actor._end(reason)  # the actor's side of this very class
        except BaseException as error:  # noqa: BLE001  # as in a handler
            self._report(error)
            self.finish(Crash(error))
            return
        if iscoroutine(result):
            self._run_coroutine(result, self._on_terminate_done)
        else:
            self.finish(reason)

    def _on_terminate_done(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        error = _error_of(task)
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
        self._tell_links(reason)
        self._tell_watchers(reason)
        self._refuse_mail()
        self.actor = self.task = None

    def finish_killed(self) -> None:
        """Be gone at once, when the loop itself ends."""
        if self.task is not None:
            self.task.cancel()
        self.finish(KILLED)

    def _refuse_mail(self) -> None:
        """Answer all who wait; who asked for the end has what he asked for."""
        queue, self.queue = self.queue, None
        reply_to, self.reply_to = self.reply_to, None
        if reply_to is not None and not reply_to.done:
            self._answer_last(reply_to)
        for item in queue or ():
            _refuse(item, self)
        self.current = None
        self._refuse_starter()

    def _answer_last(self, reply_to: Future[Any]) -> None:
        """Give whoever asked the question that ended us the exception it raised."""
        if isinstance(self.ending, Crash) and self.signal is None:
            reply_to.set_exception(self.ending.exception)
        else:
            _refuse(Envelope(self.current, reply_to), self)

    def _refuse_starter(self) -> None:
        if self.started is not None and not self.started.done:
            self.started.set_exception(ActorDeadError(f"{self.name} was ended while it started"))


_ActorStop: type = pykka.messages._ActorStop  # pykka's own message behind `ref.stop()`; there is no public name


def _refuse(item: Any, process: Process) -> None:
    """Answer a message that will never be handled."""
    if type(item) is not Envelope or item.reply_to.done:
        return
    if isinstance(item.message, _ActorStop):
        item.reply_to.set(None)
    else:
        item.reply_to.set_exception(ActorDeadError(f"{process.name} is dead"))


class _Escaped(Exception):  # noqa: N818  # not an error of its own: it carries one past asyncio
    """SystemExit or KeyboardInterrupt, which a task would pass on to its loop, and end everybody."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine of an actor: whatever it raises ends that actor and no other."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, None, Any]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _Escaped(error) from error

    def throw(self, *error: Any) -> Any:
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _Escaped(raised) from raised

    def close(self) -> None:
        self._coroutine.close()


def _error_of(task: asyncio.Task[Any]) -> BaseException | None:
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    return error.error if isinstance(error, _Escaped) else error
