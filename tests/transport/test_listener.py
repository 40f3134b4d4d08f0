"""Ports: opened once, kept when the listener dies, and an error in one line when they are taken."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors import StartError, telemetry
from actors.lowlevel import spawn
from actors.testing import WAIT, ManualRuntime
from supervisors import System, which_children
from tests.transport.wire import HANDSHAKE, Server, Tcp, barrier, on_both_loops, on_loop, serving, until
from transport import Endpoint, Socket, respond
from transport.access.proxies import Proxies
from transport.carriers.idle_connections import IdleConnections
from transport.http import listener as listener_module
from transport.http.http_connections import HttpConnections
from transport.http.listener import STOP_LISTENING, Listener
from transport.http.listening_socket import ListeningSocket, bind
from transport.limits import Limits
from transport.socket_events import LIMIT_REACHED

ROOT = Path(__file__).resolve().parent.parent.parent
ROUTES = {"/": lambda _: respond(200, "page")}


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@on_loop
async def test_a_system_cannot_start_on_a_port_that_is_taken(taken: int) -> None:
    with pytest.raises(StartError) as failed:
        await System([Endpoint({}, port=taken)]).start()
    assert str(failed.value.root) == (
        f"[Errno {errno.EADDRINUSE}] cannot listen on 127.0.0.1:{taken}: Address already in use"
    )


def test_the_demo_says_so_in_one_line_and_ends_with_status_1(taken: int) -> None:
    demo = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, str(ROOT / "demo.py"), "--port", str(taken)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10 * WAIT,
        check=False,
    )
    said = f"demo: [Errno {errno.EADDRINUSE}] cannot listen on 127.0.0.1:{taken}: Address already in use\n"
    assert (demo.returncode, demo.stdout, demo.stderr) == (1, "", said)


async def kill_listener(server: Server) -> None:
    listener = server.find("listener")
    down = listener.down()
    listener.kill()
    await down
    # The supervisor has its notice before we have ours; it answers when it has dealt with it.
    await which_children(server.find("endpoint"))
    assert server.find("listener") is not listener


@on_loop
async def test_a_listener_that_died_is_replaced_on_the_same_port_and_connections_go_on() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        port, before = server.endpoint.port, await server.tcp()
        await before.get("/")
        for _ in range(3):
            await kill_listener(server)
            assert (await before.get("/")).body == "page"
            assert (await (await server.tcp()).get("/")).body == "page"
        assert server.endpoint.port == port


@on_loop
async def test_who_connects_while_there_is_no_listener_is_served_by_the_next() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        server.find("listener").kill()
        # This connection is made by the kernel; the next listener finds it.
        waiting = socket.create_connection(("127.0.0.1", server.endpoint.port), timeout=WAIT)
        waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
        tcp = Tcp(*await asyncio.open_connection(sock=waiting))
        await which_children(server.find("endpoint"))
        assert (await tcp.answer()).body == "page"
        await tcp.close()


@on_loop
async def test_a_port_is_free_when_its_system_has_stopped() -> None:
    async with serving(Socket) as server:
        port = server.endpoint.port
        assert port is not None
    [opened] = bind("127.0.0.1", port)
    opened.close()


# The end


@on_both_loops
async def test_all_that_wait_in_the_queue_are_served_before_the_port_is_closed() -> None:
    async with serving(Socket, routes=ROUTES) as server:
        address = ("127.0.0.1", server.endpoint.port)
        # More than are accepted at a time.
        waiting = [socket.create_connection(address, timeout=WAIT) for _ in range(3 * ListeningSocket.at_once)]
        await server.find("listener").call(STOP_LISTENING)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=WAIT)
        for each in waiting:
            tcp = Tcp(*await asyncio.open_connection(sock=each))
            assert (await tcp.get("/", "Connection: close")).body == "page"
            await tcp.close()


@on_both_loops
async def test_a_client_that_has_gone_does_not_leave_the_others_in_the_queue() -> None:
    gone, accept = iter([ConnectionAbortedError(errno.ECONNABORTED, "gone")]), socket.socket.accept

    def accept_later(listening: socket.socket) -> tuple[socket.socket, Any]:
        for error in gone:
            raise error
        return accept(listening)

    async with serving(Socket, routes=ROUTES) as server:
        actor: Any = server.find("listener").process.actor
        waiting = socket.create_connection(("127.0.0.1", server.endpoint.port), timeout=WAIT)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "accept", accept_later)
            actor._stop_listening()
        tcp = Tcp(*await asyncio.open_connection(sock=waiting))
        assert (await tcp.get("/", "Connection: close")).body == "page"
        await tcp.close()


@on_both_loops
async def test_those_in_the_queue_of_a_socket_that_was_handed_in_are_left_to_the_next_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        endpoint = Endpoint({}, listen=given, routes=ROUTES)
        async with System([endpoint]) as system:
            processes = system.ref.process.scheduler.processes.values()
            [listener] = [process.ref for process in processes if process.label == "listener"]
            waiting = socket.create_connection(given.getsockname(), timeout=WAIT)
            await listener.call(STOP_LISTENING)
        async with System([Endpoint({}, listen=given, routes={"/": lambda _: respond(200, "next")})]):
            tcp = Tcp(*await asyncio.open_connection(sock=waiting))
            assert (await tcp.get("/", "Connection: close")).body == "next"
            await tcp.close()


@on_both_loops
async def test_a_listener_that_pauses_when_it_is_told_to_stop_does_not_begin_again() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener_module, "REFUSED", 0)
        async with serving(Socket, routes=ROUTES, limits=Limits(connections=1)) as server, reaching(server) as reached:
            await (await server.tcp()).upgrade()
            waiting = await server.tcp()
            await until(lambda: bool(reached))
            await server.find("listener").call(STOP_LISTENING)
            assert (await waiting.get("/")).status == 503
            server.find("listener").send(listener_module._ACCEPT)
            await barrier(server.find("listener"))


# Connections in total


@on_both_loops
async def test_above_the_limit_of_connections_new_ones_are_answered_503_until_another_has_ended() -> None:
    async with serving(Socket, routes=ROUTES, limits=Limits(connections=3)) as server, reaching(server) as reached:
        clients = [await server.tcp() for _ in range(3)]
        for client in clients:
            await client.upgrade()
        refused = [await server.tcp() for _ in range(5)]
        for tcp in refused:
            await tcp.send(HANDSHAKE)
        for tcp in refused:
            answer = await tcp.answer()
            assert (answer.status, answer.header("Connection")) == (503, ["close"])
            # Also a page of another origin that polls may read it.
            assert answer.header("Access-Control-Allow-Origin") == ["*"]
            assert await tcp.ended() == b""
        await clients[0].close()
        await until(lambda: server.endpoint.idle.open == 2)
        await (await server.tcp()).upgrade()
    assert reached == ["connections"] * 5


@on_both_loops
async def test_the_connection_that_waits_longest_for_a_request_is_closed_for_a_new_one() -> None:
    async with serving(Socket, routes=ROUTES, limits=Limits(connections=3)) as server:
        first, second, half = [await server.tcp() for _ in range(3)]
        await second.get("/")
        await half.send("GET / HTTP/1.1\r\nHost: x\r\n")
        await first.get("/")
        await (await server.tcp()).get("/")
        assert await second.ended() == b""
        await half.send("\r\n")
        assert (await half.answer()).status == 200
        await first.get("/")


@on_both_loops
async def test_more_than_a_few_are_not_even_refused_but_wait_in_the_queue() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listener_module, "REFUSED", 2)
        await queue_behind_two()


async def queue_behind_two() -> None:
    async with serving(Socket, routes=ROUTES, limits=Limits(connections=1)) as server:
        client = await server.tcp()
        await client.upgrade()
        refused = [await server.tcp() for _ in range(2)]
        for tcp in refused:
            await tcp.send("GET /")
        waiting = await server.tcp()
        await waiting.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for tcp in refused:
            await tcp.send(" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await tcp.answer()).status == 503
            await tcp.close()
        await client.close()
        assert (await waiting.answer()).status in (200, 503)


@asynccontextmanager
async def reaching(server: Server) -> AsyncIterator[list[str]]:
    """Collect the limits that are reached."""
    reached: list[str] = []
    telemetry.attach("limits", [LIMIT_REACHED], lambda _event, _numbers, about: reached.append(about["limit"]))
    try:
        yield reached
    finally:
        telemetry.detach("limits")


# Files


class Scarce:
    """A listening socket for which no file is left, until there is."""

    at_once = 32

    def __init__(self, real: socket.socket) -> None:
        self._real, self.error, self.attempts = real, errno.EMFILE, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def duplicate(self) -> Scarce:
        return self

    def accept(self) -> tuple[socket.socket, Any]:
        self.attempts += 1
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return self._real.accept()


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_files_nothing_is_accepted_for_ever_longer_pauses(error: int, caplog: pytest.LogCaptureFixture) -> None:
    real = socket.create_server(("127.0.0.1", 0))
    scarce = Scarce(real)
    scarce.error = error
    with ManualRuntime() as runtime, socket.create_connection(real.getsockname(), timeout=WAIT):
        endpoint = Accepting()
        sockets: Any = [scarce]
        listener = spawn(Listener, (sockets, endpoint, HttpConnections()))
        actor: Any = listener.process.actor
        attempts = []
        for seconds in (0.0, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
            runtime.advance(seconds)
            runtime.settle()
            if not actor._is_paused:  # as the loop would, which is virtual here
                actor._accept(scarce)
            attempts.append(scarce.attempts)
        listener.kill()
    real.close()
    assert attempts == [1, 2, 3, 4, 5, 6, 7]
    assert endpoint.limits_reached == ["files"] * 7


class Accepting:
    """What a listener needs of an endpoint."""

    def __init__(self) -> None:
        self.limits, self.idle, self.proxies = Limits(), IdleConnections(), Proxies()
        self.limits_reached: list[str] = []

    def reached(self, limit: str) -> None:
        self.limits_reached.append(limit)


OUT_OF_FILES = """
import asyncio, logging, resource, socket, sys
from supervisors import System
from transport import Endpoint, respond
from transport.limits import Limits

