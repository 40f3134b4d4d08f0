"""The test kit for channels: what it shows, and what it says when a test fails."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from actors import Channel, Reply, error, ok
from actors.registry import ActorRegistry
from transport import ConnectInfo, Socket
from transport.testing import ChannelTest, JoinRefusedError, TestClient


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply | None:
        if topic == "room:broken":
            raise RuntimeError("on purpose")
        return ok({"you": payload}) if topic != "room:vip" else error({"reason": "unauthorized"})

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "echo":
                return ok(payload)
            case "later":
                self.send_after(2.0, self.socket_ref())
            case "push":
                self.push("pushed", payload)
        return None

    def handle_info(self, message: Any) -> None:
        self.reply(message, ok({"late": True}))


class SlowChannel(Channel):
    async def join(self, topic: str, payload: Any) -> Reply:
        await self.actor_ref.down()
        return ok()


class UserSocket(Socket):
    channels = {"room:*": RoomChannel, "slow": SlowChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.assigns["user"] = params.get("user")
        return error() if params.get("user") == "mallory" else ok()


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(UserSocket, {"user": "alice"}) as connected:
        yield connected


def test_a_join_has_a_reply_and_a_channel(client: TestClient) -> None:
    room = client.join("room:1", {"a": 1})
    assert (room.topic, room.reply) == ("room:1", ok({"you": {"a": 1}}))
    assert room.ref.actor_class is RoomChannel
    assert room.assigns == {"user": "alice"}


def test_a_join_without_a_payload_sends_an_empty_one(client: TestClient) -> None:
    assert client.join("room:1").reply == ok({"you": {}})
    assert client.join("room:2", []).reply == ok({"you": []})


def test_a_refused_join_raises_its_reply(client: TestClient) -> None:
    with pytest.raises(JoinRefusedError) as refused:
        client.join("room:vip")
    assert refused.value.topic == "room:vip"
    assert refused.value.reply == error({"reason": "unauthorized"})
    assert str(refused.value) == (
        "could not join 'room:vip': Reply(status='error', payload={'reason': 'unauthorized'})"
    )


def test_a_join_that_is_not_answered_raises_too(client: TestClient) -> None:
    with pytest.raises(JoinRefusedError, match="could not join 'slow': there was no reply"):
        client.join("slow")


def test_a_refused_join_can_be_looked_at(client: TestClient) -> None:
    client.try_join("room:vip").assert_reply("error", {"reason": "unauthorized"})
    client.try_join("room:broken").assert_reply("error", {"reason": "join crashed"})


def test_a_socket_that_refuses_is_an_error_with_its_params() -> None:
    before = ActorRegistry.get_all()
    with (
        pytest.raises(AssertionError, match=re.escape("UserSocket.connect() refused {'user': 'mallory'}")),
        ChannelTest(UserSocket, {"user": "mallory"}),
    ):
        pytest.fail("there is no client")
    assert ActorRegistry.get_all() == before


def test_a_reply_is_taken_once(client: TestClient) -> None:
    pushed = client.join("room:1").push("echo", {"a": 1})
    pushed.assert_reply("ok", {"a": 1})
    pushed.refute_reply()
    assert client.received == []


def test_a_reply_may_be_late(client: TestClient) -> None:
    pushed = client.join("room:1").push("later")
    client.advance(1.999)
    pushed.refute_reply()
    client.advance(0.001)
    assert pushed.assert_reply("ok") == ok({"late": True})


def test_a_missing_reply_says_what_came_instead(client: TestClient) -> None:
    room = client.join("room:1")
    room.push("push", {"n": 1})
    with pytest.raises(AssertionError) as failed:
        room.push("later").assert_reply("ok")
    head, *came = str(failed.value).splitlines()
    assert head == "expected a reply to '3' on 'room:1'; this came:"
    assert len(came) == 1
    assert "pushed" in came[0]
    assert "{'n': 1}" in came[0]


def test_a_missing_push_says_that_nothing_came(client: TestClient) -> None:
    with pytest.raises(AssertionError) as failed:
        client.join("room:1").assert_push("pushed", {"n": 1})
    assert str(failed.value) == "expected a push of 'pushed' with {'n': 1}; this came:\n  nothing"


def test_a_reply_with_another_status_or_payload_is_shown(client: TestClient) -> None:
    room = client.join("room:1")
    with pytest.raises(AssertionError, match=r"expected a reply with status 'error', got Reply\(status='ok'"):
        room.push("echo").assert_reply("error")
    with pytest.raises(AssertionError, match=r"expected a reply with payload \{'b': 2\}, got Reply\(status='ok'"):
        room.push("echo", {"a": 1}).assert_reply("ok", {"b": 2})


def test_an_unwanted_reply_is_shown(client: TestClient) -> None:
    pushed = client.join("room:1").push("echo", {"a": 1})
    with pytest.raises(AssertionError, match=r"expected no reply to '2', got Reply\(status='ok', payload=\{'a': 1\}\)"):
        pushed.refute_reply()


def test_an_unwanted_push_is_shown(client: TestClient) -> None:
    room = client.join("room:1")
    room.push("push", {"n": 1})
    room.refute_push("pushed", {"n": 2})
    room.refute_push("other")
    with pytest.raises(AssertionError, match="expected no push of 'pushed', got Message"):
        room.refute_push("pushed")


def test_a_push_is_found_by_event_topic_and_payload(client: TestClient) -> None:
    one, two = client.join("room:1"), client.join("room:2")
    one.push("push", {"n": 1})
    two.push("push", {"n": 2})
    one.push("push", {"n": 3})
    assert one.assert_push("pushed", {"n": 3}).payload == {"n": 3}
    assert two.assert_push("pushed").payload == {"n": 2}
    assert one.assert_push("pushed").payload == {"n": 1}
    assert client.received == []


def test_a_topic_that_was_left_has_no_channel(client: TestClient) -> None:
    room = client.join("room:1")
    room.leave().assert_reply("ok", {})
    room.assert_push("phx_close", {})
    with pytest.raises(LookupError, match="there is no channel for 'room:1'"):
        _ = room.ref


def test_a_closed_client_has_no_channels(client: TestClient) -> None:
    room = client.join("room:1")
    client.close()
    with pytest.raises(LookupError, match="there is no channel for 'room:1'"):
        _ = room.ref


def test_more_clients_share_the_system(client: TestClient) -> None:
    other = client.connect({"user": "bob"})
    assert other.join("room:1").assigns == {"user": "bob"}
    assert other.pubsub is client.pubsub
    assert other.runtime is client.runtime
    client.join("room:1")
    assert len(client.pubsub.subscribers("room:1")) == 2
    with pytest.raises(AssertionError, match=re.escape("UserSocket.connect() refused {'user': 'mallory'}")):
        client.connect({"user": "mallory"})


def test_nothing_lives_on_after_the_test() -> None:
    before = ActorRegistry.get_all()
    with ChannelTest(UserSocket) as client:
        client.join("room:1").push("later")
        client.try_join("slow")
        assert len(ActorRegistry.get_all()) > len(before)
    assert ActorRegistry.get_all() == before
