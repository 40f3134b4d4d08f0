"""The reply to an `ask`, now or later."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextvars import copy_context
from functools import partial, reduce
from threading import get_ident
from types import coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar
from weakref import ref as weak_ref

import pykka

from actors.callbacks import check_function
from actors.exceptions import ForkedError, Timeout
from actors.fork import in_child
from actors.log import Log
from actors.pickling import Local
from actors.redaction import safe_repr
from actors.runtime.current import actor_of_thread
from actors.runtime.program_exit import leave
from actors.runtime.waits import must_not_block, waiting
from actors.validation import is_number

if TYPE_CHECKING:
    from types import TracebackType

    from actors.clock import Clock
    from actors.runtime.crash_log import CrashLog
    from actors.runtime.current import Waiter

    # Of what an actor has to answer.
    _Table = dict[Any, "Future[Any] | None"]

    ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]

__all__ = ["Future", "check_timeout", "run_on", "shared_future"]

_log = Log("ashtree.actors")

# What a class of exceptions has in the place of these must not keep a caller from its answer.
_traceback_of: Callable[[BaseException], TracebackType | None] = vars(BaseException)["__traceback__"].__get__

T = TypeVar("T")
P = ParamSpec("P")

# What callbacks have answered, by the thread in which they run: see `Future._run_callbacks`.
_answered: dict[int, deque[Future[Any]]] = {}
in_child(_answered.clear)


class Runtime(Protocol):
    """The scheduler of the event loop on which a future is answered."""

    forked: int

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop."""

    @property
    def clock(self) -> Clock:
        """The clock of its actors, on which their timeouts are."""

    @property
    def crash_log(self) -> CrashLog:
        """The limit of what is logged for each crash."""

    def is_current_thread(self) -> bool:
        """Return whether the caller runs in the thread of the event loop."""

    def block_on(self, future: Future[Any], timeout: float | None, /) -> None:
        """Wait for the future in that thread, or raise BlockingCallError."""

    def check_awaitable(self, call: str) -> None:
        """Raise BlockingCallError if the event loop cannot run while the caller awaits an actor of it."""

    def run_or_post(self, callback: Callable[..., object], *args: object) -> None:
        """Call the callback in that thread."""


