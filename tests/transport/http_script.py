"""A server of HTTP that a test controls, for clients of long polling."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.transport.client_meeting import Log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class HttpRequest(NamedTuple):
    """A request, and where the answer is written."""

    line: str
    headers: dict[str, str]
    body: bytes
    writer: asyncio.StreamWriter

    def answer(self, body: object, *, head: str = "HTTP/1.1 200 OK", headers: str = "") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.writer.write(f"{head}\r\nContent-Length: {len(data)}\r\n{headers}\r\n".encode() + data)


class HttpScript:
    """Reads requests; `connections` counts those that came."""

    def __init__(self) -> None:
        self.requests = Log()
        self.connections = 0
        self.port = 0
        self._taken = 0
        self._tasks: list[asyncio.Task[Any]] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[HttpScript]:
        async with await asyncio.start_server(self._accept, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
        await asyncio.gather(*self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            while True:
                line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
                headers = dict(line.split(": ", 1) for line in lines)
                body = await reader.readexactly(int(headers.get("Content-Length", 0)))
                self.requests.add(HttpRequest(line, headers, body, writer))
        except (OSError, asyncio.IncompleteReadError):
            self.requests.add(None)
        finally:
            writer.close()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/socket"

    async def next(self, method: str = "") -> Any:
        """Return the next request that came, of that method; None for a connection that has ended."""
        self._taken += 1
        ((request,),) = (await self.requests.until(self._taken))[self._taken - 1 : self._taken]
        assert request is None or request.line.startswith(method), request
        return request

    async def begin(self, token: str = "TOKEN") -> HttpRequest:  # noqa: S107
        """Answer the request that begins a session."""
        request: HttpRequest = await self.next("GET")
        request.answer({"status": 410, "token": token, "messages": []})
        return request
