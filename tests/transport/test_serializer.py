"""Versions 2.0.0 and 1.0.0 on the wire, byte by byte (Phoenix.Socket.V2.JSONSerializer and V1.JSONSerializer)."""

from __future__ import annotations

import dataclasses
import json
import re
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import error, ok
from actors.channels.message import Broadcast, Message, Opcode, Reply
from transport.exceptions import MalformedMessageError, UnencodableError
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer

V1 = V1JSONSerializer()
V2 = V2JSONSerializer()


class Point(msgspec.Struct):
    x: int
    y: int


class Struct(msgspec.Struct):
    x: int


class Row(msgspec.Struct, array_like=True):
    x: int


@dataclasses.dataclass
class Record:
    x: int


# Version 2, text, out


def test_a_reply_has_the_refs_and_a_status() -> None:
    frame = V2.encode_reply("1", "2", "room:1", ok({"a": [1, None]}))
    assert frame.opcode is Opcode.TEXT
    assert frame.data == (
        b'["1"'  # join_ref
        b',"2"'  # ref
        b',"room:1"'  # topic
        b',"phx_reply"'  # event
        b',{"status":"ok","response":{"a":[1,null]}}]'  # payload
    )


@pytest.mark.parametrize(
    ("join_ref", "ref", "text"),
    [
        (None, None, b"[null,null,"),
        (1, 2.5, b"[1,2.5,"),
        ("", "", b'["","",'),
        (True, [{"a": 1}], b'[true,[{"a":1}],'),
        (2**70, -(2**70), b"[1180591620717411303424,-1180591620717411303424,"),
    ],
    ids=repr,
)
def test_a_reply_mirrors_refs_of_any_type(join_ref: Any, ref: Any, text: bytes) -> None:
    data = V2.encode_reply(join_ref, ref, "t", error())
    assert data.data == text + b'"t","phx_reply",{"status":"error","response":{}}]'


@pytest.mark.parametrize(
    ("payload", "text"),
    [(5, b"5"), ("x", b'"x"'), (None, b"null"), ([], b"[]"), (Point(1, 2), b'{"x":1,"y":2}'), ("ü", '"ü"'.encode())],
    ids=repr,
)
def test_a_reply_may_be_any_json_value(payload: Any, text: bytes) -> None:
    assert V2.encode_reply("1", "2", "t", ok(payload)).data == (
        b'["1","2","t","phx_reply",{"status":"ok","response":' + text + b"}]"
    )


def test_a_push_has_no_ref() -> None:
    frame = V2.encode_push("1", None, "room:1", "new_msg", {"body": "hi"})
    assert frame.opcode is Opcode.TEXT
    assert frame.data == b'["1",null,"room:1","new_msg",{"body":"hi"}]'


@pytest.mark.parametrize(("event", "payload"), [("phx_close", {}), ("phx_error", {"reason": "channel_crash"})])
def test_the_end_of_a_channel_has_its_join_ref_twice(event: str, payload: dict[str, str]) -> None:
    assert V2.encode_push("7", "7", "t", event, payload).data.startswith(f'["7","7","t","{event}",{{'.encode())


def test_a_broadcast_has_no_refs_at_all() -> None:
    frame = V2.encode_broadcast(Broadcast("room:1", "shout", {"n": 1.5}))
    assert frame.opcode is Opcode.TEXT
    assert frame.data == b'[null,null,"room:1","shout",{"n":1.5}]'


# Version 2, text, in


def fields(message: Message) -> list[Any]:
    return [message.join_ref, message.ref, message.topic, message.event, message.payload]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["1","2","room:1","ping",{"a":1}]', ["1", "2", "room:1", "ping", {"a": 1}]),
        ('[null,"2","phoenix","heartbeat",{}]', [None, "2", "phoenix", "heartbeat", {}]),
        (' [ 1 , 2.0 , "t" , "e" , [ ] ] \n', [1, 2.0, "t", "e", []]),
        ('["1","2","t","e",{},"more",[7]]', ["1", "2", "t", "e", {}]),
        ('[{"a":1},[true],null,5,"x"]', [{"a": 1}, [True], None, 5, "x"]),
        (r'["1","2","\u00fc","\ud83d\ude00",null]', ["1", "2", "ü", "😀", None]),
        ('["1",18446744073709551616,"t","e",{}]', ["1", 2**64, "t", "e", {}]),
        ('["1","2","t","e",{"a":1,"a":2}]', ["1", "2", "t", "e", {"a": 2}]),
    ],
)
def test_a_message_is_an_array_of_five(text: str, expected: list[Any]) -> None:
    got = fields(V2.decode(text))
    assert got == expected
    assert [type(value) for value in got] == [type(value) for value in expected]


