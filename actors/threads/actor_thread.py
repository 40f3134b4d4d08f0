"""The thread of an actor whose work blocks, and the threads that such actors left behind.

The event loop gives the thread one piece of work at a time and never waits for it. The thread does not touch what belongs to
the loop: it posts a call to the loop and waits for the result. So they cannot deadlock.

A thread cannot be killed. One that is still working when its actor is ended is left behind: that is logged, `threads_left`
shows it, and its end is logged too.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from actors.exceptions import ActorDeadError
from actors.fork import free_after_fork, leave_child
from actors.future import Future, run_on
from actors.log import Log
from actors.redaction import Lines, error_text
from actors.runtime.behaviour import described
from actors.runtime.current import thread_belongs_to

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.process import Process

__all__ = ["ActorThread", "LeftThread", "leave_behind", "stack_of", "threads_left"]

_log = Log("ashtree.actors")

P = ParamSpec("P")
T = TypeVar("T")


class LeftThread(NamedTuple):
    """A thread that runs on although its actor has ended.

    `doing` is what it was doing when its actor ended: a message, `on_start` or `terminate`.
    """

    thread: threading.Thread
    actor: ActorRef
    doing: str

    @property
    def stack(self) -> str:
        """Where it is now, as the lines of a traceback; empty if it has ended."""
        return stack_of(self.thread)


# By thread. The lock is for a thread that is ending while it is being left behind.
_left: dict[threading.Thread, LeftThread] = {}
_leaving = free_after_fork(threading.Lock())


def threads_left() -> list[LeftThread]:
    """Return the threads that run on although their actors have ended, the oldest first."""
    with _leaving:
        return [left for left in _left.values() if left.thread.is_alive()]


def stack_of(thread: threading.Thread) -> str:
    """Return where a thread is, as the lines of a traceback; empty if it is not running."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)).rstrip() if frame is not None else ""


def leave_behind(thread: threading.Thread, process: Process, doing: str) -> None:
    """Record and log a thread that is working although its actor has ended."""
    with _leaving:
        for dead in [thread for thread in _left if not thread.is_alive()]:
            del _left[dead]
        _left[thread] = LeftThread(thread, process.ref, doing)
    _log.warning(
        "%s has ended (%s), but its thread cannot be killed and runs on; it is handling: %s\n%s",
        process.name,
        process.reason,
        doing,
        Lines(stack_of(thread)),
    )


def ended(process: Process, error: BaseException | None = None) -> None:
    """Remove the current thread, which is ending, from those left behind, and log its end."""
    with _leaving:
        left = _left.pop(threading.current_thread(), None)
    if left is not None:
        _log.warning(
            "the thread that %s left behind has ended at last%s",
            process.name,
            f", by {error_text(error)}" if error else "",
        )


class Work:
    """One call for a thread, and its result."""

    __slots__ = ("call", "doing", "done", "error", "over", "value")

    def __init__(self, doing: str | None, call: Callable[[], object], done: asyncio.Future[None]) -> None:
        self.doing, self.call, self.done = doing, call, done
        self.value: object = None
        self.error: BaseException | None = None
        self.over = False

    def run(self) -> None:
        try:
            self.value = self.call()
            if isinstance(self.value, CoroutineType):
                self.error = _refused(self.value)
        except BaseException as error:  # noqa: BLE001  # it is raised in the coroutine of the actor
            self.error = error
        finally:
            del self  # of the frame in the traceback of the error, which would be a cycle

    async def result(self) -> object:
        try:
            await self.done
            if self.error is not None:
                raise self.error
            return self.value
        finally:
            del self


def _refused(coroutine: CoroutineType[Any, Any, Any]) -> TypeError:
    coroutine.close()
    return TypeError(
        f"what a ThreadedActor runs must be a plain `def`, as it may block: {coroutine.__qualname__} is `async def`; "
        "drop the `async`, or make the actor an Actor"
    )


class ActorThread:
    """The daemon thread of one actor, from its start to its end."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._at: Work | None = None
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        # The actor's context variables. The event loop must not enter this context while the thread is in it, so what
        # runs there for the actor has a context of its own.
        self._context = copy_context()
        self._thread = threading.Thread(target=self._context.run, args=(self._serve,), name=process.name, daemon=True)
        self._thread.start()

    # On the loop

    def run(self, doing: str | None, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> object:
        """Call `function(*args)` in the thread; return a coroutine of its result.

        `doing` is for reports; None stands for the current message.
        """
        scheduler = self._process.scheduler
        work = self._at = Work(doing, partial(function, *args, **kwargs), scheduler.loop.create_future())
        scheduler.thread_works(self._process, partial(self._queue.put, work))
        return work.result()

    def _on_done(self, work: Work) -> None:
        self._at = None
        if not work.done.done():
            work.done.set_result(None)

    def leave(self) -> None:
        """End the thread after its current call, as the actor has ended."""
        self._queue.put(None)
        # What the actor owns is closed with its values.
        self._process.context = self._context.copy()
        work = self._at
        if work is not None and not work.over:
            leave_behind(self._thread, self._process, work.doing or self.describe())

    @property
    def ident(self) -> int | None:
        """The identifier of the thread."""
        return self._thread.ident

    def describe(self) -> str:
        """Return the message that the thread is handling, as the actor describes it."""
        return described(self._process.actor, self._process.current)

    # In the thread

    def is_current(self) -> bool:
        """Return whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def _serve(self) -> None:
        error: BaseException | None = None
        with thread_belongs_to(self._process):
            while (work := self._queue.get()) is not None:
                work.run()
                error = work.error
                if self._process.scheduler.forked:
                    leave_child(error)
                self._hand_back(work)
                del work
        ended(self._process, error)
        # A traceback keeps this frame: it would be a cycle.
        del self, error

    def _hand_back(self, work: Work) -> None:
        work.over = True
        with contextlib.suppress(ActorDeadError):  # that loop is closed, and all its actors dead
            self._process.scheduler.thread_rests(self._on_done, work)

    def on_loop(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `method(*args)` on the event loop; wait for its result and return it, or raise its exception.

        Raises:
            ActorDeadError: if the actor has ended, so that a thread left behind ends too.
        """
        result: Future[T] = run_on(self._process.scheduler, self._call, partial(method, *args, **kwargs))
        return result.get()

    def _call(self, call: Callable[[], T]) -> T:
        if not self._process.alive:
            raise ActorDeadError(f"{self._process.name} is dead")
        return call()
