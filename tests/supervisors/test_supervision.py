"""The semantics of supervision as tables, run against real supervisors in virtual time; then what both kinds do alike.

Among the tables is what Python's other supervisors are known to get wrong: restart types, exit signals, restart intensity, and
a shutdown that waits and reverses.
"""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, ExitReason, Shutdown
from actors.mailbox import Mailbox
from actors.sys import suspend
from supervisors.backoff import Backoff
from supervisors.calls import count_children, start_child, terminate_child, which_children
from supervisors.child_spec import ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.exceptions import TooManyChildrenError
from supervisors.restart import Strategy
from supervisors.supervision import TOO_MANY_RESTARTS, start_at_once
from supervisors.supervisor import Supervisor
from tests.supervisors.workers import BoomError, Worker, child, crash, in_words, running, start, worker

if TYPE_CHECKING:
    from actors.future import Future
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime

BOOM = BoomError("boom")

# How a child is brought to its end, and the reason it then ends with.
ENDS: dict[str, tuple[Callable[[ActorRef[Any]], None], ExitReason]] = {
    "normal": (lambda ref: ref.send(NORMAL), NORMAL),
    "shutdown": (lambda ref: ref.send(SHUTDOWN), SHUTDOWN),
    "shutdown with detail": (lambda ref: ref.send(Shutdown("done")), Shutdown("done")),
    "killed": (lambda ref: ref.kill(), KILLED),
    "crash": (lambda ref: ref.send(BOOM), Crash(BOOM)),
    "no process": (lambda ref: ref.send(NO_PROCESS), NO_PROCESS),
    "signal shutdown": (lambda ref: ref.exit(SHUTDOWN), SHUTDOWN),
    "signal exception": (lambda ref: ref.exit(BOOM), Crash(BOOM)),
}

# Whether OTP starts it again.
FAILURES = {"killed", "crash", "no process", "signal exception"}
RESTARTED = {Restart.PERMANENT: set(ENDS), Restart.TRANSIENT: FAILURES, Restart.TEMPORARY: set[str]()}

# Who then is stopped (-) and started (+), in which order, when the first, middle or last of three is to be restarted.
MOVES = {
    (Strategy.ONE_FOR_ONE, "a"): "+a",
    (Strategy.ONE_FOR_ONE, "b"): "+b",
    (Strategy.ONE_FOR_ONE, "c"): "+c",
    (Strategy.ONE_FOR_ALL, "a"): "-c -b +a +b +c",
    (Strategy.ONE_FOR_ALL, "b"): "-c -a +a +b +c",
    (Strategy.ONE_FOR_ALL, "c"): "-b -a +a +b +c",
    (Strategy.REST_FOR_ONE, "a"): "-c -b +a +b +c",
    (Strategy.REST_FOR_ONE, "b"): "-c +b +c",
    (Strategy.REST_FOR_ONE, "c"): "+c",
}


def moves_of(strategy: Strategy, failed: str, siblings: Restart, *, restarted: bool) -> list[str]:
    """Return what OTP does; siblings that are temporary are stopped with the others, and not started again."""
    moves = MOVES[strategy, failed].split() if restarted else []
    return [move for move in moves if siblings is not Restart.TEMPORARY or move[0] == "-" or move[1] == failed]


