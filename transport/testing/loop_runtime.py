"""Actors on the running event loop, with a clock that the test moves: the `ManualRuntime` of `async def` tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from actors.clock import LoopClock
from actors.lowlevel import Scheduler, next_round
from actors.testing.manual_clock import ManualClock
from actors.testing.probe import WAIT

if TYPE_CHECKING:
    from actors.lowlevel import Process

__all__ = ["LoopRuntime"]

T = TypeVar("T")

# Rounds of the loop without work for an actor, after which all actors count as idle. More are needed while a handler waits: its
# coroutine may take a few rounds before it does something that can be observed.
_QUIET, _QUIET_IN_HANDLER = 2, 32
_ENDLESS = 100_000


class _LoopScheduler(Scheduler):
    """A scheduler that counts how often actors get work, and tracks the tasks that its actors start."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: ManualClock) -> None:
        super().__init__(loop, clock)
        self.wakes = 0
        self.woken = asyncio.Event()
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._outer_factory: Any = loop.get_task_factory()
        loop.set_task_factory(self._make_task)

    def _make_task(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> asyncio.Future[T]:
        make = self._outer_factory
        task = asyncio.Task(coroutine, loop=loop, **options) if make is None else make(loop, coroutine, **options)
        if self.current is not None:
            self.tasks.add(task)
        return task

    def ready(self, process: Process) -> None:
        """Add a process to the ready queue, and count that."""
        self.wakes += 1
        self.woken.set()
        super().ready(process)

    @property
    def is_idle(self) -> bool:
        """Whether no actor is ready."""
        return not self._ready and not self._inbound

    @property
    def handlers(self) -> list[asyncio.Task[Any]]:
        """The handlers that wait for something."""
        return [process.task for process in self.processes.values() if process.task is not None]

    def close(self) -> None:
        """Kill all actors, and restore the task factory of the loop."""
        super().close()
        self.loop.set_task_factory(self._outer_factory)


class LoopRuntime:
    """Actors on the running event loop, with a `ManualClock`; the loop belongs to the test, which may run other code on it.

    Raises:
        RuntimeError: if no asyncio loop is running; it says how to make anyio run one.
    """

    def __init__(self) -> None:
        __tracebackhide__ = True
        self.clock = ManualClock()
        self._scheduler = _LoopScheduler(_running_loop(), self.clock)

    @property
    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that actors have started and that are not done."""
        return [task for task in self._scheduler.tasks if not task.done()]

    async def settle(self) -> None:
        """Return when no actor has work left, except for timers and for handlers that wait for the outside world.

        Raises:
            RuntimeError: if the actors never become idle.
        """
        scheduler, quiet = self._scheduler, 0
        for _ in range(_ENDLESS):
            before = scheduler.wakes
            await next_round()
            quiet = quiet + 1 if scheduler.is_idle and scheduler.wakes == before else 0
            if quiet >= (_QUIET_IN_HANDLER if scheduler.handlers else _QUIET):
                return
        raise RuntimeError("the actors never become idle")

    async def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each due timer until everything that it causes is done.

        Raises:
            ValueError: if `seconds` is less than 0.
        """
        end = self.clock.after(seconds)
        await self.settle()
        while self.clock.step(end):
            await self.settle()

    async def until(self, find: Callable[[], T | None]) -> T | None:
        """Return what `find` returns once all actors are idle, or None.

        While a handler waits for the outside world, such as a database, this waits too, for at most `WAIT` seconds.
        """
        deadline = _Deadline(self._scheduler)
        try:
            await self.settle()
            while (found := find()) is None and self._scheduler.handlers and not deadline.is_over:
                await self._woken()
                await self.settle()
            return found
        finally:
            deadline.cancel()

    async def _woken(self) -> None:
        """Wait until an actor gets work, a handler ends, or the deadline has passed."""
        woken = self._scheduler.woken
        woken.clear()
        for task in self._scheduler.handlers:
            task.add_done_callback(lambda _: woken.set())
        await woken.wait()

    async def close(self) -> None:
        """Kill all actors, cancel their tasks, and restore the loop."""
        self._scheduler.close()
        for task in self.tasks:
            task.cancel()
        for _ in range(_QUIET):
            await next_round()


def _running_loop() -> asyncio.AbstractEventLoop:
    __tracebackhide__ = True
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "channels run on asyncio, and this test does not; with anyio, have a fixture anyio_backend return 'asyncio'"
        ) from None


class _Deadline:
    """Ends a wait after `WAIT` seconds of real time."""

    def __init__(self, scheduler: _LoopScheduler) -> None:
        self.is_over = False
        self._woken = scheduler.woken
        self._timer = LoopClock(scheduler.loop).call_after(WAIT, self._pass)

    def _pass(self) -> None:
        self.is_over = True
        self._woken.set()

    def cancel(self) -> None:
        self._timer.cancel()
