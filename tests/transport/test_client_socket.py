"""A client's socket: when it connects, its heartbeat, which channel gets which message; in virtual time."""

from __future__ import annotations

import math
from typing import Any

import pytest

from actors.channels.message import Message
from tests.transport.client_world import World
from transport.client.exceptions import ParamsError
from transport.client.protocol.options import Options
from transport.client.protocol.reconnection import reconnect_after, rejoin_after


@pytest.fixture
def world() -> World:
    return World()


def listened(world: World) -> list[tuple[Any, ...]]:
    """Return a log of all callbacks of the socket."""
    heard: list[tuple[Any, ...]] = []
    for kind in ("open", "close", "error", "message"):
        world.socket.on(kind, lambda *args, kind=kind: heard.append((kind, *args)))
    return heard


# Connecting


def test_connect_opens_one_connection(world: World) -> None:
    world.socket.connect()
    world.socket.connect()
    world.settle()
    assert (world.opened, world.socket.state.value) == ([1], "connecting")
    world.socket.opened(1)
    world.settle()
    world.socket.connect()
    world.settle()
    assert (world.opened, world.socket.state.value) == ([1], "open")


def test_a_connection_that_cannot_be_made_is_tried_again_with_back_off(world: World) -> None:
    world.socket.connect()
    world.settle()
    for count, wait in enumerate([0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5, 5], start=1):
        world.refuse()
        world.advance(wait * 0.9)
        assert len(world.opened) == count
        world.advance(wait * 0.1)
        assert len(world.opened) == count + 1


def test_the_back_off_begins_anew_when_a_connection_is_made(world: World) -> None:
    world.socket.connect()
    for _ in range(5):
        world.refuse()
        world.advance(5)
    world.socket.opened(world.socket.connection)
    world.advance(5)
    world.drop()
    before = len(world.opened)
    world.advance(0.01)
    assert len(world.opened) == before + 1


@pytest.mark.parametrize("accepts", ["connection", "join"])
def test_a_server_that_accepts_and_closes_is_called_ever_more_rarely(world: World, accepts: str) -> None:
    world.channel().join()
    for wait in [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5, 5]:
        count = len(world.opened)
        world.open()
        if accepts == "join":
            world.answer(world.sent[-1])
        world.advance(0)
        world.drop()
        world.advance(wait * 0.9)
        assert len(world.opened) == max(count, 1)
        world.advance(wait * 0.1)
        assert len(world.opened) == max(count, 1) + 1


def test_how_long_a_connection_must_last_is_an_option() -> None:
    world = World(min_uptime=60)
    world.socket.connect()
    for _ in range(5):
        world.refuse()
        world.advance(5)
    for lasts, is_good in [(59, False), (60, True)]:
        world.socket.opened(world.socket.connection)
        world.begin_to_say()
        world.advance(lasts)
        world.drop()
        before = len(world.opened)
        world.advance(0.01)
        assert (len(world.opened) == before + 1) is is_good
        world.advance(5)


@pytest.mark.parametrize("state", ["open", "connecting", "waiting", "closed"])
def test_reconnect_makes_a_new_connection_now(world: World, state: str) -> None:
    member = world.joined()
    for _ in range(9):
        world.drop()
        world.socket.connect()
        world.refuse()
        world.advance(5)
    match state:
        case "open":
            world.open()
        case "waiting":
            world.refuse()
        case "closed":
            world.socket.disconnect()
    world.settle()
    world.closed.clear()
    heard, last = listened(world), world.opened[-1]
    world.socket.reconnect()
    world.settle()
    assert (world.socket.state.value, world.opened[-1]) == ("connecting", last + 1)
    assert {"connect", "reconnect"} & set(world.running()) == {"connect"}
    is_replaced = state in {"open", "connecting"}
    assert world.closed == [(last, 1000, "reconnect")] * is_replaced
    assert heard == [("close", 1000, "reconnect")] * is_replaced
    world.sent.clear()
    world.refuse()
    world.advance(0.01)
    assert world.opened[-1] == last + 2, "the delays start from the shortest"
    world.open()
    assert (world.events(), member.state) == (["phx_join"], "joining")


