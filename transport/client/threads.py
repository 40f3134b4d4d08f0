"""The two threads of a client for code without an event loop: one runs the loop, one calls the user's callbacks."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from concurrent.futures import Future, InvalidStateError
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from actors.callbacks import check_function, is_async
from actors.fork import check_process, free_after_fork
from actors.lowlevel import is_on_a_loop, must_not_block
from transport.client.callback_thread import CallbackThread
from transport.client.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Threads"]

P = ParamSpec("P")
Result = TypeVar("Result")

_NOT_AWAITED = "callbacks of transport.client.sync are not awaited"
_INSTEAD = "write `def` instead of `async def`, or use transport.client, which awaits them"


class Threads:
    """An event loop in a thread, and another thread that calls callbacks in order."""

    def __init__(self) -> None:
        self.running = False
        # Held from checking that the loop runs until it has the work, so that no other thread ends it in between.
        self._lock = free_after_fork(threading.Lock())
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread
        self._callbacks: CallbackThread
        self._process_id = 0

    def start(self) -> None:
        """Start the loop.

        Raises:
            RuntimeError: if it is running.
        """
        with self._lock:
            self.check_process()
            if self.running:
                raise RuntimeError("the socket is open already")
            self._start()

    def _start(self) -> None:
        self._callbacks = CallbackThread()
        self._loop = asyncio.new_event_loop()
        # A daemon, so that a program that does not close its socket can still exit.
        self._thread = threading.Thread(target=self._loop.run_forever, name="phoenix client", daemon=True)
        self._thread.start()
        self.running, self._process_id = True, os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether the threads do not run in the process from which this one was forked."""
        return not self.running or self._process_id == os.getpid()

    def check_process(self) -> None:
        """Raise ForkedError if the threads run in the process from which this one was forked."""
        if self.running:
            check_process(self._process_id, "this socket")

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop, and wait for its result.

        Raises:
            ClosedError: if the loop has ended.
            BlockingCallError: in a coroutine, whose event loop it would block.
            ForkedError: if it runs in the process from which this one was forked.
        """
        if is_on_a_loop():
            coroutine.close()
        must_not_block("the client for threads", instead="`await` with transport.client.Socket")
        with self._lock:
            try:
                self._check_running()
            except BaseException:
                coroutine.close()
                raise
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            # After Ctrl-C, for example, no thread waits for the coroutine any more. Cancelling one that failed does nothing.
            future.cancel()
            raise

    def _check_running(self) -> None:
        self.check_process()
        if not self.running:
            raise ClosedError("the socket is closed")

    def call(self, function: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Call a function on the loop, and wait for its result."""

        async def called() -> Result:
            return function(*args, **kwargs)

        return self.run(called())

    def in_callback_thread(self, callback: Callable[P, object]) -> Callable[P, None]:
        """Return a function that schedules the callback in the callback thread, without waiting for it.

        Raises:
            TypeError: if it is a coroutine function, which would not be awaited.
        """
        if is_async(callback):
            raise TypeError(f"{_NOT_AWAITED}, got the coroutine function {callback!r}; {_INSTEAD}")

        check_function("a callback of the client", callback)

        def submit(*args: P.args, **kwargs: P.kwargs) -> None:
            self._callbacks.submit(callback, lambda: _call(callback, *args, **kwargs))

        return submit

    def in_own_thread(self, function: Callable[[], object]) -> Callable[[], Coroutine[Any, Any, object]]:
        """Return a coroutine function that calls the function in a new thread, as it may block.

        A function that never returns blocks only that thread, which is a daemon. An awaitable result is awaited on the loop.
        """

        async def called() -> object:
            answer: Future[object] = Future()
            threading.Thread(target=_answer, args=(answer, function), name="client params", daemon=True).start()
            result = await asyncio.wrap_future(answer)
            return await result if inspect.isawaitable(result) else result

        return called

    def stop(self, last: Coroutine[Any, Any, object], patience: float) -> None:
        """Run a last coroutine, stop the loop, and end the callback thread once it has called the callbacks that are due.

        It waits for these callbacks, but not longer than `patience` seconds: a thread cannot be interrupted.

        If several threads call it, the first does this, and the others return at once.
        """
        with self._lock:
            try:
                self._check_running()
            except BaseException as error:
                last.close()
                if isinstance(error, ClosedError):
                    return
                raise
            self.running = False
            future = asyncio.run_coroutine_threadsafe(self._finish(last), self._loop)
        future.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._callbacks.end(patience)

    async def _finish(self, last: Coroutine[Any, Any, object]) -> None:
        try:
            await last
        finally:
            # Calls of other threads have their results by now; let their tasks deliver them.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)


def _call(callback: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    result = callback(*args, **kwargs)
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{_NOT_AWAITED}; this one returned {result!r}; {_INSTEAD}")


def _answer(answer: Future[object], function: Callable[[], object]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001  # it is raised where the result is awaited
        _settle(answer.set_exception, error)
    else:
        _settle(answer.set_result, result)


def _settle(settle: Callable[[Result], None], outcome: Result) -> None:
    try:
        settle(outcome)
    except (InvalidStateError, RuntimeError):
        # The socket was closed meanwhile, and perhaps the loop: the outcome is not awaited any more.
        return
