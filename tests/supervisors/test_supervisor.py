"""A supervisor and its fixed list of children."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, StartError
from actors.exits import KILL, KILLED, NORMAL, SHUTDOWN, Crash, Down, ExitReason, Shutdown
from actors.names import whereis
from actors.registry import ActorRegistry
from actors.testing import ManualRuntime, Probe
from supervisors.backoff import Backoff
from supervisors.calls import (
    ChildCount,
    count_children,
    start_child,
    terminate_child,
    which_children,
)
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildSpec, Restart
from supervisors.exceptions import (
    ChildExistsError,
    SignificantChildError,
)
from supervisors.restart import AutoShutdown, Strategy, should_restart
from supervisors.supervision import TOO_MANY_RESTARTS
from supervisors.supervisor import Supervisor
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

# Start


def test_children_start_in_order(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker(label, journal) for label in "abc"])
    assert journal == ["a starts", "b starts", "c starts"]
    assert running(supervisor) == ["a", "b", "c"]


def test_the_next_child_waits_until_a_slow_one_has_started(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor, started = start_unsettled(
        [worker("a", journal), worker("b", journal, start_takes=2), worker("c", journal)]
    )
    runtime.advance(1.999)
    assert journal == ["a starts", "b is starting"]
    assert not started.done
    runtime.advance(0.001)
    assert journal == ["a starts", "b is starting", "b starts", "c starts"]
    assert started.result() is supervisor


def test_children_are_what_can_be_made_a_spec_of(runtime: ManualRuntime) -> None:
    class Plain(Actor):
        pass

    class Knowing:
        def child_spec(self) -> ChildSpec:
            return ChildSpec(Plain, id="known")

    supervisor, _ = start_unsettled([Plain, Knowing(), ChildSpec(Plain, id="spec")])
    assert running(supervisor) == ["Plain", "known", "spec"]


def test_a_supervisor_may_have_no_children(runtime: ManualRuntime) -> None:
    supervisor = start(runtime, [])
    assert count_children(supervisor).get() == ChildCount(0, 0, 0, 0)
    assert stop(runtime, supervisor).result() == SHUTDOWN


@pytest.mark.parametrize("start_takes", [0.0, 1.0], ids=["at once", "later"])
def test_when_a_child_cannot_start_those_before_it_are_stopped_in_reverse(
    start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    error = BoomError("no")
    children = [
        worker("a", journal),
        worker("b", journal, end_takes=1),
        worker("c", journal, plan=[error], start_takes=start_takes),
        worker("d", journal),
    ]
    supervisor, started = start_unsettled(children)
    runtime.advance(start_takes)
    assert not started.done
    assert journal[-2:] == ["c fails", "b is ending"]
    runtime.advance(1)
    assert journal[-2:] == ["b ends: shutdown", "a ends: shutdown"]
    assert "d starts" not in journal
    assert not supervisor.is_alive()
    failure = started.exception
    assert isinstance(failure, StartError)
    assert failure.root is error


def test_a_child_that_is_killed_while_it_starts_is_a_start_failure(runtime: ManualRuntime, journal: list[str]) -> None:
    _, started = start_unsettled([worker("a", journal), worker("b", journal, start_takes=1)])
    runtime.settle()
    (slow,) = [ref for ref in runtime.actors if str(ref).startswith("b ")]
    slow.kill()
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert isinstance(started.exception.root, ActorDeadError)
    assert journal == ["a starts", "b is starting", "a ends: shutdown"]
    assert runtime.actors == []


def test_the_root_of_a_start_failure_is_found_through_nested_supervisors(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    error = BoomError("deep")
    inner = ChildSpec(Supervisor, ([worker("b", journal, plan=[error])],), id="inner")
    middle = ChildSpec(Supervisor, ([inner],), id="middle")
    _, started = start_unsettled([worker("a", journal), middle])
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert started.exception.root is error
    assert journal == ["a starts", "b fails", "a ends: shutdown"]


def test_a_supervisor_that_is_ended_while_it_starts_stops_what_it_has(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    children = [worker("a", journal), worker("b", journal, end_takes=1), worker("c", journal, start_takes=10)]
    supervisor, started = start_unsettled(children)
    runtime.advance(1)
    down = stop(runtime, supervisor)
    assert journal == ["a starts", "b starts", "c is starting", "b is ending"]
    assert not down.done
    runtime.advance(1)
    assert journal[4:] == ["b ends: shutdown", "a ends: shutdown"]
    assert down.result() == SHUTDOWN
    assert isinstance(started.exception, ActorDeadError)


def test_a_supervisor_that_is_told_to_end_while_it_rolls_back_still_waits_for_those_that_are_left(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker("a", journal), worker("b", journal, end_takes=4.0), worker("c", journal, plan=[BoomError()])]
    supervisor, started = start_unsettled(specs)
    runtime.advance(1)
    down = stop(runtime, supervisor)
    runtime.advance(2.999)
    assert not down.done
    assert journal[-2:] == ["c fails", "b is ending"]
    runtime.advance(0.001)
    assert journal[-2:] == ["b ends: shutdown", "a ends: shutdown"]
    assert down.result() == SHUTDOWN
    assert isinstance(started.exception, ActorDeadError)


def test_a_supervisor_that_is_killed_while_it_starts_does_nothing_more(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    # Its children end by their links, and one that takes its time is not killed by a supervisor that is no more.
    children = [worker("a", journal, shutdown=BRUTAL_KILL, end_takes=60), worker("b", journal, start_takes=10)]
    supervisor, _ = start_unsettled(children)
    runtime.advance(1)
    supervisor.kill()
    runtime.settle()
    assert supervisor.exit_reason == KILLED
    assert journal == ["a starts", "b is starting", "a is ending"]
    runtime.advance(60)
    assert journal[3:] == ["a ends: killed"]
    assert runtime.actors == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"strategy": "all"}, "strategy must be one of one_for_one, one_for_all, rest_for_one, got 'all'"),
        ({"max_restarts": -1}, "max_restarts must be a whole number >= 0, got -1"),
        ({"max_seconds": 0}, "max_seconds must be a number > 0, got 0"),
        (
            {"auto_shutdown": "always"},
            "auto_shutdown must be one of never, any_significant, all_significant, got 'always'",
        ),
    ],
    ids=["strategy", "max_restarts", "max_seconds", "auto_shutdown"],
)
def test_a_wrong_option_is_named_with_its_value(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Supervisor([], **options)


@pytest.mark.parametrize("children", [Worker, "ab", 3], ids=["one class", "a text", "a number"])
def test_what_is_no_list_of_children_is_refused(children: Any) -> None:
    with pytest.raises(TypeError, match=r"^children must be a list, .*, got "):
        Supervisor(children)


def test_two_children_with_one_id_are_refused(journal: list[str]) -> None:
    with pytest.raises(ChildExistsError, match="there is a child with id 'a' already") as caught:
        Supervisor([worker("a", journal), worker("a", journal)])
    assert caught.value.id == "a"


def test_two_children_with_one_id_in_a_nested_supervisor_are_a_start_failure(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal), worker("a", journal)],), id="inner")
    _, started = start_unsettled([inner])
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert isinstance(started.exception.root, ChildExistsError)


# Restart


@pytest.mark.parametrize(
    ("restart", "end", "restarted"),
    [
        (Restart.PERMANENT, BoomError("a"), True),
        (Restart.PERMANENT, NORMAL, True),
        (Restart.PERMANENT, SHUTDOWN, True),
        (Restart.PERMANENT, Shutdown("enough"), True),
        (Restart.PERMANENT, GeneratorExit(), True),
        (Restart.TRANSIENT, BoomError("a"), True),
        (Restart.TRANSIENT, NORMAL, False),
        (Restart.TRANSIENT, SHUTDOWN, False),
        (Restart.TRANSIENT, Shutdown("enough"), False),
        (Restart.TRANSIENT, GeneratorExit(), True),
        (Restart.TEMPORARY, BoomError("a"), False),
        (Restart.TEMPORARY, NORMAL, False),
        (Restart.TEMPORARY, SHUTDOWN, False),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_child_that_ends_is_restarted_by_its_type_and_reason(
    restart: Restart, end: Any, restarted: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal, restart=restart), worker("b", journal)])
    child(supervisor, "a").send(end)
    runtime.settle()
    assert journal.count("a starts") == (2 if restarted else 1)
    assert journal.count("b starts") == 1
    assert running(supervisor) == (["a", "b"] if restarted else ["b"])


@pytest.mark.parametrize(
    ("restart", "signal", "restarted"),
    [
        (Restart.PERMANENT, KILL, True),
        (Restart.PERMANENT, SHUTDOWN, True),
        (Restart.PERMANENT, BoomError("sent"), True),
        (Restart.TRANSIENT, KILL, True),
        (Restart.TRANSIENT, SHUTDOWN, False),
        (Restart.TRANSIENT, BoomError("sent"), True),
        (Restart.TEMPORARY, KILL, False),
        (Restart.TEMPORARY, SHUTDOWN, False),
        (Restart.TEMPORARY, BoomError("sent"), False),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value),
)
def test_a_child_that_is_ended_by_a_signal_is_restarted_by_its_type_and_reason(
    restart: Restart, signal: Any, restarted: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal, restart=restart)])
    before = child(supervisor, "a")
    before.exit(signal)
    runtime.settle()
    assert not before.is_alive()
    assert running(supervisor) == (["a"] if restarted else [])


def test_a_normal_signal_ends_nobody(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    child(supervisor, "a").exit(NORMAL)
    runtime.settle()
    assert journal == ["a starts"]
    assert running(supervisor) == ["a"]


def test_a_restarted_child_is_a_new_actor_with_the_old_arguments(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal, name="the one")])
    before = child(supervisor, "a")
    crash(runtime, supervisor, "a")
    after = child(supervisor, "a")
    assert after is not before
    assert after.pid != before.pid
    assert after.ask("hello") == "a got hello"
    assert after.process.scheduler.names.whereis("the one") is after


def test_whoever_knows_of_a_death_finds_the_new_child_when_it_asks_the_supervisor(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor, probe = start(runtime, [worker("a", journal)]), Probe()
    before = child(supervisor, "a")
    probe.monitor(before)
    before.kill()
    down = probe.assert_receive(Down)
    assert (down.actor, down.reason) == (before, KILLED)
    assert child(supervisor, "a") is not before


def test_each_restart_is_counted_with_its_child(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    crash(runtime, supervisor, "a")
    crash(runtime, supervisor, "a")
    crash(runtime, supervisor, "b")
    assert restarts(which_children(supervisor).get()) == {"a": 2, "b": 1}


def test_a_restart_is_logged_with_its_reason(
    runtime: ManualRuntime, journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ashtree.supervisors")
    supervisor = start(runtime, [worker("a", journal)])
    crash(runtime, supervisor, "a")
    assert f"{supervisor} restarts a, which ended: BoomError: a" in caplog.messages


def test_a_transient_child_that_is_done_stays_known(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal, restart="transient")])
    child(supervisor, "a").send(NORMAL)
    runtime.settle()
    assert [info.ref for info in which_children(supervisor).get()] == [None]
    assert count_children(supervisor).get() == ChildCount(specs=1, active=0, supervisors=0, workers=1)


def test_a_temporary_child_that_is_done_is_forgotten(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal, restart="temporary"), worker("b", journal)])
    crash(runtime, supervisor, "a")
    assert count_children(supervisor).get() == ChildCount(specs=1, active=1, supervisors=0, workers=1)
    start_child(supervisor, worker("a", journal)).get()
    assert running(supervisor) == ["b", "a"]


def test_the_supervisor_outlives_an_exit_of_a_stranger_it_was_linked_to(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor, probe = start(runtime, [worker("a", journal)]), Probe()
    probe.link(supervisor)
    probe.ref.exit(BoomError("stranger"))
    runtime.settle()
    assert running(supervisor) == ["a"]
    assert journal == ["a starts"]


def test_a_restart_waits_for_a_slow_start_and_what_others_ask_waits_too(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor, started = start_unsettled([worker("a", journal, start_takes=2), worker("b", journal)])
    runtime.advance(2)
    assert started.done
    crash(runtime, supervisor, "a")
    asked = count_children(supervisor)
    runtime.advance(1.999)
    assert not asked.done
    runtime.advance(0.001)
    assert asked.result() == ChildCount(2, 2, 0, 2)
    assert journal.count("a starts") == 2


def test_a_child_that_ends_while_others_start_is_restarted_when_all_have_started(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor, started = start_unsettled([worker("a", journal), worker("b", journal, start_takes=2)])
    runtime.settle()
    child_now(runtime, "a").send(BoomError())
    runtime.advance(1.999)
    assert journal == ["a starts", "b is starting", "a ends: BoomError"]
    runtime.advance(0.001)
    assert journal[3:] == ["b starts", "a starts"]
    assert started.result() is supervisor
    assert running(supervisor) == ["a", "b"]


# Strategies


@pytest.mark.parametrize(
    ("strategy", "failed", "moves"),
    [
        (Strategy.ONE_FOR_ONE, "a", "+a"),
        (Strategy.ONE_FOR_ONE, "b", "+b"),
        (Strategy.ONE_FOR_ONE, "c", "+c"),
        (Strategy.ONE_FOR_ALL, "a", "-c -b +a +b +c"),
        (Strategy.ONE_FOR_ALL, "b", "-c -a +a +b +c"),
        (Strategy.ONE_FOR_ALL, "c", "-b -a +a +b +c"),
        (Strategy.REST_FOR_ONE, "a", "-c -b +a +b +c"),
        (Strategy.REST_FOR_ONE, "b", "-c +b +c"),
        (Strategy.REST_FOR_ONE, "c", "+c"),
    ],
    ids=str,
)
def test_a_strategy_ends_the_others_in_reverse_and_starts_them_in_order(
    strategy: Strategy, failed: str, moves: str, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker(label, journal) for label in "abc"], strategy=strategy)
    journal.clear()
    crash(runtime, supervisor, failed)
    in_words = {"-": "ends: shutdown", "+": "starts"}
    assert journal == [f"{failed} ends: BoomError", *(f"{move[1]} {in_words[move[0]]}" for move in moves.split())]
    assert running(supervisor) == ["a", "b", "c"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE], ids=str)
def test_the_restart_of_a_group_counts_once_and_with_the_one_that_failed(
    strategy: Strategy, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker(label, journal) for label in "ab"], strategy=strategy, max_restarts=2)
    crash(runtime, supervisor, "a")
    crash(runtime, supervisor, "a")
    assert restarts(which_children(supervisor).get()) == {"a": 2, "b": 0}
    crash(runtime, supervisor, "a")
    assert not supervisor.is_alive()


def test_a_group_waits_for_slow_ends_and_slow_starts(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor, _ = start_unsettled(
        [worker("a", journal), worker("b", journal, end_takes=1), worker("c", journal, start_takes=2)],
        strategy=Strategy.ONE_FOR_ALL,
    )
    runtime.advance(2)
    journal.clear()
    crash(runtime, supervisor, "a")
    assert journal == ["a ends: BoomError", "c ends: shutdown", "b is ending"]
    runtime.advance(1)
    assert journal[3:] == ["b ends: shutdown", "a starts", "b starts", "c is starting"]
    runtime.advance(2)
    assert journal[7:] == ["c starts"]
    assert running(supervisor) == ["a", "b", "c"]


def test_two_that_crash_together_restart_the_group_once(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker(label, journal) for label in "abc"], strategy=Strategy.ONE_FOR_ALL)
    first, second = child(supervisor, "a"), child(supervisor, "b")
    first.send(BoomError())
    second.send(BoomError())
    runtime.settle()
    assert [journal.count(f"{label} starts") for label in "abc"] == [2, 2, 2]
    assert sum(restarts(which_children(supervisor).get()).values()) == 1


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE], ids=str)
def test_temporary_siblings_are_ended_with_the_group_and_not_started_again(
    strategy: Strategy, runtime: ManualRuntime, journal: list[str]
) -> None:
    children = [worker("a", journal), worker("b", journal, restart="temporary"), worker("c", journal)]
    supervisor = start(runtime, children, strategy=strategy)
    crash(runtime, supervisor, "a")
    assert journal.count("b starts") == 1
    assert "b ends: shutdown" in journal
    assert [info.id for info in which_children(supervisor).get()] == ["a", "c"]


def test_a_transient_sibling_that_was_done_is_started_with_the_group(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    children = [worker("a", journal), worker("b", journal, restart="transient")]
    supervisor = start(runtime, children, strategy=Strategy.ONE_FOR_ALL)
    child(supervisor, "b").send(NORMAL)
    runtime.settle()
    assert running(supervisor) == ["a"]
    crash(runtime, supervisor, "a")
    assert running(supervisor) == ["a", "b"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE], ids=str)
def test_a_child_that_is_not_restarted_leaves_its_siblings_alone(
    strategy: Strategy, runtime: ManualRuntime, journal: list[str]
) -> None:
    children = [worker("a", journal, restart="temporary"), worker("b", journal)]
    supervisor = start(runtime, children, strategy=strategy)
    crash(runtime, supervisor, "a")
    assert journal == ["a starts", "b starts", "a ends: BoomError"]
    assert running(supervisor) == ["b"]


# Restart intensity


def test_three_restarts_are_borne_and_the_fourth_ends_the_supervisor_with_all_children(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    for _ in range(3):
        crash(runtime, supervisor, "a")
        assert running(supervisor) == ["a", "b"]
    crash(runtime, supervisor, "a")
    assert supervisor.exit_reason == TOO_MANY_RESTARTS == Shutdown("restart intensity reached")
    assert journal.count("a starts") == 4
    assert journal[-1] == "b ends: shutdown"
    assert runtime.actors == []


@pytest.mark.parametrize(("seconds", "alive"), [(4.999, False), (5.0, False), (5.001, True)])
def test_restarts_are_forgotten_after_five_seconds(
    seconds: float, alive: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    for _ in range(3):
        crash(runtime, supervisor, "a")
    runtime.advance(seconds)
    crash(runtime, supervisor, "a")
    assert supervisor.is_alive() is alive


def test_restarts_of_all_children_count_together(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker(label, journal) for label in "abcd"])
    for label in "abc":
        crash(runtime, supervisor, label)
    crash(runtime, supervisor, "d")
    assert not supervisor.is_alive()


def test_ends_without_a_restart_do_not_count(runtime: ManualRuntime, journal: list[str]) -> None:
    labels = [f"t{number}" for number in range(10)]
    children = [worker(label, journal, restart="temporary") for label in labels]
    supervisor = start(runtime, [*children, worker("a", journal)], max_restarts=0)
    for label in labels:
        crash(runtime, supervisor, label)
    assert running(supervisor) == ["a"]


def test_giving_up_is_logged_once_and_critical(
    runtime: ManualRuntime, journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = start(runtime, [worker("a", journal)], max_restarts=1, max_seconds=60)
    name = str(supervisor)
    for _ in range(2):
        crash(runtime, supervisor, "a")
    (record,) = [record for record in caplog.records if record.name == "ashtree.supervisors"]
    assert record.levelno == logging.CRITICAL
    assert record.getMessage() == (
        f"{name} gives up: more than 1 restarts within 60 s; the last to end was a: BoomError: a"
    )


def test_the_supervisor_above_decides_about_one_that_gave_up(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal)],), {"max_restarts": 0}, id="inner")
    outer = start(runtime, [inner, worker("b", journal)])
    before = child(outer, "inner")
    crash(runtime, before, "a")
    assert before.exit_reason == TOO_MANY_RESTARTS
    after = child(outer, "inner")
    assert after is not before
    assert running(after) == ["a"]
    assert journal.count("b starts") == 1


@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("done"), KILLED, Crash(BoomError())], ids=repr)
def test_a_child_that_is_stopped_with_a_reason_is_restarted_as_its_spec_says(
    runtime: ManualRuntime, journal: list[str], restart: Restart, reason: ExitReason
) -> None:
    supervisor = start(runtime, [worker("a", journal, restart=restart)])
    before = child(supervisor, "a")
    assert before.stop(reason=reason) is True
    runtime.settle()
    assert before.exit_reason == reason
    assert running(supervisor) == (["a"] if should_restart(restart, reason) else [])


class Named(Actor):
    """Gives its name back when it is told to."""

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise BoomError("named")
        self.unregister(message)


def test_a_child_that_gave_its_name_back_has_it_again_after_a_restart(runtime: ManualRuntime) -> None:
    supervisor = start(runtime, [ChildSpec(Named, name="clerk")])
    before = child(supervisor, "Named")
    before.ask("clerk")
    assert whereis("clerk") is None
    before.tell("crash")
    runtime.settle()
    after = child(supervisor, "Named")
    assert after is not before
    assert whereis("clerk") is after


def test_a_child_whose_name_another_actor_has_meanwhile_cannot_be_restarted(runtime: ManualRuntime) -> None:
    supervisor = start(runtime, [ChildSpec(Named, name="clerk")])
    child(supervisor, "Named").ask("clerk")
    other = Named.start_as("clerk")
    child(supervisor, "Named").tell("crash")
    runtime.settle()
    assert supervisor.exit_reason == TOO_MANY_RESTARTS
    assert whereis("clerk") is other


def test_a_supervisor_that_is_stopped_with_a_reason_stops_its_children(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    inner = child(supervisor, "a")
    assert supervisor.stop(reason=Shutdown("moving")) is True
    assert (supervisor.exit_reason, inner.exit_reason) == (Shutdown("moving"), SHUTDOWN)


@pytest.mark.parametrize(("restart", "back"), [("permanent", True), ("transient", False), ("temporary", False)])
def test_giving_up_is_a_shutdown_to_the_supervisor_above(
    restart: str, back: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal)],), {"max_restarts": 0}, id="inner", restart=Restart(restart))
    outer = start(runtime, [inner])
    crash(runtime, child(outer, "inner"), "a")
    assert running(outer) == (["inner"] if back else [])


def test_giving_up_climbs_to_the_top(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal)],), {"max_restarts": 1}, id="inner")
    outer = start(runtime, [inner], max_restarts=1)
    for _ in range(4):
        assert outer.is_alive()
        crash(runtime, child(outer, "inner"), "a")
    assert outer.exit_reason == TOO_MANY_RESTARTS
    assert runtime.actors == []


@pytest.mark.parametrize("strategy", list(Strategy), ids=str)
@pytest.mark.parametrize("start_takes", [0.0, 0.5], ids=["at once", "later"])
def test_a_child_that_cannot_restart_uses_the_intensity_up(
    strategy: Strategy, start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    plan: list[BaseException | None] = [None, *[BoomError(f"no {number}") for number in range(10)]]
    children = [worker("a", journal), worker("b", journal, plan=plan, start_takes=start_takes), worker("c", journal)]
    supervisor, _ = start_unsettled(children, strategy=strategy)
    runtime.advance(start_takes)
    crash(runtime, supervisor, "b")
    runtime.advance(3 * start_takes)
    assert journal.count("b fails") == 3
    assert supervisor.exit_reason == TOO_MANY_RESTARTS
    assert runtime.actors == []


@pytest.mark.parametrize("strategy", list(Strategy), ids=str)
@pytest.mark.parametrize("start_takes", [0.0, 0.5], ids=["at once", "later"])
def test_a_child_that_can_start_at_last_is_back_with_its_group(
    strategy: Strategy, start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    children = [
        worker("a", journal),
        worker("b", journal, plan=[None, BoomError(), BoomError(), None], start_takes=start_takes),
        worker("c", journal),
    ]
    supervisor, _ = start_unsettled(children, strategy=strategy)
    runtime.advance(start_takes)
    crash(runtime, supervisor, "b")
    runtime.advance(3 * start_takes)
    assert running(supervisor) == ["a", "b", "c"]
    assert restarts(which_children(supervisor).get()) == {"a": 0, "b": 3, "c": 0}


def test_a_child_that_never_starts_again_may_be_tried_for_ever_where_the_intensity_bears_it(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    # A stack of tries would break at some thousand.
    tries = 1500
    plan: list[BaseException | None] = [None, *(BoomError() for _ in range(tries))]
    supervisor, _ = start_unsettled([worker("a", journal, plan=plan, start_takes=2)])
    runtime.advance(2)
    crash(runtime, supervisor, "a")
    runtime.advance(2 * tries)
    assert journal.count("a fails") == tries
    runtime.advance(2)
    assert running(supervisor) == ["a"]


def test_a_child_that_fails_at_once_may_be_tried_often(runtime: ManualRuntime, journal: list[str]) -> None:
    plan: list[BaseException | None] = [None, *(BoomError() for _ in range(1500))]
    supervisor = start(runtime, [worker("a", journal, plan=plan)], max_restarts=10_000)
    crash(runtime, supervisor, "a")
    assert running(supervisor) == ["a"]


def test_a_child_that_is_killed_while_it_restarts_counts_as_one_more_failure(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor, _ = start_unsettled([worker("a", journal, start_takes=1)])
    runtime.advance(1)
    crash(runtime, supervisor, "a")
    (starting,) = ActorRegistry.get_by_class(Worker)
    starting.kill()
    runtime.advance(1)
    assert running(supervisor) == ["a"]
    assert restarts(which_children(supervisor).get()) == {"a": 2}


def test_between_two_tries_the_supervisor_does_what_it_was_asked(runtime: ManualRuntime, journal: list[str]) -> None:
    plan: list[BaseException | None] = [None, *(BoomError() for _ in range(100))]
    supervisor = start(runtime, [worker("a", journal, plan=plan), worker("b", journal)], max_restarts=1000)
    child(supervisor, "a").send(BoomError())
    terminated = terminate_child(supervisor, "a")
    runtime.settle()
    assert terminated.done
    assert running(supervisor) == ["b"]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE], ids=str)
@pytest.mark.parametrize("start_takes", [0.0, 0.5], ids=["at once", "later"])
def test_a_group_that_fails_half_way_is_tried_again_as_one_more_restart(
    strategy: Strategy, start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    # The first of the group crashes; its second then cannot start, once.
    plan: list[BaseException | None] = [None, BoomError(), None]
    specs = [
        worker("a", journal),
        worker("b", journal, plan=plan, start_takes=start_takes),
        worker("c", journal),
    ]
    supervisor, _ = start_unsettled(specs, strategy=strategy, max_restarts=2)
    runtime.advance(start_takes)
    journal.clear()
    crash(runtime, supervisor, "a")
    runtime.advance(2 * start_takes)
    moves = [line for line in journal if not line.endswith("is starting")]
    first = ["a ends: BoomError", "c ends: shutdown", "b ends: shutdown", "a starts", "b fails"]
    second = {
        Strategy.ONE_FOR_ALL: ["a ends: shutdown", "a starts", "b starts", "c starts"],
        Strategy.REST_FOR_ONE: ["b starts", "c starts"],
    }
    assert moves == first + second[strategy]
    assert running(supervisor) == ["a", "b", "c"]
    assert restarts(which_children(supervisor).get()) == {"a": 1, "b": 1, "c": 0}


def test_a_group_that_fails_half_way_uses_the_intensity_up(runtime: ManualRuntime, journal: list[str]) -> None:
    plan: list[BaseException | None] = [None, *(BoomError() for _ in range(10))]
    specs = [worker("a", journal), worker("b", journal, plan=plan), worker("c", journal)]
    supervisor = start(runtime, specs, strategy=Strategy.ONE_FOR_ALL)
    crash(runtime, supervisor, "a")
    assert supervisor.exit_reason == TOO_MANY_RESTARTS
    assert journal.count("b fails") == 3
    assert journal.count("c starts") == 1
    assert runtime.actors == []


# Significant children


@pytest.mark.parametrize(
    ("auto_shutdown", "done", "ends"),
    [
        (AutoShutdown.ANY_SIGNIFICANT, "s", True),
        (AutoShutdown.ANY_SIGNIFICANT, "t", True),
        (AutoShutdown.ANY_SIGNIFICANT, "x", False),
        (AutoShutdown.ALL_SIGNIFICANT, "s", False),
        (AutoShutdown.ALL_SIGNIFICANT, "st", True),
        (AutoShutdown.ALL_SIGNIFICANT, "ts", True),
        (AutoShutdown.ALL_SIGNIFICANT, "sx", False),
        (AutoShutdown.ALL_SIGNIFICANT, "sxt", True),
    ],
    ids=str,
)
def test_a_supervisor_ends_when_its_significant_children_are_done(
    auto_shutdown: AutoShutdown, done: str, ends: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [
        worker("a", journal),
        worker("s", journal, restart="transient", significant=True),
        worker("t", journal, restart="temporary", significant=True),
        worker("x", journal, restart="transient"),
    ]
    supervisor = start(runtime, specs, auto_shutdown=auto_shutdown)
    for label in done:
        child(supervisor, label).send(NORMAL)
        runtime.settle()
    assert supervisor.exit_reason == (SHUTDOWN if ends else None)
    assert (journal[-1] == "a ends: shutdown") is ends


@pytest.mark.parametrize(
    ("restart", "end", "ends"),
    [
        ("transient", NORMAL, True),
        ("transient", SHUTDOWN, True),
        ("transient", Shutdown("done"), True),
        ("transient", BoomError(), False),
        ("temporary", NORMAL, True),
        ("temporary", BoomError(), True),
    ],
    ids=str,
)
def test_a_significant_child_counts_when_it_is_not_restarted(
    restart: str, end: Any, ends: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker("s", journal, restart=restart, significant=True)]
    supervisor = start(runtime, specs, auto_shutdown="any_significant")
    child(supervisor, "s").send(end)
    runtime.settle()
    assert supervisor.exit_reason == (SHUTDOWN if ends else None)
    assert supervisor.is_alive() is not ends


def test_a_significant_child_that_is_terminated_does_not_end_its_supervisor(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker(label, journal, restart="transient", significant=True) for label in "st"]
    supervisor = start(runtime, specs, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    for label in "st":
        terminate_child(supervisor, label).get()
    assert running(supervisor) == []
    assert supervisor.is_alive()


def test_a_significant_child_that_was_terminated_is_not_waited_for(runtime: ManualRuntime, journal: list[str]) -> None:
    specs = [worker(label, journal, restart="transient", significant=True) for label in "st"]
    supervisor = start(runtime, specs, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    terminate_child(supervisor, "s").get()
    child(supervisor, "t").send(NORMAL)
    runtime.settle()
    assert supervisor.exit_reason == SHUTDOWN


def test_a_significant_child_that_waits_to_be_started_again_is_waited_for(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker(label, journal, restart="transient", significant=True, backoff=Backoff()) for label in "st"]
    supervisor = start(runtime, specs, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    crash(runtime, supervisor, "s")
    child(supervisor, "t").send(NORMAL)
    runtime.settle()
    assert supervisor.is_alive()
    runtime.advance(1)
    assert running(supervisor) == ["s"]


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_a_significant_child_that_goes_with_a_sibling_does_not_end_its_supervisor(
    restart: str, runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker("a", journal), worker("s", journal, restart=restart, significant=True)]
    supervisor = start(runtime, specs, strategy=Strategy.ONE_FOR_ALL, auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    crash(runtime, supervisor, "a")
    assert supervisor.is_alive()
    assert running(supervisor) == (["a", "s"] if restart == "transient" else ["a"])


def test_a_significant_child_needs_auto_shutdown(runtime: ManualRuntime, journal: list[str]) -> None:
    spec = worker("s", journal, restart="transient", significant=True)
    with pytest.raises(
        SignificantChildError, match="child 's' is significant: it needs a Supervisor with auto_shutdown"
    ):
        Supervisor([spec])
    supervisor = start(runtime, [])
    with pytest.raises(SignificantChildError):
        start_child(supervisor, spec).get()
    assert which_children(supervisor).get() == []


def test_the_supervisor_above_decides_about_one_that_shut_down(runtime: ManualRuntime, journal: list[str]) -> None:
    def inner(label: str, restart: str) -> ChildSpec:
        specs = [worker(f"{label}s", journal, restart="transient", significant=True)]
        options = {"auto_shutdown": "any_significant"}
        return ChildSpec(Supervisor, (specs,), options, id=label, restart=Restart(restart))

    outer = start(runtime, [inner("p", "permanent"), inner("t", "transient")])
    for label in "pt":
        child(child(outer, label), f"{label}s").send(NORMAL)
        runtime.settle()
    assert running(outer) == ["p"]


# Stop


def test_children_stop_in_reverse_order_one_after_the_other(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, end_takes=1), worker("c", journal)])
    journal.clear()
    down = stop(runtime, supervisor)
    assert journal == ["c ends: shutdown", "b is ending"]
    assert not down.done
    runtime.advance(1)
    assert journal[2:] == ["b ends: shutdown", "a ends: shutdown"]
    assert down.result() == SHUTDOWN
    assert runtime.actors == []


def test_a_supervisor_that_pykka_stops_stops_its_children(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    assert supervisor.stop() is True
    assert journal[2:] == ["b ends: shutdown", "a ends: shutdown"]
    assert supervisor.exit_reason == NORMAL


@pytest.mark.parametrize("block", [True, False], ids=["blocking", "not blocking"])
def test_pykkas_stop_all_stops_a_tree_from_its_top_so_that_nothing_is_restarted(
    runtime: ManualRuntime, journal: list[str], *, block: bool
) -> None:
    start(runtime, [worker(label, journal) for label in "abcde"])
    ActorRegistry.stop_all(block=block)
    runtime.settle()
    assert journal[5:] == [f"{label} ends: shutdown" for label in "edcba"]
    assert runtime.actors == []


def test_a_child_that_hangs_is_killed_after_its_seconds_and_the_others_end_in_order(
    runtime: ManualRuntime, journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, end_takes=None, shutdown=2)])
    hanging = child(supervisor, "b")
    name = str(hanging)
    down = stop(runtime, supervisor)
    runtime.advance(1.999)
    assert hanging.is_alive()
    runtime.advance(0.001)
    assert hanging.exit_reason == KILLED
    assert down.result() == SHUTDOWN
    assert journal[-1] == "a ends: shutdown"
    assert caplog.messages == [f"{name} did not end in time and is killed; its current message: none"]


def test_each_child_has_its_own_seconds(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker(label, journal, end_takes=4.0) for label in "abc"])
    down = stop(runtime, supervisor)
    runtime.advance(11.999)
    assert not down.done
    runtime.advance(0.001)
    assert down.result() == SHUTDOWN
    assert [line for line in journal if line.endswith("ends: shutdown")] == [
        f"{label} ends: shutdown" for label in "cba"
    ]


def test_brutal_kill_and_infinity(runtime: ManualRuntime, journal: list[str], caplog: pytest.LogCaptureFixture) -> None:
    children = [
        worker("patient", journal, shutdown=INFINITY, end_takes=3600),
        worker("brutal", journal, shutdown=BRUTAL_KILL, end_takes=None),
    ]
    supervisor = start(runtime, children)
    brutal = child(supervisor, "brutal")
    down = stop(runtime, supervisor)
    assert brutal.exit_reason == KILLED
    assert "brutal is ending" not in journal
    runtime.advance(3599)
    assert not down.done
    runtime.advance(1)
    assert down.result() == SHUTDOWN
    assert journal[-1] == "patient ends: shutdown"
    assert not caplog.records


@pytest.mark.parametrize("how", [NORMAL, BoomError("meanwhile"), KILL], ids=str)
def test_a_child_that_ends_itself_while_the_supervisor_stops_is_not_restarted(
    how: Any, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, end_takes=1)])
    first = child(supervisor, "a")
    down = stop(runtime, supervisor)
    first.exit(how) if how is KILL else first.send(how)
    runtime.settle()
    assert not first.is_alive()
    runtime.advance(1)
    assert down.result() == SHUTDOWN
    assert journal.count("a starts") == 1


def test_a_child_that_crashes_as_it_ends_does_not_hinder_the_others(runtime: ManualRuntime, journal: list[str]) -> None:
    class Clumsy(Actor):
        def terminate(self, reason: ExitReason) -> None:
            raise BoomError("clumsy")

    supervisor = start(runtime, [worker("a", journal), ChildSpec(Clumsy), worker("c", journal)])
    assert stop(runtime, supervisor).result() == SHUTDOWN
    assert journal[2:] == ["c ends: shutdown", "a ends: shutdown"]


def test_a_supervisor_that_is_told_to_stop_while_it_restarts_a_group_stops_what_it_has(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    children = [worker("a", journal), worker("b", journal, start_takes=2), worker("c", journal)]
    supervisor, _ = start_unsettled(children, strategy=Strategy.ONE_FOR_ALL)
    runtime.advance(2)
    crash(runtime, supervisor, "a")
    journal.clear()
    assert stop(runtime, supervisor).result() == SHUTDOWN
    assert journal == ["a ends: shutdown"]
    assert runtime.actors == []


def test_a_killed_supervisor_takes_its_children(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor, probe = start(runtime, [worker("a", journal), worker("b", journal)]), Probe()
    children = [child(supervisor, label) for label in "ab"]
    for ref in children:
        probe.monitor(ref)
    supervisor.kill()
    for ref in children:
        assert probe.assert_receive(lambda down, ref=ref: down.actor is ref).reason == KILLED
    assert supervisor.exit_reason == KILLED
    assert runtime.actors == [probe.ref]


def test_a_killed_supervisor_comes_back_with_all_its_children(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal), worker("b", journal)],), id="inner")
    outer = start(runtime, [inner])
    before = [child(child(outer, "inner"), label) for label in "ab"]
    child(outer, "inner").kill()
    runtime.settle()
    after = [child(child(outer, "inner"), label) for label in "ab"]
    assert not any(ref.is_alive() for ref in before)
    assert all(ref.is_alive() for ref in after)
    assert len(ActorRegistry.get_by_class(Worker)) == 2


def test_nested_supervisors_start_and_stop_in_order(runtime: ManualRuntime, journal: list[str]) -> None:
    def nested(label: str, *children: ChildSpec) -> ChildSpec:
        return ChildSpec(Supervisor, (children,), id=label)

    tree = [
        worker("a", journal),
        nested("left", worker("b", journal), nested("deep", worker("c", journal), worker("d", journal))),
        worker("e", journal),
    ]
    supervisor = start(runtime, tree)
    assert journal == [f"{label} starts" for label in "abcde"]
    journal.clear()
    assert stop(runtime, supervisor).result() == SHUTDOWN
    assert journal == [f"{label} ends: shutdown" for label in "edcba"]


def test_a_nested_supervisor_may_take_as_long_as_its_children(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker(label, journal, end_takes=4.0) for label in "ab"],), id="inner")
    supervisor = start(runtime, [inner])
    stop(runtime, supervisor)
    runtime.advance(8)
    assert journal[-1] == "a ends: shutdown"
    assert supervisor.exit_reason == SHUTDOWN


def test_a_message_that_a_supervisor_does_not_know_is_logged(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    supervisor = start(runtime, [])
    supervisor.send("hello")
    runtime.settle()
    assert caplog.messages == [f"{supervisor} got an unexpected message: 'hello'"]
    assert supervisor.is_alive()


def test_the_reason_of_a_crash_is_the_exception_itself(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor, error = start(runtime, [worker("a", journal)]), BoomError("mine")
    before = child(supervisor, "a")
    with pytest.raises(BoomError) as caught:
        before.ask(error)
    assert caught.value is error
    assert before.exit_reason == Crash(error)
    assert running(supervisor) == ["a"]


def test_a_significant_child_that_waits_with_a_sibling_for_its_back_off_is_not_done(runtime: ManualRuntime) -> None:
    def significant(name: str) -> ChildSpec:
        return ChildSpec(Actor, id=name, name=name, restart=Restart.TRANSIENT, significant=True)

    children = [
        significant("first"),
        ChildSpec(Actor, id="waits", name="waits", backoff=Backoff(min=10)),
        significant("after"),
    ]
    ref = Supervisor.start(children, strategy=Strategy.REST_FOR_ONE, auto_shutdown=AutoShutdown.ALL_SIGNIFICANT)
    runtime.settle()
    whereis("waits").kill()  # type: ignore[union-attr]  # it is there
    runtime.settle()
    assert whereis("after") is None
    whereis("first").stop(block=False)  # type: ignore[union-attr]  # it is there
    runtime.settle()
    assert ref.is_alive()
    runtime.advance(10)
    assert whereis("after") is not None
    whereis("after").stop(block=False)  # type: ignore[union-attr]  # as the line before says
    runtime.settle()
    assert ref.exit_reason == SHUTDOWN
