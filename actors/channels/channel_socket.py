"""What a channel knows of its client: the socket, and the endpoint that the client connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec

from actors.redaction import LINE, SECRETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.channels.message import Payload, Serializer
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef

__all__ = ["ChannelEndpoint", "ChannelSocket"]


class ChannelEndpoint(Protocol):
    """What a channel may use of its endpoint, a `transport.Endpoint`; see there."""

    @property
    def filter_parameters(self) -> Sequence[str]:
        """The names of the parameters whose values are kept out of the log."""

    @property
    def log_line(self) -> int:
        """The characters of what a client sent that one line of the log may have."""

    def broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic`."""

    def broadcast_from(self, sender: ActorRef, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic` except that of the channel `sender`."""

    def local_broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to the clients of this process that have joined `topic`."""

    def subscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Send an actor the broadcasts on `topic`."""

    def unsubscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Undo `subscribe`."""

    def sign(self, salt: str, data: object) -> str:
        """Sign a token with the endpoint's secret."""

    def verify(self, salt: str, signed: object, *, max_age: float = ..., leeway: float = ...) -> Any:
        """Return the data of a token that was signed with the endpoint's secret."""


class ChannelSocket(msgspec.Struct, eq=False):
    """The socket as one of its channels sees it: how to reach the client, and what is known of it.

    - `assigns`: the socket's, with those of the route.
    - `id`: the socket's `id()`; None if it has none.
    - `endpoint`: the endpoint that the client is connected to.
    """

    transport: ActorRef
    serializer: Serializer
    pubsub: PubSub
    topic: str
    join_ref: object
    assigns: dict[str, Any]
    id: str | None = None
    endpoint: ChannelEndpoint = None  # type: ignore[assignment]  # only a channel tested on its own has none

    @property
    def filter_parameters(self) -> Sequence[str]:
        """The names of the parameters whose values are kept out of the log."""
        endpoint = cast("ChannelEndpoint | None", self.endpoint)
        return SECRETS if endpoint is None else endpoint.filter_parameters

    @property
    def log_line(self) -> int:
        """The characters of what the client sent that one line of the log may have."""
        endpoint = cast("ChannelEndpoint | None", self.endpoint)
        return LINE if endpoint is None else endpoint.log_line
