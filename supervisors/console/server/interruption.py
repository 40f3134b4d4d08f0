"""Interrupt code in one thread or in one task of the loop with KeyboardInterrupt, and no other code."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from contextvars import Context

from actors.fork import free_after_fork
from supervisors.observer.typed import Function, outcome

__all__ = ["Interruption"]


class Interruption:
    """Raises KeyboardInterrupt in code between `expose` and `cover`.

    Interrupt each statement once at most: a second interrupt could be raised in the handler of the first.

    Python raises the exception between two bytecodes of the thread, wherever it is; so no lock may be held and no shared state
    changed while exposed. A call that blocks the thread, such as a read or a sleep, is interrupted when it returns.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = free_after_fork(threading.Lock())
        self.thread: threading.Thread | None = None
        """The thread that is interrupted, once it has started."""
        self._is_exposed = False
        self._is_raising = False
        """Whether the loop is between its look at `_is_exposed` and the exception that it raises."""
        self._task: asyncio.Task[BaseException | None] | None = None
        self._is_cancelled = False
        self.is_pending = False
        """Whether there was a Ctrl-C that has not been raised yet."""

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the running code, now or as soon as it is exposed; on the loop."""
        with self._lock:
            if self._task is not None and self._task.cancel():
                self._is_cancelled = True
                return
            self._is_raising = True
            try:
                if self._is_exposed and self.thread is not None:
                    _raise_in(self.thread, KeyboardInterrupt)
                else:
                    self.is_pending = True
            finally:
                self._is_raising = False

    def reset(self) -> None:
        """Discard a pending interrupt of the previous statement; on the loop, before the next one starts."""
        with self._lock:
            self.is_pending = False

    # In the thread

    def begin(self) -> None:
        """Make this thread the one that is interrupted."""
        self.thread = threading.current_thread()

    def is_here(self) -> bool:
        """Return whether the caller is in the thread that is interrupted."""
        return self.thread is threading.current_thread()

    def expose(self) -> None:
        """Allow interrupts from now on.

        Raises:
            KeyboardInterrupt: if one is pending.
        """
        with self._lock:
            if self.is_pending:
                self.is_pending = False
                raise KeyboardInterrupt
            self._is_exposed = True

    def cover(self) -> bool:
        """Forbid interrupts once this has returned; return whether they were allowed before.

        Raises:
            KeyboardInterrupt: if one arrived just before.
        """
        # Without the lock: on Python 3.14 an exception may be raised between the lock's acquisition and the body of a `with`.
        was_exposed, self._is_exposed = self._is_exposed, False
        while self._is_raising:
            _raise_pending()
        _raise_pending()
        return was_exposed

    def run_on_loop(self, function: Function, context: Context) -> BaseException | None:
        """Run a coroutine as a task of the loop, in a context; return the exception it raised.

        It is a KeyboardInterrupt if the task was interrupted, and a CancelledError if it was cancelled otherwise.
        """
        over = threading.Event()
        self._loop.call_soon_threadsafe(self._begin, function, context, over)
        over.wait()
        with self._lock:
            task, self._task = self._task, None
            was_cancelled, self._is_cancelled = self._is_cancelled, False
        error = None if task is None else asyncio.CancelledError() if task.cancelled() else task.result()
        return KeyboardInterrupt() if was_cancelled and isinstance(error, asyncio.CancelledError) else error

    def _begin(self, function: Function, context: Context, over: threading.Event) -> None:
        with self._lock:
            if self.is_pending:
                over.set()
                return
            self._task = self._loop.create_task(outcome(function), context=context)
        self._task.add_done_callback(lambda _: over.set())


def _raise_pending() -> None:
    """Do nothing: an exception set for this thread is raised at the latest when a function is called."""


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error))