class Future(Local, pykka.Future[T]):
    """A `pykka.Future` that can be awaited on an event loop and waited for in any other thread.

    `get(timeout=…)` blocks; on the loop's own thread it raises `BlockingCallError` at once instead of hanging.
    `await future` works on the loop of its actor and on any other loop. Both raise `pykka.Timeout` after `timeout`
    seconds, by default those of the `ask` that made it.

    One that is no longer waited for, has no callbacks, and is referred to by no one is freed, and forgotten by what would have
    answered it: see `be_listed`.
    """

    # Defaults on the class: most futures are answered before they are waited for, so an instance has only its value.
    _done = False
    _value: Any = None
    _exception: BaseException | None = None
    _trace: TracebackType | None = None
    _callbacks: deque[Callable[[Future[T]], object]] | None = None
    # Those that wait, by a key of each; they are removed when they stop.
    _waiters: dict[object, Callable[[], object]] | None = None
    _event: threading.Event | None = None
    # Whether there is one of these: most futures are answered before they are waited for.
    _is_awaited = False
    # Whether a cycle of waits may end it: see `actors.runtime.current.Question`.
    may_fail = True
    # Where it is listed.
    _place: tuple[_Table, weak_ref[Future[Any]]] | None = None
    _sources: tuple[pykka.Future[Any], ...] = ()
    _get_hook: Callable[[float | None], T] | None = None
    _hooked = False

    def __init__(
        self, scheduler: Runtime | None = None, *, timeout: float | None = None, asked: Waiter | None = None
    ) -> None:
        self._scheduler = scheduler
        self._timeout = timeout
        self.asked = asked

    may_block_loops = False
    """Whether `get` may wait on an event loop too: for a call in the thread of another one (`run_on`), and at a prompt."""

    def __repr__(self) -> str:
        return f"<Future {'done' if self._done else 'pending'}>"

    @property
    def done(self) -> bool:
        """Whether there is a value or an exception."""
        return self._done

    @property
    def is_awaited(self) -> bool:
        """Whether anything has waited for it so far, or has a callback."""
        return self._is_awaited

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
        self._fail(exc_info, _traceback_of(exc_info))

    def refuse(self, error: BaseException) -> None:
        """Set an exception that may have been raised from futures before, such as a constant: without what that has added.

        Raises:
            RuntimeError: if it has been answered before.
        """
        self._must_be_unanswered()
        origin = _traceback_of(error)
        for trace in _entries(origin):
            if trace.tb_frame.f_code is Future.result.__code__:
                origin = trace.tb_next
        self._fail(error, origin)

    def _fail(self, error: BaseException, trace: TracebackType | None) -> None:
        # Raising the exception adds to its own traceback each time.
        self._exception, self._trace = error, trace
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
        # `_done` is set before this is read, and those that wait are recorded before they read `_done`: one of the two sees the
        # other.
        if self._is_awaited:
            self._notify()

    def _notify(self) -> None:
        if self._place is not None:
            # Dropped first, as the key would else call `forget` when this is freed.
            (table, key), self._place = self._place, None
            table.pop(key, None)
        if self._event is not None:
            self._event.set()
        if self._waiters:
            for wake in list(self._waiters.values()):
                wake()
        if self._callbacks is None:
            return
        # Callbacks of what a callback answers are called after it and not in it: any number of actors may pass an answer on.
        thread = get_ident()
        answered = _answered.get(thread)
        if answered is None:
            _run_callbacks(deque((self,)), thread)
        else:
            answered.append(self)

    # What those that wait have in common is made for the first of them, in whichever thread that is. Between the check and the
    # assignment, which are on one line, there is no call: neither another thread nor a signal's handler runs.

    def _begin_to_wait(self) -> None:
        scheduler = self._scheduler
        if scheduler is not None and scheduler.forked and not self._done:
            raise ForkedError(f"the actor that answers {self!r}", scheduler.forked)
        self._is_awaited = True

    def add_done_callback(self, callback: Callable[[Future[T]], object]) -> None:
        """Call `callback(future)` when it is answered, in the thread that answers; at once if it has been.

        It has the context variables of the code that adds it, as they are now, and what it sets is not seen elsewhere.
        """
        check_function("the callback of a future", callback, instead="let it send() a message to an actor")
        run: Callable[..., object] = copy_context().run
        self.when_done(partial(run, callback))

    def when_done(self, callback: Callable[[Future[T]], object]) -> None:
        """Do what `add_done_callback` does for a callback of ours, which needs no context variables and is not checked."""
        self._begin_to_wait()
        made: deque[Callable[[Future[T]], object]] = deque()
        callbacks = self._callbacks = made if self._callbacks is None else self._callbacks
        callbacks.append(callback)
        if self._place is not None:
            self._keep()
        if self._done:
            self.call_back()

    def call_back(self) -> None:
        """Call the callbacks, as it has been answered."""
        # `popleft` is atomic, so each callback runs once even if two threads are here.
        while self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                return
            try:
                callback(self)
            except BaseException as error:  # noqa: BLE001  # the actor that answers must not fail with it
                if self._is_logged():
                    _log.exception("a callback of a future failed: %r", callback)
                self._leave(error)

    def _is_logged(self) -> bool:
        """Return whether to log one more callback that failed; the limit is that of an event loop, for its thread."""
        scheduler = self._scheduler
        if scheduler is None or scheduler.forked or not scheduler.is_current_thread():
            return True
        return scheduler.crash_log.admits(_log, "callbacks that failed", type(self))

    def _leave(self, error: BaseException) -> None:
        try:
            leave(error)
        finally:
            self.call_back()

    def wake_by(self, key: object, wake: Callable[[], object]) -> None:
        """Call `wake()` when it is answered, in the thread that answers, unless `stop_waiting(key)` comes before."""
        self._begin_to_wait()
        made: dict[object, Callable[[], object]] = {}
        waiters = self._waiters = made if self._waiters is None else self._waiters
        waiters[key] = wake
        if self._place is not None:
            self._keep()
        if self._done:
            wake()

    def stop_waiting(self, key: object) -> None:
        """Forget what `wake_by` has recorded."""
        if self._waiters is not None:
            self._waiters.pop(key, None)
            if self._place is not None:
                self._keep()

    def be_listed(self, table: _Table, forget: Callable[[weak_ref[Future[Any]]], object]) -> None:
        """Enter the table of an actor that is to answer it, as a weak reference: it is kept only as long as it is waited for.

        `forget(key)` is called when it is freed, in whichever thread that is.
        """
        key = weak_ref(self, forget)
        table[key] = None
        self._place, self._is_awaited = (table, key), True
        if self._waiters or self._callbacks or self._done:
            self._keep()

    def _keep(self) -> None:
        """Be kept alive by the table, or no longer; the caller has changed what decides it."""
        if (place := self._place) is None:  # answered meanwhile, in another thread
            return
        table, key = place
        if self._waiters or self._callbacks:
            table[key] = self
        elif key in table:
            table[key] = None
        if self._done:
            table.pop(key, None)

    def expire(self, timeout: float | None) -> None:
        """Set the seconds after which waiting for it raises `pykka.Timeout`; None: never."""
        self._timeout = timeout

    def result(self) -> T:
        """Return the value, or raise the exception, with the traceback that it was set with.

        Raises:
            RuntimeError: if it has not been answered yet.
        """
        if not self._done:
            raise RuntimeError("future has no answer yet")
        if self._exception is None:
            return self._value  # type: ignore[no-any-return]  # `set` takes a T
        try:
            raise BaseException.with_traceback(self._exception, self._trace)
        finally:
            del self  # the traceback refers to this frame, and so do those below: it would be a cycle

    def get(self, *, timeout: float | None = None) -> T:
        """Wait until it is answered; return the value or raise the exception.

        Raises:
            BlockingCallError: on the thread of the event loop that has to answer it.
            pykka.Timeout: after `timeout` seconds.
        """
        try:
            if self._get_hook is not None:
                return self._get_hooked(timeout)
            if not self._done:
                self.block_until_done(self._timeout if timeout is None else timeout)
            return self.result()
        finally:
            del self

    def _get_hooked(self, timeout: float | None) -> T:
        try:
            # Sources first: a hook that called those of its sources, and so on, could be as deep as there are futures.
            for future in reversed(self._derivation()):
                if isinstance(future, Future) and future._get_hook is not None and not future._hooked:
                    future._value, future._hooked = future._get_hook(timeout), True
            return self._value  # type: ignore[no-any-return]  # the hook returns a T
        finally:
            future = None
            del self

    def _derivation(self) -> list[pykka.Future[Any]]:
        """Return this future and all that its value is still to be derived from, each after those derived from it."""
        found: dict[pykka.Future[Any], None] = {}
        left: list[pykka.Future[Any]] = [self]
        while left:
            future = left.pop()
            if future not in found:
                found[future] = None
                left += future._sources if isinstance(future, Future) and not future._hooked else ()
        return list(found)

    def block_until_done(self, timeout: float | None) -> None:
        """Wait in this thread until it is answered.

        Raises:
            BlockingCallError, pykka.Timeout: as `get` does.
        """
        try:
            if self._scheduler is not None and self._scheduler.is_current_thread():
                self._scheduler.block_on(self, timeout)
                return
            if not self.may_block_loops:
                must_not_block("get()", instead="`await future`")
            with waiting(self):
                self._block(timeout)
            if not self._done:
                raise Timeout(f"no answer in {timeout} seconds")
        finally:
            del self

    def _block(self, timeout: float | None) -> None:
        check_timeout(timeout)
        self._begin_to_wait()
        made = threading.Event()
        event = self._event = made if self._event is None else self._event
        actor = actor_of_thread()
        wait = event.wait if actor is None else partial(actor.scheduler.wait_in_thread, self, event)
        if not self._done:
            # A lock cannot wait for infinity, which is a valid timeout here.
            wait(None if timeout == math.inf else timeout)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for it on an event loop."""
        try:
            if self._get_hook is not None:
                yield from self._await_sources()
                return self.get()
            if not self._done:
                yield from self.until_done(self._timeout)
            return self.result()
        finally:
            del self

    __iter__ = __await__

    def _await_sources(self) -> Generator[Any, None, None]:
        source: pykka.Future[Any] | None = None
        try:
            for source in reversed(self._derivation()):
                if not isinstance(source, Future) or source._get_hook is None:
                    yield from source.__await__()
        finally:
            del self, source

    @coroutine
    def until_done(self, timeout: float | None, *, blames_others: bool = False) -> Generator[Any, None, None]:
        """Wait on an event loop until it is answered; `blames_others` as in `waiting`.

        Raises:
            AskCycleError: if the actor that waits is waited for by the one that has to answer.
            pykka.Timeout: after `timeout` seconds.
        """
        try:
            if not self._done:
                if self._scheduler is not None:
                    self._scheduler.check_awaitable("`await`")
                with waiting(self, blames_others=blames_others):
                    yield from self._suspend(timeout)
            if not self._done:
                raise Timeout(f"no answer in {timeout} seconds")
        finally:
            del self

    def _suspend(self, timeout: float | None) -> Generator[Any, None, None]:
        """Suspend the running task until there is an answer, or the time is up."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wake_by(woken, partial(_resume, woken, self._scheduler))
        cancel = self._call_later(timeout, partial(_wake, woken))
        try:
            yield from woken
        finally:
            cancel()
            self.stop_waiting(woken)
            del self, woken, cancel

    def _call_later(self, timeout: float | None, wake: Callable[[], None]) -> Callable[[], object]:
        """Set the timeout on the actors' clock, so that a test that owns the clock controls it; return its `cancel`."""
        if timeout is None or timeout == math.inf:
            return _nothing
        check_timeout(timeout)
        scheduler, loop = self._scheduler, asyncio.get_running_loop()
        if scheduler is not None and scheduler.loop is loop:
            clock = scheduler.clock
            return clock.call_at(clock.now() + max(0.0, timeout), wake).cancel
        return loop.call_later(timeout, wake).cancel

    def filter(self: Future[Iterable[Any]], func: Callable[[Any], bool]) -> Future[Iterable[Any]]:
        """Return a future of the items for which `func` is true."""
        return self._derived(lambda items: list(filter(func, items)))

    def map(self, func: Callable[[T], Any]) -> Future[Any]:
        """Return a future of `func(value)`."""
        return self._derived(func)

    def reduce(self: Future[Iterable[Any]], func: Callable[[Any, Any], Any], *args: Any) -> Future[Any]:
        """Return a future of the items folded by `func`."""
        return self._derived(lambda items: reduce(func, items, *args))

    def join(self: Future[Any], *futures: pykka.Future[Any]) -> Future[Iterable[Any]]:
        """Return a future of the list of all values."""
        return self._derived(lambda *values: list(values), *futures)

    def _derived(self, derive: Callable[..., Any], *more: pykka.Future[Any]) -> Future[Any]:
        future: Future[Any] = Future()
        future._sources = (self, *more)
        future.set_get_hook(partial(_derive, derive, future._sources))
        return future


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _derive(derive: Callable[..., T], sources: tuple[pykka.Future[Any], ...], timeout: float | None) -> T:
    source: pykka.Future[Any] | None = None
    try:
        values = []
        for source in sources:
            values.append(source.get(timeout=timeout))
        return derive(*values)
    finally:
        del sources, source


