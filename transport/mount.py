"""A socket class on a path of an endpoint, and how its clients connect, by whichever carrier."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from actors.channels.message import Reply
from actors.exceptions import ActorDeadError
from actors.log import Log
from actors.lowlevel import Scheduler
from actors.redaction import filter_parameters, safe_str, shortened
from actors.time_bound import TimeBound, is_cancellation
from supervisors import calls
from supervisors.child_spec import ChildSpec, Restart
from supervisors.supervision import start_at_once
from transport.access.auth_token import SUBPROTOCOL, SUBPROTOCOL_HEADER, Offer, longpoll_token, without_token
from transport.access.origin import read_origin
from transport.carriers.handshake import fault_of
from transport.endpoint_api import EndpointAPI
from transport.exceptions import TokenInvalidError
from transport.http.request_target import RequestTarget, query_of
from transport.protocol.versions import DEFAULT_VERSION
from transport.socket import ConnectInfo, Routes, Socket, Uri, accepted, has_expired
from transport.socket_events import Attempt, socket_connected, socket_refused
from transport.transport import Transport

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channels.message import Serializer
    from actors.future import Future
    from actors.history.history import History
    from actors.pubsub.peers import Peers
    from actors.ref import ActorRef
    from transport.access.places import Place, Places
    from transport.carriers.carrier import Carrier, CarrierOptions
    from transport.http.exchange import Incoming
    from transport.limits import Limits
    from transport.protocol.versions import Versions

__all__ = ["Client", "Mount", "MountedOn"]

_log = Log("ashtree.transport")

_TRANSPORT = ChildSpec(Transport, restart=Restart.TEMPORARY)


class MountedOn(EndpointAPI, Protocol):
    """An endpoint as the sockets that are mounted on it see it."""

    versions: Versions
    max_channels: int
    limits: Limits
    places: Places
    refuses: bool

    @property
    def transports(self) -> ActorRef | None:
        """The supervisor under which connections are started, while it runs."""

    def why_down(self) -> str:
        """Return why it has no supervisor of connections, and what to do about that."""

    def now(self) -> float:
        """Return the monotonic time."""

    def reached(self, limit: str) -> None:
        """Report that a limit was reached, by the name of its option."""

    def session_of(self, request: Request, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the session of a request, if it has one and may use it."""

    def origin_allowed(self, incoming: Incoming) -> bool:
        """Return whether a page of the request's origin may connect."""


class Client(NamedTuple):
    """An accepted client: the socket that identifies it, its attempt, the seconds that `connect` took, and its place.

    `disconnects` is the number of disconnects by id when it was accepted.
    """

    socket: Socket
    attempt: Attempt
    duration: float
    disconnects: int = 0
    place: Place | None = None


