"""The test kit for channels: its helpers, and the messages with which tests fail."""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Reply, error, ok
from actors.exceptions import UnencodableError
from actors.exits import Shutdown, Stop
from actors.presence.presence import Presence
from actors.registry import ActorRegistry
from supervisors.child_spec import ChildSpec
from tests.transport.rooms import ENDED, TASKS, AsyncSocket, RoomChannel, UserSocket, forgotten
from transport.endpoint import Endpoint
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer
from transport.socket import ConnectInfo
from transport.testing.channel_test import ChannelTest, JoinedChannel, TestClient, remaining, state
from transport.testing.exceptions import (
    ConnectRefusedError,
    JoinRefusedError,
    LeftBehindError,
    UnexpectedCrashError,
)
from transport.testing.patterns import ANY, Capture


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(UserSocket, {"user": "alice"}) as connected:
        yield connected


def failure(fail: Any, *args: Any) -> str:
    """Return the message with which an assertion of the kit fails."""
    with pytest.raises(AssertionError) as failed:
        fail(*args)
    return str(failed.value)


# Joining


def test_a_join_has_a_reply_and_a_channel(client: TestClient) -> None:
    room = client.join("room:1", {"a": 1})
    assert (room.topic, room.reply) == ("room:1", ok({"you": {"a": 1}}))
    assert room.ref.actor_class is RoomChannel
    assert room.assigns == state(room) == {"user": "alice", "path": "/socket/websocket"}


def test_a_join_without_a_payload_sends_an_empty_one(client: TestClient) -> None:
    assert client.join("room:1").reply == ok({"you": {}})
    assert client.join("room:2", []).reply == ok({"you": []})


def test_a_refused_join_raises_its_reply(client: TestClient) -> None:
    with pytest.raises(JoinRefusedError) as refused:
        client.join("room:vip")
    assert refused.value.topic == "room:vip"
    assert refused.value.reply == Reply("error", {"reason": "unauthorized"})
    assert str(refused.value) == "could not join 'room:vip': error {'reason': 'unauthorized'}"


