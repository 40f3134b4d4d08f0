"""A real endpoint in this process, and what talks to it: WebSocket clients, and bare TCP connections."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import socket as sockets
import struct
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeAlias
from urllib.parse import urlencode

import pykka.messages
import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from actors import telemetry
from actors.registry import ActorRegistry
from actors.testing import WAIT
from supervisors import System
from transport import Endpoint, Socket
from transport.socket_events import BROADCAST_DROPPED, LIMIT_REACHED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

    from actors.clock import Clock
    from actors.ref import ActorRef

P = ParamSpec("P")
NewLoop: TypeAlias = "Callable[[], asyncio.AbstractEventLoop]"

NO_CLOSE_FRAME = 1006
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
HANDSHAKE = "\r\n".join(["GET /socket/websocket?vsn=2.0.0 HTTP/1.1", "Host: localhost", *UPGRADE, "", ""])
HEARTBEAT = '[null,"beat","phoenix","heartbeat",{}]'
BEATEN = '[null,"beat","phoenix","phx_reply",{"status":"ok","response":{}}]'


async def limited(awaitable: Awaitable[None]) -> None:
    """Wait, on a loop on which nothing may go wrong unseen."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with asyncio.timeout(4 * WAIT):
        await awaitable
    assert not errors


def on_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Make a test of a coroutine."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(limited(test(*args, **kwargs)))

    return run


def limits_reached() -> AbstractContextManager[list[str]]:
    """Collect the limits that are reached, by the names of their options."""
    return collected(LIMIT_REACHED, lambda _measured, about: about["limit"])


def dropped_broadcasts() -> AbstractContextManager[list[int]]:
    """Collect the sizes of the broadcasts that are dropped."""
    return collected(BROADCAST_DROPPED, lambda measured, _about: measured["bytes"])


@contextmanager
def collected(event: tuple[str, ...], read: Callable[[Any, Any], Any]) -> Iterator[list[Any]]:
    found: list[Any] = []
    telemetry.attach(repr(event), [event], lambda _event, measured, about: found.append(read(measured, about)))
    try:
        yield found
    finally:
        telemetry.detach(repr(event))


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine, on each of the two kinds of event loop."""

    def run(new_loop: NewLoop, **given: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(limited(test(**given)))

    # What pytest is to pass.
    names = ["new_loop", *inspect.signature(test).parameters]
    vars(run)["__signature__"] = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
    )
    loops = [pytest.param(asyncio.new_event_loop, id="asyncio"), pytest.param(uvloop.new_event_loop, id="uvloop")]
    parametrized: Callable[..., None] = pytest.mark.parametrize("new_loop", loops)(run)
    return parametrized


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until something is so that nobody tells of: what asyncio does with closed sockets, for example."""
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)


class Client:
    """A WebSocket client that speaks version 2.0.0."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._refs = count(1)

    async def send(self, *message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def recv(self) -> list[Any]:
        async with asyncio.timeout(WAIT):
            message: list[Any] = json.loads(await self.connection.recv())
        return message

    async def ask(self, join_ref: Any, topic: str, event: str, payload: Any = None) -> Any:
        """Push, and return what is replied; the reply must be what comes next."""
        ref = str(next(self._refs))
        await self.send(join_ref, ref, topic, event, {} if payload is None else payload)
        got = await self.recv()
        assert got[:4] == [join_ref, ref, topic, "phx_reply"], got
        assert got[4]["status"] == "ok", got
        return got[4]["response"]

    async def join(self, topic: str, payload: Any = None) -> str:
        """Join, and return the join_ref."""
        ref = str(next(self._refs))
        await self.send(ref, ref, topic, "phx_join", {} if payload is None else payload)
        assert await self.recv() == [ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]
        return ref

    async def nothing_came(self) -> None:
        """See that nothing is on its way: what is asked for now is what comes next."""
        await self.connection.send(HEARTBEAT)
        assert await self.recv() == json.loads(BEATEN)

    async def closed(self) -> int:
        """Return the server's close code, which must be what comes next; 1006 for an end without a close frame."""
        async with asyncio.timeout(WAIT):
            with pytest.raises(ConnectionClosed) as closed:
                raise AssertionError(f"expected the end, got {await self.connection.recv()!r}")
            await self.connection.wait_closed()
        return closed.value.rcvd.code if closed.value.rcvd else NO_CLOSE_FRAME

    async def close(self, code: int = 1000) -> None:
        async with asyncio.timeout(WAIT):
            await self.connection.close(code)

    def vanish(self) -> None:
        """End the TCP connection with a reset."""
        reset(self.connection.transport)


def reset(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.WriteTransport)
    transport.abort()


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: str

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]


