"""Which broadcasts of a channel's topics are kept, how many, and for how long; and the position that a client sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from actors.validation import check_count, check_events, check_seconds

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["NOWHERE", "History", "Position", "wanted_position"]

_MOST_OFFSET = 2**53 - 1
"""The largest integer that JavaScript has exactly."""

PRESENCE_DIFF = "presence_diff"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Keeps the broadcasts on each topic of a channel for a while, so that a client that was away gets what it has missed.

        class RoomChannel(Channel):
            history = History(size=100, ttl=300.0, events=("new_msg",))

    - `size`: how many broadcasts are kept on a topic; `max_bytes`: how many bytes they take, 200 for each and its payload.
    - `ttl`: for how many seconds each is kept.
    - `events`: those that are kept; by default all except "presence_diff", as Presence sends its state at each join.

    The oldest are dropped first. A client that has missed one of these is told so (`recovered: false`). What is broadcast by
    `local_broadcast` is not kept. See docs/recovery.md.

    Raises:
        ValueError: naming the option and its value.
        TypeError: if `events` is not a collection of events.
    """  # the colon leads to the example

    size: int = 100
    ttl: float = 300.0
    events: Collection[str] | None = None
    max_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        check_count("size", self.size, least=1)
        check_seconds("ttl", self.ttl, "> 0")
        check_count("max_bytes", self.max_bytes, least=1)
        check_events("events", self.events)

    def records(self, event: str) -> bool:
        """Return whether the broadcasts of an event are kept."""
        return event != PRESENCE_DIFF if self.events is None else event in self.events


class Position(NamedTuple):
    """Where a client was in a topic's history: it has all broadcasts of this epoch up to this offset."""

    epoch: str
    offset: int


NOWHERE = Position("", 0)
"""The position of a client that has seen nothing: no history has the empty epoch."""


def wanted_position(wanted: object) -> Position | None:
    """Return what a client's join says under "recover", `NOWHERE` for true; None if it is not valid."""
    if wanted is True:
        return NOWHERE
    match wanted:
        case {"epoch": str(epoch), "offset": int(offset)} if type(offset) is int and 0 <= offset <= _MOST_OFFSET:
            return Position(epoch, offset)
    return None
