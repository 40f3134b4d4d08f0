"""All actors of an event loop, a slice at a time: a walk over 100,000 of them must not hold up the others.

For the thread of that event loop. Nothing is sent to the actors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler

__all__ = ["Roster"]


class Roster:
    """The actors that were alive when the roster was made, except those of `without`, in slices of at most `size`.

    The slices follow the order in which the actors were started; `mixed` ones have actors of all ages each, for samples: actors
    that were started together often work together.
    """

    def __init__(
        self, scheduler: Scheduler, size: int, *, mixed: bool = False, without: Collection[Process] = ()
    ) -> None:
        self._scheduler = scheduler
        found = [process for process in scheduler.processes.values() if process not in without]
        self.slices = max(-(-len(found) // size), 1)
        """How many slices there were at first; one, which may be empty, at least."""
        step, width = (self.slices, len(found)) if mixed else (1, size)
        starts = range(self.slices) if mixed else range(0, self.slices * size, size)
        self._left = deque(found[start : start + width : step] for start in starts)
        self._newest = found[-1].number if found else 0

    @property
    def is_done(self) -> bool:
        """Whether there are no more slices."""
        return not self._left

    def next(self) -> list[Process]:
        """Return the next slice, without the actors that have ended meanwhile; an empty list when there are no more."""
        return [process for process in self._left.popleft() if process.alive] if self._left else []

    def newcomers(self) -> list[Process]:
        """Return the actors that were started after the roster was made, or after the previous call."""
        newest, found = self._newest, []
        # They are last in the table, so that no other is visited.
        for process in reversed(self._scheduler.processes.values()):
            if process.number <= newest:
                break
            found.append(process)
        if found:
            self._newest = found[0].number
        return found[::-1]
