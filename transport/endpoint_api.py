"""The part of an endpoint that its sockets, channels and extensions may use; `Endpoint` implements it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from actors.channels.channel_socket import ChannelEndpoint

if TYPE_CHECKING:
    from actors.pubsub.pubsub import PubSub
    from transport.access.session import SessionCookie
    from transport.carriers.traffic import Traffic

__all__ = ["EndpointAPI", "Status"]


Kind = TypeVar("Kind")

Status = Literal["starting", "ready", "draining", "down"]
"""What an endpoint says of itself: see `Endpoint.status`."""


class EndpointAPI(ChannelEndpoint, Protocol):
    """An endpoint as its sockets and extensions see it: what its channels may use, and more."""

    name: str
    host: str
    port: int | None
    url_host: str | None
    traffic: dict[str, Traffic]

    @property
    def url(self) -> str:
        """The address for people; RuntimeError if it has no port of its own."""

    @property
    def status(self) -> Status:
        """Whether it accepts clients."""

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the system that it runs in; RuntimeError if it is not running."""

    def unix_time(self) -> float:
        """Return the Unix time in seconds; in a test that of the test."""

    def has_page(self, path: str) -> bool:
        """Return whether a GET of this path is answered by a page, of the application or of an extension."""

    def extension(self, kind: type[Kind]) -> Kind | None:
        """Return the endpoint's extension of a class, or None."""

    def make_session(self, data: Mapping[str, Any]) -> SessionCookie:
        """Make a session for a browser."""
