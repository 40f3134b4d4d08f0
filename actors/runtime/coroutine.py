"""An actor's coroutine: it runs as a task, and whatever it raises ends that actor first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from operator import attrgetter
from types import FrameType, TracebackType, coroutine
from typing import Any, Generic, Protocol, TypeVar

from actors.fork import leave_child

__all__ = ["Contained", "Entering", "error_of", "next_round", "was_cancelled"]


class _Escaped(Exception):  # noqa: N818  # not an error of its own: it carries one past asyncio
    """SystemExit or KeyboardInterrupt, which a task would pass on to its event loop, ending all actors."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Current(Protocol):
    """The scheduler: it knows which actor's code is running."""

    current: Any
    forked: int


class Running(Protocol):
    """The process whose coroutine it is."""

    task: asyncio.Task[Any] | None
    context: Context

    @property
    def scheduler(self) -> Current:
        """The scheduler of the process."""

    def interrupted(self) -> None:
        """Learn that the coroutine is cancelled, before it is."""


P = TypeVar("P", bound=Running)


def _shown(name: str) -> Any:
    """Return a property that has an attribute of the coroutine."""
    return property(attrgetter(f"coroutine.{name}"))


class Contained(Coroutine[Any, Any, Any], Generic[P]):
    """A coroutine of an actor; while it runs, its process is the scheduler's current one.

    - `interrupted`: whether its task was cancelled, and not by the coroutine itself; None if it was not cancelled.

    asyncio's tools (`repr(task)`, `task.get_stack()`, `asyncio.capture_call_graph()`) look at the names, the frame and the code
    of the coroutine of a task: they find those of the actor's.
    """

    # A property cannot be called `__qualname__`.
    __slots__ = ("__qualname__", "coroutine", "interrupted", "process")

    cr_await = _shown("cr_await")
    cr_code = _shown("cr_code")
    cr_frame = _shown("cr_frame")
    cr_origin = _shown("cr_origin")
    cr_running = _shown("cr_running")
    cr_suspended = _shown("cr_suspended")
    __name__ = _shown("__name__")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], process: P) -> None:
        self.coroutine, self.process = coroutine, process
        self.__qualname__ = coroutine.__qualname__  # type: ignore[attr-defined]  # a coroutine has one
        self.interrupted: bool | None = None

    def __repr__(self) -> str:
        return repr(self.coroutine)

    def __await__(self) -> Generator[Any, None, Any]:
        return self.coroutine.__await__()

    def send(self, value: object) -> object:
        """Go on to the next `await`."""
        process = self.process
        scheduler = process.scheduler
        outer, scheduler.current = scheduler.current, process
        try:
            awaited: object = self.coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _Escaped(error) from error
        finally:
            if scheduler.forked:
                leave_child(sys.exception())
            scheduler.current = outer
        if self.interrupted is None and process.task is not None and process.task.cancelling():
            self.interrupted = False
        return awaited

    def throw(self, *error: Any) -> object:
        """Go on with an exception."""
        if isinstance(error[0], asyncio.CancelledError):
            self.interrupted = self.interrupted is not False
            self.process.interrupted()
        scheduler = self.process.scheduler
        outer, scheduler.current = scheduler.current, self.process
        try:
            if getcoroutinestate(self.coroutine) == CORO_CREATED:
                # Entered, it would be kept by the traceback until a collection.
                _discard(self.coroutine)
                raise error[0]
            return self.coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _Escaped(raised) from raised
        finally:
            if scheduler.forked:
                leave_child(sys.exception())
            scheduler.current = outer
            del error  # of the frame in its own traceback, which would be a cycle

    def close(self) -> None:
        """Close the coroutine."""
        self.coroutine.close()


class Entering(Contained[P]):
    """One that enters the context of its actor itself, for a task that has another one.

    A task factory, such as asyncio's eager one, may run the first step of a coroutine at once, within the turn of the actor:
    a context in which the code is already cannot be given to such a task.
    """

    __slots__ = ("_context",)

    def __init__(self, coroutine: Coroutine[Any, Any, Any], process: P) -> None:
        super().__init__(coroutine, process)
        self._context = process.context

    def send(self, value: object) -> object:
        """Go on to the next `await`."""
        return self._run(super().send, value)

    def throw(self, *error: Any) -> object:
        """Go on with an exception."""
        return self._run(super().throw, *error)

    def _run(self, step: Callable[..., object], *args: object) -> object:
        is_inside = self.process.scheduler.current is self.process
        return step(*args) if is_inside else self._context.run(step, *args)


def _discard(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that has not begun, and those that it was given: nothing awaits them any more."""
    frame: FrameType | None = getattr(coroutine, "cr_frame", None)
    given = [] if frame is None else [value for value in frame.f_locals.values() if iscoroutine(value)]
    coroutine.close()
    for other in given:
        if getcoroutinestate(other) == CORO_CREATED:
            _discard(other)


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return what the task of a `Contained` raised, or None."""
    if task.cancelled():
        try:
            task.result()
        except asyncio.CancelledError as cancelled:
            # The task's own, with the traceback of where it was raised. This frame would keep our caller's, and that the error.
            return cancelled.with_traceback(_inner(cancelled.__traceback__))
    error = task.exception()
    return error.error if type(error) is _Escaped else error


def _inner(trace: TracebackType | None) -> TracebackType | None:
    return None if trace is None else trace.tb_next


def was_cancelled(task: asyncio.Task[Any], error: BaseException | None) -> bool:
    """Return whether the task of a `Contained` that ended with `error` did so because it was cancelled, not by itself."""
    coroutine = task.get_coro()
    interrupted = isinstance(coroutine, Contained) and coroutine.interrupted is True
    return interrupted and issubclass(type(error), asyncio.CancelledError) and task.cancelling() > 0


@coroutine
def next_round() -> Generator[None, None, None]:
    """Continue in the next iteration of the event loop, after the actors that are ready now; a cancelled task ends here."""
    yield
