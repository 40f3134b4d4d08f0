"""How an actor lives and ends: mailbox, handlers that wait, links, monitors, exit signals, and the order of it all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import (
    KILL,
    KILLED,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    Crash,
    Down,
    Exit,
    ExitReason,
    Refuse,
    Shutdown,
    Stop,
)
from actors.registry import ActorRegistry, Registry
from actors.runtime.spawn import spawn
from actors.testing import ManualRuntime, Probe

if TYPE_CHECKING:
    from actors.ref import ActorRef

BOOM = ValueError("boom")


class Puppet(Actor):
    """Does what it is told: its messages are functions of the actor; all others it keeps."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else self.log.append(message)

    def terminate(self, reason: ExitReason) -> Any:
        self.log.append(("terminated", reason))


class Gate:
    """Holds back coroutines until it is opened."""

    def __init__(self) -> None:
        self.waiting = 0
        self.passed = 0
        self._future: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        self.waiting += 1
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        await self._future
        self.passed += 1

    async def insist(self) -> None:
        """Wait for the gate to open, whoever may cancel."""
        while True:
            try:
                await asyncio.shield(self._wait_on())
            except asyncio.CancelledError:
                continue
            return

    def _wait_on(self) -> asyncio.Future[None]:
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        self.waiting += 1
        return self._future

    def open(self) -> None:
        assert self._future is not None
        self._future.set_result(None)


class Waiting(Puppet):
    """Waits at a gate for each message "wait"."""

    def __init__(self, gate: Gate, log: list[Any] | None = None) -> None:
        super().__init__(log)
        self.gate = gate

    async def on_receive(self, message: Any) -> Any:
        if message == "wait":
            await self.gate.wait()
        return super().on_receive(message)


class Trapping(Puppet):
    def on_start(self) -> None:
        self.trap_exit = True


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def log() -> list[Any]:
    return []


def crash(_: Actor) -> None:
    raise BOOM


def crashes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if " crashed: " in record.getMessage()]


# Crashes


