"""Tasks: one function run by a process of its own, and its result (Elixir's `Task`)."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import reprlib
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, overload

import msgspec

from actors.actor import Actor
from actors.exceptions import ActorDeadError, BlockingCallError, TaskExitError, Timeout
from actors.exits import NO_PROCESS, NORMAL, SHUTDOWN, Crash, Down, ExitReason, Shutdown, Stop
from actors.future import Future
from actors.ref import ASK_TIMEOUT, ActorRef
from actors.runtime.coroutine import Contained
from actors.runtime.scheduler import Scheduler
from actors.runtime.spawn import spawn

__all__ = ["Owner", "Task", "TaskActor"]

_log = logging.getLogger("ashtree.actors")

T = TypeVar("T")
P = ParamSpec("P")

TIMED_OUT = Shutdown("timeout")

_current: ContextVar[Task[Any] | None] = ContextVar("task", default=None)


class Task(Generic[T]):
    """One function run by an actor of its own, and what came of it (Elixir's `Task`).

    A coroutine function runs on the event loop. A plain function may block: it runs in a thread of its own.

        class Page(Actor):
            async def on_receive(self, url):
                body = Task.start_link(self, fetch, url)         # a coroutine function
                words = Task.start_link(self, read_words, "en")  # a plain one, in a thread
                return count(await body, await words)

    `await task` waits as long as it takes, `await task.result(timeout=2.0)` no longer than that, and `task.get()` is for
    other threads. Each gives the result, as often as it is taken, or raises what the function raised. If the task ended
    without a result, it raises TaskExitError, or `pykka.Timeout` if its time was over.

    When a task is told to end, its coroutine gets CancelledError where it waits, so that `finally` runs. A thread cannot be
    ended: then the task stays in the tree until the function returns, or until it is killed. The log tells of both.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        scheduler: Scheduler,
        owner: Owner | None = None,
        linked: bool = False,
        timeout: float | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"a task runs a function, got {function!r}; give it the arguments apart: (…, fetch, url)")
        self.function, self.args, self.kwargs = function, args, kwargs
        self.owner = None if owner is None else _ref_of(owner)
        self.linked = linked
        self.timeout = timeout
        self._answer: Future[T] = Future(scheduler)
        self._scheduler = scheduler
        self._ref: ActorRef[TaskActor] | None = None
        self._order: ExitReason | None = None

    # Start

    @overload
    @classmethod
    def start(cls, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @overload
    @classmethod
    def start(cls, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @classmethod
    def start(cls, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Start a task that belongs to nobody: for code that is no actor. Better: `TaskSupervisor.start_child`."""
        task: Task[Any] = cls(function, args, kwargs, scheduler=Scheduler.here())
        spawn(TaskActor, (task,), label=task.label)
        return task

    @overload
    @classmethod
    def start_link(
        cls, owner: Owner, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @overload
    @classmethod
    def start_link(cls, owner: Owner, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @classmethod
    def start_link(cls, owner: Owner, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Start a task that is linked to its owner, and stands below it in the tree (Elixir's `Task.async`).

        When the owner ends, however it does, so does the task. When the task crashes, so does the owner, unless it traps
        exits. The owner is an actor (`self` in its methods), a ref, or a task (`Task.current()` in its function).
        """
        scheduler = _ref_of(owner).process.scheduler
        task: Task[Any] = cls(function, args, kwargs, scheduler=scheduler, owner=owner, linked=True)
        assert task.owner is not None
        start = partial(spawn, TaskActor, (task,), parent=task.owner.process, label=task.label)
        if scheduler.is_current_thread():
            start()
        else:
            scheduler.post(start)
        return task

    @staticmethod
    def current() -> Task[Any]:
        """Return the task whose function this code is part of, to own tasks that it starts itself.

        Raises:
            RuntimeError: outside of the function of a task.
        """
        task = _current.get()
        if task is None:
            raise RuntimeError("Task.current() must be called in the function of a task")
        return task

    # What it is

    def __repr__(self) -> str:
        name = self.label if self._ref is None else str(self._ref)
        return f"<Task {name} {'running' if not self.done else self.exit_reason}>"

    @property
    def label(self) -> str:
        """The name of the function."""
        function = self.function
        while isinstance(function, partial):
            function = function.func
        return str(getattr(function, "__name__", type(function).__name__))

    @property
    def ref(self) -> ActorRef[TaskActor] | None:
        """Its actor; None as long as its supervisor has not started it."""
        return self._ref

    @property
    def done(self) -> bool:
        """Tell whether it has ended; then its actor is gone, and `get` does not wait."""
        return self._answer.done

    @property
    def exit_reason(self) -> ExitReason | None:
        """Why it ended, or None before that: NORMAL with a result, `Crash(exception)` if the function raised."""
        if not self.done:
            return None
        return NO_PROCESS if self._ref is None else self._ref.exit_reason

    # Its result

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the result on an event loop, as long as it takes."""
        return self.result(timeout=None).__await__()

    async def result(self, *, timeout: float | None = ASK_TIMEOUT) -> T:  # noqa: ASYNC109  # OTP's word; on the actors' clock
        """Wait for the result on an event loop, at most `timeout` seconds (None: for ever).

        A linked task whose result does not come in time is ended.

        Raises:
            pykka.Timeout: if there is no result in time.
            TaskExitError: if it ended without a result.
        """
        try:
            await self._waiter(timeout)
        except Timeout:
            raise self._late(timeout) from None
        return self._answer.result()

    def get(self, *, timeout: float | None = ASK_TIMEOUT) -> T:
        """Wait for the result in a thread that has no event loop: `result` for synchronous code.

        Raises:
            BlockingCallError: on the thread of the loop that the task lives on.
            pykka.Timeout, TaskExitError: as `result` does.
        """
        if not self.done and not self._scheduler.may_block():
            raise BlockingCallError("task.get()", instead="`await task` in an async handler")
        try:
            self._waiter(timeout).get()
        except Timeout:
            raise self._late(timeout) from None
        return self._answer.result()

    def add_done_callback(self, callback: Callable[[Task[T]], None]) -> None:
        """Call `callback(task)` when it has ended, on the actors' loop; at once if it has.

        So an actor goes on, and gets a message in the end:

            task.add_done_callback(lambda task: self.send(self, ("fetched", task)))
        """
        self._answer.add_done_callback(lambda _: callback(self))

    def _waiter(self, timeout: float | None) -> Future[None]:
        """Return a future for one who waits, with a time-out of its own."""
        ended: Future[None] = Future(self._scheduler, timeout=timeout)
        self._answer.add_done_callback(lambda _: ended.set(None))
        return ended

    def _late(self, timeout: float | None) -> Timeout:
        if self.linked:
            self._end(TIMED_OUT)
        return Timeout(f"{self.label} has no result after {timeout:g} seconds")

    # Its end

    def cancel(self) -> None:
        """Tell it to end, and do not wait. Its owner lives on, linked or not."""
        self._end(SHUTDOWN)

    async def shutdown(self, *, timeout: float | None = ASK_TIMEOUT) -> ExitReason:  # noqa: ASYNC109  # as in `result`
        """Tell it to end, wait until it has, and return its exit reason; kill it after `timeout` seconds (None: never).

        NORMAL means that it came to its result after all. Its owner lives on, linked or not.
        """
        self.cancel()
        try:
            await self._waiter(timeout)
        except Timeout:
            if self._ref is not None:
                self._ref.kill()
            await self._waiter(None)
        assert self.exit_reason is not None
        return self.exit_reason

    def _end(self, reason: ExitReason) -> None:
        """Tell it to end with this reason; one that has not been started yet ends before it does anything."""
        # Noted before the ref is looked at; whoever starts it sets the ref before it looks here.
        self._order = reason
        if self._ref is not None:
            self._ref.send(_End(reason))

    # What its actor and its supervisor tell

    def _started(self, ref: ActorRef[TaskActor]) -> ExitReason | None:
        """Take note of the actor; return the reason to end with, if it was told to end before."""
        self._ref = ref
        return self._order

    def _refused(self, error: BaseException) -> None:
        """Take note that it could not be started."""
        if not self.done:
            _log.warning("%s was not started: %s", self.label, error)
            self._answer.set_exception(error)

    def _ended(self, outcome: _Outcome | None) -> None:
        """Take note that the actor is gone, and give whoever waits the result or what to raise."""
        reason = NORMAL if self._ref is None else self._ref.exit_reason
        assert reason is not None
        if reason == NORMAL and outcome is not None:
            self._answer.set(outcome.value)
        else:
            self._answer.set_exception(self._error(reason))

    def _error(self, reason: ExitReason) -> BaseException:
        match reason:
            case Crash(exception=Exception() as error):
                return error
            case Crash(exception=error):
                # A SystemExit or CancelledError of its own must not be taken for one of whoever waits.
                exited = TaskExitError(str(self._ref), reason)
                exited.__cause__ = error
                return exited
            case Shutdown(detail="timeout"):
                return Timeout(f"{self._ref} was ended: its time was over")
        return TaskExitError(str(self._ref), reason)


Owner = Actor | ActorRef[Any] | Task[Any]
"""Whoever a task belongs to: an actor, its ref, or another task."""


def _ref_of(owner: Owner) -> ActorRef[Any]:
    if isinstance(owner, Actor):
        return owner.actor_ref
    ref = owner.ref if isinstance(owner, Task) else owner
    if not isinstance(ref, ActorRef):
        raise TypeError(f"the owner of a task must be an actor, its ref or a task that runs, got {owner!r}")
    return ref


class _Outcome(msgspec.Struct, frozen=True):
    """What the function returned or raised."""

    value: Any = None
    error: BaseException | None = None


class _Run(msgspec.Struct, frozen=True):
    """The task tells itself to call its function."""


class _Ran(msgspec.Struct, frozen=True):
    """The function has returned or raised."""

    outcome: _Outcome


class _End(msgspec.Struct, frozen=True):
    """The task is to end, and its owner to live on."""

    reason: ExitReason


class TaskActor(Actor):
    """The actor of a `Task`. While its function runs it takes messages, so it can be stopped and asked what it is at."""

    restart: ClassVar[str] = "temporary"

    def __init__(self, task: Task[Any]) -> None:
        self._task = task
        self._running: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._outcome: _Outcome | None = None

    def on_start(self) -> None:
        """Watch the owner, and go to work."""
        order = self._task._started(self.actor_ref)
        self._process.down().add_done_callback(lambda _: self._task._ended(self._outcome))
        self.own(self._abandon)
        self._bind(self._task.owner)
        if self._task.timeout is not None:
            self.send_after(self._task.timeout, _End(TIMED_OUT))
        self.send(self, _Run() if order is None else _End(order))

    def _bind(self, owner: ActorRef[Any] | None) -> None:
        # Its parent, whose every end is an order to end, it is linked to anyway. Another owner's normal end is none, so the
        # monitor is for that, and for tasks that are not linked.
        if owner is not None and owner.process is not self._process.parent:
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
            case _End(reason=reason):
                return self._on_end(reason)
            case Down():
                return Stop(SHUTDOWN)
        return super().on_receive(message)

    def _start_running(self) -> None:
        loop = self._process.scheduler.loop
        self._running = loop.create_task(Contained(self._run(), self._process), name=str(self))

    async def _run(self) -> None:
        _current.set(self._task)
        try:
            outcome = _Outcome(await self._call())
        except BaseException as error:  # noqa: BLE001  # whatever the function raises ends this task and nobody else
            outcome = _Outcome(error=error)
        self.send(self, _Ran(outcome))

    async def _call(self) -> Any:
        task = self._task
        if _is_async(task.function):
            return await task.function(*task.args, **task.kwargs)
        value = await self._call_in_thread()
        # Such as a lambda makes that only calls a coroutine function.
        return await value if inspect.iscoroutine(value) else value

    # A daemon thread of its own, not one of a pool: threads cannot be ended, so those that hang would use a pool up, and
    # keep the program from its end; and tasks of a full pool that wait for others which have no thread yet would wait for ever.
    async def _call_in_thread(self) -> Any:
        task, scheduler = self._task, self._process.scheduler
        returned: asyncio.Future[_Outcome] = scheduler.loop.create_future()

        def settle(outcome: _Outcome) -> None:
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

    def _on_ran(self, outcome: _Outcome) -> Stop:
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
        return None if running is None or running.done() else self._wind_up(running, reason)

    async def _wind_up(self, running: asyncio.Task[None], reason: ExitReason) -> None:
        if self._thread is None:
            running.cancel()
        else:
            _log.info(
                "%s is to end (%s), but a thread cannot be ended: it waits until its function returns", self, reason
            )
        with contextlib.suppress(asyncio.CancelledError):  # ended before its first step
            await running

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


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _call_function(task: Task[Any]) -> _Outcome:
    try:
        return _Outcome(task.function(*task.args, **task.kwargs))
    except BaseException as error:  # noqa: BLE001  # it is raised in the task
        return _Outcome(error=error)
