"""The supervisor of children that come and go."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, AskCycleError, StartError
from actors.exits import KILL, KILLED, NORMAL, SHUTDOWN, Crash, ExitReason, Shutdown
from actors.registry import ActorRegistry
from supervisors.calls import (
    ChildCount,
    TerminateChild,
    count_children,
    delete_child,
    get_child_spec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildKind, ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.exceptions import (
    ChildNotFoundError,
    SignificantChildError,
    TooManyChildrenError,
    UnsupportedCallError,
)
from supervisors.supervision import TOO_MANY_RESTARTS
from supervisors.supervisor import Supervisor
from tests.supervisors.workers import BoomError, Worker, restarts, stop, worker

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime


@pytest.fixture
def supervisor(runtime: ManualRuntime) -> ActorRef[DynamicSupervisor]:
    return DynamicSupervisor.start()


def ids(supervisor: ActorRef[Any]) -> list[Any]:
    return [info.id for info in which_children(supervisor).get()]


def only_child(supervisor: ActorRef[Any]) -> ActorRef[Any]:
    (info,) = which_children(supervisor).get()
    assert info.ref is not None
    return info.ref


def crash(runtime: ManualRuntime, supervisor: ActorRef[Any]) -> None:
    only_child(supervisor).send(BoomError("again"))
    runtime.settle()


# Children that come


def test_it_starts_without_children(supervisor: ActorRef[DynamicSupervisor]) -> None:
    assert count_children(supervisor).get() == ChildCount(0, 0, 0, 0)
    assert which_children(supervisor).get() == []


def test_children_start_on_demand(supervisor: ActorRef[DynamicSupervisor], journal: list[str]) -> None:
    first, second = (start_child(supervisor, worker(label, journal)).get() for label in "ab")
    assert journal == ["a starts", "b starts"]
    assert [tuple(info) for info in which_children(supervisor).get()] == [
        ("a", first, ChildKind.WORKER, Worker, 0, False),
        ("b", second, ChildKind.WORKER, Worker, 0, False),
    ]
    assert count_children(supervisor).get() == ChildCount(2, 2, 0, 2)


def test_any_number_of_children_may_have_one_id(supervisor: ActorRef[DynamicSupervisor], journal: list[str]) -> None:
    refs = {start_child(supervisor, worker("a", journal)).get() for _ in range(3)}
    assert len(refs) == 3
    assert ids(supervisor) == ["a", "a", "a"]


def test_start_child_takes_an_actor_class(supervisor: ActorRef[DynamicSupervisor]) -> None:
    class Plain(Actor):
        pass

    assert start_child(supervisor, Plain).get().actor_class is Plain


def test_start_child_waits_for_a_slow_start(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    started = start_child(supervisor, worker("a", journal, start_takes=2))
    runtime.advance(1.999)
    assert not started.done
    runtime.advance(0.001)
    assert started.result() is only_child(supervisor)


@pytest.mark.parametrize("start_takes", [0.0, 1.0], ids=["at once", "later"])
def test_a_child_that_cannot_start_is_an_error_and_forgotten(
    start_takes: float, runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    error = BoomError("no")
    started = start_child(supervisor, worker("a", journal, plan=[error], start_takes=start_takes))
    runtime.advance(start_takes)
    assert isinstance(started.exception, StartError)
    assert started.exception.root is error
    assert ids(supervisor) == []
    assert runtime.actors == [supervisor]


def test_a_child_that_is_killed_while_it_starts_is_an_error_and_the_supervisor_lives_on(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    started = start_child(supervisor, worker("a", journal, start_takes=1))
    runtime.settle()
    (starting,) = ActorRegistry.get_by_class(Worker)
    starting.kill()
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert isinstance(started.exception.root, ActorDeadError)
    assert ids(supervisor) == []


@pytest.mark.parametrize("max_children", [0, 1, 2])
def test_there_are_no_more_than_max_children(max_children: int, runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = DynamicSupervisor.start(max_children=max_children)
    for _ in range(max_children):
        start_child(supervisor, worker("a", journal)).get()
    with pytest.raises(TooManyChildrenError, match=f"^there are {max_children} children already") as caught:
        start_child(supervisor, worker("b", journal)).get()
    assert caught.value.max_children == max_children
    assert ids(supervisor) == ["a"] * max_children


def test_a_child_that_ended_makes_room(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = DynamicSupervisor.start(max_children=1)
    start_child(supervisor, worker("a", journal, restart="temporary")).get().send(NORMAL)
    runtime.settle()
    start_child(supervisor, worker("b", journal)).get()
    assert ids(supervisor) == ["b"]


def test_a_child_that_was_restarted_takes_no_more_room(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = DynamicSupervisor.start(max_children=2)
    start_child(supervisor, worker("a", journal)).get().send(BoomError())
    runtime.settle()
    start_child(supervisor, worker("b", journal)).get()
    assert sorted(ids(supervisor)) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_children": -1}, "max_children must be a whole number >= 0 or INFINITY, got -1"),
        ({"max_children": 2.5}, "max_children must be a whole number >= 0 or INFINITY, got 2.5"),
        ({"max_children": float("nan")}, "max_children must be a whole number >= 0 or INFINITY, got nan"),
        ({"max_restarts": -1}, "max_restarts must be a whole number >= 0, got -1"),
        ({"max_seconds": 0}, "max_seconds must be a number > 0, got 0"),
    ],
    ids=["max_children", "max_children", "max_children", "max_restarts", "max_seconds"],
)
def test_a_wrong_option_is_named_with_its_value(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        DynamicSupervisor(**options)


# Children that end


@pytest.mark.parametrize(
    ("restart", "end", "restarted"),
    [
        (Restart.PERMANENT, BoomError("a"), True),
        (Restart.PERMANENT, NORMAL, True),
        (Restart.PERMANENT, SHUTDOWN, True),
        (Restart.PERMANENT, KILL, True),
        (Restart.TRANSIENT, BoomError("a"), True),
        (Restart.TRANSIENT, NORMAL, False),
        (Restart.TRANSIENT, SHUTDOWN, False),
        (Restart.TRANSIENT, Shutdown("enough"), False),
        (Restart.TRANSIENT, KILL, True),
        (Restart.TEMPORARY, BoomError("a"), False),
        (Restart.TEMPORARY, NORMAL, False),
        (Restart.TEMPORARY, KILL, False),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value),
)
def test_a_child_that_ends_is_restarted_or_forgotten_by_its_type_and_reason(
    restart: Restart, end: Any, restarted: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = DynamicSupervisor.start()
    before = start_child(supervisor, worker("a", journal, restart=restart)).get()
    before.kill() if end is KILL else before.send(end)
    runtime.settle()
    assert not before.is_alive()
    assert journal.count("a starts") == (2 if restarted else 1)
    assert count_children(supervisor).get() == (ChildCount(1, 1, 0, 1) if restarted else ChildCount(0, 0, 0, 0))


def test_its_siblings_are_left_alone(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    first, second = (start_child(supervisor, worker(label, journal)).get() for label in "ab")
    first.send(BoomError())
    runtime.settle()
    assert second.is_alive()
    assert journal == ["a starts", "b starts", "a ends: BoomError", "a starts"]
    assert restarts(which_children(supervisor).get()) == {"a": 1, "b": 0}


def test_a_restart_is_logged_with_its_reason(
    runtime: ManualRuntime,
    supervisor: ActorRef[DynamicSupervisor],
    journal: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ashtree.supervisors")
    start_child(supervisor, worker("a", journal)).get()
    crash(runtime, supervisor)
    assert f"{supervisor} restarts a, which ended: BoomError: again" in caplog.messages


def test_three_restarts_are_borne_and_the_fourth_ends_the_supervisor_with_all_children(
    runtime: ManualRuntime, journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = DynamicSupervisor.start()
    name = str(supervisor)
    start_child(supervisor, worker("bystander", journal, restart="temporary")).get()
    current = start_child(supervisor, worker("a", journal)).get()
    for _ in range(3):
        current.send(BoomError("again"))
        runtime.settle()
        (current,) = [info.ref for info in which_children(supervisor).get() if info.id == "a" and info.ref]
    current.send(BoomError("again"))
    runtime.settle()
    assert supervisor.exit_reason == TOO_MANY_RESTARTS
    assert journal[-1] == "bystander ends: shutdown"
    assert runtime.actors == []
    assert (
        f"{name} gives up: more than 3 restarts within 5 s; the last to end was a: BoomError: again" in caplog.messages
    )


@pytest.mark.parametrize(("seconds", "alive"), [(4.999, False), (5.0, False), (5.001, True)])
def test_restarts_are_forgotten_after_five_seconds(
    seconds: float,
    alive: Any,
    runtime: ManualRuntime,
    supervisor: ActorRef[DynamicSupervisor],
    journal: list[str],
) -> None:
    start_child(supervisor, worker("a", journal)).get()
    for _ in range(3):
        crash(runtime, supervisor)
    runtime.advance(seconds)
    crash(runtime, supervisor)
    assert supervisor.is_alive() is alive


def test_the_supervisor_above_decides_about_one_that_gave_up(runtime: ManualRuntime, journal: list[str]) -> None:
    outer = Supervisor.start([ChildSpec(DynamicSupervisor, (), {"max_restarts": 0}, id="inner")])
    before = only_child(outer)
    start_child(before, worker("a", journal)).get().send(BoomError())
    runtime.settle()
    assert before.exit_reason == TOO_MANY_RESTARTS
    after = only_child(outer)
    assert after is not before
    assert ids(after) == []


@pytest.mark.parametrize("start_takes", [0.0, 0.5], ids=["at once", "later"])
def test_a_child_that_cannot_restart_uses_the_intensity_up(
    start_takes: float, runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    plan: list[BaseException | None] = [None, *[BoomError(f"no {number}") for number in range(10)]]
    start_child(supervisor, worker("a", journal, plan=plan, start_takes=start_takes))
    runtime.advance(start_takes)
    crash(runtime, supervisor)
    runtime.advance(3 * start_takes)
    assert journal.count("a fails") == 3
    assert supervisor.exit_reason == TOO_MANY_RESTARTS


@pytest.mark.parametrize("start_takes", [0.0, 0.5], ids=["at once", "later"])
def test_a_child_that_can_start_at_last_is_back(
    start_takes: float, runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    plan: list[BaseException | None] = [None, BoomError(), BoomError(), None]
    start_child(supervisor, worker("a", journal, plan=plan, start_takes=start_takes))
    runtime.advance(start_takes)
    crash(runtime, supervisor)
    runtime.advance(3 * start_takes)
    assert only_child(supervisor).is_alive()
    assert restarts(which_children(supervisor).get()) == {"a": 3}


@pytest.mark.parametrize(
    ("start_takes", "options"), [(0.0, {"max_restarts": 10_000}), (2.0, {})], ids=["quick", "slow"]
)
def test_a_child_may_be_tried_as_often_as_the_intensity_bears(
    start_takes: float, options: dict[str, Any], runtime: ManualRuntime, journal: list[str]
) -> None:
    # A stack of tries would break at some thousand.
    tries = 1500
    supervisor = DynamicSupervisor.start(**options)
    plan: list[BaseException | None] = [None, *(BoomError() for _ in range(tries))]
    start_child(supervisor, worker("a", journal, plan=plan, start_takes=start_takes))
    runtime.advance(start_takes)
    crash(runtime, supervisor)
    runtime.advance(start_takes * (tries + 1))
    assert only_child(supervisor).is_alive()
    assert restarts(which_children(supervisor).get()) == {"a": tries + 1}


def test_a_failure_to_start_does_not_keep_those_before_it(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = DynamicSupervisor.start(max_restarts=20)
    plan: list[BaseException | None] = [None, *(BoomError() for _ in range(10)), None]
    failures = [weakref.ref(failure) for failure in plan if failure is not None]
    start_child(supervisor, worker("a", journal, plan=plan))
    crash(runtime, supervisor)
    runtime.settle()
    assert restarts(which_children(supervisor).get()) == {"a": 11}
    assert [failure() for failure in failures[:-1]] == [None] * 9


def test_a_child_that_is_killed_while_it_restarts_counts_as_one_more_failure(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal, start_takes=1))
    runtime.advance(1)
    crash(runtime, supervisor)
    (starting,) = ActorRegistry.get_by_class(Worker)
    starting.kill()
    runtime.advance(1)
    assert restarts(which_children(supervisor).get()) == {"a": 2}


# Children that are ended


def test_terminate_child_ends_it_for_good(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    first, second = (start_child(supervisor, worker(label, journal)).get() for label in "ab")
    assert terminate_child(supervisor, first).get() is None
    assert first.exit_reason == SHUTDOWN
    assert second.is_alive()
    assert journal[2:] == ["a ends: shutdown"]
    assert ids(supervisor) == ["b"]


def test_terminate_child_returns_when_the_child_is_gone(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    terminated = terminate_child(supervisor, start_child(supervisor, worker("a", journal, end_takes=4)).get())
    runtime.advance(3.999)
    assert not terminated.done
    runtime.advance(0.001)
    assert terminated.done


@pytest.mark.parametrize(
    ("reason", "said"),
    [(Shutdown("leave"), "shutdown, leave"), (NORMAL, "normal"), (Crash(BoomError()), "BoomError")],
    ids=["shutdown with a detail", "normal", "crash"],
)
def test_a_child_may_be_ended_with_a_reason(
    reason: ExitReason,
    said: str,
    runtime: ManualRuntime,
    supervisor: ActorRef[DynamicSupervisor],
    journal: list[str],
) -> None:
    ref = start_child(supervisor, worker("a", journal)).get()
    supervisor.ask(TerminateChild(ref, reason))
    assert journal[1:] == [f"a ends: {said}"]
    assert ref.exit_reason == reason
    assert ids(supervisor) == []


@pytest.mark.parametrize("key", ["a", 5, []], ids=str)
def test_a_child_is_not_known_by_its_id(key: Any, supervisor: ActorRef[DynamicSupervisor], journal: list[str]) -> None:
    start_child(supervisor, worker("a", journal)).get()
    for call in (terminate_child, get_child_spec):
        with pytest.raises(ChildNotFoundError):
            call(supervisor, key).get()
    assert ids(supervisor) == ["a"]


def test_get_child_spec_returns_the_spec_of_a_ref(supervisor: ActorRef[DynamicSupervisor], journal: list[str]) -> None:
    spec = worker("a", journal)
    assert get_child_spec(supervisor, start_child(supervisor, spec).get()).get() is spec


@pytest.mark.parametrize("call", [restart_child, delete_child], ids=lambda call: call.__name__)
def test_there_is_nothing_to_restart_or_to_delete(
    call: Any, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    ref = start_child(supervisor, worker("a", journal)).get()
    with pytest.raises(
        UnsupportedCallError, match=r"a DynamicSupervisor has no restart_child\(\) and delete_child\(\)"
    ):
        call(supervisor, ref).get()
    assert ids(supervisor) == ["a"]


def test_a_significant_child_is_refused(supervisor: ActorRef[DynamicSupervisor], journal: list[str]) -> None:
    with pytest.raises(SignificantChildError) as caught:
        start_child(supervisor, worker("a", journal, restart="transient", significant=True)).get()
    assert caught.value.id == "a"
    assert ids(supervisor) == []


def test_count_children_counts_workers_and_supervisors(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal)).get()
    started = start_child(supervisor, Supervisor)
    runtime.settle()
    assert started.done
    assert count_children(supervisor).get() == ChildCount(specs=2, active=2, supervisors=1, workers=1)


def test_terminate_child_knows_when_there_is_no_such_child(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    gone = start_child(supervisor, worker("a", journal)).get()
    terminate_child(supervisor, gone).get()
    with pytest.raises(ChildNotFoundError) as caught:
        terminate_child(supervisor, gone).get()
    assert caught.value.child is gone
    assert supervisor.is_alive()


def test_a_child_that_dies_as_it_is_terminated_is_not_restarted(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    ref = start_child(supervisor, worker("a", journal)).get()
    terminated = terminate_child(supervisor, ref)
    ref.send(BoomError())
    runtime.settle()
    assert terminated.done
    assert journal.count("a starts") == 1
    assert ids(supervisor) == []


def test_a_supervisor_that_stops_while_it_terminates_a_child_still_waits_for_it_and_kills_it_in_the_end(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    ref = start_child(supervisor, worker("a", journal, end_takes=None, shutdown=3)).get()
    terminate_child(supervisor, ref)
    runtime.advance(1)
    down = stop(runtime, supervisor)
    assert not down.done
    runtime.advance(3)
    assert ref.exit_reason == KILLED
    assert down.result() == SHUTDOWN


# The end


def test_all_children_are_told_at_once_and_awaited_together(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    for label in "abc":
        start_child(supervisor, worker(label, journal, end_takes=4)).get()
    down = stop(runtime, supervisor)
    assert journal[3:] == ["a is ending", "b is ending", "c is ending"]
    runtime.advance(3.999)
    assert not down.done
    runtime.advance(0.001)
    assert down.result() == SHUTDOWN
    assert journal[6:] == ["a ends: shutdown", "b ends: shutdown", "c ends: shutdown"]


def test_children_that_hang_are_killed_each_after_its_seconds(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    shutdowns: list[Any] = [2, 3, BRUTAL_KILL, INFINITY]
    refs = [
        start_child(supervisor, worker("w", journal, end_takes=10, shutdown=shutdown)).get() for shutdown in shutdowns
    ]
    alive: list[list[bool]] = []
    down = stop(runtime, supervisor)
    for seconds in (0, 2, 1, 6, 1):
        runtime.advance(seconds)
        alive.append([ref.is_alive() for ref in refs])
    assert alive == [
        [True, True, False, True],
        [False, True, False, True],
        [False, False, False, True],
        [False, False, False, True],
        [False, False, False, False],
    ]
    assert down.result() == SHUTDOWN


def test_a_killed_supervisor_takes_its_children(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    refs = [start_child(supervisor, worker("a", journal)).get() for _ in range(3)]
    supervisor.kill()
    runtime.settle()
    assert [ref.exit_reason for ref in refs] == [KILLED] * 3
    assert runtime.actors == []


def test_who_waits_for_a_child_of_a_supervisor_that_ends_is_told_so(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], journal: list[str]
) -> None:
    started = start_child(supervisor, worker("a", journal, start_takes=60))
    runtime.settle()
    assert stop(runtime, supervisor).result() == SHUTDOWN
    assert isinstance(started.exception, ActorDeadError)
    assert runtime.actors == []


def test_a_message_that_it_does_not_know_is_logged(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor.send("hello")
    runtime.settle()
    assert caplog.messages == [f"{supervisor} got an unexpected message: 'hello'"]


# Crowds


class Mayfly(Actor):
    """As little as an actor can be."""

    def on_receive(self, message: Any) -> None:
        raise message


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep reports of thousands of crashes out of the log."""
    log = logging.getLogger("ashtree")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    log.setLevel(before)


