"""The supervisor of tasks (Elixir's `Task.Supervisor`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Required, TypedDict, TypeVar, TypeVarTuple, overload

from actors.lowlevel import Scheduler
from actors.names import not_registered, whereis
from actors.ref import ASK_TIMEOUT
from actors.task.task import Task, check_task, missing
from actors.task.task_actor import TaskActor
from actors.task.task_stream import Items, TaskStream
from actors.validation import check_seconds
from supervisors.calls import start_child
from supervisors.child_spec import ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor

if TYPE_CHECKING:
    from typing import Unpack

    from actors.future import Future
    from actors.ref import ActorRef
    from actors.task.task import Owner
    from actors.via import Target
    from supervisors.child_spec import BrutalKill, RestartName

__all__ = ["TaskSupervisor"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Item = TypeVar("Item")
P = ParamSpec("P")

CoroutineFunction = Callable[P, Coroutine[Any, Any, T]]


class _ChildOptions(TypedDict, total=False):
    """The keywords of `start_child`."""

    restart: Restart | RestartName
    shutdown: float | BrutalKill


class _StreamOptions(TypedDict, total=False):
    """The keywords of `async_stream` and `async_stream_nolink`."""

    max_concurrency: Required[int]
    ordered: bool
    timeout: float | None


class TaskSupervisor(DynamicSupervisor):
    """A `DynamicSupervisor` of tasks: it stops them with the program, shows them in the tree, and limits their number.

    Make it a child of the `System`, and start tasks under it:

        System([ChildSpec(TaskSupervisor, name="tasks"), …])

        class Crawler(Actor):
            async def on_receive(self, urls):
                TaskSupervisor.start_child("tasks", write_log, urls)                # and forget it
                robots = TaskSupervisor.async_nolink("tasks", self, fetch, "/robots.txt")
                async for page in TaskSupervisor.async_stream("tasks", self, fetch, urls, max_concurrency=8):
                    self.index(page)
                return await robots

    Each returns a `Task` at once. If the supervisor cannot start it (it is dead, or has `max_children`), the error is raised
    where the task is awaited. The owner of a task is an actor (`self` in its methods), a ref, or a task; when the owner exits,
    for whatever reason, the task is stopped.
    """

    @overload
    @staticmethod
    def start_child(
        supervisor: Target, function: CoroutineFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def start_child(supervisor: Target, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @overload
    @staticmethod
    def start_child(
        supervisor: Target,
        function: Callable[[*Ts], Coroutine[Any, Any, T]],
        /,
        *args: *Ts,
        **options: Unpack[_ChildOptions],
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def start_child(
        supervisor: Target, function: Callable[[*Ts], T], /, *args: *Ts, **options: Unpack[_ChildOptions]
    ) -> Task[T]: ...

    @staticmethod
    def start_child(
        supervisor: Target,
        function: Callable[..., object] = missing,
        /,
        *args: object,
        restart: Any = Restart.TEMPORARY,
        shutdown: Any = 5.0,
        **kwargs: object,
    ) -> Task[Any]:
        """Start a task without an owner: fire and forget, or for code that is not an actor.

            TaskSupervisor.start_child("tasks", import_orders, path, restart="transient", shutdown=30)

        `restart` and `shutdown` are those of a `ChildSpec` (Elixir's `Task.Supervisor.start_child`): a transient task is called
        again, with the same arguments, when it raised or was killed, a permanent one also when it returned. Restarts count for
        `max_restarts` of the supervisor. The `Task` is that of the first call, as a ref is that of one life: it has the result
        of that call or raises its exception. `terminate_child(supervisor, ref)` ends a task for good.

        A function with a parameter named `restart` or `shutdown` gets it by a `functools.partial`.

        Raises:
            ValueError: if `restart` or `shutdown` is invalid.
        """
        check_task("TaskSupervisor.start_child(supervisor, function, …)", function)
        ref = _living(supervisor)
        task: Task[Any] = Task(function, args, kwargs, scheduler=ref.process.scheduler)
        if restart == Restart.TEMPORARY:
            return _start(ref, task, shutdown=shutdown)
        return _start(ref, task, actor=RestartedTaskActor, args=(_Calls(task),), restart=restart, shutdown=shutdown)

    @overload
    @staticmethod
    def async_(
        supervisor: Target, owner: Owner, function: CoroutineFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def async_(
        supervisor: Target, owner: Owner, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @staticmethod
    def async_(
        supervisor: Target, owner: Owner, function: Callable[..., object] = missing, /, *args: object, **kwargs: object
    ) -> Task[Any]:
        """Start a task that is linked to its owner: if the task crashes, so does the owner, unless it traps exits."""
        check_task("TaskSupervisor.async_(supervisor, owner, function, …)", function, owner)
        ref = _living(supervisor)
        return _start(ref, _owned(ref, owner, function, args, kwargs, linked=True))

    @overload
    @staticmethod
    def async_nolink(
        supervisor: Target, owner: Owner, function: CoroutineFunction[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def async_nolink(
        supervisor: Target, owner: Owner, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @staticmethod
    def async_nolink(
        supervisor: Target, owner: Owner, function: Callable[..., object] = missing, /, *args: object, **kwargs: object
    ) -> Task[Any]:
        """Start a task whose crash is raised only where it is awaited."""
        check_task("TaskSupervisor.async_nolink(supervisor, owner, function, …)", function, owner)
        ref = _living(supervisor)
        return _start(ref, _owned(ref, owner, function, args, kwargs))

    @overload
    @staticmethod
    def async_stream(
        supervisor: Target,
        owner: Owner | None,
        function: CoroutineFunction[[Item], T],
        items: Items[Item],
        **options: Unpack[_StreamOptions],
    ) -> TaskStream[T, T]: ...

    @overload
    @staticmethod
    def async_stream(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Item], T],
        items: Items[Item],
        **options: Unpack[_StreamOptions],
    ) -> TaskStream[T, T]: ...

    @staticmethod
    def async_stream(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Any], object],
        items: Items[Any] = missing,
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float | None = ASK_TIMEOUT,
    ) -> TaskStream[Any, Any]:
        """Iterate over the results of `function(item)` for all items, `max_concurrency` of them at a time.

            async for page in TaskSupervisor.async_stream("tasks", self, fetch, urls, max_concurrency=8):
                ...

        `items` is any iterable or async iterable, also an endless one; see `TaskStream`. When the turn of an item that failed
        has come, its exception is raised (`pykka.Timeout` after `timeout` seconds; None: no limit), and the other tasks are
        stopped. Outside of actors, `owner` is None.

        Raises:
            ValueError: if `timeout` or `max_concurrency` is invalid.
        """
        _check_stream("async_stream", owner, function, items)
        start = _starter(supervisor, owner, function, timeout)
        return TaskStream(start, items, take=Task.get, max_concurrency=max_concurrency, ordered=ordered)

    @overload
    @staticmethod
    def async_stream_nolink(
        supervisor: Target,
        owner: Owner | None,
        function: CoroutineFunction[[Item], T],
        items: Items[Item],
        **options: Unpack[_StreamOptions],
    ) -> TaskStream[T, Task[T]]: ...

    @overload
    @staticmethod
    def async_stream_nolink(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Item], T],
        items: Items[Item],
        **options: Unpack[_StreamOptions],
    ) -> TaskStream[T, Task[T]]: ...

    @staticmethod
    def async_stream_nolink(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Any], object],
        items: Items[Any] = missing,
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float | None = ASK_TIMEOUT,
    ) -> TaskStream[Any, Task[Any]]:
        """Iterate over the tasks themselves, each when it has ended; one that fails does not stop the others.

            async for task in TaskSupervisor.async_stream_nolink("tasks", self, fetch, urls, max_concurrency=8):
                match task.exit_reason:
                    case Normal():
                        self.index(task.get())
                    case reason:
                        self.missing[task.args[0]] = reason

        Otherwise it works as `async_stream`. A task that timed out has ended with `Shutdown("timeout")`.
        """
        _check_stream("async_stream_nolink", owner, function, items)
        start = _starter(supervisor, owner, function, timeout)
        return TaskStream(start, items, take=_itself, max_concurrency=max_concurrency, ordered=ordered)


class _Calls:
    """The calls of a function that is called again: a `Task` for each, the first one for the code that started it."""

    def __init__(self, first: Task[Any]) -> None:
        self._first: Task[Any] | None = first
        self._function, self._args, self._kwargs = first.function, first.args, first.kwargs
        self._context = copy_context()

    def next(self, scheduler: Scheduler) -> Task[Any]:
        first, self._first = self._first, None
        return self._context.copy().run(self._another, scheduler) if first is None else first

    def _another(self, scheduler: Scheduler) -> Task[Any]:
        return Task(self._function, self._args, self._kwargs, scheduler=scheduler)


class RestartedTaskActor(TaskActor):
    """The actor of one call of a function that is called again when its supervisor restarts it."""

    def __init__(self, calls: _Calls) -> None:
        super().__init__(calls.next(Scheduler.here()))


def _check_stream(call: str, owner: object, function: object, items: object) -> None:
    usage = f"TaskSupervisor.{call}(supervisor, owner, function, items, max_concurrency=…), with None for no owner"
    check_task(usage, function, missing if owner is None else owner)
    if items is missing:
        raise TypeError(f"the items are missing; write {usage}")


def _living(supervisor: Target) -> ActorRef:
    ref = whereis(supervisor)
    if ref is None:
        raise not_registered(supervisor)
    return ref


def _owned(
    supervisor: ActorRef,
    owner: Owner | None,
    function: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    *,
    linked: bool = False,
    timeout: float | None = None,
) -> Task[Any]:
    scheduler = supervisor.process.scheduler
    return Task(function, args, kwargs, scheduler=scheduler, owner=owner, linked=linked, timeout=timeout)


def _start(supervisor: ActorRef, task: Task[T], **options: Any) -> Task[T]:
    spec = ChildSpec(**{"actor": TaskActor, "args": (task,), "id": task.label, **options})
    task.starts_under(supervisor)
    start_child(supervisor, spec).add_done_callback(partial(_on_started, task))
    return task


def _on_started(task: Task[Any], started: Future[ActorRef]) -> None:
    if started.exception is not None:
        task.start_failed(started.exception)


def _starter(
    supervisor: Target, owner: Owner | None, function: Callable[[Any], object], timeout: float | None
) -> Callable[[object], Task[Any]]:
    if timeout is not None:
        check_seconds("timeout", timeout, "> 0", others=" or None")
    ref = _living(supervisor)
    return lambda item: _start(ref, _owned(ref, owner, function, (item,), {}, timeout=timeout))


def _itself(task: Task[Any]) -> Task[Any]:
    return task