def test_a_connection_that_takes_too_long_is_given_up_and_tried_again() -> None:
    world = World(timeout=4)
    heard = listened(world)
    world.socket.connect()
    world.advance(4)
    assert world.closed == [(1, 1000, "")]
    (error, close) = heard
    assert (error[0], str(error[1]), close) == ("error", "no connection within 4 s", ("close", 1006, ""))
    world.advance(0.01)
    assert world.opened == [1, 2]


def test_connect_does_not_wait_for_the_next_try(world: World) -> None:
    world.socket.connect()
    for _ in range(10):
        world.refuse()
        world.advance(5)
    world.refuse()
    count = len(world.opened)
    world.socket.connect()
    world.settle()
    assert (len(world.opened), world.running()) == (count + 1, ["connect"])


def test_what_becomes_of_an_earlier_connection_does_not_matter(world: World) -> None:
    world.open()
    world.socket.disconnect()
    world.open()
    heard = listened(world)
    world.socket.closed(1, 1006, "")
    world.socket.failed(1, OSError())
    world.socket.opened(1)
    world.socket.received(1, Message(None, None, "a", "b", {}))
    world.socket.malformed(1, ValueError())
    world.settle()
    assert (world.socket.state.value, heard) == ("open", [])


# Losing the connection


def test_a_connection_that_is_lost_is_made_again(world: World) -> None:
    heard = listened(world)
    world.open()
    world.drop(1001)
    assert heard == [("open",), ("close", 1001, "")]
    assert not world.socket.is_over
    world.advance(0.01)
    assert world.opened == [1, 2]


def test_a_connection_that_the_server_closes_with_1000_is_not_made_again(world: World) -> None:
    member = world.joined()
    world.drop(1000)
    assert (world.socket.is_over, member.state, member.ends) == (True, "errored", 1)
    assert world.running() == []
    world.open()
    assert world.events() == ["phx_join"]


def test_disconnect_closes_and_does_not_reconnect(world: World) -> None:
    heard = listened(world)
    member = world.joined()
    world.socket.disconnect(4000, "bye")
    world.settle()
    assert world.closed == [(1, 4000, "bye")]
    assert heard[-1] == ("close", 4000, "bye")
    assert (world.socket.is_over, member.state, member.ends, world.running()) == (True, "errored", 1, [])


def test_disconnect_between_two_tries_ends_them(world: World) -> None:
    world.socket.connect()
    world.refuse()
    assert world.running() == ["reconnect"]
    world.socket.disconnect()
    world.settle()
    assert (world.running(), world.closed, world.socket.is_over) == ([], [], True)


def test_disconnect_while_connecting_gives_up(world: World) -> None:
    world.socket.connect()
    world.socket.disconnect()
    world.settle()
    assert (world.closed, world.running()) == ([(1, 1000, "")], [])
    world.socket.opened(1)
    assert world.socket.state.value == "closed"


def test_channels_are_joined_again_after_disconnect_and_connect(world: World) -> None:
    member = world.joined()
    world.socket.disconnect()
    world.settle()
    kept = member.push("kept")
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join", "kept"]
    assert kept == []


def test_all_channels_can_be_left_at_once(world: World) -> None:
    members = [world.joined("room:1"), world.joined("room:2"), world.channel("room:3")]
    world.sent.clear()
    waiting = members[0].push("question")
    world.socket.close_channels()
    world.socket.disconnect()
    world.settle()
    assert world.events() == ["question", "phx_leave", "phx_leave"]
    assert [member.state for member in members] == ["closed"] * 3
    assert (waiting, world.socket.channels, world.running()) == ([("closed", {})], [], [])


# Heartbeat


def test_a_heartbeat_is_sent_each_interval_while_they_are_answered(world: World) -> None:
    world.open()
    for count in (1, 2, 3):
        world.advance(29.9)
        assert len(world.sent) == count - 1
        world.advance(0.1)
        beat = world.sent[-1]
        assert (beat.topic, beat.event, beat.join_ref) == ("phoenix", "heartbeat", None)
        world.answer(beat)
    assert len({beat.ref for beat in world.sent}) == 3
    assert world.closed == []


def test_a_heartbeat_that_is_not_answered_closes_and_reconnects() -> None:
    world = World(heartbeat_interval=7)
    heard = listened(world)
    member = world.joined()
    world.advance(14)
    assert world.closed == [(1, 1000, "heartbeat timeout")]
    assert heard[-1] == ("close", 1000, "heartbeat timeout")
    assert member.heard == [("phx_error", {"source": "transport", "reason": "heartbeat_timeout"})]
    world.advance(0.01)
    assert world.opened == [1, 2]
    world.open()
    assert world.events() == ["heartbeat", "phx_join"]


