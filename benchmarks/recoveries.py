"""What recovery costs: broadcasts with a history, the memory of what is kept, and a thousand clients that come back at once.

    python benchmarks/recoveries.py [--clients 1000] [--runs 15]

Fan-out is processor time without sockets, as in messages.py: runs with and without a history take turns, and the smallest
figures are shown. The clients that come back have real sockets, and are another process than the server; so is a neighbour,
which sends echoes meanwhile, as fast as they are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
import time
import tracemalloc
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from messages import Server as Memory
from messages import Wire, framed, until

from actors.history.history import NOWHERE, History
from actors.history.topic_log import KeptBroadcast
from actors.history.topic_logs import TopicLogs
from actors.lowlevel import new_event_loop
from ashtree import Channel, Endpoint, Payload, Reply, Socket, System, ok
from supervisors import rare_collections

HERE = Path(__file__).resolve()
TEXT = "x" * 64
KEPT, BODY = 100, 200


class PlainChannel(Channel):
    """A channel without a history."""

    def join(self, topic: str, payload: Payload) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Payload) -> Any:
        if event == "echo":
            return ok(payload)
        self.broadcast(event, payload)
        return None


class KeepingChannel(PlainChannel):
    """The same with a history."""

    history = History(size=KEPT)


class Rooms(Socket):
    channels = {"plain:*": PlainChannel, "kept:*": KeepingChannel}  # noqa: RUF012  # as an author writes it


# Fan-out


async def shouts(topic: str, payload: bytes, number: int, clients: int = 100) -> float:
    """Return the microseconds of a broadcast to so many clients that join with a payload."""
    endpoint = Endpoint({"/socket": Rooms}, port=0)
    async with System([endpoint]):
        with rare_collections():
            server = Memory(endpoint)
            wires = [await joined(server, topic, payload) for _ in range(clients)]
            shout = framed(b'["1",null,"%b","shout",{"text":"%b"}]' % (topic.encode(), TEXT.encode()))
            for _ in range(3):
                await one(wires, shout)
            began = time.process_time()
            for _ in range(number):
                await one(wires, shout)
            return (time.process_time() - began) / number * 1e6


async def joined(server: Memory, topic: str, payload: bytes) -> Wire:
    wire = await server.client()
    wire.protocol.data_received(framed(b'["1","1","%b","phx_join",%b]' % (topic.encode(), payload)))
    await until(lambda: topic.encode() in wire.last)
    return wire


async def one(wires: list[Wire], shout: bytes) -> None:
    wanted = wires[-1].writes + 1
    wires[0].protocol.data_received(shout)
    await until(lambda: wires[-1].writes >= wanted)


def fan_out(runs: int) -> None:
    rows = {
        "without a history": ("plain:1", b"{}"),
        "with one": ("kept:1", b"{}"),
        "that recover": ("kept:1", b'{"recover":true}'),
    }
    figures = {name: list[float]() for name in rows}
    for _ in range(runs):
        for name, (topic, payload) in rows.items():
            figures[name].append(timed(topic, payload))
    plain = min(figures["without a history"])
    for name, found in figures.items():
        print(f"a broadcast to 100 clients {name}: {min(found):.0f} µs, {100 * min(found) / plain - 100:+.1f} %")


def timed(topic: str, payload: bytes) -> float:
    gc.collect()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(shouts(topic, payload, 300))


# Memory


def memory(size: int, topics: int = 200) -> None:
    history, logs = History(size=KEPT), TopicLogs(10**9)
    tracemalloc.start()
    for number in range(topics):
        log = logs.use(f"room:{number}", history, 0.0)
        for offset in range(1, KEPT + 1):
            payload = b'{"text":"%b"}' % (b"x" * size)
            log.append(KeptBroadcast(offset, float(number + offset), "new_msg", payload))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    kept = topics * KEPT
    print(f"{size} bytes of text: {used / kept:.0f} bytes for each that is kept, {logs.bytes / kept:.0f} are counted")


# Clients that come back


class Returning(asyncio.Protocol):
    """A client that was at the beginning, and waits for all that it has missed."""

    def __init__(self, join: bytes, last: bytes) -> None:
        self.request = HANDSHAKE + join
        self.last, self.tail, self.done = last, b"", asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.tail = self.tail[-100:] + data
        if self.last in self.tail and not self.done.done():
            self.done.set_result(time.perf_counter())


HANDSHAKE = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def serve() -> None:
    """Be the server: fill the history, and print the port and where the topic began."""
    endpoint = Endpoint({"/socket": Rooms}, port=0)

    def ready(system: System) -> None:
        epoch = system.pubsub.history.recover("kept:1", KeepingChannel.history, NOWHERE).position.epoch
        for number in range(KEPT):
            endpoint.broadcast("kept:1", "said", {"n": number, "text": "x" * BODY})
        print(json.dumps([endpoint.port, epoch]), flush=True)

    System([endpoint]).run(ready)


async def come_back(clients: int) -> None:
    server = await started("--serve")
    try:
        assert server.stdout is not None
        port, epoch = json.loads(await server.stdout.readline())
        quiet = await neighbour(port, 1000)
        watching = asyncio.create_task(neighbour(port, 2000))
        await asyncio.sleep(0.5)  # it has started
        for missed in (0, KEPT):
            before = used(server.pid)
            print(await returned(port, epoch, clients, missed), f"{used(server.pid) - before:.2f} s of the processor")
        meanwhile = await watching
        print(
            f"echoes of a neighbour: p99 {quiet[0]:.1f} ms before, {meanwhile[0]:.1f} ms then, longest {meanwhile[1]:.1f} ms"
        )
    finally:
        server.terminate()
        await server.wait()


def used(pid: int) -> float:
    """Return the seconds of the processor that a process has used, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def started(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, str(HERE), *arguments, stdout=asyncio.subprocess.PIPE)


