"""Phoenix Channels over the wire: endpoints, sockets, the transport actor and what carries its frames."""

from transport.endpoint import Endpoint
from transport.exceptions import (
    MalformedMessageError,
    SocketError,
    TokenError,
    TokenExpiredError,
    TokenInvalidError,
    TransportError,
)
from transport.http import respond
from transport.pages import pages
from transport.serializer import V2JSONSerializer
from transport.socket import ConnectInfo, Socket
from transport.transport import Transport

__all__ = [
    "ConnectInfo",
    "Endpoint",
    "MalformedMessageError",
    "Socket",
    "SocketError",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "Transport",
    "TransportError",
    "V2JSONSerializer",
    "pages",
    "respond",
]
