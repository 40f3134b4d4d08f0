"""Channels with a history, as their authors and clients see them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from actors.channel import Channel
from actors.channels.message import Broadcast, Message, Reply, error, ok
from actors.exceptions import BadReturnError
from actors.history.history import History
from actors.history.memory_history import MemoryHistory
from transport.socket import Route, Socket
from transport.testing.channel_test import ChannelTest, JoinedChannel, TestClient
from transport.testing.client_end import ClientEnd


class Own(msgspec.Struct):
    own: int = 7


class RoomChannel(Channel):
    history = History(size=5, ttl=60.0, events=("said", "asked"))
    payloads = {"phx_join": Own}  # noqa: RUF012  # as an author writes it

    def join(self, topic: str, payload: Any) -> Reply:
        return error({"reason": "no"}) if payload.own == 0 else ok({"own": payload.own})

    def handle_in(self, event: str, payload: Any) -> Any:
        if event == "from":
            self.broadcast_from("said", payload)
        elif event == "crash":
            raise RuntimeError("on purpose")
        else:
            self.broadcast(event, payload)


class FilteringChannel(RoomChannel):
    """Handles what is asked itself: sometimes with a push, sometimes with two, sometimes with none, sometimes later."""

    intercept = ("asked",)
    payloads = {}  # noqa: RUF012

    def join(self, topic: str, payload: Any) -> Reply:
        return ok({"own": payload})

    def handle_out(self, event: str, payload: Any) -> Any:
        match payload["n"] % 4:
            case 0:
                self.push("other", payload)
            case 1:
                self.push("asked", payload)
            case 2:
                return self.later(payload)
            case 3:
                self.push("asked", payload)
                self.push("asked", payload)
        return None

    async def later(self, payload: Any) -> None:
        await asyncio.sleep(0)
        self.push("asked", {**payload, "later": True})


class PermanentChannel(RoomChannel):
    restart = "permanent"


class AnsweringChannel(Channel):
    history = History()
    answer: Any = None

    def join(self, topic: str, payload: Any) -> Reply:
        return ok(self.answer)


class Rooms(Socket):
    channels = {  # noqa: RUF012
        "room:*": RoomChannel,
        "filter:*": FilteringChannel,
        "permanent:*": PermanentChannel,
        "answer": AnsweringChannel,
        "twice": Route(RoomChannel),
    }


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(Rooms) as connected:
        yield connected


def recovery(room: JoinedChannel) -> dict[str, Any]:
    found: dict[str, Any] = room.reply.payload["recover"]
    return found


def seen(client: TestClient, *, without: tuple[str, ...] = ("phx_reply", "phx_close")) -> list[Any]:
    """Take what the client has received: refs, events and numbers."""
    messages, client.received[:] = list(client.received), []
    return [(each.ref, each.event, each.payload.get("n")) for each in messages if each.event not in without]


def say(client: TestClient, topic: str, *numbers: int, event: str = "said") -> None:
    for number in numbers:
        client.pubsub.broadcast(topic, Broadcast(topic, event, {"n": number}))


# Joins


def test_the_channel_does_not_see_the_key_and_its_answer_has_it(client: TestClient) -> None:
    room = client.join("room:1", {"own": 3, "recover": True})
    assert room.reply.payload["own"] == 3
    assert recovery(room) | {"epoch": ""} == {"epoch": "", "offset": 0, "recovered": False, "count": 0}
    filtering = client.join("filter:1", {"own": 3, "recover": True})
    assert filtering.reply.payload["own"] == {"own": 3}


def test_a_client_that_does_not_ask_sees_nothing_of_it(client: TestClient) -> None:
    room = client.join("room:1")
    assert room.reply.payload == {"own": 7}
    say(client, "room:1", 1)
    assert seen(client) == [(None, "said", 1)]


def test_a_refused_join_is_answered_as_ever(client: TestClient) -> None:
    client.try_join("room:1", {"own": 0, "recover": True}).assert_reply("error", {"reason": "no"})
    client.try_join("room:1", {"own": "x", "recover": True}).assert_reply("error")
    client.try_join("room:1", {"recover": 7}).assert_reply("error", {"reason": "invalid recover"})


@dataclasses.dataclass
class Record:
    own: int


@pytest.mark.parametrize("answer", [{"own": 1}, Record(1), Own(1)], ids=type)
def test_an_answer_may_be_any_object(client: TestClient, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(AnsweringChannel, "answer", answer)
    reply = client.join("answer", {"recover": True}).reply.payload
    assert (reply.keys(), reply["own"]) == ({"own", "recover"}, 1)


@pytest.mark.parametrize("answer", [[1], "text", None, b"bytes"], ids=type)
def test_an_answer_that_is_no_object_is_an_error_of_the_author(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    monkeypatch.setattr(AnsweringChannel, "answer", answer)
    with client.expect_crash(BadReturnError, match='an object, to which "recover" can be added'):
        client.try_join("answer", {"recover": True})
    assert client.join("answer").reply.payload == answer


# What is recorded


def test_only_the_events_of_the_history_have_offsets(client: TestClient) -> None:
    room = client.join("room:1", {"recover": True})
    say(client, "room:1", 1)
    say(client, "room:1", 2, event="typing")
    room.push("said", {"n": 3})
    client.test.settle()
    client.pubsub.local_broadcast("room:1", Broadcast("room:1", "said", {"n": 4}))
    assert seen(client) == [("@1", "said", 1), (None, "typing", 2), ("@2", "said", 3), (None, "said", 4)]


def test_what_was_missed_is_sent(client: TestClient) -> None:
    room = client.join("room:1", {"recover": True})
    say(client, "room:1", 1)
    client.close()
    say(client, "room:1", 2, 3)
    other = client.connect()
    again = other.join("room:1", {"recover": {**recovery(room), "offset": 1}})
    say(client, "room:1", 4)
    assert (recovery(again)["recovered"], recovery(again)["count"]) == (True, 2)
    assert seen(other) == [("@2", "said", 2), ("@3", "said", 3), ("@4", "said", 4)]


@pytest.mark.parametrize("lost", ["size", "time", "history"])
def test_what_is_kept_no_more_is_not_recovered(client: TestClient, lost: str) -> None:
    room = client.join("room:1", {"recover": True})
    client.close()
    say(client, "room:1", *range(6 if lost == "size" else 1))
    if lost == "time":
        client.advance(60.0)
    elif lost == "history":
        assert isinstance(client.pubsub.history, MemoryHistory)
        client.pubsub.history.close()
    other = client.connect()
    again = recovery(other.join("room:1", {"recover": recovery(room)}))
    assert (again["recovered"], again["count"]) == (False, 0)
    assert seen(other) == []


def test_without_a_history_broadcasts_are_delivered_without_an_offset(client: TestClient) -> None:
    assert isinstance(client.pubsub.history, MemoryHistory)
    client.pubsub.history.close()
    room = client.join("room:1", {"recover": True})
    say(client, "room:1", 1)
    assert recovery(room) == {"epoch": "", "offset": 0, "recovered": False, "count": 0}
    assert seen(client) == [(None, "said", 1)]
    assert client.pubsub.history.counts.unrecorded == 1


# A sender that is not to get its own


@pytest.mark.parametrize("topic", ["room:1", "filter:1"])
def test_what_a_client_sends_to_the_others_is_an_offset_for_itself(client: TestClient, topic: str) -> None:
    other = client.connect()
    room = client.join(topic, {"recover": True})
    others = other.join(topic, {"recover": True})
    room.push("from", {"n": 1})
    assert (seen(client), seen(other)) == ([("@1", "phx_skip", None)], [("@1", "said", 1)])
    client.join(topic, {"recover": recovery(room)})
    other.join(topic, {"recover": recovery(others)})
    assert (seen(client), seen(other)) == ([("@1", "phx_skip", None)], [("@1", "said", 1)])


def test_over_another_connection_it_is_one_of_the_others(client: TestClient) -> None:
    room = client.join("room:1", {"recover": True})
    room.push("from", {"n": 1})
    client.close()
    other = client.connect()
    other.join("room:1", {"recover": recovery(room)})
    assert seen(other) == [("@1", "said", 1)]


# Intercepted events


def test_each_intercepted_broadcast_has_its_offset_however_it_is_handled(client: TestClient) -> None:
    client.join("filter:1", {"recover": True})
    for number in range(4):
        say(client, "filter:1", number, event="asked")
        say(client, "filter:1", number + 10)
    assert seen(client) == [
        (None, "other", 0),
        ("@1", "phx_skip", None),
        ("@2", "said", 10),
        ("@3", "asked", 1),
        ("@4", "said", 11),
        ("@5", "asked", 2),
        ("@6", "said", 12),
        ("@7", "asked", 3),
        (None, "asked", 3),
        ("@8", "said", 13),
    ]


def test_what_was_missed_is_handled_in_order_and_before_what_comes_then(client: TestClient) -> None:
    room = client.join("filter:1", {"recover": True})
    client.close()
    for number in (1, 2):
        say(client, "filter:1", number, event="asked")
        say(client, "filter:1", number + 10)
    other = client.connect()
    again = other.join("filter:1", {"recover": recovery(room)})
    say(client, "filter:1", 20)
    assert recovery(again)["count"] == 4
    assert seen(other) == [
        ("@1", "asked", 1),
        ("@2", "said", 11),
        ("@3", "asked", 2),
        ("@4", "said", 12),
        ("@5", "said", 20),
    ]


class LongChannel(Channel):
    """Keeps many broadcasts, and handles each of them later."""

    history = History(size=3000, max_bytes=100_000_000)
    intercept = ("said",)

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_out(self, event: str, payload: Any) -> None:
        await asyncio.sleep(0)
        self.push(event, payload)


class PlainChannel(LongChannel):
    """Handles each at once."""

    def handle_out(self, event: str, payload: Any) -> Any:
        self.push(event, payload)


class LongRooms(Socket):
    channels = {"later:*": LongChannel, "plain:*": PlainChannel}  # noqa: RUF012


@pytest.fixture
def reader() -> Iterator[TestClient]:
    with ChannelTest(LongRooms) as connected:
        yield connected


def away(client: TestClient, topic: str, number: int, size: int) -> dict[str, Any]:
    """Let the client go, and broadcast so many messages of a size; return where it was."""
    room = client.join(topic, {"recover": True})
    client.close()
    for each in range(1, number + 1):
        client.pubsub.broadcast(topic, Broadcast(topic, "said", {"n": each, "text": "x" * size}))
    return recovery(room)


@pytest.mark.parametrize("topic", ["later:1", "plain:1"])
def test_any_number_of_them_is_handled(reader: TestClient, topic: str) -> None:
    position = away(reader, topic, 3000, 1)
    back = reader.connect()
    assert recovery(back.join(topic, {"recover": position}))["count"] == 3000
    reader.advance(0.0)
    assert [number for _, _, number in seen(back)] == list(range(1, 3001))


@pytest.mark.parametrize("topic", ["later:1", "plain:1"])
def test_what_was_missed_waits_for_the_client_to_take_it(
    reader: TestClient, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    untaken: list[Any] = []
    monkeypatch.setattr(ClientEnd, "when_taken", lambda _, done: untaken.append(done))
    position = away(reader, topic, 30, 10_000)
    back = reader.connect()
    back.join(topic, {"recover": position})
    say(reader, topic, 31)
    reader.advance(0.0)
    assert [number for _, _, number in seen(back)] == list(range(1, 8))
    untaken.pop()()
    reader.advance(0.0)
    assert [number for _, _, number in seen(back)] == list(range(8, 15))
    reader.advance(10.0)
    assert [number for _, _, number in seen(back)] == list(range(15, 32))
    assert len(untaken) == 1


def test_a_client_that_does_not_ask_gets_them_as_ever(client: TestClient) -> None:
    client.join("filter:1")
    say(client, "filter:1", 1, event="asked")
    say(client, "filter:1", 11)
    assert sorted(seen(client)) == [(None, "asked", 1), (None, "said", 11)]


def test_other_actors_get_plain_broadcasts(client: TestClient) -> None:
    room = client.subscribe_and_join("room:1", {"recover": True})
    say(client, "room:1", 1)
    assert room.assert_broadcast("said").payload == {"n": 1}


# Ends of channels


def test_a_channel_that_the_server_would_restart_is_joined_again_by_its_client(client: TestClient) -> None:
    room = client.join("permanent:1", {"recover": True})
    with client.expect_crash(RuntimeError):
        room.push("crash")
    say(client, "permanent:1", 1)
    assert [event for _, event, _ in seen(client)] == ["phx_error"]
    client.join("permanent:1", {"recover": recovery(room)})
    assert seen(client) == [("@1", "said", 1)]


def test_one_whose_client_does_not_recover_is_restarted(client: TestClient) -> None:
    room = client.join("permanent:1")
    with client.expect_crash(RuntimeError):
        room.push("crash")
    say(client, "permanent:1", 1)
    assert seen(client) == [(None, "said", 1)]


def test_the_log_of_a_crash_has_no_position(client: TestClient) -> None:
    """The message of the join that tools show is the one that the channel has seen."""
    room = client.join("room:1", {"own": 3, "recover": True})
    assert isinstance(room.ref.process.actor, RoomChannel)
    assert room.ref.process.actor.join_payload == {"own": 3}
    assert isinstance(room.ref.process.actor._join_message, Message)