def test_a_heartbeat_that_a_lost_connection_has_swallowed_does_not_matter(world: World) -> None:
    world.open()
    world.advance(30)
    world.drop()
    world.open()
    world.advance(30)
    assert (world.events(), world.closed) == (["heartbeat", "heartbeat"], [])


def test_each_byte_received_is_a_sign_of_life(world: World) -> None:
    world.open()
    for _ in range(10):
        world.advance(30)
        world.begin_to_say()
    assert (world.events(), world.closed) == (["heartbeat"] * 10, [])
    world.advance(30)
    assert world.closed == [], "the last bytes came after the last heartbeat"
    world.advance(30)
    assert world.closed == [(1, 1000, "heartbeat timeout")]


def test_bytes_of_an_earlier_connection_are_no_sign_of_life(world: World) -> None:
    world.open()
    world.drop()
    world.open()
    world.advance(30)
    world.socket.heard(1)
    world.advance(30)
    assert world.closed == [(2, 1000, "heartbeat timeout")]


@pytest.mark.parametrize("end", ["disconnect", "drop"])
def test_without_a_connection_there_is_no_heartbeat(world: World, end: str) -> None:
    world.open()
    if end == "drop":
        world.drop(1000)
    else:
        world.socket.disconnect()
    world.advance(100)
    assert world.sent == []


# Long polling


def test_long_polling_may_be_chosen(world: World) -> None:
    world = World(transport="longpoll")
    world.open()
    world.advance(100)
    assert (world.transports, world.events(), world.socket.transport) == (["longpoll"], [], "longpoll")
    world.drop(3410)
    world.advance(0.01)
    assert world.transports == ["longpoll"] * 2


def test_without_a_fallback_a_websocket_is_tried_again(world: World) -> None:
    for _ in range(3):
        world.socket.connect()
        world.settle()
        world.refuse()
    world.open()
    assert set(world.transports) == {"websocket"}


def test_a_websocket_that_cannot_be_opened_is_replaced_at_once() -> None:
    world = World(longpoll_fallback=2.5)
    heard = listened(world)
    world.socket.connect()
    world.settle()
    world.refuse()
    assert (world.transports, world.socket.state.value, heard) == (["websocket", "longpoll"], "connecting", [])
    world.open()
    assert (world.socket.transport, heard) == ("longpoll", [("open",)])


def test_a_websocket_that_is_not_open_in_time_is_replaced() -> None:
    world = World(longpoll_fallback=2.5)
    world.socket.connect()
    world.advance(2.5)
    assert (world.transports, world.closed) == (["websocket", "longpoll"], [(1, 1000, "")])
    world.advance(2.5)
    assert world.running() == ["connect"], "the fallback has the time of any connection"


@pytest.mark.parametrize("timeout", [1, 10])
def test_a_websocket_that_takes_longer_than_any_connection_may_is_replaced_too(timeout: float) -> None:
    world = World(longpoll_fallback=20, timeout=timeout)
    heard = listened(world)
    world.socket.connect()
    world.advance(timeout)
    assert (world.transports, world.closed, heard) == (["websocket", "longpoll"], [(1, 1000, "")], [])


@pytest.mark.parametrize("heartbeat_interval", [1, 30])
def test_a_websocket_over_which_nothing_comes_is_replaced(heartbeat_interval: float) -> None:
    world = World(longpoll_fallback=2.5, heartbeat_interval=heartbeat_interval)
    member = world.channel()
    member.join()
    world.open()
    assert world.events() == ["heartbeat", "phx_join"]
    world.advance(2.5)
    assert (world.transports, world.closed) == (["websocket", "longpoll"], [(1, 1000, "fallback")])
    world.open()
    assert (world.events(), member.state) == (["heartbeat", "phx_join", "phx_join"], "joining")


def test_a_websocket_that_works_is_kept() -> None:
    world = World(longpoll_fallback=2.5)
    world.open()
    world.advance(2)
    world.begin_to_say()
    world.advance(25)
    assert (world.transports, world.closed, world.events()) == (["websocket"], [], ["heartbeat"])


