"""Time and timers; most of it on a clock that stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import clock as clock_module
from actors.actor import Actor
from actors.clock import Clock, Interval, LoopClock, Timer, wall_time
from actors.testing import WAIT, ManualClock, ManualRuntime, Probe


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def move(clock: ManualClock, seconds: float) -> None:
    end = clock.now() + seconds
    while clock.step(end):
        pass


def jump(clock: ManualClock, seconds: float) -> None:
    """Be late, as a loop that was busy: all that came due meanwhile fires at the end."""
    clock._now += seconds
    while (at := clock.next_at()) is not None and at <= clock.now():
        clock._fire_until(clock.now())


# Timers


def test_a_timer_fires_once_at_its_time(clock: ManualClock) -> None:
    fired: list[float] = []
    timer = clock.call_after(2, lambda: fired.append(clock.now()))
    move(clock, 1.999)
    assert (fired, timer.pending) == ([], True)
    move(clock, 10)
    assert (fired, timer.pending) == ([2.0], False)


def test_timers_fire_in_the_order_of_their_times_and_then_of_their_making(clock: ManualClock) -> None:
    fired: list[str] = []
    for at, name in ((2, "c"), (1, "a"), (2, "d"), (1, "b")):
        clock.call_at(at, partial(fired.append, name))
    move(clock, 2)
    assert fired == ["a", "b", "c", "d"]


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=30))
def test_what_is_not_cancelled_fires_in_order(timers: list[tuple[int, bool]]) -> None:
    clock = ManualClock()
    fired: list[tuple[float, int]] = []
    made = [
        (clock.call_after(at, lambda index=index: fired.append((clock.now(), index))), cancelled)  # type: ignore[misc]  # mypy: cannot infer
        for index, (at, cancelled) in enumerate(timers)
    ]
    for timer, cancelled in made:
        if cancelled:
            timer.cancel()
    kept = sorted((float(at), index) for index, (at, cancelled) in enumerate(timers) if not cancelled)
    assert clock.pending() == len(kept)
    move(clock, 20)
    assert fired == kept
    assert clock.pending() == 0


def test_a_time_in_the_past_is_now(clock: ManualClock) -> None:
    fired: list[float] = []
    move(clock, 5)
    clock.call_after(-3, lambda: fired.append(clock.now()))
    clock.call_at(1, lambda: fired.append(clock.now()))
    move(clock, 0)
    assert fired == [5, 5]


def test_remaining_counts_down_and_is_none_once_it_fired(clock: ManualClock) -> None:
    timer = clock.call_after(3, lambda: None)
    assert clock.remaining(timer) == timer.remaining() == 3
    move(clock, 1)
    assert timer.remaining() == 2
    move(clock, 2)
    assert timer.remaining() is None


def test_remaining_of_a_late_timer_is_zero(clock: ManualClock) -> None:
    timer = clock.call_after(3, lambda: None)
    clock._now = 4
    assert timer.remaining() == 0.0


def test_cancel_returns_what_was_left_and_then_none(clock: ManualClock) -> None:
    fired: list[int] = []
    timer = clock.call_after(3, lambda: fired.append(1))
    move(clock, 1)
    assert clock.cancel(timer) == 2
    assert (timer.cancel(), timer.remaining(), timer.pending) == (None, None, False)
    move(clock, 10)
    assert fired == []


def test_a_cancelled_timer_that_is_fired_does_nothing(clock: ManualClock) -> None:
    fired: list[int] = []
    timer = clock.call_after(3, lambda: fired.append(1))
    timer.cancel()
    timer.fire()
    assert fired == []


def test_cancel_of_what_fired_is_none(clock: ManualClock) -> None:
    timer = clock.call_after(3, lambda: None)
    move(clock, 3)
    assert timer.cancel() is None
    assert clock.pending() == 0


def test_a_timer_may_cancel_one_of_the_same_moment(clock: ManualClock) -> None:
    fired: list[str] = []

    def cancel_the_other() -> None:
        second.cancel()

    clock.call_at(1, cancel_the_other)
    second = clock.call_at(1, lambda: fired.append("second"))
    move(clock, 1)
    assert fired == []


def test_a_timer_set_by_a_timer_for_the_same_moment_fires_in_the_next_round(clock: ManualClock) -> None:
    fired: list[str] = []
    clock.call_at(1, lambda: (fired.append("first"), clock.call_at(1, lambda: fired.append("second"))))  # type: ignore[func-returns-value]  # two in a row
    assert clock.step(1)
    assert fired == ["first"]
    assert clock.step(1)
    assert fired == ["first", "second"]


def test_timers_show_what_is_left(clock: ManualClock) -> None:
    timer = clock.call_after(1.5, lambda: None)
    assert repr(timer) == "<Timer in 1.500 s>"
    timer.cancel()
    assert repr(timer) == "<Timer over>"


def test_pending_and_next_at_leave_out_the_cancelled(clock: ManualClock) -> None:
    assert (clock.pending(), clock.next_at()) == (0, None)
    first, second = clock.call_at(1, lambda: None), clock.call_at(2, lambda: None)
    assert (clock.pending(), clock.next_at()) == (2, 1)
    first.cancel()
    assert (clock.pending(), clock.next_at()) == (1, 2)
    second.cancel()
    assert (clock.pending(), clock.next_at()) == (0, None)


def test_cancelled_timers_do_not_pile_up(clock: ManualClock) -> None:
    fired: list[int] = []
    clock.call_at(5000, lambda: fired.append(1))
    for _ in range(10_000):
        clock.call_at(1000, lambda: fired.append(0)).cancel()
    assert clock.pending() == 1
    assert len(clock._heap) <= 2 * clock_module._SWEEP
    move(clock, 5000)
    assert fired == [1]


def test_a_few_cancelled_timers_are_not_worth_a_sweep(clock: ManualClock) -> None:
    timers = [clock.call_at(1, lambda: None) for _ in range(10)]
    for timer in timers:
        timer.cancel()
    assert (len(clock._heap), clock.pending()) == (10, 0)


# Intervals


def test_an_interval_fires_again_and_again(clock: ManualClock) -> None:
    fired: list[float] = []
    interval = Interval(clock, 5, lambda: fired.append(clock.now()), None)
    move(clock, 21)
    assert fired == [5, 10, 15, 20]
    assert interval.remaining() == 4


def test_an_interval_does_not_drift(clock: ManualClock) -> None:
    fired: list[float] = []
    interval = Interval(clock, 5, lambda: fired.append(clock.now()), None)
    jump(clock, 6.5)
    assert interval.remaining() == 3.5
    move(clock, 3.5)
    assert fired == [6.5, 10]


def test_an_interval_that_is_late_by_more_than_one_makes_up_for_it(clock: ManualClock) -> None:
    fired: list[float] = []
    Interval(clock, 5, lambda: fired.append(clock.now()), None)
    jump(clock, 17)
    move(clock, 3)
    assert fired == [17, 17, 17, 20]


def test_an_interval_that_is_cancelled_fires_no_more(clock: ManualClock) -> None:
    fired: list[float] = []
    interval = Interval(clock, 5, lambda: fired.append(clock.now()), None)
    move(clock, 7)
    assert clock.cancel(interval) == 3
    assert (clock.cancel(interval), clock.remaining(interval), clock.pending()) == (None, None, 0)
    move(clock, 100)
    assert fired == [5]


def test_an_interval_may_cancel_itself(clock: ManualClock) -> None:
    fired: list[float] = []

    def fire() -> None:
        fired.append(clock.now())
        interval.cancel()

    interval = Interval(clock, 5, fire, None)
    move(clock, 100)
    assert fired == [5]


# To actors


class Quiet(Actor):
    def on_receive(self, message: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("send", "message"),
    [
        (lambda clock, process: clock.send_after(-1, process, "x"), "seconds must be >= 0, got -1"),
        (lambda clock, process: clock.send_interval(0, process, "x"), "seconds must be > 0, got 0"),
        (lambda clock, process: clock.send_interval(-0.5, process, "x"), r"seconds must be > 0, got -0\.5"),
    ],
    ids=["after", "interval of zero", "interval"],
)
def test_times_that_cannot_be_are_refused(
    runtime: ManualRuntime, send: Callable[[Clock, Any], Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        send(runtime.clock, Quiet.start().process)
    assert runtime.clock.pending() == 0


def test_send_after_zero_seconds_is_sent_when_the_clock_is_looked_at(runtime: ManualRuntime) -> None:
    probe = Probe()
    runtime.clock.send_after(0, probe.ref.process, "now")
    runtime.advance(0)
    assert probe.messages == ["now"]


def test_timers_of_the_dead_are_cancelled(runtime: ManualRuntime) -> None:
    ref = Quiet.start()
    timers: list[Timer | Interval] = [
        runtime.clock.send_after(5, ref.process, "x"),
        runtime.clock.send_interval(5, ref.process, "x"),
    ]
    runtime.advance(6)
    assert ref.process.timers is not None
    assert len(ref.process.timers) == 1
    ref.stop()
    assert [timer.remaining() for timer in timers] == [None, None]
    assert runtime.clock.pending() == 0


def test_an_actor_remembers_only_timers_that_are_still_to_fire(runtime: ManualRuntime) -> None:
    ref = Quiet.start()
    for seconds in range(10):
        runtime.clock.send_after(seconds, ref.process, "x")
    runtime.advance(4)
    runtime.clock.send_after(1, ref.process, "x").cancel()
    assert ref.process.timers is not None
    assert len(ref.process.timers) == 5


# The clock of a real loop


def test_the_loop_clock_fires_in_order_when_an_earlier_timer_comes_later() -> None:
    async def main() -> list[str]:
        clock, fired, done = LoopClock(asyncio.get_running_loop()), list[str](), asyncio.Event()
        late = clock.call_after(3600, lambda: fired.append("never"))
        clock.call_after(0.002, done.set)
        clock.call_after(0.001, lambda: fired.append("first"))
        clock.call_after(0.001, lambda: fired.append("cancelled")).cancel()
        async with asyncio.timeout(WAIT):
            await done.wait()
        late.cancel()
        return fired

    assert asyncio.run(main()) == ["first"]


def test_the_loop_clock_never_fires_early() -> None:
    async def main() -> tuple[float, float]:
        clock, fired = LoopClock(asyncio.get_running_loop()), asyncio.get_running_loop().create_future()
        timer = clock.call_after(0.003, lambda: fired.set_result(clock.now()))
        async with asyncio.timeout(WAIT):
            return timer.at, await fired

    at, fired_at = asyncio.run(main())
    assert fired_at >= at


def test_a_callback_that_raises_is_the_loops_to_report_and_stops_no_other_timer() -> None:
    reported: list[Any] = []

    def bad() -> None:
        raise ValueError("boom")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
        clock, done = LoopClock(loop), asyncio.Event()
        clock.call_after(0, bad)
        clock.call_after(0, done.set)
        async with asyncio.timeout(WAIT):
            await done.wait()

    asyncio.run(main())
    assert [str(error) for error in reported] == ["boom"]


def test_actors_on_a_real_loop_get_their_timers() -> None:
    class Ticking(Actor):
        def __init__(self, enough: asyncio.Event) -> None:
            self.enough, self.ticks = enough, 0

        def on_start(self) -> None:
            self.send_interval(0.001, "tick")

        def on_receive(self, message: Any) -> Any:
            if message == "tick":
                self.ticks += 1
                if self.ticks == 3:
                    self.enough.set()

    async def main() -> None:
        enough = asyncio.Event()
        ref = Ticking.start(enough)
        async with asyncio.timeout(WAIT):
            await enough.wait()
        clock = ref.process.scheduler.clock
        assert clock.pending() == 1
        await ref.stop(block=False)
        assert clock.pending() == 0

    asyncio.run(main())


def test_the_loop_clock_is_monotonic_and_wall_time_is_unix_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 12.5)
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.25)
    loop: Any = object()
    assert (LoopClock(loop).now(), wall_time()) == (12.5, 1_700_000_000.25)


def test_a_clock_whose_loop_is_about_to_close_sets_no_timer_any_more() -> None:
    async def main() -> list[str]:
        loop, fired = asyncio.get_running_loop(), list[str]()
        clock = LoopClock(loop)
        clock.call_after(0, lambda: fired.append("before"))
        clock.close()
        clock.call_after(0, lambda: fired.append("after"))
        assert clock._handle is None
        await asyncio.sleep(0)
        return fired

    assert asyncio.run(main()) == []


@pytest.mark.parametrize("seconds", [float("nan"), "1", None, True], ids=repr)
def test_what_is_no_length_of_time_is_refused_and_holds_up_no_timer(runtime: ManualRuntime, seconds: Any) -> None:
    ticking = Actor.start()
    for set_timer in ("send_after", "send_interval"):
        with pytest.raises((TypeError, ValueError), match="seconds must be"):
            getattr(ticking.process.scheduler.clock, set_timer)(seconds, ticking.process, "never")
    probe = Probe()
    ticking.process.scheduler.clock.send_after(1, probe.ref.process, "tick")
    runtime.advance(1)
    probe.assert_receive("tick")


def test_an_interval_of_an_actor_that_has_ended_fires_no_more(runtime: ManualRuntime) -> None:
    ref = Actor.start()
    clock, process = ref.process.scheduler.clock, ref.process
    ref.kill()
    runtime.settle()
    interval = clock.send_interval(1, process, "tick")
    runtime.advance(3)
    assert interval.remaining() is None
    assert clock.pending() == 0
