"""How messages look on the wire, for each version of the protocol."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from actors.message import Broadcast, Frame, Message, Opcode, Payload, Reply, Serializer
from transport.exceptions import MalformedMessageError

__all__ = ["SERIALIZERS", "V2JSONSerializer", "negotiate"]

_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(Message).decode


class V2JSONSerializer:
    """Version 2.0.0: a JSON array `[join_ref, ref, topic, event, payload]` in a text frame."""

    def decode(self, data: str | bytes) -> Message:
        """Read one message; elements after the fifth are ignored, as Phoenix does."""
        if isinstance(data, bytes):
            raise MalformedMessageError("binary messages are not supported")
        try:
            return _decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise MalformedMessageError(str(error)) from error

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        """Write the event phx_reply."""
        response = {"status": reply.status, "response": reply.payload}
        return Frame(Opcode.TEXT, _encode((join_ref, ref, topic, "phx_reply", response)))

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Payload) -> Frame:
        """Write an event for one client."""
        return Frame(Opcode.TEXT, _encode((join_ref, ref, topic, event, payload)))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        """Write an event for all clients: without refs, so that it is the same for each."""
        return Frame(Opcode.TEXT, _encode((None, None, broadcast.topic, broadcast.event, broadcast.payload)))


SERIALIZERS: dict[str, Serializer] = {"2.0": V2JSONSerializer()}
"""The serializer for each major and minor version (`~> 2.0.0` in Phoenix's words)."""

# A version is three numbers, with a pre-release or build tag perhaps (semver.org); `~> 2.0.0` is any 2.0.x.
_VERSION = re.compile(r"(\d+\.\d+)\.\d+(?:\+[0-9A-Za-z.-]+)?")


def negotiate(vsn: str) -> Serializer | None:
    """Return the serializer for a client's `vsn`, or None if there is none for it."""
    match = _VERSION.fullmatch(vsn)
    return SERIALIZERS.get(match[1]) if match else None
