"""Random conversations over real connections: each message is answered once and in order, and none is lost before an end.

They exercise what was compared with Phoenix message by message (`docs/conformance.md`); what holds whatever the order of events
is checked here without it. Each seed is one conversation: `pytest tests/test_conversations.py -k "[17]"` has it again.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from actors import Channel, Reply, Stop, error, ok
from tests.conversation import FROM_OUTSIDE, TEXT, TOPICS, Heard, Script, Write, Writer, check_shouts
from tests.live import WAIT
from tests.transport.wire import HANDSHAKE, Server, Tcp, limited, masked, reset, serving, until
from transport import ConnectInfo, Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEEDS = int(os.environ.get("ASHTREE_CONVERSATIONS", "200"))


class RoomChannel(Channel):
    """Does what clients ask for, some of it after a while."""

    async def join(self, topic: str, payload: Any) -> Reply:
        await turns(payload)
        return error({"reason": "full"}) if "refuse" in payload else ok({"as": self.assigns["name"]})

    async def handle_in(self, event: str, payload: Any) -> Any:
        await turns(payload)
        match event:
            case "shout":
                self.broadcast("shouted", {"value": payload["value"]})
            case "later":
                self.send(self, (self.socket_ref(), payload["value"]))
                return None
            case "crash":
                raise RuntimeError("as the client wanted")
            case "stop":
                return Stop()
        return ok({"value": payload["value"]})

    def handle_info(self, message: Any) -> None:
        ref, value = message
        self.reply(ref, ok({"value": value}))


async def turns(payload: Any) -> None:
    for _ in range(payload.get("turns", 0)):
        await asyncio.sleep(0)


class ClientSocket(Socket):
    """A client that may be told to go away."""

    channels = {"room:*": RoomChannel}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.assigns["name"] = params["name"]
        return ok()

    def id(self) -> str:
        return f"clients:{self.assigns['name']}"


class Client:
    """Does what its script says."""

    def __init__(self, server: Server, script: Script) -> None:
        self.server, self.script = server, script
        self.heard = Heard(script)
        self.tcp: Tcp
        self.reading: asyncio.Task[None]

    async def connect(self) -> None:
        self.tcp = await self.server.tcp()
        query = f"vsn={self.script.version}&name={self.script.name}"
        await self.tcp.send(HANDSHAKE.replace("vsn=2.0.0", query, 1))
        assert (await self.tcp.answer()).status == 101
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while self.heard.close_code is None:
                self.heard.frame(*await read_frame(self.tcp.reader))
            self.tcp.end()
            assert not await self.tcp.reader.read(), "something behind the close frame"

    async def play(self) -> None:
        """Write all, and end the connection."""
        for write in self.script.writes:
            await self.write(write)
        await self.end()

    async def write(self, write: Write) -> None:
        await self.tcp.send(*(masked(step.first, step.data) for step in write.steps))
        await self.settle(write)

    async def settle(self, write: Write) -> None:
        if write.until is not None:
            await self.until(partial(self.heard.missing, write.until))

    async def end(self) -> None:
        if self.script.end in FROM_OUTSIDE:
            await self.until(lambda: self.script.pongs[len(self.heard.pongs) :])
        match self.script.end:
            case "eof":
                self.tcp.end()
            case "reset":
                reset(self.tcp.writer.transport)
            case "kick":
                self.kick()
        async with asyncio.timeout(WAIT):
            await self.reading

    def kick(self) -> None:
        self.server.endpoint.broadcast(f"clients:{self.script.name}", "disconnect", {})

    async def until(self, missing: Callable[[], list[Any]]) -> None:
        """Wait until nothing is missing."""
        try:
            await until(lambda: not missing() or self.reading.done())
        except TimeoutError:
            raise AssertionError(("has not come", missing(), self.script.writes, self.heard.messages)) from None
        if missing():
            self.reading.result()
            raise AssertionError(("had not come before the end", missing(), self.script.writes, self.heard.messages))


class PollingClient(Client):
    """Does what its script says over long polling: each write is one batch."""

    async def connect(self) -> None:
        self.tcp, self.posting = await self.server.tcp(), await self.server.tcp()
        self.path = f"/socket/longpoll?vsn={self.script.version}&name={self.script.name}"
        self.path += f"&token={quote((await self.poll())['token'])}"
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        while (answer := await self.poll())["status"] != 410:
            for text in answer.get("messages", ()):
                self.heard.frame(TEXT, text.encode())

    async def end(self) -> None:
        await super().end()
        self.kick()  # the answer that the session is gone has opened another one

    async def poll(self) -> Any:
        return json.loads((await self.tcp.get(self.path)).body)

    async def write(self, write: Write) -> None:
        batch = b"\n".join(step.data for step in write.steps)
        if batch:
            head = f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
            await self.posting.send(head, f"Content-Length: {len(batch)}\r\n\r\n", batch)
            assert json.loads((await self.posting.answer()).body) == {"status": 200}
        await self.settle(write)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, size = await reader.readexactly(2)
    if size == 126:
        size = int.from_bytes(await reader.readexactly(2), "big")
    return first, await reader.readexactly(size)


class Witness(Client):
    """Joins all topics first, and hears what the others say."""

    def __init__(self, server: Server) -> None:
        self.writer = Writer("witness", Random(0))  # noqa: S311  # no secrets
        super().__init__(server, self.writer.script)

    async def join(self) -> None:
        self.script.writes.append(Write([step for topic in TOPICS for step in self.writer.join(topic)]))
        self.writer.settle()
        for write in self.script.writes:
            await self.write(write)

    async def hear_all(self) -> None:
        """Return when all has come that was sent before."""
        self.writer.settle()
        await self.write(self.script.writes[-1])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_lost_or_answered_twice(seed: int) -> None:
    asyncio.run(limited(converse(Random(seed))))  # noqa: S311  # no secrets


async def converse(random: Random) -> None:
    writers = [Writer(f"client{n}", random, polls=random.random() < 0.25) for n in range(random.randint(1, 3))]
    scripts = [writer.write() for writer in writers]
    async with serving(ClientSocket) as server:
        witness = Witness(server)
        await witness.connect()
        await witness.join()
        alone = server.labels()
        clients = [(PollingClient if script.polls else Client)(server, script) for script in scripts]
        for client in clients:
            await client.connect()
        await asyncio.gather(*(client.play() for client in clients))
        await until(lambda: server.labels() == alone)
        await witness.hear_all()
        witness.tcp.end()
        await witness.reading
    for client in (witness, *clients):
        client.heard.check()
        check_shouts(witness.heard, client.script)
