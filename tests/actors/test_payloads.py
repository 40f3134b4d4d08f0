"""Typed payloads: what a channel declares, and what its clients then may send."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Required, TypedDict

import msgspec
import pydantic
import pytest

from actors import Channel, ok
from actors.channels.payloads import InvalidPayloadError, typed
from transport import Endpoint, Socket, SocketError
from transport.testing import ChannelTest, JoinedChannel, TestClient

if TYPE_CHECKING:
    from actors import Reply


class Point(msgspec.Struct):
    x: int
    y: int = 0


class NewMessage(msgspec.Struct, forbid_unknown_fields=True):
    body: Annotated[str, msgspec.Meta(max_length=5)]
    at: list[Point] = []
    votes: dict[int, bool] = {}
    raw: bytes = b""

    def __post_init__(self) -> None:
        if self.body == "x" * 5:
            raise ValueError("five x are too many")


class Guest(msgspec.Struct):
    name: str


class Room(Channel):
    payloads: ClassVar = {"new_msg": NewMessage, "phx_join": Guest}

    def join(self, topic: str, payload: Guest) -> Reply:
        self.assigns["name"] = payload.name
        return ok({"hello": payload.name})

    def handle_in(self, event: str, payload: Any) -> Any:
        return ok([type(payload).__name__, payload])


class RoomSocket(Socket):
    channels: ClassVar = {"room:*": Room}


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(RoomSocket) as connected:
        yield connected


@pytest.fixture
def room(client: TestClient) -> JoinedChannel:
    return client.join("room:a", {"name": "ann"})


def test_the_callback_gets_the_struct(room: JoinedChannel) -> None:
    reply = room.push("new_msg", {"body": "hi", "at": [{"x": 1}], "votes": {"7": True}, "raw": "AAE="}).reply()
    assert reply == ok(["NewMessage", NewMessage("hi", [Point(1)], {7: True}, b"\x00\x01")])


@pytest.mark.parametrize(
    ("payload", "path", "message"),
    [
        ({"body": 1}, "$.body", "Expected `str`, got `int`"),
        ({"body": "too long"}, "$.body", "Expected `str` of length <= 5"),
        ({"body": "hi", "at": [{"x": 1}, {"x": "2"}]}, "$.at[1].x", "Expected `int`, got `str`"),
        ({"body": "hi", "votes": {"a": True}}, "key in $.votes", "Expected `int`, got `str`"),
        ({"body": "hi", "votes": {"1": 1}}, "$.votes[...]", "Expected `bool`, got `int`"),
        ({"body": "hi", "at": {}}, "$.at", "Expected `array`, got `object`"),
        ({"body": "hi", "raw": "%"}, "$.raw", "Invalid base64 encoded string"),
        ({"body": "hi", "more": 1}, "$", "Object contains unknown field `more`"),
        ({"body": "xxxxx"}, "$", "five x are too many"),
        ({}, "$", "Object missing required field `body`"),
        ([], "$", "Expected `object`, got `array`"),
        (0, "$", "Expected `object`, got `int`"),
        (b"binary", "$", "Expected `object`, got `bytes`"),
    ],
    ids=repr,
)
def test_a_payload_that_does_not_fit_is_answered(room: JoinedChannel, payload: Any, path: str, message: str) -> None:
    answer = room.push("new_msg", payload)
    answer.assert_reply("error", {"reason": "invalid payload", "path": path, "message": message})
    # The channel is there as before.
    room.push("new_msg", {"body": "hi"}).assert_reply("ok")
    assert room.client.received == []


# Other classes


@dataclasses.dataclass
class RecordedPoint:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)


class PointDict(TypedDict, total=False):
    x: Required[int]
    tags: list[str]


class PointModel(pydantic.BaseModel):
    x: int
    tags: list[str] = []


class StrictModel(pydantic.BaseModel, strict=True):
    x: int
    tags: list[str] = []
    at: dt.datetime | None = None


@pydantic.dataclasses.dataclass
class PydanticRecord:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)


CLASSES = [RecordedPoint, PointDict, PointModel, StrictModel, PydanticRecord]


@pytest.fixture(params=CLASSES, ids=lambda kind: kind.__name__)
def other(request: pytest.FixtureRequest) -> Iterator[JoinedChannel]:
    channel = type("Other", (Room,), {"payloads": {"new_msg": request.param}})
    with ChannelTest(type("OtherSocket", (Socket,), {"channels": {"room:*": channel}})) as client:
        channel.join = lambda self, topic, payload: ok()  # type: ignore[attr-defined]  # this join is untyped
        yield client.join("room:a")


def test_the_callback_gets_an_instance(other: JoinedChannel) -> None:
    kind, payload = other.push("new_msg", {"x": 1, "tags": ["a"]}).assert_reply("ok").payload
    assert kind in {"dict", *(each.__name__ for each in CLASSES)}
    assert (payload["x"], payload["tags"]) == (1, ["a"]) if kind == "dict" else (payload.x, payload.tags) == (1, ["a"])


@pytest.mark.parametrize(
    ("payload", "path"),
    [({"x": "one"}, "$.x"), ({"x": 1, "tags": ["a", 5]}, "$.tags[1]"), ([], "$"), (b"binary", "$"), (0, "$")],
    ids=repr,
)
def test_a_payload_that_is_no_instance_is_answered(other: JoinedChannel, payload: Any, path: str) -> None:
    reply = other.push("new_msg", payload).assert_reply("error").payload
    assert (reply["reason"], reply["path"]) == ("invalid payload", path)
    assert "xpected" in reply["message"] or "nput should be" in reply["message"]
    other.push("new_msg", {"x": 1}).assert_reply("ok")


def test_a_missing_field_is_answered(other: JoinedChannel) -> None:
    reply = other.push("new_msg", {}).assert_reply("error").payload
    assert reply["path"] in {"$", "$.x"}  # msgspec names the object, pydantic the field


def test_a_strict_model_gets_what_json_has_for_a_date() -> None:
    assert typed({"x": 1, "at": "2020-01-02T03:04:05Z"}, StrictModel) == StrictModel(
        x=1, at=dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    )
    with pytest.raises(InvalidPayloadError, match=r"^\$\.x: Input should be a valid integer"):
        typed({"x": "1"}, StrictModel)


class Holder(msgspec.Struct):
    points: list[PointModel]


def test_models_within_other_classes_are_validated() -> None:
    assert typed({"points": [{"x": 1}]}, Holder) == Holder([PointModel(x=1)])
    with pytest.raises(InvalidPayloadError, match=r"^\$\.points\[1\]\.tags\[0\]: Input should be a valid string$"):
        typed({"points": [{"x": 1}, {"x": 1, "tags": [5]}]}, Holder)


@pytest.mark.parametrize("event", ["other", "", 5, None, ["new_msg"], {"new_msg": 1}], ids=repr)
def test_other_events_get_what_came(room: JoinedChannel, event: Any) -> None:
    room.push(event, {"body": 1}).assert_reply("ok", ["dict", {"body": 1}])


def test_a_join_that_does_not_fit_is_refused(client: TestClient) -> None:
    message = "Expected `str`, got `int`"
    reply = {"reason": "invalid payload", "path": "$.name", "message": message}
    client.try_join("room:a", {"name": 1}).assert_reply("error", reply)
    assert client.join("room:a", {"name": "ann"}).assigns["name"] == "ann"


def test_a_text_that_names_no_place_is_about_the_payload_itself() -> None:
    with pytest.raises(InvalidPayloadError, match=r"^\$: Expected `object`, got `null`$") as caught:
        typed(None, Point)
    assert caught.value.reply.payload["path"] == "$"


class Broken(msgspec.Struct):
    what: list[int] | set[int]


class ForwardModel(pydantic.BaseModel):
    what: Nowhere  # type: ignore[name-defined]  # noqa: F821  # as below


class Forward(msgspec.Struct):
    what: Nowhere  # type: ignore[name-defined]  # noqa: F821  # a type that there is not is what it is about


@pytest.mark.parametrize(
    ("payloads", "text"),
    [
        ([NewMessage], r'Bad.payloads must be a dict such as {"new_msg": NewMessage}, got \[<class'),
        ({"a": 5}, r"Bad.payloads\['a'\] must be a subclass of msgspec.Struct, .*; got 5"),
        ({"a": dict}, r"Bad.payloads\['a'\] must be a subclass of msgspec.Struct, .*; got <class 'dict'>"),
        ({"a": Point(1)}, r"Bad.payloads\['a'\] must be a subclass of msgspec.Struct, .*; got Point\(x=1, y=0\)"),
        ({"a": dict[str, int]}, r"Bad.payloads\['a'\] must be a subclass of msgspec.Struct, .*; got dict\[str, int\]"),
        (
            {"a": ForwardModel},
            r"Bad.payloads\['a'\]: ForwardModel is not a type that can be decoded: .* is not fully",
        ),
        ({5: Point}, r"Bad.payloads\[5\]: an event must be a str"),
        ({"a": Broken}, r"Bad.payloads\['a'\]: Broken is not a type that can be decoded: Type unions may not contain"),
        (
            {"a": Forward},
            r"Bad.payloads\['a'\]: Forward is not a type that can be decoded: name 'Nowhere' is not defined",
        ),
    ],
)
def test_a_wrong_declaration_is_an_error_at_the_start(payloads: Any, text: str) -> None:
    bad_channel = type("Bad", (Channel,), {"payloads": payloads})
    bad_socket = type("BadSocket", (Socket,), {"channels": {"a": bad_channel}})
    with pytest.raises(SocketError, match=text):
        Endpoint({"/socket": bad_socket})
