"""Event loops on virtual time; `VirtualLoop` has no I/O either, and leaves the order of its calls to a simulation."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, Unpack
from weakref import WeakSet

from actors.runtime.program_exit import OutcomeExit

if TYPE_CHECKING:
    from actors.clock import Clock, Timer

__all__ = ["KeptCall", "LoopOnClock", "VirtualLoop"]

Args = TypeVarTuple("Args")
T = TypeVar("T")


class KeptCall(asyncio.Handle):
    """A call that a loop keeps until its turn."""

    __slots__ = ()

    def run(self) -> None:
        """Make the call, which must not be cancelled."""
        self._run()


class _ClockHandle(asyncio.TimerHandle, KeptCall):
    """A timer of asyncio that is one of the clock."""

    timer: Timer


class LoopOnClock(asyncio.BaseEventLoop):
    """Measures the sleeps and timeouts of asyncio by `clock`: they end when the clock is moved."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sleeps: WeakSet[asyncio.Future[Any]] = WeakSet()
        super().__init__()

    def run_forever(self) -> None:
        """Run until `stop` is called.

        Raises:
            What an actor raised that is meant for the program or the test, such as KeyboardInterrupt and pytest's outcomes.
        """
        try:
            super().run_forever()
        except OutcomeExit as carrier:
            outcome = carrier.outcome
        else:
            return
        raise outcome

    def time(self) -> float:
        """Return the time of the clock."""
        return self._clock.now()

    def call_at(
        self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Keep a call to be made when the clock reaches `when`."""
        handle = _ClockHandle(when, callback, args, self, context)
        handle.timer = self._clock.call_at(when, lambda: self._keep(callback, handle))
        # asyncio.sleep() waits for a future that a timer resolves; the future is an argument of the call.
        self._sleeps.update(argument for argument in args if isinstance(argument, asyncio.Future))
        return handle

    def sleeps(self, task: asyncio.Task[Any]) -> bool:
        """Return whether a task waits for the clock, in asyncio.sleep()."""
        return getattr(task, "_fut_waiter", None) in self._sleeps

    def _keep(self, _callback: Callable[..., object], handle: KeptCall) -> None:
        """Make a call that is due, unless it is cancelled before its turn."""
        self.call_soon(lambda: None if handle.cancelled() else handle.run())

    def _timer_handle_cancelled(self, handle: _ClockHandle) -> None:
        handle.timer.cancel()


class VirtualLoop(LoopOnClock):
    """Keeps all calls, each with its owner, until `turn` makes one of them.

    `tasks` are the tasks that can continue, each at most once. `callbacks` are all other calls, in order. asyncio's sleeps and
    timeouts are measured by `clock`. Calls handed to an executor are made at once. There is no I/O.
    """

    turn: Callable[[], object]

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.tasks: deque[tuple[asyncio.Task[Any], KeptCall]] = deque()
        self.callbacks: deque[tuple[object, KeptCall]] = deque()

    def _run_once(self) -> None:
        self.turn()

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Keep a call to be made."""
        handle = KeptCall(callback, args, self, context)
        self._keep(callback, handle)
        return handle

    # Safe from other threads too: appending to a deque is atomic.
    call_soon_threadsafe = call_soon

    def _keep(self, callback: Callable[..., object], handle: KeptCall) -> None:
        if self.is_closed():
            raise RuntimeError("the event loop of this simulation is closed")
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            self.tasks.append((owner, handle))
        else:
            self.callbacks.append((owner, handle))

    def run_in_executor(self, executor: object, func: Callable[[Unpack[Args]], T], *args: *Args) -> asyncio.Future[T]:
        """Call `func` at once: a thread would make each run different."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # it is raised where the future is awaited
            future.set_exception(error)
        return future
