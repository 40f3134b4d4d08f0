"""Time and timers; most of it on a clock that stands still."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from actors import clock as clock_module
from actors.actor import Actor
from actors.clock import Clock, Interval, LoopClock, MissedTicks, Timer, wall_time
from actors.runtime.receipt import Receipt
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


async def later() -> None:
    """Return what is never awaited."""


@pytest.mark.parametrize("callback", [later, partial(later), lambda: (yield)], ids=["async", "partial", "yield"])
def test_a_callback_that_runs_nothing_when_it_is_called_is_refused(
    clock: ManualClock, callback: Callable[[], object]
) -> None:
    with pytest.raises(TypeError, match="the callback of a timer"):
        clock.call_after(1, callback)
    assert clock.pending() == 0


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


class Ticker:
    """Stands for an actor with an interval: it notes when it gets its message, which it handles when it is told to."""

    alive = True
    timers: set[Timer] | None = None

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.ticks = clock, list[float]()
        self.is_slow, self._receipts = False, list[Receipt]()

    def keep_timer(self, timer: Timer) -> None:
        pass

    def put(self, item: object) -> None:
        self.ticks.append(self.clock.now())

    def put_counted(self, message: object, receipt: Receipt) -> None:
        self.put(message)
        self._receipts.append(receipt)
        if not self.is_slow:
            self.handle()

    def handle(self) -> None:
        while self._receipts:
            self._receipts.pop().set()


@pytest.fixture
def ticker(clock: ManualClock) -> Ticker:
    return Ticker(clock)


EVERY_KIND: list[MissedTicks] = ["skip", "delay", "burst"]
every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


@every_kind
def test_an_interval_fires_again_and_again(clock: ManualClock, ticker: Ticker, kind: MissedTicks) -> None:
    interval = clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    move(clock, 21)
    assert ticker.ticks == [5, 10, 15, 20]
    assert interval.remaining() == 4


@pytest.mark.parametrize("kind", ["skip", "burst"])
def test_an_interval_does_not_drift(clock: ManualClock, ticker: Ticker, kind: MissedTicks) -> None:
    interval = clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    jump(clock, 6.5)
    assert interval.remaining() == 3.5
    move(clock, 3.5)
    assert ticker.ticks == [6.5, 10]


@pytest.mark.parametrize(
    ("kind", "ticks"), [("skip", [17, 20]), ("delay", [17, 22]), ("burst", [17, 17, 17, 20])], ids=EVERY_KIND
)
def test_the_ticks_of_a_time_in_which_the_process_was_stopped(
    clock: ManualClock, ticker: Ticker, kind: MissedTicks, ticks: list[float]
) -> None:
    clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    jump(clock, 17)
    move(clock, 5)
    assert ticker.ticks == ticks


@pytest.mark.parametrize("seconds", [0.01, 0.1, 1 / 3])
@pytest.mark.parametrize("jumped", [0.7, 1.0, 3.0, 1e6 + 0.1])
def test_after_a_jump_the_next_tick_is_in_the_future_and_not_more_than_one_interval_away(
    clock: ManualClock, ticker: Ticker, seconds: float, jumped: float
) -> None:
    interval = clock.send_interval(seconds, ticker, "tick")
    jump(clock, jumped)
    remaining = interval.remaining()
    assert remaining is not None
    assert 0 < remaining <= seconds * 1.001
    assert len(ticker.ticks) == 1


@pytest.mark.parametrize(
    ("kind", "ticks"),
    [("skip", [5, 15, 20]), ("delay", [5, 17, 22]), ("burst", [5, 10, 15, 20])],
    ids=EVERY_KIND,
)
def test_the_ticks_of_a_handler_that_is_slower_than_its_interval(
    clock: ManualClock, ticker: Ticker, kind: MissedTicks, ticks: list[float]
) -> None:
    ticker.is_slow = True
    clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    move(clock, 12)
    ticker.is_slow = False
    ticker.handle()
    move(clock, 11)
    assert ticker.ticks == ticks


@every_kind
def test_an_interval_that_is_cancelled_fires_no_more(clock: ManualClock, ticker: Ticker, kind: MissedTicks) -> None:
    interval = clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    move(clock, 7)
    assert clock.cancel(interval) == 3
    assert (clock.cancel(interval), clock.remaining(interval), clock.pending()) == (None, None, 0)
    move(clock, 100)
    assert ticker.ticks == [5]


@every_kind
def test_an_interval_may_be_cancelled_by_its_own_message(clock: ManualClock, ticker: Ticker, kind: MissedTicks) -> None:
    ticker.is_slow = True
    interval = clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    move(clock, 5)
    assert interval.cancel() == (None if kind == "delay" else 5)
    ticker.handle()
    move(clock, 100)
    assert ticker.ticks == [5]
    assert clock.pending() == 0


@every_kind
def test_an_actor_that_ends_with_its_tick_gets_no_more(clock: ManualClock, ticker: Ticker, kind: MissedTicks) -> None:
    ticker.is_slow = True
    clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    move(clock, 5)
    ticker.alive = False
    ticker.handle()
    move(clock, 100)
    assert ticker.ticks == [5]
    assert clock.pending() == 0


@pytest.mark.parametrize("kind", ["never", "", None, 1, []], ids=repr)
def test_another_word_for_missed_ticks_is_refused(clock: ManualClock, ticker: Ticker, kind: Any) -> None:
    expected = f'missed_ticks must be "skip", "delay" or "burst", got {kind!r}'
    with pytest.raises(ValueError, match=re.escape(expected)):
        clock.send_interval(5, ticker, "tick", missed_ticks=kind)
    assert clock.pending() == 0


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
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.25)
    loop: Any = object()
    before, now, after = time.monotonic(), LoopClock(loop).now(), time.monotonic()
    assert before <= now <= after
    assert wall_time() == 1_700_000_000.25


# Dates


class MachineClock(ManualClock):
    """The clock of a machine that may sleep, and whose date may be set."""

    longest_look = 1.0

    def set_forward(self, seconds: float) -> None:
        self._offset += seconds


def test_the_unix_time_of_a_clock_that_stands_still_moves_with_it() -> None:
    clock = ManualClock(5.0)
    assert 0 <= clock.unix_time() - wall_time() <= 1
    before = clock.unix_time()
    move(clock, 60)
    assert clock.unix_time() == clock.wall.now() == clock.wall.unix_time() == before + 60


def test_a_loop_clock_has_the_date_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.25)
    loop: Any = object()
    assert LoopClock(loop).unix_time() == LoopClock(loop).wall.now() == 1_700_000_000.25


def test_timers_at_dates_fire_in_order_and_need_one_timer(clock: ManualClock) -> None:
    fired: list[tuple[int, float]] = []
    wall, began = clock.wall, clock.unix_time()
    for number, seconds in enumerate((30, 10, 20, 10)):
        wall.call_at(began + seconds, lambda number=number: fired.append((number, clock.now())))  # type: ignore[misc]  # as above
    assert (clock.pending(), wall.pending()) == (1, 4)
    move(clock, 25)
    assert fired == [(1, 10.0), (3, 10.0), (2, 20.0)]
    move(clock, 5)
    assert (fired[3:], clock.pending(), wall.pending()) == ([(0, 30.0)], 0, 0)


def test_a_date_that_is_over_fires_at_once(clock: ManualClock) -> None:
    fired: list[float] = []
    clock.wall.call_at(clock.unix_time() - 60, lambda: fired.append(clock.now()))
    move(clock, 0)
    assert fired == [0.0]


def test_without_timers_at_dates_nothing_is_left(clock: ManualClock) -> None:
    wall = clock.wall
    first, second = (wall.call_at(clock.unix_time() + seconds, bool) for seconds in (10, 20))
    first.cancel()
    assert (clock.pending(), wall.pending()) == (1, 1)
    second.cancel()
    assert (clock.pending(), wall.pending()) == (0, 0)


@pytest.mark.parametrize(("forward", "fires_at"), [(60.0, 3.0), (-60.0, 70.0)])
def test_a_date_that_is_set_or_slept_through_is_noticed_within_a_second(forward: float, fires_at: float) -> None:
    clock, fired = MachineClock(), list[float]()
    clock.wall.call_at(clock.unix_time() + 10, lambda: fired.append(clock.now()))
    move(clock, 2.5)
    clock.set_forward(forward)
    move(clock, 100)
    assert fired == [fires_at]


def test_a_callback_that_fails_leaves_the_other_dates(clock: ManualClock) -> None:
    fired: list[float] = []
    clock.wall.call_at(clock.unix_time() + 1, lambda: 1 / 0)
    clock.wall.call_at(clock.unix_time() + 1, lambda: fired.append(clock.now()))
    with pytest.raises(ZeroDivisionError):
        move(clock, 5)
    move(clock, 5)
    assert fired == [1.0]


class OnRealTime(asyncio.SelectorEventLoop):
    """As asyncio's loop under `freezegun.freeze_time(real_asyncio=True)`."""

    _monotonic = staticmethod(time.monotonic)

    def time(self) -> float:
        return self._monotonic()


