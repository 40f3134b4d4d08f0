"""Histories in the memory of this process, for a PubSub that is alone.

They belong to the actor of the PubSub. When it crashes they are dropped with it, as they may be what it has crashed of: until
it is restarted broadcasts are delivered without an offset, and then each topic begins another epoch. So clients that were away
are told that they have not recovered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.channels.encoding import ENCODING_ERRORS, as_json, encode, payload_of
from actors.history.history import Position
from actors.history.history_store import NOTHING, HistorySizes, HistoryStore, Recording, Recovery
from actors.history.topic_log import KeptBroadcast
from actors.history.topic_logs import SWEEP_SECONDS, TopicLogs
from actors.validation import check_count

if TYPE_CHECKING:
    from actors.channels.message import Broadcast
    from actors.clock import Timer
    from actors.history.history import History
    from actors.history.topic_log import TopicLog
    from actors.runtime.process import Process

__all__ = ["MemoryHistory"]


class MemoryHistory(HistoryStore):
    """Keeps histories in memory: `PubSub(history=MemoryHistory(max_bytes=256 * 1024 * 1024))`.

    `max_bytes` bounds the histories of all topics together, 64 MiB by default; see `History` for the bounds of each. Above it
    the topics that have not been used for longest are forgotten.

    Raises:
        ValueError: if `max_bytes` is not a whole number >= 1.
    """

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024) -> None:
        check_count("max_bytes", max_bytes, least=1)
        super().__init__()
        self._max_bytes = max_bytes
        self.logs = TopicLogs(max_bytes)
        self._owner: Process | None = None
        # Runs while there are logs.
        self._next_sweep: Timer | None = None

    @property
    def sizes(self) -> HistorySizes:
        """What it keeps in this process."""
        logs = self.logs
        return HistorySizes(len(logs), logs.messages, logs.bytes, logs.dropped)

    def start(self, owner: Process) -> None:
        """Begin, with empty logs that belong to the actor of the PubSub."""
        self.logs, self._owner, self._next_sweep = TopicLogs(self._max_bytes), owner, None
        owner.own(self.close)

    def close(self) -> None:
        """Forget everything: the owner has ended, and its timer with it."""
        self.logs, self._owner = TopicLogs(self._max_bytes), None

    def record(self, broadcast: Broadcast, history: History, sender: Process | None, cause: Process | None) -> bool:
        """Give a broadcast the next offset of its topic, keep it, and deliver it; return False while there is no owner."""
        owner, pubsub, topic = self._owner, self.pubsub, broadcast.topic
        if owner is None:
            self.counts.unrecorded += 1
            return False
        payload = broadcast.payload
        is_binary = isinstance(payload, bytes)
        data = payload if is_binary else _text(broadcast)
        connection = 0 if sender is None else pubsub.connection_of(topic, sender)
        log = self.logs.latest(topic)
        if log is None:
            log = self._use(owner, topic, history)
        kept = KeptBroadcast(log.last + 1, owner.clock.now(), broadcast.event, data, is_binary, connection)
        pubsub.deliver_here(topic, broadcast, sender, cause, Recording(log, kept))
        self.counts.recorded += 1
        return True

    def recover(self, topic: str, history: History, position: Position) -> Recovery:
        """Return where a topic stands now, and what is missed by a client that was at `position`."""
        if self._owner is None:
            recovery = NOTHING
        else:
            log = self._use(self._owner, topic, history)
            missed = log.missed(position)
            recovery = Recovery(Position(log.epoch, log.last), missed is not None, missed or [], log)
        self.counts.joined(position, recovery)
        return recovery

    def _use(self, owner: Process, topic: str, history: History) -> TopicLog:
        """Return the log of a topic as it is now; if it is a new one, there is something to sweep from now on."""
        self._sweep_later(owner)
        return self.logs.use(topic, history, owner.clock.now())

    def _sweep_later(self, owner: Process, seconds: float = SWEEP_SECONDS) -> None:
        if self._next_sweep is None:
            self._next_sweep = owner.clock.call_at(owner.clock.now() + seconds, self._sweep, owner)

    def _sweep(self) -> None:
        """Forget what has expired, of a part of the topics; the others are next, in other iterations of the event loop."""
        logs, owner, self._next_sweep = self.logs, self._owner, None
        assert owner is not None
        logs.sweep(owner.clock.now(), self.pubsub.is_subscribed)
        if len(logs):
            self._sweep_later(owner, SWEEP_SECONDS if logs.is_swept else 0.0)


def _text(broadcast: Broadcast) -> bytes:
    try:
        return encode(broadcast.payload)
    except ENCODING_ERRORS:
        return as_json(payload_of(broadcast.event, broadcast.topic), broadcast.payload)  # raises with the part at fault
