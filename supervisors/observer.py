"""See what runs: the supervision tree as it is at this moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from actors.ref import ActorRef
    from actors.runtime.bonds import Bonds

__all__ = ["tree"]


def tree(root: ActorRef[Any]) -> str:
    """Draw the supervision tree below an actor, a line each: name, pid and class.

    It shows the actors that are linked to a parent as its children; safe from any thread.
    """
    children: dict[Bonds, list[Bonds]] = defaultdict(list)
    for process in list(root.process.scheduler.processes.values()):
        if process.parent is not None:
            children[process.parent].append(process)
    return "\n".join(_lines(root.process, children, "", ""))


def _lines(process: Bonds, children: dict[Bonds, list[Bonds]], first: str, rest: str) -> Iterator[str]:
    yield f"{first}{_describe(process)}"
    below = children.get(process, [])
    for child in below:
        last = child is below[-1]
        yield from _lines(child, children, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))


def _describe(process: Bonds) -> str:
    kind = process.actor_class.__name__
    return process.name if process.label in (None, kind) else f"{process.name} {kind}"
