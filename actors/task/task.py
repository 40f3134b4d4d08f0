"""Tasks: a function that a process of its own runs, and its result (Elixir's `Task`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, ParamSpec, TypeVar, overload

from actors.actor import Actor
from actors.callbacks import check_function
from actors.exceptions import BlockingCallError, TaskExitError, Timeout
from actors.exits import NO_PROCESS, NORMAL, SHUTDOWN, Crash, ExitReason
from actors.future import Future, shared_future
from actors.log import Log
from actors.pickling import Local
from actors.redaction import function_name, safe_repr
from actors.ref import ASK_TIMEOUT, ActorRef
from actors.runtime.current import current_task
from actors.runtime.scheduler import Scheduler
from actors.runtime.spawn import spawn
from actors.runtime.waits import must_not_block
from actors.task.many_tasks import ManyTasks, checked_tasks
from actors.task.task_actor import TIMED_OUT, End, TaskActor
from actors.task.task_stream import Items, TaskStream
from actors.validation import check_seconds

if TYPE_CHECKING:
    from actors.runtime.current import Waiter
    from actors.task.task_actor import Outcome

__all__ = ["Owner", "Task", "check_task", "missing"]

_log = Log("ashtree.actors")

T = TypeVar("T")
R = TypeVar("R")
Item = TypeVar("Item")
P = ParamSpec("P")

missing: Any = object()
"""Stands for an argument that was not given: Python would say that the function is missing, when it is the owner."""


class Task(Local, Generic[T]):
    """A function that an actor of its own runs, and its result (Elixir's `Task`).

    A coroutine function runs on the event loop. A plain function may block: it runs in a thread of its own; `max_children`
    of a `TaskSupervisor`, or `max_concurrency` of its streams, bounds their number.

        class Page(Actor):
            async def on_receive(self, url):
                body = Task.start_link(self, fetch, url)         # a coroutine function
                words = Task.start_link(self, read_words, "en")  # a plain one, in a thread
                return count(await body, await words)

    `await task` waits indefinitely, `await task.result(timeout=2.0)` at most two seconds, and `task.get()` is for other
    threads. Each returns the result, any number of times, or raises what the function raised. If the task ended without a
    result, each raises TaskExitError, or `pykka.Timeout` if its own `timeout` ended it.

    The function sees the context variables of the code that starts the task, as those of `asyncio.create_task` do, whichever
    supervisor it has; what it sets it sets for itself.

    When a task is told to end, its coroutine gets CancelledError where it waits, so that `finally` runs. A thread cannot be
    ended: the task then stays in the tree until the function returns, or until it is killed. Both are logged.

    Start one with `start`, `start_link` or a `TaskSupervisor`; `function`, `args`, `kwargs` and `owner` are what it was given.
    """

    def __init__(
        self,
        function: Callable[..., object],
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        *,
        scheduler: Scheduler,
        owner: Owner | None = None,
        linked: bool = False,
        timeout: float | None = None,
    ) -> None:
        check_task("Task(function, args, kwargs, scheduler=…)", function)
        self.function, self.args, self.kwargs = function, args, kwargs
        self.owner = None if owner is None else _ref_of(owner)
        self.linked = linked
        self.timeout = timeout
        self._answer: Future[T] = shared_future(scheduler)
        self._scheduler = scheduler
        self._ref: ActorRef[TaskActor] | None = None
        self._order: ExitReason | None = None
        self._context = copy_context()

    # Start

    @overload
    @classmethod
    def start(cls, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @overload
    @classmethod
    def start(cls, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @classmethod
    def start(cls, function: Callable[..., object], /, *args: object, **kwargs: object) -> Task[Any]:
        """Start a task without an owner, for code that is not an actor. Better: `TaskSupervisor.start_child`."""
        check_task("Task.start(function, …)", function)
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
    def start_link(
        cls, owner: Owner, function: Callable[..., object] = missing, /, *args: object, **kwargs: object
    ) -> Task[Any]:
        """Start a task that is linked to its owner and is its child in the tree (Elixir's `Task.async`).

        When the owner ends, for whatever reason, so does the task. When the task crashes, so does the owner, unless it traps
        exits. The owner is an actor (`self` in its methods), a ref, or a task (`Task.current()` in its function).
        """
        check_task("Task.start_link(owner, function, …)", function, owner)
        scheduler = _ref_of(owner).process.scheduler
        task: Task[Any] = cls(function, args, kwargs, scheduler=scheduler, owner=owner, linked=True)
        assert task.owner is not None
        start = partial(spawn, TaskActor, (task,), parent=task.owner.process, label=task.label)
        scheduler.run_or_post(start)
        return task

    @overload
    @staticmethod
    def async_stream(
        owner: Owner | None,
        function: Callable[[Item], Coroutine[Any, Any, R]],
        items: Items[Item],
        *,
        max_concurrency: int,
        ordered: bool = ...,
        timeout: float | None = ...,
    ) -> TaskStream[R, R]: ...

    @overload
    @staticmethod
    def async_stream(
        owner: Owner | None,
        function: Callable[[Item], R],
        items: Items[Item],
        *,
        max_concurrency: int,
        ordered: bool = ...,
        timeout: float | None = ...,
    ) -> TaskStream[R, R]: ...

    @staticmethod
    def async_stream(
        owner: Owner | None,
        function: Callable[[Any], object],
        items: Items[Any] = missing,
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float | None = ASK_TIMEOUT,
    ) -> TaskStream[Any, Any]:
        """Iterate over the results of `function(item)`, without a supervisor (Elixir's `Task.async_stream`).

            async for page in Task.async_stream(self, fetch, urls, max_concurrency=8):
                self.index(page)

        At most `max_concurrency` items are being processed or waiting to be taken; `items` is any iterable or async iterable,
        also an endless one; see `TaskStream`. The tasks are linked to `owner` and its children in the tree: one that raises
        ends the owner, unless that traps exits; then it gets an `Exit` for each task that ends. When the turn of an item that
        failed has come, its exception is raised (`pykka.Timeout` after `timeout` seconds; None: no limit), and the other tasks
        are stopped. Outside of actors, `owner` is None, and the tasks have no owner. `TaskSupervisor.async_stream` bounds all
        tasks of a program, and links none.

        Raises:
            ValueError: if `timeout` or `max_concurrency` is invalid.
        """
        usage = "Task.async_stream(owner, function, items, max_concurrency=…), with None for no owner"
        check_task(usage, function, missing if owner is None else owner)
        if items is missing:
            raise TypeError(f"the items are missing; write {usage}")
        if timeout is not None:
            check_seconds("timeout", timeout, "> 0", others=" or None")
        start = partial(_start_for_item, owner, function, timeout)
        return TaskStream(start, items, take=Task.get, max_concurrency=max_concurrency, ordered=ordered)

    @staticmethod
    def current() -> Task[Any]:
        """Return the task whose function is running here, as the owner of tasks that it starts.

        Raises:
            RuntimeError: outside the function of a task.
        """
        task: Task[Any] | None = current_task.get()
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
        return function_name(function)

    @property
    def ref(self) -> ActorRef[TaskActor] | None:
        """Its actor; None until its supervisor has started it."""
        return self._ref

    @property
    def done(self) -> bool:
        """Whether it has ended; then its actor is dead, and `get` does not wait."""
        return self._answer.done

    @property
    def exit_reason(self) -> ExitReason | None:
        """The reason with which it ended, or None: NORMAL with a result, `Crash(exception)` if the function raised."""
        if not self.done:
            return None
        return NO_PROCESS if self._ref is None else self._ref.exit_reason

    # Its result

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the result on an event loop, indefinitely."""
        return self.result(timeout=None).__await__()

    async def result(self, *, timeout: float | None = ASK_TIMEOUT) -> T:  # noqa: ASYNC109  # OTP's term; on the actors' clock
        """Wait for the result on an event loop, at most `timeout` seconds (None: indefinitely).

        A linked task that has no result in time is ended.

        Raises:
            pykka.Timeout: if there is no result in time.
            TaskExitError: if it ended without a result.
        """
        try:
            await self._answer.until_done(timeout)
            return self._answer.result()
        except Timeout:
            if self.done:
                raise
            raise self._late(timeout) from None
        finally:
            del self  # of the frame in the traceback of its exception, which would be a cycle

    def get(self, *, timeout: float | None = ASK_TIMEOUT) -> T:
        """Wait for the result in a thread without an event loop: `result` for synchronous code.

        Raises:
            BlockingCallError: on the thread of the task's event loop.
            pykka.Timeout, TaskExitError: as `result` does.
        """
        if not self.done and not self._scheduler.may_block():
            raise BlockingCallError("task.get()", instead="`await task` in an async handler")
        if not self.done:
            must_not_block("task.get()", instead="`await task`")
        try:
            return self._answer.get(timeout=math.inf if timeout is None else timeout)
        except Timeout:
            if self.done:
                raise
            raise self._late(timeout) from None
        finally:
            del self

    # Several results

    @staticmethod
    async def await_many(tasks: Iterable[Task[R]], *, timeout: float | None = ASK_TIMEOUT) -> list[R]:  # noqa: ASYNC109  # OTP's term; on the actors' clock
        """Wait for the results of several tasks on an event loop, at most `timeout` seconds in all (Elixir's `await_many`).

            prices = await Task.await_many([Task.start_link(self, fetch, url) for url in urls], timeout=2.0)

        The results are in the order of the tasks. As soon as one task fails, what it raised is raised, and the others go on, as
        far as their owner does. When the time is up, linked tasks without a result are ended, as by `result`; others go on.

        Raises:
            pykka.Timeout: if some have no result in time.
            TaskExitError: if one ended without a result.
        """
        many = ManyTasks(checked_tasks("Task.await_many()", tasks, Task), fail_fast=True)
        try:
            await many.over.until_done(timeout)
        except Timeout:
            assert timeout is not None
            raise many.late(timeout) from None
        return many.results()

    @staticmethod
    def get_many(tasks: Iterable[Task[R]], *, timeout: float | None = ASK_TIMEOUT) -> list[R]:
        """Wait for the results of several tasks in a thread without an event loop: `await_many` for synchronous code.

        Raises:
            BlockingCallError: on the thread of a task's event loop.
            pykka.Timeout, TaskExitError: as `await_many` does.
        """
        many = ManyTasks(checked_tasks("Task.get_many()", tasks, Task), fail_fast=True)
        many.must_not_hang("Task.get_many()", "`await Task.await_many(tasks)`")
        try:
            many.over.get(timeout=math.inf if timeout is None else timeout)
        except Timeout:
            assert timeout is not None
            raise many.late(timeout) from None
        return many.results()

    @staticmethod
    async def yield_many(
        tasks: Iterable[Task[R]],
        *,
        timeout: float | None = ASK_TIMEOUT,  # noqa: ASYNC109  # as above
    ) -> list[tuple[Task[R], ExitReason | None]]:
        """Wait on an event loop until all tasks have ended, at most `timeout` seconds (Elixir's `yield_many`).

            for task, reason in await Task.yield_many(tasks, timeout=2.0):
                match reason:
                    case Normal():
                        self.index(task.get())
                    case None:
                        task.cancel()  # it is still running
                    case _:
                        self.missing.append(task.args)

        Returns each task, in the order of `tasks`, with its exit reason: NORMAL if `task.get()` returns a result at once,
        another one if that raises, None if the task is still running. Nothing is ended, and no exception of a task is raised.
        """
        many = ManyTasks(checked_tasks("Task.yield_many()", tasks, Task), fail_fast=False)
        with suppress(Timeout):
            await many.over.until_done(timeout)
        return many.reasons()

    @staticmethod
    def wait_many(
        tasks: Iterable[Task[R]], *, timeout: float | None = ASK_TIMEOUT
    ) -> list[tuple[Task[R], ExitReason | None]]:
        """Wait in a thread without an event loop until all tasks have ended: `yield_many` for synchronous code.

        Raises:
            BlockingCallError: on the thread of a task's event loop.
        """
        many = ManyTasks(checked_tasks("Task.wait_many()", tasks, Task), fail_fast=False)
        many.must_not_hang("Task.wait_many()", "`await Task.yield_many(tasks)`")
        with suppress(Timeout):
            many.over.get(timeout=math.inf if timeout is None else timeout)
        return many.reasons()

    def add_done_callback(self, callback: Callable[[Task[T]], None]) -> None:
        """Call `callback(task)` when it has ended, on its event loop; at once if it has.

        So an actor can continue, and get a message with the result:

            task.add_done_callback(lambda task: self.send(self, ("fetched", task)))
        """
        check_function("the callback of a task", callback, instead="let it send() a message to an actor")
        self._answer.add_done_callback(lambda _: callback(self))

    def _late(self, timeout: float | None) -> Timeout:
        if self.linked:
            self.end(TIMED_OUT)
        return Timeout(f"{self.label} has no result after {timeout:g} seconds")

    # Its end

    def cancel(self) -> None:
        """Ask it to exit, without waiting. Its owner goes on, linked or not."""
        self.end(SHUTDOWN)

    async def shutdown(self, *, timeout: float | None = ASK_TIMEOUT) -> ExitReason:  # noqa: ASYNC109  # as in `result`
        """Ask it to exit, wait until it has, and return its exit reason; kill it after `timeout` seconds (None: never).

        NORMAL means that it had a result before it ended. Its owner goes on, linked or not.
        """
        self.cancel()
        try:
            await self._answer.until_done(timeout)
        except Timeout:
            if self._ref is not None:
                self._ref.kill()
            await self._answer.until_done(None)
        assert self.exit_reason is not None
        return self.exit_reason

    def end(self, reason: ExitReason) -> None:
        """Ask it to exit with this reason; if it has not been started, its function is never called. For this package."""
        # Written before the ref is read; the actor that starts sets the ref before it reads the order.
        self._order = reason
        if self._ref is not None:
            self._ref.send(End(reason))

    # For its actor and its supervisor

    @property
    def scheduler(self) -> Scheduler:
        """What runs its actor."""
        return self._scheduler

    @property
    def has_failed(self) -> bool:
        """Whether it has ended without a result."""
        return self._answer.exception is not None

    def take_context(self) -> Context:
        """Return the context variables of the code that started it, for its function, and forget them."""
        context, self._context = self._context, Context()
        return context

    def starts_under(self, supervisor: ActorRef) -> None:
        """Count those that wait for it as waiting for its supervisor, until that has started it."""
        self._answer.asked = supervisor.process

    @property
    def answerer(self) -> Waiter | None:
        """The process that those that wait for it wait for."""
        return None if self.done else self._answer.asked

    def actor_started(self, ref: ActorRef[TaskActor]) -> ExitReason | None:
        """Store its actor, for that actor; return the reason to end with, if it was told to end before."""
        self._ref = ref
        # So that a cycle of asks through a task raises at once, as it does between actors.
        self._answer.asked = ref.process
        return self._order

    def start_failed(self, error: BaseException) -> None:
        """End with the error with which its supervisor could not start it."""
        self.take_context()
        if not self.done:
            _log.warning("%s was not started: %s", self.label, error)
            self._answer.set_exception(error)

    def actor_ended(self, outcome: Outcome | None) -> None:
        """Answer all callers with the result or an exception, as its actor has ended."""
        self.take_context()
        assert self._ref is not None
        reason = self._ref.exit_reason
        assert reason is not None
        if reason == NORMAL and outcome is not None:
            self._answer.set(outcome.value)
        else:
            self._answer.set_exception(self._error(reason))

    def _error(self, reason: ExitReason) -> BaseException:
        if reason is TIMED_OUT:
            return Timeout(f"{self._ref} was ended: its time was over")
        if not isinstance(reason, Crash):
            return TaskExitError(str(self._ref), reason)
        if isinstance(reason.exception, Exception):
            return reason.exception
        # A SystemExit or CancelledError of the function must not look like the caller's own.
        exited = TaskExitError(str(self._ref), reason)
        exited.__cause__ = reason.exception
        return exited


Owner = Actor | ActorRef | Task[Any]
"""The owner of a task: an actor, its ref, or another task."""


def _ref_of(owner: Owner) -> ActorRef:
    if isinstance(owner, Actor):
        owner.actor_inbox.must_have_started()
        return owner.actor_ref
    ref = owner.ref if isinstance(owner, Task) else owner
    assert ref is not None
    return ref


def _start_for_item(
    owner: Owner | None, function: Callable[[Any], object], timeout: float | None, item: object
) -> Task[Any]:
    scheduler = Scheduler.here() if owner is None else _ref_of(owner).process.scheduler
    task: Task[Any] = Task(
        function, (item,), {}, scheduler=scheduler, owner=owner, linked=owner is not None, timeout=timeout
    )
    parent = None if task.owner is None else task.owner.process
    scheduler.run_or_post(partial(spawn, TaskActor, (task,), parent=parent, label=task.label))
    return task


def check_task(usage: str, function: object, owner: object = missing) -> None:
    """Raise unless a task can be started with this function, and for this owner if it has one; `usage` is the call to write.

    Raises:
        TypeError: naming what is missing or wrong.
    """
    if owner is not missing and not isinstance(owner.ref if isinstance(owner, Task) else owner, Actor | ActorRef):
        _refuse_owner(usage, owner)
    if not callable(function):
        _refuse_function(usage, function)
    check_function("the function of a task", function, plain=False)


def _refuse_owner(usage: str, owner: object) -> NoReturn:
    if callable(owner) and not isinstance(owner, Task):
        raise TypeError(f"the owner is missing before the function {function_name(owner)}; write {usage}")
    raise TypeError(
        f"the owner of a task must be an actor, its ref or a task that runs, got {safe_repr(owner)}; write {usage}"
    )


def _refuse_function(usage: str, function: object) -> NoReturn:
    if function is missing:
        raise TypeError(f"the function of the task is missing; write {usage}")
    if isinstance(function, CoroutineType):
        function.close()
    raise TypeError(
        f"a task runs a function, got {safe_repr(function)}; give it the arguments apart: (…, fetch, url), as in {usage}"
    )
