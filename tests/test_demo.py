"""The blog post's channel tests, on virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from actors.exceptions import UnhandledEventError
from demo import UserSocket, presence
from tests.presence_client import PresenceClient
from transport.testing.channel_test import ChannelTest, JoinedChannel, TestClient, remaining, state
from transport.testing.exceptions import JoinRefusedError


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(UserSocket, children=[presence]) as connected:
        yield connected


@pytest.fixture
def demo(client: TestClient) -> JoinedChannel:
    return client.subscribe_and_join("demo:lobby")


def test_any_socket_can_join(client: TestClient) -> None:
    assert client.join("demo:lobby").reply.status == "ok"


def test_a_tick_comes_at_once_after_the_reply(client: TestClient) -> None:
    client.try_join("demo:lobby")
    assert [message.event for message in client.received] == ["phx_reply", "tick"]
    assert client.received[1].payload == {"value": 0}


def test_the_next_tick_stands_at_five_seconds(demo: JoinedChannel) -> None:
    assert remaining(state(demo)["tick_timer"]) == 5.0


def test_ticks_come_every_five_seconds(client: TestClient, demo: JoinedChannel) -> None:
    client.clock.advance(4.999)
    demo.assert_push("tick", {"value": 0})
    demo.refute_push("tick")
    client.clock.advance(0.001)
    demo.assert_push("tick", {"value": 1})
    client.clock.advance(10)
    demo.assert_push("tick", {"value": 2})
    demo.assert_push("tick", {"value": 3})
    assert state(demo)["current_tick"] == 4


def test_ping_is_answered(demo: JoinedChannel) -> None:
    demo.push("ping").assert_reply("ok", {"response": "pong"})


def test_ping_with_a_delay_is_answered_after_it(client: TestClient, demo: JoinedChannel) -> None:
    ref = demo.push("ping:300")
    client.clock.advance(0.299)
    ref.refute_reply()
    client.clock.advance(0.001)
    ref.assert_reply("ok", {"response": "pong", "delay": 300})


def test_pings_overtake_each_other(client: TestClient, demo: JoinedChannel) -> None:
    slow, fast = demo.push("ping:3000"), demo.push("ping:1000")
    demo.push("ping").assert_reply("ok")
    client.clock.advance(1)
    fast.assert_reply("ok")
    slow.refute_reply()
    client.clock.advance(2)
    slow.assert_reply("ok", {"response": "pong", "delay": 3000})


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("ping:abc", ValueError),
        ("ping:-5", ValueError),
        ("ping:", ValueError),
        ("ping: 5", ValueError),
        ("ping:5\n", ValueError),
        ("ping:1_0", ValueError),
        ("ping:\u0663", ValueError),
        ("ping:1.5", ValueError),
        ("ping:1e3", ValueError),
        ("ping:1:2", UnhandledEventError),
        ("nope", UnhandledEventError),
        ("", UnhandledEventError),
    ],
)
def test_an_event_that_it_does_not_know_crashes_it(
    client: TestClient, demo: JoinedChannel, event: str, error: type[Exception]
) -> None:
    with client.expect_crash(error):
        demo.push(event)
    demo.assert_push("phx_error", {"reason": "channel_crash"})
    assert client.close_code is None


def test_a_client_that_leaves_is_told_so_and_hears_no_more_ticks(client: TestClient, demo: JoinedChannel) -> None:
    demo.leave().assert_reply("ok", {})
    demo.assert_push("phx_close", {})
    demo.assert_push("tick")
    client.clock.advance(60)
    demo.refute_push("tick")


def test_a_client_that_goes_leaves_no_timer(client: TestClient, demo: JoinedChannel) -> None:
    timer = state(demo)["tick_timer"]
    demo.close()
    assert timer.remaining() is None


def debounce(demo: JoinedChannel) -> str:
    debounced: str = state(demo)["debounce_ping_debounce_state"]
    return debounced


def test_debouncing_begins_idle(demo: JoinedChannel) -> None:
    assert debounce(demo) == "idle"


def test_the_first_debounce_ping_is_pushed_at_once(demo: JoinedChannel) -> None:
    demo.push("debounce_ping").refute_reply()
    demo.assert_broadcast("debounce_ping", {})
    demo.assert_push("debounce_ping", {})
    assert debounce(demo) == "debouncing"
    assert remaining(state(demo)["debounce_ping_debounce_timer"]) == 3.0


def test_the_second_one_waits(client: TestClient, demo: JoinedChannel) -> None:
    demo.push("debounce_ping")
    client.clock.advance(1)
    demo.push("debounce_ping")
    demo.assert_push("debounce_ping")
    demo.refute_push("debounce_ping")
    assert debounce(demo) == "called"
    assert remaining(state(demo)["debounce_ping_debounce_timer"]) == 2.0


def test_what_came_meanwhile_is_pushed_once_when_the_time_is_over(client: TestClient, demo: JoinedChannel) -> None:
    for _ in range(5):
        demo.push("debounce_ping")
    demo.assert_push("debounce_ping")
    client.clock.advance(2.999)
    demo.refute_push("debounce_ping")
    client.clock.advance(0.001)
    demo.assert_push("debounce_ping")
    demo.refute_push("debounce_ping")
    assert debounce(demo) == "debouncing"
    assert remaining(state(demo)["debounce_ping_debounce_timer"]) == 3.0


def test_debouncing_ends_idle_when_nothing_came_meanwhile(client: TestClient, demo: JoinedChannel) -> None:
    demo.push("debounce_ping")
    demo.assert_push("debounce_ping")
    client.clock.advance(3)
    demo.refute_push("debounce_ping")
    assert debounce(demo) == "idle"
    demo.push("debounce_ping")
    demo.assert_push("debounce_ping")


def test_each_client_debounces_for_itself(client: TestClient, demo: JoinedChannel) -> None:
    demo.push("debounce_ping")
    other = client.connect().join("demo:lobby")
    demo.push("debounce_ping")
    other.assert_push("debounce_ping")
    assert debounce(other) == "debouncing"
    assert debounce(demo) == "called"


def test_a_debounced_broadcast_from_elsewhere_reaches_the_client(demo: JoinedChannel) -> None:
    demo.broadcast_from("debounce_ping", {})
    demo.assert_push("debounce_ping", {})
    demo.refute_broadcast("debounce_ping")


# Who is in a room


def here(room: JoinedChannel) -> dict[str, int]:
    """Return how many metas each user has on the list that a client keeps from the events that have come to it."""
    browser = PresenceClient()
    for message in room.client.received:
        if message.topic == room.topic:
            browser.receive(message.event, message.payload)
    assert browser.state == presence.list(room.topic)
    return {user: len(present["metas"]) for user, present in browser.state.items()}


def join(client: TestClient, user: str, topic: str = "room:lobby") -> JoinedChannel:
    return client.connect({"user": user}).join(topic)


def events(room: JoinedChannel) -> list[str]:
    return [message.event for message in room.client.received if message.topic == room.topic]


def test_after_the_reply_come_ones_own_diff_and_then_the_state(client: TestClient) -> None:
    client.try_join("room:lobby")
    reply, diff, state = client.received
    assert [message.event for message in (reply, diff, state)] == ["phx_reply", "presence_diff", "presence_state"]
    assert reply.payload.payload == {}
    assert (diff.join_ref, state.join_ref) == (None, "1")
    assert diff.payload == {"joins": state.payload, "leaves": {}}
    [meta] = state.payload["anonymous"]["metas"]
    assert sorted(meta) == ["online_at", "phx_ref"]
    assert type(meta["online_at"]) is int


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("blob", {"a": 1}),
        ("blob", "text"),
        ("blob", None),
        ("kick", {"user": {}}),
        ("kick", {}),
        ("kick", b"ann"),
        ("new_msg", b"hi"),
        ("new_msg", {}),
    ],
)
def test_a_payload_that_an_event_cannot_have_crashes_the_room(client: TestClient, event: str, payload: Any) -> None:
    room = join(client, "ann")
    with client.expect_crash():
        room.push(event, payload)
    room.assert_push("phx_error", {"reason": "channel_crash"})


@pytest.mark.parametrize(("event", "payload"), [("blob", b"\x00"), ("echo", b"\x00"), ("echo", [1])])
def test_what_is_echoed_comes_back(client: TestClient, event: str, payload: Any) -> None:
    join(client, "ann").push(event, payload).assert_reply("ok", payload)


@pytest.mark.parametrize("user", ["ben", 5, None])
def test_a_user_may_be_kicked_who_is_not_there(client: TestClient, user: Any) -> None:
    join(client, "ann").push("kick", {"user": user}).assert_reply("ok", {})


@pytest.mark.parametrize(("digits", "delay"), [("+5", 5), ("-0", 0), ("007", 7)])
def test_a_delay_may_have_a_sign(client: TestClient, demo: JoinedChannel, digits: str, delay: int) -> None:
    ref = demo.push(f"ping:{digits}")
    client.clock.advance(1)
    ref.assert_reply("ok", {"response": "pong", "delay": delay})


def test_nobody_is_in_a_room_that_lets_nobody_in(client: TestClient) -> None:
    with pytest.raises(JoinRefusedError, match="unauthorized"):
        client.join("room:vip")
    assert client.received == []
    assert presence.list("room:vip") == {}


def test_those_who_are_there_hear_only_who_has_come(client: TestClient) -> None:
    ann = join(client, "ann")
    ann.assert_push("presence_diff")
    ann.assert_push("presence_state")
    ben = join(client, "ben")
    [heard] = ann.client.received
    assert (list(heard.payload["joins"]), heard.payload["leaves"]) == (["ben"], {})
    assert here(ben) == {"ann": 1, "ben": 1}


def test_two_tabs_of_a_user_are_two_metas(client: TestClient) -> None:
    ann = join(client, "ann")
    tab = join(client, "ann")
    assert here(ann) == here(tab) == {"ann": 2}
    tab.client.close()
    assert here(ann) == {"ann": 1}


def end_by(how: str, room: JoinedChannel) -> Any:
    with room.client.expect_crash(RuntimeError) if how == "crash" else nullcontext():
        return ended_by(how, room)


def ended_by(how: str, room: JoinedChannel) -> Any:
    match how:
        case "close":
            return room.client.close()
        case "kill":
            return room.ref.kill()
        case "leave":
            return room.leave()
    return room.push(how)


@pytest.mark.parametrize("how", ["leave", "close", "crash", "stop", "kill", "crash_transport"])
def test_whoever_ends_however_leaves_the_list(client: TestClient, how: str) -> None:
    ann, ben = join(client, "ann"), join(client, "ben")
    assert here(ann) == {"ann": 1, "ben": 1}
    end_by(how, ben)
    assert here(ann) == {"ann": 1}
    assert events(ben).count("presence_diff") == 1


def test_whoever_joins_again_after_a_crash_is_there_again(client: TestClient) -> None:
    ann, ben = join(client, "ann"), join(client, "ben")
    end_by("crash", ben)
    ben.assert_push("phx_error")
    again = ben.client.join("room:lobby")
    assert here(ann) == {"ann": 1, "ben": 1}
    assert list(again.assert_push("presence_state").payload) == ["ann", "ben"]


def test_joining_twice_leaves_before_it_joins(client: TestClient) -> None:
    ann, ben = join(client, "ann"), join(client, "ben")
    ben.client.join("room:lobby")
    sides = [{side: list(of) for side, of in diff.items() if of} for diff in diffs(ann)]
    assert sides == [{"joins": ["ann"]}, {"joins": ["ben"]}, {"leaves": ["ben"]}, {"joins": ["ben"]}]


def diffs(room: JoinedChannel) -> list[dict[str, Any]]:
    return [message.payload for message in room.client.received if message.event == "presence_diff"]


def test_each_room_has_a_list_of_its_own(client: TestClient) -> None:
    ann, ben = join(client, "ann"), join(client, "ben", "room:other")
    assert (here(ann), here(ben)) == ({"ann": 1}, {"ben": 1})


def test_nobody_notices_that_the_presence_is_killed(client: TestClient) -> None:
    ann, ben = join(client, "ann"), join(client, "ben")
    before, server = events(ann), presence.server
    assert server is not None
    server.actor_ref.kill()
    assert events(ann) == before
    assert presence.server is not server
    end_by("crash", ben)
    assert here(ann) == {"ann": 1}
    join(client, "cid")
    assert here(ann) == {"ann": 1, "cid": 1}


def test_whoever_ends_while_the_presence_is_dead_leaves_too(client: TestClient) -> None:
    ann, ben = join(client, "ann"), join(client, "ben")
    assert here(ann) == {"ann": 1, "ben": 1}
    assert presence.server is not None
    presence.server.actor_ref.kill()
    ben.ref.kill()
    assert here(ann) == {"ann": 1}
