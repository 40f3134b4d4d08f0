"""Programs that fork: pools, preloaded servers, children that outlive what their parent closes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from websockets.http11 import Request
from websockets.server import ServerProtocol

from actors import Actor, Channel, Reply, ok
from supervisors.signals import Signals
from supervisors.socket_file import SocketFile
from supervisors.system import System
from tests.children import fork, in_child, needs_fork, outcome_of, sleeping_child, wait_for
from tests.live import ROOT, WAIT
from transport import Endpoint, Socket, respond
from transport import client as asynchronous
from transport.client import sync
from transport.testing import LiveEndpoint

pytestmark = needs_fork


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        return ok(payload)


class UserSocket(Socket):
    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    def id(self) -> str:
        return "user"


class Idle(Actor):
    """Does nothing."""


@pytest.fixture
def live() -> Iterator[LiveEndpoint]:
    routes = {"/": lambda _: respond(200, "hello")}
    with LiveEndpoint({"/socket": UserSocket}, routes=routes) as started:
        yield started


def connected(live: LiveEndpoint) -> sync.Socket:
    return sync.connect(f"ws://127.0.0.1:{live.endpoint.port}/socket")


def names_the_fork(use: Callable[[], object]) -> bool:
    return f"process {os.getpid()}, from which this one" in outcome_of(use)


# An endpoint

ENDPOINT: dict[str, Callable[[Endpoint], object]] = {
    "broadcast": lambda endpoint: endpoint.broadcast("room:a", "event", {}),
    "local_broadcast": lambda endpoint: endpoint.local_broadcast("room:a", "event", {}),
    "disconnect": lambda endpoint: endpoint.broadcast("user", "disconnect", {}),
    "subscribe": lambda endpoint: endpoint.subscribe("room:a", Idle.start()),
    "start": lambda endpoint: System([endpoint]).__enter__(),
    "start_in_thread": lambda endpoint: System([endpoint]).start_in_thread(),
}


@pytest.mark.parametrize("use", ENDPOINT.values(), ids=ENDPOINT)
def test_the_endpoint_of_the_parent_cannot_be_used(live: LiveEndpoint, use: Callable[[Endpoint], object]) -> None:
    assert names_the_fork(lambda: use(live.endpoint))
    with connected(live) as client:
        assert client.channel("room:a").join() == {}


def test_an_endpoint_that_was_made_before_the_fork_serves_in_the_child() -> None:
    endpoint = Endpoint({"/socket": UserSocket})

    def serve() -> object:
        with LiveEndpoint(endpoint) as live, connected(live) as client:
            room = client.channel("room:a")
            room.join()
            endpoint.broadcast("room:a", "news", {"body": "hello"})
            return room.recv(WAIT).payload

    assert in_child(serve) == {"body": "hello"}
    assert serve() == {"body": "hello"}


def test_the_system_of_the_parent_is_not_closed_by_the_child_that_may_have_another_one() -> None:
    endpoint = Endpoint({"/socket": UserSocket}, port=0)
    system = System([endpoint]).start_in_thread()

    def serve() -> object:
        system.close()
        other = System([Endpoint({"/socket": UserSocket}, port=0)]).start_in_thread()
        other.close()
        return "closed"

    assert in_child(serve) == "closed"
    assert names_the_fork(system.start_in_thread)
    assert system.is_running
    endpoint.broadcast("room:a", "news", {})
    system.close()


class ForkingSocket(UserSocket):
    children: ClassVar[list[int]] = []

    def id(self) -> str:
        self.children.append(fork())
        return "user"


def test_a_child_that_returns_from_the_code_of_a_request_ends() -> None:
    def page(_: object) -> Any:
        return respond(200, str(fork()))

    with LiveEndpoint({"/socket": ForkingSocket}, routes={"/": page}) as live:
        address = f"http://127.0.0.1:{live.endpoint.port}/"
        with urllib.request.urlopen(address, timeout=WAIT) as answer:
            assert wait_for(int(answer.read())) == 70
        with connected(live) as client:
            assert client.channel("room:a").join() == {}
    assert wait_for(ForkingSocket.children.pop()) == 70


# Clients

SYNC: dict[str, Callable[[sync.Socket, sync.Channel], object]] = {
    "push": lambda socket, room: room.push("echo", {}, timeout=2).reply(),
    "join": lambda socket, room: socket.channel("room:b").join(timeout=2),
    "leave": lambda socket, room: room.leave(timeout=2),
    "recv": lambda socket, room: room.recv(timeout=2),
    "messages": lambda socket, room: list(room.messages(timeout=2)),
    "on": lambda socket, room: room.on("event", print),
    "on_close": lambda socket, room: socket.on_close(print),
    "open": lambda socket, room: socket.open(),
    "close": lambda socket, room: socket.close(),
    "state": lambda socket, room: socket.state,
    "presence": lambda socket, room: sync.Presence(room),
}


@pytest.mark.parametrize("use", SYNC.values(), ids=SYNC)
def test_a_client_of_the_parent_cannot_be_used(
    live: LiveEndpoint, use: Callable[[sync.Socket, sync.Channel], object]
) -> None:
    with connected(live) as client:
        room = client.channel("room:a")
        room.join()
        assert names_the_fork(lambda: use(client, room))
        assert room.push("echo", {"body": "still"}).reply() == {"body": "still"}


def test_a_child_makes_clients_of_its_own(live: LiveEndpoint) -> None:
    unused = sync.Socket(f"ws://127.0.0.1:{live.endpoint.port}/socket")

    def talk(client: sync.Socket) -> object:
        with client:
            room = client.channel("room:a")
            room.join(timeout=WAIT)
            return room.push("echo", {"body": "hello"}).reply()

    def opened() -> object:
        unused.open()
        return talk(unused)

    with connected(live):
        assert in_child(lambda: talk(connected(live))) == {"body": "hello"}
        assert in_child(opened) == {"body": "hello"}


def test_a_child_leaves_the_block_of_a_client_that_is_the_parents(live: LiveEndpoint) -> None:
    with connected(live) as client:
        child = fork()
        if not child:
            client.__exit__(None, None, None)
            os._exit(0)
        assert wait_for(child) == 0
        assert client.channel("room:a").join() == {}


ASYNC: dict[str, Callable[[asynchronous.Socket, asynchronous.Channel], object]] = {
    "push": lambda socket, room: room.push("echo", {}),
    "channel": lambda socket, room: socket.channel("room:b"),
    "leave": lambda socket, room: room.leave(),
    "recv": lambda socket, room: asyncio.run(room.recv(2.0)),
    "on": lambda socket, room: room.on("event", print),
    "on_close": lambda socket, room: socket.on_close(print),
    "connect": lambda socket, room: socket.connect(),
    "reconnect": lambda socket, room: socket.reconnect(),
    "close": lambda socket, room: asyncio.run(socket.close()),
    "is_open": lambda socket, room: socket.is_open,
}


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
def test_an_asynchronous_client_of_the_parent_cannot_be_used(
    live: LiveEndpoint, transport: Literal["websocket", "longpoll"]
) -> None:
    async def use_all() -> list[str]:
        async with asynchronous.Socket(f"ws://127.0.0.1:{live.endpoint.port}/socket", transport=transport) as client:
            room = client.channel("room:a")
            await room.join()
            silent = [name for name, use in ASYNC.items() if not names_the_fork(lambda: use(client, room))]  # noqa: B023  # called at once
            assert await room.push("echo", {"body": "still"}) == {"body": "still"}
            return silent

    assert asyncio.run(use_all()) == []


# What the parent closes while a child has it open too


def opened(live: LiveEndpoint, request: bytes) -> socket.socket:
    """Return a connection on which a request has been answered, up to the end of the answer's head."""
    connection = socket.create_connection(("127.0.0.1", live.endpoint.port or 0), WAIT)
    connection.sendall(request)
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(4096)
    return connection


