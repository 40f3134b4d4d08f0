"""The wire format of messages, for each version of the protocol.

| | in | out |
|---|---|---|
| 1.0.0 | `{"topic", "event", "payload", "ref"}`, perhaps `"join_ref"` | the same four keys |
| 2.0.0, text | `[join_ref, ref, topic, event, payload]` | the same |
| 2.0.0, binary | a push | a push, a reply or a broadcast, see below |

A payload that is `bytes` is sent in a binary frame: one byte for its kind, one for the size of each field, the fields in UTF-8,
and then the payload as it is.

    push of the client   0 | join_ref | ref | topic | event
    push                 0 | join_ref | topic | event
    reply                1 | join_ref | ref | topic | status
    broadcast            2 | topic | event
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from actors.channels.encoding import encode, encode_finite, too_deep
from actors.channels.message import Broadcast, Frame, Message, Opcode, Payload, Reply, Serializer
from actors.log import Log
from actors.redaction import safe_repr
from actors.validation import check_count
from transport.exceptions import MalformedMessageError, UnencodableError
from transport.protocol.nesting import MAX_NESTING, is_nested_deeper

__all__ = ["SERIALIZERS", "V1JSONSerializer", "V2JSONSerializer"]

_log = Log("ashtree.transport")

# What every thread's stack is capable of, at less than 420 bytes for a level (measured with msgspec 0.23 on x86-64), and what
# Python 3.11 allows.
_MOST_NESTING = 800

# Looking up a member of an enum takes longer than making a frame.
_TEXT, _BINARY = Opcode.TEXT, Opcode.BINARY


# JSON

# What a decoder raises for data that is malformed.
_MALFORMED = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _JSONSerializer:
    """What the versions have in common.

    `takes_json` says that `encode_broadcast` takes a payload that is JSON text already, as a `msgspec.Raw`. A class that
    inherits from another one has to say so itself, as it may read the payload.
    """

    takes_json: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read what is broadcast elsewhere before `encode_broadcast` gets it, unless the class itself says otherwise."""
        super().__init_subclass__(**kwargs)
        cls.takes_json = vars(cls).get("takes_json", False)

    def __init__(self, *, max_nesting: int = MAX_NESTING, allow_nan: bool = True) -> None:
        check_count("max_nesting", max_nesting, least=1)
        if max_nesting > _MOST_NESTING:
            raise ValueError(f"max_nesting must be at most {_MOST_NESTING}, got {safe_repr(max_nesting)}")
        self._max_nesting = max_nesting
        self._encode = encode if allow_nan else encode_finite
        if not allow_nan:
            # In text that was made elsewhere NaN is null already.
            self.takes_json = False  # type: ignore[misc]  # of this instance

    def _text(self, value: object) -> Frame:
        """Encode a value as JSON in a text frame.

        Raises:
            UnencodableError: if it is nested too deep.
        """
        try:
            return Frame(_TEXT, self._encode(value))
        except RecursionError as error:
            raise too_deep(error) from None

    def _object(self, payload: object) -> msgspec.Raw:
        """Encode a payload that is not a dict as a JSON object; a Raw one is that of our client, and may be anything.

        Raises:
            UnencodableError: if it is something else in JSON.
        """
        if isinstance(payload, msgspec.Raw):
            return payload
        data = self._encode(payload)
        if not data.startswith(b"{"):
            text = f"a payload must be a dict, a msgspec.Struct or bytes, got {safe_repr(payload)}"
            raise UnencodableError(f'{text}; write {{"value": …}}', "$")
        return msgspec.Raw(data)

    def _check_nesting(self, data: str | bytes) -> None:
        if is_nested_deeper(data, self._max_nesting):
            raise MalformedMessageError(
                f"a message may have {self._max_nesting} levels of arrays and objects, got more"
            )


# Version 1


class _V1Message(msgspec.Struct):
    topic: Any
    event: Any
    payload: Any
    ref: Any
    join_ref: Any = None


_decode_v1 = msgspec.json.Decoder(_V1Message).decode


class V1JSONSerializer(_JSONSerializer):
    """Version 1.0.0: a JSON object, without a join_ref from the server. It does not support binary payloads.

    `max_nesting`: the levels of arrays and objects that a received message may have, its own included. `allow_nan`: whether NaN
    and the infinities, which JSON does not have, are sent as null, as JavaScript does; else they are an error.

    Raises:
        ValueError: unless `max_nesting` is from 1 to 800.
    """

    takes_json: ClassVar[bool] = True

    def decode(self, data: str | bytes) -> Message:
        """Decode one message; from a binary frame too, as in Phoenix."""
        if len(data) > self._max_nesting:
            self._check_nesting(data)
        try:
            message = _decode_v1(data)
        except _MALFORMED as error:
            raise MalformedMessageError(str(error)) from error
        return Message(message.join_ref, message.ref, message.topic, message.event, message.payload)

    def encode_reply(self, join_ref: object, ref: object, topic: object, reply: Reply) -> Frame:
        """Encode the event phx_reply.

        Raises:
            UnencodableError: if the payload is binary.
        """
        if isinstance(reply.payload, bytes):
            raise UnencodableError(f"a client of version 1.0.0 cannot receive a binary reply, got {safe_repr(reply)}")
        return self._text({"topic": topic, "event": "phx_reply", "payload": reply, "ref": ref})

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Payload) -> Frame:
        """Encode an event for one client.

        Raises:
            UnencodableError: if the payload is binary.
        """
        if isinstance(payload, bytes):
            raise UnencodableError(
                f"a client of version 1.0.0 cannot receive a binary push, got {safe_repr(event)} on {topic!r}"
            )
        return self._text({"topic": topic, "event": event, "payload": payload, "ref": ref})

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        """Encode an event for all clients; None if its payload is binary."""
        topic, event, payload = broadcast.topic, broadcast.event, broadcast.payload
        if isinstance(payload, bytes):
            # Not an error of the sender, which does not know which clients have joined.
            _log.warning("clients of version 1.0.0 do not receive the binary broadcast %r on %r", event, topic)
            return None
        return self._text({"topic": topic, "event": event, "payload": payload, "ref": None})


