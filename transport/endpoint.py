"""The endpoint: where clients come in. It mounts sockets and pages on paths and is a child of a `System`."""

from __future__ import annotations

import inspect
import logging
import socket as sockets
from collections.abc import Awaitable, Callable, Collection, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from websockets.datastructures import MultipleValuesError
from websockets.http11 import Request, Response

from actors.message import Broadcast, Payload
from supervisors import supervisor
from supervisors.child_spec import INFINITY, ChildSpec, Restart
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor
from transport import token
from transport.http import Answer, Incoming, Upgrade, respond
from transport.listener import Listener, bind
from transport.origin import origin_allowed, parse_origins
from transport.serializer import negotiate
from transport.socket import ConnectInfo, Routes, Socket, accepted
from transport.transport import Transport
from transport.websocket import MAX_FRAME_SIZE, WebSocketCarrier

if TYPE_CHECKING:
    from actors.message import Serializer
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from actors.runtime.process import Process

__all__ = ["Endpoint", "EndpointSupervisor"]

_log = logging.getLogger("ashtree.transport")

Route = Callable[[Request], Response]


class Endpoint:
    """Sockets and pages on one address.

    - `sockets`: paths to socket classes; the WebSocket of "/socket" is at "/socket/websocket".
    - `routes`: paths to functions that answer a plain GET.
    - `host`, `port`: where to listen; port 0 takes a free one (see `url`).
    - `check_origin`: the pages that may connect, such as `["//localhost", "https://*.example.com"]`; by default only those
      that come from this very host. `False` lets every page connect.
    - `secret_key`: for signed tokens.
    - `max_frame_size`: bytes that one message may have; `max_channels`: topics that one connection may join.

    Raises:
        SocketError: if a socket class, one of its channels, or an origin is not as it must be.
    """

    def __init__(
        self,
        sockets: Mapping[str, type[Socket]],
        *,
        routes: Mapping[str, Route] | None = None,
        host: str = "127.0.0.1",
        port: int = 4000,
        check_origin: bool | Collection[str] = True,
        secret_key: str | None = None,
        max_frame_size: int = MAX_FRAME_SIZE,
        max_channels: int = 100,
    ) -> None:
        self.host, self.port = host, port
        self.max_frame_size, self.max_channels = max_frame_size, max_channels
        self._mounts = {f"{path.rstrip('/')}/websocket": (cls, Routes(cls)) for path, cls in sockets.items()}
        self._routes = dict(routes or {})
        self._any_origin = check_origin is False
        self._origins = None if isinstance(check_origin, bool) else parse_origins(check_origin)
        self._secret_key = secret_key
        self._pubsub: PubSub | None = None
        self._transports: ActorRef[Any] | None = None

    def child_spec(self) -> ChildSpec:
        """Return how a supervisor runs it."""
        return ChildSpec(EndpointSupervisor, (self,), id="endpoint", shutdown=INFINITY)

    @property
    def url(self) -> str:
        """The address for people; with the real port once it has started."""
        return f"http://{self.host}:{self.port}"

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the system that it runs in.

        Raises:
            RuntimeError: if it does not run.
        """
        if self._pubsub is None:
            raise RuntimeError("the endpoint is not running; make it a child of a System")
        return self._pubsub

    # What applications call, from any actor or thread

    def broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic`.

        The event "disconnect" on the topic that is a socket's `id` closes all connections of that id.
        """
        self.pubsub.broadcast(topic, Broadcast(topic, event, payload))

    def broadcast_from(self, sender: ActorRef[Any], topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic` but the one of the channel `sender`."""
        self.pubsub.broadcast_from(sender, topic, Broadcast(topic, event, payload))

    def sign(self, salt: str, data: Any) -> str:
        """Sign a token with this endpoint's secret."""
        return token.sign(self._secret(), salt, data)

    def verify(self, salt: str, signed: str, *, max_age: float = token.DAY) -> Any:
        """Return the data of a token that was signed by this endpoint's secret; TokenError if it was not, or is too old."""
        return token.verify(self._secret(), salt, signed, max_age=max_age)

    def _secret(self) -> str:
        if self._secret_key is None:
            raise RuntimeError("tokens need a secret: Endpoint(…, secret_key=…)")
        return self._secret_key

    # What its supervisor calls

    def attach(self, process: Process, port: int) -> None:
        """Take note of the tree that it runs in, and of the port that it got."""
        found = process.scheduler.names.lookup("pubsub")
        if not found:
            raise RuntimeError("an endpoint needs a PubSub that runs before it; make it a child of a System")
        self._pubsub, self.port = found[0][1], port

    def attach_transports(self, transports: ActorRef[Any]) -> None:
        """Take note of the supervisor under which connections are started."""
        self._transports = transports

    # What the listener calls

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""
        path = urlsplit(incoming.request.path).path
        mount = self._mounts.get(path)
        if mount is not None:
            return self._handshake(incoming, *mount)
        route = self._routes.get(path)
        if route is None:
            return respond(404, "not found")
        if incoming.request.method not in ("GET", "HEAD"):
            return respond(405, "only GET is answered here")
        return route(incoming.request)

    def _handshake(self, incoming: Incoming, cls: type[Socket], routes: Routes) -> Answer | Awaitable[Answer]:
        """Accept a WebSocket or not, in Phoenix's order: method, origin, version, connect, handshake."""
        request = incoming.request
        if request.method != "GET":
            return respond(400)
        params = _params(request.path)
        if params is None:
            return respond(400)
        if not self._origin_allowed(request):
            return respond(403)
        serializer = negotiate(params.get("vsn", "1.0.0"))
        if serializer is None:
            _log.warning("refused a client: no serializer for vsn %r", params.get("vsn", "1.0.0"))
            return respond(403)
        socket = cls(self)
        result = socket.connect(params, _connect_info(incoming))
        if inspect.isawaitable(result):
            return self._connected_later(result, request, socket, routes, serializer)
        return self._connected(result, request, socket, routes, serializer)

    async def _connected_later(
        self, result: Awaitable[Any], request: Request, socket: Socket, routes: Routes, serializer: Serializer
    ) -> Answer:
        return self._connected(await result, request, socket, routes, serializer)

    def _connected(
        self, result: object, request: Request, socket: Socket, routes: Routes, serializer: Serializer
    ) -> Answer:
        if not accepted(result):
            return respond(403)
        transports = self._transports
        if transports is None or not transports.is_alive():
            return respond(503, "restarting, try again")
        carrier = WebSocketCarrier(transports.process.scheduler, self.max_frame_size)
        response = carrier.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return respond(400, response.body.decode())
        args = (carrier, socket, routes, serializer, self.pubsub, self.max_channels)
        spec = ChildSpec(Transport, args, id="transport", restart=Restart.TEMPORARY, shutdown=Transport.shutdown)
        return Upgrade(response, carrier, lambda: _start(transports, spec, carrier))

    def _origin_allowed(self, request: Request) -> bool:
        if self._any_origin:
            return True
        try:
            origin = request.headers.get("Origin")
        except MultipleValuesError:
            return False
        if origin_allowed(origin, self._origins, request.headers.get("Host")):
            return True
        _log.warning("refused a page of origin %r; allow it by Endpoint(…, check_origin=[…]) if it is yours", origin)
        return False


def _start(transports: ActorRef[Any], spec: ChildSpec, carrier: WebSocketCarrier) -> None:
    def check(started: Any) -> None:
        if started.exception is not None:
            _log.error("cannot start a transport: %s", started.exception, exc_info=started.exception)
            carrier.abort()

    supervisor.start_child(transports, spec).add_done_callback(check)


def _params(path: str) -> dict[str, str] | None:
    """Read the query; the last of several values counts; None if it is not UTF-8."""
    try:
        return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True, errors="strict"))
    except ValueError:
        return None


def _connect_info(incoming: Incoming) -> ConnectInfo:
    headers = {name.lower(): value for name, value in incoming.request.headers.raw_items()}
    return ConnectInfo(incoming.peer, urlsplit(incoming.request.path).path, headers)


class EndpointSupervisor(Supervisor):
    """Runs an endpoint: the connections, and then the listener, so that at the end nobody comes in any more."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sockets: list[sockets.socket] = []
        super().__init__(
            [
                ChildSpec(Transports, (endpoint,), id="transports", shutdown=INFINITY),
                ChildSpec(Listener, (self._sockets, endpoint.handle), id="listener", shutdown=Listener.shutdown),
            ]
        )

    def on_start(self) -> Any:
        """Open the port, then start the children."""
        self._sockets.extend(bind(self._endpoint.host, self._endpoint.port))
        for opened in self._sockets:
            self.own(opened.close)
        self._endpoint.attach(self._process, self._sockets[0].getsockname()[1])
        return super().on_start()


class Transports(DynamicSupervisor):
    """The supervisor of all connections: one transport for each."""

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self._endpoint = endpoint

    def on_start(self) -> None:
        """Let the endpoint know where connections are started."""
        super().on_start()
        self._endpoint.attach_transports(self.actor_ref)
