"""An actor's coroutine: it runs as a task, and whatever it raises ends that actor and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from inspect import CORO_CREATED, getcoroutinestate
from types import coroutine
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Contained", "error_of", "next_round"]


class _Escaped(Exception):  # noqa: N818  # not an error of its own: it carries one past asyncio
    """SystemExit or KeyboardInterrupt, which a task would pass on to its event loop, ending all actors."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Current(Protocol):
    """The scheduler: it knows which actor's code is running."""

    current: Any


class Running(Protocol):
    """The process whose coroutine it is."""

    @property
    def scheduler(self) -> Current:
        """The scheduler of the process."""


P = TypeVar("P", bound=Running)


class Contained(Coroutine[Any, Any, Any], Generic[P]):
    """A coroutine of an actor; while it runs, its process is the scheduler's current one."""

    __slots__ = ("coroutine", "process")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], process: P) -> None:
        self.coroutine, self.process = coroutine, process

    def __await__(self) -> Generator[Any, None, Any]:
        return self.coroutine.__await__()

    def send(self, value: object) -> object:
        """Go on to the next `await`."""
        scheduler = self.process.scheduler
        outer, scheduler.current = scheduler.current, self.process
        try:
            return self.coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _Escaped(error) from error
        finally:
            scheduler.current = outer

    def throw(self, *error: Any) -> object:
        """Go on with an exception."""
        if getcoroutinestate(self.coroutine) == CORO_CREATED:
            # Closed here, it releases what it would have awaited; entered, it would be kept by the traceback until a
            # collection.
            self.coroutine.close()
            raise error[0]
        scheduler = self.process.scheduler
        outer, scheduler.current = scheduler.current, self.process
        try:
            return self.coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _Escaped(raised) from raised
        finally:
            scheduler.current = outer

    def close(self) -> None:
        """Close the coroutine."""
        self.coroutine.close()


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return what the task of a `Contained` raised, or None."""
    if task.cancelled():
        try:
            task.result()
        except asyncio.CancelledError as cancelled:
            # The task's own, with the traceback of where it was raised.
            return cancelled
    error = task.exception()
    return error.error if isinstance(error, _Escaped) else error


@coroutine
def next_round() -> Generator[None, None, None]:
    """Continue in the next iteration of the event loop, after the actors that are ready now; a cancelled task ends here."""
    yield
