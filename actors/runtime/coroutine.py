"""An actor's coroutine: it runs as a task, and whatever it raises ends that actor and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from inspect import CORO_CREATED, getcoroutinestate
from types import coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.runtime.process import Process

__all__ = ["Contained", "error_of", "next_round"]


class _Escaped(Exception):  # noqa: N818  # not an error of its own: it carries one past asyncio
    """SystemExit or KeyboardInterrupt, which a task would pass on to its loop, and end everybody."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Contained(Coroutine[Any, Any, Any]):
    """A coroutine of an actor; while it runs, the scheduler knows whose it is."""

    __slots__ = ("_coroutine", "_process")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], process: Process) -> None:
        self._coroutine, self._process = coroutine, process

    def __await__(self) -> Generator[Any, None, Any]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Go on to the next `await`."""
        scheduler = self._process.scheduler
        outer, scheduler.current = scheduler.current, self._process
        try:
            return self._coroutine.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise _Escaped(error) from error
        finally:
            scheduler.current = outer

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        if getcoroutinestate(self._coroutine) == CORO_CREATED:
            # It lets go of what it would have awaited now; entered, it would be held by the traceback until some collection.
            self._coroutine.close()
            raise error[0]
        scheduler = self._process.scheduler
        outer, scheduler.current = scheduler.current, self._process
        try:
            return self._coroutine.throw(*error)
        except (SystemExit, KeyboardInterrupt) as raised:
            raise _Escaped(raised) from raised
        finally:
            scheduler.current = outer

    def close(self) -> None:
        """End without going on."""
        self._coroutine.close()


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """Return what the task of a `Contained` raised, if it did."""
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
    """Go on in the next round of the event loop, after the actors that are ready now; who is cancelled goes no further."""
    yield
