"""Where an endpoint listens: Unix sockets, sockets that are handed in, several places, and one port for two servers."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from websockets.asyncio.client import unix_connect

from actors import Reply, StartError, ok
from actors.testing import WAIT
from supervisors import System
from tests.transport.wire import Tcp, on_both_loops, on_loop, until
from transport import (
    ConnectInfo,
    Endpoint,
    InheritedSocket,
    ListenError,
    Observer,
    Socket,
    SocketError,
    SystemdSockets,
    TcpPort,
    UnixSocket,
    respond,
)
from transport.http import addresses


def pages(name: str) -> Any:
    return {"/": lambda _: respond(200, name)}


@asynccontextmanager
async def serving(listen: Any, name: str = "page", **options: Any) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint({}, listen=listen, routes=pages(name), **options)
    async with System([endpoint], name=name):
        yield endpoint


async def get(where: Any) -> str:
    """Return the page at a Unix socket, at the address of a socket, or for one that is connected."""
    async with asyncio.timeout(WAIT):
        if isinstance(where, socket.socket):
            tcp = Tcp(*await asyncio.open_connection(sock=where))
        elif isinstance(where, tuple):
            tcp = Tcp(*await asyncio.open_connection(*where[:2]))
        else:
            tcp = Tcp(*await asyncio.open_unix_connection(where))
        body = (await tcp.get("/", "Connection: close")).body
        await tcp.close()
    return body


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def exists(path: Path) -> bool:
    return path.exists()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.sock"


# Unix sockets


@on_both_loops
async def test_a_unix_socket_has_a_mode_and_is_removed_at_the_end(path: Path) -> None:
    async with serving(UnixSocket(path)) as endpoint:
        assert await get(path) == "page"
        assert mode(path) == 0o660
        assert (endpoint.url, endpoint.port) == (f"unix:{path}", None)
    assert not exists(path)
    async with serving(UnixSocket(str(path), mode=0o600)):
        assert mode(path) == 0o600


@on_loop
async def test_the_file_of_a_dead_server_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    async with serving(UnixSocket(path)):
        assert await get(path) == "page"


async def why_not(listen: Any, **options: Any) -> str:
    with pytest.raises(StartError) as failed:
        await System([Endpoint({}, listen=listen, **options)], name="failed").start()
    assert isinstance(failed.value.root, ListenError)
    return str(failed.value.root)


@on_loop
async def test_the_socket_of_a_running_server_is_not_taken(path: Path) -> None:
    async with serving(UnixSocket(path)):
        assert await why_not(UnixSocket(path)) == f"cannot listen on unix:{path}: a running server has it"
        assert await get(path) == "page"


@pytest.mark.parametrize("reuse_port", [False, True])
@on_loop
async def test_a_file_that_is_no_socket_is_left_alone(path: Path, *, reuse_port: bool) -> None:
    with open(path, "w") as file:  # noqa: ASYNC230  # a moment
        file.write("precious")
    said = await why_not(UnixSocket(path), reuse_port=reuse_port)
    assert said == f"cannot listen on unix:{path}: there is a file that is not a socket"
    assert [each.read_text() for each in path.parent.iterdir()] == ["precious"]


@on_loop
async def test_a_path_that_is_too_long_is_told_with_its_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    assert await why_not(UnixSocket(path)) == (
        f"cannot listen on unix:{path}: a Unix socket cannot have a path of {len(str(path))} bytes; choose a shorter one"
    )


@on_both_loops
async def test_a_new_server_takes_the_place_of_a_running_one_which_does_not_remove_its_file(path: Path) -> None:
    old = System([Endpoint({}, listen=UnixSocket(path), routes=pages("old"), reuse_port=True)], name="old")
    await old.start()
    kept = Tcp(*await asyncio.open_unix_connection(path))
    assert (await kept.get("/")).body == "old"
    async with serving(UnixSocket(path, mode=0o600), "new", reuse_port=True):
        assert await get(path) == "new"
        assert (await kept.get("/")).body == "old"
        await old.stop()
        assert await get(path) == "new"
        assert mode(path) == 0o600
    assert list(path.parent.iterdir()) == []
    await kept.close()


class PeerSocket(Socket):
    peers: ClassVar[list[Any]] = []

    def connect(self, params: Any, connect_info: ConnectInfo) -> Reply:
        self.peers.append(connect_info.peer)
        return ok()


@on_both_loops
async def test_a_client_of_a_unix_socket_has_no_address_but_what_a_trusted_proxy_says(path: Path) -> None:
    PeerSocket.peers.clear()
    for trusted in ([], ["unix:"]):
        endpoint = Endpoint({"/socket": PeerSocket}, listen=UnixSocket(path), trusted_proxies=trusted)
        async with System([endpoint]):
            uri = "ws://localhost/socket/websocket?vsn=2.0.0"
            headers = {"X-Forwarded-For": "203.0.113.5"}
            # A socket of a client may have a path, too.
            with socket.socket(socket.AF_UNIX) as client:
                client.bind(str(path.with_name(f"client{len(trusted)}")))
                client.connect(str(path))
                async with unix_connect(uri=uri, sock=client, additional_headers=headers, open_timeout=WAIT) as opened:
                    await opened.close()
    assert PeerSocket.peers == [None, ("203.0.113.5", 0)]


@pytest.mark.parametrize("given", [5, None, "", b"/run/shop", "a\0b"], ids=repr)
def test_the_path_of_a_unix_socket_is_text(given: Any) -> None:
    with pytest.raises(SocketError, match=r'such as "/run/shop/shop\.sock", got '):
        UnixSocket(given)


@pytest.mark.parametrize("mode", [660, "660", 0o1777, -1, None, True], ids=repr)
def test_a_mode_is_octal(mode: Any) -> None:
    with pytest.raises(SocketError, match="octal, such as mode=0o660, got "):
        UnixSocket("/run/shop.sock", mode)


def test_without_unix_sockets_there_is_a_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("socket.AF_UNIX")
    with pytest.raises(SocketError, match="has no Unix sockets: listen on a port"):
        UnixSocket("/run/shop.sock")


# Sockets that are handed in


@on_both_loops
async def test_a_socket_stays_its_owner_s_and_who_waits_is_served_by_the_next_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        async with serving(given) as endpoint:
            assert await get(given.getsockname()) == "page"
            assert (endpoint.host, endpoint.port) == given.getsockname()
        waiting = socket.create_connection(given.getsockname(), timeout=WAIT)
        async with serving(given, "next"):
            assert await get(waiting) == "next"


@on_loop
async def test_a_socket_that_is_bound_only_is_listened_on() -> None:
    with socket.socket() as given:
        given.bind(("127.0.0.1", 0))
        async with serving(given):
            assert await get(given.getsockname()) == "page"


@on_loop
async def test_a_descriptor_is_inherited_and_not_passed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        os.set_inheritable(given.fileno(), True)  # noqa: FBT003  # that is how it is called
        async with serving(InheritedSocket(given.fileno())):
            assert await get(given.getsockname()) == "page"
            assert not os.get_inheritable(given.fileno())
        async with serving(InheritedSocket(given.fileno())):
            assert await get(given.getsockname()) == "page"


@on_loop
async def test_a_unix_socket_is_handed_in_too(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        async with serving(given) as endpoint:
            assert await get(path) == "page"
            assert endpoint.url == f"unix:{path}"
    assert exists(path)


@on_loop
async def test_what_cannot_be_listened_on_is_told() -> None:
    reading, writing = os.pipe()
    assert await why_not(InheritedSocket(reading)) == f"cannot listen on descriptor {reading}: it is no socket"
    os.close(reading)
    os.close(writing)
    assert await why_not(InheritedSocket(9999)) == "cannot listen on descriptor 9999: it was not handed in"
    with socket.socket() as unbound, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        for given in (unbound, datagrams):
            assert "it is no stream socket that is bound to an address" in await why_not(given)
    assert "it is closed" in await why_not(unbound)


class Unit:
    """A service of systemd with sockets of these names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
        # They follow each other: where they are here is not where systemd puts them.
        first = 100
        for number, opened in enumerate(self.sockets):
            os.dup2(opened.fileno(), first + number)
        monkeypatch.setattr(addresses, "_FIRST", first)
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", str(len(names)))
        monkeypatch.setenv("LISTEN_FDNAMES", ":".join(names))

    def close(self) -> None:
        for number, opened in enumerate(self.sockets):
            os.close(addresses._FIRST + number)
            opened.close()


