"""An endpoint as an ASGI application: beside the pages of Starlette, FastAPI or Django, on any server that speaks ASGI 3.

It needs no framework: ASGI events are dictionaries. Requests are answered by the same `Endpoint.handle` as those of the
listener; a WebSocket is another carrier. See docs/asgi.md.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from urllib.parse import quote

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request, Response

from actors.channels.message import Opcode
from actors.exceptions import ActorDeadError, StartError
from transport.carriers.carrier import CLOSE_TIMEOUT, Disconnected
from transport.carriers.intake import Intake
from transport.carriers.outbox import OVERFLOWED
from transport.http.exchange import MAX_BODY, Answer, Incoming, Late, Upgrade, respond

if TYPE_CHECKING:
    from actors.channels.message import Frame
    from actors.clock import Timer
    from actors.lowlevel import Process, Scheduler
    from actors.ref import ActorRef
    from supervisors.system import System
    from transport.carriers.carrier import CarrierOptions

__all__ = ["AsgiApplication", "AsgiCarrier"]

_log = logging.getLogger("ashtree.transport")

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

# The ASGI extension by which an application refuses a WebSocket with a response of its own.
_RESPONSE = "websocket.http.response"
# Headers that the server writes.
_SERVER_HEADERS = {"connection", "sec-websocket-accept", "transfer-encoding", "upgrade"}
# The characters of a URL's path that need no escape (RFC 3986, section 3.3).
_PLAIN = "/:@!$&'()*+,;=~"


class ServedEndpoint(Protocol):
    """An endpoint as its server sees it."""

    @property
    def transports(self) -> ActorRef | None:
        """The supervisor of the connections, while it runs."""

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""


class AsgiApplication:
    """What `Endpoint.asgi()` returns: an ASGI 3 application.

    Its lifespan starts and stops the system that it was given. A system that is running already, on the same event loop, is
    left alone.
    """

    def __init__(self, endpoint: ServedEndpoint, system: System | None = None) -> None:
        self._endpoint, self._system = endpoint, system

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, one request, or the lifespan of the server."""
        match scope["type"]:
            case "websocket":
                self._check_loop()
                await _AsgiWebSocket(self._endpoint, scope, receive, send).serve()
            case "http":
                self._check_loop()
                await _AsgiRequest(self._endpoint, scope, receive, send).serve()
            case "lifespan":
                await self._live(receive, send)
            case other:
                raise ValueError(f"expected an ASGI scope of type websocket, http or lifespan, got {other!r}")

    def _check_loop(self) -> None:
        transports = self._endpoint.transports
        if transports is not None and not transports.process.scheduler.is_current_thread():
            raise RuntimeError("the system runs on another event loop; start it in the lifespan of this application")

    # Lifespan

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            started = await self._start()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is reported to the server, which exits
            _log.critical("the system could not start: %s", error, exc_info=error)
            await send({"type": "lifespan.startup.failed", "message": str(error)})
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

    def __init__(self, endpoint: ServedEndpoint, scope: Scope, receive: Receive, send: Send) -> None:
        self._endpoint, self._scope, self._receive, self._send = endpoint, scope, receive, send

    def _incoming(self, body: bytes = b"") -> Incoming:
        scope = self._scope
        request = Request(
            _target(scope),
            Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]),
            scope.get("method", "GET"),
            f"HTTP/{scope.get('http_version', '1.1')}",
        )
        client = scope.get("client")
        carrier = AsgiCarrier if scope["type"] == "websocket" else None
        # The scheme of a WebSocket is ws or wss, that of the page that opens it http or https.
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        return Incoming(request, body, client and (client[0], client[1]), carrier, scheme)

    async def _answer(self, answer: Answer | Awaitable[Answer]) -> Answer:
        return await answer if inspect.isawaitable(answer) else answer

    def _failed(self, error: Exception) -> Response:
        _log.error("could not answer %s", self._scope["path"], exc_info=error)
        return respond(500, "Internal Server Error")

    async def _respond(self, response: Response, kind: str = "http.response") -> None:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headers.raw_items()
            if name.lower() not in _SERVER_HEADERS
        ]
        await self._send({"type": f"{kind}.start", "status": response.status_code, "headers": headers})
        await self._send({"type": f"{kind}.body", "body": bytes(response.body)})