class Tcp:
    """A bare connection, for what no decent client does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *data: str | bytes) -> None:
        """Send all at once."""
        self.writer.write(b"".join(piece.encode() if isinstance(piece, str) else piece for piece in data))
        async with asyncio.timeout(WAIT):
            await self.writer.drain()

    def end(self) -> None:
        """End our half."""
        self.writer.write_eof()

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read an HTTP response."""
        async with asyncio.timeout(WAIT):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.split("\r\n")[:-2]
            pairs = [line.split(": ", 1) for line in lines]
            headers = [(name.lower(), value) for name, value in pairs]
            length = 0 if to_head else int(dict(headers).get("content-length", 0))
            body = (await self.reader.readexactly(length)).decode()
        return Answer(int(status.split()[1]), headers, body)

    async def get(self, path: str, *more: str, method: str = "GET") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *more, "", ""]
        await self.send("\r\n".join(lines))
        return await self.answer(to_head=method == "HEAD")

    async def frame(self) -> tuple[int, bytes]:
        """Read a short WebSocket frame of the server: its first byte and what it carries."""
        async with asyncio.timeout(WAIT):
            first, size = await self.reader.readexactly(2)
            assert size < 126, "a longer frame than tests read"
            return first, await self.reader.readexactly(size)

    async def text(self) -> str:
        first, data = await self.frame()
        assert first == 0x81, (first, data)
        return data.decode()

    async def close_code(self) -> int:
        first, data = await self.frame()
        assert first == 0x88, (first, data)
        return int.from_bytes(data[:2], "big")

    async def ended(self) -> bytes:
        """Return what comes up to the end of the connection."""
        async with asyncio.timeout(WAIT):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def upgrade(self) -> None:
        """Do the opening handshake."""
        await self.send(HANDSHAKE)
        answer = await self.answer()
        assert answer.status == 101, answer

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def masked(first: int, data: bytes | str = b"") -> bytes:
    """Return a frame as a client sends it, with a mask of zeros."""
    data = data.encode() if isinstance(data, str) else data
    size = len(data)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + data


class Server:
    """An endpoint that runs in a system of its own."""

    def __init__(self, endpoint: Endpoint, system: System, stack: AsyncExitStack) -> None:
        self.endpoint, self.system, self._stack = endpoint, system, stack
        self._actors, self._timers = self.labels(), self.clock.pending()

    @property
    def clock(self) -> Clock:
        return self.system.ref.process.scheduler.clock

    def labels(self) -> list[str]:
        """Return what runs, by label."""
        return sorted(process.label or "" for process in self.system.ref.process.scheduler.processes.values())

    def find(self, label: str) -> ActorRef[Any]:
        """Return the one living actor with that label."""
        processes = self.system.ref.process.scheduler.processes.values()
        [found] = [process.ref for process in processes if process.label == label]
        return found

    def pid(self, pid: str) -> ActorRef[Any]:
        found = ActorRegistry.get_by_pid(pid)
        assert found is not None
        return found

    async def connect(self, mount: str = "/socket", **params: str) -> Client:
        query = urlencode({"vsn": "2.0.0", **params})
        opening = connect(
            f"ws://127.0.0.1:{self.endpoint.port}{mount}/websocket?{query}",
            compression=None,
            proxy=None,
            ping_interval=None,
            max_size=None,
            open_timeout=WAIT,
            close_timeout=WAIT,
        )
        return Client(await self._stack.enter_async_context(opening))

    async def tcp(self, **options: Any) -> Tcp:
        async with asyncio.timeout(WAIT):
            tcp = Tcp(*await asyncio.open_connection(self.endpoint.host, self.endpoint.port, **options))
        self._stack.push_async_callback(tcp.close)
        return tcp

    async def nothing_is_left(self) -> None:
        """See that all connections have gone with all that was theirs."""
        await until(lambda: self.labels() == self._actors and self.clock.pending() == self._timers)
        await self.watched()
        assert self.system.pubsub.topics() == []

    async def watched(self) -> None:
        """Return when PubSub has seen to everybody who has ended so far."""
        await barrier(self.find("pubsub"))


async def barrier(ref: ActorRef[Any]) -> None:
    """Return when an actor has handled everything that was in its mailbox."""
    await ref.call(pykka.messages.ProxyGetAttr(attr_path=("actor_urn",)), timeout=WAIT)


@asynccontextmanager
async def serving(socket: type[Socket] | Mapping[str, type[Socket]], **options: Any) -> AsyncIterator[Server]:
    """Run an endpoint on a free port; at the end nothing of it is left: no actor, timer or task."""
    tasks = asyncio.all_tasks()
    mounts = {"/socket": socket} if isinstance(socket, type) else socket
    endpoint = Endpoint(mounts, port=0, **options)
    async with System([endpoint]) as system:
        scheduler = system.ref.process.scheduler
        async with AsyncExitStack() as stack:
            yield Server(endpoint, system, stack)
    assert not scheduler.processes
    await until(lambda: scheduler.clock.pending() == 0 and asyncio.all_tasks() == tasks)


async def status(server: Server, request: str = HANDSHAKE, **replaced: str) -> int:
    """Return how a handshake is answered."""
    for name, text in replaced.items():
        old = {"query": "vsn=2.0.0", "path": "/socket", "method": "GET"}[name]
        request = request.replace(old, text, 1)
    tcp = await server.tcp()
    await tcp.send(request)
    return (await tcp.answer()).status
