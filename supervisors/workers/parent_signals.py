"""The signals of a parent of workers: they wake it up, and are counted."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

from supervisors.signals import ENDING

__all__ = ["ParentSignals"]

Handler = Callable[[int, FrameType | None], object] | int | None


class ParentSignals:
    """Counts SIGINT, SIGTERM and SIGHUP inside the block, unless they were ignored before, and wakes up at SIGCHLD too.

    `fileno()` is readable when a signal has arrived; read it by `clear`. Until `is_awaited` is true, a second one raises
    SystemExit: what is opened before the workers may hang.
    """

    def __init__(self) -> None:
        self.count = 0
        self.is_awaited = False
        self._previous: dict[signal.Signals, Handler] = {}

    def __enter__(self) -> Self:
        self._waking, self._woken = socket.socketpair()
        for end in (self._waking, self._woken):
            end.settimeout(0)
        self._previous_fd = signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._on_signal)
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _wake_up)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
        signal.set_wakeup_fd(self._previous_fd)
        self._close()

    def _close(self) -> None:
        self._waking.close()
        self._woken.close()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._woken.fileno()

    def clear(self) -> None:
        """Wait for the next signal from now on."""
        with suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1 and not self.is_awaited:
            sys.exit(1)

    @contextmanager
    def blocked(self) -> Iterator[set[int]]:
        """Hold back signals inside the block, in which a process is forked, and yield those that were held back before."""
        before = {int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, {*ENDING, signal.SIGCHLD})}
        parent = os.getpid()
        try:
            yield before
        finally:
            if os.getpid() == parent:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def leave(self, before: set[int]) -> None:
        """Begin to be a worker, in the forked process, which is told by its parent what its terminal sends to both.

        SIGTERM is held back until the worker handles it (`WorkerSignals`): what it has to do at its end is done then, too.
        """
        signal.set_wakeup_fd(-1)
        self._close()
        for number in (*ENDING, signal.SIGCHLD):
            # Not SIG_IGN, which programs that the worker starts would inherit. SIGTERM is its parent's order.
            signal.signal(number, signal.SIG_DFL if number in _OWN else _wake_up)
        signal.pthread_sigmask(signal.SIG_SETMASK, before | {signal.SIGTERM})


_OWN = (signal.SIGTERM, signal.SIGCHLD)


def _wake_up(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the system call that waits is interrupted."""
