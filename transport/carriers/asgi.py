"""An endpoint as an ASGI application: beside the pages of Starlette, FastAPI or Django, on any server that speaks ASGI 3.

It needs no framework: what comes in are dictionaries. Requests are answered by the same `Endpoint.handle` as those of the
stand-alone listener; a WebSocket is another carrier. See docs/asgi.md.
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

# The extension with which a server lets an application refuse a WebSocket in its own words.
_RESPONSE = "websocket.http.response"
# Headers that are the server's to write.
_OF_THE_SERVER = {"connection", "sec-websocket-accept", "transfer-encoding", "upgrade"}
# The part of a URL's path that stands for itself (RFC 3986, section 3.3).
_PLAIN = "/:@!$&'()*+,;=~"


class ServedEndpoint(Protocol):
    """An endpoint as its server sees it."""

    @property
    def transports(self) -> ActorRef[Any] | None:
        """The supervisor of the connections, while it runs."""

    def handle(self, incoming: Incoming) -> Answer | Awaitable[Answer]:
        """Answer one request."""


class AsgiApplication:
    """What `Endpoint.asgi()` returns: an ASGI 3 application.

    Its lifespan starts and stops the system that it was given. A system that runs already, on the same event loop, is left to
    whoever started it.
    """

    def __init__(self, endpoint: ServedEndpoint, system: System | None = None) -> None:
        self._endpoint, self._system = endpoint, system

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, one request, or the life of the server."""
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
        except Exception as error:  # noqa: BLE001  # whatever it is, the server is told, and ends
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
        """Start the system, unless it runs; return it if it is ours to stop."""
        if self._endpoint.transports is not None:
            self._check_loop()
            return None
        if self._system is None:
            raise RuntimeError("the endpoint does not run; give its system: endpoint.asgi(system)")
        return await self._system.start()


class _Scoped:
    """What a WebSocket and a plain request have in common."""

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
        # A WebSocket comes by ws or wss, but the page that opens it by http or https.
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
            if name.lower() not in _OF_THE_SERVER
        ]
        await self._send({"type": f"{kind}.start", "status": response.status_code, "headers": headers})
        await self._send({"type": f"{kind}.body", "body": bytes(response.body)})


