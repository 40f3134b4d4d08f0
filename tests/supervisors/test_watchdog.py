"""The watchdog: stuck actors and full mailboxes on virtual time, blocked event loops on a real one."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from actors import sys, telemetry
from actors.actor import Actor
from actors.future import Future
from actors.redaction import Shown
from actors.testing import WAIT, ManualClock, ManualRuntime, sync
from actors.threads.threaded_actor import ThreadedActor
from supervisors import watchdog
from supervisors.calls import start_child, which_children
from supervisors.child_spec import ChildSpec
from supervisors.supervisor import Supervisor
from supervisors.system import System
from supervisors.watchdog import LOOP_BLOCKED, MAILBOX_FULL, STUCK, LoopWatch, Watchdog, WatchdogServer

if TYPE_CHECKING:
    from actors.lowlevel import in_thread
    from actors.ref import ActorRef
    from actors.runtime.behaviour import FormatStatus


class Waiting(Actor):
    """Waits for the futures that it is sent; all else it does at once."""

    async def on_receive(self, message: Any) -> None:
        await self.wait(message)

    async def wait(self, message: Any) -> None:
        if isinstance(message, Future):
            await message

    def format_status(self, status: FormatStatus) -> FormatStatus:
        message = status.message
        status.message = Shown("<a future>" if isinstance(message, Future) else f"<{len(message)} characters>")
        return status


class Debtor(Actor):
    """Answers nobody."""

    def on_receive(self, message: Any) -> None:
        self.reply_later()


class Asking(Actor):
    async def on_receive(self, message: ActorRef[Any]) -> None:
        await message.call("?", timeout=None)


class Blocking(Actor):
    """Blocks its thread until it is let go on."""

    def on_receive(self, message: threading.Event) -> None:
        self.render(message)

    def render(self, message: threading.Event) -> None:
        assert message.wait(WAIT)

    def format_status(self, status: FormatStatus) -> FormatStatus:
        status.message = Shown("<a gate>")
        return status


Told = tuple[tuple[str, ...], dict[str, float], dict[str, Any]]


@pytest.fixture
def told() -> Iterator[SimpleQueue[Told]]:
    """What telemetry was told, in any thread."""
    events: SimpleQueue[Told] = SimpleQueue()
    telemetry.attach(
        "told",
        [STUCK, LOOP_BLOCKED, MAILBOX_FULL],
        lambda event, measurements, metadata: events.put((event, dict(measurements), dict(metadata))),
    )
    yield events
    telemetry.detach("told")


def taken(told: SimpleQueue[Told]) -> list[Told]:
    """Return what was told up to now."""
    return [told.get_nowait() for _ in range(told.qsize())]


def stuck_since(told: SimpleQueue[Told]) -> list[tuple[str, float]]:
    """Return who was told to be stuck, and for how long."""
    return [(data["actor"].actor_class.__name__, numbers["duration"]) for event, numbers, data in taken(told)]


def watch(runtime: ManualRuntime, **limits: Any) -> ActorRef[WatchdogServer]:
    """Start a watchdog that looks each second."""
    return WatchdogServer.start(Watchdog(**{"stuck": 5.0, "mailbox": 4, **limits}))


# Actors that are stuck


def test_an_actor_that_waits_too_long_in_one_message_is_told_once(
    runtime: ManualRuntime, told: SimpleQueue[Told]
) -> None:
    watch(runtime)
    ref = Waiting.start()
    ref.tell(Future())
    runtime.advance(5.0)
    assert taken(told) == []
    runtime.advance(60.0)
    [(event, measurements, metadata)] = taken(told)
    assert event == STUCK
    assert measurements == {"duration": 5.0}
    assert metadata["actor"] is ref
    assert metadata["message"] == "<a future>"
    assert [line.strip() for line in metadata["stack"].splitlines()[1::2]] == [
        "await self.wait(message)",
        "await message",
    ]


def test_the_log_has_one_record_with_actor_message_and_stack(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    watch(runtime)
    ref = Waiting.start()
    ref.tell(Future())
    runtime.advance(6.0)
    [record] = caplog.records
    first, *stack = record.getMessage().splitlines()
    assert (record.name, record.levelname) == ("ashtree.watchdog", "WARNING")
    assert first == f"{ref} is stuck: it has been handling <a future> for 5.0 s"
    assert stack[0].startswith(f'  File "{__file__}", line ')
    assert stack[0].endswith(", in on_receive")
    assert len(stack) == 4


def test_one_that_is_stuck_again_is_told_again(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    watch(runtime)
    ref = Waiting.start()
    first: Future[None] = Future()
    ref.tell(first)
    ref.tell(Future())
    runtime.advance(10.5)
    first.set()
    runtime.advance(10.5)
    assert stuck_since(told) == [("Waiting", 5.0), ("Waiting", 5.0)]


def test_an_actor_that_gets_on_is_not_stuck_however_long_it_is_busy(
    runtime: ManualRuntime, told: SimpleQueue[Told]
) -> None:
    watch(runtime)
    ref = Waiting.start()
    gates: list[Future[None]] = [Future() for _ in range(20)]
    for gate in gates:
        ref.tell(gate)
    for gate in gates:
        runtime.advance(3.0)
        gate.set()
    assert [event for event in taken(told) if event[0] == STUCK] == []


def test_an_actor_is_stuck_in_on_start_and_in_terminate_too(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Actor):
        async def on_start(self) -> None:
            await begin

        async def terminate(self, reason: Any) -> None:
            await Future()

    begin: Future[None] = Future()
    watch(runtime)
    ref = Slow.start()
    runtime.advance(7.0)
    begin.set()
    ref.stop(block=False)
    runtime.advance(7.0)
    assert [record.getMessage().splitlines()[0] for record in caplog.records] == [
        f"{ref} is stuck: it has been in on_start for 5.0 s",
        f"{ref} is stuck: it has been in terminate for 5.0 s",
    ]


def test_whom_it_waits_for_is_told(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    watch(runtime)
    debtor = Debtor.start()
    Asking.start().tell(debtor)
    runtime.advance(6.0)
    [record] = caplog.records
    _, second, *stack = record.getMessage().splitlines()
    assert second == f"  it is waiting for a reply from {debtor}"
    assert [line.strip() for line in stack[1::2]] == ['await message.call("?", timeout=None)']


def test_the_stack_of_a_threaded_actor_is_that_of_its_thread(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    class Digging(ThreadedActor):
        def on_receive(self, message: Future[None]) -> None:
            self.dig(message)

        def dig(self, message: Future[None]) -> None:
            message.get()

    gate: Future[None] = Future()
    watch(runtime)
    Digging.start().tell(gate)
    runtime.advance(6.0)
    [(_, _, metadata)] = taken(told)
    assert [line.strip() for line in metadata["stack"].splitlines()[1::2]][:2] == ["self.dig(message)", "message.get()"]
    gate.set()


def test_an_actor_that_is_recorded_shows_its_own_frames_only(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    class Recorded(Waiting):
        record = 5

    watch(runtime)
    Recorded.start().tell(Future())
    runtime.advance(6.0)
    [(_, _, metadata)] = taken(told)
    assert len(metadata["stack"].splitlines()) == 4


@pytest.mark.parametrize(
    ("of_class", "of_watchdog", "expected"),
    [(2.0, 5.0, 2.0), (8.0, 5.0, 8.0), (math.inf, 5.0, None), (2.0, None, 2.0), (None, None, None)],
    ids=["sooner", "later", "never", "only this class", "nobody"],
)
def test_a_class_may_say_itself_when_it_is_stuck(
    runtime: ManualRuntime,
    told: SimpleQueue[Told],
    of_class: float | None,
    of_watchdog: float | None,
    expected: float | None,
) -> None:
    class Slow(Waiting):
        stuck_after = of_class

    watch(runtime, stuck=of_watchdog)
    Slow.start().tell(Future())
    runtime.advance(60.0)
    assert stuck_since(told) == ([] if expected is None else [("Slow", expected)])


def test_the_dead_are_forgotten(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    ref = watch(runtime)
    others = [Waiting.start() for _ in range(3)]
    for other in others:
        other.tell(Future())
        for _ in range(6):
            other.tell("more")
    runtime.advance(2.5)
    for other in others:
        other.kill()
    runtime.advance(60.0)
    assert [event for event, _, _ in taken(told)] == [MAILBOX_FULL] * 3
    state = sys.get_state(ref).get()
    assert (state["_found"].waits, state["_previous"].waits) == ({}, {})
    assert (state["_found"].full, state["_previous"].full) == (set(), set())


# Mailboxes that fill up


def test_a_mailbox_that_is_too_full_is_told_once(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    watch(runtime, stuck=None)
    ref = Waiting.start()
    ref.tell(Future())
    for text in ["one", "two", "four", "seven"]:
        ref.tell(text)
    runtime.advance(10.0)
    assert caplog.records == []
    ref.tell("more")
    runtime.advance(10.0)
    [record] = caplog.records
    first, second, *stack = record.getMessage().splitlines()
    assert first == f"{ref} has 5 messages in its mailbox, the next one <3 characters>"
    assert second == "  it is handling <a future>"
    assert len(stack) == 4


def test_telemetry_is_told_of_a_full_mailbox(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    watch(runtime, stuck=None)
    ref = Waiting.start()
    ref.tell(Future())
    for _ in range(5):
        ref.ask("asked", block=False)
    runtime.advance(1.0)
    [(event, measurements, metadata)] = taken(told)
    assert (event, measurements) == (MAILBOX_FULL, {"length": 5})
    assert metadata["actor"] is ref
    assert metadata["message"] == "<5 characters>"


def test_a_mailbox_is_told_again_after_it_was_half_empty(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    watch(runtime, stuck=None)
    ref = Waiting.start()
    gates: list[Future[None]] = [Future() for _ in range(7)]
    for gate in gates:
        ref.tell(gate)
    lengths = []
    # How many wait: 6, 3, 5, 2, 5.
    for passed, more in [(0, 0), (3, 0), (0, 2), (3, 0), (0, 3)]:
        for _ in range(passed):
            gates.pop(0).set()
        for _ in range(more):
            ref.tell(Future())
        runtime.advance(1.0)
        lengths.append([measurements["length"] for _, measurements, _ in taken(told)])
    assert lengths == [[6], [], [], [], [5]]


def test_what_is_held_back_from_a_suspended_actor_counts(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    watch(runtime)
    ref = Waiting.start()
    sys.suspend(ref).get()
    for _ in range(5):
        ref.tell("text")
    runtime.advance(1.0)
    [record] = caplog.records
    assert record.getMessage().splitlines() == [
        f"{ref} has 5 messages in its mailbox, the next one <4 characters>",
        "  it is suspended",
    ]


# The looks


def test_many_actors_are_looked_at_in_small_portions(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[float, str]] = []
    monkeypatch.setattr(WatchdogServer, "_inspect", lambda _, process: looks.append((runtime.clock.now(), process.pid)))
    monkeypatch.setattr(watchdog, "_SLICE", 3)
    for _ in range(11):
        Waiting.start().tell(Future())
    watch(runtime)
    runtime.advance(2.9)
    portions = Counter(at for at, _ in looks)
    assert set(portions.values()) <= {2, 3}
    assert list(portions) == [1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75]
    assert set(Counter(pid for _, pid in looks).values()) == {2}


def test_where_many_are_stuck_at_once_the_log_has_ten_and_a_number(
    runtime: ManualRuntime, told: SimpleQueue[Told], caplog: pytest.LogCaptureFixture
) -> None:
    watch(runtime)
    for _ in range(25):
        Waiting.start().tell(Future())
    runtime.advance(20.0)
    *first, last = [record.getMessage() for record in caplog.records]
    assert len(first) == 10
    assert all(" is stuck: " in text for text in first)
    assert last == "15 more actors are stuck, or have too many messages in their mailboxes"
    stacks = [metadata["stack"] for _, _, metadata in taken(told)]
    assert [bool(stack) for stack in stacks] == [True] * 10 + [False] * 15


def test_ten_have_room_in_the_log(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    watch(runtime)
    for _ in range(10):
        Waiting.start().tell(Future())
    runtime.advance(20.0)
    assert len(caplog.records) == 10


def test_an_actor_that_rests_is_not_looked_into(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(WatchdogServer, "_inspect", lambda _, process: seen.append(process.actor_class.__name__))
    watch(runtime)
    Debtor.start()
    Waiting.start().tell(Future())
    runtime.advance(1.0)
    assert seen == ["Waiting"]


def test_another_message_does_not_make_it_look_twice(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    ref = watch(runtime)
    pending = runtime.clock.pending()
    ref.tell("what is this?")
    sync(ref)
    assert runtime.clock.pending() == pending
    assert "unexpected message" in caplog.text


def test_a_watchdog_that_crashes_is_restarted_and_watches_on(runtime: ManualRuntime, told: SimpleQueue[Told]) -> None:
    supervisor = Supervisor.start([Watchdog(stuck=5.0), Waiting])
    runtime.settle()
    first, waiting = (info.ref for info in which_children(supervisor).get())
    assert first is not None
    assert waiting is not None
    waiting.tell(Future())
    first.kill()
    runtime.advance(7.0)
    assert stuck_since(told) == [("Waiting", 5.0)]


# The loop


def test_under_a_clock_of_a_test_no_thread_looks(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LoopWatch", None)
    assert watch(runtime, blocked=0.001).is_alive()


@pytest.fixture
def watching(background: in_thread) -> ActorRef[WatchdogServer]:
    """Watch the loop in the background for blocks of 20 ms."""
    return WatchdogServer.start(Watchdog(blocked=0.02, stuck=None, mailbox=None, every=600.0))


def blocked_by(told: SimpleQueue[Told], ref: ActorRef[Any] | None) -> Told:
    """Return what is told of a loop that is blocked by an actor; a machine that is busy may block it by itself."""
    while True:
        event = told.get(timeout=WAIT)
        if event[2]["actor"] is ref:
            return event


def test_an_actor_that_blocks_the_loop_is_told(
    watching: ActorRef[Any], told: SimpleQueue[Told], caplog: pytest.LogCaptureFixture
) -> None:
    ref, gate = Blocking.start(), threading.Event()
    ref.tell(gate)
    try:
        event, measurements, metadata = blocked_by(told, ref)
    finally:
        gate.set()
    assert (event, measurements) == (LOOP_BLOCKED, {"duration": 0.02})
    assert metadata["message"] == "<a gate>"
    lines = [line.strip() for line in metadata["stack"].splitlines()[1::2]]
    assert lines[:2] == ["self.render(message)", "assert message.wait(WAIT)"]
    [text] = [record.getMessage() for record in caplog.records if "<a gate>" in record.getMessage()]
    assert text.splitlines()[0] == (
        f"the event loop is blocked: nothing else has run for 0.02 s; {ref} is handling <a gate>"
    )
    assert text.endswith(metadata["stack"])


def test_a_block_is_told_once_and_the_next_one_again(
    watching: ActorRef[Any], told: SimpleQueue[Told], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "ashtree.watchdog")
    first, second = Blocking.start(), Blocking.start()
    for ref in [first, second]:
        gate = threading.Event()
        ref.tell(gate)
        try:
            blocked_by(told, ref)
        finally:
            gate.set()
        sync(ref)
    said = [record.getMessage().splitlines()[0] for record in caplog.records]
    about = [index for index, line in enumerate(said) if "<a gate>" in line]
    assert len(about) == 2
    assert any(line.startswith("the event loop is running again, after ") for line in said[about[0] : about[1]])


class Answers(threading.Event):
    """Does not answer the first waits, each of which takes so many seconds of a clock."""

    def __init__(self, clock: ManualClock, waits: list[float]) -> None:
        super().__init__()
        self._clock, self._waits = clock, iter(waits)

    def wait(self, _timeout: float | None = None) -> bool:
        for seconds in self._waits:
            self._clock._now += seconds
            return False
        return True


@pytest.fixture
def ping(background: in_thread, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[float]], list[str]]:
    """Ping a loop that may be blocked for two seconds, and answers after these waits; return what is said."""
    said, clock = list[str](), ManualClock()
    monkeypatch.setattr(background.scheduler, "clock", clock)
    monkeypatch.setattr(watchdog, "report_blocked", lambda *_: said.append("blocked"))
    monkeypatch.setattr(watchdog._log, "info", lambda text, *args: said.append(text % args))
    watching = LoopWatch(background.scheduler, 2.0)
    watching._ended.set()
    watching.thread.join(WAIT)
    watching._ended.clear()
    times: list[int] = []
    monkeypatch.setattr(background.scheduler, "post", lambda _: times.append(1))

    def ping(waits: list[float]) -> list[str]:
        monkeypatch.setattr(watching, "_answered", Answers(clock, waits))
        watching._ping()
        assert times == [1]  # what is blocked is not asked again before it has answered
        return said

    return ping


def test_a_block_is_measured_to_its_end(ping: Callable[[list[float]], list[str]]) -> None:
    assert ping([0.5] * 6) == ["blocked", "the event loop is running again, after 3.000 s"]


def test_a_process_that_was_stopped_has_not_blocked_its_loop(ping: Callable[[list[float]], list[str]]) -> None:
    assert ping([0.5, 3.0, 0.5, 60.0]) == []


def test_a_stop_during_a_block_is_no_part_of_it(ping: Callable[[list[float]], list[str]]) -> None:
    assert ping([0.5, 0.5, 0.5, 0.5, 60.0, 0.5]) == ["blocked", "the event loop is running again, after 2.500 s"]


def test_a_thread_that_was_kept_from_running_while_the_processor_worked_reports_the_block(
    ping: Callable[[list[float]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code in C that computes may keep all other threads from running."""
    used = iter([0.0, 3.0, 3.0])
    monkeypatch.setattr(watchdog, "processor_time", lambda: next(used))
    assert ping([3.0]) == ["blocked", "the event loop is running again, after 3.000 s"]


