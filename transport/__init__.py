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
from transport.loopback import is_loopback
from transport.metrics.metrics import Metrics
from transport.observer.observer import Observer
from transport.origin import Origin
from transport.pages import pages
from transport.serializer import SERIALIZERS, V1JSONSerializer, V2JSONSerializer
from transport.session import SessionCookie, SessionOptions
from transport.socket import ConnectInfo, Route, Socket, Uri
from transport.transport import Transport

__all__ = [
    "SERIALIZERS",
    "ConnectInfo",
    "Endpoint",
    "LongPoll",
    "MalformedMessageError",
    "Metrics",
    "Observer",
    "Origin",
    "Route",
    "SessionCookie",
    "SessionOptions",
    "Socket",
    "SocketError",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "Transport",
    "TransportError",
    "UnencodableError",
    "Uri",
    "V1JSONSerializer",
    "V2JSONSerializer",
    "is_loopback",
    "pages",
    "respond",
]
