"""Numbers that only grow, as each worker tells them to the parent; they outlive the worker. Pure data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

__all__ = ["Tallies"]

_Numbers = dict[str, float]


class Tallies:
    """The numbers of all workers, by their process ids, under any kinds."""

    def __init__(self) -> None:
        self._living: defaultdict[str, dict[int, _Numbers]] = defaultdict(dict)
        self._dead: defaultdict[str, _Numbers] = defaultdict(dict)

    def take(self, pid: int, kind: str, numbers: Mapping[str, float]) -> None:
        """Store what a worker tells; numbers that it leaves out are as before."""
        self._living[kind].setdefault(pid, {}).update(numbers)

    def keep(self, pid: int) -> None:
        """Keep the numbers of a worker that has ended."""
        for kind, workers in self._living.items():
            _add(self._dead[kind], workers.pop(pid, {}))

    def without(self, kind: str, pids: Collection[int]) -> _Numbers:
        """Return the sum for all workers that there have ever been, except these."""
        total = dict(self._dead.get(kind, {}))
        for pid, numbers in self._living.get(kind, {}).items():
            if pid not in pids:
                _add(total, numbers)
        return total


def _add(total: _Numbers, numbers: Mapping[str, float]) -> None:
    for name, number in numbers.items():
        total[name] = total.get(name, 0) + number
