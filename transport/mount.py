"""A socket class on an endpoint's path, and how its clients come in, whatever carries them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from actors.exceptions import ActorDeadError
from supervisors import supervisor
from supervisors.child_spec import ChildSpec, Restart
from transport.socket import ConnectInfo, Routes, Socket, accepted
from transport.transport import Transport
from transport.versions import DEFAULT_VERSION

if TYPE_CHECKING:
    from websockets.http11 import Request

    from actors.future import Future
    from actors.message import Serializer
    from actors.ref import ActorRef
    from transport.carrier import Carrier
    from transport.endpoint import Endpoint
    from transport.http import Incoming

__all__ = ["Client", "Mount", "read_params"]

_log = logging.getLogger("ashtree.transport")


class Client(NamedTuple):
    """Somebody who has been let in: the socket that says who it is, and the serializer for the version it speaks."""

    socket: Socket
    serializer: Serializer


class Mount:
    """One socket class of an endpoint. Carriers ask it in Phoenix's order: origin, version and `connect`, transport.

    Raises:
        SocketError: if the class, or one of its channels, is not as it must be.
    """

    def __init__(self, endpoint: Endpoint, socket_class: type[Socket]) -> None:
        self._endpoint, self._socket_class, self._routes = endpoint, socket_class, Routes(socket_class)

    @property
    def transports(self) -> ActorRef[Any] | None:
        """The supervisor of the connections, while it runs."""
        return self._endpoint.transports

    def origin_allowed(self, request: Request) -> bool:
        """Tell whether a page of the request's origin may connect."""
        return self._endpoint.origin_allowed(request)

    def connect(self, incoming: Incoming, params: Mapping[str, str]) -> Client | Awaitable[Client | None] | None:
        """Let a client in, or not (None); later, if the socket's `connect` is `async`."""
        serializer = self._negotiate(params)
        if serializer is None:
            return None
        client = Client(self._socket_class(self._endpoint), serializer)
        result: object = client.socket.connect(params, _connect_info(incoming))
        if inspect.isawaitable(result):
            return _connected_later(client, result)
        return _connected(client, result)

    def _negotiate(self, params: Mapping[str, str]) -> Serializer | None:
        # To Phoenix `vsn[]=2.0.0` is a list, and no version.
        nested = next((name for name in params if name.startswith("vsn[") and name.endswith("]")), None)
        vsn = params.get("vsn", DEFAULT_VERSION) if nested is None else f"{nested}={params[nested]}"
        serializer = self._endpoint.versions.negotiate(vsn)
        if serializer is None:
            _log.warning("refused a client: no serializer for vsn %r", vsn)
        return serializer

    def start(self, carrier: Carrier, client: Client) -> Future[ActorRef[Any]]:
        """Start the transport actor of a client; if that fails, the carrier is told to cut the connection.

        Raises:
            ActorDeadError: if the supervisor of the connections does not run.
        """
        endpoint, transports = self._endpoint, self.transports
        if transports is None:
            raise ActorDeadError("the endpoint is not running, or restarting")
        args = (carrier, client.socket, self._routes, client.serializer, endpoint.pubsub, endpoint.max_channels)
        spec = ChildSpec(Transport, args, id="transport", restart=Restart.TEMPORARY, shutdown=Transport.shutdown)
        started = supervisor.start_child(transports, spec)
        started.add_done_callback(lambda future: _check_started(carrier, future))
        return started


async def _connected_later(client: Client, result: Awaitable[object]) -> Client | None:
    return _connected(client, await result)


def _connected(client: Client, result: object) -> Client | None:
    return client if accepted(result) and _has_valid_id(client.socket) else None


def _has_valid_id(socket: Socket) -> bool:
    identity: object = socket.id()
    if identity is None or isinstance(identity, str):
        return True
    _log.warning("refused a client: %s.id() must return a str or None, got %r", type(socket).__name__, identity)
    return False


def _check_started(carrier: Carrier, started: Future[ActorRef[Any]]) -> None:
    if started.exception is not None:
        _log.error("cannot start a transport: %s", started.exception, exc_info=started.exception)
        carrier.abort()


def read_params(path: str) -> dict[str, str] | None:
    """Read the query; the last of several values counts; None if it is not UTF-8."""
    try:
        return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True, errors="strict"))
    except ValueError:
        return None


def _connect_info(incoming: Incoming) -> ConnectInfo:
    headers = {name.lower(): value for name, value in incoming.request.headers.raw_items()}
    return ConnectInfo(incoming.peer, urlsplit(incoming.request.path).path, headers)