def rest(connection: socket.socket) -> bytes:
    """Return what is received until the server ends the connection."""
    return b"".join(iter(lambda: connection.recv(4096), b""))


UPGRADE = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
MASKED_CLOSE = b"\x88\x80\x00\x00\x00\x00"


def test_a_client_that_is_told_to_leave_sees_the_end_of_its_websocket(live: LiveEndpoint) -> None:
    with opened(live, UPGRADE) as connection, sleeping_child():
        live.endpoint.broadcast("user", "disconnect", {})
        assert connection.recv(2)[0] == 0x88
        connection.sendall(MASKED_CLOSE)
        rest(connection)


def test_a_client_that_closes_sees_the_end_of_its_websocket(live: LiveEndpoint) -> None:
    with opened(live, UPGRADE) as connection, sleeping_child():
        connection.sendall(MASKED_CLOSE)
        assert rest(connection)[0] == 0x88


def test_the_end_of_a_system_reaches_connections_and_listeners() -> None:
    with ExitStack() as outer:
        with LiveEndpoint({"/socket": UserSocket}, routes={"/": lambda _: respond(200, "hello")}) as live:
            waiting, port = outer.enter_context(opened(live, GET)), live.endpoint.port
            outer.enter_context(sleeping_child())
        rest(waiting)
        refused = outer.enter_context(socket.socket())
        refused.settimeout(WAIT)
        assert refused.connect_ex(("127.0.0.1", port)) != 0


