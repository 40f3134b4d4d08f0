"""The default executor of our own event loops, in which `asyncio.to_thread` calls functions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import Context
from functools import partial
from itertools import count
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

from actors.redaction import function_name

__all__ = ["DaemonExecutor"]

P = ParamSpec("P")
T = TypeVar("T")

MOST = 32
"""Threads at the same time, as in Python's own pool on a machine with many cores: most of them wait."""

_numbers = count(1)


class _ThreadCall:
    """One call of a function, and the future of its result."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function
        self.future: Future[object] = Future()

    @property
    def name(self) -> str:
        """The name of the function that the author has passed."""
        function: object = self.function
        while isinstance(function, partial):
            # `asyncio.to_thread` passes `partial(context.run, function, …)`.
            enters = isinstance(getattr(function.func, "__self__", None), Context)
            function = function.args[0] if enters else function.func
        return function_name(function, "__qualname__")

    def run(self, wanted: Callable[[], bool]) -> None:
        """Make the call, and answer its future unless the result is not wanted any more."""
        if not self.future.set_running_or_notify_cancel():
            return
        value, error = self._outcome()
        if not wanted():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)

    def _outcome(self) -> tuple[object, BaseException | None]:
        try:
            return self.function(), None
        except BaseException as error:  # noqa: BLE001  # it is raised where the result is awaited
            return None, error


class DaemonExecutor(ThreadPoolExecutor):
    """A pool of threads that do not keep the program from ending.

    A thread cannot be interrupted. Python waits for those of its own pools at the end of the program, as long as it takes, so a
    function that hangs would keep a program alive that was told to end. These are daemon threads, as are those of actors. It is
    a subclass of Python's pool because asyncio accepts no other executor.
    """

    def __init__(self) -> None:
        super().__init__(1)  # which makes no threads
        self._calls: SimpleQueue[_ThreadCall | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: dict[threading.Thread, _ThreadCall | None] = {}
        # Threads that wait for a call, without those for which there is one.
        self._free = 0
        self._is_closed = self._is_left = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn(*args)` in a thread; return a future of its result.

        Raises:
            RuntimeError: after `shutdown`.
        """
        call = _ThreadCall(partial(fn, *args, **kwargs))
        with self._lock:
            if self._is_closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls.put(call)
            self._free -= 1
            if self._free < 0 and len(self._workers) < MOST:
                self._start_worker()
        return call.future  # type: ignore[return-value]  # of what `fn` returns

    def _start_worker(self) -> None:
        worker = threading.Thread(target=self._serve, name=f"asyncio_{next(_numbers)}", daemon=True)
        self._workers[worker] = None
        self._free += 1
        worker.start()

    def _serve(self) -> None:
        worker = threading.current_thread()
        while (call := self._calls.get()) is not None:
            self._workers[worker] = call
            call.run(lambda: not self._is_left)
            self._workers[worker] = None
            del call
            with self._lock:
                self._free += 1

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # as Python's
        """Accept no more calls; `wait` until those accepted before have been made."""
        with self._lock:
            self._is_closed = True
            if cancel_futures:
                self._cancel_waiting()
            workers = list(self._workers)
            for _ in workers:
                self._calls.put(None)
        if wait:
            for worker in workers:
                worker.join()

    def _cancel_waiting(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except Empty:
                return
            if call is not None:
                call.future.cancel()

    def leave(self, seconds: float) -> dict[threading.Thread, str]:
        """Shut down; wait some seconds for the calls that are running, and leave those behind that take longer.

        What they return or raise later is dropped, as the event loop is closed then. Returns their threads, each with the name
        of its function.
        """
        self.shutdown(wait=False, cancel_futures=True)
        running = {worker: call for worker, call in self._workers.items() if call is not None}
        late = wait([call.future for call in running.values()], seconds).not_done
        self._is_left = True
        return {worker: call.name for worker, call in running.items() if call.future in late}
