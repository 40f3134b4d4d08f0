"""The client's half of the serializers, compared with literals and with the server's half."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.channels.message import Broadcast, Message, Reply, ok
from transport.client.client_serializer import CLIENT_SERIALIZERS, written_payload
from transport.exceptions import MalformedMessageError, UnencodableError
from transport.protocol.serializer import SERIALIZERS, V2JSONSerializer

v1, v2 = CLIENT_SERIALIZERS["1.0.0"], CLIENT_SERIALIZERS["2.0.0"]

fields = st.text(max_size=60)
refs = st.none() | fields.filter(bool)
objects = st.dictionaries(fields, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | fields)


def parts(message: Message) -> tuple[Any, ...]:
    return message.join_ref, message.ref, message.topic, message.event, message.payload


def on_the_wire(frame: Any) -> str | bytes:
    """Return the data that a client's WebSocket reads from a frame of the server."""
    return frame.data.decode() if frame.opcode == 1 else bytes(frame.data)


def test_version_2_is_an_array() -> None:
    written = v2.encode(Message("1", "2", "room:1", "new_msg", msgspec.Raw(b'{"body":"h\xc3\xa9"}')))
    assert written == '["1","2","room:1","new_msg",{"body":"hé"}]'


def test_version_1_is_an_object() -> None:
    written = v1.encode(Message("1", "2", "room:1", "new_msg", {"n": 1}))
    assert json.loads(written) == {"topic": "room:1", "event": "new_msg", "payload": {"n": 1}, "ref": "2"}


def test_a_binary_push_is_its_sizes_its_fields_and_its_data() -> None:
    written = v2.encode(Message("10", "1", "top", "e", b"\x00\xff"))
    assert written == b"\x00\x02\x01\x03\x01101tope\x00\xff"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ('["1","2","t","e",{"n":1}]', ("1", "2", "t", "e", {"n": 1})),
        ('[null,null,"t","e",{}]', (None, None, "t", "e", {})),
        (b"\x00\x02\x03\x0110tope\x00\xff", ("10", None, "top", "e", b"\x00\xff")),
        (b"\x00\x00\x03\x01tope", (None, None, "top", "e", b"")),
        (
            b"\x01\x02\x01\x03\x02107topok\xff",
            ("10", "7", "top", "phx_reply", {"status": "ok", "response": b"\xff"}),
        ),
        (b"\x02\x03\x01tope\xff", (None, None, "top", "e", b"\xff")),
    ],
    ids=["text", "text without refs", "push", "push without a join_ref", "reply", "broadcast"],
)
def test_what_a_server_writes_is_read(data: str | bytes, expected: tuple[Any, ...]) -> None:
    assert parts(v2.decode(data)) == expected


@pytest.mark.parametrize(
    "data",
    ["", "{}", "[1]", "nonsense", b"", b"\x03", b"\x00\x01", b"\x01\x09\x00\x00\x00x", b"\x02\x01\x01\xff\xff"],
    ids=repr,
)
def test_what_is_no_message_is_malformed(data: str | bytes) -> None:
    with pytest.raises(MalformedMessageError):
        v2.decode(data)


@given(refs, refs, fields, fields, objects | st.binary(max_size=60))
def test_the_server_reads_what_the_client_writes(
    join_ref: str | None, ref: str | None, topic: str, event: str, payload: Any
) -> None:
    written = v2.encode(Message(join_ref, ref, topic, event, written_payload(payload)))
    read = parts(V2JSONSerializer().decode(written))
    # In a binary frame an empty ref means None.
    empty = "" if isinstance(payload, bytes) else None
    expected = (empty if join_ref is None else join_ref, empty if ref is None else ref, topic, event, payload)
    assert read == expected


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@given(join_ref=refs, ref=refs, topic=fields, event=fields, payload=objects | st.binary(max_size=60))
def test_the_client_reads_what_the_server_writes(
    *, vsn: str, join_ref: str | None, ref: str | None, topic: str, event: str, payload: Any
) -> None:
    binary = isinstance(payload, bytes)
    if vsn == "1.0.0" and binary:
        return
    server, client = SERIALIZERS[vsn], CLIENT_SERIALIZERS[vsn]
    known = join_ref if vsn == "2.0.0" else None
    reply = client.decode(on_the_wire(server.encode_reply(join_ref, ref, topic, Reply("ok", payload))))
    answer = {"status": "ok", "response": payload}
    assert parts(reply) == (known, "" if binary and ref is None else ref, topic, "phx_reply", answer)
    push = client.decode(on_the_wire(server.encode_push(join_ref, None, topic, event, payload)))
    assert parts(push) == (known, None, topic, event, payload)
    broadcast = client.decode(on_the_wire(server.encode_broadcast(Broadcast(topic, event, payload))))
    assert parts(broadcast) == (None, None, topic, event, payload)


def test_a_field_of_a_binary_push_has_255_bytes_at_most() -> None:
    longest = v2.encode(Message("1", "2", "t" * 255, "e", b""))
    assert parts(V2JSONSerializer().decode(longest))[2] == "t" * 255
    with pytest.raises(UnencodableError, match="topic must have at most 255 bytes in a binary frame, got 256"):
        v2.encode(Message("1", "2", "t" * 256, "e", b""))


def test_version_1_has_no_binary_payloads() -> None:
    with pytest.raises(UnencodableError, match="'e' on 't'"):
        v1.encode(Message("1", "2", "t", "e", b"x"))


def test_a_payload_is_written_when_it_is_pushed() -> None:
    payload = {"n": 1}
    written = written_payload(payload)
    payload["n"] = 2
    assert v2.encode(Message(None, "1", "t", "e", written)) == '[null,"1","t","e",{"n":1}]'
    assert [written_payload(data) for data in (b"x", bytearray(b"x"), memoryview(b"x"))] == [b"x"] * 3


def test_a_payload_that_json_has_no_form_for_is_refused() -> None:
    with pytest.raises(TypeError):
        written_payload({"x": object()})


def test_a_payload_that_is_nested_too_deep_is_an_error_of_its_author() -> None:
    payload: Any = {}
    payload["itself"] = payload
    with pytest.raises(UnencodableError, match="a payload is nested too deep to be encoded as JSON"):
        written_payload(payload)


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
def test_what_a_server_takes_it_may_send_back_with_levels_of_its_own(vsn: str) -> None:
    def reply(levels: int) -> str:
        deep = ok(msgspec.Raw(b"[" * levels + b"]" * levels))
        text: str = SERIALIZERS[vsn].encode_reply(None, "1", "t", deep).data.decode()
        return text

    serializer = CLIENT_SERIALIZERS[vsn]
    assert serializer.decode(reply(255)).event == "phx_reply"
    with pytest.raises(MalformedMessageError, match="may have 512 levels"):
        serializer.decode(reply(600))
