"""The endpoint, to which clients connect: it mounts sockets and pages on paths, and is a child of a `System`."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from websockets.datastructures import MultipleValuesError

from actors.channels.message import Broadcast, Payload, checked_payload
from actors.clock import Clock, wall_time
from actors.log import Log
from actors.lowlevel import Scheduler
from actors.pubsub.pubsub import nearest_pubsub
from actors.redaction import SECRETS, safe_repr, shortened
from supervisors.branches import is_told_to_end, lineage
from supervisors.child_spec import INFINITY, ChildSpec
from supervisors.workers.worker import this_worker
from transport.access import token
from transport.access.origin import Asking, CheckOrigin, checked_url_host, origin_rule
from transport.access.places import Places
from transport.access.proxies import Proxies
from transport.access.session import CSRF, SessionCookie, SessionOptions, make_session, read_session
from transport.carriers.asgi import AsgiApplication
from transport.carriers.carrier import MAX_FRAME_SIZE, CarrierOptions
from transport.carriers.deflate import Compression, Deflate
from transport.carriers.idle_connections import IDLE_TIMEOUT, IdleConnections
from transport.carriers.longpoll import LongPoll, LongPollHandler
from transport.carriers.outbox import OutboxPolicy
from transport.carriers.traffic import Traffic
from transport.carriers.websocket import WebSocketTraffic
from transport.carriers.websocket_handler import WebSocketHandler
from transport.drainer import Drainer
from transport.endpoint_options import (
    check_limits,
    check_longpoll,
    checked_compression,
    checked_drainer,
    checked_name,
    checked_names,
    checked_pages,
    checked_sockets,
)
from transport.endpoint_supervisor import EndpointSupervisor
from transport.exceptions import SocketError
from transport.extension import Extension, MetricsExtension, ObserverExtension
from transport.http.addresses import (
    Address,
    Listen,
    TcpPort,
    are_shared,
    check_address,
    check_reuse_port,
    checked_listen,
)
from transport.http.exchange import SMALL_BODY, Admission, Answer, Application, Incoming, answer_page, respond
from transport.http.listening_socket import ListeningSocket, authority
from transport.http.request_target import RequestTarget, route_of
from transport.http.worker_sockets import WorkerSockets
from transport.limit_log import LimitLog
from transport.limits import Limits
from transport.mount import Mount
from transport.protocol.serializer import SERIALIZERS
from transport.protocol.versions import Versions
from transport.server_workers import warn_of_split_rooms
from transport.socket_events import broadcast_dropped, limit_reached

if TYPE_CHECKING:
    from websockets.http11 import Request, Response

    from actors.channels.message import Serializer
    from actors.history.history import History
    from actors.pubsub.pubsub import PubSub
    from actors.ref import ActorRef
    from supervisors.system import System
    from transport.endpoint_api import Status
    from transport.http.pages import Page
    from transport.socket import Socket

__all__ = ["Endpoint"]

_log = Log("ashtree.transport")

Kind = TypeVar("Kind")

_HOST, _PORT = "127.0.0.1", 4000
_LONGPOLL, _LIMITS, _OUTBOX, _DRAINER = LongPoll(), Limits(), OutboxPolicy(), Drainer()

_OTHER_ORIGIN = (
    "refused a page of origin %s; the requested host is %s: if the page is yours, name its host by Endpoint(…, url_host=…), as "
    "is needed behind a proxy on this machine, or allow it by check_origin=[…]"
)
_NOT_STARTED = (
    "its System has not been started, as the server has run no lifespan that does so (daphne and `uvicorn --lifespan off` run "
    "none, and frameworks do not pass theirs on to what is mounted in them); write endpoint.asgi(System([endpoint])), "
    "which starts it at the first request, or `async with System([endpoint])` in the lifespan of the application"
)
_NO_PORT = (
    "the endpoint has port=None, and so no address of its own: clients use that of the server which runs "
    "endpoint.asgi(); the path of the observer's page, with its token, is endpoint.observer.location"
)
_NO_BROWSER = (
    "the endpoint has no port to which a browser can connect; the path of the observer's page at the proxy in front, with its "
    "token, is endpoint.observer.location"
)
_NOT_LISTENING = "the endpoint has not started, and does not know yet where it listens"
_ENDED = "its System has ended, and is not started again: see the log of its end, and restart the server"


class Endpoint:
    """Sockets and pages on one address.

    - `sockets`: paths to socket classes; the WebSocket of "/socket" is at "/socket/websocket", its long polling at
      "/socket/longpoll".
    - `routes`: paths to functions that answer a plain GET; HEAD and OPTIONS get its status, as load balancers expect.
    - `host`, `port`: where to listen, on all addresses of a name that this machine has; port 0 takes a free one (see `url`),
      `None` none: see `asgi`. Empty segments of a path do not count: "//socket/" is "/socket".
    - `listen`: other places than `host` and `port`: `UnixSocket(path)`, a socket that is open already, `InheritedSocket(fd)`,
      `SystemdSockets()`, or a list of them; see docs/deployment.md.
    - `reuse_port`: whether other processes may listen at the same place, such as a new version beside an old one that drains.
    - `check_origin`: the pages that may connect, such as `["//localhost", "https://*.example.com"]`; by default only those
      of this server: of `url_host`, or of the host that is requested. "conn" also compares scheme and port; a function gets an
      `Origin` and returns a bool; `False` allows every page.
    - `url_host`: the name of the server in the addresses of its pages, such as "example.com"; needed behind a proxy that passes
      on requests over the loopback interface, where only names such as "localhost" are its own otherwise.
    - `secret_key`: for signed tokens, of at least 32 bytes, such as `secrets.token_urlsafe(48)` returns; or a list of secrets,
      newest first, of which the first signs and any verifies. By default that of the environment variable ASHTREE_SECRET_KEY.
    - `session`: how to read sessions from cookies; see docs/security.md.
    - `trusted_proxies`: addresses and networks of proxies in front, such as `["127.0.0.1", "10.0.0.0/8"]`, and "unix:" for
      those that connect through a Unix socket. Their headers `x-forwarded-for`, `-proto` and `-host` are believed; with
      `proxy_protocol` their connections must begin with a header of the PROXY protocol, version 1 or 2.
    - `filter_parameters`: parameters whose names contain one of these are "[FILTERED]" in the log.
    - `max_frame_size`: bytes that one message may have; `max_channels`: topics that one connection may join;
      `idle_timeout`: seconds without a byte from the client after which its connection is closed.
    - `longpoll`: the times of long polling; `None` disables it.
    - `limits`: what one client, one address and all clients may use; see docs/security.md.
    - `outbox`: how much may wait for a client that reads too slowly, and what happens above that; a socket class may have
      its own.
    - `compress`: whether the messages of WebSockets are compressed for clients that offer it (permessage-deflate, RFC 7692), or
      `Compression(…)`; see docs/performance.md.
    - `serializers`: the wire format for each version of the protocol; see docs/serializers.md.
    - `metrics`: `Metrics()` serves metrics for Prometheus at "/metrics"; see docs/observability.md.
    - `observer`: `Observer()` serves the live page of the supervision tree at "/observer", for those who have its token; see
      docs/observer_page.md.
    - `health`: `Health()` answers the probes of load balancers and of Kubernetes at "/health/live" and "/health/ready"; see
      docs/deployment.md.
    - `drainer`: how its connections are ended when it stops, in batches; see docs/deployment.md.
    - `extensions`: other tools with pages and sockets of their own; see `Extension`.
    - `name`: its id and label in the supervision tree; two endpoints under one supervisor need two.

    It uses the PubSub of its own tree: a child of its supervisor, or of one above.

    Raises:
        SocketError: if a path, a socket class, one of its channels, a host, an origin, the secret, a serializer, an extension,
            the name, `longpoll`, `limits`, `outbox`, `compress` or `drainer` is invalid, if an extension serves a path that is
            taken, or if the metrics need a token.
        ValueError: if `port`, `max_frame_size`, `max_channels` or `idle_timeout` is not a number that it may be.
    """

    def __init__(
        self,
        sockets: Mapping[str, type[Socket]],
        *,
        routes: Mapping[str, Page] | None = None,
        host: str = _HOST,
        port: int | None = _PORT,
        listen: Listen | None = None,
        reuse_port: bool = False,
        check_origin: CheckOrigin = True,
        url_host: str | None = None,
        secret_key: token.Secrets | None = None,
        session: SessionOptions | None = None,
        trusted_proxies: Collection[str] = (),
        proxy_protocol: bool = False,
        filter_parameters: Collection[str] = SECRETS,
        max_frame_size: int = MAX_FRAME_SIZE,
        max_channels: int = 100,
        idle_timeout: float = IDLE_TIMEOUT,
        longpoll: LongPoll | None = _LONGPOLL,
        limits: Limits = _LIMITS,
        outbox: OutboxPolicy = _OUTBOX,
        compress: bool | Compression = False,
        serializers: Mapping[str, Serializer] = SERIALIZERS,
        metrics: Extension | None = None,
        observer: Extension | None = None,
        health: Extension | None = None,
        extensions: Sequence[Extension] = (),
        drainer: Drainer = _DRAINER,
        name: str = "endpoint",
    ) -> None:
        self.name = checked_name(name)
        check_address(host, port)
        check_reuse_port(reuse_port)
        self.host, self.port, self.reuse_port = host, port, reuse_port
        self._listen = None if listen is None else checked_listen(listen)
        self._given: list[Address] | None = None
        self._shared: WorkerSockets | None = None
        self._urls: list[str] = []
        if listen is not None:
            if (host, port) != (_HOST, _PORT):
                raise SocketError(
                    "give either listen=… or host= and port=; in a list of listen= they are TcpPort(host, port)"
                )
            self.port = None
        self.idle = IdleConnections(idle_timeout)
        self.max_channels = max_channels
        websockets = WebSocketTraffic()
        self.traffic: dict[str, Traffic] = {"websocket": websockets, "longpoll": Traffic()}
        check_limits(max_frame_size, max_channels, limits, outbox)
        self.drainer, self.refuses = checked_drainer(drainer), False
        self.limits, self.places = limits, Places(limits)
        others = {"max_frame_size": max_frame_size, "max_channels": max_channels, "outbox": outbox}
        self._limit_log = LimitLog(limits, others)
        compression = checked_compression(compress)
        shared = (
            self.idle,
            max_frame_size,
            outbox,
            limits,
            self.reached,
            partial(broadcast_dropped, self),
            None if compression is None else Deflate(compression, websockets),
        )
        self._carriers = {kind: CarrierOptions(traffic, *shared) for kind, traffic in self.traffic.items()}
        self._routes = checked_pages(routes or {})
        self.url_host = checked_url_host(url_host)
        hosts = [place.host for place in self.addresses if isinstance(place, TcpPort)]
        self._check_origin, self._origin_rule = check_origin, origin_rule(check_origin, self.url_host, hosts)
        self.versions = Versions(serializers)
        self._secret_key, self._session = token.secrets_of(secret_key), session
        self.proxies = Proxies(trusted_proxies, proxy_protocol=proxy_protocol)
        self._check_session()
        self.filter_parameters = checked_names(filter_parameters)
        self._clock: Clock | None = None
        self._longpoll_secret = self._secret_key or secrets.token_urlsafe(32)
        self._handlers: dict[str, Application] = {}
        self._admissions: dict[str, Admission] = {}
        self._mounts: list[Mount] = []
        self._longpolls: list[LongPollHandler] = []
        check_longpoll(longpoll)
        for path, cls in checked_sockets(sockets):
            self._mount(path, Mount(self, cls), longpoll)
        self._extensions: list[Extension] = []
        for where, extension in _named({"metrics": metrics, "observer": observer, "health": health}, extensions):
            self._extend(where, extension)
        self._pubsub: PubSub | None = None
        self._supervisor: ActorRef | None = None
        self._transports: ActorRef | None = None

    def _mount(self, path: str, mount: Mount, longpoll: LongPoll | None) -> None:
        self._mounts.append(mount)
        carriers = {kind: mount.carriers(options) for kind, options in self._carriers.items()}
        self._handlers[route_of(f"{path}/websocket")] = WebSocketHandler(mount, carriers["websocket"]).handle
        if longpoll is not None:
            route = route_of(f"{path}/longpoll")
            service = f"longpoll {self.name} {route}"
            handler = LongPollHandler(mount, longpoll, carriers["longpoll"], self._longpoll_secret, service)
            self._longpolls.append(handler)
            self._handlers[route], self._admissions[route] = handler.handle, handler.admit

    def _extend(self, where: str, given: Extension) -> None:
        """Bind an extension to this endpoint, and serve its pages and sockets."""
        if not isinstance(given, Extension):
            raise SocketError(
                f"{where} must be a transport.Extension, such as Metrics() or Observer(), got {safe_repr(given)}"
            )
        extension = given.bind(self)
        sockets, routes = extension.sockets(), checked_pages(extension.routes())
        handlers = {route_of(path): handler for path, handler in extension.handlers().items()}
        for path in (*routes, *handlers, *(route_of(f"{path}/websocket") for path in sockets)):
            if path in self._routes or path in self._handlers:
                raise SocketError(f"{where} serves {path!r}, which this endpoint serves already")
        self._routes |= routes
        self._handlers |= handlers
        self._admissions |= dict.fromkeys(handlers, lambda _: extension.max_body)
        for path, cls in sockets.items():
            self._mount(path, extension.mount(self, cls), None)
        self._extensions.append(extension)

    def child_spec(self) -> ChildSpec:
        """Return the spec by which a supervisor starts it."""
        return ChildSpec(EndpointSupervisor, (self,), id=self.name, shutdown=INFINITY)

    @property
    def url(self) -> str:
        """The address for people, the first of several; with the real port once it has started, "unix:…" without one.

        Raises:
            RuntimeError: if it listens nowhere, or not yet.
        """
        if self.port is not None:
            return f"http://{authority(self.host, self.port)}"
        if self._urls:
            return self._urls[0]
        raise RuntimeError(_NO_PORT if self._listen is None else _NOT_LISTENING)

    @property
    def status(self) -> Status:
        """Whether it accepts clients: "ready"; for health checks of your own, see `Health`.

        It is "draining" from the moment at which it, or its System, is told to stop, "starting" before it has started and while
        it is restarted, and "down" when its System has ended.
        """
        if self._supervisor is None:
            return "starting"
        ancestors = lineage(self._supervisor.process)
        if not ancestors:
            return "down"
        if any(map(is_told_to_end, ancestors)):
            return "draining"
        return "starting" if self.transports is None else "ready"

    def asgi(self, system: System | None = None) -> AsgiApplication:
        """Return it as an ASGI application, to be served standalone or mounted in another one; see docs/asgi.md.

        `system` is started and stopped by the application's lifespan. Without it, the system must be run elsewhere, on the same
        event loop.
        """
        return AsgiApplication(self, system)

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the system that it runs in.

        Raises:
            RuntimeError: if it is not running.
        """
        if self._pubsub is None:
            raise RuntimeError("the endpoint is not running; make it a child of a System")
        return self._pubsub

    @property
    def metrics(self) -> MetricsExtension | None:
        """The metrics, whose `registry` takes those of the application too; None if the endpoint has none."""
        return self.extension(MetricsExtension)

    @property
    def observer(self) -> ObserverExtension | None:
        """The observer; None if the endpoint has none."""
        return self.extension(ObserverExtension)

    @property
    def observer_url(self) -> str | None:
        """The address of the live page, for people; None without an observer. It contains the token: keep it secret.

        Raises:
            RuntimeError: if it has no port of its own.
        """
        observer = self.observer
        if observer is not None and self.url.startswith("unix:"):
            raise RuntimeError(_NO_BROWSER)
        return None if observer is None else self.url + observer.location

    def extension(self, kind: type[Kind]) -> Kind | None:
        """Return the extension of this class, subclasses included, that was added first; None if there is none."""
        return next((extension for extension in self._extensions if isinstance(extension, kind)), None)

    def has_page(self, path: str) -> bool:
        """Return whether a GET of this path is answered by a page, of the application or of an extension."""
        return path in self._routes or path in self._handlers

    # What applications call, from any actor or thread

    def broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic`, here and wherever the adapter of the PubSub reaches.

        The event "disconnect" on the topic that is a socket's `id` closes all connections of that id.

        Raises:
            TypeError: if the topic or the event is not a str.
            UnencodableError: if the payload cannot be encoded, in the calling thread, also if there is no client to receive
                it; it names the part at fault. It is a TypeError too.
        """
        self.pubsub.broadcast(topic, Broadcast(topic, event, checked_payload(event, payload, topic)))

    def broadcast_from(self, sender: ActorRef, topic: str, event: str, payload: Payload) -> None:
        """Send an event to all clients that have joined `topic` except that of the channel `sender`."""
        self.pubsub.broadcast_from(sender, topic, Broadcast(topic, event, checked_payload(event, payload, topic)))

    def local_broadcast(self, topic: str, event: str, payload: Payload) -> None:
        """Send an event to the clients of this process that have joined `topic`; the adapter of the PubSub is not asked."""
        self.pubsub.local_broadcast(topic, Broadcast(topic, event, checked_payload(event, payload, topic)))

    def subscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Send an actor the broadcasts on `topic`, as `Broadcast` messages, until it unsubscribes or exits."""
        self.pubsub.subscribe(topic, subscriber)

    def unsubscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Undo `subscribe`."""
        self.pubsub.unsubscribe(topic, subscriber)

    def sign(self, salt: str, data: Any) -> str:
        """Sign a token with this endpoint's secret; see `transport.token.sign`."""
        return token.sign(self._secret(), salt, data, signed_at=self.unix_time())

    def verify(self, salt: str, signed: object, *, max_age: float = token.DAY, leeway: float = token.LEEWAY) -> Any:
        """Return the data of a token that this endpoint has signed; TokenError if it has not, or if the token is too old.

        `signed` may be whatever a client has sent, None too; see `transport.token.verify`.
        """
        return self.read_token(salt, signed, max_age=max_age, leeway=leeway).data

    def read_token(
        self, salt: str, signed: object, *, max_age: float = token.DAY, leeway: float = token.LEEWAY
    ) -> token.Signed:
        """Verify a token, and return its `data` with the Unix times `signed_at` and `expires_at`."""
        return token.read(self._secret(), salt, signed, max_age=max_age, leeway=leeway, now=self.unix_time())

    def unix_time(self) -> float:
        """Return the Unix time in seconds, which its tokens have; in a test that of the test."""
        return wall_time() if self._clock is None else self._clock.unix_time()

    def make_session(self, data: Mapping[str, Any]) -> SessionCookie:
        """Return a session for a browser, with the CSRF token that its page needs to connect.

        Raises:
            RuntimeError: if the endpoint has no `session` options.
        """
        if self._session is None:
            raise RuntimeError("sessions need options: Endpoint(…, session=SessionOptions(…))")
        return make_session(self._session, self._secret(), data)

    def _secret(self) -> token.Secrets:
        if self._secret_key is None:
            raise RuntimeError(
                "tokens need a secret: Endpoint(…, secret_key=…), or the environment variable ASHTREE_SECRET_KEY"
            )
        return self._secret_key

    @property
    def log_line(self) -> int:
        """The characters of what a client sent that one line of the log may have."""
        return self.limits.log_line

    # For its supervisors

    def check_free(self) -> None:
        """Raise if it is running already, or was running when this process was forked."""
        if self._supervisor is not None:
            if self._supervisor.is_alive():
                raise RuntimeError(f"Endpoint {self.name!r} is running already; each System needs one of its own")
            self._supervisor.process.check_here()

    def take_free_port(self) -> None:
        """Listen on a free port of the loopback address instead, for tests."""
        self.host, self.port, self._listen = _HOST, 0, None

    def before_fork(self, workers: int) -> None:
        """Open the listening sockets for so many workers; called by `System.run(workers=…)`.

        Raises:
            ListenError: if one cannot be opened.
        """
        self.check_free()
        self._shared = WorkerSockets(self._places_to_listen, workers, reuse_port=self.reuse_port)

    def in_worker(self, number: int) -> None:
        """Listen on the sockets of this worker from now on."""
        assert self._shared is not None
        self._given = self._shared.places(number)
        self._shared.leave_to_others(number)

    def without_worker(self, number: int) -> None:
        """Close the queues of a worker that is not there, so that clients are sent elsewhere; in the parent."""
        if self._shared is not None:
            self._shared.abandon(number)

    def after_workers(self) -> None:
        """Close the listening sockets, in the parent."""
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    @property
    def addresses(self) -> Sequence[Address]:
        """Where it listens."""
        return self._places_to_listen if self._given is None else self._given

    @property
    def _places_to_listen(self) -> Sequence[Address]:
        if self._listen is not None:
            return self._listen
        return [] if self.port is None else [TcpPort(self.host, self.port)]

    @property
    def shares_addresses(self) -> bool:
        """Whether other processes may listen there too, or have the same sockets."""
        worker = this_worker()
        stops_alone = worker is not None and not worker.is_ending
        return self.reuse_port or are_shared(self._places_to_listen) or stops_alone

    @property
    def urls(self) -> Sequence[str]:
        """All addresses, for people, once it has started; empty if it has none of its own."""
        return self._urls

    def attach(self, supervisor: ActorRef, sockets: Sequence[ListeningSocket]) -> None:
        """Store the tree that it runs in, and where it listens; attach the extensions until the supervisor ends."""
        process = supervisor.process
        pubsub = nearest_pubsub(process, self._pubsub)
        if pubsub is None:
            raise RuntimeError("an endpoint needs a PubSub that runs before it; make it a child of a System")
        is_first, self._supervisor, self._pubsub = self._supervisor is None, supervisor, pubsub
        process.own(self._drained)
        self._listens(sockets)
        self._clock = process.scheduler.clock
        pubsub.attach_audience(self, process)
        for handler in self._longpolls:
            pubsub.peers.serve(handler.service, handler.answer_peer)
        for extension in self._extensions:
            extension.attach(supervisor, pubsub)
            process.own(extension.detach)
        if is_first:
            warn_of_split_rooms(pubsub)
        if is_first and self.observer is not None:
            self.observer.announce(next((url for url in self._urls if url.startswith("http:")), ""))

    def _listens(self, sockets: Sequence[ListeningSocket]) -> None:
        tcp = next((opened.address for opened in sockets if isinstance(opened.address, tuple)), None)
        if tcp is not None:
            self.host, self.port = self.host if self._listen is None else tcp[0], tcp[1]
        self._urls = [opened.url for opened in sockets]
        if self._listen is None and sockets:
            # The name of the host, which may have several addresses.
            self._urls = [self.url]

    def refuse(self) -> None:
        """Refuse new clients from now on, as it drains."""
        self.refuses = True

    def _drained(self) -> None:
        # Now clients are refused because it does not run, which the log says.
        self.refuses = False

    def serializers(self, topic: str, event: str) -> Collection[Serializer]:
        """Return the serializers of clients that may join a topic, and are sent its broadcasts of an event."""
        return self.versions.serializers if any(mount.sends(topic, event) for mount in self._mounts) else ()

    @property
    def has_histories(self) -> bool:
        """Whether one of its channels has a history."""
        return any(mount.has_histories for mount in self._mounts)

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic: what the first channel for it says that has a history."""
        for mount in self._mounts:
            history = mount.history_of(topic)
            if history is not None:
                return history
        return None

    def attach_transports(self, transports: ActorRef) -> None:
        """Store the supervisor under which connections are started."""
        self._transports = transports

    # For the listener and the ASGI application

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""
        route, incoming = self._found(incoming)
        handler = self._handlers.get(route)
        return self._page(route, incoming.request) if handler is None else handler(incoming)

    def _found(self, incoming: Incoming) -> tuple[str, Incoming]:
        """Return the path under which a request is answered, and the request as its client has sent it."""
        route = RequestTarget.read(incoming.request.path).route
        return route, incoming.forwarded(self.proxies) if self.proxies else incoming

    def _page(self, route: str, request: Request) -> Response:
        if request.path == "*" and request.method == "OPTIONS":
            # Load balancers ask like this whether the server as a whole answers.
            return answer_page(request, lambda _: respond(200))
        page = self._routes.get(route)
        if page is not None:
            return answer_page(request, page)
        if "Upgrade" in request.headers and self._admits("WebSockets where there is no socket"):
            places = ", ".join(path for path in self._handlers if path.endswith("/websocket"))
            _log.warning(
                "refused a WebSocket at %s: there is no socket; those of this endpoint are at %s",
                shortened(repr(route), self.log_line),
                places or "no path",
            )
        return respond(404, "not found")

    def _admits(self, what: str) -> bool:
        return Scheduler.here().crash_log.admits(_log, what, type(self), logging.WARNING)

    def admit(self, incoming: Incoming) -> int | Response:
        """Return the bytes that a body above `SMALL_BODY` may have, or the answer to a request whose body is not taken."""
        route, incoming = self._found(incoming)
        admission = self._admissions.get(route)
        if admission is not None:
            return admission(incoming)
        return SMALL_BODY if route in self._handlers else self._page(route, incoming.request)

    def _check_session(self) -> None:
        if self._session is None:
            return
        if self._secret_key is None:
            raise SocketError("a session's cookie is signed: Endpoint(…, session=…) needs a secret_key")
        if self._check_origin is False and not self._session.check_csrf:
            raise SocketError(
                "with check_origin=False and check_csrf=False every page could use a visitor's session; check one of them"
            )

    # For its carriers and connections

    def reached(self, limit: str) -> None:
        """Report that a limit was reached, by the name of its option."""
        limit_reached(self, limit)
        self._limit_log.count(limit, self.now())

    # For its mounts

    def now(self) -> float:
        """Return the monotonic time in seconds, to measure durations; 0 before the first start."""
        return 0.0 if self._clock is None else self._clock.now()

    def session_of(self, request: Request, params: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the session of a request, if it has one and its CSRF token is valid."""
        if self._session is None:
            return None
        return read_session(self._session, self._secret(), request.headers.get_all("Cookie"), params.get(CSRF))

    @property
    def transports(self) -> ActorRef | None:
        """The supervisor under which connections are started, while it runs."""
        transports = self._transports
        if transports is None or transports.is_alive():
            return transports
        transports.process.check_here()
        return None

    def why_down(self) -> str:
        """Return why it has no supervisor of connections, and what to do about that."""
        if self._supervisor is None:
            return _NOT_STARTED
        return "its endpoint is being restarted" if self._supervisor.is_alive() else _ENDED

    def origin_allowed(self, incoming: Incoming) -> bool:
        """Return whether a page of the request's origin may connect (Phoenix's `check_origin`)."""
        if self._check_origin is False:
            return True
        try:
            origin, host = incoming.request.headers.get("Origin"), incoming.request.headers.get("Host")
        except MultipleValuesError:
            return False
        # Without the header it is not a page's; then nothing needs to be found out about it.
        if origin is None or self._origin_rule(Asking(origin, host, incoming.scheme, incoming.is_over_loopback)):
            return True
        if self._admits("pages of other origins"):
            _log.warning(_OTHER_ORIGIN, *(shortened(repr(each), self.log_line) for each in (origin, host)))
        return False


def _named(own: Mapping[str, Extension | None], others: Sequence[Extension]) -> Iterator[tuple[str, Extension]]:
    """Yield all extensions, with the option by which each was given."""
    for name, extension in own.items():
        if extension is not None:
            yield name, extension
    for number, extension in enumerate(others):
        yield f"extensions[{number}]", extension
