"""The messages between a client, its transport, its channels and PubSub: frozen values."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from actors.exits import NORMAL, SHUTDOWN, Shutdown
from actors.redaction import safe_repr

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.ref import ActorRef

__all__ = [
    "Broadcast",
    "Frame",
    "Message",
    "NumberedBroadcast",
    "Opcode",
    "Payload",
    "Reply",
    "Serializer",
    "SocketClose",
    "SocketRef",
    "TokenAccepted",
    "TransportEnded",
    "checked_payload",
    "error",
    "ok",
]

Payload = Any
"""The content of a message: a JSON object (a dict, dataclass, msgspec.Struct, …) or bytes; in replies any JSON value."""


def checked_payload(event: object, payload: Payload, topic: object = "") -> Payload:
    """Return the payload of a push or a broadcast; `{}` if none was given.

    Raises:
        TypeError: if the event, or the topic, is not a str.
    """
    if not isinstance(event, str):
        raise TypeError(f'an event must be a str, such as "new_msg", got {safe_repr(event)}')
    if not isinstance(topic, str):
        raise TypeError(f'a topic must be a str, such as "room:lobby", got {safe_repr(topic)}')
    return {} if payload is msgspec.UNSET else payload


class Opcode(enum.IntEnum):
    """The two kinds of data frames (RFC 6455, section 5.6)."""

    TEXT = 1
    BINARY = 2


class Message(msgspec.Struct, array_like=True, frozen=True, eq=False):
    """One message of a client: `[join_ref, ref, topic, event, payload]` (Phoenix.Socket.Message).

    The members are as the client sent them. Usually all but the payload are strings, and the refs strings or None.
    """

    join_ref: object
    ref: object
    topic: Any
    event: Any
    payload: Payload

    @property
    def ref_of_join(self) -> object:
        """The join_ref of a channel whose join this is: the ref if the client's join_ref is null or false, as in Phoenix."""
        return self.ref if self.join_ref is None or self.join_ref is False else self.join_ref


class Broadcast(msgspec.Struct, frozen=True):
    """One event for all subscribers of a topic (Phoenix.Socket.Broadcast)."""

    topic: str
    event: str
    payload: Payload


class NumberedBroadcast(msgspec.Struct, frozen=True):
    """A broadcast with its offset, for a channel that sends its client all broadcasts itself.

    `is_own`: the client has made it by `broadcast_from`, and gets the offset alone.
    """

    broadcast: Broadcast
    offset: int
    is_own: bool = False


class Reply(msgspec.Struct, frozen=True, rename={"payload": "response"}):
    """What a callback returns to answer the client: a status, usually "ok" or "error", and any JSON value or bytes.

    Encoded as JSON it is a reply of the protocol: `{"status": "ok", "response": …}`.
    """

    status: str
    payload: Payload


_EMPTY: dict[str, object] = {}


def ok(payload: Payload = _EMPTY) -> Reply:
    """Answer a join or a push with status "ok"."""
    return Reply("ok", payload)


def error(payload: Payload = _EMPTY) -> Reply:
    """Answer a join or a push with status "error"."""
    return Reply("error", payload)


class Frame(msgspec.Struct, eq=False):
    """An encoded message for clients: encoded once, written to many.

    - `data`: what the serializer returned: bytes, except in the test kit, which does not encode.
    - `wire`: the bytes that a carrier writes for it, kept so that a broadcast is framed once; `deflated`: the same, compressed,
      for each size of the window.
    - `broadcast`: what was encoded, if it is a broadcast; a client that reads too slowly may miss it (see `OutboxPolicy`).
    - `log`, `offset`: where it is in the history of its topic, a `TopicLog`, if it was encoded with its offset.
    """

    opcode: Opcode
    data: Any
    wire: bytes | None = None
    broadcast: Broadcast | None = None
    deflated: dict[int, bytes] | None = None
    log: object = None
    offset: int = 0

    def __repr__(self) -> str:
        return f"<Frame {self.opcode.name} {self.data!r}>"


class Serializer(Protocol):
    """Encodes and decodes messages, for one version of the protocol.

    What they raise for a payload that cannot be encoded, such as a TypeError, is raised in the turn of the reply, push or
    broadcast, as an UnencodableError that names the event, the topic and the part of the payload.
    """

    def decode(self, data: str | bytes) -> Message:
        """Decode one message, text from str and binary from bytes; raise MalformedMessageError unless it is valid."""

    def encode_reply(self, join_ref: object, ref: object, topic: Any, reply: Reply) -> Frame:
        """Encode the reply to the message `ref`."""

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Payload) -> Frame:
        """Encode a message to one client."""

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Encode a message to all clients of a topic; None if this version has no form for it, so its clients do not get it."""


class AnswerKeeper(Protocol):
    """What keeps the first answer to a push that has a key, for its copies: a `Claim`."""

    def settle_from_any_thread(self, answer: Reply, ref: SocketRef) -> None:
        """Keep the first answer."""


class SocketRef(msgspec.Struct, frozen=True, eq=False):
    """Where to send the reply to one message, later and from anywhere (Phoenix's `socket_ref`).

    `claim` keeps the reply to a push that has an idempotency key.
    """

    transport: ActorRef
    serializer: Serializer
    topic: str
    ref: object
    join_ref: object
    claim: AnswerKeeper | None = None


class TokenAccepted(msgspec.Struct, frozen=True, eq=False):
    """Sent to a channel when its socket has accepted another token of the client, with the assigns that this has changed."""

    assigns: dict[str, Any]


class TransportEnded(msgspec.Struct, frozen=True, eq=False):
    """Sent to a channel when its transport ends, behind what the client has sent before (Phoenix's channels get a `DOWN`)."""

    reason: ExitReason

    @property
    def exit_reason(self) -> ExitReason:
        """The reason with which the channel ends."""
        if self.reason == SHUTDOWN:
            return Shutdown("draining")
        return Shutdown("closed") if self.reason == NORMAL else self.reason


class SocketClose(msgspec.Struct, frozen=True, eq=False):
    """Sent by a channel to its transport: it stops on purpose, so the client gets phx_close and not phx_error."""

    channel: ActorRef[Any]
    reason: ExitReason
