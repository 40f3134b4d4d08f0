"""What a PubSub does with its adapter: it numbers and packs what leaves, checks and counts what arrives, and delivers it.

So an adapter only carries bytes, and every adapter gives the same guarantees: what a process publishes comes back to no
subscriber of its own, nothing is delivered twice, and what is lost is counted, logged and reported to telemetry.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Protocol

from actors import telemetry
from actors.channels.encoding import ENCODING_ERRORS
from actors.channels.message import Broadcast
from actors.log import Log
from actors.log_limit import LogLimit
from actors.pubsub.adapter import Adapter
from actors.pubsub.remote_message import Header, RemoteMessageError, pack, text_or_bytes, unpack
from actors.pubsub.sequences import Arrivals, Numbers
from actors.redaction import safe_repr, safe_str
from actors.time_bound import TimeBound

if TYPE_CHECKING:
    from actors.clock import Clock

__all__ = ["MESSAGES_LOST", "MESSAGES_MISSED", "Relay", "RelayCounts", "this_node"]

_log = Log("ashtree.pubsub")

MESSAGES_MISSED = ("ashtree", "messages_missed")
"""The telemetry event of messages of another process that have not arrived."""

MESSAGES_LOST = ("ashtree", "messages_lost")
"""The telemetry event of messages that were published here and have not left this process, or may not have."""

IN_EFFECT = 1.0
"""Seconds that a client's join waits for a subscription to be in effect."""

_LOG_SECONDS = 10.0
"""Seconds in which a loss of each kind is logged once."""


_SHOWN = 100
"""Characters of a topic or a name in the log."""


def this_node() -> str:
    """Return a name for this process that people recognize, and no other one has: machine, process id, and by chance."""
    pid = os.getpid()
    if pid not in _nodes:
        # Not of the parent, if this process was forked. Containers may have one host name and one process id.
        _nodes[pid] = f"{socket.gethostname()}:{pid}:{secrets.token_hex(2)}"
    return _nodes[pid]


_nodes: dict[int, str] = {}


class RelayCounts:
    """What was exchanged with other processes since the start.

    - `published`: given to the adapter. `received`: delivered here.
    - `duplicates`, `malformed`: received and dropped.
    - `missed`: published elsewhere, on a topic that was subscribed here, and never received.
    - `lost`: published here, and not handed on, or perhaps not.
    """

    __slots__ = ("duplicates", "lost", "malformed", "missed", "published", "received")

    def __init__(self) -> None:
        self.published = self.received = self.duplicates = self.malformed = self.missed = self.lost = 0


class Delivering(Protocol):
    """The PubSub, as far as its relay uses it."""

    @property
    def node(self) -> str:
        """The name of this process for the others."""

    def deliver(self, topic: str, message: object) -> None:
        """Deliver a message here."""

    def is_shared(self, topic: str, header: Header, payload: bytes) -> bool:
        """Return whether a message is of a history that processes share, which delivers it then."""

    def is_subscribed(self, topic: str) -> bool:
        """Return whether a topic has local subscribers."""


