"""The tree as one client sees it: its unfolded branches as rows, and how these differ from the rows it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from actors.redaction import safe_str
from actors.sys import status_word
from supervisors.branches import Branch, Branches, branch_of, lineage, root_of
from transport.observer.pretty import reason_in_words

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from supervisors.child import Child
    from supervisors.snapshot import Search, Sweep

__all__ = ["Pager", "Row", "View"]

# If an actor has more children than these, one page of them is shown, and the newest ones.
PAGE = 15
NEWEST = 3
# With more siblings than these, an actor is folded at first.
FEW = 12
# The most rows of a view, and the most of them for actors without a parent.
ROWS = 600
ORPHANS = 20
# An actor whose mailbox is fuller is shown wherever it is.
FULL = 10


class Row(msgspec.Struct, frozen=True):
    """One actor, or a child that is not running, as the page shows it; `rate` is in messages a second.

    `id` is the number in the pid, or the supervisor's with the child's id. `open` says whether its children are shown, None if
    there are none. `below` is the number of messages in the fullest mailbox below it, if that is known. `position` and
    `siblings` are its place among the children of its parent, and their number.
    """

    id: str
    parent: str | None
    level: int
    position: int
    siblings: int
    name: str
    actor: str
    pid: str | None
    status: str
    supervisor: bool
    children: int
    open: bool | None
    mailbox: int
    limit: int | None
    below: int
    rate: float
    restarts: int
    hit: bool = False


class Pager(msgspec.Struct, frozen=True):
    """A row for the children of `parent` that are not shown: all but `first` to `last`, counted from 1."""

    id: str
    parent: str
    level: int
    first: int
    last: int
    siblings: int


class View:
    """The tree as one client has unfolded it, and the rows that were sent so far.

    `watcher` is the client's channel. `own` are the other actors that work for it: their rate is not shown, as each difference
    would change it. The view is bounded: one page of the children of one actor, `ROWS` rows altogether; making it costs as much
    as its rows.
    """

    def __init__(self, watcher: Process, *own: Process) -> None:
        self._watcher, self._own = watcher, {watcher, *own}
        self._opened: set[int] = set()
        self._folded: set[int] = set()
        self._first: dict[int, int] = {}
        self._rates: dict[int, tuple[int, float]] = {}
        self._measured_at = watcher.scheduler.clock.now()
        self._sent: dict[str, Row | Pager] = {}
        self._shown: dict[str, Process] = {}
        self.search: Search | None = None
        self.selected: Process | None = None

    # Commands

    def unfold(self, number: int) -> None:
        """Show the children of an actor."""
        self._folded.discard(number)
        self._opened.add(number)

    def fold(self, number: int) -> None:
        """Hide the children of an actor."""
        self._opened.discard(number)
        self._folded.add(number)

    def turn_to(self, number: int, first: int) -> None:
        """Show the page of an actor's children that begins with the one at `first`, counted from 0."""
        self._first[number] = max(first, 0)

    def reveal(self, process: Process) -> None:
        """Show an actor, and unfold all above it."""
        self.selected = process
        for ancestor in lineage(process)[:-1]:
            self.unfold(ancestor.number)

    # Samples

    def measure(self) -> None:
        """Compute the rates of the actors that are shown, from the messages that they have handled since the last time."""
        now = self._watcher.scheduler.clock.now()
        seconds, self._measured_at = now - self._measured_at, now
        known, self._rates = self._rates, {}
        for process in self._shown.values():
            handled, rate = known.get(process.number, (None, 0.0))
            if handled is not None and seconds > 0:
                # Averaged with the previous rate, so that occasional messages do not flicker.
                rate = (rate + (process.handled - handled) / seconds) / 2
            self._rates[process.number] = process.handled, rate if rate >= 0.05 else 0.0  # noqa: PLR2004  # shown as 0.1

    def difference(self, sweep: Sweep) -> dict[str, Any]:
        """Return what has changed since the last time: rows, their order, and the exit reasons of actors that were shown."""
        rows, shown = self._render(sweep)
        difference: dict[str, Any] = {}
        if changed := [row for id_, row in rows.items() if self._sent.get(id_) != row]:
            difference["rows"] = changed
        if list(rows) != list(self._sent):
            difference["order"] = list(rows)
        if ended := [_exited(id_, process) for id_, process in self._shown.items() if not process.alive]:
            difference["ended"] = ended
        self._sent, self._shown = rows, shown
        return difference

    def _render(self, sweep: Sweep) -> tuple[dict[str, Row | Pager], dict[str, Process]]:
        rows: dict[str, Row | Pager] = {}
        shown: dict[str, Process] = {}
        rendering = _Rendering(self, sweep)
        stack = [rendering.roots()]
        while stack and len(rows) < ROWS:
            row, process = next(stack[-1], (None, None))
            if row is None:
                stack.pop()
                continue
            rows[row.id] = row
            if process is not None and isinstance(row, Row):
                shown[row.id] = process
                if row.open:
                    stack.append(rendering.below(process, row.level + 1))
        return rows, shown

    def root(self) -> Process:
        """Return the root of the tree that the watcher is in."""
        return root_of(self._watcher)

    def rate_of(self, process: Process) -> float:
        """Return the measured rate of an actor, in messages a second."""
        rate = 0.0 if process in self._own else self._rates.get(process.number, (0, 0.0))[1]
        return round(rate, 1) if rate < 10 else round(rate)  # noqa: PLR2004  # two digits are enough

    def is_open(self, number: int, siblings: int) -> bool:
        """Return whether to show the children of an actor that has so many siblings."""
        if number in self._opened:
            return True
        return number not in self._folded and siblings <= FEW and self.search is None

    def first_of(self, number: int, size: int) -> int:
        """Return the index at which the page of an actor's children begins."""
        first = self._first.get(number, 0)
        return first if first < size else 0