@pytest.mark.parametrize(("used", "seconds"), [(0.0, 5.0), (100.0, 102.0)], ids=["stopped", "busy"])
def test_the_time_in_which_the_process_was_stopped_makes_no_actor_stuck(
    runtime: ManualRuntime,
    told: SimpleQueue[Told],
    monkeypatch: pytest.MonkeyPatch,
    used: float,
    seconds: float,
) -> None:
    monkeypatch.setattr(watchdog, "processor_time", lambda: used if runtime.clock.now() > 100 else 0.0)
    watch(runtime)
    waiting = Waiting.start()
    waiting.tell(Future())
    runtime.advance(3)
    runtime.clock._now += 100
    runtime.advance(0)
    assert stuck_since(told) == ([] if used == 0 else [("Waiting", seconds)])
    runtime.advance(3)
    assert stuck_since(told) == ([("Waiting", seconds)] if used == 0 else [])


def test_a_callback_that_blocks_the_loop_is_told_too(
    watching: ActorRef[Any], told: SimpleQueue[Told], background: in_thread
) -> None:
    gate = threading.Event()

    def callback() -> None:
        assert gate.wait(WAIT)

    background.scheduler.loop.call_soon_threadsafe(callback)
    try:
        while "gate.wait(WAIT)" not in blocked_by(told, None)[2]["stack"]:
            pass
    finally:
        gate.set()


