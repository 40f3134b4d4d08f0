"""The supervision tree as text, a line for each actor."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from actors.redaction import printable, safe_str
from supervisors.branches import Branch, branch_of, children_of, name_of

if TYPE_CHECKING:
    from actors.lowlevel import Process

__all__ = ["TreeLine", "draw", "lines"]


class TreeLine(NamedTuple):
    """One line of a tree: the branches drawn before it, and a child, or the number of children that are left out."""

    stem: str
    shows: Branch | int


def draw(root: Process) -> str:
    """Draw the tree below an actor, a line each: name, pid and class; from any thread."""
    return "\n".join(f"{line.stem}{_text(line.shows)}" for line in lines(root))


def _text(shows: Branch | int) -> str:
    assert isinstance(shows, Branch)
    process, child = shows
    if process is None:
        assert child is not None
        return f"{printable(safe_str(child.spec.id))} restarting {child.spec.actor.__name__}"
    name, kind = name_of(process), process.actor_class.__name__
    return f"{name} {process.pid}" if kind == name else f"{name} {process.pid} {kind}"


def lines(root: Process, most: int | None = None) -> Iterator[TreeLine]:
    """Yield the tree below an actor; of the children of one actor at most `most` (None: all), and then the number of others."""
    yield TreeLine("", branch_of(root))
    # A stack and not recursion, as actors may start one another to any depth.
    stack = [("", _below(root, most))]
    while stack:
        stem, left = stack[-1]
        if not left:
            stack.pop()
            continue
        shows = left.popleft()
        yield TreeLine(stem + ("├── " if left else "└── "), shows)
        if isinstance(shows, Branch) and shows.process is not None:
            stack.append((stem + ("│   " if left else "    "), _below(shows.process, most)))


def _below(process: Process, most: int | None) -> deque[Branch | int]:
    below = children_of(process)
    if most is not None and len(below) > most:
        return deque([*below[:most], len(below) - most])
    return deque(below)
