"""The token of a connection, over time: a warning, another token, the end; on virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any, ClassVar

import pytest

from actors.channel import Channel
from actors.channels.message import Reply, error, ok
from actors.exits import Shutdown, Stop
from actors.lowlevel import state_of
from actors.mailbox import Mailbox
from supervisors.observer.opened import redacted
from tests.live import WAIT
from tests.transport.wire import collected
from transport.endpoint import Endpoint
from transport.exceptions import SocketError, TokenError
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer
from transport.socket import Route, Socket
from transport.socket_events import TOKEN_HANDLED
from transport.testing.channel_test import ChannelTest, JoinedChannel, Pushed, TestClient
from transport.testing.exceptions import ConnectRefusedError
from transport.transport import Transport

HOUR = 3600.0
GATES: list[asyncio.Future[Reply]] = []
ENDED: list[object] = []


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        self.assigns["told"] = []
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        return ok({"event": event})

    def handle_token(self) -> Stop | None:
        self.assigns["told"].append(self.assigns["role"])
        return Stop(Shutdown("banned")) if self.assigns["role"] == "banned" else None

    def terminate(self, reason: object) -> None:
        ENDED.append(reason)


class SlowJoin(RoomChannel):
    async def join(self, topic: str, payload: Any) -> Reply:  # type: ignore[override]  # as authors write it
        self.assigns["told"] = []
        return await gate()


def gate() -> asyncio.Future[Reply]:
    GATES.append(asyncio.get_event_loop().create_future())
    return GATES[-1]


class UserSocket(Socket):
    """Its tokens are a role and the seconds for which they are good, such as "admin:60"; an hour unless they say."""

    channels: ClassVar[Any] = {
        "room:*": RoomChannel,
        "slow:*": SlowJoin,
        "own:*": Route(RoomChannel, assigns={"role": "of the route"}),
    }

    def connect(self, params: Any, connect_info: Any) -> Reply:
        return self.handle_token(params.get("token", "guest"))

    def handle_token(self, token: str) -> Reply:
        role, _, seconds = token.partition(":")
        if role == "forged":
            return error({"reason": "forged"})
        self.assigns["role"] = role
        self.expire_in(float(seconds or HOUR))
        return ok({"role": role})


class SlowSocket(UserSocket):
    handled: ClassVar[list[str]] = []

    def connect(self, params: Any, connect_info: Any) -> Reply:
        self.handled.clear()
        return super().handle_token("guest")

    async def handle_token(self, token: str) -> Reply:  # type: ignore[override]  # as authors write it
        self.handled.append(token)
        await gate()
        return UserSocket.handle_token(self, token)


class OldSocket(Socket):
    """Has an end, and takes no other token."""

    channels: ClassVar[Any] = {"room:*": RoomChannel}

    def connect(self, params: Any, connect_info: Any) -> Reply:
        self.assigns["role"] = "guest"
        self.expire_in(60)
        return ok()


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(UserSocket, {"token": "guest"}) as connected:
        yield connected


@pytest.fixture
def slow() -> Iterator[TestClient]:
    GATES.clear()
    with ChannelTest(SlowSocket) as connected:
        yield connected


def warnings(client: TestClient) -> list[int]:
    """Take the warnings that a client has received: the seconds that they tell."""
    found = []
    while (message := client.take("token_expires", "phoenix", None)) is not None:
        assert message.join_ref is None
        found.append(message.payload["expires_in"])
    return found


# The end


def test_a_client_is_warned_once_and_disconnected_behind_the_leeway(client: TestClient) -> None:
    client.advance(HOUR - 31)
    assert warnings(client) == []
    client.advance(1)
    assert warnings(client) == [30]
    client.advance(39.9)
    assert (warnings(client), client.close_code) == ([], None)
    client.advance(0.1)
    assert client.close_code == 1008


def test_the_channels_end_with_the_reason_and_finish_what_they_do(client: TestClient) -> None:
    ENDED.clear()
    client.join("room:1")
    client.advance(HOUR + 10)
    assert (client.close_code, ENDED) == (1008, [Shutdown("token expired")])


def test_what_was_received_before_the_end_is_handled(client: TestClient) -> None:
    GATES.clear()
    client.advance(HOUR + 5)
    joining = client.try_join("slow:1")
    client.advance(6)
    assert client.close_code is None
    GATES[0].set_result(ok({"late": True}))
    joining.assert_reply("ok", {"late": True})
    assert client.close_code == 1008


def test_a_class_has_its_own_times() -> None:
    class Hasty(UserSocket):
        expiry_warning, expiry_leeway = 300.0, 0.0

    with ChannelTest(Hasty) as client:
        client.advance(HOUR - 300)
        assert warnings(client) == [300]
        client.advance(300)
        assert client.close_code == 1008


@pytest.mark.parametrize("wrong", [-1, float("nan"), None, "30"], ids=repr)
@pytest.mark.parametrize("name", ["expiry_warning", "expiry_leeway"])
def test_a_time_that_is_none_is_an_error_at_the_start(name: str, wrong: Any) -> None:
    with pytest.raises(SocketError, match=rf"Odd\.{name} must be seconds >= 0"):
        Endpoint({"/socket": type("Odd", (UserSocket,), {name: wrong})})


def test_a_client_with_a_short_token_is_warned_at_half_of_its_time() -> None:
    with ChannelTest(UserSocket, {"token": "guest:10"}) as client:
        client.advance(4)
        assert warnings(client) == []
        client.advance(1)
        assert warnings(client) == [5]
        client.send_token("guest:4").assert_reply("ok")
        client.advance(1.9)
        assert warnings(client) == []
        client.advance(0.1)
        assert warnings(client) == [2]


def test_a_connection_without_an_end_has_none() -> None:
    class Plain(UserSocket):
        def connect(self, params: Any, connect_info: Any) -> Reply:
            return ok()

    with ChannelTest(Plain) as client:
        client.advance(1e7)
        assert (client.received, client.close_code) == ([], None)


def test_a_channel_whose_mailbox_is_full_learns_of_another_token(client: TestClient) -> None:
    class FullChannel(RoomChannel):
        mailbox = Mailbox(1)

        async def handle_in(self, event: str, payload: Any) -> Reply:  # type: ignore[override]  # as authors write it
            self.actor_ref.tell("takes the only place")
            return await gate()

    class FullSocket(UserSocket):
        channels: ClassVar[Any] = {"full:*": FullChannel}

    with ChannelTest(FullSocket, {"token": "guest"}) as full:
        room = full.join("full:1")
        room.push("fill")
        full.send_token("admin").assert_reply("ok")
        GATES[-1].set_result(ok())
        assert room.assigns["told"] == ["admin"]


def test_a_class_without_handle_token_warns_no_client(client: TestClient) -> None:
    with ChannelTest(OldSocket) as old:
        old.advance(69.9)
        assert (old.received, old.close_code) == ([], None)
        old.advance(0.1)
        assert old.close_code == 1008


def test_a_class_without_handle_token_leaves_the_event_to_its_channels() -> None:
    with ChannelTest(OldSocket) as client:
        client.join("room:1").push("access_token", {"access_token": "t"}).assert_reply("ok", {"event": "access_token"})
        client.send_token("t").assert_reply("error", {"reason": "unmatched topic"})


def test_a_client_that_goes_leaves_no_timer(client: TestClient) -> None:
    client.close()
    assert client.runtime.clock.pending() == client.runtime.clock.wall.pending() == 0


# At connect


@pytest.mark.parametrize("seconds", [-11.0, -3600.0])
def test_a_client_whose_token_is_over_is_refused(seconds: float) -> None:
    class Late(UserSocket):
        def connect(self, params: Any, connect_info: Any) -> Reply:
            self.expire_in(0)
            assert self.expires_at is not None
            self.expires_at += seconds
            return ok()

    with pytest.raises(ConnectRefusedError), ChannelTest(Late):
        pass


def test_a_client_within_the_leeway_is_warned_at_once(client: TestClient) -> None:
    with ChannelTest(UserSocket, {"token": "guest:0"}) as late:
        late.advance(0)
        assert warnings(late) == [0]
        late.send_token("guest").assert_reply("ok")
        late.advance(60)
        assert late.close_code is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("3600", "got '3600'"),
        (float("nan"), "got nan"),
        (True, "got True"),
        (datetime(2030, 1, 1, tzinfo=UTC), r"write \.timestamp\(\) behind it"),
    ],
    ids=repr,
)
def test_an_end_that_is_no_time_is_an_error_of_the_author(wrong: Any, says: str) -> None:
    class Odd(UserSocket):
        def connect(self, params: Any, connect_info: Any) -> Reply:
            self.expires_at = wrong
            return ok()

    with (
        pytest.raises(SocketError, match=rf"Odd\.expires_at must be a Unix time in seconds, .*{says}"),
        ChannelTest(Odd),
    ):
        pass


@pytest.mark.parametrize("wrong", [-1, float("nan"), None, "60"], ids=repr)
def test_a_number_of_seconds_that_is_none_is_an_error_of_the_author(client: TestClient, wrong: Any) -> None:
    with pytest.raises(ValueError, match="seconds must be seconds >= 0"):
        client.socket.expire_in(wrong)


# Another token


def by_phoenix(client: TestClient, _room: JoinedChannel, token: str) -> Pushed:
    return client.send_token(token)


def by_topic(_client: TestClient, room: JoinedChannel, token: str) -> Pushed:
    return room.push("access_token", {"access_token": token})


def by_topic_without_join_ref(client: TestClient, room: JoinedChannel, token: str) -> Pushed:
    ref = client.next_ref()
    client.send(None, ref, room.topic, "access_token", {"access_token": token})
    return Pushed(client, room.topic, ref, "access_token")


@pytest.mark.parametrize("send", [by_phoenix, by_topic, by_topic_without_join_ref])
def test_a_good_token_prolongs_the_connection(client: TestClient, send: Any) -> None:
    room = client.join("room:1")
    client.advance(HOUR - 30)
    assert warnings(client) == [30]
    send(client, room, "admin").assert_reply("ok", {"role": "admin"})
    client.advance(HOUR - 30.1)
    assert warnings(client) == []
    client.advance(0.1)
    assert warnings(client) == [30]
    client.advance(40)
    assert client.close_code == 1008


@pytest.mark.parametrize("send", [by_phoenix, by_topic])
def test_a_refused_token_is_answered_and_changes_nothing(client: TestClient, send: Any) -> None:
    room = client.join("room:1")
    send(client, room, "forged").assert_reply("error", {"reason": "forged"})
    assert (client.socket.assigns["role"], room.assigns["told"]) == ("guest", [])
    client.advance(HOUR + 10)
    assert (warnings(client), client.close_code) == ([30], 1008)


class HastySocket(UserSocket):
    """Stores what the token says before it finds out whether it takes it."""

    def handle_token(self, token: str) -> Reply:
        super().handle_token(token.removeprefix("refused-"))
        return error() if token.startswith("refused-") else ok()


class HastyLaterSocket(HastySocket):
    def connect(self, params: Any, connect_info: Any) -> Reply:
        return HastySocket.handle_token(self, "guest")

    async def handle_token(self, token: str) -> Reply:  # type: ignore[override]  # as authors write it
        reply = super().handle_token(token)
        await asyncio.sleep(0)
        return reply


@pytest.mark.parametrize("socket", [HastySocket, HastyLaterSocket])
def test_what_a_handler_has_stored_of_a_token_that_it_refuses_does_not_count(socket: type[Socket]) -> None:
    with ChannelTest(socket) as client:
        expires_at = client.socket.expires_at
        client.send_token("refused-admin:99999").assert_reply("error")
        assert (client.socket.assigns["role"], client.socket.expires_at) == ("guest", expires_at)
        client.send_token("user:7200").assert_reply("ok")
        assert client.socket.assigns["role"] == "user"
        client.send_token("refused-admin:99999").assert_reply("error")
        client.advance(7210)
        assert client.close_code == 1008


def test_a_time_that_a_waiting_handler_has_stored_does_not_count_yet() -> None:
    class Waiting(SlowSocket):
        async def handle_token(self, token: str) -> Reply:  # type: ignore[override]  # as authors write it
            self.expire_in(2 * HOUR)
            return await gate()

    GATES.clear()
    with ChannelTest(Waiting) as client:
        client.advance(HOUR + 5)
        client.send_token("admin")
        client.advance(5)
        assert client.close_code == 1008


def test_a_token_is_taken_until_the_leeway_is_over(client: TestClient) -> None:
    client.advance(HOUR + 9)
    client.send_token("admin").assert_reply("ok")
    client.advance(60)
    assert client.close_code is None


def test_a_token_may_shorten_the_connection(client: TestClient) -> None:
    client.send_token("guest:60").assert_reply("ok")
    client.advance(30)
    assert warnings(client) == [30]
    client.advance(40)
    assert client.close_code == 1008


def test_a_token_that_is_good_without_a_new_end_does_not_warn_again() -> None:
    class Forgetful(UserSocket):
        def handle_token(self, token: str) -> Reply:
            return ok() if self.expires_at else super().handle_token(token)

    with ChannelTest(Forgetful) as client:
        client.advance(HOUR - 30)
        client.send_token("guest").assert_reply("ok")
        client.advance(39)
        assert warnings(client) == [30]


@pytest.mark.parametrize(
    "payload",
    [{}, [], "text", None, 5, {"access_token": None}, {"access_token": 5}, {"token": "guest"}, b"bytes"],
    ids=repr,
)
def test_what_is_no_token_is_answered_with_an_error(client: TestClient, payload: Any) -> None:
    room = client.join("room:1")
    for topic, join_ref in ((room.topic, room.join_ref), ("phoenix", None)):
        ref = client.next_ref()
        client.send(join_ref, ref, topic, "access_token", payload)
        pushed = Pushed(client, topic, ref, "access_token")
        pushed.assert_reply("error", {"reason": "access_token must be a string"})


def test_a_token_for_a_topic_that_is_not_joined_or_another_join_is_none(client: TestClient) -> None:
    client.pushed(None, "room:1", "access_token", {"access_token": "admin"}).assert_reply("error")
    room = client.join("room:1")
    client.pushed("stale", room.topic, "access_token", {"access_token": "admin"}).refute_reply()
    assert client.socket.assigns["role"] == "guest"


def test_a_token_behind_a_join_waits_for_it(client: TestClient) -> None:
    GATES.clear()
    joining = client.try_join("slow:1")
    pushed = client.pushed(joining.ref, "slow:1", "access_token", {"access_token": "admin"})
    pushed.refute_reply()
    GATES[0].set_result(ok())
    joining.assert_reply("ok")
    pushed.assert_reply("ok", {"role": "admin"})
    assert client.end.intake.messages == client.end.intake.bytes == 0


@pytest.mark.parametrize("serializer", [V1JSONSerializer(), V2JSONSerializer()])
def test_each_version_of_the_protocol_has_the_events(serializer: Any) -> None:
    with ChannelTest(UserSocket, serializer=serializer) as client:
        client.advance(HOUR - 30)
        assert warnings(client) == [30]
        client.send_token("admin").assert_reply("ok", {"role": "admin"})


def test_a_handler_that_fails_ends_the_connection(client: TestClient) -> None:
    with client.expect_crash(ValueError):
        client.send_token("guest:soon")
    assert client.close_code == 1006


def test_a_handler_that_returns_something_else_says_what_to_return() -> None:
    class Odd(UserSocket):
        def connect(self, params: Any, connect_info: Any) -> Reply:
            return ok()

        def handle_token(self, token: str) -> Any:
            return True

    with (
        ChannelTest(Odd) as client,
        client.expect_crash(SocketError, match=r"handle_token\(\) must return ok\(\) or error\(\)"),
    ):
        client.send_token("t")


def test_a_method_of_another_shape_is_refused() -> None:
    with pytest.raises(TypeError, match="handle_token"):
        type("Odd", (Socket,), {"handle_token": lambda self: ok()})
    with pytest.raises(TypeError, match="handle_token"):
        type("OddChannel", (Channel,), {"handle_token": lambda self, token: None})


# The channels


def test_the_channels_get_what_has_changed_and_are_told(client: TestClient) -> None:
    room, other, own = client.join("room:1"), client.join("room:2"), client.join("own:1")
    room.ref.process.actor.assigns["mine"] = 1  # type: ignore[union-attr]  # it is a channel
    client.send_token("admin").assert_reply("ok")
    assert (room.assigns["role"], room.assigns["mine"], room.assigns["told"]) == ("admin", 1, ["admin"])
    assert other.assigns["told"] == ["admin"]
    assert own.assigns["told"] == ["of the route"]
    assert client.join("room:3").assigns["role"] == "admin"


def test_a_channel_may_end_because_of_a_token(client: TestClient) -> None:
    room = client.join("room:1")
    client.send_token("banned").assert_reply("ok")
    assert room.assert_push("phx_close").ref == room.join_ref


def test_a_channel_that_is_joining_is_told_behind_its_join(client: TestClient) -> None:
    GATES.clear()
    joining = client.try_join("slow:1")
    client.send_token("admin").assert_reply("ok")
    GATES[0].set_result(ok())
    joining.assert_reply("ok")
    room = JoinedChannel(client, "slow:1", joining.ref, ok())
    assert (room.assigns["role"], room.assigns["told"]) == ("admin", ["admin"])


def test_a_channel_that_is_being_started_is_told_too(client: TestClient) -> None:
    # Both in the mailbox of the transport actor, before it has asked for the channel.
    client.end.send_message("1", "1", "room:1", "phx_join", {})
    client.end.send_message(None, "2", "phoenix", "access_token", {"access_token": "admin"})
    client.end.send_message(None, "3", "phoenix", "access_token", {"access_token": "owner"})
    room = JoinedChannel(client, "room:1", "1", ok())
    assert room.assigns["role"] == "owner"


# Handlers that wait


def test_others_are_served_while_a_handler_waits(slow: TestClient) -> None:
    room = slow.join("room:1")
    pushed = slow.send_token("admin")
    room.push("hello").assert_reply("ok", {"event": "hello"})
    pushed.refute_reply()
    GATES[0].set_result(ok())
    pushed.assert_reply("ok", {"role": "admin"})
    assert room.assigns["told"] == ["admin"]


def test_the_same_token_for_many_topics_is_handled_once_and_others_in_order(slow: TestClient) -> None:
    rooms = [slow.join(f"room:{n}") for n in range(5)]
    first = [room.push("access_token", {"access_token": "admin"}) for room in rooms]
    second = slow.send_token("owner")
    slow.test.settle()
    assert SlowSocket.handled == ["admin"]
    GATES[0].set_result(ok())
    for pushed in first:
        pushed.assert_reply("ok", {"role": "admin"})
    second.refute_reply()
    assert SlowSocket.handled == ["admin", "owner"]
    GATES[1].set_result(ok())
    second.assert_reply("ok", {"role": "owner"})
    assert slow.end.intake.messages == slow.end.intake.bytes == 0


def test_a_handler_that_takes_too_long_is_cancelled(slow: TestClient) -> None:
    pushed = slow.send_token("admin")
    slow.advance(10)
    pushed.assert_reply("error", {"reason": "timeout"})
    assert GATES[0].cancelled()
    slow.send_token("owner")
    slow.test.settle()
    assert SlowSocket.handled == ["admin", "owner"]


def test_a_handler_that_fails_later_ends_the_connection(slow: TestClient) -> None:
    with slow.expect_crash(TokenError):
        slow.send_token("admin")
        slow.test.settle()
        GATES[0].set_exception(TokenError("bad"))
    assert slow.close_code == 1006


def test_a_connection_that_ends_cancels_a_handler(slow: TestClient) -> None:
    slow.send_token("admin")
    slow.test.settle()
    slow.close()
    assert GATES[0].cancelled()


def test_a_connection_expires_while_a_handler_waits(slow: TestClient) -> None:
    slow.advance(HOUR + 5)
    slow.send_token("admin")
    slow.advance(5)
    assert slow.close_code == 1008


# What is seen of it


def test_it_is_reported_what_was_accepted_and_the_log_has_what_was_refused(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ashtree")
    with collected(TOKEN_HANDLED, lambda _measured, about: about["result"]) as results:
        client.send_token("admin").assert_reply("ok")
        client.send_token("forged").assert_reply("error")
    assert results == ["ok", "error"]
    assert [record.getMessage() for record in caplog.records if "TOKEN" in record.getMessage()] == [
        "REFUSED TOKEN IN UserSocket"
    ]
    assert "forged" not in caplog.text


def test_a_token_that_waits_is_shown_to_no_tool(slow: TestClient) -> None:
    slow.send_token("hunter2")
    slow.test.settle()
    actor = slow.transport.process.actor
    assert isinstance(actor, Transport)
    assert "hunter2" not in repr(redacted(vars(actor))) + repr(redacted(state_of(actor))) + repr(actor._credentials)
    for process in slow.transport.process.scheduler.processes.values():
        assert "hunter2" not in repr(redacted(state_of(process.actor)))
    GATES[0].set_result(ok())


def test_a_thread_may_say_when_a_connection_expires(client: TestClient) -> None:
    thread = Thread(target=client.socket.expire_in, args=(60,))
    thread.start()
    thread.join(WAIT)
    assert client.socket.expires_at == client.runtime.clock.unix_time() + 60
