"""The reply to an `ask`, now or later."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import pykka

from actors.exceptions import BlockingCallError, Timeout
from actors.log import Log
from actors.pickling import Local
from actors.redaction import safe_repr
from actors.runtime.current import actor_of_thread, is_on_a_loop
from actors.runtime.waits import waiting
from actors.validation import is_number

if TYPE_CHECKING:
    from types import TracebackType

    from actors.clock import Clock
    from actors.runtime.current import Waiter

    ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

__all__ = ["Future", "run_on"]

_log = Log("ashtree.actors")

T = TypeVar("T")
P = ParamSpec("P")

# Contended only by threads that start to wait for the same future at the same time.
_waiting = threading.Lock()


class Runtime(Protocol):
    """The scheduler of the event loop on which a future is answered."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop."""

    @property
    def clock(self) -> Clock:
        """The clock of its actors, on which their timeouts are."""

    def is_current_thread(self) -> bool:
        """Return whether the caller runs in the thread of the event loop."""

    def block_on(self, future: Future[Any], timeout: float | None, /) -> None:
        """Wait for the future in that thread, or raise BlockingCallError."""

    def run_or_post(self, callback: Callable[..., object], *args: object) -> None:
        """Call the callback in that thread."""


class Future(Local, pykka.Future[T]):
    """A `pykka.Future` that can be awaited on an event loop and waited for in any other thread.

    `get(timeout=…)` blocks; on the loop's own thread it raises `BlockingCallError` at once instead of hanging.
    `await future` works on the loop of its actor and on any other loop. Both raise `pykka.Timeout` after `timeout`
    seconds, by default those of the `ask` that made it.
    """

    # Defaults on the class: most futures are answered before they are waited for, so an instance has only its value.
    _done = False
    _value: Any = None
    _exception: BaseException | None = None
    _callbacks: deque[Callable[[Future[T]], object]] | None = None
    _event: threading.Event | None = None
    _sources: tuple[pykka.Future[Any], ...] = ()
    _get_hook: Callable[[float | None], T] | None = None
    _hooked = False

    def __init__(
        self, scheduler: Runtime | None = None, *, timeout: float | None = None, asked: Waiter | None = None
    ) -> None:
        self._scheduler = scheduler
        self._timeout = timeout
        self.asked = asked

    def __repr__(self) -> str:
        return f"<Future {'done' if self._done else 'pending'}>"

    @property
    def done(self) -> bool:
        """Whether there is a value or an exception."""
        return self._done

    @property
    def exception(self) -> BaseException | None:
        """The exception that it was answered with, or None."""
        return self._exception

    def set(self, value: T | None = None) -> None:
        """Set the value.

        Raises:
            RuntimeError: if it has been answered before.
        """
        if self._done or self._get_hook is not None:
            self._must_be_unanswered()
        self._value = value
        self._settle()

    def set_exception(self, exc_info: ExcInfo | BaseException | None = None) -> None:
        """Set the exception: an instance, pykka's triple, or the one being handled.

        Raises:
            RuntimeError: if it has been answered before.
        """
        self._must_be_unanswered()
        if not isinstance(exc_info, BaseException):
            kind, exc_info, trace = exc_info or sys.exc_info()
            exc_info = exc_info if exc_info is not None else (kind or RuntimeError)()
            exc_info = exc_info if trace is None else exc_info.with_traceback(trace)
        self._exception = exc_info
        self._settle()

    def set_get_hook(self, func: Callable[[float | None], T]) -> None:
        """Call `func(timeout)` for the value, when it is first requested.

        Raises:
            RuntimeError: if it has been answered before.
        """
        if self._done:
            raise RuntimeError("future is already answered")
        self._get_hook = func

    def answer_with(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `function(*args)` and set what it returns or raises."""
        try:
            value = function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001  # it is raised where the future is waited for
            self.set_exception(error)
        else:
            self.set(value)

    def _must_be_unanswered(self) -> None:
        if self._done or self._get_hook is not None:
            raise RuntimeError("future is already answered")

    def _settle(self) -> None:
        self._done = True
        # `_done` is set before `_event` is read, and a waiter sets `_event` before it reads `_done`: one of the two sees the
        # other.
        if self._event is not None:
            self._event.set()
        if self._callbacks is not None:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        # `popleft` is atomic, so each callback runs once even if two threads are here.
        while self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            try:
                callback(self)
            except Exception:  # noqa: BLE001  # the actor that answers must not fail with it
                _log.exception("a callback of a future failed: %r", callback)

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Call `callback(future)` when it is answered, in the thread that answers; at once if it has been.

        It has the context variables of the code that adds it, as they are now, and what it sets is not seen elsewhere.
        """
        self._call_back(partial(copy_context().run, callback))  # type: ignore[call-arg]  # the future comes last

    def _call_back(self, callback: Callable[[Future[T]], object]) -> None:
        if self._callbacks is None:
            with _waiting:
                if self._callbacks is None:
                    self._callbacks = deque()
        self._callbacks.append(callback)
        if self._done:
            self._run_callbacks()

    def expire(self, timeout: float | None) -> None:
        """Set the seconds after which waiting for it raises `pykka.Timeout`; None: never."""
        self._timeout = timeout

    def result(self) -> T:
        """Return the value, or raise the exception.

        Raises:
            RuntimeError: if it has not been answered yet.
        """
        if not self._done:
            raise RuntimeError("future has no answer yet")
        if self._exception is not None:
            raise self._exception
        return self._value  # type: ignore[no-any-return]  # `set` takes a T

    def get(self, *, timeout: float | None = None) -> T:
        """Wait until it is answered; return the value or raise the exception.

        Raises:
            BlockingCallError: on the thread of the event loop that has to answer it.
            pykka.Timeout: after `timeout` seconds.
        """
        if self._get_hook is not None:
            return self._get_hooked(timeout)
        if not self._done:
            self._wait(self._timeout if timeout is None else timeout)
        return self.result()

    def _get_hooked(self, timeout: float | None) -> T:
        if not self._hooked:
            assert self._get_hook is not None
            self._value, self._hooked = self._get_hook(timeout), True
        return self._value  # type: ignore[no-any-return]  # the hook returns a T

    def _wait(self, timeout: float | None) -> None:
        if self._scheduler is not None and self._scheduler.is_current_thread():
            self._scheduler.block_on(self, timeout)
            return
        if self._scheduler is None and is_on_a_loop():
            raise BlockingCallError("get()", instead="`await future` in an async handler")
        with waiting(self):
            self._block(timeout)

    def _block(self, timeout: float | None) -> None:
        _check_timeout(timeout)
        with _waiting:
            if self._event is None:
                self._event = threading.Event()
        actor = actor_of_thread()
        wait = self._event.wait if actor is None else partial(actor.scheduler.wait_in_thread, self, self._event)
        # A lock cannot wait for infinity, which is a valid timeout here.
        if not self._done and not wait(None if timeout == math.inf else timeout):
            raise Timeout(f"no answer in {timeout} seconds")

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for it on an event loop."""
        if not self._done:
            for source in self._sources:
                yield from source.__await__()
            if self._get_hook is not None:
                return self.get()
            with waiting(self):
                yield from self._suspend()
        return self.result()

    __iter__ = __await__

    def _suspend(self) -> Generator[Any, None, None]:
        """Suspend the running task until there is an answer, or the time is up."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._call_back(lambda _: self._resume(woken))
        cancel = self._call_later(partial(_wake, woken))
        try:
            yield from woken
        finally:
            cancel()
        if not self._done:
            raise Timeout(f"no answer in {self._timeout} seconds")

    def _resume(self, woken: asyncio.Future[None]) -> None:
        """Wake a task in the thread of its event loop."""
        loop, scheduler = woken.get_loop(), self._scheduler
        if scheduler is not None and scheduler.loop is loop and scheduler.is_current_thread():
            _wake(woken)
        else:
            with contextlib.suppress(RuntimeError):  # that loop is closed, and the task with it
                loop.call_soon_threadsafe(_wake, woken)

    def _call_later(self, wake: Callable[[], None]) -> Callable[[], object]:
        """Set the timeout on the actors' clock, so that a test that owns the clock controls it; return its `cancel`."""
        if self._timeout is None or self._timeout == math.inf:
            return lambda: None
        _check_timeout(self._timeout)
        scheduler, loop = self._scheduler, asyncio.get_running_loop()
        if scheduler is not None and scheduler.loop is loop:
            clock = scheduler.clock
            return clock.call_at(clock.now() + max(0.0, self._timeout), wake).cancel
        return loop.call_later(self._timeout, wake).cancel

    def filter(self: Future[Iterable[Any]], func: Callable[[Any], bool]) -> pykka.Future[Iterable[Any]]:
        """Return a future of the items for which `func` is true."""
        return self._derived(super().filter(func))

    def map(self, func: Callable[[T], Any]) -> pykka.Future[Any]:
        """Return a future of `func(value)`."""
        return self._derived(super().map(func))

    def reduce(self: Future[Iterable[Any]], func: Callable[[Any, Any], Any], *args: Any) -> pykka.Future[Any]:
        """Return a future of the items folded by `func`."""
        return self._derived(super().reduce(func, *args))

    def join(self: Future[Any], *futures: pykka.Future[Any]) -> pykka.Future[Iterable[Any]]:
        """Return a future of the list of all values."""
        return self._derived(super().join(*futures), *futures)

    def _derived(self, future: pykka.Future[Any], *more: pykka.Future[Any]) -> pykka.Future[Any]:
        if isinstance(future, Future):
            future._sources = (self, *more)
        return future


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def run_on(scheduler: Runtime, function: Callable[..., T], *args: object, timeout: float | None = None) -> Future[T]:
    """Call `function(*args)` in the thread of a scheduler; return a future of what it returns or raises.

    In that thread it is called before this returns; from any other thread, in the next iteration of the event loop, with the
    context variables of the caller.

    Raises:
        ActorDeadError: if the event loop is closed.
    """
    future: Future[T] = Future(scheduler, timeout=timeout)
    if scheduler.is_current_thread():
        future.answer_with(function, *args)
    else:
        scheduler.run_or_post(copy_context().run, future.answer_with, function, *args)
    return future


def _check_timeout(timeout: object) -> None:
    # It may be negative: what is left of a deadline that has passed.
    if timeout is not None and not (is_number(timeout) and not math.isnan(timeout)):
        raise TypeError(f"timeout must be seconds or None, got {safe_repr(timeout)}")
