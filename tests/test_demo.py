"""The blog post's channel tests, on virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo import UserSocket
from transport.testing import ChannelTest, JoinedChannel, TestClient


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(UserSocket) as connected:
        yield connected


@pytest.fixture
def demo(client: TestClient) -> JoinedChannel:
    return client.join("demo:lobby")


def remaining(demo: JoinedChannel, timer: str) -> float:
    left: float | None = demo.assigns[timer].remaining()
    assert left is not None
    return left


def test_any_socket_can_join(client: TestClient) -> None:
    assert client.join("demo:lobby").reply.status == "ok"


def test_a_tick_comes_at_once_after_the_reply(client: TestClient) -> None:
    client.try_join("demo:lobby")
    assert [message.event for message in client.received] == ["phx_reply", "tick"]
    assert client.received[1].payload == {"value": 0}


def test_the_next_tick_stands_at_five_seconds(demo: JoinedChannel) -> None:
    assert remaining(demo, "tick_timer") == 5.0


def test_ticks_come_every_five_seconds(client: TestClient, demo: JoinedChannel) -> None:
    client.advance(4.999)
    demo.assert_push("tick", {"value": 0})
    demo.refute_push("tick")
    client.advance(0.001)
    demo.assert_push("tick", {"value": 1})
    client.advance(10)
    demo.assert_push("tick", {"value": 2})
    demo.assert_push("tick", {"value": 3})
    assert demo.assigns["current_tick"] == 4


def test_ping_is_answered(demo: JoinedChannel) -> None:
    demo.push("ping").assert_reply("ok", {"response": "pong"})


def test_ping_with_a_delay_is_answered_after_it(client: TestClient, demo: JoinedChannel) -> None:
    ping = demo.push("ping:300")
    client.advance(0.299)
    ping.refute_reply()
    client.advance(0.001)
    ping.assert_reply("ok", {"response": "pong", "delay": 300})


def test_pings_overtake_each_other(client: TestClient, demo: JoinedChannel) -> None:
    slow, fast = demo.push("ping:3000"), demo.push("ping:1000")
    demo.push("ping").assert_reply("ok")
    client.advance(1)
    fast.assert_reply("ok")
    slow.refute_reply()
    client.advance(2)
    slow.assert_reply("ok", {"response": "pong", "delay": 3000})


@pytest.mark.parametrize("event", ["ping:abc", "ping:-5", "ping:1:2", "nope", ""])
def test_an_event_that_it_does_not_know_crashes_it(client: TestClient, demo: JoinedChannel, event: str) -> None:
    demo.push(event)
    demo.assert_push("phx_error", {"reason": "channel_crash"})
    assert client.close_code is None


def test_debouncing_begins_idle(demo: JoinedChannel) -> None:
    assert demo.assigns["debounce_ping_debounce_state"] == "idle"


def test_the_first_debounce_ping_is_pushed_at_once(demo: JoinedChannel) -> None:
    demo.push("debounce_ping").refute_reply()
    demo.assert_push("debounce_ping", {})
    assert demo.assigns["debounce_ping_debounce_state"] == "debouncing"
    assert remaining(demo, "debounce_ping_debounce_timer") == 3.0


def test_the_second_one_waits(client: TestClient, demo: JoinedChannel) -> None:
    demo.push("debounce_ping")
    client.advance(1)
    demo.push("debounce_ping")
    demo.assert_push("debounce_ping")
    demo.refute_push("debounce_ping")
    assert demo.assigns["debounce_ping_debounce_state"] == "called"
    assert remaining(demo, "debounce_ping_debounce_timer") == 2.0


def test_what_came_meanwhile_is_pushed_once_when_the_time_is_over(client: TestClient, demo: JoinedChannel) -> None:
    for _ in range(5):
        demo.push("debounce_ping")
    demo.assert_push("debounce_ping")
    client.advance(2.999)
    demo.refute_push("debounce_ping")
    client.advance(0.001)
    demo.assert_push("debounce_ping")
    demo.refute_push("debounce_ping")
    assert demo.assigns["debounce_ping_debounce_state"] == "debouncing"


def test_debouncing_ends_idle_when_nothing_came_meanwhile(client: TestClient, demo: JoinedChannel) -> None:
    demo.push("debounce_ping")
    demo.assert_push("debounce_ping")
    client.advance(3)
    demo.refute_push("debounce_ping")
    assert demo.assigns["debounce_ping_debounce_state"] == "idle"
    demo.push("debounce_ping")
    demo.assert_push("debounce_ping")


def test_each_client_debounces_for_itself(client: TestClient, demo: JoinedChannel) -> None:
    demo.push("debounce_ping")
    other = client.connect().join("demo:lobby")
    demo.push("debounce_ping")
    other.assert_push("debounce_ping")
    assert other.assigns["debounce_ping_debounce_state"] == "debouncing"
    assert demo.assigns["debounce_ping_debounce_state"] == "called"


def test_a_debounced_broadcast_from_elsewhere_reaches_the_client(client: TestClient, demo: JoinedChannel) -> None:
    other = client.connect().join("demo:lobby")
    other.push("debounce_ping")
    demo.assert_push("debounce_ping", {})