@pytest.mark.usefixtures("quiet")
def test_ten_thousand_children_start_and_crash_and_stop_and_nothing_remains(runtime: ManualRuntime) -> None:
    crowd = 10_000
    supervisor = DynamicSupervisor.start(max_restarts=crowd)
    temporary, permanent = ChildSpec(Mayfly, restart=Restart.TEMPORARY), ChildSpec(Mayfly)
    futures = [start_child(supervisor, permanent if number % 4 == 0 else temporary) for number in range(crowd)]
    refs = [future.get() for future in futures]
    assert count_children(supervisor).get() == ChildCount(crowd, crowd, 0, crowd)
    for ref in refs[::2]:
        ref.send(BoomError())
    runtime.settle()
    # Every other one has crashed; half of those are permanent.
    left = crowd * 3 // 4
    assert count_children(supervisor).get() == ChildCount(left, left, 0, left)
    assert stop(runtime, supervisor).result() == SHUTDOWN
    assert runtime.actors == []
    assert ActorRegistry.get_by_class(Mayfly) == []
    assert runtime.clock.pending() == 0


@pytest.mark.usefixtures("quiet")
def test_a_crowd_that_crashes_at_once_does_not_hinder_the_supervisor(runtime: ManualRuntime) -> None:
    supervisor = DynamicSupervisor.start()
    refs = [start_child(supervisor, ChildSpec(Mayfly, restart=Restart.TEMPORARY)).get() for _ in range(1000)]
    for ref in refs:
        ref.send(BoomError())
    runtime.settle()
    assert count_children(supervisor).get() == ChildCount(0, 0, 0, 0)
    assert supervisor.is_alive()


