"""What a Presence tells those of other processes of its own presences: diffs, and all of them on request. Pure data.

Changes are collected and sent together: a presence that has come and gone in between is not mentioned. Each message has at most
some 128 kB (more only for a single meta that is larger), so that no broker, and no event loop, has to take all at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.presence.replica_messages import Joins, Leaves, PresenceDiff, PresenceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actors.presence.presences import Diff, Meta

__all__ = ["Announcer"]

_MOST_BYTES = 128 * 1024
_OF_ENTRY = 10
"""Bytes of brackets, quotes and commas."""

_encode = msgspec.json.Encoder().encode


class _Part:
    """The joins and leaves of one message."""

    __slots__ = ("joins", "leaves", "size")

    def __init__(self) -> None:
        self.joins: Joins = {}
        self.leaves: Leaves = {}
        self.size = 0

    def join(self, topic: str, key: str, meta: Meta) -> None:
        text = _encode(meta)
        self._add(self.joins, topic, key, msgspec.Raw(text), len(text))

    def leave(self, topic: str, key: str, ref: str) -> None:
        self._add(self.leaves, topic, key, ref, len(ref))

    def _add(self, side: dict[str, dict[str, list[Any]]], topic: str, key: str, value: object, size: int) -> None:
        if topic not in side:
            side[topic] = {}
            self.size += len(topic) + _OF_ENTRY
        side[topic].setdefault(key, []).append(value)
        self.size += len(key) + size + _OF_ENTRY

    @property
    def is_full(self) -> bool:
        return self.size >= _MOST_BYTES


class _PresenceAnswer:
    """All presences for one that has asked for them; they are encoded part by part."""

    def __init__(self, number: int, clock: int, entries: list[tuple[str, str, Meta]]) -> None:
        self.number, self.clock, self.entries = number, clock, entries
        self._sent = self._parts = 0

    def next(self, node: str, run: str) -> PresenceState:
        part = _Part()
        while self._sent < len(self.entries) and not part.is_full:
            part.join(*self.entries[self._sent])
            self._sent += 1
        self._parts += 1
        return PresenceState(
            node=node,
            run=run,
            clock=self.clock,
            number=self.number,
            part=self._parts - 1,
            is_last=self._sent == len(self.entries),
            joins=part.joins,
        )


class Announcer:
    """The presences of this process, for the others.

    `entries()` returns them: topic, key and meta of each. `clock` is the number of diffs that were taken.
    """

    def __init__(self, node: str, run: str, entries: Callable[[], Iterable[tuple[str, str, Meta]]]) -> None:
        self.node, self.run, self.clock = node, run, 0
        self._entries = entries
        # A meta that has joined, or None for one that has left.
        self._changes: dict[tuple[str, str, str], Meta | None] = {}
        self._answers: dict[str, _PresenceAnswer] = {}

    # Changes

    @property
    def has_changes(self) -> bool:
        """Whether there are changes that `take_diffs` has not returned."""
        return bool(self._changes)

    def add(self, diff: Diff) -> None:
        """Collect a change."""
        for key, metas in diff.joins.items():
            for meta in metas:
                self._changes[diff.topic, key, meta["phx_ref"]] = meta
        for key, metas in diff.leaves.items():
            for meta in metas:
                self._add_leave((diff.topic, key, meta["phx_ref"]))

    def _add_leave(self, left: tuple[str, str, str]) -> None:
        if self._changes.pop(left, None) is None:
            self._changes[left] = None

    def take_diffs(self) -> Iterator[PresenceDiff]:
        """Return what has changed since the last time."""
        changes, self._changes = self._changes, {}
        part = _Part()
        for (topic, key, ref), meta in changes.items():
            if meta is None:
                part.leave(topic, key, ref)
            else:
                part.join(topic, key, meta)
            if part.is_full:
                yield self._diff(part)
                part = _Part()
        if part.size:
            yield self._diff(part)

    def _diff(self, part: _Part) -> PresenceDiff:
        self.clock += 1
        return PresenceDiff(node=self.node, run=self.run, clock=self.clock, joins=part.joins, leaves=part.leaves)

    # Answers

    @property
    def has_answers(self) -> bool:
        """Whether `take_part` has something to return."""
        return bool(self._answers)

    def answer(self, run: str, number: int) -> None:
        """Begin to answer a request for all presences; an earlier one of the same run is not answered any more.

        All changes must have been taken: what is answered is what the others know at this clock.
        """
        same = (answer.entries for answer in self._answers.values() if answer.clock == self.clock)
        entries = next(same, None)
        self._answers[run] = _PresenceAnswer(number, self.clock, list(self._entries()) if entries is None else entries)

    def take_part(self) -> tuple[str, PresenceState]:
        """Return the next part of an answer, and the run that it is for."""
        run, answer = next(iter(self._answers.items()))
        del self._answers[run]
        part = answer.next(self.node, self.run)
        if not part.is_last:
            # Behind those for others.
            self._answers[run] = answer
        return run, part