@pytest.mark.parametrize("siblings", list(Restart), ids=lambda restart: f"among {restart}")
@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("restart", list(Restart), ids=str)
@pytest.mark.parametrize("failed", "abc", ids=["first", "middle", "last"])
@pytest.mark.parametrize("strategy", list(Strategy), ids=str)
def test_restart_type_and_reason_and_strategy_and_position(
    strategy: Strategy,
    failed: str,
    *,
    restart: Restart,
    end: str,
    siblings: Restart,
    runtime: ManualRuntime,
    journal: list[str],
) -> None:
    specs = [worker(label, journal, restart=restart if label == failed else siblings) for label in "abc"]
    supervisor = start(runtime, specs, strategy=strategy)
    before = {label: child(supervisor, label) for label in "abc"}
    journal.clear()
    bring_to_end, reason = ENDS[end]
    bring_to_end(before[failed])
    runtime.settle()

    moves = moves_of(strategy, failed, siblings, restarted=end in RESTARTED[restart])
    own_end = [] if reason == KILLED else [f"{failed} ends: {in_words(reason)}"]
    words = {"-": "ends: shutdown", "+": "starts"}
    assert journal == [*own_end, *(f"{move[1]} {words[move[0]]}" for move in moves)]
    assert before[failed].exit_reason == reason

    stopped = {move[1] for move in moves if move[0] == "-"}
    started = {move[1] for move in moves if move[0] == "+"}
    kept = set("abc") - stopped - {failed}
    assert {label for label in "abc" if before[label].exit_reason == SHUTDOWN} - {failed} == stopped
    now = {str(info.id): info.ref for info in which_children(supervisor).get() if info.ref is not None}
    assert list(now) == [label for label in "abc" if label in kept | started]
    assert {label for label, ref in now.items() if ref is before[label]} == kept
    assert {ref.pid for ref in now.values()}.isdisjoint(before[label].pid for label in stopped | {failed})


@pytest.mark.parametrize("end", list(ENDS))
@pytest.mark.parametrize("restart", list(Restart), ids=str)
def test_restart_type_and_reason_under_a_dynamic_supervisor(
    restart: Restart, end: str, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = DynamicSupervisor.start()
    before = [start_child(supervisor, worker(label, journal, restart=restart)).get() for label in "abc"]
    ENDS[end][0](before[1])
    runtime.settle()
    restarted = end in RESTARTED[restart]
    infos = {str(info.id): info for info in which_children(supervisor).get()}
    assert sorted(infos) == (["a", "b", "c"] if restarted else ["a", "c"])
    assert (infos["a"].ref, infos["c"].ref) == (before[0], before[2])
    assert not before[1].is_alive()
    assert journal.count("b starts") == (2 if restarted else 1)
    assert not restarted or infos["b"].ref not in before


# Restart intensity


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0], ids=["back", "on"])
def test_a_wall_clock_that_is_set_changes_nothing(
    jump: float, kind: Any, runtime: ManualRuntime, journal: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = kind.start(max_restarts=2, max_seconds=10)
    start_child(supervisor, worker("a", journal)).get()
    for number in range(3):
        monkeypatch.setattr("time.time", lambda number=number: 1e9 + jump * number)
        assert supervisor.is_alive()
        child(supervisor, "a").send(BoomError())
        runtime.advance(1)
    assert supervisor.exit_reason == TOO_MANY_RESTARTS


# Back-off

FIRST = Backoff(min=1, max=8)


@pytest.fixture(params=[Supervisor, DynamicSupervisor], ids=lambda kind: str(kind.__name__))
def supervisor(request: pytest.FixtureRequest, runtime: ManualRuntime) -> ActorRef[Any]:
    ref: ActorRef[Any] = request.param.start(max_restarts=10)
    return ref


def restarting(supervisor: ActorRef[Any]) -> list[str]:
    return [str(info.id) for info in which_children(supervisor).get() if info.restarting]


def test_without_a_back_off_a_child_does_not_wait(
    runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal)).get()
    crash(runtime, supervisor, "a")
    assert running(supervisor) == ["a"]


def test_a_child_waits_longer_each_time(runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]) -> None:
    start_child(supervisor, worker("a", journal, backoff=FIRST)).get()
    for seconds in (1, 2, 4, 8, 8):
        crash(runtime, supervisor, "a")
        runtime.advance(seconds - 0.001)
        assert (running(supervisor), restarting(supervisor)) == ([], ["a"])
        runtime.advance(0.001)
        assert (running(supervisor), restarting(supervisor)) == (["a"], [])


