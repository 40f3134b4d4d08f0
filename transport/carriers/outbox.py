"""The outbox of a connection: the frames that wait because the client reads more slowly than it is sent to.

One for each connection, whatever its carrier. It keeps the frames themselves, which all connections share, and not copies in
the form of a wire: a broadcast that waits for a hundred slow clients is in memory once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from actors.channels.encoding import decoded
from actors.history.backlog import Backlog
from actors.redaction import safe_repr
from actors.validation import check_count
from transport.carriers.intake import UNREAD

if TYPE_CHECKING:
    from actors.channels.message import Broadcast, Frame
    from transport.carriers.intake import Intake

__all__ = ["OVERFLOWED", "Outbox", "OutboxPolicy"]

# Bytes of replies and pushes that may wait before the client is not read any more; it is read on when half of them are left.
_UNREAD = 64 * 1024

_MOST_HELD = 4
"""Joins of one topic that wait for a client with all that it has missed."""

OVERFLOWED = 1013
"""The close code of a client that did not keep up: "try again later". phoenix.js reconnects and joins again, which is how such
a client gets a state that is complete again; 1000 would end its attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxPolicy:
    """How much may wait for a client that reads too slowly, and what happens above that.

    - `max_bytes`, `max_messages`: what may wait, beside what the kernel and the event loop have taken already (64 KiB). One
      message may be larger if nothing else waits.
    - `overflow`: "disconnect" closes the connection with code 1013; "drop_oldest" drops the oldest waiting broadcasts;
      "conflate" keeps, of the waiting broadcasts that have one `key`, the last one only.
    - `key(broadcast)`: what makes a broadcast replace an older one; None for one that replaces none.

    Only broadcasts are dropped or replaced. Replies and pushes have room of their own beside `max_bytes`: as much as the client
    may have sent that is not handled yet. A client that does not read them is not read any more, so its own work fits there. If
    what remains is above the bound nevertheless, the connection is closed.

    Raises:
        ValueError: naming the option and its value.
    """

    max_bytes: int = 1024 * 1024
    max_messages: int = 10_000
    overflow: Literal["disconnect", "drop_oldest", "conflate"] = "disconnect"
    key: Callable[[Broadcast], Hashable | None] | None = None

    def __post_init__(self) -> None:
        check_count("max_bytes", self.max_bytes, least=1)
        check_count("max_messages", self.max_messages, least=1)
        if self.overflow not in ("disconnect", "drop_oldest", "conflate"):
            raise ValueError(
                f'overflow must be "disconnect", "drop_oldest" or "conflate", got {safe_repr(self.overflow)}'
            )
        if (self.overflow == "conflate") is not callable(self.key):
            raise ValueError(
                f'overflow="conflate" goes with key=…, a function of a Broadcast, got {self.overflow!r} and {self.key!r}'
            )


class _Entry:
    """One frame in an outbox, with its size and the key by which a newer one replaces it; or a backlog, which has no size."""

    __slots__ = ("frame", "key", "size", "then")

    def __init__(self, frame: Frame | Backlog, size: int, key: Hashable | None = None) -> None:
        self.frame, self.size, self.key = frame, size, key
        # What is called when it is taken, or dropped.
        self.then: tuple[Callable[[], object], ...] = ()


