"""Actors on the running event loop, with a clock that the test moves: what a `ManualRuntime` is to a test without a loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from actors.clock import LoopClock
from actors.lowlevel import Scheduler
from actors.testing.manual_clock import ManualClock
from actors.testing.probe import WAIT

if TYPE_CHECKING:
    from actors.lowlevel import Process

__all__ = ["LoopRuntime"]

T = TypeVar("T")

# Rounds of the loop in which no actor gets anything to do, after which all are taken to rest. There are more while a handler
# waits: its coroutine may go through a few rounds before it does something that can be seen.
_QUIET, _QUIET_IN_HANDLER = 2, 32
_ENDLESS = 100_000


class _Round:
    """Awaited, it lets the loop go round once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class _LoopScheduler(Scheduler):
    """A scheduler that counts how often actors get something to do, and knows which tasks its actors have started."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: ManualClock) -> None:
        super().__init__(loop, clock)
        self.wakes = 0
        self.happened = asyncio.Event()
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._outer_factory: Any = loop.get_task_factory()
        loop.set_task_factory(self._make_task)

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        make = self._outer_factory
        task = asyncio.Task(coroutine, loop=loop, **options) if make is None else make(loop, coroutine, **options)
        if self.current is not None:
            self.tasks.add(task)
        return task

    def ready(self, process: Process) -> None:
        """Put a process in the ready queue, and count that."""
        self.wakes += 1
        self.happened.set()
        super().ready(process)

    @property
    def rests(self) -> bool:
        """Tell whether no actor is ready."""
        return not self._ready and not self._inbound

    @property
    def handlers(self) -> list[asyncio.Task[Any]]:
        """The handlers that wait for something."""
        return [process.task for process in self.processes.values() if process.task is not None]

    def close(self) -> None:
        """End all, and give the loop back as it was."""
        super().close()
        self.loop.set_task_factory(self._outer_factory)


class LoopRuntime:
    """Actors on the running event loop, with a `ManualClock`; the loop is the test's, and so is what else runs there.

    Raises:
        RuntimeError: if no loop of asyncio runs, saying how anyio is told to run one.
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
        """Return when no actor has anything left to do, timers aside, and those that wait for the world outside.

        Raises:
            RuntimeError: if they never rest.
        """
        scheduler, quiet = self._scheduler, 0
        for _ in range(_ENDLESS):
            before = scheduler.wakes
            await _Round()
            quiet = quiet + 1 if scheduler.rests and scheduler.wakes == before else 0
            if quiet >= (_QUIET_IN_HANDLER if scheduler.handlers else _QUIET):
                return
        raise RuntimeError("the actors never rest")

    async def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each timer on the way until all that it leads to is done.

        Raises:
            ValueError: if `seconds` is less than 0.
        """
        if not seconds >= 0:
            raise ValueError(f"seconds must be >= 0, got {seconds!r}")
        end = self.clock.now() + seconds
        await self.settle()
        while self.clock.step(end):
            await self.settle()

    async def until(self, look: Callable[[], T | None]) -> T | None:
        """Return what `look` finds when all actors rest, or None.

        While a handler waits for the world outside, such as a database, this waits for it too; at most `WAIT` seconds.
        """
        late = _Alarm(self._scheduler)
        try:
            await self.settle()
            while (found := look()) is None and self._scheduler.handlers and not late.is_over:
                await self._something()
                await self.settle()
            return found
        finally:
            late.cancel()

    async def _something(self) -> None:
        """Wait until an actor gets something to do, or a handler comes to its end, or the time is over."""
        happened = self._scheduler.happened
        happened.clear()
        for task in self._scheduler.handlers:
            task.add_done_callback(lambda _: happened.set())
        await happened.wait()

    async def close(self) -> None:
        """Kill all actors, cancel their tasks, and give the loop back as it was."""
        self._scheduler.close()
        for task in self.tasks:
            task.cancel()
        for _ in range(_QUIET):
            await _Round()


def _running_loop() -> asyncio.AbstractEventLoop:
    __tracebackhide__ = True
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "channels run on asyncio, and this test does not; with anyio, have a fixture anyio_backend return 'asyncio'"
        ) from None


class _Alarm:
    """Wakes whoever waits when the real time is over."""

    def __init__(self, scheduler: _LoopScheduler) -> None:
        self.is_over = False
        self._happened = scheduler.happened
        self._timer = LoopClock(scheduler.loop).call_after(WAIT, self._ring)

    def _ring(self) -> None:
        self.is_over = True
        self._happened.set()

    def cancel(self) -> None:
        self._timer.cancel()
