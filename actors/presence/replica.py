"""The presences of another process, as far as they are known here. Pure data, without I/O.

They are told in numbered diffs. When some are missing, those that follow are kept until all presences have come, which are then
compared with what was known: only what differs is a change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actors.presence.presences import Diff, Meta, Metas
from actors.presence.replica_messages import Joins, PresenceDiff, PresenceState, read_meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Replica", "ReplicaTable"]

_MOST_AHEAD = 200
"""Diffs that are kept while one before them is missing."""


class ReplicaEntry(NamedTuple):
    """One presence: its meta as JSON text."""

    topic: str
    key: str
    ref: str
    meta: bytes


class ReplicaTable:
    """Topics with their keys, keys with their metas; a key with one meta, as most have, costs no dict."""

    __slots__ = ("_by_topic", "_size")

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[str, bytes | dict[str, bytes]]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, entry: ReplicaEntry) -> bool:
        """Add a presence; return whether it is new."""
        topic, key, ref, meta = entry
        of_topic = self._by_topic.setdefault(topic, {})
        found = of_topic.get(key)
        if isinstance(found, bytes):
            of_topic[key] = found = {_ref(found): found}
        if found is None:
            of_topic[key] = meta
        elif ref in found:
            return False
        else:
            found[ref] = meta
        self._size += 1
        return True

    def pop(self, topic: str, key: str, ref: str) -> bytes | None:
        """Remove a presence; return its meta, None if there is none."""
        found = self._by_topic.get(topic, {}).get(key)
        if isinstance(found, bytes):
            found = {_ref(found): found}
        meta = None if found is None else found.pop(ref, None)
        if meta is None:
            return None
        self._size -= 1
        if not found:
            self._forget(topic, key)
        return meta

    def _forget(self, topic: str, key: str) -> None:
        del self._by_topic[topic][key]
        if not self._by_topic[topic]:
            del self._by_topic[topic]

    def keys(self, topic: str) -> Iterable[str]:
        """Return the keys of a topic."""
        return self._by_topic.get(topic, ())

    def metas(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of a key."""
        found = self._by_topic.get(topic, {}).get(key)
        if found is None:
            return []
        return [read_meta(found)] if isinstance(found, bytes) else [read_meta(meta) for meta in found.values()]

    def __iter__(self) -> Iterator[ReplicaEntry]:
        for topic, of_topic in self._by_topic.items():
            for key, found in of_topic.items():
                of_key = {_ref(found): found} if isinstance(found, bytes) else found
                for ref, meta in of_key.items():
                    yield ReplicaEntry(topic, key, ref, meta)

    def __contains__(self, entry: ReplicaEntry) -> bool:
        found = self._by_topic.get(entry.topic, {}).get(entry.key)
        if isinstance(found, bytes):
            return _ref(found) == entry.ref
        return found is not None and entry.ref in found


class Replica:
    """The presences of one process; `node` is its name, `run` one start of it.

    - `clock`: the number of the last diff that is part of it; None until all presences have come once.
    - `heard`: when the last message came, in the time of `Replicas`.
    - `request`: the number of the request that is to be answered, `asked` when it was sent, or its last part came.
    """

    def __init__(self, node: str, run: str) -> None:
        self.node, self.run = node, run
        self.clock: int | None = None
        self.heard = self.asked = 0.0
        self.request: int | None = None
        self.table = ReplicaTable()
        self._latest = 0
        self._ahead: dict[int, PresenceDiff] = {}
        self._fresh = ReplicaTable()
        # The parts of the answer that have come, in any order, and how many there are, once that is known.
        self._parts: set[int] = set()
        self._all_parts = 0

    def saw(self, clock: int) -> None:
        """Remember how many diffs there are."""
        self._latest = max(self._latest, clock)

    @property
    def is_behind(self) -> bool:
        """Whether diffs are missing."""
        return self.clock is None or self.clock < self._latest

    def ask(self, number: int, at: float) -> None:
        """Expect the answer to a request, and to no earlier one."""
        self.request, self.asked = number, at
        self._fresh, self._parts, self._all_parts = ReplicaTable(), set(), 0

    def add_diff(self, message: PresenceDiff) -> list[Diff]:
        """Add a diff, if its turn has come; return the changes."""
        clock = -1 if self.clock is None else self.clock
        # Those that are not kept are missing later, and all presences are asked for again.
        if message.clock == clock + 1 or (message.clock > clock and len(self._ahead) < _MOST_AHEAD):
            self._ahead[message.clock] = message
        return self._catch_up()

    def add_state(self, message: PresenceState) -> list[Diff]:
        """Add a part of the answer; return what was not known, and when all parts have come what has left."""
        is_new = message.number == self.request and message.part not in self._parts
        if not is_new or (self.clock is not None and message.clock <= self.clock):
            return []
        self._parts.add(message.part)
        if message.is_last:
            self._all_parts = message.part + 1
        joined = [entry for entry in _entries(message.joins) if self._fresh.add(entry) and self.table.add(entry)]
        if len(self._parts) != self._all_parts:
            return _diffs(joined, ())
        fresh, known = self._fresh, self.table
        self.request, self._fresh = None, ReplicaTable()
        self.table, self.clock = fresh, message.clock
        self._ahead = {clock: diff for clock, diff in self._ahead.items() if clock > message.clock}
        # All that is in the answer is known by now.
        left = [entry for entry in known if entry not in fresh] if len(known) > len(fresh) else []
        return [*_diffs(joined, left), *self._catch_up()]

    def leaves(self) -> list[Diff]:
        """Return the changes if all its presences leave."""
        return _diffs((), self.table)

    def _catch_up(self) -> list[Diff]:
        diffs: list[Diff] = []
        while self.clock is not None and (message := self._ahead.pop(self.clock + 1, None)) is not None:
            self.clock += 1
            diffs += self._apply(message)
        return diffs

    def _apply(self, message: PresenceDiff) -> list[Diff]:
        joined = [entry for entry in _entries(message.joins) if self.table.add(entry)]
        left = [
            ReplicaEntry(topic, key, ref, meta)
            for topic, of_topic in message.leaves.items()
            for key, refs in of_topic.items()
            for ref in refs
            if (meta := self.table.pop(topic, key, ref)) is not None
        ]
        return _diffs(joined, left)


def _entries(joins: Joins) -> Iterator[ReplicaEntry]:
    for topic, of_topic in joins.items():
        for key, metas in of_topic.items():
            for meta in map(bytes, metas):
                yield ReplicaEntry(topic, key, _ref(meta), meta)


def _ref(meta: bytes) -> str:
    ref: str = read_meta(meta)["phx_ref"]
    return ref


def _diffs(joined: Iterable[ReplicaEntry], left: Iterable[ReplicaEntry]) -> list[Diff]:
    """Return one diff for each topic."""
    diffs: dict[str, tuple[Metas, Metas]] = {}
    for side, entries in enumerate((joined, left)):
        for topic, key, _, meta in entries:
            diffs.setdefault(topic, ({}, {}))[side].setdefault(key, []).append(read_meta(meta))
    return [Diff(topic, joins, leaves) for topic, (joins, leaves) in diffs.items()]
