"""What a supervisor can be asked, and what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, StartError
from actors.exits import KILLED, NORMAL, SHUTDOWN
from actors.registry import ActorRegistry, Registry
from actors.via import Via
from supervisors.backoff import Backoff
from supervisors.calls import (
    ChildCount,
    count_children,
    delete_child,
    get_child_spec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from supervisors.child_spec import ChildKind
from supervisors.exceptions import (
    AlreadyPresentError,
    AlreadyStartedError,
    ChildExistsError,
    ChildNotFoundError,
    ChildRestartingError,
    ChildRunningError,
)
from supervisors.restart import Strategy
from supervisors.supervisor import Supervisor
from supervisors.system import System
from tests.supervisors.workers import (
    BoomError,
    Worker,
    child,
    child_now,
    crash,
    restarts,
    running,
    start,
    start_unsettled,
    stop,
    worker,
)

if TYPE_CHECKING:
    from actors.future import Future
    from actors.testing import ManualRuntime


def test_which_children_tells_all_in_start_order(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, restart="transient")])
    ref = child(supervisor, "a")
    child(supervisor, "b").send(NORMAL)
    runtime.settle()
    infos = which_children(supervisor).get()
    assert [tuple(info) for info in infos] == [
        ("a", ref, ChildKind.WORKER, Worker, 0, False),
        ("b", None, ChildKind.WORKER, Worker, 0, False),
    ]


def test_count_children_counts_specs_and_those_that_run(runtime: ManualRuntime, journal: list[str]) -> None:
    children = [worker("a", journal), worker("b", journal, restart="transient"), worker("c", journal)]
    supervisor = start(runtime, children)
    assert count_children(supervisor).get() == ChildCount(specs=3, active=3, supervisors=0, workers=3)
    child(supervisor, "b").send(NORMAL)
    runtime.settle()
    assert count_children(supervisor).get() == ChildCount(specs=3, active=2, supervisors=0, workers=3)


def test_start_child_adds_one_at_the_end(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    ref = start_child(supervisor, worker("b", journal)).get()
    assert child(supervisor, "b") is ref
    assert running(supervisor) == ["a", "b"]
    stop(runtime, supervisor)
    assert journal[2:] == ["b ends: shutdown", "a ends: shutdown"]


def test_a_child_that_was_added_is_supervised_as_the_others(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)], strategy=Strategy.REST_FOR_ONE)
    start_child(supervisor, worker("b", journal)).get()
    crash(runtime, supervisor, "a")
    assert journal == ["a starts", "b starts", "a ends: BoomError", "b ends: shutdown", "a starts", "b starts"]


def test_start_child_takes_an_actor_class(runtime: ManualRuntime) -> None:
    class Plain(Actor):
        pass

    supervisor = start(runtime, [])
    assert start_child(supervisor, Plain).get().actor_class is Plain


def test_start_child_refuses_what_is_no_child_before_anybody_is_asked(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [])
    no_child: Any = "no child"
    with pytest.raises(TypeError, match="got 'no child'"):
        start_child(supervisor, no_child)


def test_start_child_waits_for_a_slow_start_however_long(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [])
    started = start_child(supervisor, worker("a", journal, start_takes=60))
    waiting = awaited_on_the_clock(started)
    runtime.advance(59)
    assert not waiting.done
    runtime.advance(1)
    assert waiting.result() is child(supervisor, "a")


def awaited_on_the_clock(future: Future[Any]) -> Future[Any]:
    """Await a future in an actor, where its time-out is on the actors' clock."""

    class Waiter(Actor):
        async def on_receive(self, message: Future[Any]) -> Any:
            return await message

    return Waiter.start().ask(future, block=False, timeout=None)


