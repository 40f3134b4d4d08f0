"""Serializers of the test kit: one that keeps messages as they are, and one that checks that they can be encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from actors.channels.encoding import ENCODING_ERRORS, encode
from actors.channels.message import Broadcast, Frame, Message, Opcode, Payload, Reply, Serializer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NoopSerializer", "ProvingSerializer"]


class NoopSerializer:
    """Keeps messages as they are."""

    def decode(self, data: Any) -> Message:
        """Return the message."""
        message: Message = data
        return message

    def encode_reply(self, join_ref: object, ref: object, topic: object, reply: Reply) -> Frame:
        """Wrap a reply."""
        return _frame(Message(join_ref, ref, topic, "phx_reply", reply))

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Payload) -> Frame:
        """Wrap a push."""
        return _frame(Message(join_ref, ref, topic, event, payload))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Wrap a broadcast."""
        return _frame(Message(None, None, broadcast.topic, broadcast.event, broadcast.payload))


class ProvingSerializer(NoopSerializer):
    """Encodes all outgoing messages with a real serializer, and shows the test what `shown` makes of their payloads.

    By default that is what they look like after JSON. A payload that cannot be encoded fails as in production: the channel that
    pushes it crashes.
    """

    def __init__(self, real: Serializer, shown: Callable[[Payload], Payload] | None = None) -> None:
        self._real, self._shown = real, shown or _as_json

    def encode_reply(self, join_ref: object, ref: object, topic: object, reply: Reply) -> Frame:
        """Encode a reply, and wrap it."""
        self._real.encode_reply(join_ref, ref, topic, reply)
        return super().encode_reply(join_ref, ref, topic, Reply(reply.status, self._shown(reply.payload)))

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Payload) -> Frame:
        """Encode a push, and wrap it."""
        self._real.encode_push(join_ref, ref, topic, event, payload)
        return super().encode_push(join_ref, ref, topic, event, self._shown(payload))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Encode a broadcast, and wrap it; None if the real serializer cannot encode it."""
        if self._real.encode_broadcast(broadcast) is None:
            return None
        payload = self._shown(broadcast.payload)
        return super().encode_broadcast(Broadcast(broadcast.topic, broadcast.event, payload))


def _frame(message: Message) -> Frame:
    return Frame(Opcode.TEXT, message)


def _as_json(payload: Payload) -> Payload:
    if isinstance(payload, bytes):
        return payload
    try:
        return msgspec.json.decode(encode(payload))
    except ENCODING_ERRORS:
        # The real serializer can encode what JSON cannot.
        return payload
