"""The thread in which the client for threads calls the user's callbacks, one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from actors.log import Log

__all__ = ["CallbackThread"]

_log = Log("ashtree.client")


class CallbackThread:
    """A thread that makes calls in order. It is a daemon: a callback that blocks does not keep the program from ending."""

    def __init__(self) -> None:
        self._due: SimpleQueue[tuple[Callable[..., object], Callable[[], object]] | None] = SimpleQueue()
        self._running: Callable[..., object] | None = None
        self._thread = threading.Thread(target=self._serve, name="phoenix callbacks", daemon=True)
        self._thread.start()

    def submit(self, callback: Callable[..., object], call: Callable[[], object]) -> None:
        """Make the call after those that are due; log what it raises, with the callback that it is of."""
        self._due.put((callback, call))

    def _serve(self) -> None:
        while (due := self._due.get()) is not None:
            self._running, call = due
            try:
                call()
            except BaseException:  # noqa: BLE001  # an error of the user's must not end the thread
                _log.exception("the callback %r failed", self._running)

    def end(self, seconds: float) -> None:
        """End after the calls that are due; wait for them, but not longer than these seconds, nor in a callback itself."""
        self._due.put(None)
        if threading.current_thread() is self._thread:
            return
        self._thread.join(min(seconds, threading.TIMEOUT_MAX))
        if self._thread.is_alive():
            _log.warning(
                "the callback %r has not returned within %g s: the socket closes without it", self._running, seconds
            )
