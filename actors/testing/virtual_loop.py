"""Event loops on virtual time; one has no I/O either, and what it does next is not its own choice."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

if TYPE_CHECKING:
    from actors.clock import Clock, Timer

__all__ = ["LoopOnClock", "VirtualLoop"]

Args = TypeVarTuple("Args")
T = TypeVar("T")


class _TimerHandle(asyncio.TimerHandle):
    """A timer of asyncio's that is one of the clock's."""

    timer: Timer


class LoopOnClock(asyncio.BaseEventLoop):
    """Has the sleeps and time-outs of asyncio on `clock`: they are over when somebody moves it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleeps: WeakSet[asyncio.Future[Any]] = WeakSet()
        super().__init__()

    def time(self) -> float:
        """Return the time of the clock."""
        return self._clock.now()

    def call_at(
        self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Keep a call to be made when the clock has come to `when`."""
        handle = _TimerHandle(when, callback, args, self, context)
        handle.timer = self._clock.call_at(when, lambda: self._keep(callback, handle))
        # asyncio.sleep() has the future that it waits for answered by a timer.
        self._sleeps.update(argument for argument in args if isinstance(argument, asyncio.Future))
        return handle

    def sleeps(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether a task waits for the clock, in asyncio.sleep()."""
        return getattr(task, "_fut_waiter", None) in self._sleeps

    def _keep(self, _callback: Callable[..., object], handle: asyncio.Handle) -> None:
        """Make a call whose time has come, unless it is cancelled before its turn."""
        self.call_soon(lambda: None if handle.cancelled() else handle._run())

    def _timer_handle_cancelled(self, handle: _TimerHandle) -> None:
        handle.timer.cancel()


class VirtualLoop(LoopOnClock):
    """Keeps what is to be called, each with its owner, until `turn` does one thing of it.

    `tasks` are the tasks that can go on; a task is there once at most. `callbacks` is everything else, in order. The sleeps and
    time-outs of asyncio are on `clock`. What is handed to an executor is done at once. There is no I/O.
    """

    turn: Callable[[], object]

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.tasks: deque[tuple[asyncio.Task[Any], asyncio.Handle]] = deque()
        self.callbacks: deque[tuple[Any, asyncio.Handle]] = deque()

    def _run_once(self) -> None:
        self.turn()

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Keep a call to be made."""
        handle = asyncio.Handle(callback, args, self, context)
        self._keep(callback, handle)
        return handle

    # From other threads too: to append to a deque is one step.
    call_soon_threadsafe = call_soon

    def _keep(self, callback: Callable[..., object], handle: asyncio.Handle) -> None:
        if self.is_closed():
            raise RuntimeError("the event loop of this simulation is closed")
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            self.tasks.append((owner, handle))
        else:
            self.callbacks.append((owner, handle))

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Args]], T], *args: *Args) -> asyncio.Future[T]:
        """Call `func` at once: a thread would go its own way in each run."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # it is for whoever awaits it
            future.set_exception(error)
        return future
