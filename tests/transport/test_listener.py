"""Ports: opened once, kept when the listener dies, and an error in one line when they are taken."""

from __future__ import annotations

import asyncio
import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import StartError
from actors.testing import WAIT
from supervisors import System, which_children
from tests.transport.wire import Server, Tcp, on_loop, serving
from transport import Endpoint, Socket, respond
from transport.http.listener import bind, unbind

ROOT = Path(__file__).resolve().parent.parent.parent
ROUTES = {"/": lambda _: respond(200, "page")}


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def close(opened: list[socket.socket]) -> None:
    for each in opened:
        each.close()


def test_a_free_port_is_the_same_for_all_addresses_of_a_host() -> None:
    opened = bind("localhost", 0)
    ports = {each.getsockname()[1] for each in opened}
    assert len(ports) == 1
    assert 0 not in ports
    close(opened)


def test_an_opened_port_takes_connections() -> None:
    [opened] = bind("127.0.0.1", 0)
    with socket.create_connection(opened.getsockname(), timeout=WAIT):
        close([opened])


def test_a_port_that_is_taken_is_an_error_with_the_address(taken: int) -> None:
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use") as failed:
        bind("127.0.0.1", taken)
    assert failed.value.errno == errno.EADDRINUSE


def test_an_address_that_is_not_ours_is_an_error_with_the_address() -> None:
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        bind("192.0.2.1", 0)


def test_a_port_can_be_opened_again_at_once_though_somebody_has_a_copy_of_its_socket() -> None:
    [opened] = bind("127.0.0.1", 0)
    port = opened.getsockname()[1]
    with opened.dup():
        unbind(opened)
        [again] = bind("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT):
            unbind(again)


def test_what_was_closed_can_be_closed_again() -> None:
    [opened] = bind("127.0.0.1", 0)
    unbind(opened)
    unbind(opened)


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
    close(bind("127.0.0.1", port))
