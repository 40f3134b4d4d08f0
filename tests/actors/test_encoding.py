"""Payloads as JSON: what is encoded, and what an error says of the part that cannot be."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import types
import uuid
from asyncio import new_event_loop
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pydantic
import pytest

from actors.channels.encoding import as_json, encode, encode_finite, unencodable_by
from actors.channels.message import Frame, Opcode
from actors.exceptions import UnencodableError
from transport.protocol.serializer import V2JSONSerializer
from transport.testing import NoopSerializer


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


class Whole(int):
    pass


class Real(float):
    pass


class Data(bytes):
    pass


class Point(msgspec.Struct):
    x: object


@dataclasses.dataclass
class Record:
    a: object


class Note(pydantic.BaseModel):
    text: object = "hi"
    at: dt.date = dt.date(2020, 1, 2)
    where: Path = Path("a/b")
    secret: pydantic.SecretStr = pydantic.SecretStr("swordfish")


class Fields(pydantic.RootModel[dict[str, int]]):
    pass


class Attribute:
    """What the attribute of a class of attrs has of use here."""

    name = "a"


class OfAttrs:
    """As attrs makes classes."""

    __attrs_attrs__ = (Attribute,)

    def __init__(self, a: object) -> None:
        self.a = a


class Unwritable:
    """A value that no serializer can encode."""


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (dt.datetime(2020, 1, 2, 3, 4, tzinfo=dt.UTC), "2020-01-02T03:04:00Z"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (dt.time(3, 4), "03:04:00"),
        (dt.timedelta(seconds=90), "PT90S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("1.50"), "1.50"),
        (Colour.RED, "red"),
        (Text("text"), "text"),
        (collections.UserString("text"), "text"),
        (Whole(3), 3),
        (Real(1.5), 1.5),
        (Data(b"\0"), "AA=="),
        ({Text("key"): 1, Whole(2): 3, Colour.RED: 4}, {"key": 1, "2": 3, "red": 4}),
        (PurePosixPath("a/b"), "a/b"),
        (ip_address("::1"), "::1"),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.ChainMap({"a": 1}), {"a": 1}),
        (collections.deque([1]), [1]),
        (range(2), [0, 1]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (Point(1), {"x": 1}),
        (Record(Record(1)), {"a": {"a": 1}}),
        (OfAttrs(1), {"a": 1}),
        (Note(), {"text": "hi", "at": "2020-01-02", "where": "a/b", "secret": "**********"}),
        (Fields({"a": 1}), {"a": 1}),
        (float("nan"), None),
        ([float("inf"), -float("inf")], [None, None]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_people_put_in_payloads_is_encoded(value: Any, plain: Any) -> None:
    assert json.loads(encode({"it": [value]})) == {"it": [plain]}


async def fetch() -> None:
    """Is never awaited."""


def numbers() -> Iterator[int]:
    yield 1


async def later() -> AsyncIterator[int]:
    yield 1


def pending() -> Any:
    loop = new_event_loop()
    loop.close()
    return loop.create_future()


@pytest.mark.parametrize(
    ("make", "where"),
    [
        (
            lambda: {"body": Unwritable()},
            r"\$\.body: Encoding objects of type Unwritable is unsupported; make it a dict, ",
        ),
        (Unwritable, r"\$: Encoding objects of type Unwritable is unsupported"),
        (lambda: [1, {"a": (2, {"b": Unwritable()})}], r"\$\[1\]\.a\[1\]\.b: Encoding"),
        (lambda: {5: Unwritable()}, r"\$\[5\]: Encoding"),
        (lambda: Point([Unwritable()]), r"\$\.x\[0\]: Encoding"),
        (lambda: Record(Record(Unwritable())), r"\$\.a\.a: Encoding"),
        (lambda: OfAttrs(Unwritable()), r"\$\.a: Encoding"),
        (lambda: types.MappingProxyType({"a": collections.deque([Unwritable()])}), r"\$\.a\[0\]: Encoding"),
        (lambda: {"a": {"b": Unwritable()}.values()}, r"\$\.a\[0\]: Encoding"),
        (lambda: {"note": Note(text=Unwritable())}, r"\$\.note\.text: Encoding objects of type Unwritable"),
        (lambda: [Note(text=[Note(text="\ud800")])], r"\$\[0\]\.text\[0\]\.text: '\\ud800' has a lone surrogate"),
        (lambda: Note(text=fetch()), r"\$\.text: a coroutine of fetch\(\): an `await` is missing$"),
        (lambda: {"a": collections.UserString("\ud800")}, r"\$\.a: '\\ud800' has a lone surrogate"),
        (lambda: {"all": map(str, [1])}, r"\$\.all: an iterator of the class map; write list\(…\)"),
        (lambda: {"all": iter({})}, r"\$\.all: an iterator of the class dict_keyiterator; write list\(…\)"),
        (lambda: {"a": {(1, 2): 3}}, r"\$\.a: the key \(1, 2\): Only dicts with str-like or number-like keys"),
        (lambda: {None: 3}, r"\$: the key None: Only dicts with"),
        (lambda: {True: 3}, r"\$: the key True: Only dicts with"),
        (lambda: {"user": fetch()}, r"\$\.user: a coroutine of fetch\(\): an `await` is missing$"),
        (fetch, r"\$: a coroutine of fetch\(\): an `await` is missing$"),
        (lambda: {"user": pending()}, r"\$\.user: a Future: an `await` is missing$"),
        (lambda: {"all": numbers()}, r"\$\.all: a generator of numbers\(\); write list\(…\)"),
        (lambda: {"all": later()}, r"\$\.all: an asynchronous generator of later\(\); write \[each async for"),
        (lambda: {"user": fetch}, r"\$\.user: <function fetch .*> is not a value; is it to be called\?"),
        (lambda: {"user": Unwritable}, r"\$\.user: <class '.*Unwritable'> is not a value; is it"),
        (lambda: {"user": {}.get}, r"\$\.user: <built-in method get .*> is not a value"),
        (lambda: {"body": "\ud800"}, r"\$\.body: '\\ud800' has a lone surrogate, which UTF-8 does not have"),
        (lambda: {"a": {"\udfff": 1}}, r"\$\.a: the key '\\udfff': '\\udfff' has a lone surrogate"),
        (lambda: {"n": 1j}, r"\$\.n: Encoding objects of type complex is unsupported"),
    ],
)
def test_the_part_that_cannot_be_encoded_is_named(make: Any, where: str) -> None:
    payload = make()
    with pytest.raises(UnencodableError, match=f"^payload at {where}") as caught:
        as_json("payload", payload)
    assert caught.value.__suppress_context__
    assert caught.value.path is not None
    assert str(caught.value).startswith(f"payload at {caught.value.path}: ")


def test_what_contains_itself_is_nested_too_deep() -> None:
    payload: dict[str, Any] = {}
    payload["itself"] = payload
    with pytest.raises(UnencodableError, match=r"^payload: a payload is nested too deep to be encoded as JSON"):
        as_json("payload", payload)


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"a": [1, float("nan")]}, r"\$\.a\[1\]: nan is not a number in JSON"),
        (Record({"b": float("-inf")}), r"\$\.a\.b: -inf is not"),
        ({float("inf"): 1}, r"\$: the key inf: inf is not"),
    ],
    ids=repr,
)
def test_numbers_that_json_does_not_have_may_be_refused(payload: Any, where: str) -> None:
    serializer = V2JSONSerializer(allow_nan=False)
    with pytest.raises(ValueError, match="is not a number in JSON") as caught:
        serializer.encode_push(None, None, "t", "e", payload)
    error = unencodable_by(serializer, caught.value, "payload", payload)
    with pytest.raises(UnencodableError, match=f"^payload at {where}"):
        raise error
    assert json.loads(encode_finite({"a": [None, 1.5, "null"]})) == {"a": [None, 1.5, "null"]}


def test_a_lone_surrogate_in_the_event_or_the_topic_is_named() -> None:
    serializer = V2JSONSerializer()
    for topic, event, payload in (("\ud800", "e", {}), ("t", "\ud800", {}), ("t", "\ud800", b"")):
        with pytest.raises(UnicodeEncodeError) as caught:
            serializer.encode_push(None, None, topic, event, payload)
        error = unencodable_by(serializer, caught.value, "payload of 'e' on 't'", payload)
        assert (
            str(error)
            == "payload of 'e' on 't': the event or the topic has a lone surrogate, which UTF-8 does not have"
        )


class Strict(NoopSerializer):
    """Has no form for 13, nor for anything once it is broken."""

    broken = False

    def encode_reply(self, join_ref: object, ref: object, topic: object, reply: Any) -> Frame:
        if self.broken or "13" in str(reply.payload):
            raise ValueError("unlucky")
        return Frame(Opcode.TEXT, b"")


def test_the_part_that_a_serializer_of_the_application_cannot_encode_is_named() -> None:
    error = unencodable_by(Strict(), ValueError("unlucky"), "payload of 'e' on 't'", {"a": [1, 13], "b": b""})
    assert str(error) == "payload of 'e' on 't' at $.a[1]: unlucky"


def test_an_error_that_is_not_of_the_payload_stays_as_it_is() -> None:
    serializer, bug = Strict(), ValueError("unlucky")
    serializer.broken = True
    assert unencodable_by(serializer, bug, "payload", {"a": 13}) is bug
    serializer.broken = False
    assert unencodable_by(serializer, bug, "payload", {"a": 1}) is bug