def test_that_no_websocket_ever_worked_is_remembered_until_the_network_has_changed() -> None:
    world = World(longpoll_fallback=2.5)
    world.open()
    world.drop(1006)
    world.advance(0.01)
    world.refuse()
    world.open()
    world.transports.clear()
    world.drop(3410)
    world.advance(0.05)
    world.refuse()
    world.advance(1)
    assert set(world.transports) == {"longpoll"}
    world.socket.disconnect()
    world.open()
    assert set(world.transports) == {"longpoll"}
    world.socket.reconnect()
    world.settle()
    assert world.transports[-1] == "websocket"


def test_where_a_websocket_has_worked_it_is_tried_again_first() -> None:
    world = World(longpoll_fallback=2.5)
    world.open()
    world.begin_to_say()
    world.drop(1006)
    world.advance(0.01)
    world.refuse()
    world.open()
    assert world.transports == ["websocket", "websocket", "longpoll"]
    world.drop(3410)
    world.advance(1)
    assert world.transports[3] == "websocket"


def test_where_neither_works_both_are_tried_with_back_off() -> None:
    world = World(longpoll_fallback=2.5)
    heard = listened(world)
    world.socket.connect()
    world.settle()
    for wait in [0.01, 0.05, 0.1]:
        world.refuse()
        world.refuse()
        assert [kind for kind, *_ in heard] == ["error", "close"]
        heard.clear()
        world.advance(wait)
    assert world.transports == ["websocket", "longpoll"] * 3 + ["websocket"]


def test_params_that_fail_would_fail_again() -> None:
    world = World(longpoll_fallback=2.5)
    world.socket.connect()
    world.settle()
    world.socket.failed(1, ParamsError("no token"))
    world.advance(0.01)
    assert world.transports == ["websocket", "websocket"]


@pytest.mark.parametrize("end", ["disconnect", "drop"])
def test_after_the_end_there_is_no_fallback(end: str) -> None:
    world = World(longpoll_fallback=2.5)
    world.open()
    if end == "drop":
        world.drop(1000)
    else:
        world.socket.disconnect()
    world.advance(100)
    assert (world.transports, world.timers) == (["websocket"], {})


# Callbacks


def test_all_messages_are_heard_by_the_socket(world: World) -> None:
    world.open()
    heard = listened(world)
    world.say(None, None, "room:1", "event", {"n": 1})
    (kind, message) = heard[0]
    assert (kind, message.topic, message.event, message.payload) == ("message", "room:1", "event", {"n": 1})


def test_what_is_no_message_is_told_and_the_connection_goes_on(world: World) -> None:
    world.open()
    heard = listened(world)
    error = ValueError("no message")
    world.socket.malformed(1, error)
    world.settle()
    assert (heard, world.socket.is_open) == ([("error", error)], True)


def test_a_callback_is_taken_back(world: World) -> None:
    heard: list[str] = []
    ref = world.socket.on("open", lambda: heard.append("first"))
    world.socket.on("open", lambda: heard.append("second"))
    world.socket.off(ref)
    world.open()
    assert heard == ["second"]


def test_a_callback_may_use_the_socket(world: World) -> None:
    member = world.joined()
    member.channel.on("question", lambda payload: member.channel.push("answer", payload))
    world.say(None, None, "room:1", "question", {"n": 1})
    assert [(message.event, message.payload) for message in world.sent] == [("answer", {"n": 1})]


