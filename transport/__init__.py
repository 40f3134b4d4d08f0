"""Phoenix Channels over the wire: endpoints, sockets, the transport actor and what carries its frames."""

from transport.access import token
from transport.access.loopback import is_loopback
from transport.access.origin import Origin
from transport.access.session import SessionCookie, SessionOptions
from transport.carriers.deflate import Compression
from transport.carriers.longpoll import LongPoll
from transport.carriers.outbox import OutboxPolicy
from transport.carriers.rate import Rate
from transport.drainer import Drainer
from transport.endpoint import Endpoint
from transport.exceptions import (
    ListenError,
    MalformedMessageError,
    SocketError,
    TokenError,
    TokenExpiredError,
    TokenInvalidError,
    TokenMissingError,
    TransportError,
    UnencodableError,
)
from transport.extension import Extension
from transport.health import Health
from transport.http.addresses import InheritedSocket, SystemdSockets, TcpPort, UnixSocket
from transport.http.exchange import respond
from transport.http.pages import pages
from transport.limits import Limits
from transport.metrics.metrics import Metrics
from transport.observer.observer import Observer
from transport.protocol.serializer import SERIALIZERS, V1JSONSerializer, V2JSONSerializer
from transport.socket import ConnectInfo, Route, Socket, Uri
from transport.transport import Transport

__distribution__ = "ashtree"  # by which ashtree/shadows.py tells it from a package of the same name

__all__ = [
    "SERIALIZERS",
    "Compression",
    "ConnectInfo",
    "Drainer",
    "Endpoint",
    "Extension",
    "Health",
    "InheritedSocket",
    "Limits",
    "ListenError",
    "LongPoll",
    "MalformedMessageError",
    "Metrics",
    "Observer",
    "Origin",
    "OutboxPolicy",
    "Rate",
    "Route",
    "SessionCookie",
    "SessionOptions",
    "Socket",
    "SocketError",
    "SystemdSockets",
    "TcpPort",
    "TokenError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenMissingError",
    "Transport",
    "TransportError",
    "UnencodableError",
    "UnixSocket",
    "Uri",
    "V1JSONSerializer",
    "V2JSONSerializer",
    "is_loopback",
    "pages",
    "respond",
    "token",
]
