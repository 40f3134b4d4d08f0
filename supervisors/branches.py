"""The supervision tree, read from outside: the children of an actor, its ancestors, and what its supervisor knows of it.

The cost of a read depends on what is asked for, not on the number of actors, so that a tree of 100,000 can be watched. Nothing
is sent to the actors. Only `children_of`, `lineage` and `name_of` may be called from any thread; all else is for the thread of
the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from supervisors.child_spec import ChildKind
from supervisors.supervision import Supervision, supervised_by, supervised_child

if TYPE_CHECKING:
    from actors.lowlevel import Bonds, Process
    from supervisors.child import Child

__all__ = [
    "Branch",
    "Branches",
    "branch_of",
    "children_of",
    "is_told_to_end",
    "lineage",
    "name_of",
    "root_of",
    "supervisor_of",
]


class Branch(NamedTuple):
    """One child: its process (None if it does not run), and its record at its supervisor (None if it has no supervisor)."""

    process: Process | None
    child: Child | None

    @property
    def restarts(self) -> int:
        """How many times its supervisor has restarted it."""
        return 0 if self.child is None else self.child.restarts

    @property
    def is_supervisor(self) -> bool:
        """Whether it supervises others."""
        if self.process is not None:
            return issubclass(self.process.actor_class, Supervision)
        return self.child is not None and self.child.spec.kind is ChildKind.SUPERVISOR

    @property
    def is_restarting(self) -> bool:
        """Whether it does not run, and its supervisor is going to restart it."""
        return self.process is None and self.child is not None and self.child.again is not None


class Branches:
    """The children of one actor, in start order; to be read before the actor goes on.

    The children of a supervisor are those it has a spec for, running or not: counting them, or taking a few, does not visit the
    others. The children of any other actor are those that are linked to it as to their parent.
    """

    def __init__(self, process: Process) -> None:
        actor = process.actor
        self._process = process
        self._children = supervised_by(actor) if isinstance(actor, Supervision) else None

    def __len__(self) -> int:
        if self._children is not None:
            return len(self._children)
        return sum(1 for _ in self._linked(self._process.links or ()))

    def __iter__(self) -> Iterator[Branch]:
        if self._children is not None:
            return map(_branch, self._children)
        return self._linked(self._process.links or ())

    def __reversed__(self) -> Iterator[Branch]:
        if self._children is not None:
            return map(_branch, reversed(self._children))
        return self._linked(reversed(self._process.links or {}))

    def _linked(self, links: Iterable[Bonds]) -> Iterator[Branch]:
        return (Branch(other.ref.process, None) for other in links if other.parent is self._process)

    def present(self) -> list[Branch]:
        """Return the children that run or are to be restarted, and whatever else has this actor as its parent.

        It works on copies, which any thread may take while the actor goes on.
        """
        known = [_branch(child) for child in list(self._children or ())]
        found = [branch for branch in known if branch.process is not None or branch.is_restarting]
        running = {branch.process for branch in found}
        return found + [
            branch for branch in self._linked(list(self._process.links or ())) if branch.process not in running
        ]


def _branch(child: Child) -> Branch:
    ref = child.ref
    return Branch(ref.process if ref is not None and ref.process.alive else None, child)


def children_of(process: Process) -> list[Branch]:
    """Return the children of an actor, without those that stay stopped; from any thread."""
    return Branches(process).present()


def branch_of(process: Process) -> Branch:
    """Return an actor, with its record at its supervisor if it has one."""
    supervisor = supervisor_of(process)
    return Branch(process, None if supervisor is None else supervised_child(supervisor, process.ref))


def supervisor_of(process: Process) -> Supervision | None:
    """Return the supervisor that started an actor and still runs, or None."""
    parent = None if process.parent is None else process.parent.ref.process.actor
    return parent if isinstance(parent, Supervision) else None


def lineage(process: Process) -> list[Process]:
    """Return an actor after its living ancestors, the highest first."""
    found: list[Process] = []
    current: Bonds | None = process
    while current is not None and current.alive:
        found.append(current.ref.process)
        current = current.parent
    return found[::-1]


def root_of(process: Process) -> Process:
    """Return the highest living ancestor of an actor, or the actor itself."""
    return lineage(process)[0]


def is_told_to_end(process: Process) -> bool:
    """Return whether an actor has been told to end, or is ending: by an exit signal, or of itself."""
    return process.signal is not None or process.ending is not None


def name_of(process: Process) -> str:
    """Return the name of a process without its pid: its label, else its class."""
    return process.label or process.actor_class.__name__