class _Rendering:
    """One rendering of the tree: the actors that are shown whatever page they are on, and the rows."""

    def __init__(self, view: View, sweep: Sweep) -> None:
        self._view, self._sweep = view, sweep
        self._hits = {} if view.search is None else {process.number for process in view.search.hits}
        self._paths: dict[int, dict[int, Process]] = defaultdict(dict)
        self._below: dict[int, int] = {}
        self._pin()

    def _pin(self) -> None:
        """Store the paths to search hits or the selected actor, and to the fullest mailboxes."""
        for process in self._sweep.fullest:
            self._add_full(process)
        view = self._view
        if view.search is not None:
            for process in view.search.hits:
                self._add_path(process)
        elif view.selected is not None:
            self._add_path(view.selected)

    def _add_full(self, process: Process) -> None:
        waiting = process.waiting
        if not process.alive or waiting <= FULL:
            return
        if self._view.search is None:
            self._add_path(process)
        for ancestor in lineage(process)[:-1]:
            self._below[ancestor.number] = max(self._below.get(ancestor.number, 0), waiting)

    def _add_path(self, process: Process) -> None:
        for parent, child in pairwise(lineage(process)):
            self._paths[parent.number][child.number] = child

    def roots(self) -> Iterator[tuple[Row | Pager, Process | None]]:
        """Yield the rows of the topmost actors: the root of the watcher's tree, then others without a parent."""
        root = self._view.root()
        found = [root, *(process for process in self._sweep.roots if process.alive and process is not root)]
        if self._view.search is not None:
            found = [process for process in found if process.number in self._hits or process.number in self._paths]
        for position, process in enumerate(found[:ORPHANS], 1):
            yield self._row(Branch(process, None), None, 1, position, min(len(found), ORPHANS)), process

    def below(self, process: Process, level: int) -> Iterator[tuple[Row | Pager, Process | None]]:
        """Yield the rows of the children of an actor."""
        paths = self._paths.get(process.number, {})
        found = Branches(process)
        size = len(found)
        if self._view.search is not None and paths:
            yield from self._rows(enumerate(map(branch_of, paths.values())), process, level, len(paths))
        elif size <= PAGE + NEWEST:
            yield from self._rows(enumerate(found), process, level, size)
        else:
            yield from self._page(process, level, paths.values(), size)

    def _page(
        self, process: Process, level: int, pinned: Iterable[Process], size: int
    ) -> Iterator[tuple[Row | Pager, Process | None]]:
        """Yield a page of many children, the pinned ones that are not on it, and the newest."""
        found, first = Branches(process), self._view.first_of(process.number, size)
        page = list(islice(found, first, first + PAGE))
        newest = list(enumerate(islice(reversed(found), min(NEWEST, size - first - len(page)))))
        here = {branch.process for branch in (*page, *(branch for _, branch in newest))}
        yield from self._rows(enumerate(page, first), process, level, size)
        # Their exact position would take a walk over all siblings.
        elsewhere = ((first + PAGE, branch_of(other)) for other in pinned if other not in here)
        yield from self._rows(elsewhere, process, level, size)
        yield Pager(f"{process.number}+", str(process.number), level, first + 1, first + len(page), size), None
        last = [(size - 1 - back, branch) for back, branch in reversed(newest)]
        yield from self._rows(last, process, level, size)

    def _rows(
        self, found: Iterable[tuple[int, Branch]], parent: Process, level: int, size: int
    ) -> Iterator[tuple[Row | Pager, Process | None]]:
        for position, branch in found:
            yield self._row(branch, parent, level, position + 1, size), branch.process

    def _row(self, branch: Branch, parent: Process | None, level: int, position: int, siblings: int) -> Row:
        process, above = branch.process, None if parent is None else str(parent.number)
        if process is None:
            assert branch.child is not None
            return _row_without_actor(branch.child, above, level, position, siblings)
        children = len(Branches(process))
        on_path = self._view.search is not None and process.number in self._paths
        is_open = on_path or self._view.is_open(process.number, 1 if parent is None else siblings)
        return Row(
            id=str(process.number),
            parent=above,
            level=level,
            position=position,
            siblings=siblings,
            name=process.label or process.actor_class.__name__,
            actor=process.actor_class.__name__,
            pid=process.pid,
            status=status_word(process),
            supervisor=branch.is_supervisor,
            children=children,
            open=is_open if children else None,
            mailbox=process.waiting,
            limit=process.limit,
            below=self._below.get(process.number, 0),
            rate=self._view.rate_of(process),
            restarts=branch.restarts,
            hit=process.number in self._hits,
        )


def _row_without_actor(child: Child, parent: str | None, level: int, position: int, siblings: int) -> Row:
    """Return the row of a child that is not running."""
    spec = child.spec
    return Row(
        id=f"{parent}/{spec.id}",
        parent=parent,
        level=level,
        position=position,
        siblings=siblings,
        name=safe_str(spec.name or spec.id),
        actor=spec.actor.__name__,
        pid=None,
        status="stopped" if child.again is None else "restarting",
        supervisor=Branch(None, child).is_supervisor,
        children=0,
        open=None,
        mailbox=0,
        limit=None,
        below=0,
        rate=0.0,
        restarts=child.restarts,
    )


def _exited(id_: str, process: Process) -> dict[str, Any]:
    reason = process.reason
    return {"id": id_, "reason": reason_in_words(reason), "graceful": reason is not None and reason.is_graceful}
