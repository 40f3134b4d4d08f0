"""Time, and the only place that reads it.

Everything that waits does so through the clock of its runtime, so a test that owns the clock (`actors.testing.ManualClock`)
owns time: it moves on when the test says so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from actors.validation import Bound, is_number, is_within

if TYPE_CHECKING:
    from actors.runtime.process import Process

__all__ = ["Alarm", "Clock", "Interval", "LoopClock", "Timer", "wall_time"]

# Cancelled timers stay in the heap until their time comes, unless they are this many and the majority.
_SWEEP = 64


def wall_time() -> float:
    """Return the Unix time in seconds: for people and for other machines, never to measure with."""
    return time.time()


def check_duration(seconds: object, bound: Bound = ">= 0") -> None:
    """Raise unless `seconds` is a valid duration.

    Raises:
        TypeError: if it is not a number.
        ValueError: if it is out of bounds, or NaN.
    """
    if not is_number(seconds):
        raise TypeError(f"seconds must be a number, got {seconds!r}")
    if not is_within(seconds, bound):
        raise ValueError(f"seconds must be {bound}, got {seconds!r}")


class Timer:
    """One thing to happen at one moment; `remaining` and `cancel` are Erlang's `read_timer` and `cancel_timer`."""

    __slots__ = ("_callback", "_clock", "_owner", "at")

    def __init__(self, clock: Clock, at: float, callback: Callable[[], object], owner: Process | None) -> None:
        self._clock, self._callback, self._owner = clock, callback, owner
        self.at = at

    def __repr__(self) -> str:
        remaining = self.remaining()
        return f"<Timer {'over' if remaining is None else f'in {remaining:.3f} s'}>"

    @property
    def pending(self) -> bool:
        """Tell whether it has neither fired nor been cancelled."""
        return self._callback is not None

    @property
    def calls(self) -> str:
        """The name of what it calls, for people."""
        return getattr(self._callback, "__qualname__", repr(self._callback))

    def remaining(self) -> float | None:
        """Return the seconds left, or None once it has fired or was cancelled."""
        return max(0.0, self.at - self._clock.now()) if self.pending else None

    def cancel(self) -> float | None:
        """Keep it from firing; return the seconds that were left, or None if it was too late."""
        remaining = self.remaining()
        if remaining is not None:
            self._end()
            self._clock.cancelled()
        return remaining

    def fire(self) -> None:
        """Do what it was made for, unless it was cancelled."""
        callback = self._callback
        if callback is not None:
            self._end()
            callback()

    def _end(self) -> None:
        self._callback = None  # type: ignore[assignment]  # None marks the end; a flag beside it would cost each timer 8 bytes
        owner, self._owner = self._owner, None
        if owner is not None and owner.timers is not None:
            owner.timers.discard(self)


class Interval:
    """A timer that is set again each time it fires, without drift."""

    __slots__ = ("_callback", "_clock", "_owner", "_seconds", "_timer")

    def __init__(self, clock: Clock, seconds: float, callback: Callable[[], object], owner: Process | None) -> None:
        self._clock, self._seconds, self._callback, self._owner = clock, seconds, callback, owner
        self._timer = clock.call_at(clock.now() + seconds, self._fire, owner)

    def _fire(self) -> None:
        if self._owner is not None and not self._owner.alive:
            return  # it was set for one that had ended
        self._timer = self._clock.call_at(self._timer.at + self._seconds, self._fire, self._owner)
        self._callback()

    def remaining(self) -> float | None:
        """Return the seconds until it fires next, or None once it was cancelled."""
        return self._timer.remaining()

    def cancel(self) -> float | None:
        """Keep it from firing again; return the seconds that were left, or None if it was cancelled before."""
        return self._timer.cancel()


class Clock(ABC):
    """A source of time and of timers. All times are seconds as float.

    Timers belong to the thread of their runtime; those that send to an actor end with it.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = count()
        self._dead = 0

    @abstractmethod
    def now(self) -> float:
        """Return the monotonic time in seconds; only differences mean something."""

    def close(self) -> None:  # noqa: B027  # most clocks have nothing to close
        """Fire no timer any more, and ask nothing of the loop: it is about to be closed."""

    @abstractmethod
    def _rearm(self) -> None:
        """Take note that another timer is now the next one."""

    def call_at(self, at: float, callback: Callable[[], object], owner: Process | None = None) -> Timer:
        """Call `callback()` at the time `at`, unless its owner has ended before."""
        timer = Timer(self, at, callback, owner)
        if owner is not None:
            owner.keep_timer(timer)
        heappush(self._heap, (at, next(self._sequence), timer))
        if self._heap[0][2] is timer:
            self._rearm()
        return timer

    def call_after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback()` after `seconds`."""
        return self.call_at(self.now() + max(0.0, seconds), callback)

    def send_after(self, seconds: float, target: Process, message: Any) -> Timer:
        """Send `message` to the actor after `seconds`, unless it has ended by then."""
        check_duration(seconds)
        return self.call_at(self.now() + seconds, lambda: target.put(message), target)

    def send_interval(self, seconds: float, target: Process, message: Any) -> Interval:
        """Send `message` to the actor every `seconds`, until it ends or the interval is cancelled."""
        check_duration(seconds, "> 0")
        return Interval(self, seconds, lambda: target.put(message), target)

    def cancel(self, timer: Timer | Interval) -> float | None:
        """Keep the timer from firing; return the seconds that were left, or None if it was too late."""
        return timer.cancel()

    def remaining(self, timer: Timer | Interval) -> float | None:
        """Return the seconds left, or None once the timer has fired or was cancelled."""
        return timer.remaining()

    def pending(self) -> int:
        """Count the timers that are still to fire."""
        return len(self._heap) - self._dead

    def cancelled(self) -> None:
        """Count one more cancelled timer; sweep them out when they are the majority."""
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
        """Fire what is due at `now`; what that sets anew for the same moment waits for the next round."""
        mark = next(self._sequence)
        while (at := self.next_at()) is not None and at <= now and self._heap[0][1] < mark:
            heappop(self._heap)[2].fire()


class LoopClock(Clock):
    """The machine's monotonic time, with one timer of the event loop's for all of ours.

    The loop's own `time()` may stand still during a turn (uvloop's does), which would make timers fire early.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._closed = False

    def now(self) -> float:
        """Return the monotonic time."""
        return time.monotonic()

    def _rearm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        at = None if self._closed else self.next_at()
        self._handle = None if at is None else self._loop.call_later(max(0.0, at - self.now()), self._tick)

    def close(self) -> None:
        """Fire no timer any more; uvloop cannot be closed while anybody sets one."""
        self._closed = True
        self._rearm()

    def _tick(self) -> None:
        self._handle = None
        try:
            self._fire_until(self.now())
        finally:
            self._rearm()


class Alarm:
    """Calls back on an event loop when so many real seconds are over, though time may stand still there; for test kits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]) -> None:
        self._timer = threading.Timer(seconds, loop.call_soon_threadsafe, (callback,))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Keep it from calling, unless it has; its thread is gone when this returns."""
        self._timer.cancel()
        self._timer.join()