@pytest.mark.parametrize(
    "data",
    [
        "",
        " ",
        "not json",
        "{}",
        '{"topic":"t","event":"e","payload":{},"ref":"1"}',
        "[]",
        '["1","2","t","e"]',
        "null",
        "5",
        '"text"',
        '["1","2","t","e",{}',
        '["1","2","t","e",{}]]',
        '["1","2","t","e",{}] x',
        '["1","2","t","e",{}]\0',
        '["1","2","t","e",{},]',
        "['1','2','t','e',{}]",
        '["1","2","t","e",NaN]',
        '["1","2","t","e",Infinity]',
        '["1","2","t","e",1e400]',
        '["1","2","t","e",01]',
        '["1","2","t","e",' + "9" * 5000 + "]",
        '\ufeff["1","2","t","e",{}]',
        r'["1","2","t","e","\ud800"]',
        '["1","2","t","e","\ud800"]',
        '["1","2","t","e","\n"]',
        '["1","2","t","e",' + "[" * 100_000,
        '["1","2","t","e",' + "[" * 100_000 + "]" * 100_000 + "]",
    ],
    ids=lambda data: ascii(data[:40]),
)
def test_what_is_no_such_array_is_malformed(data: str) -> None:
    with pytest.raises(MalformedMessageError):
        V2.decode(data)


def test_numbers_keep_their_kind_and_sign() -> None:
    payload = V2.decode('["1","2","t","e",[1,1.0,-0.0,1e3,12345678901234567890123]]').payload
    assert json.dumps(payload) == "[1, 1.0, -0.0, 1000.0, 12345678901234567890123]"
    assert V2.encode_push("1", None, "t", "e", {"n": payload}).data.endswith(
        b'{"n":[1,1.0,-0.0,1000.0,12345678901234567890123]}]'
    )


DEEP = [("[", "]"), ('{"a":', "}")]


@pytest.mark.parametrize(("opening", "closing"), DEEP, ids=["arrays", "objects"])
def test_what_is_nested_256_levels_deep_is_read_and_written_and_no_more(opening: str, closing: str) -> None:
    def deep(levels: int) -> str:
        return opening * levels + "1" + closing * levels

    payload = V2.decode(f'["1","2","t","e",{deep(255)}]').payload
    assert V2.encode_reply("1", "2", "t", ok(payload)).data == (
        b'["1","2","t","phx_reply",{"status":"ok","response":' + deep(255).encode() + b"}]"
    )
    old = '{"topic":"t","event":"e","ref":"1","payload":%s}'
    assert V1.decode(old % deep(255)).payload == V1.decode((old % deep(255)).encode()).payload == payload
    for serializer, text in ((V2, f'["1","2","t","e",{deep(256)}]'), (V1, old % deep(256))):
        with pytest.raises(
            MalformedMessageError, match="a message may have 256 levels of arrays and objects, got more"
        ):
            serializer.decode(text)


def test_another_limit_for_the_nesting_may_be_set() -> None:
    for serializer in (V2JSONSerializer(max_nesting=2), V1JSONSerializer(max_nesting=2)):
        push = serializer.encode_push("1", "2", "t", "e", {}).data.decode()
        assert serializer.decode(push).topic == "t"
        with pytest.raises(MalformedMessageError, match="may have 2 levels"):
            serializer.decode(push.replace("{}", "{}, [[]]"))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None, "9", 801])
def test_a_limit_for_the_nesting_is_from_1_to_800(value: Any) -> None:
    with pytest.raises(ValueError, match=rf"max_nesting must be .*, got {value!r}"):
        V2JSONSerializer(max_nesting=value)


