"""Runs actors on an event loop, in turns.

A process that has something to do stands in the ready queue. The scheduler gives each one turn of a bounded number of
messages (`TURN`), a bounded number of turns in one go (`PASS`), then lets the loop do its I/O. So no actor starves
another one, and no crowd of actors starves the sockets.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import ref

from actors.clock import Clock, LoopClock
from actors.exceptions import ActorDeadError, BlockingCallError
from actors.registry import ActorRegistry, Registry

if TYPE_CHECKING:
    from actors.future import Future
    from actors.runtime.process import Process

__all__ = ["Scheduler", "actor_of_thread", "new_event_loop", "thread_belongs_to"]

# Messages in one turn before the next process gets its own.
TURN = 64

# Turns in one go before the loop gets to its I/O: at some 2 us a message, sockets wait a few milliseconds at most.
PASS = 256

# Questions in a row that are answered without a round of the loop.
AT_ONCE = 64

_by_thread: dict[int, Scheduler] = {}
# Actors that have a thread of their own, by that thread.
_actors_by_thread: dict[int, Process] = {}
_background_lock = threading.Lock()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Make the fastest event loop there is: uvloop's when it is installed (the `fast` extra), else asyncio's."""
    try:
        import uvloop  # noqa: PLC0415  # an extra: there or not
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Scheduler:
    """All actors of one event loop: who is ready, what time it is, who is called what.

    There is one for each event loop that has actors. Its methods are for the loop's own thread, except `post`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock | None = None) -> None:
        self.loop = loop
        self.clock: Clock = clock or LoopClock(loop)
        self.names = Registry()
        self.processes: dict[int, Process] = {}
        self.end_watchers: list[Callable[[Process], object]] | None = None
        self.current: Process | None = None
        self.messages_per_turn = TURN
        self.thread_id = get_ident()
        # Actors run in a context of their own, not in that of whoever sends to them.
        self._context = copy_context()
        self._at_once = AT_ONCE
        self._ready: deque[Process] = deque()
        self._armed = False
        self._running = False
        self._inbound: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._woken = False
        self._last: AsyncGenerator[None, None] | None = None
        _by_thread[self.thread_id] = self
        ActorRegistry.join(self)

    @staticmethod
    def here() -> Scheduler:
        """Return this thread's scheduler; make one on its running loop; else use the one in the background.

        The background scheduler has a daemon thread of its own: it is what a plain script gets that starts an actor.
        """
        scheduler = Scheduler.of_thread()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return scheduler if scheduler is not None and scheduler.is_serving() else Scheduler.background()
        return scheduler if scheduler is not None and scheduler.loop is loop else Scheduler._of_loop(loop)

    @staticmethod
    def _of_loop(loop: asyncio.AbstractEventLoop) -> Scheduler:
        """Return the scheduler of a loop that runs in this thread, which may have run another one meanwhile."""
        scheduler = ActorRegistry.scheduler_of(loop)
        if scheduler is None:
            scheduler = Scheduler(loop)
            scheduler._end_with_loop()
        _by_thread[scheduler.thread_id] = scheduler
        return scheduler

    def _end_with_loop(self) -> None:
        """Have the actors that are left killed when the loop is about to be closed, as `asyncio.run` does at its end."""
        self._last = _at_shutdown(ref(self))
        with suppress(StopIteration):
            self._last.__anext__().send(None)

    @staticmethod
    def of_thread() -> Scheduler | None:
        """Return the scheduler whose actors run in this thread, or None."""
        thread = get_ident()
        actor = _actors_by_thread.get(thread) if _actors_by_thread else None
        return _by_thread.get(thread) if actor is None else actor.scheduler

    @staticmethod
    def background() -> Scheduler:
        """Return the scheduler that runs in a thread of its own for code without an event loop."""
        with _background_lock:
            scheduler = _by_thread.get(0)
            if scheduler is None or scheduler.loop.is_closed():
                scheduler = _by_thread[0] = in_thread("ashtree").scheduler
            return scheduler

    def is_serving(self) -> bool:
        """Tell whether its loop runs, so that actors that are started now get their turns."""
        return self.loop.is_running()

    def is_current_thread(self) -> bool:
        """Tell whether the caller runs in the thread of this scheduler."""
        return get_ident() == self.thread_id

    def ready(self, process: Process) -> None:
        """Put a process in the ready queue."""
        self._ready.append(process)
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        try:
            self.loop.call_soon(self._run)
        except RuntimeError as closed:
            self.close()
            raise ActorDeadError("the event loop of this actor is closed") from closed
        self._armed = True

    def _run(self) -> None:
        self._armed, self._at_once = False, AT_ONCE
        self.run_ready()

    def watch_ends(self, tell: Callable[[Process], object]) -> None:
        """Have `tell(process)` called for each actor that ends, before anybody else is told; for test kits."""
        self.end_watchers = [*(self.end_watchers or ()), tell]

    def run_ready(self) -> None:
        """Give the ready processes their turns now; whoever reads a socket calls this after it has told its actors."""
        if self._running:
            return
        self._running, outer = True, self.current
        try:
            self._turns()
        finally:
            self._running, self.current = False, outer
            if self._ready and not self._armed:
                self._arm()

    def _turns(self) -> None:
        ready, context, left = self._ready, self._context, PASS
        while ready and left:
            left -= 1
            self.current = process = ready.popleft()
            # A copy, so that a context variable that one actor sets is no other's.
            context.copy().run(process.turn)

    def run_at_once(self) -> None:
        """Give the ready processes their turns for somebody who waits for one of them: it spares a round of the loop.

        Not within a turn, and a bounded number of times in a row, so that whoever only asks does not starve the sockets.
        """
        if self._at_once and not self._running and get_ident() == self.thread_id:
            self._at_once -= 1
            self.run_ready()

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call `callback(*args)` in the scheduler's thread; what one thread posts keeps its order.

        Raises:
            ActorDeadError: if the event loop is closed, and all its actors gone with it.
        """
        self._inbound.append((callback, args))
        if not self._woken or self.loop.is_closed():
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError as closed:
                self._inbound.clear()
                raise ActorDeadError("the event loop of this actor is closed") from closed
            except BaseException:
                # By Ctrl-C, in the thread that posts: the next one must not rely on it.
                self._woken = False
                raise

    def run_or_post(self, callback: Callable[..., object], *args: Any) -> None:
        """Call `callback(*args)` in the scheduler's thread: at once if the caller runs in it, else as `post` does.

        For an answer in another thread see `actors.future.run_on`.

        Raises:
            ActorDeadError: as `post`.
        """
        if self.thread_id == get_ident():
            callback(*args)
        else:
            self.post(callback, *args)

    def _drain(self) -> None:
        # Cleared before the queue is read: who posts after this wakes the loop again.
        self._woken = False
        inbound = self._inbound
        try:
            while inbound:
                callback, args = inbound.popleft()
                callback(*args)
        finally:
            # One that raised is the loop's to report; the others must not wait for the next post.
            if inbound and not self._woken:
                self._woken = True
                self.loop.call_soon(self._drain)

    # Threads of actors: under virtual time the loop and they go on in turns

    def thread_works(self, _actor: Process, go: Callable[[], object]) -> None:
        """Let the thread of an actor go on, by `go()`."""
        go()

    def thread_rests(self, callback: Callable[..., object], *args: Any) -> None:
        """Post `callback(*args)` as the last thing that an actor's thread does before it waits."""
        self.post(callback, *args)

    def wait_in_thread(self, _future: Future[Any], answered: threading.Event, timeout: float | None) -> bool:
        """Wait for the answer in the thread of an actor; tell whether it came in time."""
        return answered.wait(timeout)

    def may_block(self) -> bool:
        """Tell whether the caller may wait for an actor of this scheduler without keeping it from answering."""
        return not self.is_current_thread()

    def block_on(self, _future: Future[Any], _timeout: float | None) -> None:
        """Refuse to block the loop's own thread."""
        raise BlockingCallError("get()", instead="`await future` in an async handler")

    def close(self) -> None:
        """Kill whatever still lives here and forget the thread; the loop is its owner's to close."""
        for process in list(self.processes.values()):
            process.finish_killed()
        self._ready.clear()
        self.clock.close()
        if _by_thread.get(self.thread_id) is self:
            del _by_thread[self.thread_id]


