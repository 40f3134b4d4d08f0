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
from functools import cached_property, partial
from heapq import heapify, heappop, heappush
from itertools import count
from math import floor
from typing import Literal, Protocol, get_args

from actors.callbacks import check_function
from actors.exceptions import ForkedError
from actors.pickling import Local
from actors.redaction import function_name, safe_repr
from actors.runtime.receipt import Receipt
from actors.validation import Bound, is_number, is_within

__all__ = [
    "Alarm",
    "Clock",
    "Interval",
    "LoopClock",
    "Timer",
    "WallClock",
    "monotonic_time",
    "pause",
    "processor_time",
    "wall_time",
]

MissedTicks = Literal["skip", "delay", "burst"]
"""What an interval does when it is late, or its last message has not been handled; the words are tokio's."""

# Seconds by which a timer is late if the process was stopped, or its event loop blocked, and not just busy.
_LATE = 0.1

# Rounds of the event loop in which it reads what has arrived meanwhile: two until it has read, the others for coroutines that
# hand it on.
_ROUNDS = 5

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

    def put_counted(self, message: object, receipt: Receipt) -> None:
        """Put a message in the mailbox, and notify `receipt` when it has been handled, or never will be."""


def wall_time() -> float:
    """Return the Unix time in seconds: for people and other machines, never for measuring durations."""
    return time.time()


def monotonic_time() -> float:
    """Return the monotonic time of the machine in seconds, for code without a runtime; only differences are meaningful."""
    return time.monotonic()


def processor_time() -> float:
    """Return the seconds for which the processor has worked for this process, in all of its threads."""
    return time.process_time()


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
        try:
            remaining = self.remaining()
        except ForkedError:
            return "<Timer of another process>"
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


class Interval(Receipt, Local):
    """A message that is sent again and again, as `send_interval` says.

    As the receipt of its own message it knows whether that has been handled.
    """

    __slots__ = ("_clock", "_is_cancelled", "_message", "_missed_ticks", "_seconds", "_target", "_timer")

    def __init__(
        self, clock: Clock, seconds: float, target: TimerOwner, message: object, missed_ticks: MissedTicks
    ) -> None:
        self.done, self._is_cancelled = True, False
        self._clock, self._seconds, self._missed_ticks = clock, seconds, missed_ticks
        self._target, self._message = target, message
        self._timer = clock.call_at(clock.now() + seconds, self._fire, target)

    def _fire(self) -> None:
        if not self._target.alive:
            return  # it was set for an actor that had already ended
        if self._missed_ticks != "delay":
            self._timer = self._clock.call_at(self._next_at(), self._fire, self._target)
        if self._missed_ticks == "burst":
            self._target.put(self._message)
        elif self.done:
            self.done = False
            self._target.put_counted(self._message, self)

    def _next_at(self) -> float:
        """Return the time of the next tick: without drift, and unless each is sent, the first that has not been missed."""
        at, seconds, now = self._timer.at + self._seconds, self._seconds, self._clock.now()
        if self._missed_ticks == "burst" or at > now:
            return at
        # The summand is for multiples that are not exact, of which one is missed by a rounding error only.
        return at + seconds * (floor((now - at) / seconds + 1e-6) + 1)

    def over(self) -> None:
        """Its message has been handled: with "delay" the time until the next one begins."""
        if self._missed_ticks == "delay" and not self._is_cancelled and self._target.alive:
            self._timer = self._clock.call_at(self._clock.now() + self._seconds, self._fire, self._target)

    def remaining(self) -> float | None:
        """Return the seconds until it fires next, or None if it was cancelled.

        With `missed_ticks="delay"` also None while its message waits or is being handled.
        """
        return self._timer.remaining()

    def cancel(self) -> float | None:
        """Cancel it; return the seconds until it would have fired next, or None if `remaining` is."""
        self._is_cancelled = True
        return self._timer.cancel()


