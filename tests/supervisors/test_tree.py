"""The tree as text."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.lowlevel import spawn
from supervisors.backoff import Backoff
from supervisors.calls import start_child, terminate_child
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from supervisors.tree import draw
from tests.supervisors.workers import BoomError, Worker, child, crash, start, worker

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime


def drawn(root: ActorRef[Any]) -> str:
    """Draw the tree in short, with `<n>` for the pids, numbered from the root's on in the order of their starts."""
    return numbered(draw(root.process))


def numbered(text: str) -> str:
    numbers = sorted({int(part.split(".")[1]) for part in text.split("<")[1:]})
    for index, number in enumerate(numbers):
        text = text.replace(f"<0.{number}.0>", f"<{index}>")
    return text


def sketch(text: str) -> str:
    return dedent(text).strip("\n")


def test_an_actor_alone_is_a_line(runtime: ManualRuntime) -> None:
    supervisor = start(runtime, [])
    assert draw(supervisor.process) == f"Supervisor {supervisor.pid}"


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
    assert draw(supervisor.process) == f"Supervisor {supervisor.pid}\n└── a {after.pid} Worker"
    terminate_child(supervisor, "a").get()
    assert draw(supervisor.process) == f"Supervisor {supervisor.pid}"


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
    assert "Loner" not in draw(supervisor.process)


def test_children_stand_in_the_order_of_their_supervisor_also_after_a_restart(
    runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    crash(runtime, supervisor, "a")
    assert drawn(supervisor) == sketch("""
        Supervisor <0>
        ├── a <2> Worker
        └── b <1> Worker
    """)


def test_a_child_that_waits_to_be_started_again_is_shown(runtime: ManualRuntime, journal: list[str]) -> None:
    backoff = Backoff(min=10.0)
    supervisor = start(runtime, [worker("a", journal, backoff=backoff), worker("b", journal)])
    crash(runtime, supervisor, "a")
    assert drawn(supervisor) == sketch("""
        Supervisor <0>
        ├── a restarting Worker
        └── b <1> Worker
    """)


def test_actors_may_start_one_another_to_any_depth(runtime: ManualRuntime) -> None:
    class Link(Actor):
        def __init__(self, below: int) -> None:
            self.below = below

        def on_receive(self, message: Any) -> None:
            if self.below:
                spawn(Link, (self.below - 1,), parent=self._process).send("go")

    first = Link.start(2000)
    first.send("go")
    runtime.settle()
    assert len(draw(first.process).splitlines()) == 2001