async def returned(port: int, epoch: str, clients: int, missed: int) -> str:
    recover = json.dumps({"recover": {"epoch": epoch, "offset": KEPT - missed}}).encode()
    join, last = framed(b'["1","1","kept:1","phx_join",%b]' % recover), b'"@%d"' % KEPT if missed else b"phx_reply"
    loop, began = asyncio.get_running_loop(), time.perf_counter()
    opened = await asyncio.gather(
        *(loop.create_connection(lambda: Returning(join, last), "127.0.0.1", port) for _ in range(clients))
    )
    ends = await asyncio.gather(*(protocol.done for _, protocol in opened))
    took = sorted(end - began for end in ends)
    for transport, _ in opened:
        transport.abort()
    what = f"{clients} clients come back and get {missed} broadcasts each"
    return f"{what}: the median in {median(took):.2f} s, the last in {took[-1]:.2f} s,"


async def neighbour(port: int, number: int) -> tuple[float, float]:
    """Return the 99th percentile and the longest, in milliseconds, of echoes that a process of its own sends."""
    process = await started("--echo", str(port), "--number", str(number))
    assert process.stdout is not None
    p99, longest = json.loads(await process.stdout.readline())
    await process.wait()
    return p99, longest


async def echo(port: int, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE + framed(b'["1","1","plain:1","phx_join",{}]'))
    await reader.readuntil(b"phx_reply")
    took = []
    for _ in range(number):
        began = time.perf_counter()
        writer.write(framed(b'["1","echo","plain:1","echo",{}]'))
        await reader.readuntil(b'"echo"')
        took.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.001)
    print(json.dumps([quantiles(took, n=100)[98], max(took)]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000, help="clients that come back")
    parser.add_argument("--runs", type=int, default=15, help="of the fan-out")
    parser.add_argument("--serve", action="store_true", help="be the server")
    parser.add_argument("--echo", type=int, metavar="PORT", help="be the neighbour")
    parser.add_argument("--number", type=int, default=1000, help="echoes of the neighbour")
    options = parser.parse_args()
    logging.getLogger("ashtree").setLevel(logging.CRITICAL)
    if options.serve:
        serve()
    elif options.echo is not None:
        asyncio.run(echo(options.echo, options.number))
    else:
        fan_out(options.runs)
        for size in (10, 1000):
            memory(size)
        asyncio.run(come_back(options.clients))


if __name__ == "__main__":
    main()
