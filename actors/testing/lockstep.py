"""Threads of actors under virtual time: the loop and they go on in turns, one at a time.

Whenever a thread is given something to do, the loop waits until it rests: until it has done that, or itself waits for a
`Future` (so for every `ask`). What happens is therefore the same in each run, and when all actors rest so do their threads.
Time-outs in the threads are on the clock of the runtime too.

A test that wants to hold a handler does it by a `Future` of its own: `held.get()` in the handler, `held.set()` in the test.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from actors.runtime.current import actor_of_thread
from actors.runtime.scheduler import Scheduler

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actors.clock import Clock, Timer
    from actors.future import Future
    from actors.runtime.process import Process

__all__ = ["Lockstep"]

# Seconds of real time after which a thread is taken to wait for something that this runtime knows nothing of.
_PATIENCE = 30.0


class Lockstep(Scheduler):
    """A scheduler that does nothing else while a thread of one of its actors is at work."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock | None = None) -> None:
        super().__init__(loop, clock)
        self._turns_of_threads: deque[tuple[Process, Callable[[], object]]] = deque()
        self._in_turns = False
        self._at_work = False
        self._rested = threading.Event()

    def thread_works(self, actor: Process, go: Callable[[], object]) -> None:
        """Let the thread of an actor go on, and wait until it rests; do meanwhile what it asks of the loop.

        Raises:
            RuntimeError: if it does not rest.
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
                    f"the thread of {actor.name} is at work for {_PATIENCE:g} seconds; under virtual time a handler may "
                    "wait for an actors.Future, but not for an Event or a sleep"
                )
            self._rested.clear()
            self._drain()

    def thread_rests(self, callback: Callable[..., object], *args: Any) -> None:
        """Post `callback(*args)` as the last thing that an actor's thread does before it waits."""
        self.post(self._on_rest, callback, args)
        self._rested.set()

    def _on_rest(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._at_work = False
        callback(*args)

    def wait_in_thread(self, future: Future[Any], answered: threading.Event, timeout: float | None) -> bool:
        """Wait for the answer in the thread of an actor, or for the clock; tell whether it came in time."""
        actor = actor_of_thread()
        assert actor is not None
        wait = _Wait(self, actor)
        self.thread_rests(wait.begin, future, timeout)
        wait.over.wait()
        return future.done


class _Wait:
    """One wait of a thread: it ends with the answer or the time-out, whichever comes first."""

    def __init__(self, scheduler: Lockstep, actor: Process) -> None:
        self._scheduler, self._actor = scheduler, actor
        self._timer: Timer | None = None
        self._woken = False
        self.over = threading.Event()

    def begin(self, future: Future[Any], timeout: float | None) -> None:
        if timeout is not None:
            self._timer = self._scheduler.clock.call_after(timeout, self._wake)
        # Not at once: whoever answers is in the middle of something.
        future.add_done_callback(lambda _: self._scheduler.post(self._wake))

    def _wake(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._woken:
            self._woken = True
            self._scheduler.thread_works(self._actor, self.over.set)
