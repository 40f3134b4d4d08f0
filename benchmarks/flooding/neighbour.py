"""The neighbour: a client in a process of its own that sends an echo at a fixed rate, whether the last one was answered or not.

`python neighbour.py PORT`: says "ready" when it has joined, sends until its input ends, waits for what is not answered, and
prints `[[time, latency], …]` in seconds of the monotonic clock, latency None for an echo that was never answered. The time of
an echo is when it was due: a server that is frozen for a second is seen by a hundred echoes, not by one.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flooding.raw_client import RawClient, message

INTERVAL = 0.01
PATIENCE = 60.0
"""Seconds to wait, at the end, for what is not answered."""


class Neighbour:
    """Its echoes: when each was due, and how long it took."""

    def __init__(self, port: int) -> None:
        self._client = RawClient(port).upgrade().join("flood:neighbour")
        self._client.socket.settimeout(PATIENCE)
        self._due: list[float] = []
        self._latency: dict[int, float] = {}

    def run(self) -> list[tuple[float, float | None]]:
        print("ready", flush=True)
        try:
            self._beat()
            self._wait()
        except OSError:
            pass  # the server has gone: what is not answered says so
        return [(due, self._latency.get(number)) for number, due in enumerate(self._due)]

    def _beat(self) -> None:
        due = time.monotonic()
        while True:
            ready, _, _ = select.select([sys.stdin, self._client.socket], [], [], max(0.0, due - time.monotonic()))
            if self._client.socket in ready:
                self._read()
            if sys.stdin in ready:
                return
            while due <= time.monotonic():
                self._client.socket.sendall(message("1", str(len(self._due)), "flood:neighbour", "echo", {}))
                self._due.append(due)
                due += INTERVAL

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while len(self._latency) < len(self._due) and time.monotonic() < deadline:
            self._read()

    def _read(self) -> None:
        data = self._client.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        now = time.monotonic()
        for payload in self._client.reader.feed(data):
            number = int(json.loads(payload)[1])
            self._latency[number] = now - self._due[number]


def come_first() -> None:
    """Run before the hostile client, which shares the core, where that is permitted: it takes next to no time."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


if __name__ == "__main__":
    come_first()
    print(json.dumps(Neighbour(int(sys.argv[1])).run()))
