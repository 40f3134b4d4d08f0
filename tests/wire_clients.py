"""Clients as small as can be, alike over both transports and in both versions of the protocol."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.live import WAIT
from tests.transcript import Http, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# Who is here is another test's; it may come between any two messages.
_OVERHEARD = {"presence_diff", "presence_state"}


class EndedError(Exception):
    """The server has ended the connection; with the close code, if the transport has one."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Wire(Protocol):
    async def send(self, data: str | bytes) -> None: ...

    async def recv(self) -> str | bytes: ...


class WebSocketWire:
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str, query: str) -> AsyncIterator[WebSocketWire]:
        url = f"{address.replace('http', 'ws', 1)}/socket/websocket?{query}"
        async with connect(url, proxy=None, open_timeout=WAIT, close_timeout=WAIT, ping_interval=None) as connection:
            yield cls(connection)

    async def send(self, data: str | bytes) -> None:
        with _ended():
            await self._connection.send(data)

    async def recv(self) -> str | bytes:
        with _ended():
            async with asyncio.timeout(WAIT):
                return await self._connection.recv()


@contextmanager
def _ended() -> Iterator[None]:
    """Raise EndedError when the connection has ended."""
    try:
        yield
    except ConnectionClosed as closed:
        raise EndedError(closed.rcvd.code if closed.rcvd else 1006) from closed


class LongPollWire:
    def __init__(self, address: str, path: str) -> None:
        self._address, self._path = address, path
        self._token: str | None = None
        self._messages: list[str] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, address: str, query: str) -> AsyncIterator[LongPollWire]:
        wire = cls(address, f"/socket/longpoll?{query}")
        answer = await wire._exchange(Http("GET", wire._path))
        assert answer["status"] == 410, answer
        wire._token = answer["token"]
        yield wire

    async def _exchange(self, request: Http) -> dict[str, Any]:
        if self._token is not None:
            request.headers = {**request.headers, "x-phoenix-longpoll-token": self._token}
        status, body = await asyncio.to_thread(fetch, self._address, request)
        assert status == 200, (status, body)
        answer: dict[str, Any] = json.loads(body)
        return answer

    async def send(self, data: str | bytes) -> None:
        content = data if isinstance(data, str) else base64.b64encode(data).decode()
        kind = "application/json" if content.startswith("{") else "application/x-ndjson"
        answer = await self._exchange(Http("POST", self._path, {"Content-Type": kind}, content))
        # 408: the message has ended the session.
        assert answer["status"] in {200, 408}, answer

    async def recv(self) -> str | bytes:
        while not self._messages:
            answer = await self._exchange(Http("GET", self._path))
            if answer["status"] == 410:
                raise EndedError(None)
            self._messages = answer["messages"]
        text = self._messages.pop(0)
        return text if text.startswith(("[", "{")) else base64.b64decode(text)


WIRES: dict[str, type[WebSocketWire | LongPollWire]] = {"websocket": WebSocketWire, "longpoll": LongPollWire}


class Said(NamedTuple):
    """A message; version 1.0.0 tells no join_ref."""

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: Any


class WireClient:
    """One connection; what is heard and not asked for is an error."""

    def __init__(self, wire: Wire, version: str) -> None:
        self.wire, self.version = wire, version
        self._refs = count(1)

    async def say(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Any) -> None:
        said = Said(join_ref, ref, topic, event, payload)
        await self.wire.send(json.dumps(said._asdict() if self.version == "1.0.0" else said))

    async def hear(self) -> Said:
        """Return what comes next."""
        while True:
            said = self._read(json.loads(await self.wire.recv()))
            if said.event not in _OVERHEARD:
                return said

    def _read(self, message: Any) -> Said:
        return Said(None, **message) if self.version == "1.0.0" else Said(*message)

    async def hears(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Any) -> None:
        """See that this is what comes next."""
        seen = None if self.version == "1.0.0" else join_ref
        assert await self.hear() == Said(seen, ref, topic, event, payload)

    async def is_told(self, topic: str, event: str, payload: Any) -> None:
        """See that a broadcast comes next."""
        await self.hears(None, None, topic, event, payload)

    async def push(self, join_ref: Any, topic: str, event: str, payload: Any = None) -> str:
        ref = f"r{next(self._refs)}"
        await self.say(join_ref, ref, topic, event, {} if payload is None else payload)
        return ref

    async def is_answered(self, join_ref: Any, ref: str, topic: str, response: Any = None, status: str = "ok") -> None:
        """See that a reply comes next."""
        answer = {"status": status, "response": {} if response is None else response}
        await self.hears(join_ref, ref, topic, "phx_reply", answer)

    async def join(self, topic: str) -> str:
        """Join, and return the join_ref."""
        join_ref = f"j{next(self._refs)}"
        await self.say(join_ref, join_ref, topic, "phx_join", {})
        await self.is_answered(join_ref, join_ref, topic)
        return join_ref

    async def hears_nothing(self) -> None:
        """See that nothing is on its way: what is asked for now is what comes next."""
        ref = await self.push(None, "phoenix", "heartbeat")
        await self.is_answered(None, ref, "phoenix")

    async def is_ended(self, code: int) -> None:
        """See that the server ends the connection next, with this close code if the transport has one."""
        with pytest.raises(EndedError) as ended:
            raise AssertionError(f"expected the end, got {await self.hear()}")
        assert ended.value.code in {code, None}


class Meeting(NamedTuple):
    """Where clients of one transport and version meet."""

    address: str
    transport: str
    version: str

    @asynccontextmanager
    async def connect(self, **params: str) -> AsyncIterator[WireClient]:
        query = urlencode({"vsn": self.version, **params})
        async with WIRES[self.transport].open(self.address, query) as wire:
            yield WireClient(wire, self.version)
