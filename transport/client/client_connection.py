"""One WebSocket connection of a client, from the opening handshake to the close; it knows nothing about channels."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from actors.fork import shut_down
from actors.log import Log
from transport.client.protocol.socket_protocol import ABNORMAL

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Awaitable, Callable, Mapping

    from websockets.client import ClientProtocol

    from actors.clock import Clock, Timer

_log = Log("ashtree.client")

__all__ = ["ConnectionListener", "Target", "WebSocketConnection", "WebSocketOptions"]

_CLOSE_TIMEOUT = 2.0
"""Seconds that a server has to reply to a close frame."""


class WebSocketOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the WebSocket itself; see `websockets.connect`."""

    headers: Mapping[str, str] = {}
    origin: str | None = None
    ssl: tls.SSLContext | None = None
    proxy: str | Literal[True] | None = True
    max_size: int | None = 2**24


class Target(NamedTuple):
    """Where to connect, and which subprotocols to offer."""

    url: str
    subprotocols: list[str] | None


class ConnectionListener(Protocol):
    """Receives the events of connections, which are identified by number."""

    def opened(self, connection: int) -> None:
        """The connection is open."""

    def failed(self, connection: int, error: Exception) -> None:
        """The connection could not be established."""

    def data_received(self, connection: int, data: str | bytes) -> None:
        """A message was received."""

    def closed(self, connection: int, code: int, reason: str) -> None:
        """The connection has ended."""


class WebSocketConnection:
    """A connection that `run` opens; `run` returns when it has ended."""

    def __init__(
        self,
        number: int,
        target: Callable[[], Awaitable[Target]],
        options: WebSocketOptions,
        listener: ConnectionListener,
        clock: Clock,
    ) -> None:
        self.number = number
        self._target, self._options, self._listener, self._clock = target, options, listener, clock
        self._outgoing: asyncio.Queue[str | bytes | tuple[int, str]] = asyncio.Queue()
        self._opening: asyncio.Task[ClientConnection] | None = None
        self._websocket: ClientConnection | None = None
        self._abort: Timer | None = None
        self._is_closing = False

    def send(self, data: str | bytes) -> None:
        """Write a message; what cannot be written before the connection ends is lost."""
        self._outgoing.put_nowait(data)

    def close(self, code: int, reason: str) -> None:
        """Write what is queued, then close; abort if the server does not reply to the close frame in two seconds."""
        self._is_closing = True
        if self._websocket is None:
            if self._opening is not None:
                self._opening.cancel()
            return
        self._outgoing.put_nowait((code, reason))
        self._abort = self._clock.call_after(_CLOSE_TIMEOUT, partial(_cut, self._websocket))

    async def run(self) -> None:
        """Open the connection, read until it ends, and notify the listener."""
        # It may have been closed before this task first ran.
        if not self._is_closing:
            await self._live()

    async def _live(self) -> None:
        self._opening = asyncio.create_task(self._open(), name=f"opening of connection {self.number}")
        try:
            self._websocket = await self._opening
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            return
        except Exception as error:  # noqa: BLE001  # the user's params and token may raise anything; the listener decides
            self._listener.failed(self.number, error)
            return
        if self._is_closing:
            _cut(self._websocket)
        else:
            await self._converse(self._websocket)

    async def _open(self) -> ClientConnection:
        url, subprotocols = await self._target()
        options = self._options
        tls_options: dict[str, Any] = {} if options.ssl is None else {"ssl": options.ssl}
        return await connect(
            url,
            create_connection=_offering(subprotocols),
            additional_headers=dict(options.headers),
            origin=None if options.origin is None else Origin(options.origin),
            proxy=options.proxy,
            max_size=options.max_size,
            # Phoenix has its own heartbeat, and all times are measured by the clock.
            open_timeout=None,
            ping_interval=None,
            close_timeout=None,
            **tls_options,
        )

    async def _converse(self, websocket: ClientConnection) -> None:
        writer = asyncio.create_task(self._write(websocket), name=f"writer of connection {self.number}")
        try:
            self._listener.opened(self.number)
            await self._read(websocket)
        except Exception:  # noqa: BLE001  # see below
            # The listener must not believe that a connection is open if it is no longer read.
            _log.exception("connection %d failed", self.number)
        finally:
            _cut(websocket)
            if self._abort is not None:
                self._abort.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        self._listener.closed(self.number, websocket.close_code or ABNORMAL, websocket.close_reason or "")

    async def _read(self, websocket: ClientConnection) -> None:
        try:
            while True:
                self._listener.data_received(self.number, await websocket.recv())
        except ConnectionClosed as closed:
            if closed.sent is not None and not closed.rcvd_then_sent and not self._is_closing:
                # A message was too long (`max_size`) or a frame invalid; the server may send it again on each connection.
                _log.warning("the connection was ended with %s %s", closed.sent.code, closed.sent.reason)

    async def _write(self, websocket: ClientConnection) -> None:
        try:
            while True:
                match await self._outgoing.get():
                    case (code, reason):
                        await websocket.close(code, reason)
                    case data:
                        await websocket.send(data)
        except ConnectionClosed:
            pass


def _cut(websocket: ClientConnection) -> None:
    """Abort a connection unless it has ended.

    An asyncio transport that was closed with data left to write drops its loop when it ends, and abort() would then fail.
    """
    if not websocket.connection_lost_waiter.done():
        shut_down(websocket.transport)
        websocket.transport.abort()


def _offering(subprotocols: list[str] | None) -> type[ClientConnection]:
    """Return a connection class that offers these subprotocols unchecked.

    A token is written in the standard base64 alphabet, as in phoenix.js; its "/" is not allowed in the name of a subprotocol,
    so `connect()` would reject it.
    """

    class OfferingConnection(ClientConnection):
        def __init__(self, protocol: ClientProtocol, **options: Any) -> None:
            if subprotocols is not None:
                protocol.available_subprotocols = [Subprotocol(name) for name in subprotocols]
            super().__init__(protocol, **options)

        def connection_lost(self, exc: Exception | None) -> None:
            shut_down(self.transport)
            super().connection_lost(exc)

    return OfferingConnection
