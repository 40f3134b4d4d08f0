"""The client's half of the serializers: encode pushes, decode the server's messages.

In a binary frame the server's messages have different fields from the client's (see `transport.protocol.serializer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from actors.channels.encoding import as_json
from actors.channels.message import Message
from transport.exceptions import MalformedMessageError, UnencodableError
from transport.protocol.nesting import MAX_NESTING
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLIENT_SERIALIZERS",
    "ClientSerializer",
    "V1ClientSerializer",
    "V2ClientSerializer",
    "check_utf8",
    "written_payload",
]

_PUSH = 0
_MAX_FIELD = 255

# A reply wraps what a client has sent; a server may add levels of its own.
_LEVELS = 2 * MAX_NESTING
_v1, _v2 = V1JSONSerializer(max_nesting=_LEVELS), V2JSONSerializer(max_nesting=_LEVELS)


def written_payload(payload: object, what: str = "payload") -> msgspec.Raw | bytes:
    """Return a payload encoded as JSON, or the bytes of a binary one: later changes to it are not sent.

    Raises:
        UnencodableError: if it cannot be encoded as JSON, with the part at fault; `what` names the payload.
    """
    if isinstance(payload, bytes | bytearray | memoryview):
        return bytes(payload)
    return msgspec.Raw(as_json(what, payload))


def check_utf8(what: str, text: str) -> None:
    """Check that a text can be sent.

    Raises:
        UnencodableError: if it has a lone surrogate; without the text, which may be secret.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnencodableError(
            f"{what} has a lone surrogate at position {error.start}, which UTF-8 does not have"
        ) from None


class ClientSerializer(Protocol):
    """Encodes and decodes a client's messages for one version of the protocol; text is str, binary is bytes."""

    def encode(self, message: Message) -> str | bytes:
        """Encode a message to the server; raise UnencodableError if this version cannot."""

    def decode(self, data: str | bytes) -> Message:
        """Decode a message from the server; raise MalformedMessageError if it is malformed."""


class V1ClientSerializer:
    """Version 1.0.0: JSON objects, without binary payloads."""

    def encode(self, message: Message) -> str:
        """Encode a push."""
        if isinstance(message.payload, bytes):
            raise UnencodableError(
                f"version 1.0.0 has no binary payloads, got one for {message.event!r} on {message.topic!r}"
            )
        frame = _v1.encode_push(message.join_ref, message.ref, message.topic, message.event, message.payload)
        return _text(frame.data)

    def decode(self, data: str | bytes) -> Message:
        """Decode a push, a reply or a broadcast; their join_ref is None."""
        return _v1.decode(data)


class V2ClientSerializer:
    """Version 2.0.0: a JSON array in a text frame, or a binary frame for a binary payload."""

    def encode(self, message: Message) -> str | bytes:
        """Encode a push; in a binary frame no field may have more than 255 bytes."""
        if isinstance(message.payload, bytes):
            return _encode_binary(message)
        frame = _v2.encode_push(message.join_ref, message.ref, message.topic, message.event, message.payload)
        return _text(frame.data)

    def decode(self, data: str | bytes) -> Message:
        """Decode a push, a reply or a broadcast."""
        return _v2.decode(data) if isinstance(data, str) else _decode_binary(data)


CLIENT_SERIALIZERS: Mapping[str, ClientSerializer] = {"1.0.0": V1ClientSerializer(), "2.0.0": V2ClientSerializer()}
"""The serializer of each version of the protocol."""


def _text(data: bytes) -> str:
    return data.decode()


def _encode_binary(message: Message) -> bytes:
    fields = {"join_ref": message.join_ref, "ref": message.ref, "topic": message.topic, "event": message.event}
    written = [(value or "").encode() for value in fields.values()]
    for name, field in zip(fields, written, strict=True):
        if len(field) > _MAX_FIELD:
            raise UnencodableError(f"{name} must have at most {_MAX_FIELD} bytes in a binary frame, got {len(field)}")
    return b"".join((bytes((_PUSH, *map(len, written))), *written, message.payload))


def _decode_binary(data: bytes) -> Message:
    """Decode a binary message from the server; an empty join_ref becomes None."""
    match data[:1]:
        case b"\x00":
            (join_ref, topic, event), payload = _fields(data, 3)
            return Message(join_ref or None, None, topic, event, payload)
        case b"\x01":
            (join_ref, ref, topic, status), payload = _fields(data, 4)
            return Message(join_ref or None, ref, topic, "phx_reply", {"status": status, "response": payload})
        case b"\x02":
            (topic, event), payload = _fields(data, 2)
            return Message(None, None, topic, event, payload)
        case kind:
            raise MalformedMessageError(f"a binary message begins with 0, 1 or 2, got {kind!r}")


def _fields(data: bytes, count: int) -> tuple[list[str], bytes]:
    """Return the fields after their sizes, and the remaining payload."""
    sizes, at = data[1 : 1 + count], 1 + count
    if len(sizes) < count or len(data) < at + sum(sizes):
        raise MalformedMessageError(
            f"a binary message that announces {sum(sizes)} bytes of fields has {len(data)} in all"
        )
    fields = []
    for size in sizes:
        fields.append(data[at : at + size])
        at += size
    try:
        return [field.decode() for field in fields], data[at:]
    except UnicodeError as error:
        raise MalformedMessageError(str(error)) from error
