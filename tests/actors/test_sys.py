"""Looking into actors, and holding them still, without their co-operation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import sys
from actors.actor import Actor
from actors.exceptions import ActorDeadError
from actors.exits import SHUTDOWN, Crash, Down
from actors.redaction import Shown
from actors.runtime.idle_timeout import IdleTimeout
from actors.testing import WAIT, ManualRuntime, Probe
from actors.threads.threaded_actor import ThreadedActor
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.exits import ExitReason
    from actors.ref import ActorRef
    from actors.runtime.behaviour import FormatStatus
    from actors.runtime.scheduler import in_thread


class Counter(Actor):
    """Counts; crashes or waits when told to."""

    def __init__(self, start: int = 0) -> None:
        self.count = start
        self.log: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        match message:
            case "crash":
                raise ValueError("boom")
            case ("wait", seconds):
                return self.wait(seconds)
            case _:
                self.count += 1
                return self.count

    async def wait(self, seconds: float) -> str:
        woken = asyncio.get_running_loop().create_future()
        self.clock.call_after(seconds, lambda: woken.set_result("waited"))
        return str(await woken)


QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "get_state": sys.get_state,
    "replace_state": lambda target: sys.replace_state(target, dict),
    "get_status": sys.get_status,
    "suspend": sys.suspend,
    "resume": sys.resume,
    "trace": sys.trace,
    "install": lambda target: sys.install(target, print),
    "remove": lambda target: sys.remove(target, print),
    "log": sys.log,
    "get_log": sys.get_log,
    "statistics": sys.statistics,
    "get_statistics": sys.get_statistics,
    "no_debug": sys.no_debug,
}
any_question = pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())


# State


def test_the_state_is_the_actors_attributes(runtime: ManualRuntime) -> None:
    assert sys.get_state(Counter.start(7)).get() == {"count": 7, "log": []}


def test_the_state_has_the_effect_of_what_was_sent_before(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    ref.tell("one")
    asked = sys.get_state(ref)
    ref.tell("two")
    assert asked.get()["count"] == 1


def test_the_state_is_a_dictionary_of_ones_own(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    sys.get_state(ref).get()["count"] = 100
    assert ref.ask("one") == 1


def test_a_new_state_is_made_of_the_old(runtime: ManualRuntime) -> None:
    ref = Counter.start(3)
    new = sys.replace_state(ref, lambda state: {**state, "count": state["count"] * 10, "more": True}).get()
    assert new == {"count": 30, "log": [], "more": True}
    assert ref.ask("one") == 31


def test_attributes_that_are_left_out_are_gone(runtime: ManualRuntime) -> None:
    ref = Counter.start(3)
    assert sys.replace_state(ref, lambda state: {"log": state["log"]}).get() == {"log": []}


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda _: 1 / 0, ZeroDivisionError),
        (lambda _: None, TypeError),
        (lambda _: {1: 2}, TypeError),
        (lambda state: state.clear() or 5, TypeError),
    ],
    ids=["raises", "None", "no names", "spoils what it got"],
)
def test_a_function_that_fails_leaves_the_state_as_it_was(
    runtime: ManualRuntime, function: Callable[[Any], Any], error: type[Exception]
) -> None:
    ref = Counter.start(3)
    with pytest.raises(error):
        sys.replace_state(ref, function).get()
    assert sys.get_state(ref).get() == {"count": 3, "log": []}


# Status


def test_the_status_tells_all_that_the_runtime_knows(runtime: ManualRuntime) -> None:
    class Knot(Counter):
        def on_start(self) -> None:
            self.trap_exit = True
            self.register("knot")
            self.link(friend)
            self.monitor(watched)
            self.send_after(30, "later")
            self.send_after(10, "sooner")

    friend, watched, probe = Counter.start(), Counter.start(), Probe()
    ref = Knot.start()
    probe.monitor(ref)
    runtime.advance(4)
    ref.ask("one")
    status = sys.get_status("knot").get()
    assert (status.name, status.pid, status.actor, status.status) == (str(ref), ref.pid, Knot, "running")
    assert (status.links, status.monitors, status.monitored_by) == ([str(friend)], [str(watched)], [str(probe.ref)])
    assert (status.names, status.trap_exit, status.age, status.handled) == (["knot"], True, 4.0, 1)
    assert (status.timers, status.mailbox, status.message, status.parent) == ([6.0, 26.0], 0, None, None)
    assert status.state == {"count": 1, "log": ["one"]}


def test_the_status_names_parent_and_ancestors(runtime: ManualRuntime) -> None:
    root = Supervisor.start([ChildSpec(Supervisor, ([ChildSpec(Counter, name="leaf")],), id="branch")])
    runtime.run(root.started())
    status = sys.get_status("leaf").get()
    branch = next(ref for ref in runtime.actors if ref.process.label == "branch")
    assert (status.parent, status.ancestors) == (str(branch), [str(branch), str(root)])


def test_a_status_reads_well(runtime: ManualRuntime) -> None:
    ref = Counter.start(2)
    runtime.advance(1.5)
    lines = str(sys.get_status(ref).get()).splitlines()
    assert [line.strip() for line in lines] == [
        f"name: {ref}",
        f"pid: {ref.pid}",
        "actor: Counter",
        "status: running",
        "trap_exit: False",
        "mailbox: 0",
        "age: 1.500 s",
        "handled: 0",
        "state: {'count': 2, 'log': []}",
    ]


def test_peek_looks_at_an_actor_in_the_midst_of_a_handler(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    waiting = ref.ask(("wait", 3), block=False)
    ref.tell("behind it")
    state = sys.get_state(ref)
    runtime.settle()
    assert not state.done
    status = sys.peek(ref).get()
    assert (status.status, status.message, status.mailbox) == ("waiting", "('wait', 3)", 2)
    runtime.advance(3)
    assert waiting.get() == "waited"
    assert state.get()["log"] == [("wait", 3), "behind it"]


def test_peek_tells_what_an_actor_does(runtime: ManualRuntime) -> None:
    class Slow(Counter):
        async def on_start(self) -> None:
            await self.wait(5)

        async def terminate(self, reason: ExitReason) -> None:
            await self.wait(5)

    ref = Slow.start()
    seen = [sys.peek(ref).get().status]
    runtime.advance(5)
    seen.append(sys.peek(ref).get().status)
    sys.suspend(ref).get()
    seen.append(sys.peek(ref).get().status)
    ref.exit(SHUTDOWN)
    runtime.settle()
    seen.append(sys.peek(ref).get().status)
    runtime.advance(5)
    seen.append(sys.peek(ref).get().status)
    assert seen == ["starting", "running", "suspended", "ending", "dead"]


def test_peek_works_from_another_thread(background: in_thread) -> None:
    ref = Counter.start(9)
    assert sys.peek(ref).get(timeout=WAIT).state["count"] == 9


def test_peek_says_that_nobody_has_a_name(runtime: ManualRuntime) -> None:
    with pytest.raises(ActorDeadError, match="nobody"):
        sys.peek("nobody").get()


# Holding still


def test_a_suspended_actor_handles_nothing_until_it_is_resumed(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    sys.suspend(ref).get()
    ref.tell("a")
    asked = ref.ask("b", block=False)
    runtime.settle()
    assert sys.get_state(ref).get() == {"count": 0, "log": []}
    assert (sys.get_status(ref).get().status, sys.get_status(ref).get().mailbox) == ("suspended", 2)
    sys.resume(ref).get()
    assert asked.get() == 2
    assert sys.get_state(ref).get()["log"] == ["a", "b"]
    assert ref.process.debug is None


def test_what_was_in_the_mailbox_is_held_back_too(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    ref.tell("before")
    suspended = sys.suspend(ref)
    ref.tell("after")
    suspended.get()
    assert sys.get_state(ref).get()["log"] == ["before"]


def test_a_long_backlog_keeps_its_order(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    sys.suspend(ref).get()
    for number in range(10_000):
        ref.tell(number)
    runtime.settle()
    for number in range(10_000, 10_100):
        ref.tell(number)
    resumed = sys.resume(ref)
    for number in range(10_100, 10_200):
        ref.tell(number)
    resumed.get()
    assert sys.get_state(ref).get()["log"] == list(range(10_200))


def test_to_suspend_twice_is_to_suspend_once(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    sys.suspend(ref).get()
    ref.tell("a")
    sys.suspend(ref).get()
    ref.tell("b")
    sys.resume(ref).get()
    assert sys.get_state(ref).get()["log"] == ["a", "b"]


def test_to_resume_who_runs_is_nothing(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    sys.resume(ref).get()
    assert ref.ask("one") == 1


@pytest.mark.parametrize("end", [lambda ref: ref.kill(), lambda ref: ref.exit(SHUTDOWN)], ids=["kill", "exit"])
def test_a_suspended_actor_can_be_ended(runtime: ManualRuntime, end: Callable[[ActorRef[Any]], None]) -> None:
    ref = Counter.start()
    sys.suspend(ref).get()
    asked, stopped = ref.ask("a", block=False), ref.stop(block=False)
    runtime.settle()
    end(ref)
    runtime.settle()
    assert not ref.is_alive()
    with pytest.raises(ActorDeadError):
        asked.get()
    assert stopped.get() is True


def test_a_suspended_actor_is_told_once_that_it_was_idle(runtime: ManualRuntime) -> None:
    class Idler(Counter):
        def on_start(self) -> None:
            self.idle_timeout = 1

    ref = Idler.start()
    sys.suspend(ref).get()
    runtime.advance(10)
    sys.resume(ref).get()
    assert sys.get_state(ref).get()["log"] == []
    runtime.advance(1)
    assert sys.get_state(ref).get()["log"] == [IdleTimeout(1)]


def test_a_suspended_supervisor_replaces_its_child_when_it_is_resumed(runtime: ManualRuntime) -> None:
    supervisor = Supervisor.start([ChildSpec(Counter, name="counter")])
    runtime.run(supervisor.started())
    old = supervisor.process.scheduler.names.whereis("counter")
    assert old is not None
    sys.suspend(supervisor).get()
    old.tell("crash")
    runtime.settle()
    assert supervisor.process.scheduler.names.whereis("counter") is None
    sys.resume(supervisor).get()
    runtime.settle()
    new = supervisor.process.scheduler.names.whereis("counter")
    assert new is not None
    assert new != old


# Watching


def test_a_trace_is_a_line_for_each_message_got_and_handled(runtime: ManualRuntime) -> None:
    ref, lines = Counter.start(), list[str]()
    sys.trace(ref, lines.append).get()
    ref.ask("one")
    waiting = ref.ask(("wait", 2), block=False)
    runtime.advance(2)
    ref.tell("crash")
    runtime.settle()
    assert waiting.get() == "waited"
    assert lines == [
        f"*DBG* {ref} got 'one'",
        f"*DBG* {ref} handled 'one' in 0.000 ms, with 1",
        f"*DBG* {ref} got ('wait', 2)",
        f"*DBG* {ref} handled ('wait', 2) in 2000.000 ms, with 'waited'",
        f"*DBG* {ref} got 'crash'",
        f"*DBG* {ref} raised ValueError: boom after 0.000 ms at 'crash'",
    ]


def test_a_trace_goes_to_a_plain_function(runtime: ManualRuntime) -> None:
    async def write(line: str) -> None:
        raise AssertionError(line)

    with pytest.raises(TypeError, match=r"gets a trace must be a plain `def`, got `async def`"):
        sys.trace(Actor.start(), write)


def test_a_trace_begins_with_what_is_sent_after_it(runtime: ManualRuntime) -> None:
    ref, lines = Counter.start(), list[str]()
    ref.tell("before")
    sys.trace(ref, lines.append)
    ref.tell("after")
    runtime.settle()
    assert lines[0] == f"*DBG* {ref} got 'after'"


def test_a_trace_shows_a_message_as_its_actor_would(runtime: ManualRuntime) -> None:
    class Discreet(Counter):
        def format_status(self, status: FormatStatus) -> FormatStatus:
            status.message = Shown("a secret")
            return status

    ref, lines = Discreet.start(), list[str]()
    sys.trace(ref, lines.append).get()
    ref.ask("password")
    assert lines == [f"*DBG* {ref} got a secret", f"*DBG* {ref} handled a secret in 0.000 ms, with 1"]


def test_a_trace_is_printed_unless_told_otherwise(runtime: ManualRuntime, capsys: pytest.CaptureFixture[str]) -> None:
    ref = Counter.start()
    sys.trace(ref).get()
    ref.ask("one")
    sys.trace(ref, None).get()
    ref.ask("two")
    assert capsys.readouterr().out.splitlines() == [
        f"*DBG* {ref} got 'one'",
        f"*DBG* {ref} handled 'one' in 0.000 ms, with 1",
    ]
    assert ref.process.debug is None


def test_the_last_events_are_kept(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    ref.ask("unseen")
    sys.log(ref, 4).get()
    for message in ("a", "b", "c"):
        ref.ask(message)
    events = sys.get_log(ref).get()
    assert [(type(event), event.message) for event in events] == [
        (sys.Got, "b"),
        (sys.Handled, "b"),
        (sys.Got, "c"),
        (sys.Handled, "c"),
    ]
    assert sys.get_status(ref).get().log == events
    sys.log(ref, 1).get()
    assert [event.message for event in sys.get_log(ref).get()] == ["c"]
    sys.log(ref, None).get()
    assert (sys.get_log(ref).get(), ref.process.debug) == ([], None)


@pytest.mark.parametrize("last", [0, -1])
def test_a_log_of_nothing_is_an_error(runtime: ManualRuntime, last: int) -> None:
    with pytest.raises(ValueError, match=f"last must be a whole number >= 1 or None, got {last}"):
        sys.log(Counter.start(), last)


def test_statistics_count_messages_and_the_time_they_take(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    ref.ask("unseen")
    assert sys.get_statistics(ref).get() is None
    runtime.advance(10)
    sys.statistics(ref).get()
    ref.ask("one")
    ref.tell(("wait", 2))
    runtime.advance(2)
    ref.tell(("wait", 5))
    runtime.advance(4)
    seen = sys.peek(ref).get()
    runtime.advance(4)
    assert sys.get_statistics(ref).get() == sys.Statistics(
        since=10.0, now=20.0, messages_in=3, handled=3, busy=7.0, longest=5.0
    )
    assert seen.status == "waiting"
    sys.statistics(ref, on=False).get()
    assert ref.process.debug is None


def test_a_function_of_ones_own_is_told_of_each_event_until_it_is_removed(runtime: ManualRuntime) -> None:
    ref, events = Counter.start(), list[sys.Event]()
    sys.install(ref, events.append)
    ref.ask("one")
    sys.remove(ref, events.append).get()
    ref.ask("two")
    assert [event.message for event in events] == ["one", "one"]


def test_a_watcher_that_fails_harms_nobody_and_watches_no_more(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def failing(event: sys.Event) -> None:
        calls.append(event)
        raise KeyError("bad watcher")

    ref = Counter.start()
    sys.install(ref, failing).get()
    assert (ref.ask("one"), ref.ask("two")) == (1, 2)
    assert len(calls) == 1
    assert "is not watched by" in caplog.text


def test_no_debug_ends_all_watching_but_not_the_suspension(runtime: ManualRuntime) -> None:
    ref, events = Counter.start(), list[sys.Event]()
    for question in (sys.install(ref, events.append), sys.log(ref), sys.statistics(ref), sys.suspend(ref)):
        question.get()
    sys.no_debug(ref).get()
    status = sys.get_status(ref).get()
    assert (status.status, status.log, sys.get_statistics(ref).get()) == ("suspended", [], None)
    sys.resume(ref).get()
    ref.ask("one")
    assert events == []
    assert ref.process.debug is None


def test_a_crash_under_watch_is_a_crash_as_ever(runtime: ManualRuntime) -> None:
    ref, probe = Counter.start(), Probe()
    probe.monitor(ref)
    sys.log(ref).get()
    with pytest.raises(ValueError, match="boom"):
        ref.ask("crash")
    down = probe.assert_receive(Down)
    assert isinstance(down.reason, Crash)


def test_a_coroutine_under_watch_can_be_cut_short(runtime: ManualRuntime) -> None:
    ref, events = Counter.start(), list[sys.Event]()
    sys.install(ref, events.append).get()
    ref.tell(("wait", 100))
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert ref.exit_reason == SHUTDOWN
    assert [type(event) for event in events] == [sys.Got, sys.Raised]


# Every actor, every question


class Waiting(Actor):
    async def on_receive(self, message: Any) -> None:
        await asyncio.sleep(0)


@any_question
@pytest.mark.parametrize(
    "actor",
    [Actor.start, Waiting.start, ThreadedActor.start, DynamicSupervisor.start, lambda: Supervisor.start([])],
    ids=["Actor", "async", "ThreadedActor", "DynamicSupervisor", "Supervisor"],
)
def test_every_actor_answers(
    runtime: ManualRuntime, actor: Callable[[], ActorRef[Any]], question: Callable[[Any], Any]
) -> None:
    ref = actor()
    runtime.run(ref.started())
    question(ref).get()
    sys.resume(ref).get()
    assert ref.is_alive()


@any_question
def test_a_dead_actor_is_an_error_at_once(runtime: ManualRuntime, question: Callable[[Any], Any]) -> None:
    ref = Counter.start()
    ref.kill()
    runtime.settle()
    with pytest.raises(ActorDeadError):
        question(ref).get()


@any_question
def test_a_busy_actor_has_five_seconds(runtime: ManualRuntime, question: Callable[[Any], Any]) -> None:
    async def ask() -> Any:
        return await question(ref)

    ref = Counter.start()
    ref.tell(("wait", 60))
    runtime.settle()
    asked = asyncio.ensure_future(ask(), loop=ref.process.scheduler.loop)
    runtime.advance(5)
    with pytest.raises(pykka.Timeout, match="no answer in 5"):
        asked.result()


@any_question
def test_each_works_from_another_thread(background: in_thread, question: Callable[[Any], Any]) -> None:
    ref = Counter.start()
    question(ref).get(timeout=WAIT)
    sys.resume(ref).get(timeout=WAIT)
    assert ref.is_alive()


def test_an_actor_that_nobody_looks_into_carries_nothing(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    for question in (sys.get_state, sys.get_status, sys.peek, sys.get_log, sys.get_statistics, sys.resume):
        question(ref).get()
    assert ref.process.debug is None
    assert sys.get_status(ref).get().handled == 0
