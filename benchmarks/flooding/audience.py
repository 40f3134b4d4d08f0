"""The audience: many clients of one topic in a process of their own, which read all that comes, or nothing.

`python audience.py PORT COUNT TOPIC read|stall`: says "ready" when all have joined, goes on until its input ends, and prints
`{"received": bytes, "closed": {code: count}}`.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flooding.raw_client import RawClient

# A client that does not read has little room in the kernel.
_STALLED_BUFFER = 8 * 1024


class Audience:
    """The clients."""

    def __init__(self, port: int, count: int, topic: str, *, read: bool) -> None:
        self._read = read
        buffer = None if read else _STALLED_BUFFER
        self._clients = [RawClient(port, receive_buffer=buffer).upgrade().join(topic) for _ in range(count)]
        self.received = 0

    def run(self) -> dict[str, object]:
        print("ready", flush=True)
        if self._read:
            self._listen()
        else:
            sys.stdin.read()
            for client in self._clients:
                client.reader.feed(client.drain(0.2))
        closed = Counter(str(code) for client in self._clients if (code := _end_of(client)) is not None)
        return {"received": self.received, "closed": closed}

    def _listen(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(sys.stdin, selectors.EVENT_READ, None)
            for client in self._clients:
                selector.register(client.socket, selectors.EVENT_READ, client)
            while True:
                for key, _ in selector.select():
                    if key.data is None:
                        return
                    self._take(selector, key.data)

    def _take(self, selector: selectors.BaseSelector, client: RawClient) -> None:
        try:
            data = client.socket.recv(262144)
        except ConnectionError:
            data, client.ended = b"", "reset"
        self.received += len(data)
        if not data:
            client.ended = client.ended or "closed"
            selector.unregister(client.socket)


def _end_of(client: RawClient) -> int | str | None:
    return client.reader.close_code or client.ended


if __name__ == "__main__":
    os.nice(5)  # it must not delay the neighbour
    port, count, topic, mode = sys.argv[1:]
    print(json.dumps(Audience(int(port), int(count), topic, read=mode == "read").run()))