def test_the_thread_ends_with_its_actor(background: in_thread, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def start(*args: Any) -> LoopWatch:
        watching = LoopWatch(*args)
        threads.append(watching.thread)
        return watching

    monkeypatch.setattr(watchdog, "LoopWatch", start)
    ref = WatchdogServer.start(Watchdog(blocked=WAIT * 100))
    ref.stop()
    [thread] = threads
    thread.join(WAIT)
    assert not thread.is_alive()


# The options


@pytest.mark.parametrize("option", ["stuck", "blocked", "mailbox", "every"])
@pytest.mark.parametrize("value", [0, -1, "5", True, math.nan], ids=repr)
def test_a_limit_that_is_none_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be .* > 0.* got {value!r}$"):
        Watchdog(**{option: value})


def test_all_but_the_looks_can_be_left_off() -> None:
    Watchdog(stuck=None, blocked=None, mailbox=None)
    with pytest.raises(ValueError, match="every must be seconds > 0, got None"):
        Watchdog(every=None)  # type: ignore[arg-type]  # what this is about


def test_a_system_has_a_watchdog_when_it_is_told_to(background: in_thread) -> None:
    with System([ChildSpec(Debtor)], watchdog=Watchdog()) as system:
        assert [info.id for info in which_children(system.ref).get()] == ["watchdog", "pubsub", "Debtor"]
    with System([ChildSpec(Debtor)]) as system:
        assert [info.id for info in which_children(system.ref).get()] == ["pubsub", "Debtor"]


def test_a_system_has_its_actors_record(background: in_thread) -> None:
    with System([ChildSpec(Debtor), ChildSpec(Waiting, record=0)], record=7) as system:
        kept = [info.ref.process.debug for info in which_children(system.ref).get() if info.ref is not None]
    assert [debug is not None and debug.record is not None and debug.record.maxlen for debug in kept] == [7, 7, False]


@pytest.mark.parametrize("record", [-1, 2.5, True], ids=repr)
def test_a_system_refuses_what_is_no_number_of_messages(record: Any) -> None:
    with pytest.raises(ValueError, match=f"record must be a number of messages >= 0 or None, got {record!r}"):
        System(record=record)


def test_a_child_keeps_as_many_messages_as_its_spec_says(runtime: ManualRuntime) -> None:
    supervisor = Supervisor.start([ChildSpec(Debtor, record=3)])
    runtime.settle()
    [info] = which_children(supervisor).get()
    assert info.ref is not None
    debug = info.ref.process.debug
    assert debug is not None
    assert debug.record is not None
    assert debug.record.maxlen == 3


def test_a_supervisor_that_is_stuck_with_a_child_does_not_show_what_the_child_is_given(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Actor):
        def __init__(self, password: str) -> None:
            self.password = password

        async def on_start(self) -> None:
            await Future()

    watch(runtime)
    supervisor = Supervisor.start()
    runtime.settle()
    started = start_child(supervisor, ChildSpec(Slow, ("hunter2",), id="slow"))
    runtime.advance(6.0)
    assert not started.done
    first, *_ = [record.getMessage() for record in caplog.records if "Supervisor" in record.getMessage()]
    assert "handling StartChild(Slow, id='slow')" in first
    assert "hunter2" not in caplog.text
