"""Watched tables: what holds for any of them, whatever is in the table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from actors.actor import Actor
from actors.exceptions import NameTakenError, StartError
from actors.lowlevel import spawn
from actors.testing import ManualRuntime
from actors.watcher import WatchedTable, Watcher

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.ref import ActorRef


class Table(WatchedTable):
    """A table that is a list."""

    another_name = 'write Table(name="other")'

    def __init__(self, name: str = "table") -> None:
        super().__init__(name)
        self.processes: list[Process] = []

    @property
    def actor(self) -> type[Watcher]:
        return TableWatcher

    def watched(self) -> Iterable[Process]:
        return self.processes

    def drop(self, process: Process) -> None:
        self.processes.remove(process)


class TableWatcher(Watcher):
    def __init__(self, table: Table) -> None:
        super().__init__()
        self._of = table

    @property
    def table(self) -> Table:
        return self._of


class Member(Actor):
    """An actor in the table."""


@pytest.fixture
def table(runtime: ManualRuntime) -> Table:
    table = Table()
    start(table)
    return table


def start(table: Table) -> ActorRef[Watcher]:
    return spawn(table.actor, (table,))


def watcher_of(table: Table) -> Watcher:
    assert table.server is not None
    return table.server


def enter(table: Table) -> Process:
    process = Member.start().process
    table.processes.append(process)
    watcher_of(table).watch(process)
    return process


def test_those_that_exit_are_removed(runtime: ManualRuntime, table: Table) -> None:
    living, dying = enter(table), enter(table)
    dying.ref.kill()
    runtime.settle()
    assert table.processes == [living]


def test_those_that_are_not_watched_any_more_are_not_removed(runtime: ManualRuntime, table: Table) -> None:
    left = enter(table)
    watcher_of(table).unwatch(left)
    watcher_of(table).unwatch(left)
    left.ref.kill()
    runtime.settle()
    assert table.processes == [left]


def test_the_next_watcher_watches_all_and_learns_who_has_exited_in_between(
    runtime: ManualRuntime, table: Table
) -> None:
    living, dying, first = enter(table), enter(table), watcher_of(table)
    first.actor_ref.kill()
    runtime.settle()
    dying.ref.kill()
    runtime.settle()
    assert table.processes == [living, dying]
    start(table)
    runtime.settle()
    assert table.processes == [living]
    assert watcher_of(table) is not first
    living.ref.kill()
    runtime.settle()
    assert table.processes == []


def test_it_is_up_to_date_unless_somebody_has_exited_or_it_is_down(runtime: ManualRuntime, table: Table) -> None:
    process, watcher = enter(table), watcher_of(table)
    seen = [watcher.is_up_to_date]
    process.finish_killed()
    seen.append(watcher.is_up_to_date)
    runtime.settle()
    seen.append(watcher.is_up_to_date)
    watcher.actor_ref.kill()
    runtime.settle()
    assert [*seen, watcher.is_up_to_date] == [True, False, True, False]


def test_its_name_leads_to_the_watcher_and_to_the_table(runtime: ManualRuntime, table: Table) -> None:
    names = table.scheduler.names
    assert names.lookup("table") == [(watcher_of(table).actor_ref, table)]


def test_a_name_that_is_taken_shows_the_line_to_write(runtime: ManualRuntime, table: Table) -> None:
    with pytest.raises(StartError) as failed:
        start(Table())
    assert isinstance(failed.value.root, NameTakenError)
    assert str(failed.value.root).endswith('; write Table(name="other")')
    assert (failed.value.root.name, failed.value.root.owner) == ("table", watcher_of(table).actor_ref)


def test_a_table_has_one_watcher_at_a_time(runtime: ManualRuntime, table: Table) -> None:
    with pytest.raises(StartError, match="Table 'table' is running already; each System needs one of its own"):
        start(table)


def test_without_a_watcher_it_does_not_run_and_after_a_crash_it_does(runtime: ManualRuntime, table: Table) -> None:
    with pytest.raises(RuntimeError, match="Table 'idle' is not running; make it a child of a System"):
        Table("idle").scheduler.clock.now()
    watcher_of(table).actor_ref.kill()
    runtime.settle()
    assert table.scheduler is watcher_of(table)._process.scheduler


def test_after_its_event_loop_it_does_not_run() -> None:
    table = Table()
    with ManualRuntime():
        start(table)
    with pytest.raises(RuntimeError, match="Table 'table' is not running"):
        table.scheduler.clock.now()
