"""The tree read from outside: children, ancestors and restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.lowlevel import spawn
from supervisors.backoff import Backoff
from supervisors.branches import Branch, Branches, branch_of, children_of, lineage, root_of
from supervisors.calls import terminate_child
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from tests.supervisors.workers import BoomError, Worker, child, crash, start, worker

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.testing import ManualRuntime


class Counter(Actor):
    """Handles what it gets."""


def ids(process: Process) -> list[Any]:
    return [branch.child and branch.child.spec.id for branch in Branches(process)]


# Branches


def test_the_branches_of_a_supervisor_are_its_children_in_start_order(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal), ChildSpec(DynamicSupervisor, id="b"), worker("c", journal)])
    found = list(Branches(supervisor.process))
    assert [branch.process for branch in found] == [child(supervisor, id_).process for id_ in "abc"]
    assert [branch.is_supervisor for branch in found] == [False, True, False]
    assert list(reversed(Branches(supervisor.process))) == found[::-1]
    assert len(Branches(supervisor.process)) == 3


def test_a_child_that_was_restarted_keeps_its_place_and_is_counted(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    crash(runtime, supervisor, "a")
    assert ids(supervisor.process) == ["a", "b"]
    assert [branch.restarts for branch in Branches(supervisor.process)] == [1, 0]
    assert branch_of(child(supervisor, "a").process).restarts == 1


def test_a_child_that_does_not_run_has_a_branch_without_a_process(runtime: ManualRuntime, journal: list[str]) -> None:
    waits = ChildSpec(Worker, ("b", journal), id="b", backoff=Backoff(5.0))
    inner = ChildSpec(Supervisor, id="c")
    supervisor = start(runtime, [worker("a", journal), waits, inner])
    terminate_child(supervisor, "a").get()
    terminate_child(supervisor, "c").get()
    child(supervisor, "b").send(BoomError())
    runtime.settle()
    found = list(Branches(supervisor.process))
    assert [branch.process for branch in found] == [None, None, None]
    assert [branch.is_supervisor for branch in found] == [False, False, True]
    assert ids(supervisor.process) == ["a", "b", "c"]
    runtime.advance(5)
    assert [branch.process is not None for branch in Branches(supervisor.process)] == [False, True, False]


def test_the_branches_of_any_other_actor_are_those_linked_to_it_as_to_their_parent(runtime: ManualRuntime) -> None:
    parent, stranger = Counter.start().process, Counter.start().process
    first, second = (spawn(Counter, parent=parent).process for _ in range(2))
    parent.link(stranger)
    assert [branch.process for branch in Branches(parent)] == [first, second]
    assert [branch.process for branch in reversed(Branches(parent))] == [second, first]
    assert len(Branches(parent)) == 2
    assert branch_of(first) == (first, None)
    assert list(Branches(stranger)) == []


def test_the_line_of_an_actor_begins_at_its_root(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("a", journal)],), id="inner")
    root = start(runtime, [inner])
    leaf = child(child(root, "inner"), "a").process
    assert lineage(leaf) == [root.process, child(root, "inner").process, leaf]
    assert (root_of(leaf), root_of(root.process)) == (root.process, root.process)


def test_what_a_supervisor_has_started_by_itself_is_a_child_of_it_too(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    terminate_child(supervisor, "a").get()
    extra = spawn(Counter, parent=supervisor.process).process
    assert [branch.process for branch in children_of(supervisor.process)] == [child(supervisor, "b").process, extra]
    assert children_of(supervisor.process)[1] == Branch(extra, None)


def test_the_children_of_a_supervisor_come_in_its_order(runtime: ManualRuntime, journal: list[str]) -> None:
    backoff = Backoff(min=10.0)
    supervisor = start(runtime, [worker("a", journal, backoff=backoff), worker("b", journal), worker("c", journal)])
    crash(runtime, supervisor, "a")
    crash(runtime, supervisor, "b")
    waiting, *living = children_of(supervisor.process)
    assert (waiting.process, waiting.is_restarting) == (None, True)
    assert waiting.child is not None
    assert waiting.child.spec.id == "a"
    assert [branch.process for branch in living] == [child(supervisor, "b").process, child(supervisor, "c").process]
    assert [branch.is_restarting for branch in living] == [False, False]
    runtime.advance(10)
    assert children_of(supervisor.process)[0].process == child(supervisor, "a").process


def test_the_dead_have_no_children(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    supervisor.kill()
    runtime.settle()
    assert children_of(supervisor.process) == []
