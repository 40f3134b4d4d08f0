"""A proxy that sends each request to the next of several servers, as load balancers without sticky sessions do."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import cycle
from threading import Thread
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tests.live import WAIT

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RoundRobin"]

_HEAD_END = b"\r\n\r\n"


class RoundRobin:
    """Runs in a thread while its `with` block does; `address` is its `http://127.0.0.1:<port>`."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._servers = cycle([(parts.hostname, parts.port) for parts in map(urlsplit, addresses)])
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="round robin", daemon=True)
        self.address = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(self, *_exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pass(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = await client.readuntil(_HEAD_END)
            server, to_server = await asyncio.open_connection(*next(self._servers))
            # One request for each connection, so that the next one goes elsewhere.
            line, headers = head.split(b"\r\n", 1)
            close = b"" if b"upgrade: websocket" in head.lower() else b"\r\nConnection: close"
            to_server.write(line + close + b"\r\n" + headers)
            await _both(_copy(client, to_server), _copy(server, to_client))
            to_server.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            to_client.close()
            self._tasks.discard(task)


async def _both(*copies: object) -> None:
    """Run both until one has ended: the server has closed, or the client has gone."""
    tasks = [asyncio.ensure_future(each) for each in copies]  # type: ignore[call-overload]  # coroutines
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
