"""The end of a program that was told to end, whatever keeps it from doing so."""

from __future__ import annotations

import atexit
import faulthandler
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType

from actors.log import Log
from actors.lowlevel import thread_is_at
from actors.redaction import Lines

__all__ = ["ExitGuard"]

_log = Log("ashtree.supervisors")

FAREWELL = 1.0
"""Seconds for the last line of the log, what was registered with `atexit`, and the output that is not written yet."""

PAUSE = 0.2
"""Seconds between two looks whether a program that is late has come to its end."""

LAST = 1.0
"""Seconds that a program which is late has for its end itself, from the moment at which all of its own code has run."""


class ExitGuard:
    """Ends the program when its time to end is up: from a thread of its own, as the main thread may be blocked.

    There are three obstacles that no event loop can remove: a handler that blocks it, a function that it calls in the main
    thread, and threads that are not daemons, for which Python waits at the end of a program. When the time is up the guard logs
    what is stuck, calls what was registered with `atexit`, flushes the output, and ends the process with `os._exit`. Code that
    the program runs after its system has ended has no time limit.
    """

    def __init__(self) -> None:
        self.status = 1
        self._is_over = self._is_leaving = False
        # A SimpleQueue may be used in the handler of a signal.
        self._orders: SimpleQueue[float | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="ashtree exit", daemon=True)
        self._thread.start()

    def expect_end(self, seconds: float) -> None:
        """Expect the program to end within these seconds, instead of those of an earlier call."""
        self._orders.put(seconds)

    def system_ended(self, status: int) -> None:
        """Give the rest of the program its time: it is ended only if it waits for threads, then with `status`."""
        self.status, self._is_over = status, True

    def on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT as Python does: break off what is running, also what the program waits for at its end.

        This may be code that is writing output and has locks. So the end comes when Python has left it and calls
        `sys.unraisablehook`, or from the thread of the guard if it does not leave.
        """
        self.status = 1
        self.expect_end(0.0)
        if _waits_for_threads():
            sys.unraisablehook = self._leave
        elif _is_at_exit():
            sys.unraisablehook = _go_on
        signal.default_int_handler(number, frame)

    def _leave(self, unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._is_leaving = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _flush()
        os._exit(self.status)

    def dismiss(self) -> None:
        """End the guard."""
        self._orders.put(None)
        self._thread.join()

    def _serve(self) -> None:
        order = self._orders.get()
        while order is not None:
            try:
                order = self._orders.get(timeout=None if order == math.inf else min(order, threading.TIMEOUT_MAX))
            except Empty:
                self._end()

    def _end(self) -> None:
        if self._is_over:
            _wait_until(_program_is_over)
            # Two threads that end the program would be in each other's way.
            threading.Event().wait(LAST)
        farewell = threading.Thread(target=self._say_farewell, name="ashtree farewell", daemon=True)
        try:
            farewell.start()
            farewell.join(FAREWELL)
        except RuntimeError:  # Python starts no thread any more
            with suppress(Exception), open(os.devnull, "w") as nowhere:
                # The output may hang, too, also the one to which faulthandler writes.
                faulthandler.dump_traceback_later(FAREWELL, exit=True, file=nowhere)
                self._say_farewell()
        os._exit(self.status)

    def _say_farewell(self) -> None:
        _log.critical("the program has not ended in time and is ended now; it waits for:\n%s", Lines(_obstacles()))
        if self._is_leaving or _is_at_exit():
            _flush_output()
        else:
            _flush()


def _wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        threading.main_thread().join(PAUSE)


def _program_is_over() -> bool:
    """Return whether the main thread has run all code of the program, and waits for other threads at most."""
    return _waits_for_threads() or not threading.main_thread().is_alive()


def _is_at_exit() -> bool:
    """Return whether the main thread has waited for the threads, and calls what was registered with `atexit`."""
    return not threading.main_thread().is_alive() and not _waits_for_threads()


def _waits_for_threads() -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is not None and (frame.f_code.co_filename, frame.f_code.co_name) == (threading.__file__, "_shutdown")


def _go_on(unraisable: sys.UnraisableHookArgs) -> None:
    """Let Python call the next function that was registered with `atexit`, without a report of the one that was broken off."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def _flush() -> None:
    """Do what Python does at its end: call what was registered with `atexit`, logging's own included, and flush the output.

    The output is flushed before, too: one of these functions may hang, as multiprocessing's does while a process of it runs.
    """
    for last in (_flush_output, atexit._run_exitfuncs, _flush_output):
        with suppress(Exception):
            last()


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def _obstacles() -> str:
    stuck = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]
    if not stuck or not _program_is_over():
        # If the program is over, it is in a function that was registered with `atexit`.
        return f"the main thread\n{thread_is_at(threading.main_thread().ident)}"
    return "\n".join(f"the thread {thread.name}\n{thread_is_at(thread.ident)}" for thread in stuck)
