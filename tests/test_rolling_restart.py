"""Rolling restarts: a new server takes over from a running one, and no client is refused, no push that was acknowledged lost.

Clients keep a ledger meanwhile: each push that is answered with ok was handled once, for its own broadcast came back once. They
are stock phoenix.js and our client; others open a new connection for each request.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from ashtree.client import ClosedError, ReplyTimeoutError, Socket
from tests.node import JAVASCRIPT, are_clients_installed, missing, program
from tests.servers.redis_server import PROGRAM

WAIT = 4 * float(os.environ.get("ASHTREE_TEST_WAIT", "15"))
SERVER = Path(__file__).with_name("rolling_server.py")
ROUNDS = 2
RECONNECT = 1012
CROWD = 100
PACE = 0.02
"""Seconds between two actions of a client, so that a server that starts gets a processor."""


class Place:
    """Where the servers listen, one after the other, and where clients connect."""

    port: int

    def arguments(self) -> list[str]:
        """Return what a server is told."""
        raise NotImplementedError

    def descriptors(self) -> list[int]:
        """Return what a server inherits."""
        return []


class SharedPort(Place):
    """A port that both have by SO_REUSEPORT."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def arguments(self) -> list[str]:
        return ["port", str(self.port)]


class HandedIn(Place):
    """A socket of the process that starts the servers, as systemd is one."""

    def __init__(self, listening: socket.socket) -> None:
        self._listening, self.port = listening, listening.getsockname()[1]

    def arguments(self) -> list[str]:
        return ["fd", str(self._listening.fileno())]

    def descriptors(self) -> list[int]:
        return [self._listening.fileno()]


class BehindProxy(Place):
    """A Unix socket, to which a proxy passes each connection on."""

    def __init__(self, path: Path, port: int) -> None:
        self._path, self.port = path, port

    def arguments(self) -> list[str]:
        return ["unix", str(self._path)]


@asynccontextmanager
async def place(kind: str, folder: Path) -> AsyncIterator[Place]:
    if kind == "port":
        yield SharedPort()
    elif kind == "fd":
        with socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:
            yield HandedIn(listening)
    else:
        path = folder / "server.sock"
        async with await asyncio.start_server(lambda *client: pass_on(path, *client), "127.0.0.1", 0) as proxy:
            yield BehindProxy(path, proxy.sockets[0].getsockname()[1])


