"""The ways in which a client's connection can end while it is opened."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NoReturn

import pytest
from websockets.asyncio.server import ServerConnection, serve

from actors.testing import ManualClock
from tests.transport.client_meeting import Log, run
from transport.client import Socket
from transport.client.client_connection import ClientConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

FAR_AWAY = "ws://127.0.0.1:1/socket/websocket"


class Told:
    """Records the events of a connection."""

    def __init__(self) -> None:
        self.log = Log()

    def opened(self, connection: int) -> None:
        self.log.add("opened", connection)

    def failed(self, connection: int, error: Exception) -> None:
        self.log.add("failed", connection, str(error))

    def heard(self, connection: int) -> None:
        self.log.add("heard", connection)

    def data_received(self, connection: int, data: str | bytes) -> None:
        self.log.add("data", connection, data)

    def closed(self, connection: int, code: int, reason: str) -> None:
        self.log.add("closed", connection, code, reason)


class Silence:
    """A server that accepts and sends nothing; `came` and `gone` are set by the connecting client."""

    def __init__(self) -> None:
        self.came, self.gone = asyncio.Event(), asyncio.Event()
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Silence]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/socket"
            yield self

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came.set()
        while await reader.read(4096):
            pass
        self.gone.set()
        writer.close()


async def never(_heard: Callable[[], None]) -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_target_that_cannot_be_determined_is_a_connection_that_fails() -> None:
    async def nowhere(_heard: Callable[[], None]) -> NoReturn:
        raise LookupError("no token")

    async def conversation() -> None:
        told = Told()
        await ClientConnection(7, nowhere, told, ManualClock()).run()
        assert told.log.entries == [("failed", 7, "no token")]

    run(conversation())


def test_a_connection_that_is_closed_while_it_opens_says_nothing() -> None:
    async def conversation() -> None:
        async with Silence().serve() as server:
            socket, closed = Socket(server.url), Log()
            socket.on_error(closed.add)
            socket.connect()
            await server.came.wait()
            await socket.disconnect()
            await server.gone.wait()
            assert closed.entries == []

    run(conversation())


def test_who_is_cancelled_while_the_connection_opens_leaves_nothing() -> None:
    async def conversation() -> None:
        async with Silence().serve() as server:
            entering = asyncio.create_task(Socket(server.url).__aenter__())
            await server.came.wait()
            entering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await entering
            await server.gone.wait()

    run(conversation())


def test_a_connection_whose_task_is_cancelled_while_it_opens_leaves_nothing() -> None:
    async def conversation() -> None:
        running = asyncio.create_task(ClientConnection(1, never, Told(), ManualClock()).run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run(conversation())


class Cable:
    """A link that records what is written and how it ends; `read` returns when it has ended."""

    def __init__(self) -> None:
        self.written: list[list[str | bytes]] = []
        self.ends: list[tuple[int, str] | str] = []
        self.end = asyncio.Event()

    async def read(self, received: Callable[[str | bytes], None]) -> tuple[int, str]:
        received("hello")
        await self.end.wait()
        return 4000, "over"

    async def write(self, messages: list[str | bytes]) -> None:
        self.written.append(messages)

    async def close(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))

    def cut(self) -> None:
        self.ends.append("cut")
        self.end.set()

    def has_written(self) -> bool:
        return bool(self.written)


def test_a_connection_that_is_closed_at_the_moment_of_its_opening_is_ended() -> None:
    async def conversation() -> None:
        told, cable = Told(), Cable()

        async def opener(_heard: Callable[[], None]) -> Cable:
            # The connection is open when this is called, but not reported yet.
            asyncio.get_running_loop().call_soon(connection.close, 1000, "")
            return cable

        connection = ClientConnection(1, opener, told, ManualClock())
        await connection.run()
        assert (cable.ends, told.log.entries) == (["cut"], [])

    run(conversation())


def test_what_is_sent_is_written_in_order_before_the_close() -> None:
    async def conversation() -> None:
        told, cable, clock = Told(), Cable(), ManualClock()

        async def opener(heard: Callable[[], None]) -> Cable:
            heard()
            return cable

        connection = ClientConnection(1, opener, told, clock)
        running = asyncio.create_task(connection.run())
        await told.log.until(3)
        assert not connection.has_written()
        for text in ("a", "b"):
            connection.send(text)
        connection.close(4001, "bye")
        await asyncio.sleep(0)
        assert (cable.written, cable.ends, connection.has_written()) == ([["a", "b"]], [(4001, "bye")], True)
        clock.step(2)
        await running
        assert cable.ends == [(4001, "bye"), "cut", "cut"]
        assert told.log.entries == [("heard", 1), ("opened", 1), ("data", 1, "hello"), ("closed", 1, 4000, "over")]

    run(conversation())


@pytest.mark.parametrize("end", [Socket.close, Socket.disconnect])
def test_a_connection_that_is_closed_before_it_begins_to_open_is_not_opened(
    end: Callable[[Socket], Awaitable[None]],
) -> None:
    asked = []

    async def params() -> None:
        asked.append("params")
        await asyncio.Event().wait()

    async def conversation() -> None:
        socket = Socket(FAR_AWAY, params=params)
        socket.connect()
        await end(socket)
        assert asked == []

    run(conversation())


def test_a_message_that_is_too_long_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(connection: ServerConnection) -> None:
        await connection.send("x" * 2000)
        await connection.wait_closed()

    async def conversation() -> None:
        async with serve(answer, "127.0.0.1", 0) as server:
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/socket"
            socket, log = Socket(url, max_size=1000), Log()
            socket.on_close(log.add)
            socket.connect()
            assert (await log.until(1))[0] == (1006, "")
            await socket.close()

    run(conversation())
    [record] = {record.getMessage() for record in caplog.records if record.name == "ashtree.client"}
    assert re.fullmatch(r"the connection was ended with 1009 frame .*exceeds limit of 1000 bytes", record)


@pytest.mark.parametrize(("code", "reason"), [(1001, ""), (1005, ""), (2999, ""), (5000, ""), (4000, "é" * 62)])
def test_a_connection_cannot_be_closed_with_every_code_and_reason(code: int, reason: str) -> None:
    async def conversation() -> None:
        async with Silence().serve() as server:
            socket = Socket(server.url)
            with pytest.raises(ValueError, match=r"1000, or from 3000 to 4999|at most 123 bytes"):
                await socket.disconnect(code, reason)

    run(conversation())
