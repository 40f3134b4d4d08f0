"""The actor of a task: it runs one function, on the event loop or in a thread, and ends when that returns."""

from __future__ import annotations

import asyncio
import contextlib
import reprlib
import threading
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from actors.actor import Actor
from actors.callbacks import coroutine_of, is_async
from actors.exceptions import ActorDeadError
from actors.exits import NORMAL, SHUTDOWN, Down, ExitReason, Shutdown, Stop
from actors.fork import leave_child
from actors.log import Log
from actors.redaction import Shown
from actors.runtime.coroutine import Contained, was_cancelled
from actors.runtime.current import current_task, threads_of_tasks

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.behaviour import FormatStatus
    from actors.runtime.process import Process

__all__ = ["TIMED_OUT", "End", "Job", "Outcome", "TaskActor"]

_log = Log("ashtree.actors")

TIMED_OUT = Shutdown("timeout")
"""The exit reason of a task that its `timeout` ended."""


class Outcome(msgspec.Struct, frozen=True):
    """What the function returned or raised."""

    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        """Return what it returned, or raise what it raised."""
        if self.error is None:
            return self.value
        try:
            raise self.error
        finally:
            del self  # of the frame in the traceback of the error, which would be a cycle


class _CallFunction(msgspec.Struct, frozen=True):
    """Sent by the actor to itself: call the function."""


class _Ran(msgspec.Struct, frozen=True):
    """The function has returned or raised."""

    outcome: Outcome


class End(msgspec.Struct, frozen=True):
    """Sent to a task to end it, but not its owner."""

    reason: ExitReason


class Job(Protocol):
    """The `Task` that an actor runs."""

    @property
    def function(self) -> Callable[..., object]:
        """The function to call."""

    @property
    def args(self) -> tuple[object, ...]:
        """Its positional arguments."""

    @property
    def kwargs(self) -> Mapping[str, object]:
        """Its keyword arguments."""

    @property
    def label(self) -> str:
        """The name of the function."""

    @property
    def owner(self) -> ActorRef | None:
        """The actor with which the task ends."""

    @property
    def linked(self) -> bool:
        """Whether the owner crashes with the task."""

    @property
    def timeout(self) -> float | None:
        """The seconds after which the task is ended."""

    def take_context(self) -> Context:
        """Return the context variables of the code that started the task, which is not kept any longer."""

    def actor_started(self, ref: ActorRef[TaskActor]) -> ExitReason | None:
        """Store the actor; return the reason to end with, if the task was told to end before."""

    def actor_ended(self, outcome: Outcome | None) -> None:
        """Store the result, as the actor has ended."""