def _target(scope: Scope) -> str:
    """Return the path below the mount point of the application, and the query, escaped as in a request."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :] or "/"
    query = scope.get("query_string", b"").decode("latin-1")
    target = quote(path, safe=_PLAIN)
    return f"{target}?{query}" if query else target


class _AsgiRequest(_Scoped):
    """One plain request."""

    async def serve(self) -> None:
        """Answer it, unless its client disconnects first."""
        body = await self._body()
        if body is None:
            return
        response = respond(413, "the request's body is too large") if len(body) > MAX_BODY else await self._handle(body)
        if response is not None:
            head = self._scope["method"] == "HEAD"
            await self._respond(replace(response, body=b"") if head else response)

    async def _body(self) -> bytes | None:
        """Return the body, cut somewhere above `MAX_BODY`; None if the client has disconnected."""
        body = bytearray()
        while len(body) <= MAX_BODY:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                return None
            body += event.get("body", b"")
            if not event.get("more_body", False):
                break
        return bytes(body)

    async def _handle(self, body: bytes) -> Response | None:
        try:
            answer = self._endpoint.handle(self._incoming(body))
            return self._response(await self._unless_gone(answer) if inspect.isawaitable(answer) else answer)
        except Exception as error:  # noqa: BLE001  # the author's; the client gets a 500
            return self._failed(error)

    def _response(self, answer: Answer | None) -> Response | None:
        if isinstance(answer, Late):
            answer = answer.make()
        elif isinstance(answer, Upgrade):
            # A valid handshake that the server took for a plain request.
            answer = respond(501, "the server has been started without WebSockets")
        if answer is None or isinstance(answer, Response):
            return answer
        raise TypeError(f"expected a response, got {answer!r}")

    async def _unless_gone(self, answer: Awaitable[Answer]) -> Answer | None:
        """Wait for an answer; None if the client disconnects first, so that a poll takes no messages with it."""
        answering, leaving = _task(self._answer(answer)), _task(self._left())
        return None if leaving in await _first(answering, leaving) else answering.result()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _AsgiWebSocket(_Scoped):
    """One WebSocket, from its handshake to its close."""

    async def serve(self) -> None:
        """Accept it and carry its frames, or refuse it."""
        await self._receive()
        answer = await self._handle()
        if isinstance(answer, Upgrade):
            await self._accept(answer.response)
            assert isinstance(answer.protocol, AsgiCarrier)
            await answer.protocol.serve(answer.begin, self._receive, self._send)
        else:
            await self._refuse(answer)

    async def _handle(self) -> Upgrade | Response:
        try:
            answer = await self._answer(self._endpoint.handle(self._incoming()))
        except Exception as error:  # noqa: BLE001  # as above
            return self._failed(error)
        # An answer that is meant for plain requests.
        return answer if isinstance(answer, Upgrade | Response) else respond(400)

    async def _accept(self, response: Response) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": response.headers.get("Sec-WebSocket-Protocol")})

    async def _refuse(self, response: Response) -> None:
        """Send the response if the server supports that; it answers a close before the handshake with 403 on its own."""
        if response.status_code != HTTPStatus.FORBIDDEN and _RESPONSE in (self._scope.get("extensions") or {}):
            await self._respond(response, _RESPONSE)
        else:
            await self._send({"type": "websocket.close"})


class AsgiCarrier:
    """One WebSocket of an ASGI server.

    Sent messages wait in a queue for the one task that writes, because the server's `send` waits and a carrier's must not.
    If the queue overflows by the outbox policy, the connection is cut. Its byte counts are those of the messages, as the server
    makes the frames.
    """

    kind: ClassVar[str] = "websocket"

    def __init__(self, scheduler: Scheduler, options: CarrierOptions) -> None:
        self._scheduler, self._options, self._traffic = scheduler, options, options.traffic
        self.sweeps = 0
        self.intake = Intake(options.limits, lambda: None)
        self._process: Process | None = None
        self._open = True
        self._close_event: Event | None = None
        self._timer: Timer | None = None
        self._waiting: deque[tuple[Event, int]] = deque()
        self._size = 0
        self._more = asyncio.Event()
        self._over = asyncio.Event()

    def accept(self, _request: Request) -> Response:
        """Accept the handshake, which the server has found valid."""
        return Response(101, "Switching Protocols", Headers())

    async def serve(self, begin: Callable[[], Any], receive: Receive, send: Send) -> None:
        """Carry frames until the client disconnects, or we close the connection."""
        self._options.idle.add(self)
        try:
            await begin()
            await _first(_task(self._read(receive)), _task(self._write(send)), _task(self._over.wait()))
            await self._send_close(send)
        except (StartError, ActorDeadError):
            # The supervisor has logged why; phoenix.js reconnects after this code.
            await _written(send, {"type": "websocket.close", "code": CloseCode.SERVICE_RESTART.value})
        finally:
            self._options.idle.discard(self)
            if self._timer is not None:
                self._timer.cancel()
            self._disconnected(CloseCode.ABNORMAL_CLOSURE)

    # Received messages

    async def _read(self, receive: Receive) -> None:
        while (event := await receive())["type"] == "websocket.receive":
            self.sweeps = 0
            text = event.get("text")
            self._deliver(event["bytes"] if text is None else text)
            self._scheduler.run_ready()
        self._disconnected(event.get("code", CloseCode.NO_STATUS_RCVD))

    def _deliver(self, data: str | bytes) -> None:
        size = _size(data)
        self._traffic.messages_in += 1
        self._traffic.bytes_in += size
        if size > self._options.max_size:
            self._fail(CloseCode.MESSAGE_TOO_BIG)
        elif self._process is not None:
            self.intake.add(len(data))
            self._process.put(data)

    def _disconnected(self, code: int) -> None:
        self._open = False
        process, self._process = self._process, None
        if process is not None:
            process.put(Disconnected(code))

    def _fail(self, code: int) -> None:
        """Close the connection because of something the client did, and notify the transport actor."""
        process = self._process
        self.close(code)
        if process is not None:
            process.put(Disconnected(code))

    def expire(self) -> None:
        """Close the connection: nothing has been received for too long."""
        self._fail(CloseCode.PROTOCOL_ERROR)

    # Sent messages

    async def _write(self, send: Send) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                event, size = self._waiting.popleft()
                self._size -= size
                if event["type"] == "websocket.close":
                    self._close_event = event
                    return
                if not await _written(send, event):
                    return

    async def _send_close(self, send: Send) -> None:
        # Only now that no task is reading: granian sends no close frame while one is.
        if self._close_event is not None:
            await _written(send, self._close_event)

    def _put(self, event: Event, size: int = 0) -> None:
        self._waiting.append((event, size))
        self._size += size
        self._more.set()

    # Carrier

    def get_write_buffer_size(self) -> int:
        """Return the bytes of the messages that the server has not accepted yet."""
        return self._size

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on; nothing has been read before."""
        self._process = transport
        if not self._open:
            self._disconnected(CloseCode.ABNORMAL_CLOSURE)

    def send(self, frame: Frame) -> None:
        """Queue one frame."""
        if not self._open:
            return
        data: bytes = frame.data
        event: Event = {"type": "websocket.send"}
        if frame.opcode is Opcode.TEXT:
            event["text"] = data.decode()
        else:
            event["bytes"] = data
        self._traffic.messages_out += 1
        self._traffic.bytes_out += len(data)
        self._put(event, len(data))
        if self._size > self._options.outbox.max_bytes:
            self._disconnected(OVERFLOWED)
            self._over.set()

    def close(self, code: int) -> None:
        """Send a close frame after the queued messages; give up after `CLOSE_TIMEOUT`."""
        self._process = None
        if self._open:
            self._open = False
            self._timer = self._scheduler.clock.call_after(CLOSE_TIMEOUT, self._over.set)
            self._put({"type": "websocket.close", "code": int(code)})

    def abort(self) -> None:
        """Return from the application, upon which servers cut the connection, unless a close frame is queued."""
        self._process = None
        if self._open:
            self._open = False
            self._over.set()


async def _written(send: Send, event: Event) -> bool:
    """Pass one event to the server; return whether it has accepted it."""
    try:
        await send(event)
    except Exception as error:  # noqa: BLE001  # servers differ in what they raise after a disconnection
        _log.debug("could not write: %r", error)
        return False
    return True


def _size(data: str | bytes) -> int:
    """Return the size of a message in bytes, as UTF-8 if it is text."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode(errors="surrogatepass"))


def _task(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


async def _first(*tasks: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """Wait until one of these tasks is done, then cancel the others; return those that were done, or raise their error."""
    over = asyncio.Event()
    for task in tasks:
        task.add_done_callback(lambda _: over.set())
    try:
        await over.wait()
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
    return ended
