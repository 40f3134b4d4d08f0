"""The part of an endpoint that its sockets, channels and extensions may use; `Endpoint` implements it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from actors.channels.message import Payload
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from transport.access.session import SessionCookie
    from transport.carriers.traffic import Traffic

__all__ = ["EndpointAPI"]


Kind = TypeVar("Kind")


class EndpointAPI(Protocol):
    """An endpoint as its sockets, channels and extensions see it."""

    host: str
    port: int | None
    filter_parameters: tuple[str, ...]
    traffic: dict[str, Traffic]

    @property
    def url(self) -> str:
        """The address for people; RuntimeError if it has no port of its own."""

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the system that it runs in; RuntimeError if it is not running."""

    def extension(self, kind: type[Kind]) -> Kind | None:
        """Return the endpoint's extension of a class, or None."""

    def broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic`."""

    def broadcast_from(self, sender: ActorRef, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic`, except the client of the channel `sender`."""

    def local_broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to the clients that have joined `topic` in this process."""

    def subscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Send an actor the broadcasts on `topic`."""

    def unsubscribe(self, topic: str, subscriber: ActorRef) -> None:
        """End what `subscribe` began."""

    def sign(self, salt: str, data: Any) -> str:
        """Sign a token with the endpoint's secret."""

    def verify(self, salt: str, signed: str, *, max_age: float = ...) -> Any:
        """Return the data of a token that the endpoint has signed; TokenError if it is not valid."""

    def make_session(self, data: Mapping[str, Any]) -> SessionCookie:
        """Make a session for a browser."""