def test_a_child_that_has_run_for_long_waits_as_at_first(
    runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal, backoff=FIRST)).get()
    for seconds in (1, 2):
        crash(runtime, supervisor, "a")
        runtime.advance(seconds)
    runtime.advance(8.001)
    crash(runtime, supervisor, "a")
    runtime.advance(1)
    assert running(supervisor) == ["a"]


@pytest.mark.parametrize("start_takes", [0.0, 0.25], ids=["at once", "later"])
def test_a_child_that_cannot_start_again_waits_too(
    start_takes: float, runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]
) -> None:
    plan: list[BaseException | None] = [None, BoomError(), BoomError()]
    start_child(supervisor, worker("a", journal, plan=plan, backoff=FIRST, start_takes=start_takes))
    runtime.advance(start_takes)
    crash(runtime, supervisor, "a")
    for seconds in (1, 2, 4):
        assert restarting(supervisor) == ["a"]
        runtime.advance(seconds + start_takes)
    assert running(supervisor) == ["a"]
    assert [info.restarts for info in which_children(supervisor).get()] == [3]


def test_a_full_mailbox_of_a_supervisor_keeps_no_child_from_its_next_restart(runtime: ManualRuntime) -> None:
    starts: list[ActorRef[Any]] = []

    class Small(Supervisor):
        mailbox = Mailbox(1)

    class Flaky(Actor):
        """Fails at its second start, and has filled its supervisor's mailbox."""

        def on_start(self) -> None:
            starts.append(self.actor_ref)
            if len(starts) == 2:
                small.tell("takes the only place")
                raise BOOM

        def on_receive(self, message: Any) -> None:
            raise BOOM

    small = Small.start([ChildSpec(Flaky)])
    runtime.settle()
    starts[0].send("fail")
    runtime.settle()

    assert len(starts) == 3
    assert starts[2].is_alive()


