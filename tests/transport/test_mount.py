"""How many clients a mounted socket accepts, and how long it waits for `connect`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from actors import Channel, Reply, ok, telemetry
from tests.transport.wire import on_loop, serving, status
from transport import ConnectInfo, Socket
from transport.limits import Limits
from transport.socket_events import LIMIT_REACHED, REFUSED


class RoomChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()


class NamedSocket(Socket):
    """A user by the name that it gives."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        self.assigns["user"] = params.get("user")
        return ok()

    def id(self) -> str | None:
        user: str | None = self.assigns["user"]
        return user


class LaterSocket(NamedSocket):
    """Takes as long as its test wants."""

    ends: list[str] = []  # noqa: RUF012  # cleared for each test

    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        match params.get("do"):
            case "wait":
                try:
                    await asyncio.Event().wait()
                finally:
                    self.ends.append("cancelled")
            case "time out":
                raise TimeoutError("of the application")
            case "raise":
                raise asyncio.CancelledError
        await asyncio.sleep(0)
        return super().connect(params, connect_info)


SOCKETS = {"/socket": NamedSocket, "/later": LaterSocket}


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The limits that were reached, and the statuses of refusals."""
    seen: list[Any] = []
    LaterSocket.ends.clear()
    telemetry.attach(
        "test", [LIMIT_REACHED, REFUSED], lambda _event, _n, about: seen.append(about.get("limit") or about["code"])
    )
    yield seen
    telemetry.detach("test")


async def poll(server: Any, query: str = "", path: str = "/socket") -> tuple[int, bytes]:
    """Ask for a session of long polling; return the HTTP status and the body."""
    tcp = await server.tcp()
    tcp.writer.write(
        f"GET {path}/longpoll?vsn=2.0.0{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )
    answer = await tcp.reader.read()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.mark.parametrize("path", ["/socket", "/later"])
@on_loop
async def test_an_address_has_so_many_connections_whatever_carries_them(path: str, events: list[Any]) -> None:
    async with serving(SOCKETS, limits=Limits(connections_per_address=2)) as server:
        first = await server.connect(path)
        assert (await poll(server, path=path))[0] == 200
        assert await status(server, path=path) == 429
        assert await poll(server, path=path) == (429, b'{"status":500}')
        assert events == ["connections_per_address", 429] * 2
        await first.close()
        await server.watched()
        assert await status(server, path=path) == 101


@pytest.mark.parametrize("path", ["/socket", "/later"])
@on_loop
async def test_a_user_has_so_many_connections(path: str, events: list[Any]) -> None:
    async with serving(SOCKETS, limits=Limits(connections_per_id=1)) as server:
        await server.connect(path, user="alice")
        assert await status(server, path=path, query="vsn=2.0.0&user=alice") == 429
        assert (await poll(server, "&user=alice", path))[0] == 429
        assert events == ["connections_per_id", 429] * 2
        await server.connect(path, user="bob")
        for _ in range(3):
            await server.connect(path)


@on_loop
async def test_an_async_connect_has_a_time(events: list[Any]) -> None:
    async with serving(SOCKETS, limits=Limits(connect_timeout=0.02)) as server:
        assert await status(server, path="/later", query="vsn=2.0.0&do=wait") == 503
        assert await poll(server, "&do=wait", "/later") == (503, b'{"status":500}')
        assert events == ["connect_timeout", 503] * 2
        assert LaterSocket.ends == ["cancelled"] * 2
        assert await status(server, path="/later") == 101


@on_loop
async def test_a_cancellation_of_the_applications_is_an_error_of_the_application(events: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        assert await status(server, path="/later", query="vsn=2.0.0&do=raise") == 500
        assert (await poll(server, "&do=raise", "/later"))[0] == 500
        assert events == [500] * 2


@on_loop
async def test_a_time_out_of_the_applications_is_an_error_of_the_application(events: list[Any]) -> None:
    async with serving(SOCKETS) as server:
        assert await status(server, path="/later", query="vsn=2.0.0&do=time+out") == 500
        assert events == [500]
