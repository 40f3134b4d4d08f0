"""An endpoint as an ASGI application: beside the pages of Starlette, FastAPI or Django, on any server that speaks ASGI 3.

It needs no framework: ASGI events are dictionaries. Requests are answered by the same `Endpoint.handle` as those of the
listener; a WebSocket is another carrier. See docs/asgi.md.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from actors.log import Log
from actors.lowlevel import Scheduler, is_on_a_loop
from actors.redaction import safe_repr, safe_str
from actors.time_bound import TimeBound, is_cancellation
from transport.carriers.asgi_carrier import AsgiCarrier, written
from transport.carriers.first_start import FirstStart
from transport.carriers.handshake import opening_handshake
from transport.carriers.pace import Pace
from transport.carriers.race import first, task_of
from transport.endpoint_api import EndpointAPI
from transport.http.exchange import SMALL_BODY, Answer, Incoming, Late, Upgrade, refusal, respond
from transport.http.request_target import escaped

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from supervisors.system import System
    from transport.access.proxies import Address
    from transport.carriers.asgi_carrier import Event, Receive, Send
    from transport.carriers.carrier import CarrierOptions
    from transport.limits import Limits

__all__ = ["AsgiApplication"]

_log = Log("ashtree.transport")

Scope = MutableMapping[str, Any]

MakeCarrier = Callable[[Scheduler, "CarrierOptions"], AsgiCarrier]

# The ASGI extension by which an application refuses a WebSocket with a response of its own.
_RESPONSE = "websocket.http.response"
# Headers that the server writes.
_SERVER_HEADERS = {"connection", "sec-websocket-accept", "transfer-encoding", "upgrade"}
_NO_WEBSOCKETS = "the server has been started without WebSockets"
# The characters of a URL's path that need no escape (RFC 3986, section 3.3).
_PLAIN = "/:@!$&'()*+,;=~"
# The bytes of a body that are passed to the server at once: each that it accepts is progress.
_PIECE = 64 * 1024


class ServedEndpoint(EndpointAPI, Protocol):
    """An endpoint as its server sees it."""

    limits: Limits

    def reached(self, limit: str) -> None:
        """Report that a limit was reached, by the name of its option."""

    @property
    def transports(self) -> ActorRef | None:
        """The supervisor of the connections, while it runs."""

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""

    def admit(self, incoming: Incoming) -> int | Response:
        """Return the bytes that a body above `SMALL_BODY` may have, or the answer to a request whose body is not taken."""


class AsgiApplication:
    """What `Endpoint.asgi()` returns: an ASGI 3 application.

    Its lifespan starts and stops the system that it was given. A system that is running already, on the same event loop, is
    left alone. On a server that runs no lifespan, the first request starts it.
    """

    def __init__(self, endpoint: ServedEndpoint, system: System | None = None) -> None:
        self._endpoint, self._system = endpoint, system
        self._make_carrier = partial(AsgiCarrier, Pace())
        self._first_start = None if system is None else FirstStart(system)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, one request, or the lifespan of the server."""
        if not is_on_a_loop():
            raise RuntimeError(
                "actors need an event loop of asyncio: run the server with asyncio or uvloop, and not with trio"
            )
        match scope["type"]:
            case "websocket":
                self._check_loop()
                await _AsgiWebSocket(self, self._endpoint, scope, receive, send).serve(self._make_carrier)
            case "http":
                self._check_loop()
                await _AsgiRequest(self, self._endpoint, scope, receive, send).serve()
            case "lifespan":
                self._first_start = None
                await self._live(receive, send)
            case other:
                raise ValueError(f"expected an ASGI scope of type websocket, http or lifespan, got {safe_repr(other)}")

    def _check_loop(self) -> None:
        transports = self._endpoint.transports
        if transports is not None and not transports.process.scheduler.is_current_thread():
            raise RuntimeError(
                "the system runs on another event loop; start it in the lifespan of this application (Starlette's TestClient "
                "has an event loop for each request, and no lifespan, unless it is used as `with TestClient(app) as client:`)"
            )

    async def start(self) -> None:
        """Start the system that it was given, if no lifespan does so; again, or with a lifespan, this does nothing.

        Each request to this application does so first. Await it before requests to other parts of a site that broadcast, if
        the server runs no lifespan, as daphne.

        Raises:
            StartError: if a child of the system could not start.
        """
        if self._first_start is not None and self._endpoint.transports is None:
            await self._first_start.ensure()

    # Lifespan

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            started = await self._start()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is reported to the server, which exits
            _log.critical("the system could not start: %s", error, exc_info=error)
            await send({"type": "lifespan.startup.failed", "message": safe_str(error)})
            return
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:
            if started is not None and started.ref.is_alive():
                await started.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> System | None:
        """Start the system, unless it is running; return it if it is ours to stop."""
        if self._endpoint.transports is not None:
            self._check_loop()
            return None
        if self._system is None:
            raise RuntimeError("the endpoint is not running; pass its system: endpoint.asgi(system)")
        return await self._system.start()


