"""Actors in the thread of the test, on time that moves when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, Unpack

from actors.clock import Alarm
from actors.exceptions import Timeout
from actors.testing.lockstep import Lockstep
from actors.testing.manual_clock import ManualClock
from actors.testing.virtual_loop import LoopOnClock
from actors.validation import check_number

if TYPE_CHECKING:
    from actors.future import Future
    from actors.ref import ActorRef

__all__ = ["ENDLESS", "ManualRuntime", "ManualScheduler"]

ENDLESS = 100_000
"""Rounds after which a runtime that is still busy is taken for one that never rests."""

Args = TypeVarTuple("Args")
T = TypeVar("T")


class _CountingLoop(LoopOnClock, asyncio.SelectorEventLoop):
    """An event loop that counts what is put in its queue, so that one can tell when nothing is left to do."""

    scheduled = 0
    _waits = False

    def wait(self) -> None:
        """Wait until something is put in the queue, which is then still to be done, or `stop` is called."""
        self._waits = True
        try:
            # Else a thread was quicker; 1 is the stop of the round before.
            if self.scheduled <= 1:
                self.run_forever()
        finally:
            self._waits = False

    def _count(self) -> None:
        self.scheduled += 1
        if self._waits:
            self.stop()

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        self._count()
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        self._count()
        return super().call_soon_threadsafe(callback, *args, context=context)


class ManualScheduler(Lockstep):
    """A scheduler whose loop only runs while the test lets it."""

    def is_serving(self) -> bool:
        """Tell whether its loop is still there."""
        return not self.loop.is_closed()

    def may_block(self) -> bool:
        """Tell whether the caller is the test itself, or another thread."""
        return not self.is_current_thread() or (self.current is None and not self.loop.is_running())

    def block_on(self, future: Future[Any], timeout: float | None) -> None:
        """Let the actors run; what they have not answered when all rest, nobody will without time going by."""
        if not self.may_block():
            super().block_on(future, timeout)
        if not self.wait_until(lambda: future.done):
            raise Timeout("all actors rest, and there is no answer; move the clock, or let another actor answer")

    def wait_until(self, done: Callable[[], bool]) -> bool:
        """Let the actors run; tell whether something has come to be so."""
        self.settle()
        return done()

    @property
    def waits_for_the_world(self) -> bool:
        """Tell whether a handler waits for something that is neither an actor's answer nor the clock."""
        loop = self.loop
        assert isinstance(loop, _CountingLoop)
        return any(
            process.task is not None and process.waits_for is None and not loop.sleeps(process.task)
            for process in self.processes.values()
        )

    def let_the_world_go_on(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for what comes from outside, and let the actors run, until all is done, or as long as this real time lasts."""
        loop, late = self.loop, False
        assert isinstance(loop, _CountingLoop)

        def be_late() -> None:
            nonlocal late
            late = True
            loop.stop()

        alarm = Alarm(loop, seconds, be_late)
        try:
            self.settle()
            while not done() and not late:
                loop.wait()
                self.settle()
        finally:
            alarm.cancel()

    def settle(self) -> None:
        """Let the loop run until it has nothing left to do."""
        loop = self.loop
        assert isinstance(loop, _CountingLoop)
        for _ in range(ENDLESS):
            loop.scheduled = 0
            loop.call_soon(loop.stop)
            loop.run_forever()
            if loop.scheduled == 1 and not self._ready:
                return
        raise RuntimeError(f"the actors never rest; busy: {[process.name for process in self._ready]}")


class ManualRuntime:
    """Actors in the thread of the test, with a `ManualClock`.

    Inside the block, `start()` starts actors here; blocking calls such as `ask` let them run instead of blocking. asyncio's
    sleeps and time-outs are on the clock too. At the end all actors are killed.
    """

    def __enter__(self) -> Self:
        self.clock = ManualClock()
        self._scheduler = self._new_scheduler()
        return self

    def _new_scheduler(self) -> ManualScheduler:
        return ManualScheduler(_CountingLoop(self.clock), self.clock)

    def __exit__(self, *_exc: object) -> None:
        self._scheduler.close()
        self.settle()
        self._scheduler.loop.close()

    @property
    def actors(self) -> list[ActorRef[Any]]:
        """All actors that live here."""
        return [process.ref for process in self._scheduler.processes.values()]

    def settle(self) -> None:
        """Return when no actor has anything left to do, timers aside.

        Raises:
            RuntimeError: if they never rest.
        """
        self._scheduler.settle()

    def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each timer on the way until all that it leads to is done.

        Raises:
            ValueError: if `seconds` is less than 0.
        """
        check_number("seconds", seconds)
        end = self.clock.now() + seconds
        self.settle()
        while self.clock.step(end):
            self.settle()

    def ask(self, ref: ActorRef[Any], message: Any) -> Any:
        """Ask, and let the actors run until there is an answer."""
        return ref.ask(message)

    def until(self, look: Callable[[], T | None], seconds: float) -> T | None:
        """Return what `look` finds when all actors rest, or None.

        While a handler waits for the world outside, such as a database, this waits for it too, at most so many real seconds.
        """
        self._scheduler.let_the_world_go_on(
            lambda: look() is not None or not self._scheduler.waits_for_the_world, seconds
        )
        return look()

    def run(self, awaitable: Any, seconds: float = 0.0) -> Any:
        """Let the actors run, and return what is awaited; for code that is `async` in a test that is not.

        If it waits for the world outside, this does too, at most so many real seconds.

        Raises:
            pykka.Timeout: if it does not come without time going by.
        """

        async def wait() -> Any:
            return await awaitable

        task = self._scheduler.loop.create_task(wait(), name="the test")
        if not self._scheduler.wait_until(task.done):
            self._scheduler.let_the_world_go_on(task.done, seconds)
        if not task.done():
            task.cancel()
            self.settle()
            raise Timeout("all actors rest, and what is awaited has not come; move the clock")
        return task.result()
