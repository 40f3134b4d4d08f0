"""All actors, a slice at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.actor import Actor
from supervisors.roster import Roster

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.testing import ManualRuntime


def born(count: int) -> list[Process]:
    return [Actor.start().process for _ in range(count)]


@pytest.mark.parametrize(("mixed", "expected"), [(False, ["012", "345", "6"]), (True, ["036", "14", "25"])])
def test_each_actor_is_in_one_slice(runtime: ManualRuntime, *, mixed: bool, expected: list[str]) -> None:
    processes = born(7)
    roster = Roster(processes[0].scheduler, 3, mixed=mixed)
    assert roster.slices == 3
    seen = ["".join(str(processes.index(process)) for process in roster.next()) for _ in range(3)]
    assert seen == expected
    assert roster.is_done
    assert roster.next() == []


def test_a_roster_of_nobody_has_one_empty_slice(runtime: ManualRuntime) -> None:
    only = born(1)
    roster = Roster(only[0].scheduler, 3, without=only)
    assert (roster.slices, roster.is_done) == (1, False)
    assert (roster.next(), roster.is_done) == ([], True)


def test_actors_that_ended_meanwhile_are_left_out(runtime: ManualRuntime) -> None:
    processes = born(3)
    roster = Roster(processes[0].scheduler, 3)
    processes[1].ref.kill()
    runtime.settle()
    assert roster.next() == [processes[0], processes[2]]


def test_newcomers_are_returned_once_and_in_order(runtime: ManualRuntime) -> None:
    before = born(2)
    roster = Roster(before[0].scheduler, 3)
    assert roster.newcomers() == []
    first = born(2)
    assert roster.newcomers() == first
    second = born(1)
    assert (roster.newcomers(), roster.newcomers()) == (second, [])
    assert roster.next() == before