# Options


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("timeout", 0),
        ("timeout", math.nan),
        ("timeout", "10"),
        ("timeout", True),
        ("heartbeat_interval", -1),
        ("heartbeat_interval", None),
        ("transport", "carrier pigeon"),
        ("longpoll_fallback", 0),
        ("longpoll_fallback", True),
        ("min_uptime", -1),
        ("min_uptime", None),
        ("jitter", 1.5),
        ("jitter", -0.1),
        ("jitter", "a lot"),
        ("max_buffered", -1),
        ("max_buffered", None),
    ],
)
def test_an_option_out_of_its_range_is_named(option: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{option} .* got {wrong!r}$"):
        Options(**{option: wrong})


@pytest.mark.parametrize("option", ["reconnect_after", "rejoin_after"])
def test_a_delay_is_a_function(option: str) -> None:
    options: dict[str, Any] = {option: 5}
    with pytest.raises(TypeError, match=rf"^{option} must be a function .* such as lambda tries: 5\.0, got 5$"):
        Options(**options)


def test_the_delays_may_be_ones_own() -> None:
    world = World(reconnect_after=lambda tries: 100.0 * tries, rejoin_after=lambda tries: 1000.0 * tries)
    world.socket.connect()
    world.refuse()
    assert world.clock.next_at() == 100
    world.socket.connect()
    member = world.joined()
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    assert max(timer.at for timer in world.timers.values()) == 1000


def test_delays_of_ones_own_that_fail_do_not_end_the_tries(caplog: pytest.LogCaptureFixture) -> None:
    steps: dict[int, float] = {}
    world = World(reconnect_after=steps.__getitem__, rejoin_after=steps.__getitem__)
    world.socket.connect()
    world.refuse()
    assert (world.socket.reconnecting, world.clock.next_at()) == (True, reconnect_after(1))
    member = world.joined()
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    assert "rejoin room:1" in world.running()
    world.advance(rejoin_after(1))
    assert world.events() == ["phx_join"]
    assert [message.partition(":")[0] for message in caplog.messages] == ["reconnect", "rejoin room"]


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 100), (0.5, 80), (1.0, 60)])
def test_the_jitter_takes_off_a_share_at_random(random: float, seconds: float) -> None:
    world = World(reconnect_after=lambda _: 100.0, jitter=0.4, random=lambda: random)
    world.socket.connect()
    world.refuse()
    assert world.clock.next_at() == pytest.approx(seconds)


# The token of the connection


def tokens() -> dict[str, str]:
    return {"access_token": "the next one"}


def warn(world: World) -> None:
    world.say(None, None, "phoenix", "token_expires", {"expires_in": 30})


def test_a_warning_that_the_token_expires_is_answered_with_another() -> None:
    world = World(token=tokens)
    world.open()
    warn(world)
    [resolve] = world.resolving
    assert resolve.source is tokens
    resolve.done(tokens())
    world.settle()
    [message] = world.sent
    assert (message.join_ref, message.topic, message.event) == (None, "phoenix", "access_token")
    assert message.payload == {"access_token": "the next one"}


def test_a_token_that_comes_when_the_connection_is_another_is_not_sent() -> None:
    world = World(token=tokens)
    world.open()
    warn(world)
    world.drop()
    world.resolving[0].done("late")
    world.open()
    world.resolving[0].done("too late")
    world.settle()
    assert world.events() == []


def test_without_another_token_nothing_is_answered(world: World) -> None:
    heard = listened(world)
    world.open()
    warn(world)
    assert (world.events(), world.resolving) == ([], [])
    assert heard[-1][0] == "message"


def test_a_function_that_fails_is_reported() -> None:
    world = World(token=tokens)
    heard = listened(world)
    world.open()
    warn(world)
    failure = ParamsError("no token")
    world.resolving[0].failed(failure)
    world.settle()
    assert heard[-1] == ("error", failure)


@pytest.mark.parametrize(("status", "is_reported"), [("error", True), ("ok", False)])
def test_a_token_that_is_refused_is_reported(status: str, *, is_reported: bool) -> None:
    world = World(token=tokens)
    heard = listened(world)
    world.open()
    warn(world)
    world.resolving[0].done("forged")
    world.settle()
    world.answer(world.sent[0], status, {"reason": "forged"})
    errors = [entry[1] for entry in heard if entry[0] == "error"]
    if is_reported:
        assert [(error.event, error.status, error.response) for error in errors] == [
            ("access_token", "error", {"reason": "forged"})
        ]
    else:
        assert errors == []


def test_the_replies_to_heartbeats_and_other_messages_of_the_server_are_no_matter(world: World) -> None:
    heard = listened(world)
    world.open()
    world.say(None, "99", "phoenix", "phx_reply", {"status": "error", "response": {}})
    world.say(None, None, "phoenix", "phx_reply", [])
    world.say(None, None, "phoenix", "other", {})
    assert [entry[0] for entry in heard if entry[0] != "message"] == ["open"]
    assert world.sent == []


def test_a_token_can_be_sent_at_any_time_while_there_is_a_connection(world: World) -> None:
    world.socket.send_token({"access_token": "too early"})
    world.open()
    world.socket.send_token({"access_token": "admin"})
    world.settle()
    world.drop()
    world.socket.send_token({"access_token": "too late"})
    world.settle()
    assert [message.payload for message in world.sent] == [{"access_token": "admin"}]
