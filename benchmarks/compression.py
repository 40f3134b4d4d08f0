"""Measure what compression saves and costs: bytes, the processor's time, and the memory of a connection.

    python benchmarks/compression.py                        # 1,000 clients in one room, some minutes
    python benchmarks/compression.py --clients 100 --broadcasts 20

One server is started without compression and one with it, each with as many clients that offer it. Of each kind of message some
broadcasts are made; the time is that of the server's process, system calls included, for one delivery to one client.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flooding.raw_client import join, message

from actors import Channel, Reply, ok
from supervisors import System
from transport import Endpoint, Limits, Socket

_WORDS = [
    "the",
    "of",
    "and",
    "to",
    "a",
    "in",
    "is",
    "it",
    "you",
    "that",
    "he",
    "was",
    "for",
    "on",
    "are",
    "with",
    "as",
    "his",
    "they",
    "be",
    "at",
    "one",
    "have",
    "this",
    "from",
    "by",
]
_CHUNK = 256 * 1024
_HANDSHAKE = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)


def chat(number: int) -> list[dict[str, Any]]:
    """Return messages of a chat, the same each time."""
    pick = random.Random(number)  # noqa: S311  # not a secret
    return [
        {
            "id": pick.randrange(10**6),
            "user": pick.choice(_WORDS),
            "body": " ".join(pick.choices(_WORDS, k=12)),
            "at": each,
        }
        for each in range(number)
    ]


KINDS: dict[str, dict[str, Any]] = {
    "a tick": {"value": 17},
    "a chat message": {"messages": chat(1)},
    "ten of them": {"messages": chat(10)},
    "a hundred": {"messages": chat(100)},
    "a presence state of 50 users": {
        f"user:{number}": {"metas": [{"phx_ref": f"F8x{number * 7919:08x}", "online_at": 1790000000 + number}]}
        for number in range(50)
    },
}


# The server


class BroadcastChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        for _ in range(payload["count"]):
            self.endpoint.broadcast("room:1", "news", KINDS[payload["kind"]])
        return ok()


class BroadcastSocket(Socket):
    channels = {"room:*": BroadcastChannel, "control": BroadcastChannel}  # noqa: RUF012  # as an author writes it


def serve(*, compress: bool) -> None:
    endpoint = Endpoint({"/socket": BroadcastSocket}, port=0, compress=compress, limits=Limits(joins=None))
    System([endpoint]).run(lambda _: print(endpoint.port, flush=True))


# The clients


@contextmanager
def started(*, compress: bool) -> Iterator[tuple[int, int]]:
    """Run a server; give its process id and port."""
    command = [sys.executable, __file__, "--serve", *(["--compress"] if compress else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603  # this program
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


class Crowd:
    """Clients that have joined, and read whatever is sent to them."""

    def __init__(self, port: int, number: int, topic: str) -> None:
        self._selector = selectors.DefaultSelector()
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
        for each in self.sockets:
            each.sendall(_HANDSHAKE + join(topic))
            self._selector.register(each, selectors.EVENT_READ)
        self.read(1.0)

    def read(self, patience: float) -> int:
        """Read until nothing has come for so many seconds; return the bytes."""
        total = 0
        while ready := self._selector.select(patience):
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                total += len(key.fileobj.recv(_CHUNK))
        return total


def seconds_of(pid: int) -> float:
    """Return the time that the processor has spent on a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(clients: int, broadcasts: int, *, compress: bool) -> None:
    with started(compress=compress) as (pid, port), ExitStack() as stack:
        control = Crowd(port, 1, "control")
        before = memory_of(pid)
        crowd = Crowd(port, clients, "room:1")
        for each in (*control.sockets, *crowd.sockets):
            stack.enter_context(each)
        print(f"\n{'with' if compress else 'without'} compression")
        print(f"  memory of a connection with one channel: {(memory_of(pid) - before) / clients / 1000:.1f} kB")
        for kind, payload in KINDS.items():
            began = seconds_of(pid)
            push = {"kind": kind, "count": broadcasts}
            control.sockets[0].sendall(message("1", "2", "control", "broadcast", push))
            size = crowd.read(1.0) / clients / broadcasts
            spent = (seconds_of(pid) - began) / clients / broadcasts
            plain = len(json.dumps([None, None, "room:1", "news", payload], separators=(",", ":")))
            print(f"  {kind:30} {plain:7,} bytes, {size:9,.0f} sent, {spent * 1e6:6.1f} µs a delivery", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--broadcasts", type=int, default=50)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--compress", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(compress=options.compress)
        return
    for compress in (False, True):
        measure(options.clients, options.broadcasts, compress=compress)


if __name__ == "__main__":
    main()