@pytest.mark.parametrize(
    "error",
    [BOOM, asyncio.CancelledError(), GeneratorExit(), BaseException("bare")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["def", "async def", "async def, later"])
def test_whatever_a_handler_raises_ends_that_actor_only_and_reaches_the_asker(
    runtime: ManualRuntime, error: BaseException, kind: str
) -> None:
    def plain(_: Actor) -> None:
        raise error

    async def at_once(_: Actor) -> None:
        raise error

    async def later(_: Actor) -> None:
        await asyncio.sleep(0)
        raise error

    bystander, ref = Puppet.start(), Puppet.start()
    asked = ref.ask({"def": plain, "async def": at_once, "async def, later": later}[kind], block=False)
    runtime.settle()
    # What would end the asker too, or be taken for its own cancellation, is only the cause.
    told = asked.exception if isinstance(error, Exception) else getattr(asked.exception, "__cause__", None)
    assert type(told) is type(error)
    assert isinstance(asked.exception, Exception)
    assert isinstance(ref.exit_reason, Crash)
    assert type(ref.exit_reason.exception) is type(error)
    assert bystander.ask(lambda _: "unharmed") == "unharmed"


def test_an_exception_ends_an_actor_that_was_told_too(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)
    ref.tell(crash)
    ref.tell("never handled")
    runtime.settle()
    assert log == [("terminated", Crash(BOOM))]
    assert ref.exit_reason == Crash(BOOM)


def test_asks_in_the_mailbox_of_a_dying_actor_fail_at_once(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    first = ref.ask(crash, block=False)
    others = [ref.ask("x", block=False) for _ in range(3)]
    runtime.settle()
    assert first.exception is BOOM
    assert [type(other.exception) for other in others] == [pykka.ActorDeadError] * 3
    assert runtime.clock.now() == 0


def test_a_crash_is_reported_once_with_actor_ancestors_and_last_message(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Actor):
        def on_receive(self, message: Any) -> None:
            raise BOOM

    top = spawn(Trapping, label="top")
    middle = spawn(Trapping, label="middle", parent=top.process)
    ref = spawn(Fragile, parent=middle.process)
    Probe().link(ref)
    asked = ref.ask({"last": "message"}, block=False)
    runtime.settle()
    assert asked.exception is BOOM
    [record] = caplog.records
    assert record.name == "ashtree.actors"
    assert record.levelname == "ERROR"
    assert record.getMessage().splitlines() == [
        f"Fragile {ref.pid} crashed: ValueError: boom",
        "  last message: {'last': 'message'}",
        f"  ancestors: middle {middle.pid}, top {top.pid}",
    ]
    assert record.exc_info is not None
    assert record.exc_info[1] is BOOM


def test_a_crash_without_ancestors_says_so(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    ref = Puppet.start()
    ref.tell(crash)
    runtime.settle()
    assert crashes(caplog)[0].endswith("\n  ancestors: none")


def test_a_crash_of_a_coroutine_is_reported_once(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    class Fragile(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.sleep(0)
            raise BOOM

    ref = Fragile.start()
    ref.tell("hello")
    runtime.settle()
    assert [report.splitlines()[:2] for report in crashes(caplog)] == [
        [f"Fragile {ref.pid} crashed: ValueError: boom", "  last message: 'hello'"]
    ]


def test_a_report_does_not_grow_with_the_message_and_the_exception(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Actor):
        def on_receive(self, message: str) -> None:
            raise ValueError(message)

    Fragile.start().send("x" * 1_000_000)
    runtime.settle()
    [report] = crashes(caplog)
    error, message, _ = report.splitlines()
    assert (len(message), message[-1]) == (len("  last message: ") + 2001, "…")
    assert (error[-1], len(error) < 2100) == ("…", True)


def test_a_message_that_cannot_be_shown_does_not_spoil_the_report(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("do not look")

    class Fragile(Actor):
        def on_receive(self, message: Any) -> None:
            raise BOOM

    ref = Fragile.start()
    ref.tell(Shy())
    runtime.settle()
    assert ref.exit_reason == Crash(BOOM)
    [report] = crashes(caplog)
    assert "last message: <Shy that cannot be shown>" in report


@pytest.mark.parametrize(
    "end",
    [lambda ref: ref.stop(), lambda ref: ref.exit(SHUTDOWN), lambda ref: ref.kill(), lambda ref: ref.exit(BOOM)],
    ids=["stop", "shutdown", "kill", "exit with an exception"],
)
def test_an_end_that_is_no_crash_of_its_own_is_not_reported(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, end: Callable[[ActorRef[Any]], None]
) -> None:
    ref = Puppet.start()
    end(ref)
    runtime.settle()
    assert not ref.is_alive()
    assert caplog.records == []


# What handlers return


def test_stop_ends_after_its_reply_and_before_the_next_message(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)
    asked = ref.ask(lambda _: Stop(Shutdown("done"), reply="bye"), block=False)
    ref.tell("never handled")
    runtime.settle()
    assert asked.get() == "bye"
    assert log == [("terminated", Shutdown("done"))]


def test_stop_of_a_coroutine_ends_too(runtime: ManualRuntime, log: list[Any]) -> None:
    async def stop(_: Actor) -> Stop:
        await asyncio.sleep(0)
        return Stop(SHUTDOWN, reply="bye")

    ref = Puppet.start(log)
    assert ref.ask(stop) == "bye"
    assert log == [("terminated", SHUTDOWN)]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_stop_with_what_is_no_reason_is_a_crash_after_its_reply(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async def stop(_: Actor) -> Stop:
        await asyncio.sleep(0)
        return Stop("done", reply="bye")

    ref = Puppet.start()
    assert ref.ask(stop if kind == "async def" else lambda _: Stop("done", reply="bye")) == "bye"
    runtime.settle()
    assert isinstance(ref.exit_reason, Crash)
    assert isinstance(ref.exit_reason.exception, TypeError)
    assert "got 'done'" in crashes(caplog)[0]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_refuse_answers_with_an_exception_and_the_actor_lives(runtime: ManualRuntime, kind: str) -> None:
    async def refuse(_: Actor) -> Refuse:
        await asyncio.sleep(0)
        return Refuse(BOOM)

    ref = Puppet.start()
    with pytest.raises(ValueError, match="boom"):
        ref.ask(refuse if kind == "async def" else lambda _: Refuse(BOOM))
    ref.tell(lambda _: Refuse(BOOM))
    runtime.settle()
    assert ref.is_alive()


def test_a_stop_may_refuse(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    with pytest.raises(ValueError, match="boom"):
        ref.ask(lambda _: Stop(SHUTDOWN, reply=Refuse(BOOM)))
    assert ref.exit_reason == SHUTDOWN


# Handlers that wait


def test_the_next_message_waits_for_the_coroutine_while_other_actors_go_on(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    ref, other = Waiting.start(gate, log), Puppet.start(log)
    ref.tell("wait")
    ref.tell("second")
    runtime.settle()
    other.tell("meanwhile")
    runtime.settle()
    assert log == ["meanwhile"]
    gate.open()
    runtime.settle()
    assert log == ["meanwhile", "wait", "second"]


def test_an_async_handler_answers_when_it_has_ended(runtime: ManualRuntime, gate: Gate) -> None:
    async def work(_: Actor) -> str:
        await gate.wait()
        return "done"

    asked = Puppet.start().ask(work, block=False)
    runtime.settle()
    assert not asked.done
    gate.open()
    runtime.settle()
    assert asked.get() == "done"


def test_an_ask_fails_at_once_when_the_actor_is_killed_while_its_handler_waits(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    ref = Waiting.start(gate, log)
    asked, behind = ref.ask("wait", block=False), ref.ask("second", block=False)
    runtime.settle()
    ref.kill()
    assert isinstance(asked.exception, pykka.ActorDeadError)
    assert isinstance(behind.exception, pykka.ActorDeadError)
    runtime.settle()
    assert (log, gate.waiting, gate.passed) == ([], 1, 0)


def test_an_exit_signal_cuts_a_waiting_handler_short(runtime: ManualRuntime, gate: Gate, log: list[Any]) -> None:
    ref = Waiting.start(gate, log)
    asked = ref.ask("wait", block=False)
    runtime.settle()
    ref.exit(Shutdown("enough"))
    runtime.settle()
    assert isinstance(asked.exception, pykka.ActorDeadError)
    assert log == [("terminated", Shutdown("enough"))]
    assert gate.passed == 0


def test_a_handler_may_clean_up_when_it_is_cut_short(runtime: ManualRuntime, gate: Gate, log: list[Any]) -> None:
    async def work(_: Actor) -> None:
        try:
            await gate.wait()
        finally:
            await asyncio.sleep(0)
            log.append("cleaned up")

    ref = Puppet.start(log)
    ref.tell(work)
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert log == ["cleaned up", ("terminated", SHUTDOWN)]


def test_an_exception_while_it_is_cut_short_does_not_change_the_reason(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    async def work(_: Actor) -> None:
        try:
            await gate.wait()
        finally:
            raise BOOM

    ref = Puppet.start(log)
    ref.tell(work)
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert log == [("terminated", SHUTDOWN)]


def test_a_handler_that_will_not_be_cut_short_is_waited_for(runtime: ManualRuntime, gate: Gate, log: list[Any]) -> None:
    async def stubborn(_: Actor) -> None:
        await gate.insist()
        log.append("at last")

    ref = Puppet.start(log)
    ref.tell(stubborn)
    ref.tell("never handled")
    runtime.settle()
    ref.exit(SHUTDOWN)
    ref.exit(Shutdown("again"))
    runtime.settle()
    assert ref.is_alive()
    gate.open()
    runtime.settle()
    assert log == ["at last", ("terminated", SHUTDOWN)]


def test_kill_does_not_wait_for_a_handler_that_will_not_be_cut_short(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    async def stubborn(_: Actor) -> None:
        await gate.insist()

    ref = Puppet.start(log)
    ref.tell(stubborn)
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    ref.kill()
    assert ref.exit_reason == KILLED
    assert runtime.actors == []
    gate.open()
    runtime.settle()
    assert log == []


def test_a_killed_handler_whose_coroutine_has_not_begun_leaves_nothing_behind(
    runtime: ManualRuntime, gate: Gate
) -> None:
    ref, killer = Waiting.start(gate), Puppet.start()
    ref.tell("wait")
    killer.tell(lambda _: ref.kill())
    runtime.settle()
    assert (ref.exit_reason, gate.waiting) == (KILLED, 0)


def test_the_exit_of_an_actor_by_itself_comes_after_the_handler(runtime: ManualRuntime, log: list[Any]) -> None:
    def shut_down(actor: Puppet) -> str:
        actor.actor_ref.exit(SHUTDOWN)
        actor.log.append("still here")
        return "answer"

    ref = Puppet.start(log)
    assert ref.ask(shut_down) == "answer"
    assert log == ["still here", ("terminated", SHUTDOWN)]


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("enough")], ids=repr)
def test_an_actor_stops_itself_after_all_earlier_messages(
    runtime: ManualRuntime, log: list[Any], reason: ExitReason
) -> None:
    ref = Puppet.start(log)
    ref.tell(lambda actor: (actor.send(actor, "earlier"), actor.stop(reason), actor.send(actor, "later")))
    ref.tell("earliest")
    runtime.settle()
    assert log == ["earliest", "earlier", ("terminated", reason)]
    assert ref.exit_reason == reason


def test_an_actor_cannot_stop_itself_for_what_is_no_reason(runtime: ManualRuntime, log: list[Any]) -> None:
    def stop_wrongly(actor: Puppet) -> str:
        with pytest.raises(TypeError, match="an exit reason must be NORMAL"):
            actor.stop("enough")
        return "goes on"

    assert Puppet.start(log).ask(stop_wrongly) == "goes on"


# A start that fails


class Unlucky(Actor):
    start_timeout = 5.0

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    async def on_start(self) -> None:
        await asyncio.sleep(self.seconds)
        raise BOOM


@pytest.mark.parametrize(("seconds", "why"), [(1.0, "ValueError: boom"), (60.0, "on_start took more than 5.0 seconds")])
def test_a_failed_start_that_nothing_awaits_is_logged(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, seconds: float, why: str
) -> None:
    ref = Unlucky.start(seconds)
    runtime.advance(10)
    assert not ref.is_alive()
    (record,) = caplog.records
    assert why in record.getMessage()
    assert record.getMessage().endswith("; nothing awaits ref.started(), which raises this")
    assert record.exc_info


def test_a_failed_start_that_is_awaited_is_not_logged(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StartError, match="could not start"):
        runtime.run(Unlucky.start(0.0).started())
    assert caplog.records == []


# Kill


def test_kill_skips_terminate_and_overtakes_messages(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)
    ref.tell("never handled")
    ref.kill()
    runtime.settle()
    assert (log, ref.exit_reason) == ([], KILLED)


def test_kill_cannot_be_trapped(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Trapping.start(log)
    ref.kill()
    runtime.settle()
    assert (log, ref.exit_reason) == ([], KILLED)


def test_kill_overtakes_an_exit_signal(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)
    ref.exit(SHUTDOWN)
    ref.kill()
    runtime.settle()
    assert (log, ref.exit_reason) == ([], KILLED)


def test_the_first_of_two_exit_signals_counts(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)
    ref.exit(Shutdown("first"))
    ref.exit(Shutdown("second"))
    runtime.settle()
    assert log == [("terminated", Shutdown("first"))]


def test_the_links_of_the_killed_end_as_killed_and_may_clean_up(runtime: ManualRuntime, log: list[Any]) -> None:
    ref, linked = Puppet.start(), Puppet.start(log)
    linked.ask(lambda actor: actor.link(ref))
    ref.kill()
    runtime.settle()
    assert log == [("terminated", KILLED)]
    assert linked.exit_reason == KILLED


def test_the_end_of_the_killed_can_be_trapped_by_its_links(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    probe.link(ref)
    ref.kill()
    exited = probe.assert_receive(Exit)
    assert (exited.actor, exited.reason) == (ref, KILLED)


# Exit signals


@pytest.mark.parametrize("sender", ["nobody", "a link"])
def test_a_normal_exit_is_ignored(runtime: ManualRuntime, sender: str) -> None:
    ref, linked = Puppet.start(), Puppet.start()
    ref.ask(lambda actor: actor.link(linked))
    if sender == "nobody":
        ref.exit(NORMAL)
    else:
        linked.stop()
    runtime.settle()
    assert ref.is_alive()


def test_a_normal_exit_of_a_link_is_seen_by_who_traps(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    probe.link(ref)
    ref.stop()
    assert probe.assert_receive(Exit).reason == NORMAL


REASONS = pytest.mark.parametrize("reason", [SHUTDOWN, Shutdown("x"), Crash(BOOM), KILLED], ids=repr)


@REASONS
def test_a_link_ends_with_the_same_reason(runtime: ManualRuntime, log: list[Any], reason: ExitReason) -> None:
    ref, linked = Puppet.start(), Puppet.start(log)
    ref.ask(lambda actor: actor.link(linked))
    ref.exit(reason)
    runtime.settle()
    assert linked.exit_reason == reason
    assert log == [("terminated", reason)]


@REASONS
def test_whoever_traps_gets_a_message_instead(runtime: ManualRuntime, log: list[Any], reason: ExitReason) -> None:
    ref, trapping = Puppet.start(), Trapping.start(log)
    trapping.ask(lambda actor: actor.link(ref))
    ref.exit(reason)
    runtime.settle()
    assert trapping.is_alive()
    assert not trapping.process.links
    assert [(exited.actor, exited.reason) for exited in log] == [(ref, reason)]


def test_exit_from_nobody_ends_even_who_traps(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Trapping.start(log)
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert log == [("terminated", SHUTDOWN)]


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, KILLED], ids=repr)
def test_the_end_of_a_parent_is_an_order_even_when_normal_or_trapped(
    runtime: ManualRuntime, log: list[Any], reason: ExitReason
) -> None:
    parent = Puppet.start()
    child = spawn(Trapping, (log,), parent=parent.process)
    if reason == NORMAL:
        parent.stop()
    else:
        parent.exit(reason)
    runtime.settle()
    assert log == [("terminated", reason)]
    assert child.exit_reason == reason


def test_the_end_of_a_child_is_an_exit_of_a_link_for_its_parent(runtime: ManualRuntime, log: list[Any]) -> None:
    parent = Trapping.start(log)
    child = spawn(Puppet, parent=parent.process)
    child.exit(Shutdown("left"))
    runtime.settle()
    assert [(exited.actor, exited.reason) for exited in log] == [(child, Shutdown("left"))]


def test_death_travels_along_links_and_each_link_is_told_once(runtime: ManualRuntime, log: list[Any]) -> None:
    ring = [Puppet.start(log) for _ in range(50)]
    for ref, after in zip(ring, [*ring[1:], ring[0]], strict=True):
        ref.ask(lambda actor, after=after: actor.link(after))
    ring[20].exit(SHUTDOWN)
    runtime.settle()
    assert log == [("terminated", SHUTDOWN)] * 50
    assert runtime.actors == []


# Links


def test_a_link_to_the_dead_is_an_exit_signal_with_no_process(runtime: ManualRuntime) -> None:
    dead, ref, probe = Puppet.start(), Puppet.start(), Probe()
    dead.stop()
    ref.ask(lambda actor: actor.link(dead))
    runtime.settle()
    assert ref.exit_reason == NO_PROCESS
    probe.link(dead)
    assert probe.assert_receive(Exit).reason == NO_PROCESS


def test_a_link_to_oneself_is_none(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    ref.ask(lambda actor: actor.link(actor.actor_ref))
    assert not ref.process.links
    ref.stop()
    assert ref.exit_reason == NORMAL


@pytest.mark.parametrize("who", ["the one", "the other"])
def test_unlink_undoes_a_link_from_either_side(runtime: ManualRuntime, who: str) -> None:
    one, other = Puppet.start(), Puppet.start()
    one.ask(lambda actor: actor.link(other))
    if who == "the one":
        one.ask(lambda actor: actor.unlink(other))
    else:
        other.ask(lambda actor: actor.unlink(one))
    one.exit(SHUTDOWN)
    runtime.settle()
    assert other.is_alive()


def test_linking_twice_is_linking_once(runtime: ManualRuntime, log: list[Any]) -> None:
    one, other = Trapping.start(log), Puppet.start()
    for _ in range(2):
        one.ask(lambda actor: actor.link(other))
    other.exit(SHUTDOWN)
    runtime.settle()
    assert len(log) == 1


def test_unlinking_what_was_never_linked_changes_nothing(runtime: ManualRuntime) -> None:
    one, other = Puppet.start(), Puppet.start()
    one.ask(lambda actor: actor.unlink(other))
    assert one.is_alive()


# Monitors


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda ref: ref.stop(block=False), NORMAL),
        (lambda ref: ref.exit(SHUTDOWN), SHUTDOWN),
        (lambda ref: ref.kill(), KILLED),
        (lambda ref: ref.tell(crash), Crash(BOOM)),
    ],
    ids=["stop", "exit", "kill", "crash"],
)
def test_a_monitor_is_told_once_how_it_ended(
    runtime: ManualRuntime, end: Callable[[ActorRef[Any]], None], reason: ExitReason
) -> None:
    probe, ref = Probe(), Puppet.start()
    monitor = probe.monitor(ref)
    end(ref)
    down = probe.assert_receive(Down)
    assert (down.ref, down.actor, down.reason) == (monitor, ref, reason)
    probe.refute_received(Down)


def test_each_monitor_brings_its_own_down(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    monitors = [probe.monitor(ref), probe.monitor(ref)]
    ref.stop()
    assert [probe.assert_receive(Down).ref for _ in range(2)] == monitors


def test_a_monitor_of_the_dead_brings_no_process_at_once(runtime: ManualRuntime) -> None:
    probe, dead = Probe(), Puppet.start()
    dead.stop()
    monitor = probe.monitor(dead)
    down = probe.assert_receive(Down)
    assert (down.ref, down.actor, down.reason) == (monitor, dead, NO_PROCESS)


def test_the_end_of_a_watcher_touches_nobody(runtime: ManualRuntime) -> None:
    watcher, ref = Puppet.start(), Puppet.start()
    watcher.ask(lambda actor: actor.monitor(ref))
    assert len(ref.process.watchers or ()) == 1
    watcher.exit(SHUTDOWN)
    runtime.settle()
    assert ref.is_alive()
    assert not ref.process.watchers


def test_a_demonitored_actor_is_not_watched(runtime: ManualRuntime, log: list[Any]) -> None:
    watcher, ref = Puppet.start(log), Puppet.start()
    monitor = watcher.ask(lambda actor: actor.monitor(ref))
    watcher.ask(lambda actor: actor.demonitor(monitor))
    watcher.ask(lambda actor: actor.demonitor(monitor))
    ref.stop()
    runtime.settle()
    assert log == []


@pytest.mark.parametrize(("flush", "kept"), [(False, ["before", "Down", "after"]), (True, ["before", "after"])])
def test_flush_takes_a_down_out_of_the_mailbox(
    runtime: ManualRuntime,
    gate: Gate,
    log: list[Any],
    flush: bool,  # noqa: FBT001  # a column of the table
    kept: list[str],
) -> None:
    watcher, ref, other = Puppet.start(log), Puppet.start(), Puppet.start()
    monitor = watcher.ask(lambda actor: actor.monitor(ref))

    async def wait_and_demonitor(actor: Puppet) -> None:
        await gate.wait()
        actor.demonitor(monitor, flush=flush)

    watcher.tell(wait_and_demonitor)
    watcher.tell("before")
    ref.stop()
    watcher.tell("after")
    assert other.is_alive()
    gate.open()
    runtime.settle()
    assert ["Down" if isinstance(message, Down) else message for message in log] == kept


def test_flush_leaves_other_downs_in_the_mailbox(runtime: ManualRuntime, log: list[Any]) -> None:
    watcher, first, second = Puppet.start(log), Puppet.start(), Puppet.start()
    first.stop()
    second.stop()

    def watch_both(actor: Puppet) -> None:
        monitor = actor.monitor(first)
        actor.monitor(second)
        actor.demonitor(monitor, flush=True)

    watcher.ask(watch_both)
    runtime.settle()
    assert [down.actor for down in log] == [second]


# The order of an end


def test_links_are_told_before_monitors_each_in_the_order_they_were_made(
    runtime: ManualRuntime, log: list[Any]
) -> None:
    ref = Puppet.start()
    bonds = [("monitor", "a"), ("link", "b"), ("monitor", "c"), ("link", "d")]

    class Bonded(Actor):
        def __init__(self, kind: str, name: str) -> None:
            self.kind, self.name = kind, name

        def on_start(self) -> None:
            self.trap_exit = True
            (self.monitor if self.kind == "monitor" else self.link)(ref)

        def on_receive(self, message: Any) -> None:
            log.append((type(message).__name__, self.name))

    for bond in bonds:
        Bonded.start(*bond)
    ref.stop()
    runtime.settle()
    assert log == [("Exit", "b"), ("Exit", "d"), ("Down", "a"), ("Down", "c")]


def test_an_actor_linked_and_monitoring_gets_exit_and_then_down(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    probe.monitor(ref)
    probe.link(ref)
    ref.stop()
    runtime.settle()
    assert [type(message) for message in probe.messages] == [Exit, Down]


@pytest.mark.parametrize("end", ["stop", "kill", "crash"])
def test_whoever_knows_of_a_death_finds_nothing_left(runtime: ManualRuntime, end: str) -> None:
    registry, closed, seen = Registry(), list[str](), list[Any]()

    class Rich(Actor):
        def on_start(self) -> None:
            self.register("rich")
            registry.register("rich", self.actor_ref)
            self.send_after(10, "x")
            self.send_interval(1, "x")
            self.own(lambda: closed.append("file"))

        def on_receive(self, message: Any) -> None:
            raise BOOM

    class Witness(Actor):
        def on_start(self) -> None:
            self.trap_exit = True
            self.link(ref)
            self.monitor(ref)

        def on_receive(self, message: Any) -> None:
            seen.append(
                (
                    type(message).__name__,
                    ref.is_alive(),
                    self.whereis("rich"),
                    len(registry),
                    self.clock.pending(),
                    list(closed),
                    ref in ActorRegistry.get_all(),
                    ref in runtime.actors,
                )
            )

    def look(_: Any) -> None:
        seen.append(
            ("down", ref.is_alive(), runtime._scheduler.names.whereis("rich"), len(registry), runtime.clock.pending())
        )

    ref = Rich.start()
    ref.down().add_done_callback(look)
    Witness.start()
    {"stop": lambda: ref.stop(block=False), "kill": ref.kill, "crash": lambda: ref.tell("x")}[end]()  # type: ignore[no-untyped-call]  # a table of three
    runtime.settle()
    nothing_left = (False, None, 0, 0, ["file"], False, False)
    assert seen == [("down", *nothing_left[:4]), ("Exit", *nothing_left), ("Down", *nothing_left)]


def test_terminate_runs_before_anything_is_let_go(runtime: ManualRuntime, log: list[Any]) -> None:
    class Tidy(Actor):
        def on_start(self) -> None:
            self.register("tidy")
            self.own(lambda: log.append("closed"))

        def terminate(self, reason: ExitReason) -> None:
            log.append(("terminate", self.whereis("tidy") is self.actor_ref))

    Tidy.start().stop()
    assert log == [("terminate", True), "closed"]


def test_whoever_asked_is_answered_when_the_supervisor_has_been_told(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    probe.link(ref)
    told: list[Any] = []
    asked = ref.ask(crash, block=False)
    asked.add_done_callback(lambda _: told.extend(probe.ref.process.queue or ()))
    runtime.settle()
    assert [type(message) for message in told] == [Exit]


def test_exits_and_downs_come_after_what_the_dead_sent_before(runtime: ManualRuntime) -> None:
    probe, ref = Probe(), Puppet.start()
    probe.monitor(ref)

    def last_words(actor: Puppet) -> Stop:
        actor.send(probe.ref, "last words")
        return Stop()

    ref.tell(last_words)
    runtime.settle()
    assert [message if isinstance(message, str) else type(message) for message in probe.messages] == [
        "last words",
        Down,
    ]


def test_messages_from_one_to_another_keep_their_order(runtime: ManualRuntime, log: list[Any]) -> None:
    receiver = Puppet.start(log)
    senders = [Puppet.start() for _ in range(3)]

    def send_all(name: int) -> Callable[[Puppet], None]:
        def send(actor: Puppet) -> None:
            for number in range(200):
                actor.send(receiver, (name, number))

        return send

    for name, sender in enumerate(senders):
        sender.tell(send_all(name))
    runtime.settle()
    for name in range(3):
        assert [number for who, number in log if who == name] == list(range(200))


# What it owns


def test_everything_owned_is_closed_though_one_cannot_be(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, log: list[Any]
) -> None:
    def bad() -> None:
        raise BOOM

    ref = Puppet.start()
    ref.ask(lambda actor: actor.own(bad))
    ref.ask(lambda actor: actor.own(lambda: log.append("closed")))
    ref.kill()
    runtime.settle()
    assert log == ["closed"]
    assert ["could not close what it owned" in message for message in caplog.messages] == [True]


def test_what_the_dead_come_to_own_is_closed_at_once(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start()
    ref.stop()
    ref.process.own(lambda: log.append("closed"))
    assert log == ["closed"]


# Terminate


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("x"), Crash(BOOM)], ids=repr)
def test_an_async_terminate_is_waited_for(runtime: ManualRuntime, gate: Gate, reason: ExitReason) -> None:
    class Slow(Puppet):
        async def terminate(self, reason: ExitReason) -> None:
            self.log.append(reason)
            await gate.wait()

    log: list[Any] = []
    probe, ref = Probe(), Slow.start(log)
    probe.monitor(ref)
    ref.tell(lambda _: Stop(reason))
    runtime.settle()
    assert ref.is_alive()
    probe.refute_received(Down)
    gate.open()
    assert probe.assert_receive(Down).reason == reason
    assert log == [reason]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_an_exception_in_terminate_is_the_reason_and_is_reported(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    class Bad(Actor):
        def terminate(self, reason: ExitReason) -> Any:
            if kind == "async def":
                return self.later()
            raise BOOM

        async def later(self) -> None:
            await asyncio.sleep(0)
            raise BOOM

    probe, ref = Probe(), Bad.start()
    probe.monitor(ref)
    assert ref.stop() is True
    assert probe.assert_receive(Down).reason == Crash(BOOM)
    assert len(crashes(caplog)) == 1


def test_a_cancelled_error_in_terminate_ends_only_that_actor(runtime: ManualRuntime) -> None:
    class Bad(Actor):
        async def terminate(self, reason: ExitReason) -> None:
            raise asyncio.CancelledError

    bystander, ref = Puppet.start(), Bad.start()
    ref.stop()
    assert isinstance(ref.exit_reason, Crash)
    assert bystander.ask(lambda _: "unharmed") == "unharmed"


class Leaving(Puppet):
    """Takes its time to leave."""

    def __init__(self, gate: Gate, log: list[Any]) -> None:
        super().__init__(log)
        self.gate = gate

    async def terminate(self, reason: ExitReason) -> None:
        await self.gate.wait()
        self.log.append(("terminated", reason))


def test_kill_ends_a_terminate_that_takes_too_long(runtime: ManualRuntime, gate: Gate, log: list[Any]) -> None:
    ref = Leaving.start(gate, log)
    stopped = ref.stop(block=False)
    runtime.settle()
    assert gate.waiting == 1
    ref.kill()
    assert ref.exit_reason == KILLED
    runtime.settle()
    assert (log, stopped.get()) == ([], True)


@pytest.mark.parametrize("reason", [NORMAL, Shutdown("again"), Crash(BOOM)], ids=repr)
def test_an_exit_signal_leaves_one_that_is_terminating_in_peace(
    runtime: ManualRuntime, gate: Gate, log: list[Any], reason: ExitReason
) -> None:
    ref = Leaving.start(gate, log)
    ref.exit(SHUTDOWN)
    runtime.settle()
    ref.exit(reason)
    runtime.settle()
    assert ref.is_alive()
    gate.open()
    runtime.settle()
    assert log == [("terminated", SHUTDOWN)]


def test_the_asker_of_a_crash_gets_its_exception_though_a_signal_came_while_it_terminated(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    ref = Leaving.start(gate, log)
    asked = ref.ask(crash, block=False)
    runtime.settle()
    ref.exit(SHUTDOWN)
    assert not asked.done
    gate.open()
    runtime.settle()
    assert asked.exception is BOOM
    assert ref.exit_reason == Crash(BOOM)


def test_messages_to_one_that_is_terminating_are_not_handled_and_asks_fail(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    ref = Leaving.start(gate, log)
    ref.stop(block=False)
    runtime.settle()
    ref.tell("too late")
    asked = ref.ask("too late", block=False)
    gate.open()
    runtime.settle()
    assert isinstance(asked.exception, pykka.ActorDeadError)
    assert log == [("terminated", NORMAL)]


def test_an_asker_of_a_handler_cut_short_by_a_crashed_link_learns_that_the_actor_is_dead(
    runtime: ManualRuntime, gate: Gate
) -> None:
    ref, linked = Waiting.start(gate), Puppet.start()
    linked.ask(lambda actor: actor.link(ref))
    asked = ref.ask("wait", block=False)
    runtime.settle()
    linked.exit(BOOM)
    runtime.settle()
    assert ref.exit_reason == Crash(BOOM)
    assert isinstance(asked.exception, pykka.ActorDeadError)


# An on_start that waits


class Starting(Puppet):
    """Takes its time to start."""

    def __init__(self, gate: Gate, log: list[Any], error: BaseException | None = None) -> None:
        super().__init__(log)
        self.gate, self.error = gate, error

    async def on_start(self) -> None:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.log.append("started")


def test_messages_wait_for_an_async_on_start(runtime: ManualRuntime, gate: Gate, log: list[Any]) -> None:
    ref = Starting.start(gate, log)
    ref.tell("first")
    asked = ref.ask(lambda _: "answer", block=False)
    runtime.settle()
    assert (log, asked.done) == ([], False)
    gate.open()
    runtime.settle()
    assert (log, asked.get()) == (["started", "first"], "answer")


def test_started_is_the_future_of_an_async_on_start(runtime: ManualRuntime, gate: Gate, log: list[Any]) -> None:
    ref = Starting.start(gate, log)
    started = ref.process.started
    assert started is not None
    runtime.settle()
    assert not started.done
    gate.open()
    assert runtime.run(started) is ref
    assert ref.process.started is None


@pytest.mark.parametrize("error", [BOOM, asyncio.CancelledError()], ids=lambda error: type(error).__name__)
def test_an_async_on_start_that_fails_is_the_starters_error_and_not_the_parents(
    runtime: ManualRuntime, gate: Gate, log: list[Any], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    heard: list[Any] = []
    parent = Trapping.start(heard)
    ref = spawn(Starting, (gate, log, error), parent=parent.process, label="slow")
    started, asked = ref.process.started, ref.ask("x", block=False)
    assert started is not None
    started.add_done_callback(log.append)
    runtime.settle()
    gate.open()
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert type(started.exception.cause) is type(error)
    assert str(started.exception).startswith(f"slow {ref.pid} could not start: {type(error).__name__}")
    assert isinstance(asked.exception, pykka.ActorDeadError)
    assert (log, heard, ref.is_alive(), caplog.records) == ([started], [], False, [])


@pytest.mark.parametrize("reason", [KILL, SHUTDOWN], ids=repr)
def test_an_actor_that_is_ended_while_it_starts_does_not_terminate(
    runtime: ManualRuntime, gate: Gate, log: list[Any], reason: object
) -> None:
    heard: list[Any] = []
    parent = Trapping.start(heard)
    ref = spawn(Starting, (gate, log), parent=parent.process)
    started = ref.process.started
    assert started is not None
    runtime.settle()
    ref.exit(reason)
    runtime.settle()
    assert isinstance(started.exception, pykka.ActorDeadError)
    assert "was ended while it started" in str(started.exception)
    assert ref.exit_reason == (KILLED if reason is KILL else SHUTDOWN)
    assert (log, gate.passed) == ([], 0)
    assert [exited.reason for exited in heard] == [ref.exit_reason]


def test_an_actor_that_started_though_it_was_told_to_end_terminates(
    runtime: ManualRuntime, gate: Gate, log: list[Any]
) -> None:
    class Stubborn(Puppet):
        async def on_start(self) -> None:
            await gate.insist()
            self.log.append("started")

    ref = Stubborn.start(log)
    started = ref.process.started
    assert started is not None
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    gate.open()
    runtime.settle()
    assert isinstance(started.exception, pykka.ActorDeadError)
    assert log == ["started", ("terminated", SHUTDOWN)]


def test_a_plain_on_start_that_asks_for_its_own_end_is_obeyed(runtime: ManualRuntime, log: list[Any]) -> None:
    class Short(Puppet):
        def on_start(self) -> None:
            self.actor_ref.exit(SHUTDOWN)

    ref = Short.start(log)
    assert ref.is_alive()
    runtime.settle()
    assert log == [("terminated", SHUTDOWN)]


# Counting


def test_messages_handled_are_counted(runtime: ManualRuntime) -> None:
    async def wait(_: Actor) -> None:
        await asyncio.sleep(0)

    ref = Puppet.start()
    for message in ("a", wait, "b", "c", wait, wait, "d"):
        ref.tell(message)
    runtime.settle()
    assert ref.process.handled == 7


def test_an_idle_actor_keeps_no_mailbox(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    sizes = [ref.process.queue]
    ref.tell("x")
    sizes.append(ref.process.queue and ref.process.queue.copy())
    runtime.settle()
    sizes.append(ref.process.queue)
    assert sizes == [None, deque(["x"]), None]
    assert ref.process.current is None


# Many


def test_ten_thousand_actors_start_are_asked_crash_and_stop_and_nothing_remains(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "ashtree.actors")

    class Small(Actor):
        def on_start(self) -> None:
            self.send_after(60, "x")

        def on_receive(self, message: Any) -> Any:
            if message == "crash":
                raise ValueError("boom")
            return message

    probe = Probe()
    refs = [Small.start() for _ in range(10_000)]
    for ref in refs:
        probe.monitor(ref)
    answers = [ref.ask(number, block=False) for number, ref in enumerate(refs)]
    runtime.settle()
    assert [answer.get() for answer in answers] == list(range(10_000))
    for ref in refs[::2]:
        ref.tell("crash")
    stops = [ref.stop(block=False) for ref in refs[1::2]]
    runtime.settle()
    assert all(stop.get() for stop in stops)
    assert len(probe.messages) == 10_000
    assert sum(isinstance(down.reason, Crash) for down in probe.messages) == 5_000
    assert runtime.actors == ActorRegistry.get_all() == [probe.ref]
    assert (runtime.clock.pending(), len(runtime._scheduler._ready)) == (0, 0)
    assert not probe.ref.process.watching


@pytest.mark.parametrize("reason", [KILL, SHUTDOWN], ids=["kill", "shutdown"])
def test_an_actor_that_is_ended_while_it_awaits_an_answer_goes_no_further(runtime: ManualRuntime, reason: Any) -> None:
    log: list[str] = []

    class Killer(Actor):
        def on_receive(self, victim: ActorRef[Any]) -> str:
            victim.exit(reason)
            return "an answer, at once"

    class Victim(Actor):
        async def on_receive(self, killer: ActorRef[Any]) -> None:
            await killer.call(self.actor_ref)
            log.append("went on")

    victim = Victim.start()
    victim.send(Killer.start())
    runtime.settle()
    assert not victim.is_alive()
    assert log == []


def test_a_signal_that_comes_before_the_coroutine_of_a_handler_has_begun_cuts_it_short(runtime: ManualRuntime) -> None:
    class Leaving(Actor):
        def on_receive(self, message: object) -> Any:
            self.actor_ref.exit(SHUTDOWN)
            return asyncio.Event().wait()

    leaving = Leaving.start()
    leaving.send("go")
    runtime.settle()
    assert leaving.exit_reason == SHUTDOWN


def test_a_start_that_is_ended_before_its_coroutine_began_is_over_before_terminate(runtime: ManualRuntime) -> None:
    dead = Actor.start()
    dead.kill()
    runtime.settle()

    class Linked(Actor):
        def on_start(self) -> Any:
            self.link(dead)
            return asyncio.Event().wait()

    linked = Linked.start()
    runtime.settle()
    assert linked.exit_reason == NO_PROCESS
    assert not [task for task in asyncio.all_tasks(linked.process.scheduler.loop) if not task.done()]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit()], ids=repr)
def test_what_would_end_the_asker_too_reaches_it_as_a_death(runtime: ManualRuntime, error: BaseException) -> None:
    class Exiting(Actor):
        async def on_receive(self, message: object) -> None:
            raise error

    exiting = Exiting.start()
    with pytest.raises(pykka.ActorDeadError, match=type(error).__name__) as raised:
        exiting.ask("a question")
    assert type(raised.value.__cause__) is type(error)
    assert isinstance(exiting.exit_reason, Crash)
