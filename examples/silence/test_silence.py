"""Tests of the room, with the fixtures of Ashtree's pytest plugin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from silence import UserSocket
from websockets.sync.client import ClientConnection, connect

from ashtree.testing import ANY, ChannelTest, JoinedChannel, remaining, state

if TYPE_CHECKING:
    from ashtree.testing import VirtualClock
    from pytest_ashtree import StartEndpoint

# Channels without a network, on virtual time


@pytest.fixture
def ann(channel_test: ChannelTest) -> JoinedChannel:
    return channel_test.connect(UserSocket).subscribe_and_join("room:1", {"name": "ann"})


@pytest.fixture
def ben(channel_test: ChannelTest) -> JoinedChannel:
    return channel_test.connect(UserSocket).join("room:1", {"name": "ben"})


def test_a_join_without_a_name_is_refused(channel_test: ChannelTest) -> None:
    client = channel_test.connect(UserSocket)
    client.try_join("room:1").assert_reply("error", {"reason": "what is your name?"})


def test_what_a_member_says_reaches_everybody(ann: JoinedChannel, ben: JoinedChannel) -> None:
    ann.push("say", {"text": "hello"}).assert_reply("ok")
    ann.assert_broadcast("said", {"text": "hello"})
    ben.assert_push("said", {"name": "ann", "text": "hello"})


def test_a_silent_member_is_warned_and_removed(ann: JoinedChannel, virtual_clock: VirtualClock) -> None:
    virtual_clock.advance(49.999)
    ann.refute_push("are_you_there")
    virtual_clock.advance(0.001)
    ann.assert_push("are_you_there", {"seconds_left": 10})
    virtual_clock.advance(10)
    ann.assert_push("phx_close")


def test_a_member_who_speaks_stays(ann: JoinedChannel, ben: JoinedChannel, virtual_clock: VirtualClock) -> None:
    virtual_clock.advance(55)
    ann.push("say", {"text": "I am here"}).assert_reply("ok")
    assert remaining(state(ann)["end"]) == 60
    virtual_clock.advance(5)
    ann.refute_push("phx_close")
    ben.assert_push("phx_close", ANY)


def test_a_message_without_text_crashes_the_channel(channel_test: ChannelTest, ann: JoinedChannel) -> None:
    with channel_test.expect_crash(KeyError, match="text"):
        ann.push("say", {})
    ann.assert_push("phx_error")


# The same helpers in an async test


@pytest.mark.asyncio
async def test_an_hour_takes_no_time() -> None:
    async with ChannelTest(UserSocket) as client:
        ann = await client.join("room:1", {"name": "ann"})
        for _ in range(60):
            await client.clock.advance(59)
            await ann.push("say", {"text": "still here"}).assert_reply("ok")
        await ann.refute_push("phx_close")


# A real client


def receive(client: ClientConnection) -> Any:
    return json.loads(client.recv(timeout=10))


def test_over_a_real_connection(live_endpoint: StartEndpoint) -> None:
    live = live_endpoint({"/socket": UserSocket})
    with connect(live.websocket_url(), proxy=None) as client:
        client.send('["1", "1", "room:1", "phx_join", {"name": "ann"}]')
        assert receive(client) == ["1", "1", "room:1", "phx_reply", {"status": "ok", "response": {}}]
        client.send('["1", "2", "room:1", "say", {"text": "hello"}]')
        assert receive(client) == [None, None, "room:1", "said", {"name": "ann", "text": "hello"}]
