"""Turns, fairness, threads: who runs when and where."""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.clock import LoopClock
from actors.exceptions import ActorDeadError, BlockingCallError
from actors.exits import KILLED, NO_PROCESS, Crash, Down, ExitReason
from actors.future import Future
from actors.registry import ActorRegistry
from actors.runtime import current
from actors.runtime import scheduler as scheduler_module
from actors.runtime.crash_log import MOST
from actors.runtime.scheduler import (
    AT_ONCE,
    BUDGET,
    CROWD,
    PASS,
    SHARE,
    TURN,
    WORK,
    Scheduler,
    in_thread,
    new_event_loop,
)
from actors.testing import WAIT, ManualClock, ManualRuntime, Probe, sync
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from actors.ref import ActorRef


class Recorder(Actor):
    """Writes down its name with each message."""

    def __init__(self, log: list[Any], name: str = "") -> None:
        self.log, self.name = log, name

    def on_receive(self, message: Any) -> None:
        self.log.append((self.name, message))


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


class Flood(Actor):
    """Keeps itself busy for ever."""

    def __init__(self) -> None:
        self.handled = 0

    def on_start(self) -> None:
        for _ in range(10 * TURN):
            self.send(self, "more")

    def on_receive(self, message: Any) -> None:
        self.handled += 1
        self.send(self, "more")


# Turns


def test_ready_actors_take_turns_of_a_bounded_number_of_messages(runtime: ManualRuntime) -> None:
    log: list[tuple[str, Any]] = []
    first, second = Recorder.start(log, "first"), Recorder.start(log, "second")
    for number in range(2 * TURN + 1):
        first.tell(number)
    for number in range(TURN + 1):
        second.tell(number)
    runtime.settle()
    assert [name for name, _ in log] == [
        *["first"] * TURN,
        *["second"] * TURN,
        *["first"] * TURN,
        "second",
        "first",
    ]
    assert [number for name, number in log if name == "first"] == list(range(2 * TURN + 1))


def test_actors_get_their_turn_in_the_order_they_became_ready(runtime: ManualRuntime) -> None:
    log: list[tuple[str, Any]] = []
    refs = {name: Recorder.start(log, name) for name in "abc"}
    for name in "cabcab":
        refs[name].tell(1)
    runtime.settle()
    assert [name for name, _ in log] == ["c", "c", "a", "a", "b", "b"]


def test_what_a_handler_sends_to_itself_waits_behind_what_is_there(runtime: ManualRuntime) -> None:
    log: list[Any] = []

    class Chain(Actor):
        def on_receive(self, message: int) -> None:
            log.append(message)
            if message < 3:
                self.send(self, message + 10)

    ref = Chain.start()
    for number in (1, 2, 3):
        ref.tell(number)
    runtime.settle()
    assert log == [1, 2, 3, 11, 12]


