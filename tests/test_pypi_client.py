"""A client from PyPI, phoenix-channels-python-client, unchanged: it knows nothing of Ashtree."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from phoenix_channels_python_client import PhoenixChannelsProtocolVersion, PHXChannelsClient
from phoenix_channels_python_client.exceptions import PHXTopicError
from phoenix_channels_python_client.phx_messages import PHXMessage, UserEvent

from tests.live import WAIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.live import LiveDemo

    Conversation = Callable[["Member"], Awaitable[None]]

versions = pytest.mark.parametrize("version", list(PhoenixChannelsProtocolVersion))


class Member:
    """A client on one topic, and what it is told there."""

    def __init__(self, client: PHXChannelsClient, topic: str) -> None:
        self.client, self.topic = client, topic
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    async def join(self) -> None:
        await self.client.subscribe_to_topic(self.topic, self.events.put)

    async def push(self, event: str, payload: dict[str, Any]) -> None:
        """Send as the client does; it has no method of its own for it."""
        connection = self.client.connection
        assert connection is not None
        message = PHXMessage(topic=self.topic, event=UserEvent(event), ref=event, payload=payload)
        await self.client.get_protocol_handler().send_message(connection, message)

    async def until(self, event: str, **fields: Any) -> Any:
        """Return the first message of that event, and with those fields, that comes from now on."""
        while True:
            message = await self.events.get()
            if str(message.event) == event and all(getattr(message, name) == fields[name] for name in fields):
                return message


def converse(
    demo: LiveDemo, version: PhoenixChannelsProtocolVersion, conversation: Conversation, topic: str = "room:pypi"
) -> None:
    """Hold a conversation on a topic of the demo as the user pip."""

    async def run() -> None:
        url = f"{demo.websocket_address}/socket/websocket?user=pip"
        async with (
            asyncio.timeout(WAIT),
            PHXChannelsClient(url, "any key", protocol_version=version) as client,
        ):
            await conversation(Member(client, topic))

    asyncio.run(run())


@versions
def test_it_joins_and_is_told_who_is_here(demo: LiveDemo, version: PhoenixChannelsProtocolVersion) -> None:
    async def conversation(member: Member) -> None:
        await member.join()
        state = await member.until("presence_state")
        assert list(state.payload) == ["pip"]
        await member.client.unsubscribe_from_topic(member.topic)
        assert member.client.get_current_subscriptions() == {}

    converse(demo, version, conversation, f"room:pypi-here-{version}")


@versions
def test_what_it_pushes_is_answered(demo: LiveDemo, version: PhoenixChannelsProtocolVersion) -> None:
    async def conversation(member: Member) -> None:
        await member.join()
        await member.push("echo", {"body": "hé"})
        answer = await member.until("phx_reply", ref="echo")
        assert answer.payload == {"status": "ok", "response": {"body": "hé"}}

    converse(demo, version, conversation)


# What has a null join_ref, as broadcasts and "unmatched topic" have in Phoenix too, version 0.4 takes for stale when it speaks
# the protocol's version 2. So these two are told in version 1 only.


def test_what_is_broadcast_reaches_it(demo: LiveDemo) -> None:
    async def conversation(member: Member) -> None:
        await member.join()
        await member.push("new_msg", {"body": "hé"})
        assert (await member.until("new_msg")).payload == {"user": "pip", "body": "hé"}

    converse(demo, PhoenixChannelsProtocolVersion.V1, conversation)


def test_it_raises_that_a_topic_is_unknown(demo: LiveDemo) -> None:
    async def conversation(member: Member) -> None:
        with pytest.raises(PHXTopicError, match="unmatched topic"):
            await member.join()

    converse(demo, PhoenixChannelsProtocolVersion.V1, conversation, "nope:x")


@versions
def test_it_joins_again_when_its_channel_crashes(demo: LiveDemo, version: PhoenixChannelsProtocolVersion) -> None:
    async def conversation(member: Member) -> None:
        await member.join()
        await member.until("presence_state")
        await member.push("crash", {})
        await member.until("presence_state")
        await member.push("echo", {"alive": True})
        answer = await member.until("phx_reply", ref="echo")
        assert answer.payload == {"status": "ok", "response": {"alive": True}}

    converse(demo, version, conversation)


@versions
def test_it_raises_why_a_join_is_refused(demo: LiveDemo, version: PhoenixChannelsProtocolVersion) -> None:
    async def conversation(member: Member) -> None:
        with pytest.raises(PHXTopicError, match="unauthorized"):
            await member.join()

    converse(demo, version, conversation, "room:vip")