async def main():
    endpoint = Endpoint({}, port=0, routes={"/": lambda _: respond(200, "page")}, limits=Limits(connections=1000))
    async with System([endpoint]):
        loop = asyncio.get_running_loop()
        # One process, so that the clients take the files of the server.
        used = len(__import__("os").listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, used + 20))
        clients = []
        try:
            while True:
                clients.append(socket.create_connection(("127.0.0.1", endpoint.port), timeout=10))
        except OSError:
            pass
        waiting = clients.pop()
        waiting.setblocking(False)
        await loop.sock_sendall(waiting, b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = asyncio.ensure_future(loop.sock_recv(waiting, 12))
        await asyncio.sleep(0.5)
        print(answer.done())
        for client in clients:
            client.close()
        print((await answer).decode())
        waiting.close()

logging.basicConfig(level=logging.INFO)
if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_out_of_files_is_one_line_and_who_waits_is_served_when_there_are_files_again(loop: str) -> None:
    done = subprocess.run(  # noqa: S603  # our own script
        [sys.executable, "-c", OUT_OF_FILES, loop],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10 * WAIT,
        check=False,
    )
    assert done.stdout == "False\nHTTP/1.1 200\n", done.stderr
    assert done.stderr.count("\n") == done.stderr.count("no file is left for another connection") == 1, done.stderr