@pytest.mark.parametrize("start_takes", [0.0, 1.0], ids=["at once", "later"])
def test_start_child_fails_with_the_child_and_forgets_it(
    start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    error = BoomError("no")
    supervisor = start(runtime, [worker("a", journal)])
    started = start_child(supervisor, worker("b", journal, plan=[error], start_takes=start_takes))
    runtime.advance(start_takes)
    assert isinstance(started.exception, StartError)
    assert started.exception.root is error
    assert [info.id for info in which_children(supervisor).get()] == ["a"]
    assert "a ends: shutdown" not in journal


def test_start_child_fails_when_the_child_is_killed_while_it_starts_and_the_supervisor_lives_on(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    started = start_child(supervisor, worker("b", journal, start_takes=1))
    runtime.settle()
    (starting,) = [ref for ref in ActorRegistry.get_by_class(Worker) if ref is not child_now(runtime, "a")]
    starting.kill()
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert isinstance(started.exception.root, ActorDeadError)
    assert running(supervisor) == ["a"]
    assert journal.count("a starts") == 1


def test_start_child_refuses_an_id_that_runs(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    ref = child(supervisor, "a")
    with pytest.raises(AlreadyStartedError, match=rf"^there is a child with id 'a' already; it runs: {ref}$") as caught:
        start_child(supervisor, worker("a", journal)).get()
    assert (caught.value.id, caught.value.ref) == ("a", ref)
    assert journal == ["a starts"]


@pytest.mark.parametrize("why", ["done", "terminated", "waiting"])
def test_start_child_refuses_an_id_that_is_there_and_does_not_run(
    why: str, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal, restart="transient", backoff=Backoff())])
    if why == "terminated":
        terminate_child(supervisor, "a").get()
    else:
        child(supervisor, "a").send(NORMAL if why == "done" else BoomError())
        runtime.settle()
    with pytest.raises(AlreadyPresentError, match=r"it does not run: start it with restart_child\(\)") as caught:
        start_child(supervisor, worker("a", journal)).get()
    assert isinstance(caught.value, ChildExistsError)
    assert journal.count("a starts") == 1


@pytest.mark.parametrize("why", ["done", "terminated"])
def test_restart_child_starts_one_that_does_not_run_in_its_old_place(
    why: str, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal, restart="transient"), worker("b", journal)])
    before = child(supervisor, "a")
    if why == "terminated":
        terminate_child(supervisor, "a").get()
    else:
        before.send(NORMAL)
        runtime.settle()
    after = restart_child(supervisor, "a").get()
    assert after is not before
    assert child(supervisor, "a") is after
    assert running(supervisor) == ["a", "b"]
    assert restarts(which_children(supervisor).get()) == {"a": 0, "b": 0}


def test_a_child_that_was_restarted_by_hand_is_supervised_as_before(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    terminate_child(supervisor, "a").get()
    restart_child(supervisor, "a").get()
    crash(runtime, supervisor, "a")
    assert running(supervisor) == ["a"]
    assert journal.count("a starts") == 3


def test_a_child_that_was_restarted_by_hand_waits_as_at_first_when_it_ends(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal, backoff=Backoff(min=1))])
    crash(runtime, supervisor, "a")
    terminate_child(supervisor, "a").get()
    restart_child(supervisor, "a").get()
    crash(runtime, supervisor, "a")
    runtime.advance(0.999)
    assert running(supervisor) == []
    runtime.advance(0.001)
    assert running(supervisor) == ["a"]


@pytest.mark.parametrize("start_takes", [0.0, 1.0], ids=["at once", "later"])
def test_restart_child_fails_with_the_child_and_keeps_its_spec(
    start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    error = BoomError("no")
    supervisor, _ = start_unsettled([worker("a", journal, plan=[None, error, None], start_takes=start_takes)])
    runtime.advance(start_takes)
    terminate_child(supervisor, "a").get()
    failed = restart_child(supervisor, "a")
    runtime.advance(start_takes)
    assert isinstance(failed.exception, StartError)
    assert failed.exception.root is error
    assert [(info.id, info.ref, info.restarting) for info in which_children(supervisor).get()] == [("a", None, False)]
    again = restart_child(supervisor, "a")
    runtime.advance(start_takes)
    assert again.result() is child(supervisor, "a")


def test_delete_child_forgets_one_that_does_not_run(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    terminate_child(supervisor, "a").get()
    assert delete_child(supervisor, "a").get() is None
    assert [info.id for info in which_children(supervisor).get()] == ["b"]
    start_child(supervisor, worker("a", journal)).get()
    assert running(supervisor) == ["b", "a"]


@pytest.mark.parametrize("call", [restart_child, delete_child], ids=lambda call: call.__name__)
@pytest.mark.parametrize(
    ("child_id", "error", "text"),
    [
        ("runs", ChildRunningError, r"child 'runs' is running; terminate_child\(\) it first"),
        ("waits", ChildRestartingError, r"child 'waits' is restarting; terminate_child\(\) it first"),
        ("nobody", ChildNotFoundError, "there is no child 'nobody'"),
        ([], ChildNotFoundError, r"there is no child \[\]"),
    ],
    ids=["running", "restarting", "not found", "nothing that could be found"],
)
def test_only_a_child_that_does_not_run_can_be_restarted_or_deleted(
    child_id: Any, error: type[Exception], text: str, call: Any, *, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("runs", journal), worker("waits", journal, backoff=Backoff())])
    crash(runtime, supervisor, "waits")
    with pytest.raises(error, match=f"^{text}$"):
        call(supervisor, child_id).get()
    assert running(supervisor) == ["runs"]
    runtime.advance(1)
    assert running(supervisor) == ["runs", "waits"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE], ids=str)
def test_a_child_that_was_terminated_comes_back_with_its_group_and_one_that_was_deleted_does_not(
    strategy: Strategy, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker(label, journal) for label in "abc"], strategy=strategy)
    terminate_child(supervisor, "b").get()
    terminate_child(supervisor, "c").get()
    delete_child(supervisor, "c").get()
    crash(runtime, supervisor, "a")
    assert running(supervisor) == ["a", "b"]