def test_while_a_child_waits_others_are_served_and_it_does_not_count_as_active(
    runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal, backoff=FIRST)).get()
    crash(runtime, supervisor, "a")
    start_child(supervisor, worker("b", journal)).get()
    assert tuple(count_children(supervisor).get()) == (2, 1, 0, 2)
    crash(runtime, supervisor, "b")
    assert sorted(running(supervisor)) == ["b"]


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
@pytest.mark.parametrize("backoff", [Backoff(), Backoff(jitter=1), Backoff(min=0.01, max=0.1), FIRST], ids=repr)
def test_restarts_after_a_back_off_do_not_count_so_that_an_outage_is_survived(
    kind: type[Supervisor | DynamicSupervisor], backoff: Backoff, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = kind.start()
    outage: list[BaseException | None] = [None, *(BoomError() for _ in range(100))]
    labels = ["a", "b", "c"]
    for label in labels:
        start_child(supervisor, worker(label, journal, plan=outage.copy(), backoff=backoff)).get()
    for label in labels:
        crash(runtime, supervisor, label)
    runtime.advance(101 * backoff.max)
    assert sorted(running(supervisor)) == labels


def test_children_without_a_back_off_count_for_themselves(
    runtime: ManualRuntime, journal: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ashtree.supervisors")
    supervisor = start(runtime, [worker("a", journal, backoff=FIRST), worker("b", journal)], max_restarts=1)
    name = str(supervisor)
    for label, seconds in [("a", 1), ("a", 2), ("b", 0), ("b", 0)]:
        crash(runtime, supervisor, label)
        runtime.advance(seconds)
    assert supervisor.exit_reason == TOO_MANY_RESTARTS
    said = [message for message in caplog.messages if message.startswith(name)]
    assert [message.partition(",")[0] for message in said] == [
        f"{name} restarts a in 1 s",
        f"{name} restarts a in 2 s",
        f"{name} restarts b",
        f"{name} gives up: more than 1 restarts within 5 s; the last to end was b: BoomError: b",
    ]


def test_a_child_that_is_terminated_while_it_waits_does_not_come_back(
    runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal, backoff=FIRST)).get()
    last = crash(runtime, supervisor, "a")
    is_dynamic = supervisor.actor_class is DynamicSupervisor
    terminate_child(supervisor, last if is_dynamic else "a").get()
    assert restarting(supervisor) == []
    runtime.advance(60)
    assert journal.count("a starts") == 1
    assert [info.id for info in which_children(supervisor).get()] == ([] if is_dynamic else ["a"])


@pytest.mark.parametrize("start_takes", [0.0, 0.25], ids=["at once", "later"])
def test_a_child_is_known_by_its_last_ref_while_it_waits_however_often_it_cannot_start(
    start_takes: float, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = DynamicSupervisor.start()
    plan: list[BaseException | None] = [None, BoomError()]
    start_child(supervisor, worker("a", journal, plan=plan, backoff=FIRST, start_takes=start_takes))
    runtime.advance(start_takes)
    last = crash(runtime, supervisor, "a")
    runtime.advance(1 + start_takes)
    assert journal[-1] == "a fails"
    terminate_child(supervisor, last).get()
    assert which_children(supervisor).get() == []
    runtime.advance(60)
    assert journal[-1] == "a fails"


def test_a_supervisor_that_ends_does_not_wait_for_a_child_that_waits(
    runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str]
) -> None:
    start_child(supervisor, worker("a", journal, backoff=FIRST)).get()
    crash(runtime, supervisor, "a")
    supervisor.exit(SHUTDOWN)
    runtime.settle()
    assert supervisor.exit_reason == SHUTDOWN
    assert runtime.actors == []
    assert runtime.clock.pending() == 0


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        (Strategy.ONE_FOR_ONE, "", "b"),
        (Strategy.ONE_FOR_ALL, "ca", "abc"),
        (Strategy.REST_FOR_ONE, "c", "bc"),
    ],
    ids=str,
)
def test_siblings_that_go_with_a_child_are_stopped_at_once_and_wait_with_it(
    strategy: Strategy, stopped: str, started: str, runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker(label, journal, backoff=FIRST if label == "b" else None) for label in "abc"]
    supervisor = start(runtime, specs, strategy=strategy)
    journal.clear()
    crash(runtime, supervisor, "b")
    assert journal == ["b ends: BoomError", *(f"{label} ends: shutdown" for label in stopped)]
    assert restarting(supervisor) == ["b"]
    journal.clear()
    runtime.advance(0.999)
    assert journal == []
    runtime.advance(0.001)
    assert journal == [f"{label} starts" for label in started]
    assert running(supervisor) == ["a", "b", "c"]


