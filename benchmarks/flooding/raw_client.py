"""A client on a plain socket: it sends the bytes it is told, reads when it is told, and knows no manners."""

from __future__ import annotations

import json
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Self

CONTINUATION, TEXT, CLOSE, PING = 0x0, 0x1, 0x8, 0x9

PATH = "/socket/websocket?vsn=2.0.0"

_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_CHUNK = 256 * 1024
_HEAD = 4096

LAST = b'"the last"'
"""The ref of the echo that ends a flood."""


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    """Return a client's frame. Its mask is zero, which is valid and leaves the payload as it is."""
    first, size = opcode | 0x80 * final, len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    return head + bytes(4) + payload


def message(join_ref: str | None, ref: str | None, topic: str, event: str, payload: object) -> bytes:
    """Return the frame of a message of version 2.0.0 of the protocol."""
    return frame(TEXT, json.dumps([join_ref, ref, topic, event, payload], separators=(",", ":")).encode())


def join(topic: str, ref: str = "1") -> bytes:
    return message(ref, ref, topic, "phx_join", {})


class FrameReader:
    """Counts a server's frames, and gives the payloads of the data frames that are complete."""

    def __init__(self) -> None:
        self._left = bytearray()
        self.counted = 0
        self.close_code: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        self._left += data
        payloads, at = [], 0
        while (found := self._next(at)) is not None:
            opcode, start, at = found
            self.counted += 1
            if opcode == CLOSE:
                self.close_code = int.from_bytes(self._left[start : start + 2], "big") or 1005
            elif opcode < CLOSE:
                payloads.append(bytes(self._left[start:at]))
        del self._left[:at]
        return payloads

    def _next(self, at: int) -> tuple[int, int, int] | None:
        """Return the opcode of the frame at an offset, where its payload starts, and where it ends."""
        data = self._left
        if len(data) < at + 2:
            return None
        size, start = data[at + 1] & 0x7F, at + 2
        if size > 125:
            length = 2 if size == 126 else 8
            size, start = int.from_bytes(data[start : start + length], "big"), start + length
        return (data[at] & 0x0F, start, start + size) if len(data) >= start + size else None


class RawClient:
    """One connection.

    `sent` and `received` are bytes; `all_sent` is whether the last flood was taken, `answer` the beginning of what came over
    HTTP, `ended` how the server ended it: a close code, "closed", "reset", or None.
    """

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.port = port
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.reader = FrameReader()
        self.answer = b""
        self.sent = self.received = 0
        self.all_sent = True
        self._upgraded = self._answered = False
        self.ended: int | str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # One thing after the other

    def upgrade(self, path: str = PATH) -> Self:
        """Become a WebSocket."""
        self.socket.sendall(_HANDSHAKE.format(path=path, port=self.port).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        if b" 101 " not in head:
            raise ConnectionError(head.decode())
        self._upgraded = True
        return self

    def join(self, topic: str) -> Self:
        """Join a topic; wait for the reply."""
        self.socket.sendall(join(topic))
        while not self.reader.feed(self._read()):
            pass
        return self

    def _read(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        return data

    def request(self, head: str, body: bytes = b"") -> tuple[int, bytes]:
        """Make a request of HTTP; return status and body of the answer."""
        self.socket.sendall(head.encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._read()
        top, _, content = answer.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in top.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(content) < length:
            content += self._read()
        return int(top.split()[1]), content

    # A flood

    def pour(self, pieces: Iterable[bytes], seconds: float, *, read: bool = True) -> bool:
        """Send all pieces as fast as the server takes them, and read meanwhile, or never; return whether all was answered.

        A reader sends an echo last, and ends with its reply; another stays for a while when all is sent. It also ends when the
        server ends the connection, and after so many seconds.
        """
        left = _merged(pieces)
        data = memoryview(next(left, b""))
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            self.socket.settimeout(0)
            selector.register(self.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
            while self.ended is None and (data or (read and not self._answered)):
                events = (selectors.EVENT_READ if read else 0) | (selectors.EVENT_WRITE if data else 0)
                selector.modify(self.socket, events)
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    break
                for _, ready in selector.select(remaining):
                    data = self._turn(ready, data, left)
        self.all_sent = not data
        if self.all_sent and not read:
            time.sleep(seconds / 2)  # noqa: TID251  # it is silent, and the server works
        return self._answered

    def _turn(self, ready: int, data: memoryview, left: Iterator[bytes]) -> memoryview:
        try:
            if ready & selectors.EVENT_READ:
                self._take(self.socket.recv(_CHUNK))
            if ready & selectors.EVENT_WRITE and self.ended is None:
                count = self.socket.send(data)
                self.sent += count
                return data[count:] or memoryview(next(left, b""))
        except BlockingIOError:
            return data
        except ConnectionError:
            self.ended = self.ended or self.reader.close_code or "reset"
        return data

    def _take(self, data: bytes) -> None:
        self.received += len(data)
        if self._upgraded:
            self._answered |= any(LAST in payload[:40] for payload in self.reader.feed(data))
        elif len(self.answer) < _HEAD:
            self.answer += data
        if not data or self.reader.close_code is not None:
            self.ended = self.reader.close_code or "closed"

    def drain(self, seconds: float) -> bytes:
        """Read until the server ends the connection or is silent for so long; return what came."""
        self.socket.settimeout(seconds)
        got = b""
        try:
            while data := self.socket.recv(_CHUNK):
                got += data
        except (TimeoutError, ConnectionError):
            return got
        self.ended = self.ended or "closed"
        return got


def _merged(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Merge small pieces, so that the client is not what is slow."""
    waiting = bytearray()
    for piece in chain(pieces, [b""]):
        waiting += piece
        if len(waiting) >= _CHUNK or not piece:
            if waiting:
                yield bytes(waiting)
            waiting.clear()
