"""The tree's text."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

from workers import BoomError, Worker, child, start, worker

from actors.actor import Actor
from supervisors.calls import start_child, terminate_child
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.observer import tree
from supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime


def drawn(root: ActorRef[Any]) -> str:
    """Draw the tree with `<n>` for the pids, numbered from the root's on in the order of their starts."""
    text = tree(root)
    numbers = sorted({int(part.split(".")[1]) for part in text.split("<")[1:]})
    for index, number in enumerate(numbers):
        text = text.replace(f"<0.{number}.0>", f"<{index}>")
    return text


def sketch(text: str) -> str:
    return dedent(text).strip("\n")


def test_an_actor_alone_is_a_line(runtime: ManualRuntime) -> None:
    supervisor = start(runtime, [])
    assert tree(supervisor) == f"Supervisor {supervisor.pid}"


def test_children_stand_below_their_parents_with_name_and_class(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("b", journal), worker("c", journal)],), id="inner")
    last = ChildSpec(Supervisor, ([worker("e", journal)],), id="last")
    supervisor = start(runtime, [worker("a", journal), inner, worker("d", journal, name="the one"), last])
    assert drawn(supervisor) == sketch("""
        Supervisor <0>
        ├── a <1> Worker
        ├── inner <2> Supervisor
        │   ├── b <3> Worker
        │   └── c <4> Worker
        ├── the one <5> Worker
        └── last <6> Supervisor
            └── e <7> Worker
    """)


def test_a_child_that_is_called_as_its_class_is_not_called_so_twice(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [ChildSpec(DynamicSupervisor)])
    start_child(child(supervisor, "DynamicSupervisor"), ChildSpec(Worker, ("x", journal))).get()
    assert drawn(supervisor) == sketch("""
        Supervisor <0>
        └── DynamicSupervisor <1>
            └── Worker <2>
    """)


def test_the_tree_may_be_drawn_from_anywhere_in_it(runtime: ManualRuntime, journal: list[str]) -> None:
    inner = ChildSpec(Supervisor, ([worker("b", journal)],), id="inner")
    supervisor = start(runtime, [worker("a", journal), inner])
    assert drawn(child(supervisor, "inner")) == sketch("""
        inner <0> Supervisor
        └── b <1> Worker
    """)


def test_the_tree_shows_those_that_live_now(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, restart="temporary")])
    child(supervisor, "b").send(BoomError())
    runtime.settle()
    assert drawn(supervisor) == sketch("""
        Supervisor <0>
        └── a <1> Worker
    """)
    before = child(supervisor, "a")
    before.send(BoomError())
    runtime.settle()
    after = child(supervisor, "a")
    assert tree(supervisor) == f"Supervisor {supervisor.pid}\n└── a {after.pid} Worker"
    terminate_child(supervisor, "a").get()
    assert tree(supervisor) == f"Supervisor {supervisor.pid}"


def test_a_child_that_is_starting_is_shown(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = Supervisor.start([worker("a", journal, start_takes=1)])
    runtime.settle()
    assert drawn(supervisor) == sketch("""
        Supervisor <0>
        └── a <1> Worker
    """)


def test_actors_without_a_parent_are_in_no_tree(runtime: ManualRuntime, journal: list[str]) -> None:
    class Loner(Actor):
        pass

    supervisor = start(runtime, [worker("a", journal)])
    Loner.start()
    assert "Loner" not in tree(supervisor)
