"""Totals by sampling, and a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors import sys
from actors.actor import Actor
from supervisors.calls import start_child
from supervisors.child_spec import ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.snapshot import Search, Sweep

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


# The sweep


def swept(runtime: ManualRuntime, sweep: Sweep, looks: int) -> Sweep:
    for _ in range(looks):
        sweep.poll()
        runtime.advance(0.5)
    return sweep


def test_a_sweep_counts_what_is_handled_and_what_waits(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    first, second, *_ = grow(runtime, many, 10)
    sweep = Sweep(scheduler_of(many))
    sweep.poll()
    for _ in range(30):
        first.ref.send("hello")
    runtime.advance(0.5)
    sys.suspend(second.ref)
    runtime.settle()
    second.ref.send("wait")
    runtime.settle()
    sweep.poll()
    assert sweep.rate == 60
    assert (sweep.waiting, sweep.fullest, sweep.roots) == (1, [second], [many.process])


def test_one_that_has_ended_still_says_what_it_handled(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    first, *_ = grow(runtime, many, 3)
    sweep = Sweep(scheduler_of(many), without=[many.process])
    sweep.poll()
    for message in ("a", "b", "end"):
        first.ref.send(message)
    runtime.advance(0.5)
    sweep.poll()
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
    sweep.poll()
    assert (sweep.waiting, sweep.fullest) == (1, [full])


def test_the_rate_of_all_is_the_sum_of_all_samples(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    processes = grow(runtime, many, 99)
    sweep = Sweep(scheduler_of(many), at_once=25, without=[many.process])
    for _ in range(8):
        sweep.poll()
        # One of them is busy, and in but one of the samples.
        for _ in range(50):
            processes[7].ref.send("hello")
        runtime.advance(0.5)
        sweep.poll()
        runtime.settle()
        for _ in range(50):
            processes[7].ref.send("hello")
        runtime.advance(0.5)
    assert sweep.rate == 100


def test_the_first_samples_stand_for_those_that_follow(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    processes = grow(runtime, many, 100)
    sweep = Sweep(scheduler_of(many), at_once=25, without=[many.process])
    sweep.poll()
    for process in processes:
        process.ref.send("hello")
    runtime.advance(0.5)
    sweep.poll()
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
    assert search.poll()
    assert search.hits == [processes[number] for number in found]


def test_a_search_is_by_class_and_pid_too(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    process, *_ = grow(runtime, many, 3)
    search = Search(scheduler_of(many), f"Counter {process.pid}")
    search.poll()
    assert search.hits == [process]


def test_a_search_looks_at_some_at_a_time_and_then_at_the_newborn(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    before = grow(runtime, many, 50)
    search = Search(scheduler_of(many), "counter", at_once=20)
    assert [search.poll() for _ in range(3)] == [False, False, True]
    assert search.hits == before
    after = grow(runtime, many, 3)
    before[0].ref.kill()
    runtime.settle()
    search.poll()
    assert search.hits == [*before[1:], *after]


def test_a_search_stops_at_so_many_hits(runtime: ManualRuntime, many: ActorRef[Any]) -> None:
    processes = grow(runtime, many, 50)
    search = Search(scheduler_of(many), "counter", most=5)
    search.poll()
    assert search.hits == processes[:5]


# Mailboxes


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
