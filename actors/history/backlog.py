"""What a client is still to get of a topic's history: read from the log, and encoded, only when there is room for it.

So it waits in the client's outbox without a size. What is broadcast meanwhile waits behind it as an offset, not as a copy.
"""

from __future__ import annotations

from base64 import b64encode
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from actors.channels.encoding import ENCODING_ERRORS, decoded
from actors.channels.message import Broadcast
from actors.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.channels.message import Frame, Serializer
    from actors.history.topic_log import KeptBroadcast, TopicLog

__all__ = ["BINARY", "SKIP", "Backlog", "broadcast_of", "frame_at", "skip_at"]

_log = Log("ashtree.channels")

BINARY = "@binary"
"""The key of the payload that stands for a binary one, in Base64: binary messages have no field for an offset."""

SKIP = "phx_skip"
"""The event of a message that has an offset and nothing else, for a client that is not to get the broadcast itself."""

_MOST_FRAMES = 1000
"""Frames of one log that are kept for the next clients which have missed the same."""


def frame_at(serializer: Serializer, broadcast: Broadcast, offset: int) -> Frame:
    """Encode a broadcast for clients that want its offset, in the place of a ref."""
    if type(broadcast.payload) is msgspec.Raw and not getattr(serializer, "takes_json", False):
        broadcast = decoded(broadcast)
    payload = broadcast.payload
    if isinstance(payload, bytes):
        payload = {BINARY: b64encode(payload).decode()}
    frame = serializer.encode_push(None, f"@{offset}", broadcast.topic, broadcast.event, payload)
    frame.broadcast = broadcast
    return frame


def skip_at(serializer: Serializer, topic: str, offset: int) -> Frame:
    """Encode an offset without its broadcast."""
    return serializer.encode_push(None, f"@{offset}", topic, SKIP, {})


def broadcast_of(kept: KeptBroadcast, topic: str) -> Broadcast:
    """Return a broadcast as it comes out of a log: with its JSON text, or its bytes."""
    return Broadcast(topic, kept.event, kept.payload if kept.is_binary else msgspec.Raw(kept.payload))


class Backlog:
    """The broadcasts of one topic that one client is still to get, by their offsets.

    First those that it has `missed`, which are kept here until they are taken, as the client was told how many follow. Then
    those up to `end`, which are read from the log.

    - `client` is the number of its connection, which skips what was sent by `broadcast_from` over it.
    """

    __slots__ = ("_missed", "_next", "_serializer", "_topic", "_watchers", "client", "end", "log")

    def __init__(  # noqa: PLR0917  # two parts of a client, two of a log, and what was missed
        self,
        topic: str,
        serializer: Serializer,
        client: int,
        log: TopicLog,
        end: int,
        missed: Iterable[KeptBroadcast] = (),
    ) -> None:
        self._topic, self._serializer, self.client, self.log = topic, serializer, client, log
        self._missed = deque(missed)
        self.end = end
        self._next = end + 1 if self._missed else end
        self._watchers: tuple[Callable[[Frame], object], ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return not self._missed and self._next > self.end

    def extend(self, offset: int) -> bool:
        """Take the next offset in too; return False if it is not the next one."""
        if offset != self.end + 1:
            return False
        self.end = offset
        return True

    def another(self, offset: int) -> Backlog:
        """Return a backlog of the same client that has one offset."""
        return Backlog(self._topic, self._serializer, self.client, self.log, offset)

    @property
    def holds_missed(self) -> bool:
        """Whether broadcasts are held that the client was told of."""
        return bool(self._missed)

    def let_go(self) -> None:
        """Read what was missed from the log, too, as other joins have followed: what is kept no more is then a gap."""
        if self._missed:
            self._next = self._missed[0].offset
            self._missed.clear()

    def watch(self, watcher: Callable[[Frame], object]) -> None:
        """Call a function with each frame of those that were missed, when it is taken."""
        self._watchers += (watcher,)

    def take(self) -> Frame | None:
        """Remove and return the next frame; None if nothing is left."""
        if self._missed:
            frame = self._frame(self._missed.popleft())
            for watcher in self._watchers:
                watcher(frame)
            return frame
        return None if self.is_done else self._take_next()

    def _take_next(self) -> Frame:
        """Return the next broadcast of the log, or, if none up to `end` is kept any more, an offset behind that.

        A client sees what is left out as a gap in the offsets, also if it is a single one.
        """
        offset = max(self._next, self.log.first)
        kept = self.log.get(offset) if offset <= self.end else None
        self._next = min(offset, self.end) + 1
        return skip_at(self._serializer, self._topic, self.end + 1) if kept is None else self._frame(kept)

    def _frame(self, kept: KeptBroadcast) -> Frame:
        if kept.sender and kept.sender == self.client:
            return skip_at(self._serializer, self._topic, kept.offset)
        frames, key = self.log.frames, (self._serializer, kept.offset)
        try:
            if key not in frames:
                if len(frames) >= _MOST_FRAMES:
                    frames.clear()
                frames[key] = frame_at(self._serializer, broadcast_of(kept, self._topic), kept.offset)
            return frames[key]
        except ENCODING_ERRORS as error:
            # Of a serializer of the author's, which had no client when this was broadcast.
            _log.error("%r on %r cannot be sent to a client that has missed it: %s", kept.event, self._topic, error)
            return skip_at(self._serializer, self._topic, kept.offset)