class _Scoped:
    """What a WebSocket and a plain request have in common: an ASGI scope with its two channels."""

    # Those of a WebSocket whose handshake the server answers.
    _handshake: Callable[[Request], Response]
    _make_carrier: MakeCarrier | None = None

    def __init__(
        self, app: AsgiApplication, endpoint: ServedEndpoint, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._app, self._endpoint = app, endpoint
        self._scope, self._receive, self._send = scope, receive, send

    async def _start(self) -> Response | None:
        """Start the system, if this is the first request and no lifespan has done so; return what is answered if it cannot."""
        try:
            await self._app.start()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's; the client gets a 500
            return self._failed(error)
        return None

    def _incoming(self, body: bytes = b"") -> Incoming:
        scope = self._scope
        request = Request(
            _target(scope),
            Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]),
            scope.get("method", "GET"),
            f"HTTP/{scope.get('http_version', '1.1')}",
        )
        # The scheme of a WebSocket is ws or wss, that of the page that opens it http or https.
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        return Incoming(request, body, _peer(scope.get("client")), self._make_carrier, scheme, self._handshake, scope)

    async def _answer(self, answer: Answer | Awaitable[Answer]) -> Answer:
        return await answer if inspect.isawaitable(answer) else answer

    def _failed(self, error: BaseException) -> Response:
        """Log what the endpoint raised, and return what its client is answered; a cancellation goes on."""
        if is_cancellation(error):
            raise error
        if Scheduler.here().crash_log.admits(_log, "requests that could not be answered", type(self._endpoint)):
            _log.error("could not answer %s", self._scope["path"], exc_info=error)
        return refusal(500, "Internal Server Error")

    def _within(self, limit: str) -> TimeBound:
        """Return the bound that this limit of the endpoint sets."""
        return TimeBound(Scheduler.here().clock, getattr(self._endpoint.limits, limit))

    async def _respond(self, response: Response, kind: str = "http.response") -> None:
        """Pass a response to the server; give up if it accepts nothing for `send_timeout`, as the client does not read."""
        try:
            for event in _events(response, kind):
                with self._within("send_timeout"):
                    await self._send(event)
        except TimeoutError:
            self._endpoint.reached("send_timeout")


def _events(response: Response, kind: str) -> Iterator[Event]:
    """Yield a response as the server takes it: its start, and its body in pieces."""
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers.raw_items()
        if name.lower() not in _SERVER_HEADERS
    ]
    yield {"type": f"{kind}.start", "status": response.status_code, "headers": headers}
    body = bytes(response.body)
    for start in range(0, max(1, len(body)), _PIECE):
        more = start + _PIECE < len(body)
        yield {"type": f"{kind}.body", "body": body[start : start + _PIECE], "more_body": more}


def _peer(client: Sequence[Any] | None) -> Address | None:
    """Return the address and port of a client; None if it has connected by a Unix socket, and has none."""
    # granian passes the port as text.
    return (client[0], int(client[1] or 0)) if client and client[0] else None


