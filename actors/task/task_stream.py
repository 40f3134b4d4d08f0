"""A task for each of many items, a bounded number at a time, and their results in turn (Elixir's `async_stream`)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from actors.future import Future
from actors.redaction import safe_repr
from actors.validation import check_count

if TYPE_CHECKING:
    from actors.runtime.current import Waiter

__all__ = ["Items", "TaskStream"]

T = TypeVar("T")
R = TypeVar("R")

Items = Iterable[T] | AsyncIterable[T]
"""The items of a stream."""

_END = object()
_LATER = object()


class Streamed(Protocol):
    """A `Task`, as far as a stream knows it."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def answerer(self) -> Waiter | None:
        """The process that those that wait for it wait for."""

    def cancel(self) -> None:
        """Ask it to exit."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback(task)` when it has ended."""


class TaskStream(Generic[T, R]):
    """An async iterator that starts a task for each item and yields their results.

    At most `max_concurrency` items are being processed or waiting to be taken: the next item is requested only when there is
    room, and tasks are started only while the next result is awaited. So `items` may be endless. With `ordered` the results
    are in the order of the items, and a slow one delays those after it; otherwise each is yielded when it is ready.

    When the iteration ends, normally, by an exception or a `break`, the tasks that are still running are told to end.
    """

    def __init__(
        self,
        start: Callable[[Any], Streamed],
        items: Items[Any],
        *,
        take: Callable[[Any], R],
        max_concurrency: int,
        ordered: bool = True,
    ) -> None:
        check_count("max_concurrency", max_concurrency, least=1)
        self._start, self._take = start, take
        self._max_concurrency, self._ordered = max_concurrency, ordered
        self._wake = _Wake()
        self._items = _source(items, self._wake)
        self._tasks: dict[Streamed, None] = {}
        self._exhausted = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        try:
            return self._take(await self._next_done())
        except BaseException:
            self.close()
            raise

    async def _next_done(self) -> Streamed:
        while True:
            # Made before the tasks are checked: one that ends after that wakes us.
            woken = self._wake.renew()
            self._start_more()
            task = self._done_in_turn()
            if task is not None:
                del self._tasks[task]
                return task
            if self._exhausted and not self._tasks:
                raise StopAsyncIteration
            woken.first = next(iter(self._tasks), None) if self._ordered or len(self._tasks) == 1 else None
            await woken

    def _start_more(self) -> None:
        while not self._exhausted and len(self._tasks) < self._max_concurrency:
            item = self._items.poll()
            if item is _LATER:
                return
            if item is _END:
                self._exhausted = True
                return
            task = self._start(item)
            self._tasks[task] = None
            task.add_done_callback(self._wake)

    def _done_in_turn(self) -> Streamed | None:
        for task in self._tasks:
            if task.done:
                return task
            if self._ordered:
                return None
        return None

    def close(self) -> None:
        """Start no more tasks, and tell those that are running to end."""
        self._exhausted = True
        self._items.close()
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Close it, for `contextlib.aclosing`."""
        self.close()

    def __del__(self) -> None:
        # After a `break` it is freed, as its tasks refer only to `_wake`.
        if hasattr(self, "_tasks"):
            self.close()


class _Woken(Future[None]):
    """Answered when there may be a result."""

    first: Streamed | None = None
    may_fail = False

    @property
    def asked(self) -> Waiter | None:
        """The process of the task that has to end first, if only one has."""
        return None if self.first is None else self.first.answerer

    @asked.setter
    def asked(self, _asked: Waiter | None) -> None:
        """Do nothing: it is computed."""


class _Wake:
    """Wakes the iteration that waits for the next result."""

    def __init__(self) -> None:
        self._woken = _Woken()

    def renew(self) -> _Woken:
        self._woken = _Woken()
        return self._woken

    def __call__(self, _: object = None) -> None:
        # It may be called in two threads, the actors' and the iterating one; once is enough.
        with contextlib.suppress(RuntimeError):
            self._woken.set(None)


class _Iterated:
    """The items of an iterable."""

    def __init__(self, items: Iterable[object]) -> None:
        self._iterator: Iterator[object] = iter(items)

    def poll(self) -> object:
        return next(self._iterator, _END)

    def close(self) -> None:
        """Do nothing: no item is being fetched."""


class _AsyncIterated:
    """The items of an async iterable: one is requested at a time, while earlier ones are processed."""

    def __init__(self, items: AsyncIterable[object], wake: Callable[[object], None]) -> None:
        self._iterator = aiter(items)
        self._wake = wake
        self._pull: asyncio.Task[object] | None = None

    def poll(self) -> object:
        if self._pull is None:
            self._pull = asyncio.get_running_loop().create_task(_next(self._iterator))
            self._pull.add_done_callback(self._wake)
        if not self._pull.done():
            return _LATER
        pull, self._pull = self._pull, None
        return pull.result()

    def close(self) -> None:
        pull, self._pull = self._pull, None
        if pull is not None:
            with contextlib.suppress(RuntimeError):  # that loop is closed, and the pull with it
                pull.get_loop().call_soon_threadsafe(pull.cancel)


async def _next(iterator: AsyncIterator[object]) -> object:
    return await anext(iterator, _END)


def _source(items: Items[Any], wake: Callable[[object], None]) -> _Iterated | _AsyncIterated:
    if isinstance(items, AsyncIterable):
        return _AsyncIterated(items, wake)
    if isinstance(items, Iterable):
        return _Iterated(items)
    raise TypeError(f"items must be an iterable or an async iterable, got {safe_repr(items)}")