def _run_callbacks(answered: deque[Future[Any]], thread: int) -> None:
    """Call the callbacks of these futures, and of those that they answer in turn."""
    _answered[thread] = answered
    try:
        while answered:
            answered[0].call_back()
            answered.popleft()
    finally:
        _answered.pop(thread, None)  # a child may have been forked in a callback
        if answered:  # Ctrl-C, for example: the others are called before it goes on
            _run_callbacks(answered, thread)


def _resume(woken: asyncio.Future[None], scheduler: Runtime | None) -> None:
    """Wake a task in the thread of its event loop."""
    loop = woken.get_loop()
    if scheduler is not None and scheduler.loop is loop and scheduler.is_current_thread():
        _wake(woken)
    else:
        with contextlib.suppress(RuntimeError):  # that loop is closed, and the task with it
            loop.call_soon_threadsafe(_wake, woken)


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
    future.may_block_loops = True
    if scheduler.is_current_thread():
        future.answer_with(function, *args)
    else:
        scheduler.run_or_post(copy_context().run, future.answer_with, function, *args)
    return future


def shared_future(scheduler: Runtime, asked: Waiter | None = None) -> Future[Any]:
    """Return a future that one process answers, and several may wait for."""
    future: Future[Any] = Future(scheduler, asked=asked)
    future.may_fail = False
    return future


def _nothing() -> None:
    pass


def check_timeout(timeout: object) -> None:
    """Raise TypeError unless it is seconds, or None."""
    # It may be negative: what is left of a deadline that has passed.
    if timeout is not None and not (is_number(timeout) and not math.isnan(timeout)):
        raise TypeError(f"timeout must be seconds or None, got {safe_repr(timeout)}")


def _lay_out(first: Future[Any]) -> None:
    """Set all attributes that a future may have, on the first one: CPython stores those that it knows by then at less cost."""
    for name in (
        "_done",
        "_value",
        "_exception",
        "_trace",
        "_is_awaited",
        "_waiters",
        "_callbacks",
        "_event",
        "_place",
    ):
        setattr(first, name, getattr(Future, name))


_lay_out(Future())