@pytest.mark.parametrize("function", ["time", "time_ns", "monotonic", "perf_counter"])
@pytest.mark.parametrize("step", [0, -1e6, 1e6], ids=["frozen", "set back", "set forward"])
def test_a_clock_of_the_machine_that_is_frozen_or_stepped_changes_no_timer(
    monkeypatch: pytest.MonkeyPatch, function: str, step: float
) -> None:
    """The tools that freeze time for a test replace these functions in the module `time`."""

    class Ticking(Actor):
        def __init__(self, enough: asyncio.Event) -> None:
            self.enough, self.ticks = enough, list[float]()

        def on_start(self) -> None:
            self.send_interval(0.005, "tick")

        def on_receive(self, message: Any) -> Any:
            self.ticks.append(self.clock.now())
            if len(self.ticks) == 3:
                self.enough.set()

    async def main() -> None:
        enough = asyncio.Event()
        ref = Ticking.start(enough)
        now = getattr(time, function)()
        monkeypatch.setattr(time, function, lambda: now + step)
        async with asyncio.timeout(WAIT):
            await enough.wait()
        actor: Any = ref.process.actor
        ticks = actor.ticks
        assert len(ticks) == 3
        assert ticks == sorted(ticks)
        monkeypatch.undo()

    with asyncio.Runner(loop_factory=OnRealTime) as runner:
        runner.run(main())


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_after_a_stall_the_sockets_are_read_before_overdue_timers_fire(
    make_loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that waits for a sign of life must not fire while the sign is in the socket."""

    async def main() -> list[str]:
        loop, log = asyncio.get_running_loop(), list[str]()
        clock, fired = LoopClock(loop), asyncio.Event()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, lambda: log.append("read") if ours.recv(10) else None)
            clock.call_after(0.001, lambda: log.append("nothing was received"))
            clock.call_after(0.002, fired.set)
            stalled = clock.now() + 3
            theirs.send(b"alive")
            monkeypatch.setattr(LoopClock, "_monotonic", staticmethod(lambda: stalled))
            clock._tick()  # as the loop may do before it reads, if both are due
            assert log == []
            async with asyncio.timeout(WAIT):
                await fired.wait()
            loop.remove_reader(ours)
        return log

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(main()) == ["read", "nothing was received"]


def test_after_a_stall_coroutines_hand_on_what_was_received_before_overdue_timers_fire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> list[str]:
        clock, log, fired = LoopClock(asyncio.get_running_loop()), list[str](), asyncio.Event()
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)

        async def receive() -> None:
            queue.put_nowait(await reader.readexactly(5))

        async def handle() -> None:
            await queue.get()
            log.append("handled")

        queue: asyncio.Queue[bytes] = asyncio.Queue()
        tasks = [asyncio.create_task(receive()), asyncio.create_task(handle())]
        await asyncio.sleep(0)
        clock.call_after(3600, lambda: log.append("nothing was received"))
        clock.call_after(3600.1, fired.set)
        stalled = clock.now() + 3603
        theirs.send(b"alive")
        monkeypatch.setattr(LoopClock, "_monotonic", staticmethod(lambda: stalled))
        clock._tick()
        async with asyncio.timeout(WAIT):
            await asyncio.gather(fired.wait(), *tasks)
        writer.close()
        theirs.close()
        return log

    assert asyncio.run(main()) == ["handled", "nothing was received"]


def test_a_clock_that_is_closed_after_a_stall_fires_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[str]:
        clock, fired = LoopClock(asyncio.get_running_loop()), list[str]()
        clock.call_after(0.001, lambda: fired.append("late"))
        stalled = clock.now() + 3
        monkeypatch.setattr(LoopClock, "_monotonic", staticmethod(lambda: stalled))
        clock._tick()
        clock.close()
        for _ in range(20):
            await asyncio.sleep(0)
        return fired

    assert asyncio.run(main()) == []


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