def _target(scope: Scope) -> str:
    """Return the path below the one that the application is mounted at, and the query, as they stand in a request."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :] or "/"
    query = scope.get("query_string", b"").decode("latin-1")
    target = quote(path, safe=_PLAIN)
    return f"{target}?{query}" if query else target


class _AsgiRequest(_Scoped):
    """One plain request."""

    async def serve(self) -> None:
        """Answer it, unless its client goes first."""
        body = await self._body()
        if body is None:
            return
        response = respond(413, "the request's body is too large") if len(body) > MAX_BODY else await self._handle(body)
        if response is not None:
            head = self._scope["method"] == "HEAD"
            await self._respond(replace(response, body=b"") if head else response)

    async def _body(self) -> bytes | None:
        """Return the body, or more of it than there may be; None if the client has gone."""
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
            # A good handshake that the server takes for a request.
            answer = respond(501, "the server has been started without WebSockets")
        if answer is None or isinstance(answer, Response):
            return answer
        raise TypeError(f"expected a response, got {answer!r}")

    async def _unless_gone(self, answer: Awaitable[Answer]) -> Answer | None:
        """Wait for an answer; None if the client goes first, so that a poll takes nothing with it."""
        answering, leaving = _task(self._answer(answer)), _task(self._left())
        return None if leaving in await _first(answering, leaving) else answering.result()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _AsgiWebSocket(_Scoped):
    """One WebSocket, from its handshake to its end."""

    async def serve(self) -> None:
        """Accept it or not, then carry its frames."""
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
        # A page has nothing to say to who wants a WebSocket.
        return answer if isinstance(answer, Upgrade | Response) else respond(400)

    async def _accept(self, response: Response) -> None:
        await self._send({"type": "websocket.accept", "subprotocol": response.headers.get("Sec-WebSocket-Protocol")})

    async def _refuse(self, response: Response) -> None:
        """Answer with the response where the server can; to a close before the handshake it answers 403 by itself."""
        if response.status_code != HTTPStatus.FORBIDDEN and _RESPONSE in (self._scope.get("extensions") or {}):
            await self._respond(response, _RESPONSE)
        else:
            await self._send({"type": "websocket.close"})


class AsgiCarrier:
    """One WebSocket of an ASGI server.

    What goes out waits in a queue for the one task that writes, because the server's `send` waits and a carrier's does not.
    A client for which more than 64 MB wait is cut off. Its bytes are those of the messages; frames are the server's business.
    """

    kind: ClassVar[str] = "websocket"

    def __init__(self, scheduler: Scheduler, options: CarrierOptions) -> None:
        self._scheduler, self._options, self._traffic = scheduler, options, options.traffic
        self.sweeps = 0
        self._process: Process | None = None
        self._open = True
        self._farewell: Event | None = None
        self._timer: Timer | None = None
        self._waiting: deque[tuple[Event, int]] = deque()
        self._size = 0
        self._more = asyncio.Event()
        self._over = asyncio.Event()

    def accept(self, _request: Request) -> Response:
        """Accept what the server has found to be a good handshake."""
        return Response(101, "Switching Protocols", Headers())

    async def serve(self, begin: Callable[[], Any], receive: Receive, send: Send) -> None:
        """Carry frames until the client has gone, or is to go."""
        self._options.idle.add(self)
        try:
            await begin()
            await _first(_task(self._read(receive)), _task(self._write(send)), _task(self._over.wait()))
            await self._say_goodbye(send)
        except (StartError, ActorDeadError):
            # The supervisor has told why; come back soon.
            await _written(send, {"type": "websocket.close", "code": CloseCode.SERVICE_RESTART.value})
        finally:
            self._options.idle.discard(self)
            if self._timer is not None:
                self._timer.cancel()
            self._disconnected(CloseCode.ABNORMAL_CLOSURE)

    # What comes in

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
            self._process.put(data)

    def _disconnected(self, code: int) -> None:
        self._open = False
        process, self._process = self._process, None
        if process is not None:
            process.put(Disconnected(code))

    def _fail(self, code: int) -> None:
        """Close, because of what the client does."""
        process = self._process
        self.close(code)
        if process is not None:
            process.put(Disconnected(code))

    def expire(self) -> None:
        """Close, because nothing has come for too long."""
        self._fail(CloseCode.PROTOCOL_ERROR)

    # What goes out

    async def _write(self, send: Send) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                event, size = self._waiting.popleft()
                self._size -= size
                if event["type"] == "websocket.close":
                    self._farewell = event
                    return
                if not await _written(send, event):
                    return

    async def _say_goodbye(self, send: Send) -> None:
        # Nobody reads any more: granian sends no close frame while somebody does.
        if self._farewell is not None:
            await _written(send, self._farewell)

    def _put(self, event: Event, size: int = 0) -> None:
        self._waiting.append((event, size))
        self._size += size
        self._more.set()

    # Carrier

    def get_write_buffer_size(self) -> int:
        """Return the bytes that the server has not taken yet."""
        return self._size

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on; nothing is read before."""
        self._process = transport
        if not self._open:
            self._disconnected(CloseCode.ABNORMAL_CLOSURE)

    def send(self, frame: Frame) -> None:
        """Put one frame in the queue."""
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
        if self._options.outbox.overflows(self._size):
            self._disconnected(OVERFLOWED)
            self._over.set()

    def close(self, code: int) -> None:
        """Say good-bye after what waits, for which the client has a moment."""
        self._process = None
        if self._open:
            self._open = False
            self._timer = self._scheduler.clock.call_after(CLOSE_TIMEOUT, self._over.set)
            self._put({"type": "websocket.close", "code": int(code)})

    def abort(self) -> None:
        """Return from the application, at which servers cut the connection, unless good-bye has been said."""
        self._process = None
        if self._open:
            self._open = False
            self._over.set()


async def _written(send: Send, event: Event) -> bool:
    """Give the server one event; tell whether it has taken it."""
    try:
        await send(event)
    except Exception as error:  # noqa: BLE001  # servers differ in what they raise when the client has gone
        _log.debug("could not write: %r", error)
        return False
    return True


def _size(data: str | bytes) -> int:
    """Return how many bytes a message has on the wire."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode(errors="surrogatepass"))


def _task(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


async def _first(*tasks: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """Wait until one of these tasks has ended, then cancel the others; return those that had ended, or raise their error."""
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