def test_get_child_spec_returns_the_spec_whether_the_child_runs_or_not(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    spec = worker("a", journal)
    supervisor = start(runtime, [spec])
    assert get_child_spec(supervisor, "a").get() is spec
    terminate_child(supervisor, "a").get()
    assert get_child_spec(supervisor, "a").get() is spec
    with pytest.raises(ChildNotFoundError):
        get_child_spec(supervisor, "b").get()


def test_terminate_child_ends_it_and_keeps_its_spec(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    ref = child(supervisor, "a")
    assert terminate_child(supervisor, "a").get() is None
    assert ref.exit_reason == SHUTDOWN
    assert journal[2:] == ["a ends: shutdown"]
    assert [(info.id, info.ref, info.restarting) for info in which_children(supervisor).get()] == [
        ("a", None, False),
        ("b", child(supervisor, "b"), False),
    ]
    assert count_children(supervisor).get() == ChildCount(specs=2, active=1, supervisors=0, workers=2)


def test_terminate_child_forgets_one_that_is_temporary(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal, restart="temporary"), worker("b", journal)])
    terminate_child(supervisor, "a").get()
    assert [info.id for info in which_children(supervisor).get()] == ["b"]


def test_terminate_child_does_nothing_to_one_that_does_not_run(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    for _ in range(2):
        assert terminate_child(supervisor, "a").get() is None
    assert journal == ["a starts", "a ends: shutdown"]
    assert running(supervisor) == []


def test_terminate_child_returns_when_the_child_is_gone(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal, end_takes=4)])
    terminated = terminate_child(supervisor, "a")
    runtime.advance(3.999)
    assert not terminated.done
    runtime.advance(0.001)
    assert terminated.done


def test_terminate_child_knows_when_there_is_no_such_child(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    with pytest.raises(ChildNotFoundError, match="there is no child 'b'") as caught:
        terminate_child(supervisor, "b").get()
    assert caught.value.child == "b"
    assert running(supervisor) == ["a"]


def test_a_supervisor_that_stops_while_it_terminates_a_child_still_waits_for_it_and_kills_it_in_the_end(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal, end_takes=None, shutdown=3)])
    ref = child(supervisor, "a")
    terminate_child(supervisor, "a")
    runtime.advance(1)
    down = stop(runtime, supervisor)
    assert not down.done
    runtime.advance(3)
    assert ref.exit_reason == KILLED
    assert down.result() == SHUTDOWN


def test_who_asks_a_dead_supervisor_is_told_so(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [])
    stop(runtime, supervisor)
    with pytest.raises(ActorDeadError):
        count_children(supervisor).get()


def test_who_waits_for_a_child_of_a_supervisor_that_ends_is_told_so(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [])
    started = start_child(supervisor, worker("a", journal, start_takes=60))
    runtime.settle()
    stop(runtime, supervisor)
    assert isinstance(started.exception, ActorDeadError)


@pytest.mark.parametrize("form", ["name", "via"])
def test_a_supervisor_is_asked_by_its_name(runtime: ManualRuntime, journal: list[str], form: str) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    name = Via.of("boss" if form == "name" else Via(Registry(), "boss"), supervisor.process.scheduler.names)
    name.register(supervisor)
    target = "boss" if form == "name" else name
    ref = start_child(target, worker("b", journal)).get()
    assert [info.ref for info in which_children(target).get()] == [child(supervisor, "a"), ref]
    terminate_child(target, "b").get()
    assert (count_children(target).get().active, get_child_spec(target, "b").get().id) == (1, "b")
    assert restart_child(target, "b").get() is child(supervisor, "b")
    terminate_child(target, "b").get()
    delete_child(target, "b").get()
    assert running(supervisor) == ["a"]


def test_a_supervisor_that_nobody_knows_is_dead(runtime: ManualRuntime) -> None:
    with pytest.raises(ActorDeadError, match="no actor is registered as 'boss'"):
        which_children("boss").get()


@pytest.mark.parametrize(
    "call",
    [
        lambda other, supervisor: start_child(other, Worker),
        terminate_child,
        restart_child,
        delete_child,
        get_child_spec,
        lambda other, _: which_children(other),
        lambda other, _: count_children(other),
    ],
    ids=range(7),
)
def test_a_call_to_what_is_no_supervisor_is_refused_with_the_value(call: Any, runtime: ManualRuntime) -> None:
    other, supervisor = Actor.start(), Supervisor.start([])
    with pytest.raises(TypeError) as raised:
        call(other, supervisor)
    assert str(raised.value) == (
        f"expected a supervisor, by its ref or its name, before the other arguments, got {other!r}"
    )
    assert other.process.handled == 0


def test_a_system_is_no_name_of_its_supervisor(runtime: ManualRuntime) -> None:
    system: Any = System()
    with pytest.raises(
        ActorDeadError, match=r"^no actor is registered as <.*System object .*>; it is no name: give its `ref`$"
    ):
        which_children(system).get()
