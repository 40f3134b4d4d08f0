"""The signals that end a program: in order at the first one, and at once at the second."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import ClassVar, Self

from actors.clock import monotonic_time
from actors.fork import in_child
from supervisors.exit_guard import ExitGuard

__all__ = ["Signals"]

Handler = Callable[[int, FrameType | None], object] | int | None

# SIGHUP: the terminal is gone. There is none on Windows.
ENDING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]

CLOSING = 2.0
"""Seconds after `shutdown_timeout` until the program is ended by force: those that closing its event loop may take."""

AT_ONCE = 1.0
"""Seconds from the second signal until the program is ended by force; a third one does so without delay."""


# Those inside whose blocks the program is, the outermost first.
_handling: list[Signals] = []


class Signals:
    """Handles SIGINT, SIGTERM and SIGHUP inside the block, if it is in the main thread, and counts them.

    One that was ignored before stays ignored, as `nohup` and shells want it for programs in the background. They are not
    handlers of the event loop, which would be removed before the loop has ended. After the first signal the program ends within
    `shutdown_timeout` seconds, and those that closing its event loop takes: see `ExitGuard`. A process that is forked inside
    the block has the handlers of before: its signals are its own, and a pool can end it.
    """

    numbers: ClassVar[Sequence[signal.Signals]] = ENDING

    def __init__(self, shutdown_timeout: float) -> None:
        self.count = 0
        self._shutdown_timeout = shutdown_timeout
        self._first_at: float | None = None
        self._handled = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: dict[signal.Signals, Handler] = {}
        self._guard: ExitGuard | None = None
        self._process_id = os.getpid()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._guard = ExitGuard()
            for number in self.numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._on_signal)
            _handling.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self not in _handling:
            return
        _handling.remove(self)
        assert self._guard is not None
        if self.count:
            self._guard.system_ended(0 if kind is None else 1)
        self.restore()
        if not self.count:
            self._guard.dismiss()

    def restore(self) -> None:
        """Restore the handlers of before the block."""
        while self._previous:
            number, handler = self._previous.popitem()
            if handler is signal.default_int_handler and self._guard is not None and self.count:
                handler = self._guard.on_interrupt
            signal.signal(number, handler or signal.SIG_DFL)

    @property
    def is_urgent(self) -> bool:
        """Whether the program is to end at once."""
        return self.count > 1

    def seconds_left(self) -> float:
        """Return the seconds that the program may still take to stop in order."""
        if self.is_urgent:
            return 0.0
        now = monotonic_time()
        return max(0.0, (now if self._first_at is None else self._first_at) + self._shutdown_timeout - now)

    def handle(self, first: Callable[[], object], others: Callable[[], object], is_busy: Callable[[], bool]) -> None:
        """From now on, call `first()` at the first signal and `others()` at each one after it, on the running event loop.

        `is_busy()` says whether code is running on it, which may block it.
        """
        self._loop, self._handlers, self._is_busy = asyncio.get_running_loop(), (first, others), is_busy

    def done(self) -> None:
        """From now on, exit at once: there is nothing left to stop in order."""
        self._loop = None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._process_id != os.getpid():
            # It has reached a forked child before `_after_fork`.
            _after_fork()
            signal.raise_signal(number)
            return
        self._count()
        if self._loop is None:
            sys.exit(1)
        self._loop.call_soon_threadsafe(self._handle)
        if self.count > self._handled + 1 and self._is_busy():
            # The previous signal was not handled: an actor blocks the loop, which this interrupts.
            self._handlers[1]()
            sys.exit(1)

    def _count(self) -> None:
        self.count += 1
        if self.count == 1:
            self._first_at = monotonic_time()
        seconds = self._shutdown_timeout + CLOSING if self._loop is not None else AT_ONCE
        assert self._guard is not None
        self._guard.expect_end([seconds, AT_ONCE, 0.0][min(self.count, 3) - 1])

    def _handle(self) -> None:
        self._handled += 1
        first, others = self._handlers
        handler = first if self._handled == 1 else others
        handler()


def _after_fork() -> None:
    while _handling:
        _handling.pop().restore()


in_child(_after_fork)
