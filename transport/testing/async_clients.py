"""A client of an async channel test, the topics that it has joined, and the messages that it has sent."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from actors.channels.message import Broadcast, Message, Payload, Reply, checked_payload
from transport.testing.exceptions import JoinRefusedError
from transport.testing.inbox import WantedEvent, WantedReply
from transport.testing.patterns import ANY

if TYPE_CHECKING:
    from actors.channel import Channel
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from transport.socket import Socket
    from transport.testing.async_channels import AsyncChannelTest, AsyncVirtualClock
    from transport.testing.client_end import ClientEnd
    from transport.testing.crashes import ExpectedCrash, Kinds
    from transport.testing.loop_runtime import LoopRuntime
    from transport.transport import Transport

__all__ = ["AsyncJoinedChannel", "AsyncPushed", "AsyncTestClient"]


class AsyncTestClient:
    """One connected client: it joins topics and sees what comes."""

    def __init__(self, test: AsyncChannelTest, socket: Socket) -> None:
        self.test, self.socket = test, socket
        self.end: ClientEnd = test.system.open(socket)

    async def connect(self, params: Mapping[str, str] | None = None) -> AsyncTestClient:
        """Connect one more client to the same socket class, in the same system."""
        __tracebackhide__ = True
        return await self.test.connect(type(self.socket), params)

    @property
    def transport(self) -> ActorRef[Transport]:
        """The transport actor."""
        return self.end.transport

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the test."""
        return self.test.system.pubsub

    @property
    def runtime(self) -> LoopRuntime:
        """The runtime of the test."""
        return self.test.runtime

    @property
    def clock(self) -> AsyncVirtualClock:
        """The time of the test."""
        return self.test.clock

    async def close_code(self) -> int | None:
        """Return the code with which the server closed the connection, 1006 if it was cut, or None while it is open."""
        __tracebackhide__ = True
        await self.test.settle()
        return self.end.close_code

    async def received(self) -> list[Message]:
        """Return everything that has come and was not taken yet."""
        __tracebackhide__ = True
        await self.test.settle()
        return self.end.inbox.messages

    async def advance(self, seconds: float) -> None:
        """Move the clock."""
        __tracebackhide__ = True
        await self.clock.advance(seconds)

    def expect_crash(
        self, kind: Kinds = Exception, *, match: str | None = None
    ) -> AbstractAsyncContextManager[ExpectedCrash]:
        """Expect that an actor crashes inside the block: `async with client.expect_crash(ValueError) as crash:`."""
        return self.test.expect_crash(kind, match=match)

    # Topics

    def try_join(self, topic: str, payload: Any = None) -> AsyncPushed:
        """Ask to join a topic, and see what the reply is."""
        return AsyncPushed(self, topic, self.end.push(None, topic, "phx_join", payload), "phx_join")

    async def join(self, topic: str, payload: Any = None) -> AsyncJoinedChannel:
        """Join a topic.

        Raises:
            JoinRefusedError: with the reply, if it is not "ok".
        """
        __tracebackhide__ = True
        pushed = self.try_join(topic, payload)
        reply = await pushed.reply()
        if reply is None or reply.status != "ok":
            raise JoinRefusedError(topic, reply, self.test.system.hints())
        return AsyncJoinedChannel(self, topic, pushed.ref, reply)

    async def subscribe_and_join(self, topic: str, payload: Any = None) -> AsyncJoinedChannel:
        """Subscribe the test to a topic, for `assert_broadcast`, and join it."""
        __tracebackhide__ = True
        self.subscribe(topic)
        return await self.join(topic, payload)

    def subscribe(self, topic: str) -> None:
        """Subscribe the test to a topic, for `assert_broadcast`."""
        self.test.system.subscribe(topic)

    async def close(self) -> None:
        """Go away, as a browser does whose tab is closed: channels end with `Shutdown("closed")`."""
        __tracebackhide__ = True
        self.end.go()
        await self.test.settle()

    # Below the helpers

    def send(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> None:
        """Send any message, valid or not."""
        self.end.say(join_ref, ref, topic, event, payload)

    def next_ref(self) -> str:
        """Return a reference for one more message."""
        return self.end.next_ref()

    async def take(self, event: str, topic: str | None = None, ref: Any = ANY, payload: Any = ANY) -> Message | None:
        """Take out and return the first message that fits, or None."""
        __tracebackhide__ = True
        await self.test.settle()
        return self.end.take(event, topic, ref, payload)


class AsyncJoinedChannel:
    """A topic that a client has joined."""

    def __init__(self, client: AsyncTestClient, topic: str, join_ref: str, reply: Reply) -> None:
        self.client, self.topic, self.join_ref, self.reply = client, topic, join_ref, reply

    @property
    def ref(self) -> ActorRef[Any]:
        """The channel actor that serves the topic now.

        Raises:
            LookupError: if there is none.
        """
        return self.client.end.channel(self.topic)

    async def assigns(self) -> dict[str, Any]:
        """Return the assigns of the channel actor, as they are now."""
        __tracebackhide__ = True
        await self.client.test.settle()
        channel: Channel = self.ref.process.actor  # type: ignore[assignment]  # what serves a topic is a channel
        return channel.assigns

    # What the client does

    def push(self, event: str, payload: Any = None) -> AsyncPushed:
        """Push an event to the channel; what is returned is its ref, by which the answer is found."""
        ref = self.client.end.push(self.join_ref, self.topic, event, payload)
        return AsyncPushed(self.client, self.topic, ref, event)

    def leave(self) -> AsyncPushed:
        """Leave the topic."""
        return self.push("phx_leave")

    async def close(self) -> None:
        """Close the client's connection, and so this channel."""
        __tracebackhide__ = True
        await self.client.close()

    # What comes to it

    async def assert_push(self, event: str, payload: Any = ANY) -> Message:
        """Take out and return the first such event that has come to the client and fits."""
        __tracebackhide__ = True
        wanted = WantedEvent("push", self.topic, event, payload)
        found: Message = await self.client.test.take(self.client.end.inbox, wanted)
        return found

    async def refute_push(self, event: str, payload: Any = ANY) -> None:
        """Make sure that no such event that fits has come to the client."""
        __tracebackhide__ = True
        wanted = WantedEvent("push", self.topic, event, payload)
        await self.client.test.refute(self.client.end.inbox, wanted)

    # What goes to all

    def broadcast_from(self, event: str, payload: Payload) -> None:
        """Broadcast on the topic, from the test: all channels of the topic get it, and `assert_broadcast` does not see it."""
        system = self.client.test.system
        message = Broadcast(self.topic, event, checked_payload(payload))
        system.pubsub.broadcast_from(system.subscriber, self.topic, message)

    async def assert_broadcast(self, event: str, payload: Any = ANY) -> Broadcast:
        """Take out and return the first such broadcast on the topic that fits, whoever it was for.

        Raises:
            RuntimeError: if the test has not subscribed to the topic: use `subscribe_and_join`.
        """
        __tracebackhide__ = True
        system = self.client.test.system
        system.must_be_subscribed(self.topic)
        wanted = WantedEvent("broadcast", self.topic, event, payload)
        found: Broadcast = await self.client.test.take(system.inbox, wanted)
        return found

    async def refute_broadcast(self, event: str, payload: Any = ANY) -> None:
        """Make sure that there was no such broadcast on the topic that fits."""
        __tracebackhide__ = True
        system = self.client.test.system
        system.must_be_subscribed(self.topic)
        await self.client.test.refute(system.inbox, WantedEvent("broadcast", self.topic, event, payload))


class AsyncPushed:
    """A message that a client has sent, and that may be answered."""

    def __init__(self, client: AsyncTestClient, topic: str, ref: str, event: str) -> None:
        self._client, self.topic, self.ref, self.event = client, topic, ref, event

    async def reply(self) -> Reply | None:
        """Take out and return the answer, or None if there is none yet."""
        __tracebackhide__ = True
        wanted = WantedReply(self.topic, self.ref, self.event)
        message: Message | None = await self._client.test.find(self._client.end.inbox, wanted)
        return None if message is None else message.payload

    async def assert_reply(self, status: str, payload: Any = ANY) -> Reply:
        """Take out and return the answer, which must have come, with that status and a payload that fits."""
        __tracebackhide__ = True
        wanted = WantedReply(self.topic, self.ref, self.event, status, payload)
        reply: Reply = (await self._client.test.take(self._client.end.inbox, wanted)).payload
        return reply

    async def refute_reply(self, status: Any = ANY, payload: Any = ANY) -> None:
        """Make sure that no such answer has come; without arguments, that there is none at all."""
        __tracebackhide__ = True
        wanted = WantedReply(self.topic, self.ref, self.event, status, payload)
        await self._client.test.refute(self._client.end.inbox, wanted)
