"""One connection of a client, from its opening to its end; it knows nothing about channels, nor how messages are carried."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from actors.log import Log
from transport.client.protocol.socket_protocol import ABNORMAL

if TYPE_CHECKING:
    from actors.clock import Clock, Timer

__all__ = ["ClientConnection", "ConnectionListener", "Link", "Opener"]

_log = Log("ashtree.client")

_CLOSE_TIMEOUT = 2.0
"""Seconds for what is still to be written, and for the server's reply to a close frame."""


class Link(Protocol):
    """What carries the messages of an open connection."""

    async def read(self, received: Callable[[str | bytes], None]) -> tuple[int, str]:
        """Pass on each message until the connection has ended; return the code and the reason of that."""

    async def write(self, messages: list[str | bytes]) -> None:
        """Write messages in order, and wait while too much waits to be written; once it has ended they are lost."""

    async def close(self, code: int, reason: str) -> None:
        """Close the connection."""

    def cut(self) -> None:
        """End the connection at once, unless it has ended."""

    def has_written(self) -> bool:
        """Return whether some of what waited to be written at the last call of this method has been written since."""


Opener = Callable[[Callable[[], None]], Awaitable[Link]]
"""Opens a link, which calls the given function whenever it receives bytes."""


class ConnectionListener(Protocol):
    """Receives the events of connections, which are identified by number."""

    def opened(self, connection: int) -> None:
        """The connection is open."""

    def failed(self, connection: int, error: Exception) -> None:
        """The connection could not be established."""

    def heard(self, connection: int) -> None:
        """Bytes were received."""

    def data_received(self, connection: int, data: str | bytes) -> None:
        """A message was received."""

    def closed(self, connection: int, code: int, reason: str) -> None:
        """The connection has ended."""


class ClientConnection:
    """A connection that `run` opens; `run` returns when it has ended."""

    def __init__(self, number: int, opener: Opener, listener: ConnectionListener, clock: Clock) -> None:
        self.number = number
        self._opener, self._listener, self._clock = opener, listener, clock
        # None is the last item, after which the connection is to be closed.
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._opening: asyncio.Task[Link] | None = None
        self._link: Link | None = None
        self._abort: Timer | None = None
        self._farewell = (ABNORMAL, "")
        self._is_closing = False

    def send(self, data: str | bytes) -> None:
        """Write a message; what cannot be written before the connection ends is lost."""
        self._outgoing.put_nowait(data)

    def has_written(self) -> bool:
        """Return whether some of what waited to be written at the last call has been written since."""
        return self._link is not None and self._link.has_written()

    def close(self, code: int, reason: str) -> None:
        """Write what is queued, then close; abort if that takes more than two seconds."""
        self._is_closing = True
        if self._link is None:
            if self._opening is not None:
                self._opening.cancel()
            return
        self._farewell = code, reason
        self._outgoing.put_nowait(None)
        self._abort = self._clock.call_after(_CLOSE_TIMEOUT, self._link.cut)

    async def run(self) -> None:
        """Open the connection, read until it ends, and notify the listener."""
        # It may have been closed before this task first ran.
        if not self._is_closing:
            await self._live()

    async def _live(self) -> None:
        self._opening = asyncio.create_task(self._open(), name=f"opening of connection {self.number}")
        try:
            self._link = await self._opening
        except asyncio.CancelledError:
            if not self._is_closing:
                raise
            return
        except Exception as error:  # noqa: BLE001  # the user's params and token may raise anything; the listener decides
            self._listener.failed(self.number, error)
            return
        if self._is_closing:
            self._link.cut()
        else:
            await self._converse(self._link)

    async def _open(self) -> Link:
        return await self._opener(lambda: self._listener.heard(self.number))

    async def _converse(self, link: Link) -> None:
        writer = asyncio.create_task(self._write(link), name=f"writer of connection {self.number}")
        end = ABNORMAL, ""
        try:
            self._listener.opened(self.number)
            end = await link.read(lambda data: self._listener.data_received(self.number, data))
        except Exception:  # noqa: BLE001  # see below
            # The listener must not believe that a connection is open if it is no longer read.
            _log.exception("connection %d failed", self.number)
        finally:
            link.cut()
            if self._abort is not None:
                self._abort.cancel()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        self._listener.closed(self.number, *end)

    async def _write(self, link: Link) -> None:
        while True:
            batch = [await self._outgoing.get()]
            while not self._outgoing.empty():
                batch.append(self._outgoing.get_nowait())
            if messages := [message for message in batch if message is not None]:
                await link.write(messages)
            if batch[-1] is None:
                await link.close(*self._farewell)
