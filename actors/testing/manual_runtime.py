"""Actors in the thread of the test, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self, TypeVar, TypeVarTuple, Unpack, overload

from actors.clock import Alarm
from actors.exceptions import Timeout
from actors.task.task_actor import TaskActor
from actors.testing.lockstep import Lockstep
from actors.testing.manual_clock import ManualClock
from actors.testing.virtual_loop import LoopOnClock

if TYPE_CHECKING:
    from actors.future import Future
    from actors.ref import ActorRef
    from actors.request import Answer, Request
    from actors.runtime.process import Process

__all__ = ["ENDLESS", "ManualRuntime", "ManualScheduler"]

ENDLESS = 100_000
"""Rounds after which a runtime that is still busy is reported as never becoming idle."""

Args = TypeVarTuple("Args")
T = TypeVar("T")


class _CountingLoop(LoopOnClock, asyncio.SelectorEventLoop):
    """An event loop that counts the calls put in its queue, which shows when no work is left."""

    scheduled = 0
    _waits = False

    def wait(self) -> None:
        """Wait until a call is put in the queue, which is not run yet, or `stop` is called."""
        self._waits = True
        try:
            # Otherwise another thread was faster; the 1 is the stop of the round before.
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
    """A scheduler whose loop runs only inside calls of the test."""

    def is_serving(self) -> bool:
        """Return whether its loop is still open."""
        return not self.loop.is_closed()

    def may_block(self) -> bool:
        """Return whether the caller is the test itself or another thread."""
        return not self.is_current_thread() or (self.current is None and not self.loop.is_running())

    def block_on(self, future: Future[Any], timeout: float | None) -> None:
        """Run the actors; when all are idle and there is no answer, only moving the clock could bring one."""
        if not self.may_block():
            super().block_on(future, timeout)
        if not self.wait_until(lambda: future.done):
            raise Timeout("all actors are idle, and there is no answer; move the clock, or let another actor answer")

    def wait_until(self, done: Callable[[], bool]) -> bool:
        """Run the actors until they are idle; return whether `done()` is true then."""
        self.settle()
        return done()

    @property
    def waits_for_outside(self) -> bool:
        """Whether a handler waits for something other than an actor's answer or the clock."""
        loop = self.loop
        assert isinstance(loop, _CountingLoop)
        waiting = [process for process in self.processes.values() if not _waits_for_actor(process)]
        tasks = [_function_of(process) or process.task for process in waiting]
        return any(task is not None and not loop.sleeps(task) for task in tasks)

    def run_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Run the actors and wait for I/O and threads until `done()` is true, for at most `seconds` of real time."""
        loop, expired = self.loop, False
        assert isinstance(loop, _CountingLoop)

        def expire() -> None:
            nonlocal expired
            expired = True
            loop.stop()

        alarm = Alarm(loop, seconds, expire)
        try:
            self.settle()
            while not done() and not expired:
                loop.wait()
                self.settle()
        finally:
            alarm.cancel()

    def settle(self) -> None:
        """Run the loop until no work is left.

        Raises:
            RuntimeError: if the actors never become idle.
        """
        loop = self.loop
        assert isinstance(loop, _CountingLoop)
        for _ in range(ENDLESS):
            loop.scheduled = 0
            loop.call_soon(loop.stop)
            loop.run_forever()
            if loop.scheduled == 1 and not self._ready:
                return
        raise RuntimeError(f"the actors never become idle; busy: {[process.name for process in self._ready]}")


def _waits_for_actor(process: Process) -> bool:
    return process.waits_for is not None and process.waits_for.asked is not None


def _function_of(process: Process) -> asyncio.Task[Any] | None:
    actor = process.actor
    return actor.running if isinstance(actor, TaskActor) else None


class ManualRuntime:
    """Actors in the thread of the test, with a `ManualClock`.

    Inside the block, `start()` starts actors here; blocking calls such as `ask` run the actors instead of blocking. asyncio's
    sleeps and timeouts are measured by the clock too. At the end all actors are killed.

    Raises:
        RuntimeError: at a block inside its own block.
    """

    _entered = False

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"this {type(self).__name__} is running already; make another one")
        self._entered = True
        self.clock = ManualClock()
        self._scheduler = self._new_scheduler()
        return self

    def _new_scheduler(self) -> ManualScheduler:
        return ManualScheduler(_CountingLoop(self.clock), self.clock)

    def __exit__(self, *_exc: object) -> None:
        if self._scheduler.forked:
            return  # a forked child leaves the block; the loop is its parent's
        self._entered = False
        self._scheduler.close()
        try:
            self.settle()
        finally:
            self._scheduler.loop.close()

    @property
    def actors(self) -> list[ActorRef[Any]]:
        """All living actors of this runtime."""
        return [process.ref for process in self._scheduler.processes.values()]

    def settle(self) -> None:
        """Return when no actor has work left, except for timers.

        Raises:
            RuntimeError: if the actors never become idle.
        """
        self._scheduler.settle()

    def advance(self, seconds: float) -> None:
        """Move the clock, stopping at each due timer until everything that it causes is done.

        Raises:
            ValueError: if `seconds` is less than 0.
        """
        end = self.clock.after(seconds)
        self.settle()
        while self.clock.step(end):
            self.settle()

    @overload
    def ask(self, ref: ActorRef[Any], message: Request[Answer]) -> Answer: ...

    @overload
    def ask(self, ref: ActorRef[Any], message: Request[object]) -> object: ...  # type: ignore[overload-cannot-match]  # see `ActorRef`

    @overload
    def ask(self, ref: ActorRef[Any], message: object) -> Any: ...

    def ask(self, ref: ActorRef[Any], message: object) -> Any:
        """Ask an actor, and let the actors run until it answers."""
        return ref.ask(message)

    def until(self, find: Callable[[], T | None], seconds: float) -> T | None:
        """Return what `find` returns once all actors are idle, or None.

        While a handler waits for the outside world, such as a database, this waits too, for at most `seconds` of real time.
        """
        self._scheduler.run_until(lambda: find() is not None or not self._scheduler.waits_for_outside, seconds)
        return find()

    def run(self, awaitable: Awaitable[T], seconds: float = 0.0) -> T:
        """Run the actors until an awaitable is done, and return its result; for `async` code in a synchronous test.

        If it waits for the outside world, this waits too, for at most `seconds` of real time.

        Raises:
            pykka.Timeout: if there is no result unless the clock moves.
        """

        async def wait() -> T:
            return await awaitable

        task = self._scheduler.loop.create_task(wait(), name="the test")
        if not self._scheduler.wait_until(task.done):
            self._scheduler.run_until(task.done, seconds)
        if not task.done():
            task.cancel()
            self.settle()
            raise Timeout("all actors are idle, and there is no result; move the clock")
        return task.result()