class Mount:
    """One socket class of an endpoint. Carriers call it in Phoenix's order: origin, version, `connect`, transport.

    Raises:
        SocketError: if the class, or one of its channels, is invalid.
    """

    def __init__(self, endpoint: MountedOn, socket_class: type[Socket]) -> None:
        self._endpoint, self._socket_class, self._routes = endpoint, socket_class, Routes(socket_class)

    @property
    def transports(self) -> ActorRef | None:
        """The supervisor of the connections, while it runs."""
        return self._endpoint.transports

    @property
    def peers(self) -> Peers:
        """The other processes, while the endpoint runs."""
        return self._endpoint.pubsub.peers

    @property
    def refuses(self) -> bool:
        """Whether the endpoint is about to stop, and takes no new clients."""
        return self._endpoint.refuses

    def sends(self, topic: str, event: str) -> bool:
        """Return whether its clients may join a topic, and are sent the broadcasts of an event as they are."""
        return self._routes.sends(topic, event)

    @property
    def has_histories(self) -> bool:
        """Whether one of its channels has a history."""
        return self._routes.has_histories

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic, if its clients may join that."""
        return self._routes.history_of(topic)

    def carriers(self, options: CarrierOptions) -> CarrierOptions:
        """Return the options of the endpoint's carriers with what the socket class has in their place."""
        outbox = self._socket_class.outbox
        return options if outbox is None else replace(options, outbox=outbox)

    def refused(self, transport: str, code: int) -> None:
        """Report that a client of the transport "websocket" or "longpoll" was refused with an HTTP status."""
        socket_refused(self._endpoint, transport, code)

    def origin_allowed(self, incoming: Incoming) -> bool:
        """Return whether a page of the request's origin may connect."""
        return self._endpoint.origin_allowed(incoming)

    def attempt(self, incoming: Incoming, params: Mapping[str, Any], transport: str) -> Attempt | HTTPStatus:
        """Return the attempt of a client to connect by "websocket" or "longpoll", or the HTTP status that refuses it."""
        if self.refuses:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if self.transports is None:
            self._log_refusal(self._endpoint.why_down())
            return HTTPStatus.SERVICE_UNAVAILABLE
        places = self._endpoint.places
        full = places.full(transport, incoming.peer) if places.are_limited[transport] else None
        if full is not None:
            return self._refuse_for(full)
        try:
            info = self._connect_info(incoming, params, transport)
        except TokenInvalidError as error:
            self._log_refusal(safe_str(error, self._endpoint.log_line))
            return HTTPStatus.FORBIDDEN
        serializer = self._negotiate(params)
        if serializer is None:
            return HTTPStatus.FORBIDDEN
        vsn = params.get("vsn", DEFAULT_VERSION)
        return Attempt(self._endpoint, transport, params, info, vsn, self._socket_class, serializer)

    def _log_refusal(self, why: str) -> None:
        """Log why a client was refused before `connect` was called, as the author cannot see it."""
        if Scheduler.here().crash_log.admits(_log, "refused clients", self._socket_class, logging.WARNING):
            _log.warning("refused a client of %s: %s", self._socket_class.__name__, why)

    def _refuse_for(self, limit: str) -> HTTPStatus:
        """Report the limit, and return the status: 503 if it is the server's, 429 if it is the client's own."""
        self._endpoint.reached(limit)
        ours = limit in ("connect_timeout", "sessions")
        return HTTPStatus.SERVICE_UNAVAILABLE if ours else HTTPStatus.TOO_MANY_REQUESTS

    def connect(self, attempt: Attempt) -> Client | HTTPStatus | Awaitable[Client | HTTPStatus]:
        """Call the socket's `connect`, which accepts a client, or refuses it with an HTTP status.

        The result is awaitable if it is `async`.
        """
        began = self._endpoint.now()
        try:
            socket = self._socket_class(self._endpoint)
            result: object = socket.connect(attempt.params, attempt.connect_info)
            if type(result) is not Reply and inspect.isawaitable(result):
                return self._connected_later(attempt, socket, result, began)
            return self._connected(attempt, socket, result, began)
        except BaseException:
            _report_failure(attempt)
            raise

    async def _connected_later(
        self, attempt: Attempt, socket: Socket, result: Awaitable[object], began: float
    ) -> Client | HTTPStatus:
        bound = TimeBound(Scheduler.here().clock, self._endpoint.limits.connect_timeout)
        try:
            with bound:
                answer = await result
            return self._connected(attempt, socket, answer, began)
        except BaseException as error:
            if bound.expired and isinstance(error, Exception):
                return self._refuse_for("connect_timeout")
            if not is_cancellation(error):
                _report_failure(attempt)
            raise

    def _connected(self, attempt: Attempt, socket: Socket, result: object, began: float) -> Client | HTTPStatus:
        is_accepted = accepted(result) and _has_valid_id(socket) and self._has_time_left(socket)
        duration = self._endpoint.now() - began
        if is_accepted:
            return self._with_place(Client(socket, attempt, duration, self._endpoint.pubsub.disconnects.number))
        socket_connected(attempt, accepted=False, duration=duration)
        return HTTPStatus.FORBIDDEN

    def _has_time_left(self, socket: Socket) -> bool:
        """Return whether a client that `connect` has accepted may stay; otherwise log why not."""
        if socket.expires_at is None or not has_expired(socket, self._endpoint.unix_time()):
            return True
        at = f"{socket.expires_at:.0f}"
        self._log_refusal(f"its expires_at, {at}, is in the past; it is a Unix time, such as time.time() + 3600")
        return False

    def _with_place(self, client: Client) -> Client | HTTPStatus:
        """Return an accepted client with its place among the connections, if there is one left."""
        if self.refuses:
            # Since its `connect` was called.
            return HTTPStatus.SERVICE_UNAVAILABLE
        places, attempt = self._endpoint.places, client.attempt
        transport = attempt.transport
        if not places.are_limited[transport]:
            return client
        user = client.socket.id() if places.count_users else None
        peer = attempt.connect_info.peer
        full = places.full(transport, peer, user)
        if full is not None:
            return self._refuse_for(full)
        return client._replace(place=places.take(transport, peer, user, Scheduler.here().clock))

    def handshake(self, incoming: Incoming) -> Response:
        """Answer the opening handshake of a WebSocket; with an auth token, the subprotocol "phoenix" is selected."""
        request, takes_token = incoming.request, self._socket_class.auth_token
        response = incoming.handshake(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._log_refusal(fault_of(request, response))
        elif takes_token and SUBPROTOCOL in Offer.read(request.headers).names:
            response.headers[SUBPROTOCOL_HEADER] = SUBPROTOCOL
        return response

    def _connect_info(self, incoming: Incoming, params: Mapping[str, Any], transport: str) -> ConnectInfo:
        """Return what is known of a client.

        Raises:
            TokenInvalidError: if its auth token is not valid base64.
        """
        headers, auth_token = incoming.request.headers, None
        if self._socket_class.auth_token:
            auth_token = Offer.read(headers).token() if transport == "websocket" else longpoll_token(headers)
            headers = without_token(headers)
        pairs = [(name.lower(), value) for name, value in headers.raw_items()]
        by_name, target = dict(pairs), RequestTarget.read(incoming.request.path)
        return ConnectInfo(
            incoming.peer,
            target.path,
            by_name,
            uri=_uri(incoming.scheme, by_name.get("host"), target, self._endpoint.filter_parameters),
            x_headers=[pair for pair in pairs if pair[0].startswith("x-")],
            session=self._endpoint.session_of(incoming.request, params),
            auth_token=auth_token,
            scope=incoming.scope,
        )

    def _negotiate(self, params: Mapping[str, Any]) -> Serializer | None:
        # `vsn[]=2.0.0` is a list, and in Phoenix `vsn[a]=2.0.0` a map: neither is a version.
        nested = next((name for name in params if name.startswith("vsn[") and name.endswith("]")), None)
        vsn = params.get("vsn", DEFAULT_VERSION) if nested is None else f"{nested}={params[nested]}"
        serializer = self._endpoint.versions.negotiate(vsn) if isinstance(vsn, str) else None
        if serializer is None:
            self._log_refusal(f"no serializer for vsn {shortened(repr(vsn), self._endpoint.log_line)}")
        return serializer

    def start(self, carrier: Carrier, client: Client) -> Future[ActorRef]:
        """Start the transport actor of an accepted client, with the context variables of the caller.

        Only now is it connected, and reported as such. If its actor cannot start, the carrier is aborted.

        Raises:
            ActorDeadError: if the supervisor of the connections is not running.
        """
        endpoint, transports = self._endpoint, self.transports
        if transports is None:
            raise ActorDeadError("the endpoint is not running, or restarting")
        socket_connected(client.attempt, accepted=True, duration=client.duration)
        limits = (endpoint.max_channels, endpoint.limits, endpoint.reached)
        serializer = client.attempt.serializer
        known = (*limits, copy_context(), client.disconnects)
        args = (carrier, client.socket, self._routes, serializer, endpoint.pubsub, *known)
        spec = _TRANSPORT.of_another(args, "transport")
        started = start_at_once(transports, spec) or calls.start_child(transports, spec)
        if client.place is not None:
            client.place.keep_for(started)
        if started.done:
            _check_started(carrier, started)
        else:
            started.when_done(partial(_check_started, carrier))
        return started


# Most clients of a socket request the same.
@lru_cache(maxsize=16)
def _uri(scheme: str, host: str | None, target: RequestTarget, secrets: Sequence[str]) -> Uri:
    """Return the URI of a request, without the values of secret parameters."""
    requested, params = read_origin(f"{scheme}://{host or ''}"), target.params()
    shown = filter_parameters(params, secrets)
    query = target.query if shown == params else query_of(shown)
    return Uri(scheme, requested and requested.host, requested and requested.port, target.path, query)


def _report_failure(attempt: Attempt) -> None:
    """Report a client that was refused because the author's code raised; the server that answers the request logs it."""
    socket_refused(attempt.endpoint, attempt.transport, HTTPStatus.INTERNAL_SERVER_ERROR)


def _has_valid_id(socket: Socket) -> bool:
    identity: object = socket.id()
    if identity is None or isinstance(identity, str):
        return True
    _log.warning("refused a client: %s.id() must return a str or None, got %r", type(socket).__name__, identity)
    return False


def _check_started(carrier: Carrier, started: Future[ActorRef]) -> None:
    error = started.exception
    if error is None:
        return
    if Scheduler.here().crash_log.admits(_log, "transports that could not start", type(carrier)):
        # Where the supervisor has ended meanwhile, that is reported on its own.
        trace = None if isinstance(error, ActorDeadError) else error
        _log.error("cannot start a transport: %s", error, exc_info=trace)
    carrier.abort()
