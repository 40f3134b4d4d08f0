"""What channels tell telemetry and the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from actors import Channel, Reply, Stop, error, ok, telemetry
from actors.channels.channel_events import HANDLED_IN, JOINED, LEFT, PUSH
from actors.exits import NORMAL
from actors.pubsub.pubsub import BROADCAST
from transport import Socket
from transport.testing import ChannelTest, TestClient

Seen = list[tuple[Any, Mapping[str, float], Mapping[str, Any]]]


class RoomChannel(Channel):
    """Answers as its name or event says."""

    async def join(self, topic: str, payload: Any) -> Reply:
        return error({"reason": "no"}) if topic == "room:no" else ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "push":
                self.push("pushed", {"n": 1})
            case "shout":
                self.broadcast("shouted", {"n": 2})
            case "stop":
                return Stop()
            case "crash":
                raise RuntimeError("on purpose")
        return ok()


class LoudChannel(RoomChannel):
    log_join = "warning"
    log_handle_in = "info"


class SilentChannel(RoomChannel):
    log_join = None
    log_handle_in = None


class UserSocket(Socket):
    channels = {"room:*": RoomChannel, "loud:*": LoudChannel, "silent:*": SilentChannel}  # noqa: RUF012  # as an author writes it


@pytest.fixture
def client() -> Iterator[TestClient]:
    with ChannelTest(UserSocket, expected_crashes=RuntimeError) as connected:
        yield connected


@pytest.fixture
def seen() -> Iterator[Seen]:
    events: Seen = []
    telemetry.attach("seen", [JOINED, HANDLED_IN, LEFT, PUSH, BROADCAST], lambda *event: events.append(event))
    yield events
    telemetry.detach("seen")


def names(seen: Seen) -> list[Any]:
    return [event for event, _, _ in seen]


def test_a_join_is_told_with_its_result_and_how_long_it_took(client: TestClient, seen: Seen) -> None:
    room = client.join("room:1", {"a": 1})
    client.try_join("room:no").assert_reply("error")
    (_, took, joined), (_, _, refused) = seen[:2]
    assert names(seen[:2]) == [JOINED, JOINED]
    assert took == {"duration": 0.0}
    assert (joined["result"], joined["params"], joined["channel"]) == ("ok", {"a": 1}, room.ref)
    assert (refused["result"], refused["topic"]) == ("error", "room:no")


def test_a_handled_message_is_told_and_one_that_crashes_is_not(client: TestClient, seen: Seen) -> None:
    room = client.join("room:1")
    ref = room.push("echo", {"a": 1}).ref
    room.push("crash")
    client.runtime.settle()
    handled = [about for event, _, about in seen if event == HANDLED_IN]
    assert [(about["event"], about["params"], about["ref"]) for about in handled] == [("echo", {"a": 1}, ref)]


def test_pushes_and_broadcasts_are_told(client: TestClient, seen: Seen) -> None:
    room = client.join("room:1")
    client.connect().join("room:1")
    room.push("push").assert_reply("ok")
    room.push("shout").assert_reply("ok")
    [pushed] = [about for event, _, about in seen if event == PUSH]
    [(deliveries, about)] = [(measured, about) for event, measured, about in seen if event == BROADCAST]
    assert (pushed["event"], pushed["topic"]) == ("pushed", "room:1")
    assert deliveries == {"deliveries": 2, "duration": 0.0}, "on virtual time a broadcast takes none"
    assert (about["topic"], about["pubsub"]) == ("room:1", client.pubsub)


def test_the_end_of_a_channel_is_told_with_its_reason(client: TestClient, seen: Seen) -> None:
    room = client.join("room:1")
    room.push("stop")
    client.runtime.settle()
    [about] = [about for event, _, about in seen if event == LEFT]
    assert (about["topic"], about["reason"]) == ("room:1", NORMAL)


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records if record.name == "ashtree.channels"]


def test_joins_are_logged_as_phoenix_does_at_info_and_messages_at_debug(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ashtree.channels")
    client.join("room:1", {"password": "hidden"}).push("echo", {"token": "hidden", "a": 1}).assert_reply("ok")
    client.try_join("room:no").assert_reply("error")
    assert lines(caplog) == [
        (logging.INFO, "JOINED room:1 in 0µs\n  Parameters: {'password': '[FILTERED]'}"),
        (
            logging.DEBUG,
            "HANDLED echo INCOMING ON room:1 (RoomChannel) in 0µs\n  Parameters: {'token': '[FILTERED]', 'a': 1}",
        ),
        (logging.INFO, "REFUSED JOIN room:no in 0µs\n  Parameters: {}"),
    ]


def test_a_channel_may_be_louder_or_silent(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ashtree.channels")
    client.join("silent:1").push("echo").assert_reply("ok")
    assert lines(caplog) == []
    client.join("loud:1").push("echo").assert_reply("ok")
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.INFO]