def test_an_answer_that_closes_the_connection_ends_it(live: LiveEndpoint) -> None:
    request = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with sleeping_child(), opened(live, request) as connection:
        rest(connection)


def test_a_server_sees_the_end_of_a_client_to_whose_close_it_does_not_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = asynchronous.Socket(f"ws://127.0.0.1:{listening.getsockname()[1]}/socket")

        async def connect_and_close() -> bytes:
            async with asyncio.timeout(WAIT):
                connecting = asyncio.create_task(client.__aenter__())
                with await asyncio.to_thread(accepted, listening) as connection:
                    await connecting
                    with sleeping_child():
                        await client.close()
                        return await asyncio.to_thread(rest, connection)

        assert asyncio.run(connect_and_close())[0] == 0x88


def accepted(listening: socket.socket) -> socket.socket:
    """Accept a WebSocket, as a server does that says nothing after that."""
    connection, _ = listening.accept()
    connection.settimeout(WAIT)
    server = ServerProtocol()
    server.receive_data(connection.recv(65536))
    [request] = server.events_received()
    assert isinstance(request, Request)
    connection.sendall(server.accept(request).serialize())
    return connection


def test_a_listening_socket_of_a_parent_that_was_killed_is_free(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import os, signal, time
            from tests.children import fork
            from transport import Endpoint
            from supervisors.system import System

            endpoint = Endpoint({}, port=0)

            def forks(_system):
                child = fork()
                if not child:
                    print(os.getpid(), endpoint.port, flush=True)
                    time.sleep(60)
                os.kill(os.getpid(), signal.SIGKILL)

            System([endpoint]).run(forks)
            """
        )
    )
    parent = run(program)
    assert parent.stdout is not None
    child, port = map(int, parent.stdout.readline().split())
    assert parent.wait(WAIT) == -signal.SIGKILL
    try:
        with closing(socket.socket()) as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind(("127.0.0.1", port))
            again.listen()
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_the_socket_of_a_console_that_was_closed_refuses_clients(tmp_path: Path) -> None:
    unix = SocketFile(str(tmp_path / "console"), mode=0o600, backlog=1)
    with sleeping_child(), closing(socket.socket(socket.AF_UNIX)) as client:
        os.link(unix.path, tmp_path / "other")
        unix.close()
        assert client.connect_ex(str(tmp_path / "other")) != 0


# Signals


def run(program: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  # our own script
        [sys.executable, "-W", "ignore::DeprecationWarning", str(program)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


POOL = """
import multiprocessing, os, signal, sys, threading, time
from actors.actor import Actor
from actors.threads.threaded_actor import ThreadedActor
from supervisors.system import System

def pooled():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(sum(pool.map(abs, [-1, -2, -3])), flush=True)

class {kind}Forking({kind}):
    def on_start(self):
        {place}

class Ends(Actor):
    def on_start(self):
        os.kill(os.getpid(), signal.SIGTERM)

System([{kind}Forking, Ends]).run()
print("ended")
"""

PLACES = {
    "in a handler": ("Actor", "pooled()"),
    "in a thread of an actor": ("ThreadedActor", "pooled()"),
    "in another thread": ("Actor", "thread = threading.Thread(target=pooled); thread.start(); thread.join()"),
}


@pytest.mark.parametrize(("kind", "place"), PLACES.values(), ids=PLACES)
def test_a_pool_inside_a_system_ends(tmp_path: Path, kind: str, place: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(POOL.format(kind=kind, place=place))
    running = run(program)
    assert (running.communicate(timeout=WAIT)[0], running.returncode) == ("6\nended\n", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_child_has_the_handlers_of_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Signals(30.0) as signals:
        assert in_child(lambda: signal.getsignal(number) is before)
        assert signal.getsignal(number) is not before
        assert signals.count == 0


def test_a_signal_that_comes_before_the_handlers_are_restored_is_the_childs() -> None:
    with Signals(30.0) as signals:
        child = fork()
        if not child:
            signals._on_signal(signal.SIGTERM, None)
            os._exit(0)
        assert wait_for(child) == -signal.SIGTERM
        assert signals.count == 0


def test_a_signal_of_a_child_does_not_wake_the_loop_of_its_parent(live: LiveEndpoint) -> None:
    reading, writing = socket.socketpair()
    reading.settimeout(0)
    writing.settimeout(0)
    before = signal.set_wakeup_fd(writing.fileno())
    try:
        child = fork()
        if not child:
            signal.signal(signal.SIGUSR1, lambda *_: None)
            signal.raise_signal(signal.SIGUSR1)
            os._exit(0)
        assert wait_for(child) == 0
        with pytest.raises(BlockingIOError):
            reading.recv(1)
    finally:
        signal.set_wakeup_fd(before)
        reading.close()
        writing.close()
