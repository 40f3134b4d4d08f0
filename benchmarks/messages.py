"""What one message costs, without sockets: the whole server in this process, its clients bytes in and bytes out.

    python benchmarks/messages.py [echo echo10 fanout100 fanout1000 join churn] [--number N] [--runs 5]

Each figure is microseconds of processor time, the smallest of the runs, as everything else is the machine's noise. Beside each
stand the same without the fast path that serves it, so that one sees what it brings. The cost of reading and writing sockets
comes on top: benchmarks/compare.py.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from server import BenchSocket
from websockets.frames import Frame, Opcode

from actors.lowlevel import Scheduler, new_event_loop
from actors.pubsub import subscriptions
from supervisors import System, rare_collections
from transport import Endpoint
from transport.carriers import handshake
from transport.http.http_connection import HttpConnection
from transport.http.http_connections import HttpConnections
from transport.protocol.connection import Connection

HANDSHAKE = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def framed(data: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    """Return a frame as a client sends it."""
    return Frame(opcode, data).serialize(mask=True)


PAYLOAD = b'{"at":1234567890123,"text":"%s"}' % (b"x" * 32)
JOIN = framed(b'["1","1","bench:0","phx_join",{}]')
ECHO = framed(b'["1","12345","bench:0","echo",%s]' % PAYLOAD)
SHOUT = framed(b'["1","12345","bench:0","shout",%s]' % PAYLOAD)
CLOSE = framed(b"\x03\xe8", Opcode.CLOSE)


class Wire:
    """A TCP connection without a network: it counts what is written and keeps the last of it.

    Like those of uvloop it is none of asyncio's own, which are written to with more care.
    """

    def __init__(self) -> None:
        self.writes = 0
        self.last: bytes = b""
        self.closing = False
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        self.writes += 1
        self.last = data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closing:
            self.closing = True
            self.protocol.connection_lost(None)


async def until(done: Callable[[], bool]) -> None:
    """Let the loop go round until something has happened."""
    while not done():  # noqa: ASYNC110  # to set an event would be part of what is measured
        await asyncio.sleep(0)


class Server:
    """The bench server on the running loop, with clients in the same process."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint, self._scheduler = endpoint, Scheduler.here()
        self._open = HttpConnections()

    async def client(self) -> Wire:
        """Connect and join."""
        wire = Wire()
        wire.protocol = HttpConnection(self._endpoint, self._scheduler, self._open)
        wire.protocol.connection_made(wire)
        wire.protocol.data_received(HANDSHAKE)
        wire.protocol.data_received(JOIN)
        await until(lambda: b"phx_reply" in wire.last)
        return wire

    async def clients(self, number: int) -> list[Wire]:
        return [await self.client() for _ in range(number)]


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    endpoint = Endpoint({"/socket": BenchSocket}, port=0)
    async with System([endpoint]):
        with rare_collections():
            yield Server(endpoint)


# What is measured: each takes a server and how many messages, prepares, and returns what to time.

Work = Callable[[], Awaitable[None]]


async def echo(server: Server, number: int, window: int = 1) -> Work:
    """One echo, with one in a read."""
    wires, data = await server.clients(100), ECHO * window

    async def work() -> None:
        for _ in range(number // len(wires) // window):
            for wire in wires:
                wire.protocol.data_received(data)
            await asyncio.sleep(0)
        assert b"phx_reply" in wires[-1].last

    return work


async def echo10(server: Server, number: int) -> Work:
    """One echo, with ten in a read."""
    return await echo(server, number, window=10)


async def fanout(server: Server, number: int, clients: int) -> Work:
    """One delivery of a shout to so many clients."""
    wires = await server.clients(clients)
    for _ in range(2):
        await _shout(wires)

    async def work() -> None:
        for _ in range(number // clients):
            await _shout(wires)

    return work


async def _shout(wires: list[Wire]) -> None:
    wanted = wires[-1].writes + 1
    wires[0].protocol.data_received(SHOUT)
    await until(lambda: wires[-1].writes >= wanted)


async def fanout100(server: Server, number: int) -> Work:
    """One delivery of a shout to 100 clients."""
    return await fanout(server, number, 100)


async def fanout1000(server: Server, number: int) -> Work:
    """One delivery of a shout to 1,000 clients."""
    return await fanout(server, number, 1000)


async def join(server: Server, number: int) -> Work:
    """One client that connects, joins and stays."""
    kept: list[Wire] = []

    async def work() -> None:
        kept.extend([await server.client() for _ in range(number // 100)])

    return work


async def churn(server: Server, number: int) -> Work:
    """One client that connects, joins, echoes and closes."""

    async def work() -> None:
        for _ in range(number // 100):
            wire = await server.client()
            wire.protocol.data_received(ECHO)
            wire.protocol.data_received(CLOSE)
            wire.abort()
            await asyncio.sleep(0)

    return work


ROWS: dict[str, Callable[[Server, int], Awaitable[Work]]] = {
    row.__name__: row for row in (echo, echo10, fanout100, fanout1000, join, churn)
}
# So many of these in a run, of the messages that are asked for.
SHARE = {"join": 100, "churn": 100}


# The general ways, without the fast paths beside them


def _nothing(*_: Any) -> None:
    return None


@contextmanager
def general() -> Iterator[None]:
    """Take the fast paths away."""
    with (
        mock.patch.object(subscriptions, "MANY", sys.maxsize),
        mock.patch.object(Connection, "addressee", _nothing),
        mock.patch.object(handshake, "common_handshake", _nothing),
        mock.patch("actors.channels.fastlane.Fastlane.open", _nothing),
    ):
        yield


async def _measure(name: str, number: int) -> float:
    # Under valgrind a message takes a hundred times as long: what fits in a turn must not depend on that.
    Scheduler.here().budget = math.inf
    async with serving() as server:
        work = await ROWS[name](server, number)
        began = time.process_time()
        await work()
        return (time.process_time() - began) / (number // SHARE.get(name, 1)) * 1e6


def measure(name: str, number: int, runs: int) -> float:
    """Return the microseconds of one message, the smallest of the runs."""
    figures = []
    for _ in range(runs):
        gc.collect()
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            figures.append(runner.run(_measure(name, number)))
    return min(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    parser.add_argument(
        "--number", type=int, default=100_000, help="messages a run; a hundredth of that for join and churn"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--once", action="store_true", help="one run as it is, to be measured from outside")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    logging.getLogger("ashtree").setLevel(logging.CRITICAL)
    if options.once:
        for name in options.rows or ROWS:
            measure(name, options.number, 1)
        return
    print(f"| {'µs of processor time':60} | as it is | general way |\n|---|---|---|")
    for name in options.rows or ROWS:
        fast = measure(name, options.number, options.runs)
        with general():
            slow = measure(name, options.number, options.runs)
        print(f"| {(ROWS[name].__doc__ or name):60} | {fast:8.2f} | {slow:11.2f} |")


if __name__ == "__main__":
    main()
