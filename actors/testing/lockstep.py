"""Threads of actors under virtual time: the loop and the threads take turns, one at a time.

Whenever a thread gets work, the loop waits until the thread is idle: until it is done, or waits for a `Future` itself (as every
`ask` does). Each run is therefore the same, and when all actors are idle, so are their threads. Timeouts in the threads are
measured by the clock of the runtime too.

To block a handler, a test uses a `Future` of its own: `held.get()` in the handler, `held.set()` in the test.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, ParamSpec

from actors.runtime.current import actor_of_thread
from actors.runtime.scheduler import Scheduler

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actors.clock import Clock, Timer
    from actors.future import Future
    from actors.runtime.process import Process

__all__ = ["Lockstep"]

P = ParamSpec("P")

# Seconds of real time after which a thread must be waiting for something that this runtime does not know.
_PATIENCE = 30.0


class Lockstep(Scheduler):
    """A scheduler that does nothing else while a thread of one of its actors is working."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock | None = None) -> None:
        super().__init__(loop, clock)
        self._turns_of_threads: deque[tuple[Process, Callable[[], object]]] = deque()
        self._in_turns = False
        self._at_work = False
        self._rested = threading.Event()

    def thread_works(self, actor: Process, go: Callable[[], object]) -> None:
        """Let the thread of an actor continue, and wait until it is idle; meanwhile run what it posts to the loop.

        Raises:
            RuntimeError: if it does not become idle.
        """
        self._turns_of_threads.append((actor, go))
        if self._in_turns:
            return
        self._in_turns = True
        try:
            while self._turns_of_threads:
                self._take_turn(*self._turns_of_threads.popleft())
        finally:
            self._in_turns = False

    def _take_turn(self, actor: Process, go: Callable[[], object]) -> None:
        self._at_work = True
        go()
        while self._at_work:
            if not self._rested.wait(_PATIENCE):
                raise RuntimeError(
                    f"the thread of {actor.name} has been working for {_PATIENCE:g} seconds; under virtual time a handler "
                    "may wait for an actors.Future, but not for an Event or a sleep"
                )
            self._rested.clear()
            self._drain()

    def thread_rests(self, callback: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Post `callback(*args)` as the last action of an actor's thread before it waits."""
        self.post(self._on_rest, lambda: callback(*args, **kwargs))
        self._rested.set()

    def _on_rest(self, callback: Callable[[], object]) -> None:
        self._at_work = False
        callback()

    def slow(self, _waiting: int) -> None:
        """Delay no thread: the loop does not run while the test, or the thread of an actor, is working."""

    def wait_in_thread(self, future: Future[Any], answered: threading.Event, timeout: float | None) -> bool:
        """Wait in the thread of an actor for the answer or the timeout; return whether the answer arrived in time."""
        actor = actor_of_thread()
        assert actor is not None
        wait = _ThreadWait(self, actor)
        self.thread_rests(wait.begin, future, timeout)
        wait.over.wait()
        future.stop_waiting(wait)
        return future.done


class _ThreadWait:
    """One wait of a thread: it ends with the answer or the timeout, whichever comes first."""

    def __init__(self, scheduler: Lockstep, actor: Process) -> None:
        self._scheduler, self._actor = scheduler, actor
        self._timer: Timer | None = None
        self._woken = False
        self.over = threading.Event()

    def begin(self, future: Future[Any], timeout: float | None) -> None:
        if timeout is not None:
            self._timer = self._scheduler.clock.call_after(timeout, self._wake)
        # Posted, because the actor that answers is in the middle of its handler.
        future.wake_by(self, lambda: self._scheduler.post(self._wake))

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._woken:
            self._woken = True
            self._scheduler.thread_works(self._actor, self.over.set)