class Outbox:
    """The frames that wait for one client, oldest first.

    - `bytes` and `messages` are what waits, `own_bytes` the part that is not broadcasts: replies and pushes, of which `room`
      bytes do not count against the bound.
    - `dropped` is how many broadcasts were dropped or replaced; `on_drop(size)` is called for each.
    - `intake` is held as UNREAD while too many replies and pushes wait.

    A backlog waits like one frame without a size, and is read as there is room. What is broadcast on its topic until then joins
    it, by the offset.
    """

    __slots__ = (
        "_backlogs",
        "_broadcasts",
        "_by_key",
        "_intake",
        "_on_drop",
        "_policy",
        "_room",
        "_waiting",
        "bytes",
        "dropped",
        "own_bytes",
    )

    def __init__(
        self,
        policy: OutboxPolicy,
        on_drop: Callable[[int], object],
        *,
        room: int = 0,
        intake: Intake | None = None,
    ) -> None:
        self._policy, self._on_drop, self._room, self._intake = policy, on_drop, room, intake
        # Ordered dictionaries: frames are taken from the front, and dropped anywhere.
        self._waiting: OrderedDict[_Entry, None] = OrderedDict()
        self._broadcasts: OrderedDict[_Entry, None] = OrderedDict()
        self._by_key: dict[Hashable, _Entry] = {}
        # By the logs that they read.
        self._backlogs: dict[object, list[Backlog]] = {}
        self.bytes = self.own_bytes = self.dropped = 0

    @property
    def messages(self) -> int:
        """The number of frames that wait."""
        return len(self._waiting)

    def put(self, frame: Frame, size: int) -> bool:
        """Keep a frame of `size` bytes; return False if the connection has to be closed, as too much waits."""
        backlogs = self._backlogs.get(frame.log)
        if backlogs is not None:
            self._put_behind(frame, backlogs)
            return self._fits()
        broadcast, policy = frame.broadcast, self._policy
        key = None if broadcast is None or policy.key is None else policy.key(decoded(broadcast))
        waiting = _Entry(frame, size, key)
        self._waiting[waiting] = None
        self.bytes += size
        if broadcast is None:
            self.own_bytes += size
            if self.own_bytes > _UNREAD and self._intake is not None:
                self._intake.hold(UNREAD)
        else:
            self._broadcasts[waiting] = None
        if key is not None:
            self._replace(key, waiting)
        return self._fits()

    def put_backlog(self, backlog: Backlog) -> None:
        """Keep the broadcasts that a client has missed, for as long as there is no room for them.

        Only those of the last joins of a topic are held for it: a client that joins again and again, and does not read, must
        not hold all that the history has ever had.
        """
        holding = [each for each in self._backlogs.get(backlog.log, ()) if each.holds_missed]
        for older in holding[: 1 - _MOST_HELD]:
            older.let_go()
        self._add_backlog(backlog)

    def _add_backlog(self, backlog: Backlog) -> None:
        self._waiting[_Entry(backlog, 0)] = None
        self._backlogs.setdefault(backlog.log, []).append(backlog)

    def _put_behind(self, frame: Frame, backlogs: list[Backlog]) -> None:
        """Keep the offset of a broadcast, and not itself, in its place."""
        last = next(reversed(self._waiting)).frame
        if last is not backlogs[-1] or not backlogs[-1].extend(frame.offset):
            self._add_backlog(backlogs[-1].another(frame.offset))

    def when_taken(self, done: Callable[[], object]) -> None:
        """Call a function when all that waits now is taken, or dropped."""
        if self._waiting:
            next(reversed(self._waiting)).then += (done,)
        else:
            done()

    @property
    def has_backlog(self) -> bool:
        """Whether more waits than its size tells."""
        return bool(self._backlogs)

    def _replace(self, key: Hashable, waiting: _Entry) -> None:
        older = self._by_key.get(key)
        if older is not None:
            self._drop(older)
        self._by_key[key] = waiting

    def _overflows(self) -> bool:
        policy, messages = self._policy, len(self._waiting)
        counted = self.bytes - min(self.own_bytes, self._room)
        return messages > 1 and (counted > policy.max_bytes or messages > policy.max_messages)

    def _fits(self) -> bool:
        """Return whether what waits is within the bounds; with "drop_oldest" the oldest broadcasts are dropped until it is."""
        while self._policy.overflow == "drop_oldest" and self._broadcasts and self._overflows():
            self._drop(next(iter(self._broadcasts)))
        return not self._overflows()

    def _drop(self, waiting: _Entry) -> None:
        self._remove(waiting)
        self.dropped += 1
        self._on_drop(waiting.size)

    def _remove(self, waiting: _Entry) -> None:
        del self._waiting[waiting]
        for done in waiting.then:
            done()
        if isinstance(waiting.frame, Backlog):
            self._forget(waiting.frame)
            return
        self.bytes -= waiting.size
        if waiting.frame.broadcast is None:
            self.own_bytes -= waiting.size
            self._read_on()
            return
        del self._broadcasts[waiting]
        if waiting.key is not None and self._by_key.get(waiting.key) is waiting:
            del self._by_key[waiting.key]

    def _forget(self, backlog: Backlog) -> None:
        others = self._backlogs[backlog.log]
        others.remove(backlog)
        if not others:
            del self._backlogs[backlog.log]

    def _read_on(self) -> None:
        if self._intake is not None and self.own_bytes * 2 <= _UNREAD:
            self._intake.release(UNREAD)

    def pop(self) -> Frame | None:
        """Remove and return the oldest frame; None if none waits."""
        while self._waiting:
            waiting = next(iter(self._waiting))
            frame = waiting.frame
            if not isinstance(frame, Backlog):
                self._remove(waiting)
                return frame
            found = frame.take()
            if frame.is_done:
                self._remove(waiting)
            if found is not None:
                return found
        return None

    def take(self, size: int) -> list[Frame]:
        """Remove and return the oldest frames: as many as fit into `size` bytes, but at least one if any waits.

        The last one of a backlog may be larger than what was left.
        """
        frames: list[Frame] = []
        while self._waiting and size > 0:
            waiting = next(iter(self._waiting))
            if frames and waiting.size > size:
                break
            frame = self.pop()
            if frame is not None:
                frames.append(frame)
                size -= waiting.size or len(frame.data)
        return frames

    def clear(self) -> None:
        """Forget all frames, as the connection ends."""
        waiting, self._waiting = self._waiting, OrderedDict()
        for done in (done for each in waiting for done in each.then):
            done()
        self._broadcasts.clear()
        self._by_key.clear()
        self._backlogs.clear()
        self.bytes = self.own_bytes = 0
        self._read_on()