def test_a_payload_that_is_nested_too_deep_is_an_error_of_its_author() -> None:
    payload: Any = {}
    payload["itself"] = payload
    for serializer in (V1, V2):
        with pytest.raises(UnencodableError, match="a payload is nested too deep to be encoded as JSON"):
            serializer.encode_push("1", None, "t", "e", payload)
        with pytest.raises(UnencodableError, match="nested too deep"):
            serializer.encode_broadcast(Broadcast("t", "e", payload))
        with pytest.raises(UnencodableError, match="nested too deep"):
            serializer.encode_reply("1", "1", "t", ok(payload))


# Version 2, binary: the kind, the sizes, the fields, the data


def test_a_binary_reply_has_the_status_where_events_are() -> None:
    frame = V2.encode_reply("1", "11", "room:a", ok(b"\x00\x01\x02\xffdata"))
    assert frame.opcode is Opcode.BINARY
    assert frame.data == (
        b"\x01"  # reply
        b"\x01"  # size of the join_ref
        b"\x02"  # size of the ref
        b"\x06"  # size of the topic
        b"\x02"  # size of the status
        b"1"  # join_ref
        b"11"  # ref
        b"room:a"  # topic
        b"ok"  # status
        b"\x00\x01\x02\xffdata"
    )


def test_a_binary_push_has_no_ref() -> None:
    frame = V2.encode_push("1", None, "room:ä", "blob", b"data")
    assert frame.opcode is Opcode.BINARY
    assert frame.data == (
        b"\x00"  # push
        b"\x01"  # size of the join_ref
        b"\x07"  # size of the topic, in bytes
        b"\x04"  # size of the event
        b"1"  # join_ref
        b"room:\xc3\xa4"  # topic
        b"blob"  # event
        b"data"
    )


def test_a_binary_broadcast_has_no_refs_at_all() -> None:
    frame = V2.encode_broadcast(Broadcast("bench:x", "shout", b"\x01\x02"))
    assert frame.opcode is Opcode.BINARY
    assert frame.data == (
        b"\x02"  # broadcast
        b"\x07"  # size of the topic
        b"\x05"  # size of the event
        b"bench:x"  # topic
        b"shout"  # event
        b"\x01\x02"
    )


@pytest.mark.parametrize(
    ("ref", "text"),
    [(None, b""), ("", b""), (7, b"7"), (-1.5, b"-1.5"), (True, b"true"), (["a", 1], b'["a",1]')],
    ids=repr,
)
def test_a_ref_that_is_no_text_is_written_as_one(ref: Any, text: bytes) -> None:
    data = V2.encode_reply(ref, ref, "t", ok(b"")).data
    assert data == bytes((1, len(text), len(text), 1, 2)) + text + text + b"tok"


def binary_frames(join_ref: str = "", ref: str = "", topic: str = "", event: str = "", status: str = "") -> list[bytes]:
    return [
        V2.encode_reply(join_ref, ref, topic, Reply(status, b"data")).data,
        V2.encode_push(join_ref, None, topic, event, b"data").data,
        V2.encode_broadcast(Broadcast(topic, event, b"data")).data,
    ]


@pytest.mark.parametrize("field", ["join_ref", "ref", "topic", "event", "status"])
def test_a_field_has_255_bytes_and_no_more(field: str) -> None:
    assert all(frame.endswith(b"data") for frame in binary_frames(**{field: "é" * 127 + "x"}))
    with pytest.raises(UnencodableError, match=f"^{field} must have at most 255 bytes .*, got 256: 'éé"):
        binary_frames(**{field: "é" * 128})


def test_a_client_pushes_binary_with_its_refs() -> None:
    message = V2.decode(
        b"\x00"  # push
        b"\x01"  # size of the join_ref
        b"\x02"  # size of the ref
        b"\x06"  # size of the topic
        b"\x04"  # size of the event
        b"1"  # join_ref
        b"11"  # ref
        b"room:a"  # topic
        b"blob"  # event
        b"\x00\x01\x02\xffdata"
    )
    assert fields(message) == ["1", "11", "room:a", "blob", b"\x00\x01\x02\xffdata"]


