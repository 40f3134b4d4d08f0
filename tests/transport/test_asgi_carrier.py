"""WebSockets on a real ASGI server: uvicorn with both of its implementations, in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from actors import Channel, Reply, ok
from supervisors import System
from tests.transport.wire import HANDSHAKE, HEARTBEAT, Tcp, dropped_broadcasts, limits_reached, masked, on_loop, until
from transport import Endpoint, OutboxPolicy, Socket
from transport.carriers import asgi_carrier
from transport.carriers.asgi_carrier import AsgiCarrier
from transport.carriers.intake import FULL, UNREAD

uvicorn = pytest.importorskip("uvicorn")

IMPLEMENTATIONS = ["websockets-sansio", "wsproto"]


class Room(Channel):
    handled: ClassVar[list[int]]
    gate: ClassVar[asyncio.Event]

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        if event == "shout":
            self.broadcast("shout", payload)
            return None
        return ok(payload)


class Slow(Room):
    async def handle_in(self, event: str, payload: Any) -> None:
        await self.gate.wait()
        self.handled.append(payload["number"])


class RoomSocket(Socket):
    channels: ClassVar[dict[str, type[Channel]]] = {"room": Room, "slow": Slow}

    def connect(self, params: Any, connect_info: Any) -> Reply:
        return ok()


class Served:
    """An endpoint on uvicorn."""

    def __init__(self, endpoint: Endpoint, port: int) -> None:
        self.endpoint, self.port = endpoint, port
        self.clients: list[Tcp] = []

    @property
    def carriers(self) -> list[AsgiCarrier]:
        return [carrier for carrier in self.endpoint.idle._connections if isinstance(carrier, AsgiCarrier)]

    async def joined(self, topic: str) -> Tcp:
        """Return a client that has joined, and reads only what the test reads."""
        client = Tcp(*await asyncio.open_connection("127.0.0.1", self.port, limit=1000))
        self.clients.append(client)
        await client.send(HANDSHAKE)
        assert (await client.answer()).status == 101
        await client.send(push(topic, "phx_join", 1))
        assert json.loads(await client.text())[3] == "phx_reply"
        return client


@asynccontextmanager
async def served(ws: str, **options: Any) -> AsyncIterator[Served]:
    Room.handled, Room.gate = [], asyncio.Event()
    endpoint = Endpoint({"/socket": RoomSocket}, port=None, **options)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(endpoint.asgi(), ws=ws, lifespan="off", log_level="critical", ws_ping_interval=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    async with System([endpoint]):
        await server.startup(sockets=[listening])
        found = Served(endpoint, listening.getsockname()[1])
        try:
            yield found
        finally:
            for client in found.clients:
                client.writer.transport.abort()
            await server.shutdown(sockets=[listening])


def push(topic: str, event: str, number: int, text: str = "") -> bytes:
    return masked(0x81, json.dumps(["1", str(number), topic, event, {"number": number, "text": text}]))


async def frame(client: Tcp) -> Any:
    """Read the next message, or the code of the close frame."""
    head = await client.reader.readexactly(2)
    size = head[1]
    if size > 125:
        size = int.from_bytes(await client.reader.readexactly(2 if size == 126 else 8), "big")
    data = await client.reader.readexactly(size)
    return json.loads(data) if head[0] == 0x81 else int.from_bytes(data[:2], "big")


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@on_loop
async def test_a_client_that_sends_faster_than_is_worked_is_not_read(ws: str) -> None:
    async with served(ws) as server:
        client = await server.joined("slow")
        [carrier] = server.carriers
        for number in range(40):
            client.writer.write(push("slow", "do", number, "x" * 1_000_000))
        await until(lambda: carrier.intake.held == FULL)
        assert server.endpoint.traffic["websocket"].messages_in <= 4
        assert carrier.intake.bytes < 3_100_000
        Room.gate.set()
        await until(lambda: len(Room.handled) == 40)
        assert Room.handled == list(range(40))
        await client.send(masked(0x81, HEARTBEAT))
        assert (await frame(client))[1] == "beat"


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@on_loop
async def test_a_client_that_does_not_read_its_replies_is_not_read_and_loses_none(ws: str) -> None:
    async with served(ws) as server:
        client = await server.joined("room")
        [carrier] = server.carriers
        for number in range(300):
            client.writer.write(push("room", "echo", number, "x" * 50_000))
        await until(lambda: carrier.intake.held == UNREAD)
        assert carrier.get_write_buffer_size() < 200_000
        for number in range(300):
            assert (await frame(client))[1] == str(number)
        await until(lambda: carrier.intake.held == 0)


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@on_loop
async def test_a_client_that_reads_no_broadcasts_is_left_and_the_others_get_all(
    ws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_carrier, "CLOSE_TIMEOUT", 0.05)
    async with served(ws) as server:
        await server.joined("room")
        reader = await server.joined("room")
        with limits_reached() as reached:
            number = 0
            while len(server.carriers) == 2:
                server.endpoint.broadcast("room", "news", {"number": number, "text": "x" * 200_000})
                assert (await frame(reader))[4]["number"] == number
                number += 1
        assert reached == ["outbox"]


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@on_loop
async def test_a_client_that_reads_no_broadcasts_may_miss_the_oldest(ws: str) -> None:
    async with served(ws, outbox=OutboxPolicy(max_bytes=1_000_000, overflow="drop_oldest")) as server:
        client = await server.joined("room")
        [carrier] = server.carriers
        with dropped_broadcasts() as dropped:
            last = 0
            while len(dropped) < 3:
                last += 1
                server.endpoint.broadcast("room", "news", {"number": last, "text": "x" * 200_000})
                assert carrier.get_write_buffer_size() <= 1_000_000
                await asyncio.sleep(0)
        got = [(await frame(client))[4]["number"]]
        while got[-1] != last:
            got.append((await frame(client))[4]["number"])
        assert got == sorted(got)
        assert len(got) == last - 3


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@on_loop
async def test_a_client_that_shouts_is_read_as_fast_as_the_room_is_written(ws: str) -> None:
    async with served(ws, outbox=OutboxPolicy(max_messages=500)) as server:
        room = [await server.joined("room") for _ in range(20)]
        flood = b"".join(push("room", "shout", number) for number in range(1000))
        room[0].writer.write(flood)

        async def all_of(client: Tcp) -> list[int]:
            return [(await frame(client))[4]["number"] for _ in range(1000)]

        for numbers in await asyncio.gather(*map(all_of, room)):
            assert numbers == list(range(1000))