class TaskActor(Actor):
    """The actor of a `Task`. It handles messages while its function runs, so it can be stopped, and inspected."""

    restart: ClassVar[str] = "temporary"
    _no_dead_letters: ClassVar[tuple[type, ...]] = (object,)

    def __init__(self, task: Job) -> None:
        self._task = task
        # Its supervisor's are of no use to the function.
        self._process.context = task.take_context()
        self._running: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None

    def on_start(self) -> None:
        """Monitor the owner, then call the function."""
        order = self._task.actor_started(self.actor_ref)
        self.actor_ref.down().add_done_callback(lambda _: self._task.actor_ended(self._outcome))
        self.own(self._abandon)
        self._bind(self._task.owner)
        if self._task.timeout is not None:
            self.send_after(self._task.timeout, End(TIMED_OUT))
        self.send(self, _CallFunction() if order is None else End(order))

    def _bind(self, owner: ActorRef | None) -> None:
        # A link does not report a normal end, and a task may not be linked: so each has a monitor.
        if owner is not None:
            self.monitor(owner)
            if self._task.linked:
                self.link(owner)

    def on_receive(self, message: object) -> object:
        """Call the function; end when it returns, when the owner ends, or when told to."""
        match message:
            case _CallFunction():
                self._start_running()
                return None
            case _Ran(outcome=outcome):
                return self._on_ran(outcome)
            case End(reason=reason):
                return self._on_end(reason)
            case Down():
                return Stop(SHUTDOWN)
        return super().on_receive(message)

    def _start_running(self) -> None:
        loop = self._process.scheduler.loop
        self._running = loop.create_task(Contained(self._run(), self._process), name=str(self))

    @property
    def running(self) -> asyncio.Task[None] | None:
        """The asyncio task of its function, if that has not returned."""
        running = self._running
        return None if running is None or running.done() else running

    async def _run(self) -> None:
        current_task.set(self._task)
        try:
            value = await self._call()
        except BaseException as error:  # noqa: BLE001  # whatever the function raises ends this task only
            # What ends this actor by a cancellation, other than by ours, does not read its mailbox any more.
            cancelled = self._running is not None and was_cancelled(self._running, error)
            # Without a variable, which the traceback of the error would keep.
            self.send(self, End(SHUTDOWN) if cancelled else _Ran(Outcome(error=error)))
        else:
            self.send(self, _Ran(Outcome(value)))

    async def _call(self) -> object:
        task = self._task
        if is_async(task.function):
            coroutine: Any = task.function(*task.args, **task.kwargs)
            return await coroutine
        value = await self._call_in_thread()
        coroutine = coroutine_of(value, self)
        if coroutine is None:
            return value
        # As from a lambda that calls a coroutine function.
        if self._process.ending is None:
            return await coroutine
        coroutine.close()
        return None

    # A daemon thread of its own, not one of a pool. A thread cannot be ended: threads that hang would exhaust a pool, and
    # keep the program from exiting. And tasks in a full pool would deadlock when they wait for tasks that have no thread yet.
    async def _call_in_thread(self) -> object:
        scheduler = self._process.scheduler
        returned: asyncio.Future[Outcome] = scheduler.loop.create_future()
        work = partial(_call_and_post, self._process, self._task, returned)
        self._thread = threading.Thread(target=copy_context().run, args=(work,), name=str(self), daemon=True)
        self._thread.start()
        try:
            await returned
            self._thread = None
            return returned.result().result()
        finally:
            del returned, work  # of the frame in the traceback of the error, which would be a cycle

    def _on_ran(self, outcome: Outcome) -> Stop:
        self._outcome = outcome
        outcome.result()
        return Stop(NORMAL)

    def _on_end(self, reason: ExitReason) -> Stop:
        if self._task.owner is not None:
            self.unlink(self._task.owner)
        return Stop(reason)

    # The end

    def terminate(self, reason: ExitReason) -> object:
        """Cancel the function where it awaits; wait for a thread."""
        running = self._running
        if running is None or running.done():
            return None
        if self._thread is None:
            running.cancel()
        else:
            _log.info(
                "%s is to end (%s), but a thread cannot be ended: it waits until its function returns", self, reason
            )
        return _until_over(running)

    def _abandon(self) -> None:
        """Abandon a function that is still running when the actor is killed."""
        if self._running is None or self._running.done():
            return
        self._running.cancel()
        if self._thread is not None:
            _log.warning("%s was killed, but its thread cannot be: its function runs on, its result will be lost", self)

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Show the call of the function in the place of each message."""
        if status.message is not None:
            task = self._task
            arguments = [reprlib.repr(value) for value in task.args]
            arguments += [f"{name}={reprlib.repr(value)}" for name, value in task.kwargs.items()]
            status.message = Shown(f"{task.label}({', '.join(arguments)})")
        return status


async def _until_over(running: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):  # it was cancelled before its first step
        await running


def _call_and_post(process: Process, task: Job, returned: asyncio.Future[Outcome]) -> None:
    threads_of_tasks[get_ident()] = process
    try:
        outcome = _call_function(task)
        if process.scheduler.forked:
            leave_child(outcome.error)
        with contextlib.suppress(ActorDeadError):  # that loop is closed, and this actor dead
            process.scheduler.post(_settle, returned, outcome)
    finally:
        threads_of_tasks.pop(get_ident(), None)
        del process, task, returned, outcome  # the traceback of the error keeps this frame


def _settle(returned: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not returned.done():
        returned.set_result(outcome)


def _call_function(task: Job) -> Outcome:
    try:
        return Outcome(task.function(*task.args, **task.kwargs))
    except BaseException as error:  # noqa: BLE001  # it is raised in the task
        return Outcome(error=error)
