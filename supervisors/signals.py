"""SIGINT and SIGTERM, for a program that stops in order at the first and at once at the second."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self

from actors.fork import in_child

__all__ = ["Signals"]

Handler = Callable[[int, FrameType | None], object] | int | None


# Those inside whose blocks the program is, the outermost first.
_handling: list[Signals] = []


class Signals:
    """Handles SIGINT and SIGTERM inside the block, if it is in the main thread, and counts them.

    They are not handlers of the event loop, which would be removed before the loop has ended. A process that is forked inside
    the block has the handlers of before: its signals are its own, and a pool can end it.
    """

    def __init__(self) -> None:
        self.count = 0
        self._handled = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._previous: dict[signal.Signals, Handler] = {}
        self._process_id = os.getpid()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
            }
            _handling.append(self)
        return self

    def __exit__(self, *_exc: object) -> None:
        if self in _handling:
            _handling.remove(self)
            self.restore()

    def restore(self) -> None:
        """Restore the handlers of before the block."""
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler or signal.SIG_DFL)

    def handle(self, first: Callable[[], object], others: Callable[[], object]) -> None:
        """From now on, call `first()` at the first signal and `others()` at each one after it, on the running event loop."""
        self._loop, self._handlers = asyncio.get_running_loop(), (first, others)

    def done(self) -> None:
        """From now on, exit at once: there is nothing left to stop in order."""
        self._loop = None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._process_id != os.getpid():
            # It has reached a forked child before `_after_fork`.
            _after_fork()
            signal.raise_signal(number)
            return
        self.count += 1
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._handle)
        if self._loop is None or self.count > self._handled + 1:
            # The previous signal was not handled: the loop is not running, or an actor blocks it, which this interrupts.
            sys.exit(1)

    def _handle(self) -> None:
        self._handled += 1
        first, others = self._handlers
        handler = first if self._handled == 1 else others
        handler()


def _after_fork() -> None:
    while _handling:
        _handling.pop().restore()


in_child(_after_fork)
