r"""What processes say to each other on their reserved topics: a line of JSON, and behind it bytes that are left as they are.

It travels as a binary message of PubSub, so any adapter carries it. Each program that may publish there is trusted as a part
of the application, but a message that is not of this form does no harm.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = ["NODES", "PEERS", "RESERVED", "PeerMessage", "What", "pack_peer", "topic_of", "unpack_peer"]

RESERVED = "\0"
"""What topics of messages between processes begin with; no client can join them."""

NODES = "\0nodes"
"""The topic on which actors learn that another process has ended: `{"down": its name}`."""

PEERS = "\0peers"
"""The topic of what processes tell each other: peer messages, and `{"disconnect": topic}` of a broadcast of that event."""

_MOST = 200
"""Characters of a name."""


What = Literal["hello", "here", "bye", "ask", "working", "answer", "failed", "cancel"]


class PeerMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message, and from which run of which node it is.

    - "hello": it has started, or looks for others, which answer "here"; "here" is also said to all, time and again.
    - "bye": it ends.
    - "ask": a request to a service, with a number of the sender's. It is answered by "answer" or "failed", first by "working"
      if that takes time. "cancel": the sender waits no longer.
    """

    what: What
    run: str
    node: str = ""
    number: int = 0
    service: str = ""
    about: dict[str, Any] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PeerMessage).decode


def pack_peer(message: PeerMessage, body: bytes = b"") -> bytes:
    """Return a message as bytes."""
    return b"%b\n%b" % (_encode(message), body)


def unpack_peer(data: bytes) -> tuple[PeerMessage, bytes] | None:
    """Return a message and the bytes behind it; None if it is not of this form."""
    line, _, body = data.partition(b"\n")
    try:
        message = _decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    is_named = 0 < len(message.run) <= _MOST and len(message.node) <= _MOST
    return (message, body) if is_named else None


def topic_of(run: str) -> str:
    """Return the topic of one process."""
    return f"\0node:{run}"
