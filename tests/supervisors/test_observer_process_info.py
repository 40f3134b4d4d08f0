"""What is seen of a process from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors import sys
from actors.actor import Actor
from supervisors.observer.process_info import ProcessInfo, process_info, ranked
from tests.supervisors.workers import child, crash, start, worker

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


def test_a_process_is_seen_as_it_is(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    ref = child(supervisor, "a")
    ref.ask("x")
    runtime.advance(7)
    ref.send("y")
    seen = process_info(ref.process)
    assert seen == ProcessInfo(ref, ref.pid, "a", "Worker", "running", 1, 1, 0, 7.0)
    runtime.settle()
    assert process_info(ref.process)[5:7] == (0, 2)


def test_messages_that_are_held_back_wait_too(runtime: ManualRuntime, journal: list[str]) -> None:
    ref = child(start(runtime, [worker("a", journal)]), "a")
    sys.suspend(ref).get()
    ref.send("x")
    runtime.settle()
    ref.send("y")
    assert (process_info(ref.process).status, process_info(ref.process).mailbox) == ("suspended", 2)


def test_restarts_are_those_by_its_supervisor(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal)])
    for _ in range(2):
        crash(runtime, supervisor, "a")
    seen = {name: process_info(child(supervisor, name).process).restarts for name in "ab"}
    assert seen == {"a": 2, "b": 0}
    assert process_info(supervisor.process).restarts is None


@pytest.mark.parametrize(
    ("by", "most", "order"),
    [
        ("pid", None, ["b", "a", "c"]),
        ("name", None, ["a", "b", "c"]),
        ("handled", None, ["c", "a", "b"]),
        ("restarts", 2, ["a", "b"]),
        ("age", 1, ["b"]),
        ("pid", 0, []),
    ],
)
def test_numbers_are_ranked_from_the_largest_and_words_upwards(
    runtime: ManualRuntime, by: str, most: int | None, order: list[str]
) -> None:
    restarts = {"b": None, "a": 1, "c": None}
    infos = [
        process_info(Actor.start().process)._replace(
            name=name, handled=number, age=9.0 - number, restarts=restarts[name]
        )
        for number, name in enumerate("bac")
    ]
    assert [info.name for info in ranked(infos, by, most)] == order


def test_what_is_no_field_cannot_rank() -> None:
    with pytest.raises(
        ValueError,
        match="'pid', 'name', 'actor', 'status', 'mailbox', 'handled', 'restarts', 'age', 'left_out', got 'ref'",
    ):
        ranked([], "ref", None)