# Version 2

_decode_v2 = msgspec.json.Decoder(Message).decode

_PUSH, _REPLY, _BROADCAST = range(3)
# The size of the header of a client's push: its kind and four sizes.
_HEAD = 5
_MAX_FIELD = 255


class V2JSONSerializer(_JSONSerializer):
    """Version 2.0.0: a JSON array in a text frame, or a binary frame for a binary payload.

    `max_nesting`: the levels of arrays and objects that a received message may have, its own included. `allow_nan`: whether NaN
    and the infinities, which JSON does not have, are sent as null, as JavaScript does; else they are an error.

    Raises:
        ValueError: unless `max_nesting` is from 1 to 800.
    """

    takes_json: ClassVar[bool] = True

    def decode(self, data: str | bytes) -> Message:
        """Decode one message; elements of the array after the fifth are ignored, as in Phoenix."""
        if not isinstance(data, str):
            return _decode_push(data)
        if len(data) > self._max_nesting:
            self._check_nesting(data)
        try:
            return _decode_v2(data)
        except _MALFORMED as error:
            raise MalformedMessageError(str(error)) from error

    def encode_reply(self, join_ref: object, ref: object, topic: object, reply: Reply) -> Frame:
        """Encode the event phx_reply."""
        payload = reply.payload
        if isinstance(payload, bytes):
            fields = {"join_ref": join_ref, "ref": ref, "topic": topic, "status": reply.status}
            return _binary(_REPLY, fields, payload)
        return self._text((join_ref, ref, topic, "phx_reply", reply))

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Payload) -> Frame:
        """Encode an event for one client; a binary one has no field for the ref.

        Raises:
            UnencodableError: if the payload is neither an object nor binary; version 1 sends any.
        """
        if type(payload) is not dict:
            if isinstance(payload, bytes):
                return _binary(_PUSH, {"join_ref": join_ref, "topic": topic, "event": event}, payload)
            payload = self._object(payload)
        return self._text((join_ref, ref, topic, event, payload))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        """Encode an event for all clients: without refs, so that the frame is the same for each.

        Raises:
            UnencodableError: if the payload is neither an object nor binary; version 1 sends any.
        """
        topic, event, payload = broadcast.topic, broadcast.event, broadcast.payload
        if type(payload) is not dict:
            if isinstance(payload, bytes):
                return _binary(_BROADCAST, {"topic": topic, "event": event}, payload)
            payload = self._object(payload)
        return self._text((None, None, topic, event, payload))


def _decode_push(data: bytes) -> Message:
    """Decode a push, the only binary message of a client; an empty ref is "" and not null, as in Phoenix."""
    if len(data) < _HEAD or data[0] != _PUSH:
        raise MalformedMessageError(f"a binary message must be a push, got {safe_repr(data[:_HEAD])}…")
    ref = _HEAD + data[1]
    topic = ref + data[2]
    event = topic + data[3]
    payload = event + data[4]
    if len(data) < payload:
        raise MalformedMessageError(f"a binary push that announces {payload} bytes has {len(data)}")
    try:
        return Message(
            data[_HEAD:ref].decode(),
            data[ref:topic].decode(),
            data[topic:event].decode(),
            data[event:payload].decode(),
            data[payload:],
        )
    except UnicodeError as error:
        raise MalformedMessageError(str(error)) from error


def _binary(kind: int, fields: Mapping[str, object], data: bytes) -> Frame:
    """Encode a binary frame.

    Raises:
        UnencodableError: naming the field that is too long.
    """
    written = [_field(name, value) for name, value in fields.items()]
    return Frame(_BINARY, b"".join((bytes((kind, *map(len, written))), *written, data)))


def _field(name: str, value: object) -> bytes:
    """Encode a field; a ref may be null, which is empty here, or any JSON value that the client chose."""
    if value is None:
        return b""
    field = value.encode() if isinstance(value, str) else encode(value)
    if len(field) > _MAX_FIELD:
        raise UnencodableError(
            f"{name} must have at most {_MAX_FIELD} bytes in a binary frame, got {len(field)}: {value!r}"
        )
    return field


SERIALIZERS: Mapping[str, Serializer] = {"1.0.0": V1JSONSerializer(), "2.0.0": V2JSONSerializer()}
"""Phoenix's serializers, by the version of the protocol."""
