"""Tests of actors: time that moves when you say so, and an actor that stands for the test.

    with ManualRuntime() as runtime:
        ref = Ticker.start()
        runtime.advance(12)
        assert runtime.ask(ref, "ticks") == 2

No test waits for a timer, and none sleeps: what has happened is settled before a call returns.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Self, TypeVarTuple, Unpack

import pykka.messages

from actors.actor import Actor
from actors.clock import Clock
from actors.exceptions import Timeout
from actors.runtime.scheduler import Scheduler

if TYPE_CHECKING:
    from actors.exits import MonitorRef
    from actors.future import Future
    from actors.ref import ActorRef

__all__ = ["WAIT", "ManualClock", "ManualRuntime", "Probe", "sync"]

WAIT = 5.0 * float(os.environ.get("ASHTREE_WAIT", "1"))
"""Seconds that a test waits for another thread at most; the environment variable ASHTREE_WAIT scales it."""

# Rounds after which a runtime that is still busy is taken for one that never rests.
_ENDLESS = 100_000


class ManualClock(Clock):
    """A clock that stands still until it is told to move."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self._now = start

    def now(self) -> float:
        """Return the time that it was set to."""
        return self._now

    def _rearm(self) -> None:
        """Nobody waits for it: whoever moves it looks what is due."""

    def step(self, end: float) -> bool:
        """Move to the next timer up to `end` and fire it; without one, move to `end` and return False."""
        at = self.next_at()
        if at is None or at > end:
            self._now = max(self._now, end)
            return False
        self._now = max(self._now, at)
        self._fire_until(self._now)
        return True


Args = TypeVarTuple("Args")


class _CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts what is put in its queue, so that one can tell when nothing is left to do."""

    scheduled = 0

    def call_soon(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        self.scheduled += 1
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        self.scheduled += 1
        return super().call_soon_threadsafe(callback, *args, context=context)


class _ManualScheduler(Scheduler):
    """A scheduler whose loop only runs while the test lets it."""

    loop: _CountingLoop

    def serves_this_thread(self) -> bool:
        return not self.loop.is_closed() and self.is_current_thread()

    def may_block(self) -> bool:
        return not self.is_current_thread() or (self.current is None and not self.loop.is_running())

    def block_on(self, future: Future[Any], timeout: float | None) -> None:
        """Let the actors run; what they have not answered when all rest, nobody will without time going by."""
        if not self.may_block():
            super().block_on(future, timeout)
        self.settle()
        if not future.done:
            raise Timeout("all actors rest, and there is no answer; move the clock, or let another actor answer")

    def settle(self) -> None:
        for _ in range(_ENDLESS):
            self.loop.scheduled = 0
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if self.loop.scheduled == 1 and not self._ready:
                return
        raise RuntimeError(f"the actors never rest; busy: {[process.name for process in self._ready]}")


class ManualRuntime:
    """Actors in the thread of the test, with a `ManualClock`.

    Inside the block, `start()` starts actors here; blocking calls such as `ask` let them run instead of blocking. At the end
    all actors are killed.
    """

    def __enter__(self) -> Self:
        self.clock = ManualClock()
        self._scheduler = _ManualScheduler(_CountingLoop(), self.clock)
        return self

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
        """Move the clock, stopping at each timer on the way until all that it leads to is done."""
        end = self.clock.now() + seconds
        self.settle()
        while self.clock.step(end):
            self.settle()

    def ask(self, ref: ActorRef[Any], message: Any) -> Any:
        """Ask, and let the actors run until there is an answer."""
        return ref.ask(message)

    def run(self, awaitable: Any) -> Any:
        """Let the actors run, and return what is awaited; for code that is `async` in a test that is not.

        Raises:
            pykka.Timeout: if it does not come without time going by.
        """

        async def wait() -> Any:
            return await awaitable

        task = self._scheduler.loop.create_task(wait())
        self.settle()
        if not task.done():
            task.cancel()
            self.settle()
            raise Timeout("all actors rest, and what is awaited has not come; move the clock")
        return task.result()


def sync(*refs: ActorRef[Any]) -> None:
    """Return when each actor has handled everything that was in its mailbox (a barrier, in any runtime)."""
    for ref in refs:
        ref.ask(pykka.messages.ProxyGetAttr(attr_path=("actor_urn",)), timeout=WAIT)


class _Mailbox(Actor):
    """The actor of a probe: it keeps what it gets."""

    def __init__(self, arrived: threading.Condition, messages: list[Any]) -> None:
        self._arrived, self._messages = arrived, messages

    def on_start(self) -> None:
        self.trap_exit = True

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, _Do):
            return message.what(self)
        with self._arrived:
            self._messages.append(message)
            self._arrived.notify_all()
        return None


class _Do:
    """Something to be done by the probe's actor itself."""

    def __init__(self, what: Callable[[_Mailbox], Any]) -> None:
        self.what = what


class Probe:
    """An actor that stands for the test: send to `probe.ref`, then look at what came.

    It traps exits, so that being linked to what crashes only brings it an `Exit`.
    """

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.messages: list[Any] = []
        self.ref: ActorRef[Any] = _Mailbox.start(self._arrived, self.messages)

    def monitor(self, ref: ActorRef[Any]) -> MonitorRef:
        """Watch an actor: its `Down` comes here."""
        monitor: MonitorRef = self.ref.ask(_Do(lambda mailbox: mailbox.monitor(ref)))
        return monitor

    def link(self, ref: ActorRef[Any]) -> None:
        """Link to an actor: its `Exit` comes here."""
        self.ref.ask(_Do(lambda mailbox: mailbox.link(ref)))

    def assert_receive(self, expected: Any) -> Any:
        """Return the first message that fits, and take it out; wait for it if actors run in another thread.

        A class fits its instances, a function what it returns true for, any other value what is equal to it.
        """
        found = self._take(expected)
        assert found, f"expected {expected!r}, got {self.messages!r}"
        return found[0]

    def refute_received(self, expected: Any) -> None:
        """Make sure that no message that fits has come by now."""
        sync(self.ref)
        with self._arrived:
            unwanted = [message for message in self.messages if _fits(expected, message)]
        assert not unwanted, f"expected no {expected!r}, got {unwanted!r}"

    def _take(self, expected: Any) -> list[Any]:
        sync(self.ref)
        with self._arrived:
            found = self._pop(expected)
            # In the test's own thread nothing more can come; from another one it may.
            while not found and not self.ref.process.scheduler.is_current_thread() and self._arrived.wait(WAIT):
                found = self._pop(expected)
            return found

    def _pop(self, expected: Any) -> list[Any]:
        for index, message in enumerate(self.messages):
            if _fits(expected, message):
                return [self.messages.pop(index)]
        return []


def _fits(expected: Any, message: Any) -> bool:
    if isinstance(expected, type):
        return isinstance(message, expected)
    if callable(expected):
        return bool(expected(message))
    return bool(expected == message)