# Children that ask an actor which waits for the supervisor


class Starter(Actor):
    """Starts a child, and ends it again; it replies to everything else, when it can."""

    def __init__(self, supervisor: ActorRef[DynamicSupervisor]) -> None:
        self.supervisor = supervisor

    async def on_receive(self, message: Any) -> Any:
        if message == "and you?":
            return message
        ref = await start_child(self.supervisor, ChildSpec(message, (self.actor_ref,)))
        await terminate_child(self.supervisor, ref)
        return ref


class AsksAtStart(Actor):
    def __init__(self, asked: ActorRef[Any]) -> None:
        self.asked = asked

    async def on_start(self) -> None:
        await self.asked.call("and you?")


class AsksAtStartLater(AsksAtStart):
    async def on_start(self) -> None:
        for _ in range(10):  # the supervisor waits for it by now
            await asyncio.sleep(0)
        await super().on_start()


class AsksAtEnd(AsksAtStart):
    errors: ClassVar[list[BaseException]] = []

    async def on_start(self) -> None:
        self.errors.clear()

    async def terminate(self, reason: ExitReason) -> None:
        try:
            await super().on_start()
        except AskCycleError as error:
            self.errors.append(error)


@pytest.mark.parametrize("child", [AsksAtStart, AsksAtStartLater])
def test_a_child_whose_start_asks_who_starts_it_is_told_at_once(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor], child: type[Actor]
) -> None:
    asked = Starter.start(supervisor).ask(child, block=False, timeout=None)
    runtime.settle()
    with pytest.raises(StartError) as caught:
        asked.get()
    assert isinstance(caught.value.cause, AskCycleError)
    assert supervisor.is_alive()


def test_a_child_whose_end_asks_who_ends_it_is_told_at_once(
    runtime: ManualRuntime, supervisor: ActorRef[DynamicSupervisor]
) -> None:
    asked = Starter.start(supervisor).ask(AsksAtEnd, block=False, timeout=None)
    runtime.settle()
    assert asked.get().exit_reason == SHUTDOWN
    assert [type(error) for error in AsksAtEnd.errors] == [AskCycleError]
    assert supervisor.is_alive()