def test_a_child_that_waits_is_restarted_with_a_sibling_that_it_goes_with_and_only_then(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    specs = [worker("a", journal, backoff=Backoff(min=5)), worker("b", journal, backoff=FIRST)]
    supervisor = start(runtime, specs, strategy=Strategy.REST_FOR_ONE)
    crash(runtime, supervisor, "b")
    crash(runtime, supervisor, "a")
    assert restarting(supervisor) == ["a"]
    runtime.advance(4.999)
    assert running(supervisor) == []
    runtime.advance(0.001)
    assert running(supervisor) == ["a", "b"]
    runtime.advance(60)
    assert [journal.count("a starts"), journal.count("b starts")] == [2, 2]


def test_chance_takes_off_what_jitter_allows(
    runtime: ManualRuntime, supervisor: ActorRef[Any], journal: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisors.supervision.random", lambda: 0.5)
    start_child(supervisor, worker("a", journal, backoff=Backoff(min=4, jitter=0.5))).get()
    crash(runtime, supervisor, "a")
    runtime.advance(2.999)
    assert running(supervisor) == []
    runtime.advance(0.001)
    assert running(supervisor) == ["a"]


# Work


def calls_made(action: Callable[[], object]) -> int:
    """Count the functions that are called meanwhile, whether they are Python's or C's."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    before = sys.getprofile()
    gc.collect()  # what earlier tests have left must not be freed, and counted, here
    gc.disable()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(before)
        gc.enable()
    return calls


def crowd(kind: Any, size: int) -> tuple[ActorRef[Any], list[ActorRef[Any]]]:
    supervisor = kind.start(max_restarts=size)
    specs = [ChildSpec(Worker, (str(number), []), id=number) for number in range(size)]
    return supervisor, [start_child(supervisor, spec).get() for spec in specs]


def all_stop(runtime: ManualRuntime, kind: Any, size: int) -> Callable[[], object]:
    supervisor, _ = crowd(kind, size)
    down: Future[ExitReason] = supervisor.down()

    def stop() -> None:
        supervisor.exit(SHUTDOWN)
        runtime.settle()
        assert down.done

    return stop


def all_start(_runtime: ManualRuntime, kind: Any, size: int) -> Callable[[], object]:
    return lambda: crowd(kind, size)


def all_are_killed(runtime: ManualRuntime, kind: Any, size: int) -> Callable[[], object]:
    supervisor, refs = crowd(kind, size)

    def kill_all() -> None:
        for ref in refs:
            ref.kill()
        runtime.settle()
        assert count_children(supervisor).get().active == size

    return kill_all


def all_are_terminated(_runtime: ManualRuntime, kind: Any, size: int) -> Callable[[], object]:
    supervisor, refs = crowd(kind, size)

    def terminate() -> None:
        for number, ref in enumerate(refs):
            terminate_child(supervisor, ref if kind is DynamicSupervisor else number).get()
        assert count_children(supervisor).get().active == 0

    return terminate


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "what", [all_start, all_are_killed, all_are_terminated, all_stop], ids=lambda what: what.__name__
)
def test_the_work_for_children_is_linear_in_their_number(what: Any, kind: Any, runtime: ManualRuntime) -> None:
    few, some, many = (calls_made(what(runtime, kind, size)) for size in (1000, 2000, 3000))
    assert many - some < 1.05 * (some - few)


# Children that are started without a turn of their supervisor


@pytest.fixture
def resting(runtime: ManualRuntime) -> ActorRef[DynamicSupervisor]:
    return DynamicSupervisor.start()


def test_a_supervisor_that_rests_has_a_child_at_once_and_restarts_it_as_any(
    runtime: ManualRuntime, resting: ActorRef[DynamicSupervisor]
) -> None:
    journal: list[str] = []
    started = start_at_once(resting, worker("a", journal))
    assert started is not None
    assert journal == ["a starts"]
    assert started.result().process.parent is resting.process
    started.result().kill()
    runtime.settle()
    assert journal == ["a starts", "a starts"]
    assert [info.restarts for info in which_children(resting).get()] == [1]


def test_a_child_that_cannot_start_at_once_is_none(resting: ActorRef[DynamicSupervisor]) -> None:
    started = start_at_once(resting, worker("a", [], plan=[BOOM]))
    assert started is not None
    assert isinstance(started.exception, StartError)
    assert which_children(resting).get() == []


def test_a_limit_of_the_supervisor_counts_for_children_that_start_at_once(runtime: ManualRuntime) -> None:
    full: ActorRef[DynamicSupervisor] = DynamicSupervisor.start(max_children=0)
    started = start_at_once(full, worker("a", []))
    assert started is not None
    assert isinstance(started.exception, TooManyChildrenError)


def _has_mail(supervisor: ActorRef[Any]) -> None:
    supervisor.send("first")


def _is_suspended(supervisor: ActorRef[Any]) -> None:
    suspend(supervisor).get()


def _is_dead(supervisor: ActorRef[Any]) -> None:
    supervisor.stop()


@pytest.mark.parametrize("occupy", [_has_mail, _is_suspended, _is_dead])
def test_a_supervisor_that_does_not_rest_has_to_be_asked(
    resting: ActorRef[DynamicSupervisor], occupy: Callable[[ActorRef[Any]], None]
) -> None:
    occupy(resting)
    journal: list[str] = []
    assert start_at_once(resting, worker("a", journal)) is None
    assert not journal
