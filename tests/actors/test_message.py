"""The values that travel."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.channels.message import Broadcast, Frame, Message, Opcode, Reply, error, ok


@pytest.mark.parametrize(
    ("reply", "status", "payload"),
    [
        (ok(), "ok", {}),
        (ok({"a": 1}), "ok", {"a": 1}),
        (ok(b"raw"), "ok", b"raw"),
        (ok(None), "ok", None),
        (error(), "error", {}),
        (error({"reason": "unauthorized"}), "error", {"reason": "unauthorized"}),
    ],
    ids=repr,
)
def test_ok_and_error_are_replies(reply: Reply, status: str, payload: Any) -> None:
    assert reply == Reply(status, payload)


def test_a_message_is_an_array_of_five_on_the_wire() -> None:
    message = Message("1", "2", "room:lobby", "shout", {"text": "hi"})
    assert msgspec.json.encode(message) == b'["1","2","room:lobby","shout",{"text":"hi"}]'
    decoded = msgspec.json.decode(b'[null,"2","phoenix","heartbeat",{}]', type=Message)
    assert (decoded.join_ref, decoded.ref, decoded.topic, decoded.event, decoded.payload) == (
        None,
        "2",
        "phoenix",
        "heartbeat",
        {},
    )


def test_opcodes_are_those_of_rfc_6455() -> None:
    assert [(opcode.name, opcode.value) for opcode in Opcode] == [("TEXT", 1), ("BINARY", 2)]


def test_a_frame_begins_without_wire_bytes_and_shows_its_data() -> None:
    frame = Frame(Opcode.TEXT, b"[]")
    assert frame.wire is None
    assert repr(frame) == "<Frame TEXT b'[]'>"


@pytest.mark.parametrize("value", [ok(), Broadcast("a:b", "shout", {}), Message(None, None, "a", "b", {})], ids=repr)
def test_values_cannot_be_changed(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], "x")
