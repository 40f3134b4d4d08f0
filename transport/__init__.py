"""Phoenix Channels over the wire: endpoints, sockets, the transport actor and what carries its frames."""

from transport.endpoint import Endpoint
from transport.exceptions import (
    MalformedMessageError,
    SocketError,
    TokenError,
    TokenExpiredError,
    TokenInvalidError,
    TransportError,
    UnencodableError,
)
from transport.http import respond
from transport.longpoll import LongPoll
from transport.pages import pages
from transport.serializer import SERIALIZERS, V1JSONSerializer, V2JSONSerializer
from transport.socket import ConnectInfo, Socket
from transport.transport import Transport

__all__ = [
    "SERIALIZERS",
    "ConnectInfo",
    "Endpoint",
    "LongPoll",
    "MalformedMessageError",
    "Socket",
    "SocketError",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "Transport",
    "TransportError",
    "UnencodableError",
    "V1JSONSerializer",
    "V2JSONSerializer",
    "pages",
    "respond",
]
