"""A bad network: a TCP proxy between clients and their server, whose connections can be cut, stalled, slowed and garbled."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from contextlib import suppress
from typing import Any

_CHUNK = 64 * 1024
_SLOW_CHUNK = 7
_SLOW_BYTES = 3_000
"""So many bytes of a slow connection arrive in small segments."""

GARBLED = 0.5
"""Seconds after which a garbled connection is cut: until then its server may take anything for anything."""


class Direction:
    """What one side of a connection sends to the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.flows = asyncio.Event()
        self.flows.set()
        self.slow = 0
        self.injected = b""

    async def pump(self) -> None:
        """Pass on all that comes, and its end."""
        while data := await self._reader.read(_SLOW_CHUNK if self.slow else _CHUNK):
            await self.flows.wait()
            self.slow = max(0, self.slow - len(data))
            injected, self.injected = self.injected, b""
            self._writer.write(data + injected)
            await self._writer.drain()
        await self.flows.wait()
        with suppress(OSError, RuntimeError):  # a side that has gone
            self._writer.write_eof()


class Line:
    """One connection through the network."""

    def __init__(self, client: tuple[Any, Any], server: tuple[Any, Any]) -> None:
        self._sides = (client[1], server[1])
        self.up, self.down = Direction(client[0], server[1]), Direction(server[0], client[1])

    async def carry(self) -> None:
        """Carry both directions until both have ended, or one of them is reset."""
        try:
            await asyncio.gather(self.up.pump(), self.down.pump())
        except OSError:
            self.reset()
        finally:
            self.close()

    def close(self) -> None:
        """End it as a process does that exits: with FIN to both sides."""
        for side in self._sides:
            side.close()
        self.resume()

    def reset(self) -> None:
        """End it with RST to both sides."""
        for side in self._sides:
            sock = side.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            side.transport.abort()
        self.resume()

    def stall(self) -> None:
        """Deliver nothing, in either direction, until it resumes."""
        self.up.flows.clear()
        self.down.flows.clear()

    def resume(self) -> None:
        self.up.flows.set()
        self.down.flows.set()

    def slow(self) -> None:
        """Deliver the next bytes of both directions a few at a time."""
        self.up.slow = self.down.slow = _SLOW_BYTES

    def garble(self, chance: random.Random) -> None:
        """Put random bytes between what the client sends, and cut it soon after."""
        self.up.injected = chance.randbytes(chance.randrange(1, 200))
        asyncio.get_running_loop().call_later(GARBLED, self.reset)


class Network:
    """The proxy: clients connect to `port`, and are carried to the server's."""

    def __init__(self, server_port: int) -> None:
        self.server_port, self.port = server_port, 0
        self.lines: dict[Line, None] = {}
        self.refused = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for line in list(self.lines):
            line.reset()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            server = await asyncio.open_connection("127.0.0.1", self.server_port)
        except OSError:
            self.refused += 1
            writer.transport.abort()
            return
        line = Line((reader, writer), server)
        self.lines[line] = None
        try:
            await line.carry()
        finally:
            del self.lines[line]

    def some_line(self, chance: random.Random) -> Line | None:
        """Return one of the connections that there are."""
        return chance.choice(list(self.lines)) if self.lines else None
