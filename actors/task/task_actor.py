"""The actor of a task: it runs one function, on the loop or in a thread, and ends with it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import reprlib
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from actors.actor import Actor
from actors.exceptions import ActorDeadError
from actors.exits import NORMAL, SHUTDOWN, Down, ExitReason, Shutdown, Stop
from actors.runtime.coroutine import Contained

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.task.task import Task

__all__ = ["TIMED_OUT", "End", "Outcome", "TaskActor", "current_task"]

_log = logging.getLogger("ashtree.actors")

TIMED_OUT = Shutdown("timeout")
"""Why a task ended whose time was over."""

current_task: ContextVar[Task[Any] | None] = ContextVar("task", default=None)
"""The task whose function runs here, in its own thread too."""


class Outcome(msgspec.Struct, frozen=True):
    """What the function returned or raised."""

    value: Any = None
    error: BaseException | None = None


class _Run(msgspec.Struct, frozen=True):
    """The task tells itself to call its function."""


class _Ran(msgspec.Struct, frozen=True):
    """The function has returned or raised."""

    outcome: Outcome


class End(msgspec.Struct, frozen=True):
    """The task is to end, and its owner to live on."""

    reason: ExitReason


class TaskActor(Actor):
    """The actor of a `Task`. While its function runs it takes messages, so it can be stopped and asked what it is at."""

    restart: ClassVar[str] = "temporary"

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        self._running: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._outcome: Outcome | None = None

    def on_start(self) -> None:
        """Watch the owner, and go to work."""
        order = self._task._started(self.actor_ref)
        self.actor_ref.down().add_done_callback(lambda _: self._task._ended(self._outcome))
        self.own(self._abandon)
        self._bind(self._task.owner)
        if self._task.timeout is not None:
            self.send_after(self._task.timeout, End(TIMED_OUT))
        self.send(self, _Run() if order is None else End(order))

    def _bind(self, owner: ActorRef[Any] | None) -> None:
        # A link does not carry a normal end, and tasks that are not linked have none: so each has a monitor.
        if owner is not None:
            self.monitor(owner)
            if self._task.linked:
                self.link(owner)

    def on_receive(self, message: Any) -> Any:
        """Call the function, and end with it, with the owner, or when told to."""
        match message:
            case _Run():
                return self._start_running()
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

    async def _run(self) -> None:
        current_task.set(self._task)
        try:
            outcome = Outcome(await self._call())
        except BaseException as error:  # noqa: BLE001  # whatever the function raises ends this task and nobody else
            outcome = Outcome(error=error)
        self.send(self, _Ran(outcome))

    async def _call(self) -> Any:
        task = self._task
        if _is_async(task.function):
            return await task.function(*task.args, **task.kwargs)
        value = await self._call_in_thread()
        if not inspect.iscoroutine(value):
            return value
        # Such as a lambda makes that only calls a coroutine function.
        if self._process.ending is None:
            return await value
        value.close()
        return None

    # A daemon thread of its own, not one of a pool: threads cannot be ended, so those that hang would use a pool up, and
    # keep the program from its end; and tasks of a full pool that wait for others which have no thread yet would wait for ever.
    async def _call_in_thread(self) -> Any:
        task, scheduler = self._task, self._process.scheduler
        returned: asyncio.Future[Outcome] = scheduler.loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not returned.done():
                returned.set_result(outcome)

        def call() -> None:
            outcome = _call_function(task)
            with contextlib.suppress(ActorDeadError):  # that loop is closed: nobody waits there any more
                scheduler.post(settle, outcome)

        self._thread = threading.Thread(target=copy_context().run, args=(call,), name=str(self), daemon=True)
        self._thread.start()
        outcome = await returned
        self._thread = None
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def _on_ran(self, outcome: Outcome) -> Stop:
        self._outcome = outcome
        if outcome.error is not None:
            raise outcome.error
        return Stop(NORMAL)

    def _on_end(self, reason: ExitReason) -> Stop:
        if self._task.owner is not None:
            self.unlink(self._task.owner)
        return Stop(reason)

    # The end

    def terminate(self, reason: ExitReason) -> Any:
        """Cut the function short where it waits; a thread is waited for."""
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
        """Give up what still runs when the actor is killed."""
        if self._running is None or self._running.done():
            return
        self._running.cancel()
        if self._thread is not None:
            _log.warning("%s was killed, but its thread cannot be: its function goes on, its result will be lost", self)

    def _describe(self, message: Any) -> str:
        task = self._task
        arguments = [reprlib.repr(value) for value in task.args]
        arguments += [f"{name}={reprlib.repr(value)}" for name, value in task.kwargs.items()]
        return f"{task.label}({', '.join(arguments)})"


async def _until_over(running: asyncio.Task[None]) -> None:
    with contextlib.suppress(asyncio.CancelledError):  # it was ended before its first step
        await running


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _call_function(task: Task[Any]) -> Outcome:
    try:
        return Outcome(task.function(*task.args, **task.kwargs))
    except BaseException as error:  # noqa: BLE001  # it is raised in the task
        return Outcome(error=error)