def test_empty_refs_in_a_binary_push_are_empty_and_not_null() -> None:
    assert fields(V2.decode(b"\x00\x00\x00\x00\x00")) == ["", "", "", "", b""]
    assert fields(V2.decode(b"\x00\x00\x00\x01\x01te\x00")) == ["", "", "t", "e", b"\x00"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00\x01",
        b"\x00\x01\x02\x06\x04111room:ablo",
        b"\x00\xff\xff\xff\xff",
        b"\x01\x01\x02\x06\x02111room:aok",
        b"\x02\x07\x05bench:xshout",
        b"\x03\x01\x01\x01\x0112te",
        b"\xff\x01\x01\x01\x0112te",
        b"\x00\x01\x01\x01\x01\xff2te",
        b"\x00\x01\x01\x01\x0112\xffe",
        b'["1","2","t","e",{}]',
        b"{}",
    ],
    ids=repr,
)
def test_what_is_no_binary_message_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        V2.decode(data)


# Version 1


@pytest.mark.parametrize("data", ['{{"topic":"t","event":"e","payload":{{"a":1}},"ref":{}}}'])
@pytest.mark.parametrize("ref", ['"1"', "null", "1", "[1]"])
def test_version_1_reads_an_object_of_four(data: str, ref: str) -> None:
    text = data.format(ref)
    expected = [None, json.loads(ref), "t", "e", {"a": 1}]
    assert fields(V1.decode(text)) == fields(V1.decode(text.encode())) == expected


def test_version_1_may_have_a_join_ref_and_any_other_key() -> None:
    text = '{"join_ref":"7","more":[],"ref":"1","payload":[],"event":"e","topic":"t"}'
    assert fields(V1.decode(text)) == ["7", "1", "t", "e", []]


@pytest.mark.parametrize("missing", ["topic", "event", "payload", "ref"])
def test_version_1_needs_each_of_the_four(missing: str) -> None:
    message = {"topic": "t", "event": "e", "payload": {}, "ref": "1"}
    del message[missing]
    with pytest.raises(MalformedMessageError, match=f"missing required field `{missing}`"):
        V1.decode(json.dumps(message))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        '["1","2","t","e",{}]',
        '{"topic":"t","event":"e","payload":NaN,"ref":"1"}',
        '{"topic":"t","event":"e","payload":1e400,"ref":"1"}',
        '{"topic":"\ud800","event":"e","payload":{},"ref":"1"}',
        b'{"topic":"\xff","event":"e","payload":{},"ref":"1"}',
        b"\x00\x00\x00\x00\x00",
    ],
    ids=ascii,
)
def test_what_is_no_such_object_is_malformed(data: str | bytes) -> None:
    with pytest.raises(MalformedMessageError):
        V1.decode(data)


def test_version_1_writes_exactly_four_keys() -> None:
    reply = V1.encode_reply("1", "2", "t", error({"reason": "no"}))
    push = V1.encode_push("1", None, "t", "e", {"a": 1})
    broadcast = V1.encode_broadcast(Broadcast("t", "e", {"a": 1}))
    assert broadcast is not None
    assert [frame.opcode for frame in (reply, push, broadcast)] == [Opcode.TEXT] * 3
    assert json.loads(reply.data) == {
        "topic": "t",
        "event": "phx_reply",
        "payload": {"status": "error", "response": {"reason": "no"}},
        "ref": "2",
    }
    assert json.loads(push.data) == {"topic": "t", "event": "e", "payload": {"a": 1}, "ref": None}
    assert broadcast.data == push.data


def test_version_1_ends_a_channel_with_the_clients_own_join_ref_if_it_has_one() -> None:
    for join_ref in (None, "1"):
        close = V1.encode_push(join_ref, join_ref, "t", "phx_close", {})
        assert json.loads(close.data) == {"topic": "t", "event": "phx_close", "payload": {}, "ref": join_ref}


def test_version_1_has_no_form_for_binary(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UnencodableError, match=r"a client of version 1\.0\.0 cannot receive a binary reply"):
        V1.encode_reply("1", "2", "t", ok(b"data"))
    with pytest.raises(
        UnencodableError, match=r"a client of version 1\.0\.0 cannot receive a binary push, got 'e' on 't'"
    ):
        V1.encode_push("1", None, "t", "e", b"data")
    assert V1.encode_broadcast(Broadcast("t", "e", b"data")) is None
    assert "do not receive the binary broadcast 'e' on 't'" in caplog.text


def test_the_last_value_of_a_repeated_key_counts() -> None:
    # Kept on purpose: see docs/conformance.md.
    message = V1.decode('{"topic":"a","event":"e","payload":{"a":1,"a":2},"ref":"1","topic":"b"}')
    assert (message.topic, message.payload) == ("b", {"a": 2})


