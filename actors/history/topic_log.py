"""The log of one topic: what was broadcast lately, by offset. Plain data, without actors; time is an argument."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.channels.message import Frame, Serializer
    from actors.history.history import History, Position

__all__ = ["KeptBroadcast", "TopicLog"]

_OVERHEAD = 200
"""Bytes of a kept broadcast beside its payload: measured, see docs/recovery.md."""


class KeptBroadcast(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One broadcast in a log.

    - `payload`: its JSON text, or its bytes if it `is_binary`.
    - `time`: when it was broadcast, of the monotonic clock.
    - `sender`: the number of the connection that is not to get it, as it was made by `broadcast_from`; 0 for none.
    """

    offset: int
    time: float
    event: str
    payload: bytes
    is_binary: bool = False
    sender: int = 0

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        return _OVERHEAD + len(self.payload)


class LogTable(Protocol):
    """The table of a log, as far as that knows of it: its bytes are those of all its logs together."""

    bytes: int
    max_bytes: int

    def make_room(self) -> None:
        """Drop other logs until the rest is within the bound."""


class TopicLog:
    """The broadcasts of one topic in one epoch, the oldest first.

    - Offsets begin at 1; `last` is the newest. Those before `first` are no longer kept.
    - `frames`: the encoded broadcasts that were sent lately to clients that had missed them, by serializer and offset, so that
      a thousand clients that come back get the same ones.
    - `is_whole`: no older broadcasts are kept elsewhere. A log may be a copy of another one that began later, after `last`.
    - `table`: where it is, None if it is alone.
    """

    __slots__ = ("_kept", "bytes", "epoch", "frames", "history", "is_whole", "last", "table", "used")

    def __init__(self, epoch: str, now: float, history: History, last: int = 0) -> None:
        self.epoch, self.used, self.history = epoch, now, history
        self.table: LogTable | None = None
        self._kept: deque[KeptBroadcast] = deque()
        self.frames: dict[tuple[Serializer, int], Frame] = {}
        self.last, self.bytes = last, 0
        self.is_whole = last == 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def first(self) -> int:
        """The offset of the oldest broadcast that is kept, or will be."""
        return self.last + 1 - len(self._kept)

    def append(self, kept: KeptBroadcast) -> None:
        """Add the next broadcast, and forget the oldest ones beyond the bounds; perhaps all, if this one is too large."""
        all_kept, history, table = self._kept, self.history, self.table
        all_kept.append(kept)
        self.last, self.used = kept.offset, kept.time
        size = self.bytes + _OVERHEAD + len(kept.payload)
        if len(all_kept) > history.size:
            size -= _OVERHEAD + len(all_kept.popleft().payload)
        while size > history.max_bytes:
            size -= _OVERHEAD + len(all_kept.popleft().payload)
        grown, self.bytes = size - self.bytes, size
        if table is not None:
            table.bytes += grown
            if table.bytes > table.max_bytes:
                table.make_room()

    def expire(self, now: float) -> None:
        """Forget what has been kept for the `ttl` of the history."""
        before, expired = self.bytes, now - self.history.ttl
        while self._kept and self._kept[0].time <= expired:
            self.bytes -= self._kept.popleft().size
        if self.table is not None:
            self.table.bytes += self.bytes - before

    def get(self, offset: int) -> KeptBroadcast | None:
        """Return the broadcast with this offset, if it is kept."""
        index = offset - self.first
        return self._kept[index] if 0 <= index < len(self._kept) else None

    def has_all_after(self, offset: int) -> bool:
        """Return whether all broadcasts after an offset are kept here, or it is known that they are kept nowhere."""
        return self.is_whole or offset >= self.first - 1

    def missed(self, place: Position) -> list[KeptBroadcast] | None:
        """Return the broadcasts after a place, None if they are not known, or not all of them."""
        if place.epoch != self.epoch or not self.first - 1 <= place.offset <= self.last:
            return None
        return list(self.after(place.offset))

    def after(self, offset: int) -> Iterable[KeptBroadcast]:
        """Return those that are kept after an offset."""
        start = offset + 1 - self.first
        return (self._kept[index] for index in range(max(0, start), len(self._kept)))
