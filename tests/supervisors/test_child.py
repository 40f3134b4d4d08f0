"""Starting and stopping children, as every supervisor does it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, NameTakenError, StartError
from actors.exits import KILLED, NORMAL, SHUTDOWN, Crash, Exit, Shutdown
from actors.future import Future
from actors.ref import ActorRef
from actors.registry import Registry
from actors.via import Via
from supervisors.backoff import Backoff
from supervisors.child import Child, ChildInfo, launch, start, stop_children, until_started
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildKind, ChildSpec
from supervisors.supervisor import Supervisor
from tests.supervisors.workers import BoomError, Worker, worker

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.testing import ManualRuntime


class Parent(Actor):
    """Does with its process what it is sent, and keeps the exits of its children."""

    def __init__(self, exits: list[Exit]) -> None:
        self.exits = exits

    def on_start(self) -> None:
        self.trap_exit = True

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, Exit):
            self.exits.append(message)
            return None
        return message(self._process)


@pytest.fixture
def exits() -> list[Exit]:
    return []


@pytest.fixture
def parent(runtime: ManualRuntime, exits: list[Exit]) -> ActorRef[Parent]:
    return Parent.start(exits)


@pytest.fixture
def launched(parent: ActorRef[Parent]) -> Callable[[ChildSpec], tuple[Child, ActorRef[Any]]]:
    def launch_one(spec: ChildSpec) -> tuple[Child, ActorRef[Any]]:
        child = Child(spec)
        launch(parent.process, child)
        assert child.ref is not None
        return child, child.ref

    return launch_one


Launched = Callable[[ChildSpec], tuple[Child, ActorRef[Any]]]


def stop(parent: ActorRef[Parent], *children: Child, reason: Any = SHUTDOWN) -> Future[None]:
    def do(process: Process) -> Awaitable[None]:
        return stop_children(process, children, reason)

    return parent.ask(do, block=False, timeout=None)


# Start


def test_a_plain_child_has_started_when_launch_returns(parent: ActorRef[Parent], journal: list[str]) -> None:
    child = Child(worker("a", journal))
    assert launch(parent.process, child) is None
    assert journal == ["a starts"]
    assert child.ref is not None
    assert child.ref.ask("it") == "a got it"


def test_a_child_gets_its_arguments_anew_at_each_start(parent: ActorRef[Parent], journal: list[str]) -> None:
    child = Child(ChildSpec(Worker, ("a", journal), {"end_takes": 2.0}))
    for _ in range(2):
        launch(parent.process, child)
        assert child.ref is not None
        assert child.ref.proxy().end_takes.get() == 2.0
    assert journal == ["a starts", "a starts"]


def test_launch_returns_the_future_of_an_async_start(
    runtime: ManualRuntime, parent: ActorRef[Parent], journal: list[str]
) -> None:
    child = Child(worker("a", journal, start_takes=3))
    started = launch(parent.process, child)
    assert started is not None
    runtime.advance(2.999)
    assert not started.done
    runtime.advance(0.001)
    assert started.result() is child.ref


def test_a_child_is_linked_to_its_parent(
    runtime: ManualRuntime, launched: Launched, journal: list[str], exits: list[Exit]
) -> None:
    _, ref = launched(worker("a", journal))
    ref.send(BoomError())
    runtime.settle()
    (exit_,) = exits
    assert exit_.actor is ref
    assert isinstance(exit_.reason, Crash)


@pytest.mark.parametrize(
    ("options", "label"),
    [({}, "Worker"), ({"id": "seven"}, "seven"), ({"id": ("room", 7)}, "('room', 7)"), ({"id": 7, "name": "n"}, "n")],
    ids=["the class", "the id", "the id in words", "the name"],
)
def test_a_child_is_labelled_by_its_name_or_id(
    options: dict[str, Any], label: str, launched: Launched, journal: list[str]
) -> None:
    _, ref = launched(ChildSpec(Worker, ("a", journal), **options))
    assert str(ref) == f"{label} {ref.pid}"


def test_a_child_is_registered_under_its_name(launched: Launched, journal: list[str]) -> None:
    _, ref = launched(worker("a", journal, name="the one"))
    assert ref.process.scheduler.names.whereis("the one") is ref


def test_a_child_is_registered_via_a_registry_at_each_start(parent: ActorRef[Parent], journal: list[str]) -> None:
    rooms = Registry()
    child = Child(worker("a", journal, name=Via(rooms, "lobby", 3)))
    for _ in range(2):
        launch(parent.process, child)
        assert child.ref is not None
        assert rooms.lookup("lobby") == [(child.ref, 3)]
        assert str(child.ref) == f"lobby {child.ref.pid}"
        stop(parent, child).get()
        assert rooms.lookup("lobby") == []


def test_a_name_that_is_taken_is_a_start_error(
    parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    launched(worker("a", journal, name="the one"))
    second = Child(worker("b", journal, name="the one"))
    with pytest.raises(StartError) as caught:
        launch(parent.process, second)
    assert isinstance(caught.value.root, NameTakenError)
    assert second.ref is None


@pytest.mark.parametrize("error", [BoomError("no"), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_a_failure_in_init_is_a_start_error(parent: ActorRef[Parent], error: BaseException) -> None:
    class Failing(Actor):
        def __init__(self) -> None:
            raise error

    with pytest.raises(StartError) as caught:
        launch(parent.process, Child(ChildSpec(Failing, id="it")))
    assert caught.value.label == "it"
    assert caught.value.cause is error
    assert caught.value.__cause__ is error


def test_wrong_arguments_are_a_start_error(parent: ActorRef[Parent]) -> None:
    with pytest.raises(StartError, match=r"Worker could not start: TypeError: .*label"):
        launch(parent.process, Child(ChildSpec(Worker)))


@pytest.mark.parametrize("error", [BoomError("no"), GeneratorExit()], ids=lambda e: type(e).__name__)
def test_a_failure_in_on_start_is_a_start_error(
    runtime: ManualRuntime,
    parent: ActorRef[Parent],
    error: BaseException,
    journal: list[str],
    exits: list[Exit],
) -> None:
    child = Child(worker("a", journal, plan=[error]))
    with pytest.raises(StartError) as caught:
        launch(parent.process, child)
    runtime.settle()
    assert caught.value.root is error
    assert child.ref is None
    assert exits == []


def test_start_waits_for_an_async_start(runtime: ManualRuntime, parent: ActorRef[Parent], journal: list[str]) -> None:
    child = Child(worker("a", journal, start_takes=3))
    started = parent.ask(lambda process: start(process, child), block=False)
    runtime.advance(2.999)
    assert not started.done
    runtime.advance(0.001)
    assert started.result() is None


def test_a_failure_in_an_async_start_is_a_start_error(
    runtime: ManualRuntime, parent: ActorRef[Parent], journal: list[str]
) -> None:
    error = BoomError("no")
    child = Child(worker("a", journal, start_takes=1, plan=[error]))
    started = launch(parent.process, child)
    assert started is not None
    runtime.advance(1)
    with pytest.raises(StartError) as caught:
        runtime.run(until_started(child, started))
    assert caught.value.root is error


@pytest.mark.parametrize("reason", [KILLED, SHUTDOWN, Shutdown("enough")], ids=str)
def test_a_child_that_is_ended_while_it_starts_is_a_start_error(
    reason: Any, runtime: ManualRuntime, parent: ActorRef[Parent], journal: list[str]
) -> None:
    child = Child(worker("a", journal, start_takes=1))
    started = launch(parent.process, child)
    assert started is not None
    assert child.ref is not None
    child.ref.exit(reason)
    runtime.settle()
    with pytest.raises(
        StartError, match=rf"^a {child.ref.pid} could not start: .* was ended while it started"
    ) as caught:
        runtime.run(until_started(child, started))
    assert isinstance(caught.value.root, ActorDeadError)


def test_the_info_of_a_child_is_a_row_of_which_children(launched: Launched, journal: list[str]) -> None:
    child, ref = launched(worker("a", journal))
    worker_kind = ChildKind.WORKER
    assert child.info() == ChildInfo(id="a", ref=ref, kind=worker_kind, actor=Worker, restarts=0, restarting=False)
    child.again, child.restarts = object(), 2
    assert child.info() == ChildInfo("a", None, worker_kind, Worker, 2, restarting=True)
    child.ref = child.again = None
    assert child.info() == ChildInfo("a", None, worker_kind, Worker, 2, restarting=False)


@pytest.mark.parametrize(
    ("runs", "again", "is_running", "is_stopped"),
    [(True, False, True, False), (True, True, False, False), (False, True, False, False), (False, False, False, True)],
    ids=["runs", "ended and waits", "never ran and waits", "stopped"],
)
def test_a_child_runs_or_is_stopped_or_is_to_be_started_again(
    runs: Any, again: Any, is_running: Any, is_stopped: Any, *, launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal))
    child.ref, child.again = ref if runs else None, object() if again else None
    assert (child.is_running, child.is_stopped) == (is_running, is_stopped)


def test_a_child_waits_as_its_spec_says(journal: list[str]) -> None:
    child = Child(worker("a", journal, backoff=Backoff(min=1, max=60, jitter=0.5)))
    assert [child.wait(now=0, chance=0), child.wait(now=1, chance=1)] == [1, 1]
    assert Child(worker("a", journal)).wait(now=0, chance=0) == 0


# Stop


def test_children_are_told_to_shut_down_and_awaited(
    runtime: ManualRuntime, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal, end_takes=2))
    stopped = stop(parent, child)
    runtime.advance(1.999)
    assert not stopped.done
    assert child.ref is ref
    runtime.advance(0.001)
    assert stopped.result() is None
    assert journal == ["a starts", "a is ending", "a ends: shutdown"]
    assert not child.info().ref
    assert ref.exit_reason == SHUTDOWN


@pytest.mark.parametrize(
    ("reason", "said"), [(NORMAL, "normal"), (Shutdown("leave"), "shutdown, leave"), (Crash(BoomError()), "BoomError")]
)
def test_children_may_be_ended_for_another_reason(
    reason: Any, said: str, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal))
    stop(parent, child, reason=reason).get()
    assert journal[-1] == f"a ends: {said}"
    assert ref.exit_reason == reason


def test_a_child_that_waits_in_a_handler_ends_at_once(
    parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal))
    ref.send(100.0)
    stop(parent, child).get()
    assert journal == ["a starts", "a ends: shutdown"]


def test_children_are_told_together(
    runtime: ManualRuntime, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    children = [launched(worker(label, journal, end_takes=seconds))[0] for label, seconds in [("a", 3), ("b", 1)]]
    stopped = stop(parent, *children)
    runtime.advance(3)
    assert stopped.done
    assert journal[2:] == ["a is ending", "b is ending", "b ends: shutdown", "a ends: shutdown"]


def test_a_child_that_takes_too_long_is_killed_and_the_log_says_so(
    runtime: ManualRuntime,
    parent: ActorRef[Parent],
    launched: Launched,
    journal: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    child, ref = launched(worker("a", journal, end_takes=None))
    name = str(ref)
    stopped = stop(parent, child)
    runtime.advance(4.999)
    assert ref.is_alive()
    assert not caplog.records
    runtime.advance(0.001)
    assert stopped.done
    assert ref.exit_reason == KILLED
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ashtree.supervisors", logging.WARNING)
    assert record.getMessage() == f"{name} did not end in time and is killed; its current message: none"


def test_the_log_names_the_message_that_a_child_hangs_in(
    runtime: ManualRuntime, parent: ActorRef[Parent], caplog: pytest.LogCaptureFixture, launched: Launched
) -> None:
    class Stubborn(Actor):
        async def on_receive(self, message: Any) -> None:
            for _ in range(2):
                with suppress(BaseException):  # it does not want to end; that is the test
                    await Future[None](self._process.scheduler)

    child, ref = launched(ChildSpec(Stubborn, shutdown=2))
    ref.send("the last one")
    runtime.settle()
    stopped = stop(parent, child)
    runtime.advance(2)
    assert stopped.done
    assert ref.exit_reason == KILLED
    assert caplog.messages == [f"{ref} did not end in time and is killed; its current message: 'the last one'"]


def test_seconds_are_counted_from_when_all_were_told(
    runtime: ManualRuntime, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    slow, late = [
        launched(worker(label, journal, end_takes=None, shutdown=seconds)) for label, seconds in [("a", 3), ("b", 4)]
    ]
    stopped = stop(parent, slow[0], late[0])
    runtime.advance(3)
    assert (slow[1].is_alive(), late[1].is_alive()) == (False, True)
    runtime.advance(1)
    assert not late[1].is_alive()
    assert stopped.done


def test_no_time_at_all_kills_what_does_not_end_at_once(
    runtime: ManualRuntime, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal, end_takes=1, shutdown=0))
    stopped = stop(parent, child)
    runtime.advance(0)
    assert stopped.done
    assert ref.exit_reason == KILLED


def test_brutal_kill_does_not_let_a_child_clean_up(
    parent: ActorRef[Parent], launched: Launched, journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    child, ref = launched(worker("a", journal, shutdown=BRUTAL_KILL))
    stop(parent, child).get()
    assert journal == ["a starts"]
    assert ref.exit_reason == KILLED
    assert not caplog.records


def test_infinity_waits_for_ever(
    runtime: ManualRuntime, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal, end_takes=1_000_000, shutdown=INFINITY))
    stopped = stop(parent, child)
    runtime.advance(999_999)
    assert not stopped.done
    runtime.advance(1)
    assert stopped.result() is None
    assert ref.exit_reason == SHUTDOWN


def test_children_that_do_not_run_are_passed_over(
    parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    never, (dead, ref) = Child(worker("never", journal)), launched(worker("dead", journal))
    ref.kill()
    stop(parent, never, dead).get()
    assert journal == ["dead starts"]
    assert [never.info().ref, dead.info().ref] == [None, None]


def test_a_child_that_is_still_starting_is_ended(
    runtime: ManualRuntime, parent: ActorRef[Parent], launched: Launched, journal: list[str]
) -> None:
    child, ref = launched(worker("a", journal, start_takes=100))
    runtime.settle()
    stop(parent, child).get()
    assert not ref.is_alive()
    assert "a starts" not in journal


class NeverStarted(Actor):
    async def on_start(self) -> None:
        await Future()


def test_a_child_that_is_long_in_its_async_start_is_logged_once_with_the_line_it_waits_at(
    runtime: ManualRuntime, parent: ActorRef[Parent], caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(ChildSpec(NeverStarted, name="late"))
    parent.send(lambda process: start(process, child))
    runtime.advance(4.9)
    assert caplog.messages == []
    runtime.advance(60)
    (line,) = caplog.messages
    assert child.ref is not None
    assert line.startswith(f"late {child.ref.pid} has been in on_start for 5 s; its supervisor waits for it\n")
    assert line.endswith("    await Future()")


def test_of_supervisors_that_start_only_the_child_that_they_wait_for_is_logged(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    below = ChildSpec(Supervisor, ([ChildSpec(NeverStarted, name="late")],), id="below")
    Supervisor.start([below])
    runtime.advance(60)
    assert [line.partition(" ")[0] for line in caplog.messages] == ["late"]


def test_a_child_that_has_started_in_time_is_not_logged(
    runtime: ManualRuntime, parent: ActorRef[Parent], journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Actor):
        async def on_start(self) -> None:
            opened: Future[None] = Future()
            self.clock.call_after(4.9, opened.set)
            await opened

    parent.send(lambda process: start(process, Child(ChildSpec(Slow))))
    runtime.advance(60)
    assert caplog.messages == []