def actor_of_thread() -> Process | None:
    """Return the actor that has this thread to itself, or None."""
    return _actors_by_thread.get(get_ident())


@contextmanager
def thread_belongs_to(actor: Process) -> Iterator[None]:
    """Let the current thread be an actor's own inside the block."""
    _actors_by_thread[get_ident()] = actor
    try:
        yield
    finally:
        del _actors_by_thread[get_ident()]


async def _at_shutdown(scheduler: ref[Scheduler]) -> AsyncGenerator[None, None]:
    """Close a scheduler when its loop closes its async generators: nothing else tells of the end of a loop."""
    try:
        yield
    finally:
        closing = scheduler()
        if closing is not None:
            closing.close()


def _after_fork() -> None:
    """Forget all event loops: their threads are not in this process, and nobody there would answer."""
    global _background_lock  # noqa: PLW0603  # the thread that held it is not here
    _background_lock = threading.Lock()
    _by_thread.clear()
    _actors_by_thread.clear()
    ActorRegistry.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class in_thread:  # noqa: N801  # reads as the phrase it is: a scheduler in a thread
    """An event loop with a scheduler, running in a daemon thread until `stop`."""

    def __init__(self, name: str) -> None:
        self._started = threading.Event()
        self.scheduler: Scheduler
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self.thread.start()
        self._started.wait()

    def _serve(self) -> None:
        loop = new_event_loop()
        asyncio.set_event_loop(loop)
        self.scheduler = Scheduler(loop)
        loop.call_soon(self._started.set)
        try:
            loop.run_forever()
        finally:
            self.scheduler.close()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    def stop(self) -> None:
        """End the loop and its thread; once more is nothing."""
        if self.thread.is_alive():
            self.scheduler.loop.call_soon_threadsafe(self.scheduler.loop.stop)
            self.thread.join()
