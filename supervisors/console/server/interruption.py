"""Ctrl-C for code that runs in a thread, or as a task on the loop, and for nothing else."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

__all__ = ["Interruption"]

# What code under evaluation is called with top-level `await` in it.
Function = Callable[[], Coroutine[Any, Any, Any]]


class Interruption:
    """Raises KeyboardInterrupt in code between `expose` and `cover`.

    It may be told to do so once for each thing that runs: what handles the first one could be hit by a second.

    Python raises it between two bytecodes of a thread, wherever that is; so no lock and nothing that others rely on may be
    touched in between. What blocks the thread, such as a read or a sleep, is interrupted when it is over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self.thread: threading.Thread | None = None
        """Which thread it is, once that has begun."""
        self._is_exposed = False
        self._task: asyncio.Task[BaseException | None] | None = None
        self._is_cancelled = False
        self.is_pending = False
        """Whether Ctrl-C has come, and has not been raised yet."""

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in what runs, now or as soon as it is exposed; on the loop."""
        with self._lock:
            if self._task is not None and self._task.cancel():
                self._is_cancelled = True
            elif self._is_exposed and self.thread is not None:
                _raise_in(self.thread, KeyboardInterrupt)
            else:
                self.is_pending = True

    def reset(self) -> None:
        """Forget an interrupt that has not been raised: it was for what is over. On the loop, before the next thing begins."""
        with self._lock:
            self.is_pending = False

    # In the thread

    def begin(self) -> None:
        """Take this thread for the one that can be interrupted."""
        self.thread = threading.current_thread()

    def is_here(self) -> bool:
        """Tell whether the caller runs in the thread that can be interrupted."""
        return self.thread is threading.current_thread()

    def expose(self) -> None:
        """Let an interrupt come from now on.

        Raises:
            KeyboardInterrupt: if it has come already.
        """
        with self._lock:
            if self.is_pending:
                self.is_pending = False
                raise KeyboardInterrupt
            self._is_exposed = True

    def cover(self) -> bool:
        """Let no interrupt come after this returns; tell whether one could.

        Raises:
            KeyboardInterrupt: the one that came just before.
        """
        with self._lock:
            was_exposed, self._is_exposed = self._is_exposed, False
        _let_it_come()
        return was_exposed

    def run_on_loop(self, function: Function) -> BaseException | None:
        """Run a coroutine as a task of the loop, in this thread's context; return what it raised.

        That is a KeyboardInterrupt if it was interrupted, and a CancelledError if it was cancelled otherwise.
        """
        over = threading.Event()
        self._loop.call_soon_threadsafe(self._begin, function, over, context=copy_context())
        over.wait()
        with self._lock:
            task, self._task = self._task, None
            was_cancelled, self._is_cancelled = self._is_cancelled, False
        error = None if task is None else asyncio.CancelledError() if task.cancelled() else task.result()
        return KeyboardInterrupt() if was_cancelled and isinstance(error, asyncio.CancelledError) else error

    def _begin(self, function: Function, over: threading.Event) -> None:
        with self._lock:
            if self.is_pending:
                over.set()
                return
            self._task = self._loop.create_task(_outcome(function))
        self._task.add_done_callback(lambda _: over.set())


async def _outcome(function: Function) -> BaseException | None:
    # A task that raises SystemExit or KeyboardInterrupt ends its loop.
    try:
        await function()
    except BaseException as error:  # noqa: BLE001  # it is shown to whoever typed this
        return error
    return None


def _let_it_come() -> None:
    """Do nothing: an exception set for this thread is raised when a function is called, if not before."""


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error))
