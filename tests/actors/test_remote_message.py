"""The form of messages between processes."""

from __future__ import annotations

import math
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.channels.message import Broadcast
from actors.exceptions import UnencodableError
from actors.pubsub.remote_message import Header, RemoteMessageError, pack, text_or_bytes, unpack

NUMBERED: dict[str, Any] = {"node": "web-1:812", "run": "3q2-7w", "seq": 17}


def test_a_broadcast_is_a_line_of_json_and_its_payload() -> None:
    message = Broadcast("room:1", "new_msg", {"user": "ann", "body": "h\né"})
    data = pack(Header(event="new_msg", **NUMBERED), text_or_bytes("room:1", message))
    assert data == (
        b'{"event":"new_msg","node":"web-1:812","run":"3q2-7w","seq":17}\n{"user":"ann","body":"h\\n\xc3\xa9"}'
    )


def test_a_payload_is_passed_on_as_the_text_that_it_was() -> None:
    text = b'{ "a" : 1e2 }'
    header, payload = unpack(b'{"event":"e","run":"r","seq":1}\n' + text)
    message = header.message("t", payload)
    assert isinstance(message, Broadcast)
    assert (message.topic, message.event, type(message.payload)) == ("t", "e", msgspec.Raw)
    assert bytes(message.payload) == text
    assert text_or_bytes("t", message) == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(JSON | st.binary(), st.text())
def test_what_json_has_and_bytes_arrive_as_they_were(message: Any, topic: str) -> None:
    if "\ud800" <= max(topic, default="") <= "\udfff":
        return
    binary = isinstance(message, bytes)
    header, payload = unpack(pack(Header(binary=binary, **NUMBERED), text_or_bytes(topic, message)))
    assert header == Header(binary=binary, **NUMBERED)
    assert header.message(topic, payload) == message


@given(st.dictionaries(st.text(), JSON, max_size=3) | st.binary(), st.text(), st.text())
def test_payloads_of_broadcasts_arrive_as_they_were(payload: Any, event: str, other: str) -> None:
    binary = isinstance(payload, bytes)
    header = Header(event=event, binary=binary, topic=other or None, **NUMBERED)
    header, received = unpack(pack(header, text_or_bytes("t", Broadcast("t", event, payload))))
    message = header.message("t", received)
    assert isinstance(message, Broadcast)
    assert (message.topic, message.event) == (other or "t", event)
    assert (message.payload if binary else msgspec.json.decode(message.payload)) == payload


def test_a_place_in_a_history_goes_with_it() -> None:
    header, _ = unpack(pack(Header(event="e", epoch="x1", offset=2**53 - 1, **NUMBERED), b"{}"))
    assert (header.epoch, header.offset) == ("x1", 2**53 - 1)


def test_what_a_later_version_adds_to_the_header_is_ignored() -> None:
    header, payload = unpack(b'{"event":"e","color":{"a":["\\n"]},"run":"r","seq":2}\n{}')
    assert (header.event, header.seq, payload) == ("e", 2, b"{}")


@pytest.mark.parametrize(
    "message",
    [
        object(),
        (1, 2),
        {1: 2},
        {"a": {1, 2}},
        {"a": [math.nan]},
        [math.inf],
        OrderedDict(a=1),
        Header(),
        bytearray(b"x"),
    ],
    ids=["object", "tuple", "key", "set", "nan", "inf", "OrderedDict", "Struct", "bytearray"],
)
def test_other_messages_that_would_not_arrive_as_they_are_cannot_leave(message: object) -> None:
    with pytest.raises(
        TypeError, match=r"^only a Broadcast, bytes, and what JSON has .* got .*local_broadcast\(\) sends"
    ):
        text_or_bytes("t", message)


def test_a_payload_that_json_does_not_have_is_named() -> None:
    with pytest.raises(UnencodableError, match=r"payload of 'e' on 't' at \$\.a\[0\]"):
        text_or_bytes("t", Broadcast("t", "e", {"a": [object()]}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"event":"e"}',
        b"\n{}",
        b"nonsense\n{}",
        b"[]\n{}",
        b"null\n{}",
        b'{"event":5}\n{}',
        b'{"seq":"1"}\n{}',
        b'{"event":"e"}\n',
        b'{"event":"e"}\n[1]',
        b'{"event":"e"}\n"text"',
        b'{"event":"e"}\n{"a":',
        b'{"event":"e"}\n{"a":"\xff"}',
        b'{"event":"\xff"}\n{}',
        b'{"event":"e"}\n' + b'{"a":' * 100_000,
        b"\xff\xfe" * 100,
    ],
    ids=range(17),
)
def test_what_is_no_message_is_an_error(data: bytes) -> None:
    with pytest.raises(RemoteMessageError):
        unpack(data)


@given(st.binary())
def test_nothing_else_is_raised(data: bytes) -> None:
    with suppress(RemoteMessageError):
        unpack(data)
