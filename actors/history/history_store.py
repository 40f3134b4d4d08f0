"""The contract of what keeps the histories of a PubSub's topics; `MemoryHistory` implements it for a process that is alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from actors.history.history import NOWHERE, History, Position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.channels.message import Broadcast
    from actors.history.topic_log import KeptBroadcast, TopicLog
    from actors.pubsub.remote_message import Header
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler

__all__ = [
    "NOTHING",
    "Deliveries",
    "HistoryCounts",
    "HistorySizes",
    "HistoryStore",
    "NoHistory",
    "Recording",
    "Recovery",
]


class Recovery(msgspec.Struct, frozen=True, eq=False):
    """Where a topic stands at a client's join, and all that the client has `missed`; nothing unless it has `recovered`.

    `log` is where the broadcasts after `position` will be, None if there is no history now.
    """

    position: Position
    recovered: bool = False
    missed: list[KeptBroadcast] = []  # copied by msgspec
    log: TopicLog | None = None

    def answer(self) -> dict[str, object]:
        """Return what the answer to the join says under "recover"."""
        epoch, offset = self.position
        return {"epoch": epoch, "offset": offset, "recovered": self.recovered, "count": len(self.missed)}


NOTHING = Recovery(NOWHERE)
"""The answer while there is no history: a client that comes back with this position has not recovered."""


class Recording(msgspec.Struct, eq=False, gc=False):
    """A broadcast that is being recorded: delivered with its offset once `commit` has put it into its log."""

    log: TopicLog
    kept: KeptBroadcast

    def commit(self) -> None:
        """Put it into the log: it can be encoded, and is delivered now."""
        self.log.append(self.kept)


class HistorySizes(NamedTuple):
    """What a store keeps in this process: topics, broadcasts, and their bytes; and the topics that it had no room for."""

    topics: int = 0
    messages: int = 0
    bytes: int = 0
    dropped: int = 0


class HistoryCounts:
    """What was recorded and recovered since the start.

    - `recorded`: broadcasts with an offset. `unrecorded`: those that were delivered without one, as there was no history.
    - `recovered`, `unrecovered`: joins of clients that said where they were.
    - `replayed`: broadcasts that were sent to clients that had missed them.
    """

    __slots__ = ("recorded", "recovered", "replayed", "unrecorded", "unrecovered")

    def __init__(self) -> None:
        self.recorded = self.unrecorded = self.recovered = self.unrecovered = self.replayed = 0

    def joined(self, wanted: Position, recovery: Recovery) -> None:
        """Count a join; the first join of a client is none of these."""
        if recovery.recovered:
            self.recovered += 1
            self.replayed += len(recovery.missed)
        elif wanted != NOWHERE:
            self.unrecovered += 1


class Numbering(Protocol):
    """The relay of the PubSub, as far as a store uses it that other processes share."""

    @property
    def run(self) -> str:
        """What this process is known by in the headers of its messages."""

    def recorded(self, broadcast: Broadcast, seq: int, sender: int) -> Header:
        """Return the header of a broadcast that goes to its history, which is counted as published."""

    def publish(self, topic: str, message: object) -> None:
        """Hand a message on to the other processes."""

    def missed(self, topic: str, node: str, missed: int) -> None:
        """Count messages of other processes that have not arrived."""


class Deliveries(Protocol):
    """The PubSub, as far as its store uses it; for the thread of its event loop."""

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of its event loop."""

    @property
    def relay(self) -> Numbering:
        """What numbers the messages of this process."""

    def deliver_here(
        self,
        topic: str,
        message: object,
        sender: Process | None,
        cause: Process | None,
        recording: Recording | None = None,
    ) -> None:
        """Deliver a message here; commit its recording, if any, once encoded; clients that want offsets get that of it."""

    def connection_of(self, topic: str, sender: Process | None) -> int:
        """Return the number of the connection of a channel that has joined a topic, 0 if it is none."""

    def is_subscribed(self, topic: str) -> bool:
        """Return whether a topic has subscribers in this process."""

    def check(self, broadcast: Broadcast) -> None:
        """Raise UnencodableError if a broadcast cannot be encoded for its clients."""

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic."""

    def show_gap(self, topic: str, offset: int) -> None:
        """Give an offset alone to all clients that want offsets: what they have had so far is of another epoch."""


class HistoryStore(ABC):
    """Keeps the histories of one PubSub's topics. They belong to an actor: that of the PubSub (`start`), or of its adapter.

    Its methods are called in the thread of the PubSub's event loop, and return at once.
    """

    pubsub: Deliveries

    def __init__(self) -> None:
        self.counts = HistoryCounts()

    @property
    def sizes(self) -> HistorySizes:
        """What it keeps in this process."""
        return HistorySizes()

    def connect(self, pubsub: Deliveries) -> None:
        """Remember the PubSub whose topics these are; called once, when the PubSub is made.

        Raises:
            ValueError: if the store belongs to another PubSub already.
        """
        if getattr(self, "pubsub", pubsub) is not pubsub:
            raise ValueError(f"{self!r} belongs to another PubSub already; give each PubSub its own")
        self.pubsub = pubsub

    def start(self, owner: Process) -> None:  # noqa: B027  # a store with an actor of its own has nothing to do
        """Begin: this is the actor of the PubSub, which has just started, perhaps again after a crash."""

    @abstractmethod
    def record(self, broadcast: Broadcast, history: History, sender: Process | None, cause: Process | None) -> bool:
        """Give a broadcast the next offset of its topic, keep it, and deliver it; return False if there is no history now.

        If False, it has done nothing: the caller delivers the broadcast, without an offset.

        Raises:
            UnencodableError: if it cannot be encoded; then it is neither kept nor delivered.
        """

    def prepare(self, topic: str, history: History, position: Position) -> Awaitable[None] | None:
        """Return what to await, in the block of `PubSub.held`, before `recover` may be called; None if it may be at once.

        It is called before that block, so that a store can bound the time of both.
        """
        return None

    def behind(self, topic: str) -> list[Callable[[], object]] | None:
        """Return the list of what is called when all that was recorded on a topic before is delivered; None if it is."""
        return None

    def undelivered(self, cause: Process) -> Awaitable[None] | None:
        """Return what to await until all that an actor has recorded is delivered; None if it is."""
        return None

    def received(self, topic: str, header: Header, payload: bytes) -> bool:
        """Take a message of another process, or of this one that has come back, if it is of a history; return whether it is."""
        return False

    @abstractmethod
    def recover(self, topic: str, history: History, position: Position) -> Recovery:
        """Return where a topic stands now, and what is missed by a client that was at `position`.

        All broadcasts after that are delivered later, to all that have subscribed by then.
        """


class NoHistory(HistoryStore):
    """The store where there are no histories: processes are connected by an adapter that does not keep any."""

    def record(self, broadcast: Broadcast, history: History, sender: Process | None, cause: Process | None) -> bool:
        """Do nothing, and return False."""
        self.counts.unrecorded += 1
        return False

    def recover(self, topic: str, history: History, position: Position) -> Recovery:
        """Return `NOTHING`."""
        self.counts.joined(position, NOTHING)
        return NOTHING
