"""What `ChannelTest` and `AsyncChannelTest` share: everything that does not wait for the actors.

`channel_test.py` and `async_channel_test.py` add the waiting: blocking in one, awaited in the other. The helpers that wait have
their signature and docstring in both, for editors, type checkers and help(); a test checks that they are the same.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from actors.channel import Channel
from actors.channels.message import Broadcast, Message, Payload, Reply, checked_payload
from transport.socket import Socket
from transport.testing.expectation import Expectation, WantedEvent, WantedReply
from transport.testing.patterns import ANY
from transport.testing.system_under_test import new_socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from transport.testing.client_end import ClientEnd
    from transport.testing.system_under_test import Channels, SystemUnderTest
    from transport.transport import Transport

__all__ = ["ChannelTestBase", "ClientBase", "PushedBase", "TopicBase"]

TestT = TypeVar("TestT", bound="ChannelTestBase[Any]")
ClientT = TypeVar("ClientT", bound="ClientBase[Any, Any]")
PushedT = TypeVar("PushedT", bound="PushedBase[Any]")


class ChannelTestBase(Generic[ClientT]):
    """A system for one test."""

    system: SystemUnderTest

    def socket(
        self,
        socket: type[Socket] = Socket,
        *,
        id: str | None = None,  # noqa: A002  # Phoenix's word
        assigns: Mapping[str, Any] | None = None,
        channels: Channels | None = None,
    ) -> ClientT:
        """Create a client without calling `connect`: with the assigns that it would have set, and optionally other channels."""
        endpoint = self.system.endpoint
        return self._client(new_socket(socket, endpoint, identity=id, assigns=assigns or {}, channels=channels))

    @abstractmethod
    def _client(self, socket: Socket) -> ClientT:
        """Return a client with this socket."""


class ClientBase(Generic[TestT, PushedT]):
    """A connected client."""

    def __init__(self, test: TestT, socket: Socket) -> None:
        self.test, self.socket = test, socket
        self.end: ClientEnd = test.system.open(socket)

    @property
    def transport(self) -> ActorRef[Transport]:
        """The transport actor."""
        return self.end.transport

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the test."""
        return self.test.system.pubsub

    def subscribe(self, topic: str) -> None:
        """Subscribe the test to a topic, for `assert_broadcast`."""
        self.test.system.subscribe(topic)

    def try_join(self, topic: str, payload: object = None) -> PushedT:
        """Send a join, and return it for assertions on its reply."""
        return self.pushed(None, topic, "phx_join", payload)

    def send_token(self, token: str) -> PushedT:
        """Send another token, as a client does whose token expires; return it for assertions on the reply of `handle_token`."""
        return self.pushed(None, "phoenix", "access_token", {"access_token": token})

    @abstractmethod
    def pushed(self, join_ref: str | None, topic: str, event: str, payload: object) -> PushedT:
        """Send a message with a new ref, and return it for assertions on its reply."""

    # Low level

    def send(self, join_ref: object, ref: object, topic: object, event: object, payload: object) -> None:
        """Send any message, valid or not."""
        self.end.send_message(join_ref, ref, topic, event, payload)

    def next_ref(self) -> str:
        """Return an unused ref for a message."""
        return self.end.next_ref()


class TopicBase(Generic[ClientT, PushedT]):
    """A topic that a client has joined."""

    def __init__(self, client: ClientT, topic: str, join_ref: str, reply: Reply) -> None:
        self.client, self.topic, self.join_ref, self.reply = client, topic, join_ref, reply

    @property
    def ref(self) -> ActorRef[Any]:
        """The channel actor that currently serves the topic.

        Raises:
            LookupError: if there is none.
        """
        return self.client.end.channel(self.topic)

    def push(self, event: str, payload: object = None) -> PushedT:
        """Push an event to the channel, and return it for assertions on its reply."""
        pushed: PushedT = self.client.pushed(self.join_ref, self.topic, event, payload)
        return pushed

    def leave(self) -> PushedT:
        """Leave the topic."""
        return self.push("phx_leave")

    def broadcast_from(self, event: str, payload: Payload) -> None:
        """Broadcast on the topic from the test: to all channels of the topic, but not to `assert_broadcast`."""
        system = self._system
        message = Broadcast(self.topic, event, checked_payload(event, payload))
        system.pubsub.broadcast_from(system.subscriber, self.topic, message)

    @property
    def _system(self) -> SystemUnderTest:
        system: SystemUnderTest = self.client.test.system
        return system

    def _current_assigns(self) -> dict[str, Any]:
        channel = self.ref.process.actor
        assert isinstance(channel, Channel)
        return channel.assigns

    def _expected_push(self, event: str, payload: object) -> Expectation[Message]:
        return self._system.expect(self.client.end.inbox, WantedEvent("push", self.topic, event, payload))

    def _expected_broadcast(self, event: str, payload: object) -> Expectation[Broadcast]:
        __tracebackhide__ = True
        system = self._system
        system.check_subscribed(self.topic)
        return system.expect(system.inbox, WantedEvent("broadcast", self.topic, event, payload))


class PushedBase(Generic[ClientT]):
    """A message that a client has sent; the channel may reply to it."""

    def __init__(self, client: ClientT, topic: str, ref: str, event: str) -> None:
        self._client, self.topic, self.ref, self.event = client, topic, ref, event

    def _expected_reply(self, status: object = ANY, payload: object = ANY) -> Expectation[Message]:
        system: SystemUnderTest = self._client.test.system
        return system.expect(self._client.end.inbox, WantedReply(self.topic, self.ref, self.event, status, payload))
