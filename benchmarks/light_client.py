"""A client that costs little, so that thousands fit beside the servers that are measured; it connects again as phoenix.js."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections import Counter
from typing import Any

from flooding.raw_client import PATH, FrameReader, join, message

# Seconds that phoenix.js waits before each attempt to connect again; then always the last.
BACKOFF = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)

HEARTBEAT = 30.0
"""Seconds between two of its heartbeats, as of phoenix.js."""

_HANDSHAKE = (
    f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


# A broadcast comes to thousands of them in the same bytes.
_read = functools.lru_cache(maxsize=64)(json.loads)


class LightClient(asyncio.Protocol):
    """A member of one topic, which keeps when it has joined, when it was cut off, and which numbered broadcasts it got when."""

    def __init__(self, port: int, topic: str) -> None:
        self.port, self.topic = port, topic
        self.seen: Counter[int] = Counter()
        self.times: dict[int, float] = {}
        self.joined = asyncio.Event()
        self.cut: float | None = None
        self.back: float | None = None
        self.keeps_times = False
        self._attempts = 0
        self._stays = True
        self._reconnecting: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect and join; the attempts go on in the background if that fails."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)
        except OSError:
            self._try_again()

    def shout(self, number: int) -> None:
        """Broadcast a number to all members of the topic."""
        self._transport.write(message("1", None, self.topic, "shout", {"n": number, "text": "x" * 64}))

    def close(self) -> None:
        self._stays = False
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        self._transport, self._reader, self._is_open = transport, FrameReader(), False
        transport.write(_HANDSHAKE.encode() + join(self.topic))
        self._beat = asyncio.get_running_loop().call_later(HEARTBEAT, self._send_heartbeat)

    def _send_heartbeat(self) -> None:
        self._transport.write(message(None, None, "phoenix", "heartbeat", {}))
        self._beat = asyncio.get_running_loop().call_later(HEARTBEAT, self._send_heartbeat)

    def data_received(self, data: bytes) -> None:
        if not self._is_open:
            head, _, data = data.partition(b"\r\n\r\n")
            self._is_open = head.startswith(b"HTTP/1.1 101")
            if not self._is_open:
                self._transport.abort()
                return
        for payload in self._reader.feed(data):
            self._receive(_read(payload))

    def _receive(self, received: list[Any]) -> None:
        if received[3] == "shout":
            number = received[4]["n"]
            self.seen[number] += 1
            if self.keeps_times:
                self.times[number] = time.perf_counter()
        elif received[3] == "phx_reply" and received[2] == self.topic:
            self._attempts = 0
            self.joined.set()
            if self.cut is not None and self.back is None:
                self.back = time.time()

    def connection_lost(self, _error: Exception | None) -> None:
        self._beat.cancel()
        if self.joined.is_set() and self.cut is None:
            self.cut = time.time()
        self.joined.clear()
        if self._stays:
            self._try_again()

    def _try_again(self) -> None:
        delay = BACKOFF[min(self._attempts, len(BACKOFF) - 1)]
        self._attempts += 1
        self._reconnecting = asyncio.create_task(self._connect_later(delay))

    async def _connect_later(self, delay: float) -> None:
        await asyncio.sleep(delay)
        await self.connect()


async def meet(clients: list[LightClient], at_once: int = 100) -> None:
    """Connect all, and return when they have joined."""
    gate = asyncio.Semaphore(at_once)

    async def enter(client: LightClient) -> None:
        async with gate:
            await client.connect()
            await client.joined.wait()

    await asyncio.gather(*map(enter, clients))
