"""The supervision tree as text: in short, and with what is to be known of each actor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from supervisors.child import Child
from supervisors.observer.display import ALARM, BOLD, DIM, PID, WARN, Cell, Text, duration, in_columns
from supervisors.observer.process_info import (
    ProcessInfo,
    children_of,
    name_of,
    process_info,
)

if TYPE_CHECKING:
    from typing import TextIO

    from actors.lowlevel import Process

__all__ = ["CROWDED", "draw", "draw_with_details", "mailbox_cell", "restarts_cell"]

# A mailbox with more messages than this is shown in alarm.
CROWDED = 100

_TITLES = ("", "restarts", "mailbox", "age")
_RIGHT = (False, True, True, True)


def draw(root: Process) -> str:
    """Draw the tree below an actor, a line each: name, pid and class."""
    return "\n".join("".join(text for text, _ in _name(line)) for line in _lines(root, None))


def draw_with_details(roots: Iterable[Process], most: int | None, out: TextIO | None = None) -> Text:
    """Draw the trees below some actors, a line each: name, pid, class, restarts, mailbox and age.

    Of the children of one actor, at most `most` are drawn (None: all), and the others counted.
    """
    rows = [_row(line) for root in roots for line in _lines(root, most)]
    return in_columns(_TITLES, rows, _RIGHT, out) if rows else Text("no supervisor runs", None, out)


class _Line(NamedTuple):
    """One line of a tree: the branches before it, and an actor, a child that is to be started again, or a number of others."""

    branches: str
    shows: Process | Child | int


def _lines(root: Process, most: int | None) -> Iterator[_Line]:
    yield _Line("", root)
    # A stack and no recursion, as actors may start one another to any depth.
    stack = [("", _below(root, most))]
    while stack:
        stem, left = stack[-1]
        if not left:
            stack.pop()
            continue
        shows = left.popleft()
        yield _Line(stem + ("├── " if left else "└── "), shows)
        if not isinstance(shows, Child | int):
            stack.append((stem + ("│   " if left else "    "), _below(shows, most)))


def _below(process: Process, most: int | None) -> deque[Process | Child | int]:
    below: list[Process | Child | int] = list(children_of(process))
    if most is not None and len(below) > most:
        below = [*below[:most], len(below) - most]
    return deque(below)


def _row(line: _Line) -> tuple[Cell, Cell, Cell, Cell]:
    name, shows = _name(line), line.shows
    if isinstance(shows, int):
        return name, (), (), ()
    if isinstance(shows, Child):
        return name, restarts_cell(shows.restarts), (), ()
    info = process_info(shows)
    return name, restarts_cell(info.restarts), mailbox_cell(info), ((duration(info.age), DIM),)


def _name(line: _Line) -> Cell:
    branches, shows = (line.branches, DIM), line.shows
    if isinstance(shows, int):
        return branches, (f"… and {shows:,} more; most=None shows all", DIM)
    if isinstance(shows, Child):
        return branches, (str(shows.spec.id), BOLD), (" restarting", ALARM), (f" {shows.spec.actor.__name__}", DIM)
    name, kind = name_of(shows), shows.actor_class.__name__
    return branches, (name, BOLD), (f" {shows.pid}", PID), ("" if kind == name else f" {kind}", DIM)


def restarts_cell(restarts: int | None) -> Cell:
    """Show how often an actor was started again."""
    return (("" if restarts is None else str(restarts), WARN if restarts else DIM),)


def mailbox_cell(info: ProcessInfo) -> Cell:
    """Show how many messages wait."""
    return ((str(info.mailbox), ALARM if info.mailbox > CROWDED else WARN if info.mailbox else DIM),)