# What is no object


@pytest.mark.parametrize("payload", [None, 1, 0.01, True, "text", [1], Row(1)], ids=repr)
def test_a_payload_is_an_object_or_binary_in_version_2_only(payload: Any) -> None:
    expected = rf"^a payload must be a dict, a msgspec\.Struct or bytes, got {re.escape(repr(payload))}; write {{\"value\": …}}"
    with pytest.raises(UnencodableError, match=expected):
        V2.encode_push("1", None, "t", "e", payload)
    with pytest.raises(UnencodableError, match=expected):
        V2.encode_broadcast(Broadcast("t", "e", payload))
    as_json = msgspec.json.encode(payload).decode()
    assert (
        V1.encode_push("1", None, "t", "e", payload).data
        == f'{{"topic":"t","event":"e","payload":{as_json},"ref":null}}'.encode()
    )
    assert V1.encode_broadcast(Broadcast("t", "e", payload)) is not None


@pytest.mark.parametrize("payload", [Struct(1), Record(1), MappingProxyType({"x": 1})], ids=repr)
def test_what_becomes_an_object_is_one(payload: Any) -> None:
    assert V2.encode_push("1", None, "t", "e", payload).data == b'["1",null,"t","e",{"x":1}]'
    assert V2.encode_broadcast(Broadcast("t", "e", payload)).data == b'[null,null,"t","e",{"x":1}]'


# Whatever comes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=60)
@given(JSON, JSON, JSON, JSON, JSON)
def test_what_is_written_is_read_again(join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> None:
    text = V2.encode_push(join_ref, ref, topic, event, {"any": payload}).data.decode()
    assert fields(V2.decode(text)) == [join_ref, ref, topic, event, {"any": payload}]
    text = V1.encode_push(join_ref, ref, topic, event, payload).data.decode()
    assert fields(V1.decode(text)) == [None, ref, topic, event, payload]


SHORT = st.text(max_size=63)


@settings(deadline=None, max_examples=60)
@given(SHORT, SHORT, SHORT, SHORT, st.binary())
def test_what_a_client_writes_in_binary_is_read(join_ref: str, ref: str, topic: str, event: str, data: bytes) -> None:
    head = [field.encode() for field in (join_ref, ref, topic, event)]
    message = V2.decode(bytes((0, *map(len, head))) + b"".join(head) + data)
    assert fields(message) == [join_ref, ref, topic, event, data]


HEADS = st.builds(lambda head, rest: bytes((0, *head)) + rest, st.lists(st.integers(0, 9), max_size=4), st.binary())


@settings(deadline=None)
@given(
    st.text()
    | st.text(st.characters())
    | st.binary()
    | HEADS
    | JSON.map(json.dumps)
    | st.lists(JSON, min_size=4, max_size=6).map(json.dumps)
    | st.dictionaries(st.sampled_from(["topic", "event", "payload", "ref", "join_ref"]), JSON).map(json.dumps)
)
def test_nothing_but_malformed_comes_of_anything_else(data: str | bytes) -> None:
    for serializer in (V1, V2):
        try:
            message = serializer.decode(data)
        except MalformedMessageError:
            continue
        assert isinstance(message, Message)


# Payloads that are JSON already


@pytest.mark.parametrize("allow_nan", [True, False])
def test_text_of_json_is_sent_as_it_is(allow_nan: bool) -> None:  # noqa: FBT001  # a table
    broadcast = Broadcast("t", "e", msgspec.Raw(b'{"a" : null}'))
    v1, v2 = V1JSONSerializer(allow_nan=allow_nan), V2JSONSerializer(allow_nan=allow_nan)
    encoded = v1.encode_broadcast(broadcast)
    assert encoded is not None
    assert encoded.data == b'{"topic":"t","event":"e","payload":{"a" : null},"ref":null}'
    assert v2.encode_broadcast(broadcast).data == b'[null,null,"t","e",{"a" : null}]'


def test_only_our_own_serializers_take_it_unless_a_class_says_so() -> None:
    class Reading(V2JSONSerializer):
        pass

    class Knowing(V2JSONSerializer):
        takes_json = True

    taking = [each.takes_json for each in (V1JSONSerializer, V2JSONSerializer, Reading, Knowing)]
    assert taking == [True, True, False, True]
