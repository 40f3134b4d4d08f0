"""A limit of time for what a coroutine waits for, on the clock of the actors."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.clock import Clock, Timer

__all__ = ["TimeBound", "is_cancellation", "sleep"]


class TimeBound:
    """What is awaited in its `with` block is cancelled after `seconds`, and the block raises TimeoutError.

    It is `asyncio.timeout` on the clock of the actors, which tests control.
    """

    __slots__ = ("_cancelling", "_clock", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds, self._expired = clock, seconds, False
        self._timer: Timer | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def __enter__(self) -> None:
        self._task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()
        self._timer = self._clock.call_after(self._seconds, self._expire)

    @property
    def expired(self) -> bool:
        """Whether the time is over, so that the TimeoutError is its own."""
        return self._expired

    def _expire(self) -> None:
        assert self._task is not None
        self._expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        task, timer, self._task = self._task, self._timer, None
        assert task is not None
        assert timer is not None
        timer.cancel()
        # If the task has been cancelled by others too, it ends.
        if self._expired and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError(f"not within {self._seconds} s") from error


def is_cancellation(error: BaseException) -> bool:
    """Return whether an exception is the cancellation of the running task, and not one that an author's code has raised."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait for so many seconds on the clock of the actors."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_after(seconds, lambda: None if over.done() else over.set_result(None))
    try:
        await over
    finally:
        timer.cancel()