def _target(scope: Scope) -> str:
    """Return the path below the mount point of the application, and the query, escaped as in a request."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :] or "/"
    query = escaped(scope.get("query_string", b""))
    target = quote(path, safe=_PLAIN)
    return f"{target}?{query}" if query else target


class _AsgiRequest(_Scoped):
    """One plain request."""

    # What its body may have, once that has been asked: of most requests it is not.
    _max_body: int | None = None

    def _handshake(self, request: Request) -> Response:
        """Refuse a handshake; even a valid one, which the server took for a plain request."""
        answer = opening_handshake(request)
        return respond(501, _NO_WEBSOCKETS) if answer.status_code == HTTPStatus.SWITCHING_PROTOCOLS else answer

    async def serve(self) -> None:
        """Answer it; also if its client has disconnected, because middleware fails without a response."""
        response = await self._start() or await self._response() or respond(HTTPStatus.REQUEST_TIMEOUT)
        await self._respond(replace(response, body=b"") if self._scope["method"] == "HEAD" else response)

    async def _response(self) -> Response | None:
        """Return the answer; None if the client disconnects first."""
        try:
            with self._within("body_timeout"):
                body = await self._body()
        except TimeoutError:
            self._endpoint.reached("body_timeout")
            return refusal(408, "the request's body did not arrive in time")
        return await self._handle(body) if isinstance(body, bytes) else body

    async def _body(self) -> bytes | Response | None:
        """Return the body, or the answer to a request whose body is not taken; None if the client has disconnected."""
        body, size, more = bytearray(), self._declared_size(), True
        while True:
            refusal = self._refusal(max(size, len(body)))
            if refusal is not None or not more:
                return bytes(body) if refusal is None else refusal
            event = await self._receive()
            if event["type"] == "http.disconnect":
                return None
            body += event.get("body", b"")
            more = event.get("more_body", False)

    def _declared_size(self) -> int:
        """Return the Content-Length; 0 without one. The server has checked it."""
        lengths = [value for name, value in self._scope["headers"] if name.lower() == b"content-length"]
        return int(lengths[0]) if lengths and lengths[0].isdigit() else 0

    def _refusal(self, size: int) -> Response | None:
        """Return the answer to a request whose body has this size, or more, if it is not taken."""
        if size > SMALL_BODY and self._max_body is None:
            admission = self._endpoint.admit(self._incoming())
            if not isinstance(admission, int):
                return admission
            self._max_body = admission
        if self._max_body is not None and size > self._max_body:
            self._endpoint.reached("max_body")
            return refusal(413, "the request's body is too large")
        return None

    async def _handle(self, body: bytes) -> Response | None:
        try:
            answer = self._endpoint.handle(self._incoming(body))
            return _checked(await self._unless_gone(answer) if inspect.isawaitable(answer) else answer)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # the author's; the client gets a 500
            return self._failed(error)

    async def _unless_gone(self, answer: Awaitable[Answer]) -> Answer | None:
        """Wait for an answer; None if the client disconnects first, so that a poll takes no messages with it."""
        answering, leaving = task_of(self._answer(answer)), task_of(self._left())
        return None if leaving in await first(answering, leaving) else answering.result()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _checked(answer: Answer | None) -> Response | None:
    if isinstance(answer, Late):
        answer = answer.make()
    if answer is None or isinstance(answer, Response):
        return answer
    raise TypeError(f"expected a response, got {safe_repr(answer)}")


class _AsgiWebSocket(_Scoped):
    """One WebSocket, from its handshake to its close."""

    def _handshake(self, _request: Request) -> Response:
        """Accept the handshake, which the server has found valid."""
        return Response(HTTPStatus.SWITCHING_PROTOCOLS, "Switching Protocols", Headers())

    async def serve(self, make_carrier: MakeCarrier) -> None:
        """Accept it and carry its frames, or refuse it."""
        self._make_carrier = make_carrier
        await self._receive()
        answer = await self._start() or await self._handle()
        if not isinstance(answer, Upgrade):
            await self._refuse(answer)
        elif await self._accept(answer.response):
            assert isinstance(answer.protocol, AsgiCarrier)
            await answer.protocol.serve(answer.begin, self._receive, self._send)

    async def _handle(self) -> Upgrade | Response:
        try:
            answer = await self._answer(self._endpoint.handle(self._incoming()))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # as above
            return self._failed(error)
        # An answer that is meant for plain requests.
        return answer if isinstance(answer, Upgrade | Response) else respond(400)

    async def _accept(self, response: Response) -> bool:
        """Return whether the client is still there, as `connect` may take long."""
        subprotocol = response.headers.get("Sec-WebSocket-Protocol")
        return await written(self._send, {"type": "websocket.accept", "subprotocol": subprotocol})

    async def _refuse(self, response: Response) -> None:
        """Send the response if the server supports that; it answers a close before the handshake with 403 on its own."""
        if response.status_code != HTTPStatus.FORBIDDEN and _RESPONSE in (self._scope.get("extensions") or {}):
            await self._respond(response, _RESPONSE)
        else:
            await written(self._send, {"type": "websocket.close"})