class Relay:
    """The exchange of one PubSub with other processes; for the thread of its event loop."""

    def __init__(self, pubsub: Delivering, adapter: Adapter) -> None:
        self._pubsub, self._adapter = pubsub, adapter
        self.counts = RelayCounts()
        self.run, self._node, self._pid = "", "", 0
        self._numbers, self._arrivals = Numbers(), Arrivals()
        # Topics that clients are joining, with the number of those that wait.
        self._held: Counter[str] = Counter()
        self._tells_effect = type(adapter).in_effect is not Adapter.in_effect
        self._limit: LogLimit[str] = LogLimit(1, _LOG_SECONDS)
        self._clock: Clock | None = None

    def open(self, clock: Clock) -> None:
        """Begin, or go on, in this process: one that was forked is another one."""
        self._clock = clock
        if self._pid != os.getpid():
            self._pid, self._node = os.getpid(), self._pubsub.node
            self.run = secrets.token_urlsafe(9)
            self._numbers, self._arrivals = Numbers(), Arrivals()

    # To other processes

    def publish(self, topic: str, message: object) -> None:
        """Hand a message on to the adapter.

        Raises:
            TypeError: if it cannot leave this process.
        """
        # Before it is numbered: the number of a message that cannot leave would be missed elsewhere.
        payload = text_or_bytes(topic, message)
        self._adapter.publish(topic, pack(self._numbered(topic, message), payload))

    def _numbered(self, topic: str, message: object) -> Header:
        """Return the header of the next message on a topic, which is counted as published."""
        node, run = self._node, self.run
        seq, start = self._numbers.next(topic)
        self.counts.published += 1
        if type(message) is not Broadcast:
            binary = isinstance(message, bytes)
            return Header(binary=binary, node=node, run=run, seq=seq, start=start)
        binary, other = isinstance(message.payload, bytes), None if message.topic == topic else message.topic
        return Header(event=message.event, binary=binary, topic=other, node=node, run=run, seq=seq, start=start)

    def recorded(self, broadcast: Broadcast, seq: int, sender: int) -> Header:
        """Return the header of a broadcast that goes to its history, which is counted as published.

        It is numbered apart: its offset says what is missing before it, and that may still be read.
        """
        self.counts.published += 1
        binary = isinstance(broadcast.payload, bytes)
        return Header(event=broadcast.event, binary=binary, node=self._node, run=self.run, seq=seq, sender=sender)

    def lost(self, messages: int) -> None:
        """Count messages that have not left."""
        self.counts.lost += messages
        telemetry.execute(MESSAGES_LOST, {"count": messages}, {"pubsub": self._pubsub, "adapter": self._adapter})
        if self._admits("lost"):
            _log.warning(
                "%s lost messages for other processes (%d since the start): delivery is at most once",
                self._adapter.name,
                self.counts.lost,
            )

    # From other processes

    def receive(self, topic: str, data: bytes) -> None:
        """Deliver a message of another process, unless it has been delivered."""
        if not self._pubsub.is_subscribed(topic) and topic not in self._held:
            return
        try:
            header, payload = unpack(data)
            is_own, is_recorded = header.run == self.run, header.offset is not None
            if not is_own and not is_recorded and not self._is_new(topic, header):
                return
            is_shared = is_recorded and self._pubsub.is_shared(topic, header, payload)
            if not is_shared and not is_own:
                self._pubsub.deliver(topic, header.message(topic, payload))
        except (RemoteMessageError, *ENCODING_ERRORS) as error:
            # Of a program that does not follow the form, or of a serializer of the author's; the sender is elsewhere.
            self._malformed(topic, error)
        except Exception as error:  # noqa: BLE001  # a serializer, or a handler of telemetry, may raise anything
            self._malformed(topic, error, error)
        else:
            self.counts.received += not is_own

    def _is_new(self, topic: str, header: Header) -> bool:
        if not header.run:
            return True
        missed = self._arrivals.missed(topic, header.run, header.seq, header.start)
        if missed:
            self.missed(topic, header.node, missed)
        elif missed is None:
            self.counts.duplicates += 1
        return missed is not None

    def missed(self, topic: str, node: str, missed: int) -> None:
        """Count messages of another process, or of several if `node` is empty, that have not arrived."""
        self.counts.missed += missed
        about = {"pubsub": self._pubsub, "topic": topic, "node": node}
        telemetry.execute(MESSAGES_MISSED, {"count": missed}, about)
        if self._admits(f"missed of {node}"):
            where = f"{f'of {safe_repr(node, _SHOWN)} ' if node else ''}on {safe_repr(topic, _SHOWN)}"
            _log.warning("%d messages %s have not arrived: delivery is at most once", missed, where)

    def _malformed(self, topic: str, error: Exception, bug: Exception | None = None) -> None:
        self.counts.malformed += 1
        if self._admits("malformed"):
            text = f"a message of another process on {safe_repr(topic, _SHOWN)} cannot be delivered: {safe_str(error)}"
            _log.warning("%s", text, exc_info=bug)

    def _admits(self, kind: str) -> bool:
        return self._clock is None or self._limit.admit(kind, self._clock.now()) is not None

    # Topics

    def subscribed(self, topic: str) -> None:
        """Report the first local subscriber of a topic."""
        if topic not in self._held:
            self._adapter.subscribed(topic)

    def unsubscribed(self, topic: str) -> None:
        """Report that a topic has no local subscribers."""
        self._arrivals.forget(topic)
        if topic not in self._held:
            self._adapter.unsubscribed(topic)

    def is_in_effect(self, topic: str) -> bool:
        """Return whether there is nothing to wait for before a client is told that it has joined a topic."""
        if not self._tells_effect:
            return True
        return self._pubsub.is_subscribed(topic) and self._adapter.in_effect(topic) is None

    @asynccontextmanager
    async def held(self, topic: str) -> AsyncGenerator[None]:
        """Begin to receive a topic, and wait until that is in effect; in the block it gets its subscriber."""
        if not self._pubsub.is_subscribed(topic):
            self.subscribed(topic)
        self._held[topic] += 1
        try:
            await self._effect(topic)
            yield
        finally:
            self._held[topic] -= 1
            if not self._held[topic]:
                del self._held[topic]
                if not self._pubsub.is_subscribed(topic):
                    self._adapter.unsubscribed(topic)

    async def _effect(self, topic: str) -> None:
        future = self._adapter.in_effect(topic)
        if future is not None and self._clock is not None:
            with suppress(TimeoutError), TimeBound(self._clock, IN_EFFECT):
                await asyncio.shield(future)