@on_loop
async def test_the_sockets_of_systemd_are_found_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Unit(monkeypatch, "web", "admin", "web")) as unit:
        first, second, third = (each.getsockname() for each in unit.sockets)
        async with serving(SystemdSockets("web")) as endpoint, serving(SystemdSockets("admin"), "admin"):
            assert [await get(each) for each in (first, second, third)] == ["page", "admin", "page"]
            assert endpoint.urls == [f"http://127.0.0.1:{first[1]}", f"http://127.0.0.1:{third[1]}"]
        async with serving(SystemdSockets()):
            assert [await get(each) for each in (first, second, third)] == ["page"] * 3
        said = await why_not(SystemdSockets("other"))
        assert (
            said == "cannot listen on the sockets 'other' of a socket unit: systemd has handed in 'web', 'admin', 'web'"
        )
        monkeypatch.delenv("LISTEN_FDNAMES")
        async with serving(SystemdSockets()):
            assert await get(second) == "page"
        # In a child, which has the environment, and not the sockets.
        monkeypatch.setenv("LISTEN_PID", "1")
        said = await why_not(SystemdSockets())
        assert said == "cannot listen on the sockets of a socket unit: systemd has handed in none"


@pytest.mark.parametrize("count", ["", "0", "-1", "x", "²"])
@on_loop
async def test_an_odd_number_of_sockets_is_none(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    assert (await why_not(SystemdSockets())).endswith("systemd has handed in none")


# One port for two servers


@on_both_loops
async def test_two_servers_share_a_port_if_both_say_so() -> None:
    async with serving(TcpPort("127.0.0.1", 0), "old", reuse_port=True) as old:
        assert old.port is not None
        place = ("127.0.0.1", old.port)
        async with serving(TcpPort(*place), "new", reuse_port=True):
            found = set()
            for _ in range(200):
                found.add(await get(place))
                if len(found) > 1:
                    break
            assert found == {"old", "new"}
            assert "Address already in use" in await why_not(TcpPort(*place))
        assert await get(place) == "old"
    async with serving(TcpPort(*place)):
        assert "Address already in use" in await why_not(TcpPort(*place), reuse_port=True)


@pytest.mark.parametrize("value", [1, "yes", None], ids=repr)
def test_reuse_port_is_a_bool(value: Any) -> None:
    with pytest.raises(SocketError, match="reuse_port must be a bool, got "):
        Endpoint({}, reuse_port=value)


def test_a_platform_without_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("socket.SO_REUSEPORT")
    with pytest.raises(SocketError, match="needs SO_REUSEPORT, which this platform does not have"):
        Endpoint({}, reuse_port=True)


# Several places


@on_loop
async def test_an_endpoint_listens_at_several_places(path: Path) -> None:
    async with serving([UnixSocket(path), TcpPort("127.0.0.1", 0), TcpPort("localhost", 0)]) as endpoint:
        assert await get(path) == await get(("127.0.0.1", endpoint.port)) == "page"
        assert endpoint.url == endpoint.urls[1] == f"http://127.0.0.1:{endpoint.port}"
        assert endpoint.urls[0] == f"unix:{path}"


@on_loop
async def test_if_one_place_is_taken_the_others_are_free_again(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = TcpPort("127.0.0.1", taken.getsockname()[1])
        assert "Address already in use" in await why_not([UnixSocket(path), place])
    await until(lambda: not exists(path))


@pytest.mark.parametrize(
    ("listen", "hint"),
    [
        (4000, "; a port is given by port="),
        ("/run/shop.sock", r"; the path of a Unix socket is written UnixSocket\(…\)"),
        (Path("/run/shop.sock"), r"; the path of a Unix socket is written UnixSocket\(…\)"),
        (("127.0.0.1", 4000), r"; an address is written TcpPort\(host, port\)"),
        ([UnixSocket("/run/shop.sock"), None], ""),
    ],
    ids=repr,
)
def test_a_place_that_is_none_is_told_what_to_write(listen: Any, hint: str) -> None:
    with pytest.raises(SocketError, match=rf"listen takes a socket, UnixSocket\(path\), .*, got .*{hint}"):
        Endpoint({}, listen=listen)


def test_nowhere_is_not_a_place() -> None:
    with pytest.raises(SocketError, match="listens nowhere: write port=None"):
        Endpoint({}, listen=[])


@pytest.mark.parametrize("options", [{"port": 5000}, {"host": "::1"}, {"port": None}], ids=repr)
def test_there_are_not_two_ways_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(SocketError, match="give either listen=… or host= and port="):
        Endpoint({}, listen=UnixSocket("/run/shop.sock"), **options)


@pytest.mark.parametrize("fd", [-1, "3", None, True], ids=repr)
def test_a_descriptor_is_a_number(fd: Any) -> None:
    with pytest.raises(SocketError, match=r"such as InheritedSocket\(3\), got "):
        InheritedSocket(fd)


@pytest.mark.parametrize("name", ["", 3, b"web"], ids=repr)
def test_a_socket_unit_has_a_name(name: Any) -> None:
    with pytest.raises(SocketError, match='of a socket unit, such as "web", got '):
        SystemdSockets(name)


@pytest.mark.parametrize(("host", "port"), [("http://x", 1), ("x", -1), ("x", "80"), ("x", None), (None, 80)], ids=repr)
def test_a_port_is_checked_like_that_of_an_endpoint(host: Any, port: Any) -> None:
    with pytest.raises((SocketError, ValueError), match=r"host must be|port must be|has a port"):
        TcpPort(host, port)


def test_before_the_start_there_is_no_address_and_without_a_port_none_for_a_browser() -> None:
    endpoint = Endpoint({}, listen=UnixSocket("/run/shop.sock"), observer=Observer("0123456789abcdef"))
    with pytest.raises(RuntimeError, match="has not started"):
        _ = endpoint.url


@on_loop
async def test_without_a_port_there_is_no_address_for_a_browser(path: Path) -> None:
    async with serving(UnixSocket(path), observer=Observer("0123456789abcdef")) as endpoint:
        with pytest.raises(RuntimeError, match="no port to which a browser can connect"):
            _ = endpoint.observer_url
