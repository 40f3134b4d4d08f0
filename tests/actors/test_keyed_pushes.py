"""Pushes with a key: handled once, whatever copies come, and answered as the first time."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from threading import Thread
from typing import Any

import msgspec
import pytest

from actors.channel import Channel, reply
from actors.channels.message import Reply, SocketRef, error, ok
from actors.exits import Stop
from actors.idempotency.idempotency import Idempotency, KeyedPush
from actors.testing import WAIT
from transport.endpoint import Endpoint
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer
from transport.socket import Socket
from transport.testing import ChannelTest, TestClient

TOPIC = "room:1"
PENDING: list[SocketRef] = []


class RoomChannel(Channel):
    """Counts what it handles, and answers with the count in many ways."""

    idempotency = Idempotency(ttl=60.0, size=3, max_bytes=10_000)
    count = 0

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        RoomChannel.count += 1
        match event:
            case "say":
                return ok({"count": self.count, "payload": payload if isinstance(payload, dict) else payload.decode()})
            case "refuse":
                return error({"count": self.count})
            case "bytes":
                return ok(b"count %d" % self.count)
            case "large":
                return ok({"text": "x" * 20_000})
            case "silent":
                return None
            case "later":
                PENDING.append(self.socket_ref())
                return None
            case "slow":
                return self.slow()
            case "crash":
                raise ValueError("on purpose")
            case "stop":
                return Stop()
            case _:
                return Stop(reply=ok({"count": self.count}))

    async def slow(self) -> Reply:
        await asyncio.sleep(3.0)
        return ok({"count": self.count})


class LimitedChannel(RoomChannel):
    idempotency = Idempotency(events=("say",))


class PlainChannel(RoomChannel):
    idempotency = None  # type: ignore[assignment]  # as an author may turn it off


class UserSocket(Socket):
    channels = {"room:*": RoomChannel, "limited:*": LimitedChannel, "plain:*": PlainChannel}  # noqa: RUF012

    def connect(self, params: Any, connect_info: Any) -> Reply:
        self.assigns["user"] = params.get("user")
        return ok()

    def id(self) -> str | None:
        user: str | None = self.assigns["user"]
        return user


@pytest.fixture(autouse=True)
def fresh() -> None:
    RoomChannel.count = 0
    PENDING.clear()


def room(**options: Any) -> ChannelTest:
    return ChannelTest(UserSocket, {"user": "ann"}, endpoint=Endpoint({}, port=None), **options)


def again(client: TestClient, topic: str = TOPIC, user: str | None = "ann") -> Any:
    """Return the room as it is joined over another connection."""
    return client.connect({"user": user}).join(topic)


def push(channel: Any, event: str, payload: Any = None, key: Any = "k1") -> Any:
    return channel.push(event, {**({"n": 1} if payload is None else payload), "@key": key})


def say(channel: Any, payload: Any = None, key: Any = "k1") -> int:
    count: int = push(channel, "say", payload, key).assert_reply("ok").payload["count"]
    return count


@pytest.mark.parametrize(
    ("event", "first"),
    [
        ("say", ok({"count": 1, "payload": {"n": 1}})),
        ("refuse", error({"count": 1})),
        ("bytes", ok(b"count 1")),
        ("silent", ok({})),
    ],
)
def test_a_copy_over_another_connection_gets_the_first_reply(event: str, first: Reply) -> None:
    with room(serializer=V2JSONSerializer()) as client:
        channel = client.join(TOPIC)
        for each in (channel, channel, again(client)):
            push(each, event).assert_reply(first.status, first.payload)
        assert RoomChannel.count == 1


def test_the_connection_may_have_ended_meanwhile() -> None:
    with room() as client:
        assert say(client.join(TOPIC)) == 1
        client.close()
        assert say(again(client)) == 1


def test_a_lone_surrogate_tells_pushes_apart_too() -> None:
    pushes = [KeyedPush("k", {"text": text, "n": 1}) for text in ("\ud800", "\ud801", "\ud800")]
    first, second, third = (each.digest("say") for each in pushes)
    assert first == third != second
    assert KeyedPush("k", {"n": 1, "text": "\ud800"}).digest("say") == first
    assert KeyedPush("k", {}).digest("\ud800") != KeyedPush("k", {}).digest("\ud801")


def test_another_key_topic_or_user_is_another_push() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        assert [say(channel, key=key) for key in ("a", "b", "a")] == [1, 2, 1]
        assert say(again(client, "room:2"), key="a") == 3
        assert say(again(client, user="bob"), key="a") == 4
        assert say(again(client, user=None), key="a") == 5
        assert say(again(client, user=None), key="a") == 5


def test_another_push_with_the_same_key_is_refused() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        assert say(channel) == 1
        push(channel, "say", {"n": 2}).assert_reply("error", {"reason": "key used for another push"})
        push(channel, "refuse").assert_reply("error", {"reason": "key used for another push"})
        assert say(channel) == 1


def test_the_order_of_the_payloads_keys_does_not_matter() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        assert say(channel, {"a": 1, "b": 2}) == 1
        assert say(channel, {"b": 2, "a": 1}) == 1


@pytest.mark.parametrize("key", ["", "x" * 129, 7, None, True, {}, ["k"]])
def test_a_key_that_is_not_valid_is_refused(key: Any) -> None:
    with room() as client:
        push(client.join(TOPIC), "say", key=key).assert_reply("error", {"reason": "invalid key"})
        assert RoomChannel.count == 0


def test_a_binary_payload_is_sent_as_text() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        payload = {"@binary": b64encode(b"some bytes").decode()}
        for _ in range(2):
            push(channel, "say", payload).assert_reply("ok", {"count": 1, "payload": "some bytes"})
        for wrong in ("?", 7, None):
            push(channel, "say", {"@binary": wrong}, "k2").assert_reply("error", {"reason": "invalid key"})


def test_without_a_key_each_push_is_handled() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        for count in (1, 2):
            channel.push("say", {"n": 1}).assert_reply("ok", {"count": count, "payload": {"n": 1}})
        # And it is answered only if its handler does.
        silent = channel.push("silent", {})
        channel.push("say", {}).assert_reply("ok")
        with pytest.raises(AssertionError):
            silent.assert_reply("ok")


@pytest.mark.parametrize("topic", ["plain:1", "limited:1"])
def test_a_channel_or_an_event_without_idempotency_has_the_key_in_its_payload(topic: str) -> None:
    event = "say" if topic == "plain:1" else "push"
    with room() as client:
        channel = client.join(topic)
        for count in (1, 2):
            if event == "say":
                push(channel, event).assert_reply("ok", {"count": count, "payload": {"n": 1, "@key": "k1"}})


class Order(msgspec.Struct, forbid_unknown_fields=True):
    article: int


class TypedChannel(RoomChannel):
    payloads = {"order": Order}  # noqa: RUF012

    def handle_in(self, event: str, payload: Any) -> Any:
        RoomChannel.count += 1
        return ok({"article": payload.article, "count": self.count})


class TypedSocket(UserSocket):
    channels = {"room:*": TypedChannel}  # noqa: RUF012


def test_a_payload_of_a_class_is_validated_without_the_key() -> None:
    with ChannelTest(TypedSocket, {}, endpoint=Endpoint({}, port=None)) as client:
        channel = client.join(TOPIC)
        for _ in range(2):
            push(channel, "order", {"article": 7}).assert_reply("ok", {"article": 7, "count": 1})
        for _ in range(2):
            push(channel, "order", {"article": "7"}, "k2").assert_reply("error")
        assert RoomChannel.count == 1


# Pushes in progress


def test_a_copy_of_a_push_that_is_being_handled_waits_for_its_answer() -> None:
    with room() as client:
        first = push(client.join(TOPIC), "slow")
        copy = push(again(client), "slow")
        client.clock.advance(3.0)
        for each in (first, copy):
            each.assert_reply("ok", {"count": 1})
        assert RoomChannel.count == 1


def test_a_push_goes_on_when_its_connection_has_ended() -> None:
    with room() as client:
        other = client.connect({"user": "ann"})
        push(other.join(TOPIC), "slow")
        client.runtime.settle()
        other.close()
        copy = push(client.join(TOPIC), "slow")
        client.clock.advance(3.0)
        copy.assert_reply("ok", {"count": 1})


def test_a_reply_that_is_made_later_is_repeated() -> None:
    with room() as client:
        first = push(client.join(TOPIC), "later")
        copy = push(again(client), "later")
        [ref] = PENDING
        reply(ref, ok({"done": 1}))
        reply(ref, ok({"done": 2}))
        for each in (first, copy, push(again(client), "later")):
            each.assert_reply("ok", {"done": 1})
        assert RoomChannel.count == 1


def test_a_reply_of_another_thread_is_repeated_as_it_was() -> None:
    with room() as client:
        first, payload = push(client.join(TOPIC), "later"), {"done": 1}
        copy = push(again(client), "later")
        [ref] = PENDING
        thread = Thread(target=reply, args=(ref, ok(payload)))
        thread.start()
        thread.join(WAIT)
        payload["done"] = 2
        copy.assert_reply("ok", {"done": 1})
        first.assert_reply("ok")


def test_a_push_whose_handler_raises_is_not_handled_again() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        with client.expect_crash(ValueError):
            push(channel, "crash")
        push(again(client), "crash").assert_reply("error", {"reason": "handling failed"})
        assert RoomChannel.count == 1


def test_a_copy_that_waits_is_told_that_the_handler_was_killed() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        push(channel, "slow")
        copy = push(again(client), "slow")
        client.runtime.settle()
        channel.ref.kill()
        copy.assert_reply("error", {"reason": "handling failed"})


@pytest.mark.parametrize(("event", "payload"), [("stop", {}), ("stop and reply", {"count": 1})])
def test_a_push_that_stops_the_channel_is_answered_once(event: str, payload: Any) -> None:
    with room() as client:
        for each in (client.join(TOPIC), again(client)):
            push(each, event).assert_reply("ok", payload)
        assert RoomChannel.count == 1


# Bounds


def test_a_key_is_forgotten_in_time() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        assert say(channel) == 1
        client.clock.advance(59.0)
        assert say(channel) == 1
        client.clock.advance(1.0)
        assert say(channel) == 2


def test_the_oldest_keys_are_forgotten() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        assert [say(channel, key=key) for key in "abcd"] == [1, 2, 3, 4]
        assert [say(channel, key=key) for key in "bcda"] == [2, 3, 4, 5]


def test_a_reply_that_is_too_large_is_not_kept() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        push(channel, "large").assert_reply("ok")
        push(channel, "large").assert_reply("error", {"reason": "handled, reply not kept"})


def test_a_copy_whose_version_has_no_form_for_the_reply_is_told() -> None:
    with room(serializer=V1JSONSerializer()) as client:
        with client.expect_crash(TypeError):
            push(client.join(TOPIC), "bytes")
        push(again(client), "bytes").assert_reply("error", {"reason": "handled, reply not kept"})


@pytest.mark.parametrize("wrong", ["say", 7, True, {"ttl": 3}])
def test_the_option_must_be_one(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"idempotency must be an Idempotency such as Idempotency\(ttl=300.0\), got"):
        type("Wrong", (RoomChannel,), {"idempotency": wrong})


@pytest.mark.parametrize("options", [{"ttl": 0}, {"size": 0}, {"max_bytes": 0}])
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Idempotency(**options)


def test_events_must_be_a_collection() -> None:
    with pytest.raises(TypeError, match="events must be a collection"):
        Idempotency(events="say")


def test_bytes_of_another_event_are_another_push() -> None:
    with room(serializer=V2JSONSerializer()) as client:
        channel = client.join(TOPIC)
        same = {"@binary": b64encode(b"same").decode(), "@key": "k1"}
        channel.push("say", same).assert_reply("ok")
        channel.push("bytes", same).assert_reply("error", {"reason": "key used for another push"})
        assert RoomChannel.count == 1


def test_of_many_copies_that_wait_the_oldest_is_to_be_sent_again() -> None:
    with room() as client:
        channel = client.join(TOPIC)
        first, *copies = [push(channel, "later") for _ in range(10)]
        copies[0].assert_reply("error", {"reason": "in progress", "@retry": 1.0})
        [ref] = PENDING
        reply(ref, ok({"done": 1}))
        for each in (first, *copies[1:]):
            each.assert_reply("ok", {"done": 1})
        assert RoomChannel.count == 1
