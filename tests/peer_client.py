"""Two clients of a bench channel, without a library for WebSockets: `python peer_client.py PORT PATH`.

They join, one echoes and shouts, and what they receive is printed as JSON, a message a line. They send as the load generator
does, whole frames with the masking key 0, so that `benchmarks/peers/socketio_wire.c` translates for them too.
"""

from __future__ import annotations

import json
import socket
import sys
from contextlib import closing
from typing import Any

from tests.live import WAIT

PAYLOAD = {"text": "x" * 300}
JOIN, ECHO, SHOUT = (
    ["1", ref, "bench:0", event, payload]
    for ref, event, payload in [("1", "phx_join", {}), ("2", "echo", PAYLOAD), ("3", "shout", PAYLOAD)]
)


class PeerClient:
    def __init__(self, port: int, path: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
        self._buffer = b""
        self._socket.send(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._read()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        assert b" 101 " in head, head

    def _read(self) -> None:
        data = self._socket.recv(65536)
        assert data, "the server has closed the connection"
        self._buffer += data

    def send(self, message: list[Any]) -> None:
        text = json.dumps(message, separators=(",", ":")).encode()
        size = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
        self._socket.send(b"\x81" + size + bytes(4) + text)

    def receive(self) -> Any:
        while len(self._buffer) < max(self._span()[1], 4):
            self._read()
        start, end = self._span()
        text, self._buffer = self._buffer[start:end], self._buffer[end:]
        return json.loads(text)

    def _span(self) -> tuple[int, int]:
        """Return where the text of the first frame is; up to 65,535 bytes."""
        size, start = self._buffer[1:2], 2
        if size == b"\x7e":
            size, start = self._buffer[2:4], 4
        return start, start + int.from_bytes(size, "big")

    def close(self) -> None:
        self._socket.close()


def main() -> None:
    port, path = int(sys.argv[1]), sys.argv[2]
    with closing(PeerClient(port, path)) as one, closing(PeerClient(port, path)) as other:
        for client, messages in [(one, [JOIN]), (other, [JOIN, ECHO, SHOUT])]:
            for message in messages:
                client.send(message)
                show(client.receive())
        show(one.receive())


def show(message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    main()