class Clock(Local, ABC):
    """A source of time and of timers. All times are seconds as float.

    Timers belong to the thread of their runtime. A timer that sends to an actor is cancelled when that actor ends.
    """

    longest_look: float = 1.0
    """Seconds by which a timer of `wall` may be late, after the machine's date was set, or it has slept."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._sequence = count()
        self._dead = 0

    @abstractmethod
    def now(self) -> float:
        """Return the monotonic time in seconds; only differences are meaningful."""

    @abstractmethod
    def unix_time(self) -> float:
        """Return the Unix time in seconds, which people and other machines may set."""

    @cached_property
    def wall(self) -> WallClock:
        """The clock of the Unix time on this one, for what is to happen at a date."""
        return WallClock(self)

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

    def call_late(self, _at: float, _callback: Callable[[], object]) -> Timer | None:
        """Call `callback()` at the time `at`, for a report that nothing waits for; None if that is not done.

        A clock that a test moves does not: the test would have one more timer to expect.
        """
        return None

    def call_after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call `callback()` after `seconds`, with the context variables of the code that sets the timer.

        Raises:
            TypeError: if the callback is `async` or has a `yield` in it, so that calling it would run nothing.
        """
        check_function("the callback of a timer", callback, instead="let it send() a message to an actor")
        return self.call_at(self.now() + max(0.0, seconds), partial(copy_context().run, callback))

    def send_after(self, seconds: float, target: TimerOwner, message: object) -> Timer:
        """Send `message` to the actor after `seconds`, unless it has ended by then."""
        check_duration(seconds)
        return self.call_at(self.now() + seconds, lambda: target.put(message), target)

    def send_interval(
        self, seconds: float, target: TimerOwner, message: object, *, missed_ticks: MissedTicks = "skip"
    ) -> Interval:
        """Send `message` to the actor every `seconds`, until it ends or the interval is cancelled (see `Actor`)."""
        check_duration(seconds, "> 0")
        if missed_ticks not in get_args(MissedTicks):
            raise ValueError(f'missed_ticks must be "skip", "delay" or "burst", got {missed_ticks!r}')
        return Interval(self, seconds, target, message, missed_ticks)

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

    After a stall, such as SIGSTOP, a laptop that was closed or a handler that blocked the loop, what others have sent waits in
    the sockets: the loop reads them before the timers fire that are overdue. So none of them takes the stall for silence.
    """

    # Not looked up in `time` at each call: test tools put a clock that stands still there.
    _monotonic = staticmethod(time.monotonic)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        # Without it the timer would run with the context variables of the actor that set it, and keep their values.
        self._context = Context()
        self._closed = False

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return self._monotonic()

    def unix_time(self) -> float:
        """Return the Unix time in seconds."""
        return wall_time()

    def _rearm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        at = None if self._closed else self.next_at()
        self._handle = (
            None if at is None else self._loop.call_later(max(0.0, at - self.now()), self._tick, context=self._context)
        )

    def call_late(self, at: float, callback: Callable[[], object]) -> Timer | None:
        """Call `callback()` at the time `at`."""
        return self.call_at(at, callback)

    def close(self) -> None:
        """Fire no more timers; a loop of uvloop's cannot be closed while timers are set on it."""
        self._closed = True
        self._rearm()

    def _tick(self) -> None:
        self._handle = None
        at = self.next_at()
        self._fire_after(_ROUNDS if at is not None and self.now() - at > _LATE else 0)

    def _fire_after(self, rounds: int) -> None:
        """Fire the timers that are due, after so many rounds of the loop."""
        if rounds:
            self._loop.call_soon(self._fire_after, rounds - 1, context=self._context)
        elif not self._closed:
            try:
                self._fire_until(self.now())
            finally:
                self._rearm()


class WallClock(Clock):
    """Unix time, with a single timer of another clock for all of its timers.

    That one looks at the time every second: a machine that sleeps stops its monotonic time, and dates can be set.
    """

    def __init__(self, base: Clock) -> None:
        super().__init__()
        self._base = base
        self._look: Timer | None = None

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return self._base.unix_time()

    unix_time = now

    def cancelled(self) -> None:
        """Count one more cancelled timer; after the last one nothing is left on the other clock."""
        super().cancelled()
        if not self.pending():
            self._rearm()

    def _rearm(self) -> None:
        if self._look is not None:
            self._look.cancel()
        at, base = self.next_at(), self._base
        wait = 0.0 if at is None else min(max(0.0, at - self.now()), base.longest_look)
        self._look = None if at is None else base.call_at(base.now() + wait, self._tick)

    def _tick(self) -> None:
        self._look = None
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