async def pass_on(path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Do what nginx does for one connection."""
    theirs, ours = await asyncio.open_unix_connection(path)
    await asyncio.gather(copy(reader, ours), copy(theirs, writer))


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def server(where: Place) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a server, and return it when it accepts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), *where.arguments(), pass_fds=where.descriptors(), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(WAIT):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def status_of(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(WAIT):
        return await process.wait()


@dataclass
class Ledger:
    """What a client was told: pushes that were acknowledged, how often each came back, how its connections ended."""

    acknowledged: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    codes: list[int] = field(default_factory=list)

    def check(self) -> None:
        """See that no push that was acknowledged is lost or was handled twice, and that only deploys ended connections."""
        lost = [body for body in self.acknowledged if not self.seen[body]]
        twice = [body for body, times in self.seen.items() if times > 1]
        # The last one is its own.
        assert (lost, twice, set(self.codes[:-1])) == ([], [], {RECONNECT})


class Clients:
    """All clients of a test: how often each has been back, and their ledgers."""

    def __init__(self, port: int) -> None:
        self.url, self.port = f"ws://127.0.0.1:{port}/socket", port
        self.ledgers: list[Ledger] = []
        self.back: Counter[str] = Counter()
        self.requests, self.failures = 0, list[str]()
        self._over = asyncio.Event()
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *coroutines: Any) -> None:
        self._tasks += map(asyncio.ensure_future, coroutines)

    async def all_back(self, members: int, times: int) -> None:
        """Wait until so many clients have got replies on so many connections, one after the other."""
        async with asyncio.timeout(WAIT):
            while len(self.back) < members or min(self.back.values()) < times:
                self._news.clear()
                await self._news.wait()

    async def end(self) -> None:
        self._over.set()
        async with asyncio.timeout(WAIT):
            await asyncio.gather(*self._tasks)

    def came_back(self, member: str) -> None:
        self.back[member] += 1
        self._news.set()

    async def ashtree(self, user: str) -> None:
        """Push, one after the other, and keep the ledger."""
        ledger, number, is_new = Ledger(), 0, True
        self.ledgers.append(ledger)
        client = Socket(self.url, params={"user": user}, timeout=2.0)

        def opened() -> None:
            nonlocal is_new
            is_new = True

        client.on_open(opened)
        client.on_close(lambda code, _reason: ledger.codes.append(code))
        async with client:
            channel = client.channel("room:ledger")
            channel.on(
                "new_msg", lambda message: ledger.seen.update([message["body"]] if message["user"] == user else [])
            )
            await channel.join()
            while not self._over.is_set():
                number += 1
                body = f"{user} {number}"
                with suppress(ReplyTimeoutError, ClosedError):
                    await channel.push("new_msg", {"body": body})
                    ledger.acknowledged.append(body)
                    if is_new:
                        self.came_back(user)
                    is_new = False
                await asyncio.sleep(PACE)

    async def phoenix_js(self, count: int) -> None:
        """Do the same in node."""
        node = await asyncio.create_subprocess_exec(
            program("node"),
            "ledger.mjs",
            self.url,
            str(count),
            cwd=JAVASCRIPT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=1 << 24,
        )
        assert node.stdin is not None
        assert node.stdout is not None
        reading = asyncio.ensure_future(self._read(node.stdout))
        await self._over.wait()
        node.stdin.close()
        await reading
        assert await node.wait() == 0

    async def _read(self, lines: asyncio.StreamReader) -> None:
        async for line in lines:
            report = json.loads(line)
            if "back" in report:
                self.came_back(report["back"])
            else:
                self.ledgers += [
                    Ledger(each["acknowledged"], Counter(each["seen"]), each["codes"]) for each in report["ledgers"]
                ]

    async def newcomer(self) -> None:
        """Open a new connection for each request."""
        while not self._over.is_set():
            await self.request(asyncio.Event())
            await asyncio.sleep(PACE)

    async def request(self, connected: asyncio.Event) -> None:
        """Open a connection, and request a page."""
        try:
            async with asyncio.timeout(WAIT):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                connected.set()
                answer = await reader.read()
                writer.close()
        except OSError as error:
            connected.set()
            self.failures.append(repr(error))
        else:
            if not answer.endswith(b"\r\n\r\npage"):
                self.failures.append(repr(answer))
        self.requests += 1

    async def crowd(self) -> None:
        """Start requests, more than are accepted at a time, and wait until all have connected."""
        events = [asyncio.Event() for _ in range(CROWD)]
        self.start(*map(self.request, events))
        for connected in events:
            await connected.wait()


@pytest.mark.parametrize("kind", ["port", "fd", "unix"])
def test_nobody_is_lost_when_a_new_server_takes_over(kind: str, tmp_path: Path) -> None:
    program("node")
    if not are_clients_installed():
        missing("the JavaScript clients are not installed: make tests/javascript/node_modules/.installed")
    asyncio.run(roll(kind, tmp_path))


async def roll(kind: str, folder: Path) -> None:
    async with place(kind, folder) as where, AsyncExitStack() as running:
        old = await running.enter_async_context(server(where))
        clients = busy_clients(where.port)
        for times in range(1, ROUNDS + 1):
            await clients.all_back(4, times)
            # While it stands still, clients wait in the queue of its socket.
            old.send_signal(signal.SIGSTOP)
            await clients.crowd()
            new = await running.enter_async_context(server(where))
            old.send_signal(signal.SIGTERM)
            old.send_signal(signal.SIGCONT)
            assert await status_of(old) == 0
            old = new
        await clients.all_back(4, ROUNDS + 1)
        await nobody_was_lost(clients)
        old.send_signal(signal.SIGTERM)
        assert await status_of(old) == 0


def busy_clients(port: int) -> Clients:
    """Start two clients of each kind, and newcomers."""
    clients = Clients(port)
    clients.start(*(clients.ashtree(f"ashtree-{number}") for number in range(2)), clients.phoenix_js(2))
    clients.start(*(clients.newcomer() for _ in range(3)))
    return clients


async def nobody_was_lost(clients: Clients) -> None:
    await clients.end()
    assert (clients.failures, len(clients.ledgers)) == ([], 4)
    for ledger in clients.ledgers:
        ledger.check()


class SeveralWorkers(SharedPort):
    """A port that two workers of one server have."""

    def arguments(self) -> list[str]:
        return [*super().arguments(), "2"]


@pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")
def test_nobody_is_lost_when_all_workers_are_replaced_one_after_the_other() -> None:
    program("node")
    if not are_clients_installed():
        missing("the JavaScript clients are not installed: make tests/javascript/node_modules/.installed")
    asyncio.run(replace_workers())


async def replace_workers() -> None:
    where = SeveralWorkers()
    async with server(where) as parent:
        clients = busy_clients(where.port)
        for times in range(1, ROUNDS + 1):
            await clients.all_back(4, times)
            for worker in workers_of(parent.pid):
                # While it stands still, clients wait in the queue of its socket, which is then that of the next one.
                worker.suspend()
                await clients.crowd()
                worker.terminate()
                worker.resume()
                await asyncio.to_thread(worker.wait, WAIT)
        await clients.all_back(4, ROUNDS + 1)
        await nobody_was_lost(clients)
        assert len(workers_of(parent.pid)) == 2
        parent.send_signal(signal.SIGTERM)
        assert await status_of(parent) == 0


def workers_of(parent: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(parent).children() if "server" not in child.name()]