def test_a_crowd_of_actors_lets_the_loop_do_its_other_work(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    refs = [Recorder.start(log) for _ in range(3 * PASS)]
    seen: list[int] = []
    loop = runtime._scheduler.loop

    def look() -> None:
        seen.append(len(log))
        if len(seen) < 3:
            loop.call_soon(look)

    for ref in refs:
        ref.tell("x")
    loop.call_soon(look)
    runtime.settle()
    assert seen == [PASS, 2 * PASS, 3 * PASS]


class Costly(Actor):
    """Takes `seconds` of a manual clock for each message; a handler may also raise, or wait."""

    def __init__(self, runtime: ManualRuntime, seconds: float, log: list[Any]) -> None:
        self.runtime, self.seconds, self.log = runtime, seconds, log

    def on_receive(self, message: Any) -> object:
        clock = self.runtime.clock
        clock.step(clock.after(self.seconds))
        self.log.append(message)
        if message == "raise":
            raise RuntimeError("and it takes long")
        return asyncio.sleep(0) if message == "wait" else None


def handled_in_each_iteration(runtime: ManualRuntime, log: list[Any]) -> list[int]:
    """Run until idle; return how many messages were handled in each iteration of the loop."""
    scheduler = runtime._scheduler
    seen = [0]

    def look() -> None:
        seen.append(len(log))
        if scheduler._ready:
            scheduler.loop.call_soon(look)

    scheduler.loop.call_soon(look)
    runtime.settle()
    return [after - before for before, after in pairwise(seen)]


@pytest.mark.parametrize("message", ["plain", "wait"])
def test_messages_that_take_long_let_the_loop_do_its_other_work(runtime: ManualRuntime, message: str) -> None:
    log: list[Any] = []
    refs = [Costly.start(runtime, BUDGET / 2, log) for _ in range(5 * WORK)]
    for ref in refs:
        ref.tell(message)
    first, *others = handled_in_each_iteration(runtime, log)
    assert first <= 2 * (WORK + 1)
    assert max(others) <= 4
    assert len(log) == len(refs)


def test_a_mailbox_of_messages_that_take_long_lets_the_loop_do_its_other_work(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Costly.start(runtime, BUDGET / 2, log)
    for number in range(TURN):
        ref.tell(number)
    first, *others = handled_in_each_iteration(runtime, log)
    assert first <= 2 * (WORK + 1)
    assert max(others) <= 4
    assert log == list(range(TURN))


def test_actors_that_take_long_to_crash_let_the_loop_do_its_other_work(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []
    for _ in range(5 * WORK):
        Costly.start(runtime, BUDGET / 2, log).tell("raise")
    first, *others = handled_in_each_iteration(runtime, log)
    assert first <= 2 * (WORK + 1)
    assert max(others) <= 4
    assert len(log) == 5 * WORK
    assert len(caplog.records) == MOST


def test_what_is_left_of_a_mailbox_when_the_time_is_used_up_waits_behind_the_others(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    slow, quick = Costly.start(runtime, BUDGET, log), Costly.start(runtime, 0.0, log)
    for number in range(4 * WORK):
        slow.tell(number)
    quick.tell("other")
    runtime.settle()
    assert log.index("other") < 3 * WORK
    log.remove("other")
    assert log == list(range(4 * WORK))


def test_much_work_at_once_makes_the_scheduler_look_at_the_clock(runtime: ManualRuntime) -> None:
    log: list[Any] = []

    class Shouter(Costly):
        def on_receive(self, message: Any) -> object:
            self._process.scheduler.work -= WORK
            return super().on_receive(message)

    ref = Shouter.start(runtime, BUDGET, log)
    for number in range(6):
        ref.tell(number)
    assert handled_in_each_iteration(runtime, log)[:3] == [2, 2, 2]


def test_an_actor_whose_messages_take_long_leaves_most_of_a_pass_to_others(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    slow, quick = Costly.start(runtime, SHARE / WORK, log), Costly.start(runtime, 0.0, log)
    for number in range(TURN):
        slow.tell(number)
    quick.tell("other")
    runtime._scheduler.run_ready()
    assert log.index("other") <= 2 * (WORK + 1)
    assert len(log) > 3 * WORK, "the rest of the pass is the actor's, too"
    runtime.settle()
    log.remove("other")
    assert log == list(range(TURN))


def test_until_the_next_iteration_nothing_is_run_at_once_after_the_time_is_used_up(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    scheduler = runtime._scheduler
    ref = Costly.start(runtime, BUDGET, log)
    for number in range(4 * WORK):
        ref.tell(number)
    scheduler.run_ready()
    assert scheduler.overdue
    handled = len(log)
    scheduler.run_ready()
    scheduler.run_at_once()
    assert len(log) == handled < 4 * WORK
    runtime.settle()
    assert (len(log), scheduler.overdue) == (4 * WORK, False)


def test_the_time_of_a_pass_is_reset_even_if_no_actor_is_left(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Costly.start(runtime, BUDGET, log)
    scheduler = runtime._scheduler
    for number in range(4 * WORK):
        ref.tell(number)
    scheduler.run_ready()
    assert scheduler.overdue
    scheduler._ready.clear()
    runtime.settle()
    assert not scheduler.overdue


def looking(looks: list[float]) -> float:
    looks.append(0.0)
    return 0.0


def test_most_passes_do_not_look_at_the_clock(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Any] = []
    looks: list[float] = []
    monkeypatch.setattr(runtime.clock, "now", lambda: looking(looks))
    for ref in [Recorder.start(log) for _ in range(3)]:
        ref.tell("x")
    looks.clear()
    runtime._scheduler.run_ready()
    assert (len(log), looks) == (3, [])


def test_quick_messages_after_slow_ones_are_looked_at_less_and_less(
    runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[Any] = []
    scheduler, looks = runtime._scheduler, list[float]()
    monkeypatch.setattr(runtime.clock, "now", lambda: looking(looks))
    ref = Recorder.start(log)
    scheduler._stride = 0
    looks.clear()
    for number in range(40):
        ref.tell(number)
    scheduler.run_ready()
    assert len(log) == 40
    assert 5 < len(looks) < 12


def test_calls_in_a_row_share_the_time_of_one_pass(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    scheduler = runtime._scheduler
    ref = Costly.start(runtime, BUDGET / WORK, log)
    for number in range(AT_ONCE):
        ref.tell(number)
        scheduler.run_at_once()
    assert len(log) < 4 * WORK
    runtime.settle()
    assert log == list(range(AT_ONCE))


def test_calls_of_other_threads_let_the_loop_do_its_other_work(runtime: ManualRuntime) -> None:
    scheduler, clock, log = runtime._scheduler, runtime.clock, list[Any]()

    def call(number: int) -> None:
        clock.step(clock.after(BUDGET))
        log.append(number)

    for number in range(5 * WORK):
        scheduler.post(call, number)
    seen: list[int] = []
    scheduler.loop.call_soon(lambda: seen.append(len(log)))
    scheduler.loop.call_soon(lambda: scheduler.loop.call_soon(lambda: seen.append(len(log))))
    runtime.settle()
    assert seen == [WORK, 2 * WORK]
    assert log == list(range(5 * WORK))


def test_a_flooding_actor_starves_neither_others_nor_the_sockets_nor_timers() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        flood, echo = Flood.start(), Echo.start()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(0)
            theirs.settimeout(0)
            async with asyncio.timeout(WAIT):
                assert await echo.call("answer", timeout=WAIT) == "answer"
                await loop.sock_sendall(ours, b"through the kernel")
                assert await loop.sock_recv(theirs, 100) == b"through the kernel"
                fired = loop.create_future()
                echo.process.scheduler.clock.call_after(0.001, lambda: fired.set_result("fired"))
                assert await fired == "fired"
        assert flood.is_alive()
        assert echo.process.scheduler._ready
        flood.kill()
        await echo.stop(block=False)

    asyncio.run(main())


def test_a_flooding_actor_does_not_keep_other_threads_from_being_heard(background: in_thread) -> None:
    flood, echo = Flood.start(), Echo.start()
    assert [echo.ask(number, timeout=WAIT) for number in range(20)] == list(range(20))
    flood.kill()


def test_a_flooding_actor_can_be_killed_and_stopped(background: in_thread) -> None:
    killed, stopped = Flood.start(), Flood.start()
    down = killed.down()
    killed.kill()
    assert down.get(timeout=WAIT) == KILLED
    assert stopped.stop(timeout=WAIT) is True


def test_run_ready_gives_the_turns_now_but_not_within_a_turn(runtime: ManualRuntime) -> None:
    log: list[Any] = []

    class Impatient(Actor):
        def on_receive(self, message: Any) -> None:
            self.send(other, message)
            runtime._scheduler.run_ready()
            log.append("impatient")

    ref, other = Impatient.start(), Recorder.start(log, "other")
    ref.tell("x")
    runtime._scheduler.run_ready()
    assert log == ["impatient", ("other", "x")]
    runtime.settle()
    assert len(log) == 2


@pytest.mark.parametrize("error", [RuntimeError("a bug of ours"), asyncio.CancelledError()], ids=repr)
def test_a_turn_that_fails_outside_of_the_handler_ends_that_actor_and_no_other(
    runtime: ManualRuntime, error: BaseException
) -> None:
    class Broken(deque[Any]):
        def popleft(self) -> Any:
            raise error

    log: list[Any] = []
    broken, probe = Recorder.start(log, "broken"), Probe()
    probe.monitor(broken)
    broken.process.queue = Broken()
    broken.tell("x")
    Recorder.start(log).tell("x")
    runtime.settle()
    assert log == [("", "x")]
    assert probe.assert_receive(Down).reason == broken.exit_reason == Crash(error)
    assert runtime._scheduler.current is None


# Posting


def test_what_one_thread_posts_keeps_its_order(background: in_thread) -> None:
    log: list[tuple[int, int]] = []

    def post_all(name: int) -> None:
        for number in range(1000):
            background.scheduler.post(log.append, (name, number))

    threads = [threading.Thread(target=post_all, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    sync(Echo.start())
    assert len(log) == 4000
    for name in range(4):
        assert [number for who, number in log if who == name] == list(range(1000))


def test_what_is_posted_runs_in_the_schedulers_thread(background: in_thread) -> None:
    ran: list[threading.Thread] = []
    done = threading.Event()
    background.scheduler.post(lambda: ran.append(threading.current_thread()))
    background.scheduler.post(done.set)
    assert done.wait(WAIT)
    assert ran == [background.thread]


def test_one_post_that_raises_is_the_loops_to_report_and_holds_up_no_other(background: in_thread) -> None:
    reported: list[str] = []
    gate, done = threading.Event(), threading.Event()

    def bad() -> None:
        raise ValueError("boom")

    def on_error(_loop: Any, context: dict[str, Any]) -> None:
        reported.append(str(context["exception"]))

    background.scheduler.post(background.scheduler.loop.set_exception_handler, on_error)
    background.scheduler.post(gate.wait, WAIT)
    background.scheduler.post(bad)
    background.scheduler.post(bad)
    background.scheduler.post(done.set)
    gate.set()
    assert done.wait(WAIT)
    assert reported == ["boom", "boom"]


class InterruptedOnce:
    """Stands for a loop in whose `call_soon_threadsafe` Ctrl-C hits the first who calls it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._error = loop, iter([KeyboardInterrupt])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:
        for error in self._error:
            raise error
        return self._loop.call_soon_threadsafe(*args, **options)


def test_a_post_that_is_interrupted_does_not_keep_the_next_from_being_heard(
    background: in_thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = threading.Event()
    monkeypatch.setattr(background.scheduler, "loop", InterruptedOnce(background.scheduler.loop))
    with pytest.raises(KeyboardInterrupt):
        background.scheduler.post(lambda: None)
    background.scheduler.post(done.set)
    assert done.wait(WAIT)


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds by which threads were slowed; they are not really."""
    seconds: list[float] = []
    monkeypatch.setattr(scheduler_module, "pause", seconds.append)
    return seconds


@pytest.fixture
def gate(background: in_thread) -> Iterator[threading.Event]:
    """Keeps the background loop from everything until it is set; more than four calls of threads are a crowd there."""
    gate, blocked = threading.Event(), threading.Event()
    background.scheduler.crowd = 4
    background.scheduler.post(blocked.set)
    background.scheduler.post(gate.wait, WAIT)
    assert blocked.wait(WAIT)
    yield gate
    gate.set()


def test_a_thread_that_posts_faster_than_the_loop_calls_is_slowed_the_more_the_more_waits(
    background: in_thread, gate: threading.Event, delays: list[float]
) -> None:
    log: list[int] = []
    for number in range(60):
        background.scheduler.post(log.append, number)
    assert len(delays) == 56
    assert delays == sorted(delays)
    assert list(dict.fromkeys(delays)) == [0.001 * 2**doubled for doubled in range(10)] + [1.0]
    gate.set()
    sync(Echo.start())
    assert log == list(range(60))


def test_a_thread_that_fills_a_mailbox_is_slowed(background: in_thread, delays: list[float]) -> None:
    class Waiting(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.Event().wait()

    background.scheduler.crowd = 4
    ref, echo = Waiting.start(), Echo.start()
    for number in range(8):
        ref.tell(number)
        assert echo.ask(number, timeout=WAIT) == number
    assert ref.process.waiting == 7
    assert delays == [0.001] * 2
    ref.kill()


def test_a_thread_with_a_loop_of_its_own_is_not_slowed(
    background: in_thread, gate: threading.Event, delays: list[float]
) -> None:
    async def main() -> None:
        for _ in range(20):
            background.scheduler.post(lambda: None)

    asyncio.run(main())
    assert delays == []


def test_an_actor_with_a_thread_is_not_slowed_for_what_it_sends_itself(
    background: in_thread, delays: list[float]
) -> None:
    class Planning(ThreadedActor):
        def on_receive(self, message: Any) -> Any:
            if message != "plan":
                return None
            for number in range(8):
                self.send(self, number)
                sync(echo)  # so that it is in the mailbox
            return self._process.waiting

    background.scheduler.crowd = 4
    echo = Echo.start()
    planning = Planning.start()
    assert planning.ask("plan", timeout=WAIT) == 8
    assert delays == []
    planning.stop()


def test_a_thread_is_not_slowed_by_a_loop_that_runs_only_in_calls_of_the_test(
    runtime: ManualRuntime, delays: list[float]
) -> None:
    runtime._scheduler.crowd = 4
    ref = Echo.start()

    def tell() -> None:
        for number in range(20):
            ref.tell(number)

    thread = threading.Thread(target=tell)
    thread.start()
    thread.join(WAIT)
    assert delays == []


def test_threads_that_flood_an_actor_starve_neither_others_nor_timers_and_take_no_memory_without_end(
    background: in_thread,
) -> None:
    class Ticking(Actor):
        def __init__(self) -> None:
            self.ticks = 0

        def on_start(self) -> None:
            self.send_interval(0.01, "tick")

        def on_receive(self, message: Any) -> Any:
            if message == "tick":
                self.ticks += 1
            return self.ticks

    def flood() -> None:
        while not is_over.is_set():
            sink.tell("more")

    is_over, most = threading.Event(), 0
    sink, ticking, inbound = Echo.start(), Ticking.start(), background.scheduler._inbound
    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        while ticking.ask("count", timeout=WAIT) < 20:
            most = max(most, len(inbound), sink.process.waiting)
    finally:
        is_over.set()
        for thread in threads:
            thread.join(WAIT)
    assert most < 3 * CROWD


def test_a_post_to_a_closed_loop_raises_each_time() -> None:
    thread = in_thread("short-lived")
    thread.stop()
    for _ in range(3):
        with pytest.raises(pykka.ActorDeadError, match="event loop of this actor is closed"):
            thread.scheduler.post(lambda: None)
    assert not thread.scheduler._inbound


def test_a_post_to_a_loop_that_was_closed_with_mail_in_it_raises() -> None:
    loop = asyncio.new_event_loop()
    scheduler = Scheduler(loop)
    scheduler.post(lambda: None)
    loop.close()
    with pytest.raises(pykka.ActorDeadError):
        scheduler.post(lambda: None)
    scheduler.close()


def test_an_actor_of_a_closed_loop_cannot_be_made_ready() -> None:
    """A loop that was closed without its async generators does not tell us; the first message does."""

    async def main() -> ActorRef[Echo]:
        return Echo.start()

    loop = asyncio.new_event_loop()
    ref = loop.run_until_complete(main())
    loop.close()
    with pytest.raises(pykka.ActorDeadError, match="event loop of this actor is closed"):
        ref.tell("x")
    with pytest.raises(pykka.ActorDeadError, match="is dead"):
        ref.tell("x")
    assert ref.exit_reason == KILLED


# Where actors live


def test_here_is_the_scheduler_of_the_running_loop_and_one_for_each_loop() -> None:
    async def main() -> Scheduler:
        scheduler = Scheduler.here()
        assert scheduler is Scheduler.here()
        assert scheduler.loop is asyncio.get_running_loop()
        assert isinstance(scheduler.clock, LoopClock)
        assert scheduler.is_serving()
        return scheduler

    first, second = asyncio.run(main()), asyncio.run(main())
    assert first is not second
    assert not first.is_serving()


def test_here_is_the_manual_runtime_inside_its_block(runtime: ManualRuntime) -> None:
    assert Scheduler.here() is runtime._scheduler
    assert Scheduler.here().clock is runtime.clock


def test_without_a_loop_actors_live_in_the_background(background: in_thread) -> None:
    assert Scheduler.here() is Scheduler.background() is background.scheduler
    ref = Echo.start()
    assert ref.process.scheduler is background.scheduler
    assert background.thread.daemon
    assert background.scheduler.processes == {ref.process.number: ref.process}


def test_the_background_is_made_when_it_is_needed_and_again_when_its_loop_was_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[in_thread] = []

    def make(name: str) -> in_thread:
        made.append(in_thread(name))
        return made[-1]

    monkeypatch.setattr(scheduler_module, "in_thread", make)
    monkeypatch.setitem(current.schedulers, current.BACKGROUND, None)  # as if there were none
    first = Scheduler.background()
    assert Scheduler.background() is first
    assert [each.thread.name for each in made] == ["ashtree"]
    made[0].stop()
    second = Scheduler.background()
    assert second is not first
    made[1].stop()


def test_a_signal_may_start_an_actor_while_the_background_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[in_thread] = []

    def make(name: str) -> in_thread:
        made.append(in_thread(name))
        if len(made) == 1:
            Scheduler.background()  # as the handler of a signal does that arrives now
        return made[-1]

    monkeypatch.setattr(scheduler_module, "in_thread", make)
    monkeypatch.setitem(current.schedulers, current.BACKGROUND, None)
    asking = threading.Thread(target=Scheduler.background, daemon=True)
    asking.start()
    asking.join(WAIT)
    assert not asking.is_alive()
    assert len(made) == 2
    for thread in made:
        thread.stop()


def test_actors_started_by_actors_live_with_them(background: in_thread) -> None:
    class Founder(Actor):
        def on_receive(self, message: Any) -> Any:
            return Echo.start()

    child = Founder.start().ask("x", timeout=WAIT)
    assert child.process.scheduler is background.scheduler


def test_each_scheduler_has_its_own_names(runtime: ManualRuntime, background: in_thread) -> None:
    assert runtime._scheduler.names is not background.scheduler.names


@pytest.mark.parametrize("uvloop", ["there", "missing"])
def test_the_loop_is_uvloops_when_it_is_installed(monkeypatch: pytest.MonkeyPatch, uvloop: str) -> None:
    made = asyncio.new_event_loop()

    class Uvloop:
        @staticmethod
        def new_event_loop() -> asyncio.AbstractEventLoop:
            return made

    monkeypatch.setitem(sys.modules, "uvloop", Uvloop if uvloop == "there" else None)
    loop = new_event_loop()
    assert (loop is made) is (uvloop == "there")
    loop.close()
    made.close()


# Blocking


def test_the_loops_own_thread_is_never_blocked() -> None:
    async def main() -> None:
        scheduler = Scheduler.here()
        assert scheduler.may_block() is False
        with pytest.raises(BlockingCallError):
            scheduler.block_on(Future(scheduler), None)
        assert await asyncio.to_thread(scheduler.may_block) is True

    asyncio.run(main())


# The end


def test_close_kills_whoever_still_lives_and_forgets_the_thread() -> None:
    log: list[Any] = []

    class Tidy(Recorder):
        def terminate(self, reason: ExitReason) -> None:
            log.append(reason)

    with ManualRuntime() as runtime:
        refs = [Tidy.start(log) for _ in range(3)]
        refs[0].tell("never handled")
        pending = refs[0].ask("never answered", block=False)
        assert current.schedulers[threading.get_ident()] is runtime._scheduler
    assert [ref.exit_reason for ref in refs] == [KILLED] * 3
    assert isinstance(pending.exception, pykka.ActorDeadError)
    assert log == []
    assert threading.get_ident() not in current.schedulers
    assert not set(refs) & set(ActorRegistry.get_all())


def test_close_ends_handlers_that_wait() -> None:
    cut_short: list[str] = []

    class Waiting(Actor):
        async def on_receive(self, message: Any) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cut_short.append(message)

    with ManualRuntime() as runtime:
        ref = Waiting.start()
        asked = ref.ask("x", block=False)
        runtime.settle()
    assert (cut_short, ref.exit_reason) == (["x"], KILLED)
    assert isinstance(asked.exception, pykka.ActorDeadError)


@pytest.mark.parametrize(
    "call", [lambda ref: ref.ask("x", block=False), lambda ref: ref.stop(block=False)], ids=["ask", "stop"]
)
def test_stopping_a_thread_answers_who_waits_for_its_actors(call: Callable[[ActorRef[Any]], Future[Any]]) -> None:
    class Silent(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.get_running_loop().create_future()

    thread = in_thread("short-lived")
    refs: list[ActorRef[Any]] = []
    started = threading.Event()
    thread.scheduler.post(lambda: refs.append(Silent.start()))
    thread.scheduler.post(started.set)
    assert started.wait(WAIT)
    refs[0].tell("keep busy")
    answer = call(refs[0])
    thread.stop()
    assert answer.done
    assert refs[0].exit_reason == KILLED
    assert not thread.thread.is_alive()


def test_a_clock_of_ones_own_is_used() -> None:
    loop, clock = asyncio.new_event_loop(), ManualClock(start=12)
    scheduler = Scheduler(loop, clock)
    assert scheduler.clock is clock
    scheduler.close()
    loop.close()


# Questions that are answered at once


def test_an_awaited_answer_takes_no_round_of_the_loop() -> None:
    async def main() -> list[str]:
        ref = Echo.start()
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "the loop went round")
        assert await ref.call("x") == "x"
        order.append("answered")
        ref.kill()
        await ref.down()
        return order

    assert asyncio.run(main()) == ["answered", "the loop went round"]


def test_who_only_asks_lets_the_loop_go_round_now_and_then() -> None:
    async def main() -> tuple[int, list[int]]:
        ref, rounds, asked = Echo.start(), [], 0

        def next_round() -> None:
            rounds.append(asked)
            asyncio.get_running_loop().call_soon(next_round)

        next_round()
        for _ in range(10 * AT_ONCE):
            await ref.call("x")
            asked += 1
        ref.kill()
        await ref.down()
        return asked, rounds

    asked, rounds = asyncio.run(main())
    gaps = [after - before for before, after in zip(rounds, [*rounds[1:], asked], strict=True)]
    assert max(gaps) <= AT_ONCE + 1


def test_an_asker_gets_its_answer_after_what_others_sent_before() -> None:
    async def main() -> list[Any]:
        log: list[Any] = []
        recorder, echo = Recorder.start(log), Echo.start()
        recorder.tell("before")
        log.append(await echo.call("answer"))
        for ref in (recorder, echo):
            ref.kill()
        await echo.down()
        return log

    assert asyncio.run(main()) == [("", "before"), "answer"]


def test_actors_do_not_run_in_the_context_of_those_who_send_to_them() -> None:
    secret: contextvars.ContextVar[str] = contextvars.ContextVar("secret", default="none")

    class Spy(Actor):
        def on_receive(self, message: Any) -> str:
            seen.append(secret.get())
            return secret.get()

    seen: list[str] = []

    async def main() -> None:
        ref = Spy.start()
        secret.set("of the caller")
        assert await ref.call("x") == "none"
        ref.tell("x")
        await ref.stop(block=False)

    asyncio.run(main())
    assert seen == ["none", "none"]


def test_actors_that_are_left_are_killed_when_asyncio_run_ends() -> None:
    kept: list[ActorRef[Any]] = []
    closed: list[str] = []

    async def first() -> None:
        ref = Echo.start()
        ref.process.own(lambda: closed.append("closed"))
        kept.append(ref)

    async def second() -> None:
        with pytest.raises(ActorDeadError):
            await kept[0].call("hello")
        with pytest.raises(ActorDeadError):
            kept[0].tell("hello")
        assert await kept[0].down() == NO_PROCESS

    asyncio.run(first())
    assert (kept[0].exit_reason, closed) == (KILLED, ["closed"])
    assert ActorRegistry.get_all() == []
    asyncio.run(second())


def test_a_loop_that_runs_again_after_another_one_has_its_scheduler_again() -> None:
    async def here() -> Scheduler:
        return Scheduler.here()

    with asyncio.Runner() as one, asyncio.Runner() as two:
        first = one.run(here())
        assert two.run(here()) is not first
        assert one.run(here()) is first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_has_actors_of_its_own_and_none_of_its_parents(background: in_thread) -> None:
    ref = Echo.start()
    assert ref.ask("hello") == "hello"
    child = os.fork()
    if not child:
        told = ref.is_alive() or ActorRegistry.get_all() or Echo.start().ask("hello", timeout=WAIT) != "hello"
        os._exit(bool(told))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    ref.stop()


def test_a_context_variable_that_an_actor_sets_is_no_other_actors(runtime: ManualRuntime) -> None:
    class Setting(Actor):
        def on_receive(self, value: str | None) -> str:
            if value is not None:
                variable.set(value)
            return variable.get()

    variable = contextvars.ContextVar("variable", default="nobody's")
    mine, yours = Setting.start(), Setting.start()
    mine.send("mine")
    runtime.settle()
    assert yours.ask(None) == "nobody's"


def test_the_attributes_of_a_scheduler_fit_into_the_layout_of_its_class() -> None:
    """With more, CPython gives each scheduler a dict of its own, in which each attribute is looked up, which costs more."""

    async def count() -> int:
        return len(vars(Scheduler.here()))

    assert asyncio.run(count()) < 30
