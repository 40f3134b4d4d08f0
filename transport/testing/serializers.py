"""Serializers of the test kit: one that keeps messages as they are, and one that proves that they could be sent."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.channels.message import Broadcast, Frame, Message, Opcode, Payload, Reply, Serializer

__all__ = ["NoopSerializer", "ProvingSerializer"]


class NoopSerializer:
    """Keeps messages as they are."""

    def decode(self, data: Any) -> Message:
        """Return the message."""
        message: Message = data
        return message

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        """Wrap an answer."""
        return _frame(join_ref, ref, topic, "phx_reply", reply)

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Payload) -> Frame:
        """Wrap an event."""
        return _frame(join_ref, ref, topic, event, payload)

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Wrap an event for all."""
        return _frame(None, None, broadcast.topic, broadcast.event, broadcast.payload)


class ProvingSerializer(NoopSerializer):
    """Has a real serializer write all that goes out, and shows it as JSON would bring it to the client.

    What cannot be written fails its author, as in production: the channel that pushes it crashes.
    """

    def __init__(self, real: Serializer) -> None:
        self._real = real

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        """Write an answer, and wrap it."""
        self._real.encode_reply(join_ref, ref, topic, reply)
        return super().encode_reply(join_ref, ref, topic, Reply(reply.status, _as_json(reply.payload)))

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Payload) -> Frame:
        """Write an event, and wrap it."""
        self._real.encode_push(join_ref, ref, topic, event, payload)
        return super().encode_push(join_ref, ref, topic, event, _as_json(payload))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Write an event for all, and wrap it; None if the real serializer has no form for it."""
        if self._real.encode_broadcast(broadcast) is None:
            return None
        payload = _as_json(broadcast.payload)
        return super().encode_broadcast(Broadcast(broadcast.topic, broadcast.event, payload))


def _frame(*fields: Any) -> Frame:
    return Frame(Opcode.TEXT, Message(*fields))


def _as_json(payload: Any) -> Any:
    if isinstance(payload, bytes):
        return payload
    try:
        return msgspec.json.decode(msgspec.json.encode(payload))
    except TypeError:
        # The real serializer can write what JSON has no form for.
        return payload
