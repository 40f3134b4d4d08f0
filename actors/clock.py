"""Time: the only module that reads it or sets timers.

Everything that waits does so on the clock of its runtime, so a test that owns the clock (`actors.testing.ManualClock`) controls
time: it advances when the test says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from actors.pickling import Local
from actors.redaction import function_name, safe_repr
from actors.validation import Bound, is_number, is_within

__all__ = ["Alarm", "Clock", "Interval", "LoopClock", "Timer", "pause", "wall_time"]

# Cancelled timers stay in the heap until they are due, unless they are more than this many and the majority.
_SWEEP = 64


class TimerOwner(Protocol):
    """The process that a timer belongs to: when it ends, its timers are cancelled."""

    alive: bool
    timers: set[Timer] | None

    def keep_timer(self, timer: Timer) -> None:
        """Remember a timer, to cancel it at the end."""

    def put(self, item: object) -> None:
        """Put a message in the mailbox."""


def wall_time() -> float:
    """Return the Unix time in seconds: for people and other machines, never for measuring durations."""
    return time.time()


def pause(seconds: float) -> None:
    """Let the other threads run for so many seconds; for a thread without an event loop."""
    time.sleep(seconds)  # noqa: TID251  # here nothing is waited for


def check_duration(seconds: object, bound: Bound = ">= 0") -> None:
    """Raise unless `seconds` is a valid duration.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is out of bounds, or NaN.
    """
    if not is_number(seconds):
        raise TypeError(f"seconds must be a number, got {safe_repr(seconds)}")
    if not is_within(seconds, bound):
        raise ValueError(f"seconds must be {bound}, got {safe_repr(seconds)}")


class Timer(Local):
    """One call at one time; `remaining` and `cancel` are Erlang's `read_timer` and `cancel_timer`."""

    __slots__ = ("_callback", "_clock", "_owner", "at")

    def __init__(self, clock: Clock, at: float, callback: Callable[[], object], owner: TimerOwner | None) -> None:
        self._clock, self._callback, self._owner = clock, callback, owner
        self.at = at

    def __repr__(self) -> str:
        remaining = self.remaining()
        return f"<Timer {'over' if remaining is None else f'in {remaining:.3f} s'}>"

    @property
    def pending(self) -> bool:
        """Whether it has neither fired nor been cancelled."""
        return self._callback is not None

    @property
    def calls(self) -> str:
        """The name of the function that it calls, for people."""
        called = self._callback
        if isinstance(called, partial) and isinstance(getattr(called.func, "__self__", None), Context):
            called = called.args[0]  # see `call_after`
        return function_name(called, "__qualname__")

    def remaining(self) -> float | None:
        """Return the seconds left, or None once it has fired or was cancelled."""
        return max(0.0, self.at - self._clock.now()) if self.pending else None

    def cancel(self) -> float | None:
        """Cancel it; return the seconds that were left, or None if it had fired or was cancelled before."""
        remaining = self.remaining()
        if remaining is not None:
            self._end()
            self._clock.cancelled()
        return remaining

    def fire(self) -> None:
        """Call its function, unless it was cancelled."""
        callback = self._callback
        if callback is not None:
            self._end()
            callback()

    def _end(self) -> None:
        self._callback = None  # type: ignore[assignment]  # None marks the end; a separate flag would cost each timer 8 bytes
        owner, self._owner = self._owner, None
        if owner is not None and owner.timers is not None:
            owner.timers.discard(self)


class Interval(Local):
    """A timer that is set again each time it fires, without drift."""

    __slots__ = ("_callback", "_clock", "_owner", "_seconds", "_timer")

    def __init__(self, clock: Clock, seconds: float, callback: Callable[[], object], owner: TimerOwner | None) -> None:
        self._clock, self._seconds, self._callback, self._owner = clock, seconds, callback, owner
        self._timer = clock.call_at(clock.now() + seconds, self._fire, owner)

    def _fire(self) -> None:
        if self._owner is not None and not self._owner.alive:
            return  # it was set for an actor that had already ended
        self._timer = self._clock.call_at(self._timer.at + self._seconds, self._fire, self._owner)
        self._callback()

    def remaining(self) -> float | None:
        """Return the seconds until it fires next, or None if it was cancelled."""
        return self._timer.remaining()

    def cancel(self) -> float | None:
        """Cancel it; return the seconds until it would have fired next, or None if it was cancelled before."""
        return self._timer.cancel()


