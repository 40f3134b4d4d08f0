"""The tree as a prompt shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from supervisors.backoff import Backoff
from supervisors.calls import start_child
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.observer.display import ALARM, WARN
from supervisors.observer.tables import CROWDED
from supervisors.observer.tree_table import draw_with_details
from tests.supervisors.terminals import Terminal, colourful
from tests.supervisors.test_tree import numbered
from tests.supervisors.workers import Worker, child, crash, start, worker

__all__ = ["colourful"]

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


def test_details_are_restarts_waiting_messages_and_ages_in_columns(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    runtime.advance(100)
    crash(runtime, supervisor, "a")
    busy = child(supervisor, "b")
    busy.send(3600.0)
    runtime.settle()
    for _ in range(12):
        busy.send("x")
    runtime.advance(5)
    lines = numbered(draw_with_details([supervisor.process], None)).splitlines()
    assert [line.split() for line in lines] == [
        ["restarts", "mailbox", "age"],
        ["Supervisor", "<0>", "0", "105", "s"],
        ["├──", "a", "<2>", "Worker", "1", "0", "5", "s"],
        ["└──", "b", "<1>", "Worker", "0", "12", "105", "s"],
    ]


def test_of_a_crowd_some_are_drawn_and_the_others_counted(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [ChildSpec(DynamicSupervisor), worker("z", journal)])
    crowd = child(supervisor, "DynamicSupervisor")
    for number in range(5):
        start_child(crowd, ChildSpec(Worker, ("x", journal), id=f"w{number}")).get()
    lines = draw_with_details([supervisor.process], 2).splitlines()
    assert [line.split("<")[0].rstrip() for line in lines[1:]] == [
        "Supervisor",
        "├── DynamicSupervisor",
        "│   ├── w0",
        "│   ├── w1",
        "│   └── … and 3 more; most=None shows all",
        "└── z",
    ]
    assert len(draw_with_details([supervisor.process], None).splitlines()) == 9


def test_several_trees_stand_below_one_another(runtime: ManualRuntime) -> None:
    first, second = start(runtime, []), start(runtime, [])
    lines = draw_with_details([first.process, second.process], None).splitlines()
    assert [line.split()[1] for line in lines[1:]] == [first.pid, second.pid]


def test_no_tree_is_said_in_words() -> None:
    assert draw_with_details([], None) == "no supervisor runs"


@pytest.mark.usefixtures("colourful")
def test_what_is_restarted_or_waits_is_in_colours(runtime: ManualRuntime, journal: list[str]) -> None:
    backoff = Backoff(min=10.0)
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, backoff=backoff), worker("c", journal)])
    crash(runtime, supervisor, "a")
    crash(runtime, supervisor, "b")
    busy = child(supervisor, "c")
    busy.send(3600.0)
    runtime.settle()
    for _ in range(CROWDED + 1):
        busy.send("x")
    text = draw_with_details([supervisor.process], None, out=Terminal())
    assert f"\x1b[{WARN}m1\x1b[0m" in repr(text)
    assert f"\x1b[{ALARM}m restarting\x1b[0m" in repr(text)
    assert f"\x1b[{ALARM}m{CROWDED + 1}\x1b[0m" in repr(text)
    assert "\x1b" not in text
