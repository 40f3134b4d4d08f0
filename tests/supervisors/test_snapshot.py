"""What runs, looked at a little at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors import sys
from actors.actor import Actor
from actors.lowlevel import spawn
from supervisors.backoff import Backoff
from supervisors.calls import start_child, terminate_child
from supervisors.child_spec import ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.snapshot import Search, Sweep, branch_of, branches, line, root_of
from supervisors.supervisor import Supervisor
from tests.supervisors.workers import BoomError, Worker, child, crash, start, worker

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime


class Counter(Actor):
    """Handles what it gets."""

    def on_receive(self, message: Any) -> None:
        if message == "end":
            self.stop()


@pytest.fixture
def many(runtime: ManualRuntime) -> ActorRef[Any]:
    return DynamicSupervisor.start()


def scheduler_of(ref: ActorRef[Any]) -> Scheduler:
    return ref.process.scheduler


def grow(runtime: ManualRuntime, many: ActorRef[Any], count: int) -> list[Process]:
    specs = [ChildSpec(Counter, id=f"counter_{n}", restart=Restart.TEMPORARY) for n in range(count)]
    futures = [start_child(many, spec) for spec in specs]
    runtime.settle()
    return [future.get().process for future in futures]


def ids(process: Process) -> list[Any]:
    return [branch.child and branch.child.spec.id for branch in branches(process)]


# Branches


def test_the_branches_of_a_supervisor_are_its_children_in_start_order(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal), ChildSpec(DynamicSupervisor, id="b"), worker("c", journal)])
    found = list(branches(supervisor.process))
    assert [branch.process for branch in found] == [child(supervisor, id_).process for id_ in "abc"]
    assert [branch.is_supervisor for branch in found] == [False, True, False]
    assert list(reversed(branches(supervisor.process))) == found[::-1]
    assert len(branches(supervisor.process)) == 3


def test_a_child_that_was_restarted_keeps_its_place_and_is_counted(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    crash(runtime, supervisor, "a")
    assert ids(supervisor.process) == ["a", "b"]
    assert [branch.restarts for branch in branches(supervisor.process)] == [1, 0]
    assert branch_of(child(supervisor, "a").process).restarts == 1


def test_a_child_that_does_not_run_has_a_branch_without_a_process(runtime: ManualRuntime, journal: list[str]) -> None:
    waits = ChildSpec(Worker, ("b", journal), id="b", backoff=Backoff(5.0))
    inner = ChildSpec(Supervisor, id="c")
    supervisor = start(runtime, [worker("a", journal), waits, inner])
    terminate_child(supervisor, "a").get()
    terminate_child(supervisor, "c").get()
    child(supervisor, "b").send(BoomError())
    runtime.settle()
    found = list(branches(supervisor.process))
    assert [branch.process for branch in found] == [None, None, None]
    assert [branch.is_supervisor for branch in found] == [False, False, True]
    assert ids(supervisor.process) == ["a", "b", "c"]
    runtime.advance(5)
    assert [branch.process is not None for branch in branches(supervisor.process)] == [False, True, False]


def test_the_branches_of_any_other_actor_are_those_linked_to_it_as_to_their_parent(runtime: ManualRuntime) -> None:
    parent, stranger = Counter.start().process, Counter.start().process
    first, second = (spawn(Counter, parent=parent).process for _ in range(2))
    parent.link(stranger)
    assert [branch.process for branch in branches(parent)] == [first, second]
    assert [branch.process for branch in reversed(branches(parent))] == [second, first]
    assert len(branches(parent)) == 2
    assert branch_of(first) == (first, None)
    assert list(branches(stranger)) == []


def test_the_line_of_an_actor_begins_at_its_root(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal)],), id="inner")
    root = start(runtime, [inner])
    leaf = child(child(root, "inner"), "a").process
    assert line(leaf) == [root.process, child(root, "inner").process, leaf]
    assert (root_of(leaf), root_of(root.process)) == (root.process, root.process)


def test_a_mailbox_counts_what_is_held_back(runtime: ManualRuntime) -> None:
    ref = Counter.start()
    ref.send(1)
    assert ref.process.waiting == 1
    runtime.settle()
    assert ref.process.waiting == 0
    sys.suspend(ref)
    runtime.settle()
    for _ in range(3):
        ref.send(1)
    runtime.settle()
    assert ref.process.waiting == 3


# The sweep


def swept(runtime: ManualRuntime, sweep: Sweep, looks: int) -> Sweep:
    for _ in range(looks):
        sweep.look()
        runtime.advance(0.5)
    return sweep


def test_a_sweep_counts_what_is_handled_and_what_waits(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    first, second, *_ = grow(runtime, many, 10)
    sweep = Sweep(scheduler_of(many))
    sweep.look()
    for _ in range(30):
        first.ref.send("hello")
    runtime.advance(0.5)
    sys.suspend(second.ref)
    runtime.settle()
    second.ref.send("wait")
    runtime.settle()
    sweep.look()
    assert sweep.rate == 60
    assert (sweep.waiting, sweep.fullest, sweep.roots) == (1, [second], [many.process])


def test_one_that_has_ended_still_says_what_it_handled(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    first, *_ = grow(runtime, many, 3)
    sweep = Sweep(scheduler_of(many), without=[many.process])
    sweep.look()
    for message in ("a", "b", "end"):
        first.ref.send(message)
    runtime.advance(0.5)
    sweep.look()
    assert not first.alive
    assert sweep.rate == 8  # with the stop that it sent itself


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_sweep_over_many_comes_round_after_some_looks(
    runtime: ManualRuntime, many: ActorRef[Any], looks: int
) -> None:
    processes = grow(runtime, many, 30 * looks - 1)
    full = processes[-1]
    sys.suspend(full.ref)
    runtime.settle()
    full.ref.send("wait")
    runtime.settle()
    sweep = swept(runtime, Sweep(scheduler_of(many), at_once=30), looks - 1)
    assert (sweep.waiting, sweep.fullest) == (0, [])
    sweep.look()
    assert (sweep.waiting, sweep.fullest) == (1, [full])


def test_the_rate_of_all_is_the_sum_of_all_samples(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    processes = grow(runtime, many, 99)
    sweep = Sweep(scheduler_of(many), at_once=25, without=[many.process])
    for _ in range(8):
        sweep.look()
        # One of them is busy, and in but one of the samples.
        for _ in range(50):
            processes[7].ref.send("hello")
        runtime.advance(0.5)
        sweep.look()
        runtime.settle()
        for _ in range(50):
            processes[7].ref.send("hello")
        runtime.advance(0.5)
    assert sweep.rate == 100


def test_the_first_samples_stand_for_those_that_follow(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    processes = grow(runtime, many, 100)
    sweep = Sweep(scheduler_of(many), at_once=25, without=[many.process])
    sweep.look()
    for process in processes:
        process.ref.send("hello")
    runtime.advance(0.5)
    sweep.look()
    assert sweep.rate == 200


# The search


@pytest.mark.parametrize(
    ("text", "found"), [("counter_1", [1, 10, 11]), ("COUNTER_11", [11]), ("_11 counter", [11]), ("nobody", [])]
)
def test_a_search_finds_all_whose_names_have_all_words(
    runtime: ManualRuntime, many: ActorRef[Any], text: str, found: list[int]
) -> None:
    processes = grow(runtime, many, 12)
    search = Search(scheduler_of(many), text)
    assert search.look()
    assert search.hits == [processes[number] for number in found]


def test_a_search_is_by_class_and_pid_too(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    process, *_ = grow(runtime, many, 3)
    search = Search(scheduler_of(many), f"Counter {process.pid}")
    search.look()
    assert search.hits == [process]


def test_a_search_looks_at_some_at_a_time_and_then_at_the_newborn(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    before = grow(runtime, many, 50)
    search = Search(scheduler_of(many), "counter")
    assert [search.look(at_once=20) for _ in range(3)] == [False, False, True]
    assert search.hits == before
    after = grow(runtime, many, 3)
    before[0].ref.kill()
    runtime.settle()
    search.look()
    assert search.hits == [*before[1:], *after]


def test_a_search_stops_at_so_many_hits(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    processes = grow(runtime, many, 50)
    search = Search(scheduler_of(many), "counter", most=5)
    search.look()
    assert search.hits == processes[:5]
