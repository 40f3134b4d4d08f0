"""The test kit for actors."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from threading import Thread
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import BlockingCallError
from actors.exits import KILLED, SHUTDOWN, Down, Exit
from actors.registry import ActorRegistry
from actors.runtime.scheduler import Scheduler
from actors.testing import WAIT, ManualClock, ManualRuntime, Probe, Simulation, sync

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.scheduler import in_thread


class Ticker(Actor):
    """Counts what it is sent every second."""

    def __init__(self, seconds: float = 1) -> None:
        self.seconds, self.ticks = seconds, 0

    def on_start(self) -> None:
        self.send_interval(self.seconds, "tick")

    def on_receive(self, message: Any) -> Any:
        if message == "ticks":
            return self.ticks
        self.ticks += 1
        return None


class Forward(Actor):
    """Forwards its messages after a delay."""

    def __init__(self, to: ActorRef[Any], seconds: float | None = None) -> None:
        self.to, self.seconds = to, seconds

    def on_receive(self, message: Any) -> None:
        if self.seconds is None:
            self.send(self.to, message)
        else:
            self.send_after(self.seconds, message, self.to)


class Waiting(Actor):
    async def on_receive(self, message: Any) -> Any:
        return await message


# The clock


def test_the_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(start=10)
    assert (clock.now(), clock.now()) == (10, 10)


def test_a_step_goes_to_the_next_timer_and_then_to_the_end() -> None:
    clock, fired = ManualClock(), list[float]()
    for at in (3, 1):
        clock.call_at(at, lambda: fired.append(clock.now()))
    assert clock.step(5) is True
    assert (fired, clock.now()) == ([1], 1)
    assert clock.step(2) is False
    assert (fired, clock.now()) == ([1], 2)
    assert clock.step(5) is True
    assert clock.step(5) is False
    assert (fired, clock.now()) == ([1, 3], 5)


def test_the_clock_never_goes_back() -> None:
    clock, fired = ManualClock(start=10), list[float]()
    clock.step(3)
    assert clock.now() == 10
    clock.call_at(4, lambda: fired.append(clock.now()))
    clock.step(12)
    assert fired == [10]


# The runtime


def test_twelve_seconds_are_two_ticks_of_five() -> None:
    with ManualRuntime() as runtime:
        ref = Ticker.start(5)
        runtime.advance(12)
        assert runtime.ask(ref, "ticks") == 2
        assert runtime.clock.now() == 12


class Sleeper(Actor):
    """Sleeps with asyncio."""

    async def on_receive(self, seconds: float) -> float:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await asyncio.sleep(seconds)
        return self.clock.now()


def test_sleeps_and_time_outs_of_asyncio_are_on_the_clock(runtime: ManualRuntime) -> None:
    ref = Sleeper.start()
    short, long = (ref.ask(seconds, block=False) for seconds in (5, 3600))
    runtime.advance(4)
    assert not short.done
    runtime.advance(11)
    assert (short.result(), long.result(), runtime.clock.pending()) == (5, 15, 0)


def test_a_sleep_that_is_cut_short_leaves_no_timer(runtime: ManualRuntime) -> None:
    ref = Sleeper.start()
    ref.send(5)
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert (ref.is_alive(), runtime.clock.pending()) == (False, 0)


def test_a_call_of_asyncio_that_is_cancelled_when_it_is_due_is_not_made(runtime: ManualRuntime) -> None:
    loop, made = runtime._scheduler.loop, list[str]()
    later = loop.call_later(1, made.append, "later")
    runtime.clock.call_at(1, later.cancel)
    loop.call_later(1, made.append, "too")
    runtime.advance(1)
    assert made == ["too"]


@pytest.mark.parametrize("seconds", [-1, float("nan")], ids=["less than 0", "nan"])
def test_time_does_not_go_back(runtime: ManualRuntime, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"seconds must be a number >= 0, got {seconds}"):
        runtime.advance(seconds)
    assert runtime.clock.now() == 0


def test_time_stops_at_each_timer_until_all_it_leads_to_is_done(runtime: ManualRuntime) -> None:
    probe = Probe()
    first: ActorRef[Any] = probe.ref
    for _ in range(5):
        first = Forward.start(first, 1)
    first.tell("through five")
    runtime.advance(4.999)
    probe.refute_received("through five")
    runtime.advance(0.001)
    assert probe.messages == ["through five"]
    first.process.scheduler.clock.send_after(1, first.process, "again")
    runtime.advance(100)
    assert (probe.messages, runtime.clock.now()) == (["through five", "again"], 105)


def test_nothing_runs_before_the_test_lets_it(runtime: ManualRuntime) -> None:
    probe = Probe()
    probe.ref.tell("x")
    assert probe.messages == []
    runtime.settle()
    assert probe.messages == ["x"]


def test_settle_follows_messages_through_many_actors(runtime: ManualRuntime) -> None:
    probe = Probe()
    first: ActorRef[Any] = probe.ref
    for _ in range(200):
        first = Forward.start(first)
    first.tell("x")
    runtime.settle()
    assert probe.messages == ["x"]


def test_settle_follows_coroutines_and_what_is_called_from_threads(runtime: ManualRuntime) -> None:
    log: list[str] = []

    async def work() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon_threadsafe(log.append, "done")

    Waiting.start().tell(work())
    runtime.settle()
    assert log == ["done"]


def test_actors_that_never_rest_are_named(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.testing.manual_runtime.ENDLESS", 10)

    class Restless(Actor):
        def on_receive(self, message: Any) -> None:
            self.send(self, message)

    ref = Restless.start()
    ref.tell("x")
    with pytest.raises(RuntimeError, match=f"the actors never become idle; busy: .*Restless {ref.pid}"):
        runtime.settle()
    ref.kill()
    runtime.settle()


def test_an_ask_lets_the_actors_run(runtime: ManualRuntime) -> None:
    ref = Ticker.start()
    assert ref.ask("ticks") == runtime.ask(ref, "ticks") == 0


def test_an_ask_that_only_time_can_answer_says_so(runtime: ManualRuntime) -> None:
    ref = Waiting.start()
    gate = runtime._scheduler.loop.create_future()
    with pytest.raises(pykka.Timeout, match="move the clock"):
        runtime.ask(ref, gate)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_blocking_in_a_handler_is_refused_as_on_a_real_loop(runtime: ManualRuntime, kind: str) -> None:
    other = Ticker.start()

    class Blocking(Actor):
        def on_receive(self, message: Any) -> Any:
            return self.later() if kind == "async def" else other.ask("ticks")

        async def later(self) -> Any:
            return other.ask("ticks")

    with pytest.raises(BlockingCallError):
        Blocking.start().ask("x")


def test_run_awaits_in_a_test_that_is_not_async(runtime: ManualRuntime) -> None:
    ref = Ticker.start()
    assert runtime.run(ref.call("ticks")) == 0
    with pytest.raises(ValueError, match="boom"):
        runtime.run(_raise())


async def _raise() -> None:
    await asyncio.sleep(0)
    raise ValueError("boom")


def test_run_does_not_wait_for_time(runtime: ManualRuntime) -> None:
    cancelled: list[bool] = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.append(True)

    with pytest.raises(pykka.Timeout, match="move the clock"):
        runtime.run(endless())
    assert cancelled == [True]


# The outside world: what a runtime waits for in real time, for at most the seconds given


class Elsewhere:
    """A thread that answers once the loop waits for it."""

    def __init__(self, runtime: ManualRuntime) -> None:
        self.loop = runtime._scheduler.loop
        self.said: asyncio.Future[str] = self.loop.create_future()

    async def asked(self) -> str:
        Thread(target=self.loop.call_soon_threadsafe, args=(self.said.set_result, "hello")).start()
        return await self.said


def test_until_waits_while_a_handler_waits_for_the_world(runtime: ManualRuntime) -> None:
    heard: list[str] = []

    async def hear() -> None:
        heard.append(await Elsewhere(runtime).asked())

    Waiting.start().tell(hear())
    assert runtime.until(lambda: heard or None, 3600) == ["hello"]


def test_until_ends_with_the_handlers_whether_or_not_there_is_anything(runtime: ManualRuntime) -> None:
    Waiting.start().tell(Elsewhere(runtime).asked())
    assert runtime.until(lambda: None, 3600) is None


def test_until_does_not_wait_for_what_only_an_actor_can_say(runtime: ManualRuntime) -> None:
    class Keeping(Actor):
        def on_receive(self, message: Any) -> None:
            self.reply_later()

    keeping = Keeping.start()
    Waiting.start().tell(keeping.call("x", timeout=None))
    assert runtime.until(lambda: None, 3600) is None
    assert len(runtime.actors) == 2


def test_until_does_not_wait_for_who_sleeps_on_the_clock(runtime: ManualRuntime) -> None:
    Waiting.start().tell(asyncio.sleep(10))
    assert runtime.until(lambda: None, 3600) is None
    assert runtime.actors != []
    runtime.advance(10)


def test_until_and_run_wait_no_longer_than_they_are_told(runtime: ManualRuntime) -> None:
    Waiting.start().tell(Elsewhere(runtime).said)
    assert runtime.until(lambda: None, 0.0) is None
    with pytest.raises(pykka.Timeout):
        runtime.run(Elsewhere(runtime).said, 0.01)


def test_run_may_wait_for_the_world(runtime: ManualRuntime) -> None:
    assert runtime.run(Elsewhere(runtime).asked(), 3600) == "hello"


def test_the_actors_of_a_runtime_are_listed(runtime: ManualRuntime) -> None:
    first, second = Ticker.start(), Ticker.start()
    assert runtime.actors == [first, second]
    first.stop()
    assert runtime.actors == [second]


def test_the_end_of_the_block_kills_all_and_gives_the_thread_back() -> None:
    with ManualRuntime() as runtime:
        ref = Ticker.start()
        waiting = Waiting.start()
        waiting.tell(runtime._scheduler.loop.create_future())
        runtime.settle()
        loop = runtime._scheduler.loop
    assert (ref.exit_reason, waiting.exit_reason) == (KILLED, KILLED)
    assert loop.is_closed()
    assert not set(runtime.actors) | ({ref, waiting} & set(ActorRegistry.get_all()))


def test_one_runtime_after_another(background: in_thread) -> None:
    for _ in range(2):
        with ManualRuntime() as runtime:
            assert Scheduler.here() is runtime._scheduler
    assert Scheduler.here() is background.scheduler


# The probe


def test_a_probe_keeps_what_it_gets_in_order(runtime: ManualRuntime) -> None:
    probe = Probe()
    for number in range(5):
        probe.ref.tell(number)
    sync(probe.ref)
    assert probe.messages == list(range(5))


@pytest.mark.parametrize(
    "expected", ["two", str, lambda message: message == "two"], ids=["a value", "a class", "a function"]
)
def test_assert_receive_takes_out_the_first_that_fits(runtime: ManualRuntime, expected: Any) -> None:
    probe = Probe()
    for message in (1, "two", 3):
        probe.ref.tell(message)
    assert probe.assert_receive(expected) == "two"
    assert probe.messages == [1, 3]


def test_assert_receive_shows_what_came_instead(runtime: ManualRuntime) -> None:
    probe = Probe()
    probe.ref.tell("something else")
    with pytest.raises(AssertionError, match=r"expected 'x', got \['something else'\]"):
        probe.assert_receive("x")


def test_refute_received_waits_for_what_is_on_its_way(runtime: ManualRuntime) -> None:
    probe = Probe()
    probe.refute_received("x")
    probe.ref.tell("x")
    with pytest.raises(AssertionError, match=r"expected no 'x', got \['x'\]"):
        probe.refute_received("x")
    probe.refute_received("y")


def test_a_probe_monitors_and_links_and_lives(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Ticker.start()
    monitor = probe.monitor(ref)
    probe.link(ref)
    ref.exit(SHUTDOWN)
    exited, down = probe.assert_receive(Exit), probe.assert_receive(Down)
    assert (exited.actor, exited.reason) == (ref, SHUTDOWN)
    assert (down.ref, down.actor, down.reason) == (monitor, ref, SHUTDOWN)
    assert probe.ref.is_alive()


def test_a_probe_waits_for_actors_in_another_thread(background: in_thread, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe()
    sender = threading.Thread(target=probe.ref.tell, args=("from afar",))

    def sync_and_send(*refs: ActorRef[Any]) -> None:
        sync(*refs)
        sender.start()

    monkeypatch.setattr("actors.testing.probe.sync", sync_and_send)
    assert probe.assert_receive("from afar") == "from afar"
    sender.join(WAIT)


def test_a_probe_in_another_thread_gives_up_after_a_while(
    background: in_thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Probe()
    sync(probe.ref)
    monkeypatch.setattr("actors.testing.probe.sync", lambda *_: None)
    monkeypatch.setattr("actors.testing.probe.WAIT", 0)
    with pytest.raises(AssertionError, match="expected 'x'"):
        probe.assert_receive("x")


# The barrier


def test_sync_returns_when_the_mailbox_has_been_handled(background: in_thread) -> None:
    log: list[int] = []

    class Slow(Actor):
        async def on_receive(self, message: int) -> None:
            await asyncio.sleep(0)
            log.append(message)

    refs = [Slow.start(), Slow.start()]
    for number in range(100):
        for ref in refs:
            ref.tell(number)
    sync(*refs)
    assert len(log) == 200


def test_sync_with_the_dead_says_so(runtime: ManualRuntime) -> None:
    ref = Ticker.start()
    ref.stop()
    with pytest.raises(pykka.ActorDeadError):
        sync(ref)


@pytest.mark.parametrize("make", [ManualRuntime, lambda: Simulation(1)], ids=["ManualRuntime", "Simulation"])
def test_a_runtime_is_not_entered_twice(make: Callable[[], ManualRuntime]) -> None:
    with make() as runtime:
        ref = Actor.start()
        with pytest.raises(RuntimeError, match="is running already; make another one"), runtime:
            pytest.fail("entered twice")
        assert ref.is_alive()
        runtime.settle()
    with runtime:
        assert Actor.start().is_alive()
