"""The two threads behind a client for code without an event loop: one has the loop, one calls the user's functions."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from transport.client.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Threads"]

Result = TypeVar("Result")

_NOT_AWAITED = "callbacks of transport.client.sync are not awaited"
_INSTEAD = "write `def` for `async def`, or use transport.client, which awaits them"

_log = logging.getLogger("ashtree.client")


class Threads:
    """An event loop in a thread, and another thread for callbacks, in the order in which they were due."""

    def __init__(self) -> None:
        self.running = False
        # Between asking whether the loop runs and giving it something to do, nobody may end it.
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._callbacks: ThreadPoolExecutor

    def start(self) -> None:
        """Start the loop.

        Raises:
            RuntimeError: if it runs.
        """
        with self._lock:
            if self.running:
                raise RuntimeError("the socket is open already")
            self._start()

    def _start(self) -> None:
        self._callbacks = ThreadPoolExecutor(1, "phoenix callbacks")
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
        with self._lock:
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
        """Return a function that has the callback called in the thread for that, and does not wait.

        Raises:
            TypeError: if it is a coroutine function, which nobody would await.
        """
        if _is_coroutine_function(callback):
            raise TypeError(f"{_NOT_AWAITED}, got the coroutine function {callback!r}; {_INSTEAD}")

        def submit(*args: object) -> None:
            self._callbacks.submit(_call, callback, *args).add_done_callback(lambda done: _log_failure(callback, done))

        return submit

    def elsewhere(self, function: Callable[[], Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Return a coroutine function that calls the function in a thread of its own, as it may block.

        If it never returns, nobody waits for that thread. What a coroutine function returns is awaited on the loop.
        """

        async def called() -> Any:
            answer: Future[Any] = Future()
            threading.Thread(target=_answer, args=(answer, function), name="client params", daemon=True).start()
            result = await asyncio.wrap_future(answer)
            return await result if inspect.isawaitable(result) else result

        return called

    def stop(self, last: Coroutine[Any, Any, object]) -> None:
        """Run a last coroutine, end the loop, and the thread for callbacks once it has called what was due.

        Of several that call it only the first does so; the others return at once.
        """
        with self._lock:
            if not self.running:
                last.close()
                return
            self.running = False
            future = asyncio.run_coroutine_threadsafe(self._finish(last), self._loop)
        future.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        # A callback may be the one that closes.
        own = threading.current_thread().name.startswith("phoenix callbacks")
        self._callbacks.shutdown(wait=not own)

    async def _finish(self, last: Coroutine[Any, Any, object]) -> None:
        try:
            await last
        finally:
            # Those who wait in other threads have been told by now; they are to get what they were told.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)


def _is_coroutine_function(callback: Callable[..., object]) -> bool:
    """Tell whether it is one, or an object that is called like one."""
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__)


def _call(callback: Callable[..., object], *args: object) -> None:
    result = callback(*args)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{_NOT_AWAITED}; this one has returned {result!r}; {_INSTEAD}")


def _answer(answer: Future[Any], function: Callable[[], Any]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001  # whoever waits for the answer is to have it
        _give(answer.set_exception, error)
    else:
        _give(answer.set_result, result)


def _give(give: Callable[[Any], None], answer: Any) -> None:
    try:
        give(answer)
    except (InvalidStateError, RuntimeError):
        # Nobody waits for it any more: the socket was closed meanwhile, and perhaps the loop.
        return


def _log_failure(callback: Callable[..., object], done: Future[Any]) -> None:
    error = done.exception()
    if error is not None:
        _log.error("the callback %r failed", callback, exc_info=error)
