"""The two threads behind a client for code without an event loop: one has the loop, one calls the user's functions."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from transport.client.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Threads"]

Result = TypeVar("Result")

_log = logging.getLogger("ashtree.client")


class Threads:
    """An event loop in a thread, and another thread for callbacks, in the order in which they were due."""

    def __init__(self) -> None:
        self.running = False
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._callbacks = ThreadPoolExecutor(1, "phoenix callbacks")

    def start(self) -> None:
        """Start the loop."""
        self._loop = asyncio.new_event_loop()
        # A program that forgets to close its socket is to end all the same.
        self._thread = threading.Thread(target=self._loop.run_forever, name="phoenix client", daemon=True)
        self._thread.start()
        self.running = True

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop, and wait for its result.

        Raises:
            ClosedError: if the loop has ended.
        """
        if not self.running:
            coroutine.close()
            raise ClosedError("the socket is closed")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C, for one: what nobody waits for is not to go on. What has failed is over anyway.
            future.cancel()
            raise

    def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """Call a function on the loop, and wait for its result."""

        async def called() -> Result:
            return function(*args)

        return self.run(called())

    def in_order(self, callback: Callable[..., object]) -> Callable[..., None]:
        """Return a function that has the callback called in the thread for that, and does not wait."""

        def submit(*args: object) -> None:
            self._callbacks.submit(callback, *args).add_done_callback(lambda done: _log_failure(callback, done))

        return submit

    def elsewhere(self, function: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Return a coroutine function that calls the function in a thread of its own, as it may block."""

        async def called() -> Any:
            return await asyncio.to_thread(function)

        return called

    def stop(self) -> None:
        """End the loop, and the thread for callbacks once it has called what was due."""
        self.run(self._loop.shutdown_default_executor())
        self.running = False
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # A callback may be the one that closes.
        own = threading.current_thread().name.startswith("phoenix callbacks")
        self._callbacks.shutdown(wait=not own)


def _log_failure(callback: Callable[..., object], done: Future[Any]) -> None:
    error = done.exception()
    if error is not None:
        _log.error("the callback %r failed", callback, exc_info=error)
