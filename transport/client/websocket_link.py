"""A client's WebSocket."""

from __future__ import annotations

import array
import fcntl
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection as ClientWebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from actors.fork import shut_down
from actors.log import Log
from transport.client.address import proxy_for, subprotocols
from transport.client.protocol.socket_protocol import ABNORMAL

if TYPE_CHECKING:
    from websockets.client import ClientProtocol

    from transport.client.connection_options import ConnectionOptions, Target

__all__ = ["WebSocketLink"]

_log = Log("ashtree.client")

_BACKLOG = 2**16
"""Bytes; less is acknowledged by the kernel of a peer that hangs."""


class WebSocketLink:
    """An open WebSocket."""

    def __init__(self, websocket: ClientWebSocket) -> None:
        self._websocket = websocket
        self._is_closing = False
        # How many messages were written, and how many bytes waited, at the last look.
        self._written = self._written_before = self._waiting_before = 0

    @staticmethod
    async def open(target: Target, options: ConnectionOptions, heard: Callable[[], None]) -> WebSocketLink:
        """Connect; from then on `heard` is called whenever bytes are received, of whatever frame."""
        websocket = await connect(
            target.url,
            create_connection=_offering(subprotocols(target.auth_token), heard),
            additional_headers=dict(options.headers),
            origin=None if options.origin is None else Origin(options.origin),
            proxy=proxy_for(target.url, proxy=options.proxy),
            max_size=options.max_size,
            compression="deflate" if options.compress else None,
            # Phoenix has its own heartbeat, and all times are measured by the clock.
            open_timeout=None,
            ping_interval=None,
            close_timeout=None,
            **options.tls,
        )
        return WebSocketLink(websocket)

    async def read(self, received: Callable[[str | bytes], None]) -> tuple[int, str]:
        """Pass on each message until the WebSocket is closed."""
        websocket = self._websocket
        try:
            while True:
                received(await websocket.recv())
        except ConnectionClosed as closed:
            if closed.sent is not None and not closed.rcvd_then_sent and not self._is_closing:
                # A message was too long (`max_size`) or a frame invalid; the server may send it again on each connection.
                _log.warning("the connection was ended with %s %s", closed.sent.code, closed.sent.reason)
        return websocket.close_code or ABNORMAL, websocket.close_reason or ""

    async def write(self, messages: list[str | bytes]) -> None:
        """Write each message as a frame."""
        with suppress(ConnectionClosed):
            for message in messages:
                await self._websocket.send(message)
                self._written += 1

    async def close(self, code: int, reason: str) -> None:
        """Send a close frame, and wait for the server's."""
        self._is_closing = True
        await self._websocket.close(code, reason)

    def cut(self) -> None:
        """Abort the connection unless it has ended.

        An asyncio transport that was closed with data left to write drops its loop when it ends, and abort() would then fail.
        """
        if not self._websocket.connection_lost_waiter.done():
            shut_down(self._websocket.transport)
            self._websocket.transport.abort()

    def has_written(self) -> bool:
        """Return whether the peer has acknowledged some of a backlog that there was at the last call."""
        transport = self._websocket.transport
        waiting = transport.get_write_buffer_size() + _unacknowledged(transport.get_extra_info("socket").fileno())
        progress = self._written > self._written_before or waiting < self._waiting_before
        has_written = self._waiting_before > _BACKLOG and progress
        self._written_before, self._waiting_before = self._written, waiting
        return has_written


def _unacknowledged(descriptor: int) -> int:
    """Return how many bytes the kernel keeps until the peer has acknowledged them; 0 where it does not say."""
    size = array.array("i", [0])
    with suppress(OSError, ValueError):  # it is none of TCP, or closed
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, size)
    return size[0]


def _offering(names: list[str] | None, heard: Callable[[], None]) -> type[ClientWebSocket]:
    """Return a connection class that offers these subprotocols unchecked, and calls `heard` whenever it receives bytes.

    A token is written in the standard base64 alphabet, as in phoenix.js; its "/" is not allowed in the name of a subprotocol,
    so `connect()` would reject it.
    """

    class OfferingConnection(ClientWebSocket):
        def __init__(self, protocol: ClientProtocol, **options: Any) -> None:
            if names is not None:
                protocol.available_subprotocols = [Subprotocol(name) for name in names]
            super().__init__(protocol, **options)

        def data_received(self, data: bytes) -> None:
            heard()
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            shut_down(self.transport)
            super().connection_lost(exc)

    return OfferingConnection