class Clock(Local, ABC):
    """A source of time and of timers. All times are seconds as float.

    Timers belong to the thread of their runtime. A timer that sends to an actor is cancelled when that actor ends.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = count()
        self._dead = 0

    @abstractmethod
    def now(self) -> float:
        """Return the monotonic time in seconds; only differences are meaningful."""

    def close(self) -> None:  # most clocks have nothing to close
        """Fire no more timers, and leave the event loop alone: it is about to be closed."""

    @abstractmethod
    def _rearm(self) -> None:
        """Arrange to be called at the time of the first timer, which has changed."""

    def call_at(self, at: float, callback: Callable[[], object], owner: TimerOwner | None = None) -> Timer:
        """Call `callback()` at the time `at`, unless its owner has ended by then."""
        timer = Timer(self, at, callback, owner)
        if owner is not None:
            owner.keep_timer(timer)
        heappush(self._heap, (at, next(self._sequence), timer))
        if self._heap[0][2] is timer:
            self._rearm()
        return timer

    def call_after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback()` after `seconds`, with the context variables of the code that sets the timer."""
        return self.call_at(self.now() + max(0.0, seconds), partial(copy_context().run, callback))

    def send_after(self, seconds: float, target: TimerOwner, message: object) -> Timer:
        """Send `message` to the actor after `seconds`, unless it has ended by then."""
        check_duration(seconds)
        return self.call_at(self.now() + seconds, lambda: target.put(message), target)

    def send_interval(self, seconds: float, target: TimerOwner, message: object) -> Interval:
        """Send `message` to the actor every `seconds`, until it ends or the interval is cancelled."""
        check_duration(seconds, "> 0")
        return Interval(self, seconds, lambda: target.put(message), target)

    def cancel(self, timer: Timer | Interval) -> float | None:
        """Cancel a timer; return the seconds that were left, or None if it had fired or was cancelled before."""
        return timer.cancel()

    def remaining(self, timer: Timer | Interval) -> float | None:
        """Return the seconds left, or None once the timer has fired or was cancelled."""
        return timer.remaining()

    def pending(self) -> int:
        """Count the timers that are still to fire."""
        return len(self._heap) - self._dead

    def cancelled(self) -> None:
        """Count one more cancelled timer; remove them from the heap when they are the majority."""
        self._dead += 1
        if self._dead > _SWEEP and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].pending]
            heapify(self._heap)
            self._dead = 0

    def timers(self) -> list[Timer]:
        """Return the timers that are still to fire, the next one first."""
        return [timer for _, _, timer in sorted(self._heap) if timer.pending]

    def next_at(self) -> float | None:
        """Return the time of the next timer, or None when there is none."""
        heap = self._heap
        while heap and not heap[0][2].pending:
            heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def _fire_until(self, now: float) -> None:
        """Fire the timers due at `now`; one that a callback sets for the same time waits for the next call."""
        mark = next(self._sequence)
        while (at := self.next_at()) is not None and at <= now and self._heap[0][1] < mark:
            heappop(self._heap)[2].fire()


class LoopClock(Clock):
    """The machine's monotonic time, with a single timer of the event loop for all of ours.

    The loop's own `time()` may not advance within an iteration (uvloop's does not), which would make timers fire early.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        # Without it the timer would run with the context variables of the actor that set it, and keep their values.
        self._context = Context()
        self._closed = False

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return time.monotonic()

    def _rearm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        at = None if self._closed else self.next_at()
        self._handle = (
            None if at is None else self._loop.call_later(max(0.0, at - self.now()), self._tick, context=self._context)
        )

    def close(self) -> None:
        """Fire no more timers; a loop of uvloop's cannot be closed while timers are set on it."""
        self._closed = True
        self._rearm()

    def _tick(self) -> None:
        self._handle = None
        try:
            self._fire_until(self.now())
        finally:
            self._rearm()


class Alarm:
    """Calls back on an event loop after `seconds` of real time, even while its clock is stopped; for test kits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._timer = threading.Timer(seconds, loop.call_soon_threadsafe, (callback,))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Cancel it, unless it has fired; its thread has ended when this returns."""
        self._timer.cancel()
        self._timer.join()
