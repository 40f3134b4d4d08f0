"""What a channel tells its transport of a join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Frame
    from actors.history.backlog import Backlog
    from actors.ref import ActorRef

__all__ = ["JoinReply", "WhenTaken"]


class JoinReply(msgspec.Struct, frozen=True, eq=False):
    """Sent by a channel to its transport: the result of `join`, with the encoded reply.

    `recovers` says that the client recovers what it misses; `backlog` is what it has missed, and follows the reply.
    """

    channel: ActorRef[Any]
    topic: str
    joined: bool
    reply: Frame
    recovers: bool = False
    backlog: Backlog | None = None


class WhenTaken(msgspec.Struct, frozen=True, eq=False):
    """Sent by a channel to its transport: call `done` when the client has taken all that was sent before, or never will."""

    done: Callable[[], object]
