"""The presences of all other processes, and what is told to them. Pure data, without I/O; time is an argument.

Each process alone changes its own presences. It sends what has changed as numbered diffs, and every `broadcast_period` the
number of the last one, as a sign of life. The others keep a replica of it. One that meets it, or that lacks a diff, asks it for
all its presences. They leave when it says that it ends, when it is known to be dead, or after `down_period` without a message.

That period is measured in time in which this process itself was awake: one that was stopped, or whose event loop was blocked,
first reads what has arrived meanwhile, and gives the others time to speak.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from actors.presence.replica import Replica
from actors.presence.replica_messages import (
    PresenceBeat,
    PresenceDiff,
    PresenceEnd,
    PresenceRequest,
    PresenceState,
)

if TYPE_CHECKING:
    from actors.presence.announcer import Announcer
    from actors.presence.presences import Diff, Meta, Metas
    from actors.presence.replica_messages import Message

__all__ = ["Replicas"]

_BETWEEN_DIFFS = 0.05
"""Seconds between two messages with changes: each process sends at most 20 of them a second."""
_BETWEEN_PARTS = 0.01
"""Seconds between two parts of an answer."""
_LEAST = 0.001
"""Seconds until it is woken, at least."""
_AWAKE = 2
"""Periods between two looks at the time that count, at most; for the rest this process was stopped."""
_LATE = 0.1
"""Seconds by which it is woken too late if it was busy, and in which it reads what has arrived meanwhile."""
_GRACE = 3
"""Periods in which the others have time to speak, at least, after this process was stopped for one or more."""


class Replicas:
    """The replicas of a Presence, and its announcements.

    Call `wake` after `due` seconds, `receive` for each message, and send what `take_outgoing` returns after any call. What
    `wake`, `receive` and the others return are changes, to be told to the clients of this process.
    """

    def __init__(self, announcer: Announcer, broadcast_period: float, down_period: float, now: float) -> None:
        self._own = announcer
        self._period, self._down_period = broadcast_period, down_period
        self._replicas: dict[str, Replica] = {}
        self._requests = 0
        self._outgoing: list[tuple[str | None, Message]] = []
        self._awake, self._looked = 0.0, now
        self._beat_at = self._diff_at = self._part_at = now
        self._drop_at, self._was_late = now, False
        self.silent: list[str] = []
        """Nodes that were dropped because they were silent, since this list was last cleared."""

    # Time

    def due(self, now: float) -> float:
        """Return the seconds until `wake` is to be called."""
        own = self._own
        seconds = min(
            self._beat_at - now,
            self._diff_at - now if own.has_changes else inf,
            self._part_at - now if own.has_answers else inf,
            max(self._first_silence - self._awake_at(now), self._drop_at - now),
        )
        # So little may be lost in the sum with the time.
        return max(_LEAST, seconds) if seconds > 0 else 0.0

    def wake(self, now: float) -> list[Diff]:
        """Send what is due; drop those that are silent."""
        self._awake, self._looked = self._awake_at(now), now
        self._allow_for_delay(now)
        if self._own.has_changes and now >= self._diff_at:
            self._send_diffs(now)
        if self._own.has_answers and now >= self._part_at:
            self._part_at = now + _BETWEEN_PARTS
            self._outgoing.append(self._own.take_part())
        if now >= self._beat_at:
            self._beat_at = now + self._period
            self._send(PresenceBeat)
            self._ask_again()
        return self._drop_silent() if now >= self._drop_at else []

    def _awake_at(self, now: float) -> float:
        return self._awake + min(now - self._looked, _AWAKE * self._period)

    def _allow_for_delay(self, now: float) -> None:
        """Give the others time if this process was stopped, or busy, while what they sent arrived."""
        late = max(now - self._beat_at, self._awake - self._first_silence)
        if late > self._period:
            for replica in self._replicas.values():
                replica.heard = max(replica.heard, self._grace)
        elif late > _LATE and not self._was_late:
            # First what has arrived is read. Once: if it is always late, it drops those that are silent nevertheless.
            self._drop_at = now + _LATE
        self._was_late = late > _LATE

    @property
    def _grace(self) -> float:
        """The time at which those have been heard that are dropped if they do not speak now."""
        return self._awake - self._down_period + _GRACE * self._period

    @property
    def _first_silence(self) -> float:
        return min((replica.heard for replica in self._replicas.values()), default=inf) + self._down_period

    def _drop_silent(self) -> list[Diff]:
        if self._awake < self._first_silence:
            return []
        silent = [each for each in self._replicas.values() if self._awake >= each.heard + self._down_period]
        self.silent += [each.node for each in silent]
        return [diff for each in silent for diff in self._drop(each.run)]

    # The presences of this process

    @property
    def run(self) -> str:
        """The text that stands for this start of the Presence."""
        return self._own.run

    def changed(self, diff: Diff) -> None:
        """Announce a change."""
        self._own.add(diff)

    def end(self, now: float) -> None:
        """Say that this process ends."""
        self._send_diffs(now)
        self._send(PresenceEnd)

    def begin(self, announcer: Announcer) -> None:
        """Begin another run after `end`; those that have ended meanwhile are dropped soon."""
        self._own = announcer
        for replica in self._replicas.values():
            replica.heard = min(replica.heard, self._grace)

    def _send_diffs(self, now: float) -> None:
        self._diff_at = now + _BETWEEN_DIFFS
        self._outgoing += [(None, diff) for diff in self._own.take_diffs()]

    def _send(self, kind: type[PresenceBeat | PresenceEnd]) -> None:
        own = self._own
        self._outgoing.append((None, kind(node=own.node, run=own.run, clock=own.clock)))

    def take_outgoing(self) -> list[tuple[str | None, Message]]:
        """Return the messages to be sent, each with the run of the process that it is for, or None if it is for all."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    # The presences of others

    def receive(self, message: Message, now: float) -> list[Diff]:
        """Handle a message of another process."""
        if message.run == self._own.run:
            return []
        if isinstance(message, PresenceEnd):
            return self._drop(message.run)
        replica = self._replicas.setdefault(message.run, Replica(message.node, message.run))
        replica.heard = self._awake_at(now)
        replica.saw(message.clock)
        diffs = self._handle(replica, message, now)
        if not replica.is_behind:
            replica.request = None
        elif replica.request is None:
            self._ask(replica, replica.heard)
        return diffs

    def _handle(self, replica: Replica, message: Message, now: float) -> list[Diff]:
        match message:
            case PresenceDiff():
                return replica.add_diff(message)
            case PresenceState():
                replica.asked = replica.heard
                return replica.add_state(message)
            case PresenceRequest():
                self._send_diffs(now)
                self._own.answer(message.run, message.number)
        return []

    def node_down(self, node: str) -> list[Diff]:
        """Drop a process that is known to be dead."""
        runs = [replica.run for replica in self._replicas.values() if replica.node == node]
        return [diff for run in runs for diff in self._drop(run)]

    def _drop(self, run: str) -> list[Diff]:
        replica = self._replicas.pop(run, None)
        return [] if replica is None else replica.leaves()

    def _ask(self, replica: Replica, at: float) -> None:
        own = self._own
        self._requests += 1
        replica.ask(self._requests, at)
        request = PresenceRequest(node=own.node, run=own.run, clock=own.clock, number=self._requests)
        self._outgoing.append((replica.run, request))

    def _ask_again(self) -> None:
        for replica in self._replicas.values():
            if replica.request is not None and self._awake - replica.asked >= self._period:
                self._ask(replica, self._awake)

    # Queries

    @property
    def nodes(self) -> list[str]:
        """The names of the other processes."""
        return [replica.node for replica in self._replicas.values()]

    def add_to(self, topic: str, metas: Metas) -> None:
        """Add the metas of a topic to those of this process."""
        for replica in self._replicas.values():
            for key in replica.table.keys(topic):
                metas.setdefault(key, []).extend(replica.table.metas(topic, key))

    def of_key(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of one key."""
        return [meta for replica in self._replicas.values() for meta in replica.table.metas(topic, key)]
