"""The end of an event loop that is not ours: how it is noticed before the loop closes.

`asyncio.run` cancels all tasks of its loop at its end, lets them end, and only then closes the loop. So do asyncio's `Runner`,
the test runners, and most programs that manage a loop by hand. A handler that waits is such a task, and its cancellation looks
like any other. What tells the end of a loop from the cancellation of one task is that no task of the loop goes on.

While the end is suspected, supervisors do not restart anything. If the loop goes on nevertheless, they do so then.
"""

from __future__ import annotations

import asyncio
from inspect import CORO_CREATED, getcoroutinestate
from types import CoroutineType
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from actors.clock import Clock

__all__ = ["LoopEnd"]

AGAIN = 1.0
"""Seconds until a loop whose end was suspected is looked at again."""

MOST = 30
"""How often it is looked at again, at most: a task that ignores its cancellation is not waited for any longer."""


class LoopEnd:
    """Whether an event loop is about to be closed, as all its tasks are being cancelled.

    - `suspected`: whether that seems to be so.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self.suspected = False
        self._loop, self._clock = loop, clock
        self._looks = 0
        # A task that was seen to go on. As long as it does, the others are not visited: there may be 10,000 actors that wait,
        # and each of them may be interrupted often, by time limits of its own.
        self._goes_on: ref[asyncio.Task[Any]] | None = None

    def look(self) -> None:
        """Look at the tasks of the loop, as one of them is cancelled: to be called before any of them continues."""
        witness = None if self._goes_on is None else self._goes_on()
        if self.suspected or (witness is not None and _goes_on(witness)):
            return
        witness = next(filter(_goes_on, asyncio.all_tasks(self._loop)), None)
        self._goes_on = None if witness is None else ref(witness)
        if witness is None:
            self.suspected, self._looks = True, MOST
            self._clock.call_after(AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._looks -= 1
        self.suspected = self._looks > 0 and any(map(_is_being_cancelled, asyncio.all_tasks(self._loop)))
        if self.suspected:
            self._clock.call_after(AGAIN, self._look_again)


def _goes_on(task: asyncio.Task[Any]) -> bool:
    """Return whether a task is neither over nor being cancelled; one that has not begun may be part of another one's end."""
    coroutine = task.get_coro()
    begun = not isinstance(coroutine, CoroutineType) or getcoroutinestate(coroutine) != CORO_CREATED
    return begun and not task.done() and not task.cancelling()


def _is_being_cancelled(task: asyncio.Task[Any]) -> bool:
    return task.cancelling() > 0
