"""The supervisor of tasks (Elixir's `Task.Supervisor`)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from actors.exceptions import ActorDeadError
from actors.names import whereis
from actors.ref import ASK_TIMEOUT
from actors.task.task import Task
from actors.task.task_actor import TaskActor
from actors.task.task_stream import Items, TaskStream
from supervisors.calls import start_child
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor

if TYPE_CHECKING:
    from actors.future import Future
    from actors.ref import ActorRef
    from actors.task.task import Owner
    from actors.via import Target

__all__ = ["TaskSupervisor"]

T = TypeVar("T")
Item = TypeVar("Item")
P = ParamSpec("P")


class TaskSupervisor(DynamicSupervisor):
    """A `DynamicSupervisor` of tasks: it ends them in order with the program, shows them in the tree, and bounds their number.

    Make it a child of the `System`, and start tasks under it:

        System([ChildSpec(TaskSupervisor, name="tasks"), …])

        class Crawler(Actor):
            async def on_receive(self, urls):
                TaskSupervisor.start_child("tasks", write_log, urls)                # and forget it
                robots = TaskSupervisor.async_nolink("tasks", self, fetch, "/robots.txt")
                async for page in TaskSupervisor.async_stream("tasks", self, fetch, urls, max_concurrency=8):
                    self.index(page)
                return await robots

    Each gives a `Task` at once. What keeps the supervisor from starting it (it is gone; it has `max_children`) is raised where
    the task is awaited. The owner of a task is an actor (`self` in its methods), a ref, or a task; when it ends, however it
    does, so does the task.
    """

    @overload
    @staticmethod
    def start_child(
        supervisor: Target,
        function: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def start_child(supervisor: Target, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Task[T]: ...

    @staticmethod
    def start_child(supervisor: Target, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Task[Any]:
        """Start a task that belongs to nobody but its supervisor: fire and forget, or for code that is no actor."""
        ref = _living(supervisor)
        return _start(ref, Task(function, args, kwargs, scheduler=ref.process.scheduler))

    @overload
    @staticmethod
    def async_(
        supervisor: Target,
        owner: Owner,
        function: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def async_(
        supervisor: Target, owner: Owner, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @staticmethod
    def async_(
        supervisor: Target, owner: Owner, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Task[Any]:
        """Start a task that is linked to its owner: if it crashes, so does the owner, unless it traps exits."""
        ref = _living(supervisor)
        return _start(ref, _owned(ref, owner, function, args, kwargs, linked=True))

    @overload
    @staticmethod
    def async_nolink(
        supervisor: Target,
        owner: Owner,
        function: Callable[P, Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Task[T]: ...

    @overload
    @staticmethod
    def async_nolink(
        supervisor: Target, owner: Owner, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Task[T]: ...

    @staticmethod
    def async_nolink(
        supervisor: Target, owner: Owner, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Task[Any]:
        """Start a task whose crash reaches only those who await it."""
        ref = _living(supervisor)
        return _start(ref, _owned(ref, owner, function, args, kwargs))

    @overload
    @staticmethod
    def async_stream(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Item], Coroutine[Any, Any, T]],
        items: Items[Item],
        *,
        max_concurrency: int,
        ordered: bool = ...,
        timeout: float | None = ...,
    ) -> TaskStream[T, T]: ...

    @overload
    @staticmethod
    def async_stream(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Item], T],
        items: Items[Item],
        *,
        max_concurrency: int,
        ordered: bool = ...,
        timeout: float | None = ...,
    ) -> TaskStream[T, T]: ...

    @staticmethod
    def async_stream(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Any], Any],
        items: Items[Any],
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float | None = ASK_TIMEOUT,
    ) -> TaskStream[Any, Any]:
        """Iterate over the results of `function(item)` for all items, `max_concurrency` of them at work at a time.

            async for page in TaskSupervisor.async_stream("tasks", self, fetch, urls, max_concurrency=8):
                ...

        `items` is any iterable or async iterable, an endless one too; see `TaskStream`. An item that fails raises what it
        raised, or `pykka.Timeout` after `timeout` seconds (None: never), when its turn has come; the others are ended then.
        Outside of actors, `owner` is None.
        """
        start = _starter(supervisor, owner, function, timeout)
        return TaskStream(start, items, take=Task.get, max_concurrency=max_concurrency, ordered=ordered)

    @overload
    @staticmethod
    def async_stream_nolink(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Item], Coroutine[Any, Any, T]],
        items: Items[Item],
        *,
        max_concurrency: int,
        ordered: bool = ...,
        timeout: float | None = ...,
    ) -> TaskStream[T, Task[T]]: ...

    @overload
    @staticmethod
    def async_stream_nolink(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Item], T],
        items: Items[Item],
        *,
        max_concurrency: int,
        ordered: bool = ...,
        timeout: float | None = ...,
    ) -> TaskStream[T, Task[T]]: ...

    @staticmethod
    def async_stream_nolink(
        supervisor: Target,
        owner: Owner | None,
        function: Callable[[Any], Any],
        items: Items[Any],
        *,
        max_concurrency: int,
        ordered: bool = True,
        timeout: float | None = ASK_TIMEOUT,
    ) -> TaskStream[Any, Task[Any]]:
        """Iterate over the tasks themselves, each when it has ended; one that fails ends no other.

            async for task in TaskSupervisor.async_stream_nolink("tasks", self, fetch, urls, max_concurrency=8):
                match task.exit_reason:
                    case Normal():
                        self.index(task.get())
                    case reason:
                        self.missing[task.args[0]] = reason

        All else is as in `async_stream`. A task whose time was over has ended with `Shutdown("timeout")`.
        """
        start = _starter(supervisor, owner, function, timeout)
        return TaskStream(start, items, take=_itself, max_concurrency=max_concurrency, ordered=ordered)


def _living(supervisor: Target) -> ActorRef[Any]:
    ref = whereis(supervisor)
    if ref is None:
        raise ActorDeadError(f"nobody is registered as {supervisor!r}")
    return ref


def _owned(
    supervisor: ActorRef[Any],
    owner: Owner | None,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    linked: bool = False,
    timeout: float | None = None,
) -> Task[Any]:
    scheduler = supervisor.process.scheduler
    return Task(function, args, kwargs, scheduler=scheduler, owner=owner, linked=linked, timeout=timeout)


def _start(supervisor: ActorRef[Any], task: Task[Any]) -> Task[Any]:
    start_child(supervisor, ChildSpec(TaskActor, (task,), id=task.label)).add_done_callback(partial(_on_started, task))
    return task


def _on_started(task: Task[Any], started: Future[Any]) -> None:
    if started.exception is not None:
        task.start_failed(started.exception)


def _starter(
    supervisor: Target, owner: Owner | None, function: Callable[[Any], Any], timeout: float | None
) -> Callable[[Any], Task[Any]]:
    _check_timeout(timeout)
    ref = _living(supervisor)
    return lambda item: _start(ref, _owned(ref, owner, function, (item,), {}, timeout=timeout))


def _check_timeout(timeout: object) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        raise ValueError(f"timeout must be seconds > 0 or None, got {timeout!r}")


def _itself(task: Task[Any]) -> Task[Any]:
    return task