def test_a_join_that_is_not_answered_raises_too_and_says_who_waits(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transport.testing.channel_test.WAIT", 0.0)
    with pytest.raises(JoinRefusedError) as refused:
        client.join("slow")
    assert refused.value.reply is None
    first, handler, clock = str(refused.value).splitlines()
    assert first == "could not join 'slow': there is no reply yet"
    assert re.fullmatch(r"SlowChannel 'slow' <0\.\d+\.0> is in a handler that waits\.", handler)
    assert clock == "The clock stands still; the next timer is due in 10.000 s."


def test_a_refused_join_can_be_looked_at(client: TestClient) -> None:
    client.try_join("room:vip").assert_reply("error", {"reason": "unauthorized"})
    with client.expect_crash(RuntimeError):
        client.try_join("room:broken").assert_reply("error", {"reason": "join crashed"})


# Connecting


def test_a_socket_that_refuses_is_an_error_with_its_params() -> None:
    before = ActorRegistry.get_all()
    with (
        pytest.raises(ConnectRefusedError, match=re.escape("UserSocket.connect() refused {'user': 'mallory'}")),
        ChannelTest(UserSocket, {"user": "mallory"}),
    ):
        pytest.fail("there is no client")
    assert ActorRegistry.get_all() == before


def test_a_socket_may_take_its_time() -> None:
    with ChannelTest(AsyncSocket, {"user": "alice"}) as client:
        assert client.join("room:1").assigns["user"] == "alice"


def test_a_test_says_what_is_known_of_the_connection(client: TestClient) -> None:
    other = client.test.connect(UserSocket, connect_info=ConnectInfo(None, "/elsewhere", {}))
    assert other.join("room:1").assigns["path"] == "/elsewhere"


def test_a_socket_can_be_made_without_connect(client: TestClient) -> None:
    made = client.test.socket(UserSocket, id="users:bob", assigns={"user": "bob"})
    room = made.join("room:1")
    assert room.assigns == {"user": "bob"}
    assert made.socket.id() == "users:bob"
    client.test.system.endpoint.broadcast("users:bob", "disconnect", {})
    assert (made.close_code, client.close_code) == (1001, None)


def test_a_channel_can_be_tested_without_its_socket(client: TestClient) -> None:
    alone = client.test.socket(assigns={"user": "bob"}, channels={"lonely": RoomChannel})
    assert alone.join("lonely").assigns == {"user": "bob"}
    alone.try_join("room:1").assert_reply("error", {"reason": "unmatched topic"})


def test_without_a_socket_class_there_is_no_first_client() -> None:
    with pytest.raises(TypeError, match=re.escape("write ChannelTest(UserSocket), or use start() and stop()")):
        ChannelTest().__enter__()


def test_more_clients_share_the_system(client: TestClient) -> None:
    other = client.connect({"user": "bob"})
    assert other.join("room:1").assigns["user"] == "bob"
    assert other.pubsub is client.pubsub
    assert other.runtime is client.runtime
    client.join("room:1")
    assert len(client.pubsub.subscribers("room:1")) == 2
    with pytest.raises(ConnectRefusedError, match=re.escape("UserSocket.connect() refused {'user': 'mallory'}")):
        client.connect({"user": "mallory"})


@pytest.mark.asyncio
async def test_in_an_async_test_it_says_what_to_write_instead() -> None:
    test = ChannelTest(UserSocket)
    with pytest.raises(RuntimeError, match=re.escape("in an async test write `async with ChannelTest(…) as client:`")):
        test.__enter__()


# Replies


def test_a_reply_is_taken_once(client: TestClient) -> None:
    ref = client.join("room:1").push("echo", {"a": 1})
    ref.assert_reply("ok", {"a": 1})
    ref.refute_reply()
    assert client.received == []


def test_a_reply_may_be_late(client: TestClient) -> None:
    ref = client.join("room:1").push("later")
    client.advance(1.999)
    ref.refute_reply()
    client.advance(0.001)
    assert ref.assert_reply("ok") == ok({"late": True})


def test_a_reply_is_matched_in_part_and_captured(client: TestClient) -> None:
    number = Capture(int)
    ref = client.join("room:1").push("echo", {"a": {"n": 7, "more": 1}, "b": []})
    ref.refute_reply("error")
    ref.refute_reply("ok", {"c": ANY})
    ref.assert_reply("ok", {"a": {"n": number}})
    assert number.value == 7


def test_a_missing_reply_says_what_came_instead_and_when_the_next_timer_is_due(client: TestClient) -> None:
    room, other = client.join("room:1"), client.join("room:2")
    room.push("push", {"n": 1})
    other.push("echo", {"n": 2})
    assert failure(room.push("later").assert_reply, "ok") == (
        "no reply 'ok' to 'later' (ref '5') on 'room:1'; received:\n"
        "  push 'pushed' {'n': 1}\n"
        "  reply 'ok' to 'echo' (ref '4') on 'room:2' {'n': 2}\n"
        "The clock stands still; the next timer is due in 2.000 s."
    )


def test_a_reply_with_another_status_or_payload_is_shown_with_the_difference(client: TestClient) -> None:
    room = client.join("room:1")
    ref = room.push("echo", {"a": 1})
    assert failure(ref.assert_reply, "error", {"a": 2}) == (
        "no reply 'error' with {'a': 2} to 'echo' (ref '2') on 'room:1'; received:\n"
        "  reply 'ok' to 'echo' (ref '2') {'a': 1}\n"
        "    status: expected 'error', got 'ok'\n"
        "    a: expected 2, got 1"
    )
    ref.assert_reply("ok", {"a": 1})


def test_an_unwanted_reply_is_shown(client: TestClient) -> None:
    assert failure(client.join("room:1").push("echo", {"a": 1}).refute_reply) == (
        "expected no reply to 'echo' (ref '2') on 'room:1'; received:\n  reply 'ok' to 'echo' (ref '2') {'a': 1}"
    )


# Pushes


def test_a_push_is_found_by_event_topic_and_payload(client: TestClient) -> None:
    one, two = client.join("room:1"), client.join("room:2")
    one.push("push", {"n": 1})
    two.push("push", {"n": 2})
    one.push("push", {"n": 3, "more": 4})
    assert one.assert_push("pushed", {"n": 3}).payload == {"n": 3, "more": 4}
    assert two.assert_push("pushed").payload == {"n": 2}
    assert one.assert_push("pushed", {"n": int}).payload == {"n": 1}
    assert client.received == []


def test_a_missing_push_says_that_nothing_came(client: TestClient) -> None:
    room = client.join("room:1")
    assert failure(room.assert_push, "pushed", {"n": 1}) == (
        "no push 'pushed' with {'n': 1} on 'room:1'; nothing was received"
    )


def test_of_many_messages_the_last_are_shown_and_long_ones_are_cut(client: TestClient) -> None:
    room = client.join("room:1")
    for number in range(30):
        room.push("push", {"n": number, "text": "x" * 1000})
    text = failure(room.assert_push, "other")
    assert "… 10 earlier ones" in text
    assert "{'n': 9," not in text
    assert "{'n': 10," in text
    assert max(map(len, text.splitlines())) < 400


def test_an_unwanted_push_is_shown(client: TestClient) -> None:
    room = client.join("room:1")
    room.push("push", {"n": 1})
    room.refute_push("pushed", {"n": 2})
    room.refute_push("other")
    assert failure(room.refute_push, "pushed") == (
        "expected no push 'pushed' on 'room:1'; received:\n  push 'pushed' {'n': 1}"
    )
    room.assert_push("pushed")


def test_messages_that_fit_no_helper_can_be_taken(client: TestClient) -> None:
    client.send(None, "beat", "phoenix", "heartbeat", {})
    assert client.take("phx_reply", "phoenix", "no") is None
    assert client.take("phx_reply", "phoenix", "beat") is not None
    assert client.take("phx_reply") is None
    assert client.next_ref() != client.next_ref()


# Broadcasts


def test_a_broadcast_is_seen_by_the_test_that_subscribed(client: TestClient) -> None:
    room = client.subscribe_and_join("room:1")
    room.push("say", {"body": "hi"}).assert_reply("ok")
    room.assert_push("said", {"body": "hi"})
    assert room.assert_broadcast("said", {"body": str}).payload == {"body": "hi"}
    room.refute_broadcast("said")


def test_subscribing_twice_brings_a_broadcast_once(client: TestClient) -> None:
    client.subscribe("room:1")
    room = client.subscribe_and_join("room:1")
    room.push("say", {})
    room.assert_broadcast("said")
    room.refute_broadcast("said")


def test_a_test_that_did_not_subscribe_is_told_to(client: TestClient) -> None:
    room = client.join("room:1")
    with pytest.raises(RuntimeError, match=re.escape("join by client.subscribe_and_join('room:1')")):
        room.assert_broadcast("said")
    with pytest.raises(RuntimeError, match="the test does not see the broadcasts on 'room:1'"):
        room.refute_broadcast("said")


def test_a_missing_and_an_unwanted_broadcast_are_shown(client: TestClient) -> None:
    room = client.subscribe_and_join("room:1")
    room.push("say", {"body": "hi"})
    assert failure(room.assert_broadcast, "said", {"body": "bye"}) == (
        "no broadcast 'said' with {'body': 'bye'} on 'room:1'; received:\n"
        "  broadcast 'said' {'body': 'hi'}\n"
        "    body: expected 'bye', got 'hi'"
    )
    assert failure(room.refute_broadcast, "said").startswith("expected no broadcast 'said' on 'room:1'")


def test_a_broadcast_from_the_test_reaches_the_channel_and_not_the_test(client: TestClient) -> None:
    room = client.subscribe_and_join("room:1")
    room.broadcast_from("whisper", {"n": 1})
    room.assert_push("whisper", {"n": 1, "for": "room:1"})
    room.refute_broadcast("whisper")
    with pytest.raises(TypeError, match="a payload must be a dict"):
        room.broadcast_from("news", 1)


def test_channels_can_broadcast_through_the_endpoint(client: TestClient) -> None:
    other = client.connect().join("room:2")
    client.join("room:1").push("everywhere", {"n": 1})
    other.assert_push("said", {"n": 1})


def test_an_endpoint_of_the_authors_is_used() -> None:
    endpoint = Endpoint({"/socket": UserSocket}, secret_key="s" * 32)
    with ChannelTest(UserSocket, endpoint=endpoint) as client:
        assert client.socket.endpoint is endpoint
        assert endpoint.pubsub is client.pubsub
        assert endpoint.port == 4000


# Channels that end


def test_a_topic_that_was_left_has_no_channel(client: TestClient) -> None:
    room = client.join("room:1")
    room.leave().assert_reply("ok", {})
    room.assert_push("phx_close", {})
    with pytest.raises(LookupError, match="there is no channel for 'room:1'"):
        _ = room.ref


@pytest.mark.parametrize("by", ["client", "room"])
def test_a_closed_client_has_no_channels(client: TestClient, by: str) -> None:
    room = client.join("room:1")
    ENDED.clear()
    (client if by == "client" else room).close()
    assert [Shutdown("closed")] == ENDED
    with pytest.raises(LookupError, match="there is no channel for 'room:1'"):
        _ = room.ref


# Time


def test_the_clock_moves_when_it_is_told(client: TestClient) -> None:
    assert client.clock.now() == 0.0
    client.clock.advance(1.5)
    client.advance(0.5)
    assert client.clock.now() == 2.0


def test_the_clock_does_not_go_back(client: TestClient) -> None:
    for advance in (client.advance, client.clock.advance):
        with pytest.raises(ValueError, match="seconds must be a number >= 0, got -1"):
            advance(-1)
    assert client.clock.now() == 0.0


def test_remaining_is_of_a_timer_that_is_pending(client: TestClient) -> None:
    timer = client.runtime.clock.call_after(5.0, forgotten)
    client.clock.advance(1)
    assert remaining(timer) == 4.0
    timer.cancel()
    assert failure(remaining, timer) == "<Timer over> was to be pending"


# Crashes


def test_a_crash_fails_the_next_look_with_the_channels_own_traceback(client: TestClient) -> None:
    room = client.join("room:1")
    ref = room.push("fail", 7)
    with pytest.raises(UnexpectedCrashError) as failed:
        ref.assert_reply("ok")
    assert str(failed.value) == (
        f"RoomChannel 'room:1' {failed.value.actor.split()[-1]} crashed: ValueError: cannot take 7\n"
        "  its last message: 'fail' with 7\n"
        "  if that is what the test is about: with client.expect_crash(ValueError): …"
    )
    assert failed.value.__cause__ is failed.value.error
    assert [frame.name for frame in traceback.extract_tb(failed.value.error.__traceback__)] == ["handle_in"]
    client.join("room:1").push("echo").assert_reply("ok")


class CancelledChannel(Channel):
    """Awaits a task that another one cancels."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        given_up = asyncio.get_running_loop().create_future()
        given_up.cancel()
        await given_up


def test_a_handler_that_ends_by_a_cancelled_future_is_a_crash(client: TestClient) -> None:
    room = client.test.socket(channels={"room": CancelledChannel}).join("room")
    room.push("wait")
    with pytest.raises(UnexpectedCrashError, match=r"CancelledChannel 'room' <.*> crashed: CancelledError\n") as failed:
        room.refute_push("anything")
    frames = traceback.extract_tb(failed.value.error.__traceback__)
    assert [frame.name for frame in frames if frame.filename == __file__] == ["handle_in"]


def test_a_crash_in_a_join_names_the_join(client: TestClient) -> None:
    text = failure(client.join, "room:broken", {"a": 1})
    assert text.splitlines()[1] == "  its last message: 'phx_join' with {'a': 1}"


@pytest.mark.parametrize(("count", "noted"), [(2, 1), (8, 6)])
def test_the_others_that_have_crashed_are_noted(client: TestClient, count: int, noted: int) -> None:
    for number in range(count):
        client.join(f"room:{number}")
    for number in range(count):
        client.send(None, None, f"room:{number}", "fail", number)
    with pytest.raises(UnexpectedCrashError, match="cannot take 0") as failed:
        client.advance(0)
    notes = failed.value.__notes__
    assert len(notes) == noted
    assert re.fullmatch(r"and RoomChannel 'room:1' <.*> crashed: ValueError: cannot take 1", notes[0])
    assert notes[5:] == ["and 2 more"][: count - 2]


def test_those_linked_to_a_crash_are_not_noted(client: TestClient) -> None:
    room, other = client.join("room:1"), client.join("room:2")
    room.ref.process.link(other.ref.process)
    room.push("fail", 7)
    with pytest.raises(UnexpectedCrashError) as failed:
        client.advance(0)
    assert not hasattr(failed.value, "__notes__")


def test_a_test_that_fails_by_itself_is_told_what_has_crashed() -> None:
    def fails(client: TestClient) -> None:
        client.join("room:1").push("fail", 7)
        client.runtime.settle()
        raise KeyError("the test")

    with pytest.raises(KeyError, match="'the test'") as failed, ChannelTest(UserSocket) as client:
        fails(client)
    [note] = failed.value.__notes__
    assert re.fullmatch(r"RoomChannel 'room:1' <.*> crashed: ValueError: cannot take 7", note)


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda client: client.advance(0), id="advance"),
        pytest.param(lambda client: client.received, id="received"),
        pytest.param(lambda client: client.close_code, id="close_code"),
        pytest.param(lambda client: client.join("room:2"), id="join"),
        pytest.param(lambda client: client.close(), id="close"),
        pytest.param(lambda client: client.take("x"), id="take"),
    ],
)
def test_every_look_fails_for_a_crash(client: TestClient, look: Any) -> None:
    client.join("room:1").push("fail")
    with pytest.raises(UnexpectedCrashError):
        look(client)


@pytest.mark.parametrize("topic", ["room:1", "room:fragile"])
def test_a_crash_that_nobody_looked_for_fails_the_end_of_the_test(topic: str) -> None:
    event = "fail" if topic == "room:1" else "echo"
    with pytest.raises(UnexpectedCrashError), ChannelTest(UserSocket) as client:
        client.join(topic).push(event)


def test_a_crash_does_not_hide_why_the_test_failed() -> None:
    with pytest.raises(KeyError, match="'the test'"), ChannelTest(UserSocket) as client:
        raise KeyError("the test", client.join("room:1").push("fail"))


def test_an_expected_crash_is_no_failure_and_can_be_looked_at(client: TestClient) -> None:
    room = client.join("room:1")
    with client.expect_crash(ValueError, match="take 7$") as crash:
        room.push("fail", 7)
    room.assert_push("phx_error", {"reason": "channel_crash"})
    assert str(crash.exception) == "cannot take 7"
    assert crash.actor is not None
    assert crash.actor.startswith("RoomChannel 'room:1' <")


def test_after_the_block_no_crash_is_expected_any_more(client: TestClient) -> None:
    with client.expect_crash(ValueError):
        client.join("room:1").push("fail")
    client.join("room:2").push("fail")
    with pytest.raises(UnexpectedCrashError):
        client.advance(0)


def test_several_crashes_may_be_meant(client: TestClient) -> None:
    rooms = [client.join("room:1"), client.join("room:2")]
    with client.expect_crash((KeyError, ValueError)) as crash:
        for number, room in enumerate(rooms):
            room.push("fail", number)
    assert str(crash.exception) == "cannot take 0"


@pytest.mark.parametrize(
    ("kind", "match", "text"),
    [
        (Exception, None, "no actor crashed with Exception"),
        ((KeyError, ValueError), "x", "no actor crashed with KeyError or ValueError that matches 'x'"),
    ],
)
def test_an_expected_crash_that_does_not_come_is_a_failure(
    client: TestClient, kind: Any, match: str | None, text: str
) -> None:
    with pytest.raises(AssertionError) as failed, client.expect_crash(kind, match=match) as crash:
        client.join("room:1").push("stop")
    assert str(failed.value) == text
    with pytest.raises(LookupError, match="no actor has crashed yet"):
        _ = crash.exception


@pytest.mark.parametrize(("kind", "match"), [(KeyError, None), (ValueError, "something else")])
def test_another_crash_than_the_expected_one_fails_the_test(
    client: TestClient, kind: type[Exception], match: str | None
) -> None:
    room = client.join("room:1")
    with pytest.raises(UnexpectedCrashError), client.expect_crash(kind, match=match):
        room.push("fail", 7)


def test_a_crash_before_the_block_is_not_the_expected_one(client: TestClient) -> None:
    client.join("room:1").push("fail")
    with pytest.raises(UnexpectedCrashError), client.expect_crash(ValueError):
        pytest.fail("it is not entered")


def test_crashes_may_be_allowed_for_a_whole_test() -> None:
    with ChannelTest(UserSocket, expected_crashes=(ValueError,)) as client:
        room = client.join("room:1")
        room.push("fail")
        room.assert_push("phx_error")
        with pytest.raises(UnexpectedCrashError):
            client.try_join("room:broken").reply()


def test_of_those_linked_to_a_crash_the_one_that_raised_is_named() -> None:
    with ChannelTest(UserSocket) as client:
        room, other = client.join("room:1"), client.join("room:2")
        room.ref.process.link(other.ref.process)
        with client.expect_crash(ValueError, match="cannot take 7") as crash:
            room.push("fail", 7)
        other.assert_push("phx_error")
        assert crash.actor is not None
        assert "'room:1'" in crash.actor


class Child(Actor):
    """A child of a system."""

    def on_receive(self, message: Any) -> None:
        raise ArithmeticError("in a child")


def test_a_crash_of_a_child_of_the_system_counts_too() -> None:
    child = ChildSpec(Child, id="child")
    crash = r"Child 'child' <.*> crashed: ArithmeticError: in a child"
    with pytest.raises(UnexpectedCrashError, match=crash), ChannelTest(UserSocket, children=[child]) as client:
        next(ref for ref in client.runtime.actors if ref.actor_class is Child).send("x")


# The outside world


class LibraryChannel(Channel):
    """Calls something that is not an actor, in a thread."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        title = await asyncio.to_thread("Moby-Dick".upper)
        if event == "fail":
            raise ValueError(title)
        if event == "push":
            self.push("book", {"title": title})
            await asyncio.get_running_loop().create_future()
        return ok({"title": title}) if event == "reply" else None


class LibrarySocket(UserSocket):
    """Calls it before it accepts a client."""

    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.assigns["title"] = await asyncio.to_thread("Moby-Dick".upper)
        return ok()


@pytest.fixture
def library(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> JoinedChannel:
    monkeypatch.setattr("transport.testing.channel_test.WAIT", 3600.0)
    return client.test.socket(LibrarySocket, channels={"library": LibraryChannel}).join("library")


def test_an_assertion_waits_for_the_world_outside(library: JoinedChannel) -> None:
    library.push("reply").assert_reply("ok", {"title": "MOBY-DICK"})
    library.push("push")
    library.assert_push("book", {"title": "MOBY-DICK"})


def test_an_assertion_fails_when_the_handler_has_ended_without_it(library: JoinedChannel) -> None:
    library.push("nothing")
    assert "no push 'book' on 'library'" in failure(library.assert_push, "book")


def test_an_assertion_fails_when_something_has_crashed_meanwhile(library: JoinedChannel) -> None:
    library.push("push")
    library.assert_push("book")
    other = library.client.test.socket(channels={"library": LibraryChannel}).join("library")
    other.push("fail")
    assert "crashed: ValueError: MOBY-DICK" in failure(library.assert_push, "book")


def test_a_socket_may_ask_the_world_outside(client: TestClient) -> None:
    assert client.test.connect(LibrarySocket).socket.assigns == {"title": "MOBY-DICK"}


# What is left


def test_nothing_lives_on_after_the_test() -> None:
    before = ActorRegistry.get_all()
    with ChannelTest(UserSocket) as client:
        client.subscribe_and_join("room:1").push("later")
        client.try_join("slow")
        assert len(ActorRegistry.get_all()) > len(before)
    assert ActorRegistry.get_all() == before


def left_by(what: str) -> list[str]:
    before = ActorRegistry.get_all()
    with pytest.raises(LeftBehindError) as failed, ChannelTest(UserSocket) as client:
        client.join("room:1").push(what).refute_reply()
    assert ActorRegistry.get_all() == before
    head, *lines = str(failed.value).splitlines()
    assert head == "left behind at the end of the test:"
    assert lines == [f"  {left}" for left in failed.value.left]
    return list(failed.value.left)


def test_an_actor_that_is_left_is_named_with_its_bonds() -> None:
    worker, linked = left_by("actor")
    number = r"<0\.\d+\.0>"
    assert re.fullmatch(
        rf"the actor Worker {number}: linked to Worker {number}, with a timer in 3\.000 s, subscribed to 'room:1'",
        worker,
    )
    assert re.fullmatch(rf"the actor Worker {number}: linked to Worker {number}", linked)


def test_a_timer_of_nobody_that_is_left_is_named() -> None:
    assert left_by("timer") == ["a timer, in 30.000 s, of forgotten"]


def test_a_task_that_is_left_is_named_and_cancelled() -> None:
    assert left_by("task") == ["the task 'poll' of RoomChannel.endless()"]
    assert TASKS.pop().cancelled()


def test_a_subscription_of_a_stranger_that_is_left_is_named() -> None:
    with ChannelTest(UserSocket) as outer:
        stranger = outer.join("room:1").ref
        with pytest.raises(LeftBehindError) as failed, ChannelTest(UserSocket) as inner:
            inner.pubsub.subscribe("room:1", stranger)
    assert failed.value.left == (f"a subscription of {stranger} to 'room:1'",)


def test_what_is_left_does_not_hide_why_the_test_failed() -> None:
    with pytest.raises(KeyError, match="'the test'"), ChannelTest(UserSocket) as client:
        raise KeyError("the test", client.join("room:1").push("actor").reply())


def test_children_are_stopped_before_the_look_at_what_is_left() -> None:
    presence = Presence()
    with ChannelTest(UserSocket, children=[presence]) as client:
        assert presence.list("room:1") == {}
        client.test.start_supervised(ChildSpec(Child, id="more"))
        assert len([ref for ref in client.runtime.actors if ref.actor_class is Child]) == 1


def test_a_child_that_cannot_start_is_the_tests_error_and_leaves_nothing() -> None:
    before = ActorRegistry.get_all()

    class Failing(Actor):
        def on_start(self) -> None:
            raise ArithmeticError("not today")

    with pytest.raises(Exception, match="ArithmeticError: not today"):
        ChannelTest(UserSocket, children=[ChildSpec(Failing)]).__enter__()
    assert ActorRegistry.get_all() == before


# A serializer


class Point(msgspec.Struct):
    x: int


class Unwritable:
    """A value that no serializer can encode."""


class PayloadChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok(Point(1))

    def handle_in(self, event: str, payload: Any) -> Any:
        answers = {
            "point": Point(1),
            "keys": {1: (2, 3)},
            "bytes": b"\0",
            "sets": {"sets": {1}},
            "unwritable": {"it": Unwritable()},
        }
        if event == "shout":
            self.broadcast("shout", answers[payload])
            return None
        return ok(answers[event])


def test_payloads_are_python_objects_unless_a_serializer_is_asked_for(client: TestClient) -> None:
    room = client.test.socket(channels={"payloads": PayloadChannel}).join("payloads")
    assert room.reply.payload == Point(1)
    assert room.push("keys").assert_reply("ok", {1: [2, 3]}).payload == {1: (2, 3)}
    room.push("shout", "sets")
    room.assert_push("shout", {"sets": {1}})


def test_what_could_not_be_sent_crashes_its_author_and_names_the_line() -> None:
    with ChannelTest(UserSocket) as client:
        room = client.test.socket(channels={"payloads": PayloadChannel}).join("payloads")
        text = r"payload of 'unwritable' on 'payloads' at \$\.it: .* it is a reply of PayloadChannel\.handle_in\(\) \(.*test_"
        with client.expect_crash(TypeError, match=text):
            room.push("unwritable")
        room.assert_push("phx_error")


class Careless(Channel):
    def join(self, topic: str, payload: Any) -> Any:
        return ok({"it": Unwritable()}) if payload else ok()

    async def handle_in(self, event: str, payload: Any) -> Any:
        if event == "stop":
            return Stop("left", reply=ok([Unwritable()]))
        return error({"it": {"deep": Unwritable()}})


@pytest.mark.parametrize(
    ("event", "path"), [("stop", r"\$\[0\]"), ("refuse", r"\$\.it\.deep"), ("phx_join", r"\$\.it")]
)
def test_a_reply_that_cannot_be_sent_names_the_callback(event: str, path: str) -> None:
    callback = "join" if event == "phx_join" else "handle_in"
    where = rf"it is a reply of Careless\.{callback}\(\) \(.*test_channel_test\.py:"
    text = rf"payload of '{event}' on 'careless' at {path}: .*; {where}"
    with ChannelTest(UserSocket) as client:
        careless = client.test.socket(channels={"careless": Careless})
        with client.expect_crash(UnencodableError, match=text):
            if event == "phx_join":
                careless.try_join("careless", {"a": 1})
            else:
                careless.join("careless").push(event)


def test_a_broadcast_that_no_client_gets_is_checked(client: TestClient) -> None:
    room = client.subscribe_and_join("room:1")
    room.leave()
    with pytest.raises(
        TypeError, match=r"payload of 'news' on 'room:1' at \$\.it: Encoding objects of type Unwritable"
    ):
        room.broadcast_from("news", {"it": Unwritable()})


def test_with_a_serializer_payloads_look_as_json_would_bring_them() -> None:
    with ChannelTest(UserSocket, serializer=V2JSONSerializer()) as client:
        room = client.test.socket(channels={"payloads": PayloadChannel}).join("payloads")
        assert room.reply.payload == {"x": 1}
        assert room.push("keys").assert_reply("ok").payload == {"1": [2, 3]}
        assert room.push("bytes").assert_reply("ok").payload == b"\0"
        room.push("shout", "keys")
        assert room.assert_push("shout").payload == {"1": [2, 3]}


def test_with_a_serializer_what_cannot_be_written_crashes_its_author() -> None:
    with ChannelTest(UserSocket, serializer=V2JSONSerializer()) as client:
        room = client.test.socket(channels={"payloads": PayloadChannel}).join("payloads")
        with client.expect_crash(TypeError, match="Unwritable is unsupported"):
            room.push("unwritable")
        room.assert_push("phx_error")


def test_a_broadcast_that_the_serializer_has_no_form_for_does_not_come() -> None:
    with ChannelTest(UserSocket, serializer=V1JSONSerializer()) as client:
        room = client.test.socket(channels={"payloads": PayloadChannel}).join("payloads")
        room.push("shout", "bytes")
        room.refute_push("shout")
