"""What travels between a client, its transport, its channels and PubSub: frozen values."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.ref import ActorRef

__all__ = [
    "Broadcast",
    "Frame",
    "JoinReply",
    "Message",
    "Opcode",
    "Payload",
    "Reply",
    "Serializer",
    "SocketClose",
    "SocketRef",
    "checked_payload",
    "error",
    "ok",
]

Payload = Any
"""The content of a message: a JSON object (a dict or a msgspec Struct) or binary data (bytes)."""


def checked_payload(payload: Any) -> Payload:
    """Return what is to be pushed or broadcast: an object, as every client expects, or binary; `{}` if nothing was given.

    Raises:
        TypeError: if it is anything else.
    """
    if payload is msgspec.UNSET:
        return {}
    if isinstance(payload, dict | bytes | msgspec.Struct):
        return payload
    raise TypeError(f'a payload must be a dict, a msgspec.Struct or bytes, got {payload!r}; write {{"value": …}}')


class Opcode(enum.IntEnum):
    """The two kinds of data frames (RFC 6455, section 5.6)."""

    TEXT = 1
    BINARY = 2


class Message(msgspec.Struct, array_like=True, frozen=True, eq=False):
    """One message of a client: `[join_ref, ref, topic, event, payload]` (Phoenix.Socket.Message)."""

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: Any


class Broadcast(msgspec.Struct, frozen=True):
    """One event for all subscribers of a topic (Phoenix.Socket.Broadcast)."""

    topic: str
    event: str
    payload: Payload


class Reply(msgspec.Struct, frozen=True, rename={"payload": "response"}):
    """What a callback returns to answer the client: a status, usually "ok" or "error", and any JSON value or bytes.

    Written as JSON it is what the protocol wants: `{"status": "ok", "response": …}`.
    """

    status: str
    payload: Any


_EMPTY: dict[str, Any] = {}


def ok(payload: Any = _EMPTY) -> Reply:
    """Answer a join or a push with status "ok"."""
    return Reply("ok", payload)


def error(payload: Any = _EMPTY) -> Reply:
    """Answer a join or a push with status "error"."""
    return Reply("error", payload)


class Frame(msgspec.Struct, eq=False):
    """An encoded message on its way to clients: made once, written to many.

    `data` is what the serializer made: bytes, but for that of the test kit. `wire` is for the carrier: the bytes as they go
    on its wire, kept with the frame so that one broadcast is framed once.
    """

    opcode: Opcode
    data: Any
    wire: bytes | None = None

    def __repr__(self) -> str:
        return f"<Frame {self.opcode.name} {self.data!r}>"


class Serializer(Protocol):
    """How messages look on the wire, for one version of the protocol.

    What cannot be written raises, at the author whose reply, push or broadcast it is.
    """

    def decode(self, data: str | bytes) -> Message:
        """Read one message: text from str, binary from bytes; raise MalformedMessageError if it is none."""

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        """Write the answer to the message `ref`."""

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Payload) -> Frame:
        """Write a message to one client."""

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Write a message to all clients of a topic; None if this version has no form for it, and its clients go without."""


class SocketRef(msgspec.Struct, frozen=True, eq=False):
    """Where to send the answer to one message, later and from anywhere (Phoenix's `socket_ref`)."""

    transport: ActorRef[Any]
    serializer: Serializer
    topic: str
    ref: Any
    join_ref: Any


class JoinReply(msgspec.Struct, frozen=True, eq=False):
    """A channel tells its transport how `join` went."""

    channel: ActorRef[Any]
    topic: str
    joined: bool
    reply: Any


class SocketClose(msgspec.Struct, frozen=True, eq=False):
    """A channel tells its transport that it ends on purpose: the client gets phx_close, not phx_error."""

    channel: ActorRef[Any]
    reason: ExitReason
