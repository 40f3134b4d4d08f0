"""The supervision tree as a prompt shows it: restarts, mailbox and age beside each actor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from actors.redaction import printable, safe_str
from supervisors.branches import Branch, name_of
from supervisors.observer.display import ALARM, BOLD, DIM, PID, Cell, Text, duration, in_columns
from supervisors.observer.process_info import process_info
from supervisors.observer.tables import mailbox_cell, restarts_cell
from supervisors.tree import TreeLine, lines

if TYPE_CHECKING:
    from actors.lowlevel import Process

__all__ = ["draw_with_details"]

_TITLES = ("", "restarts", "mailbox", "age")
_RIGHT = (False, True, True, True)


def draw_with_details(roots: Iterable[Process], most: int | None, out: TextIO | None = None) -> Text:
    """Draw the trees below some actors, a line each: name, pid, class, restarts, mailbox and age.

    Of the children of one actor, at most `most` are drawn (None: all), and the others counted.
    """
    rows = [_row(line) for root in roots for line in lines(root, most)]
    return in_columns(_TITLES, rows, _RIGHT, out) if rows else Text("no supervisor runs", None, out)


def _row(line: TreeLine) -> tuple[Cell, Cell, Cell, Cell]:
    name, shows = _name(line), line.shows
    if isinstance(shows, int):
        return name, (), (), ()
    if shows.process is None:
        return name, restarts_cell(shows.restarts), (), ()
    info = process_info(shows.process)
    return name, restarts_cell(info.restarts), mailbox_cell(info), ((duration(info.age), DIM),)


def _name(line: TreeLine) -> Cell:
    stem, shows = (line.stem, DIM), line.shows
    if isinstance(shows, int):
        return stem, (f"… and {shows:,} more; most=None shows all", DIM)
    return stem, *(_of_running(shows.process) if shows.process is not None else _of_restarting(shows))


def _of_running(process: Process) -> Cell:
    name, kind = name_of(process), process.actor_class.__name__
    return (name, BOLD), (f" {process.pid}", PID), ("" if kind == name else f" {kind}", DIM)


def _of_restarting(branch: Branch) -> Cell:
    assert branch.child is not None
    spec = branch.child.spec
    return (printable(safe_str(spec.id)), BOLD), (" restarting", ALARM), (f" {spec.actor.__name__}", DIM)
