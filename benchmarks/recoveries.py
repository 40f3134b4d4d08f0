"""What recovery costs: broadcasts with a history, the memory of what is kept, and a thousand clients that come back at once.

    python benchmarks/recoveries.py [--clients 1000] [--rounds 100] [--rooms 10 100 1000]

Fan-out is processor time of the server, without sockets as in messages.py and with them: topics with and without a history take
turns in one run, and what is shown is the ratio of each pair. The clients that come back have real sockets, and are another
process than the server; so is a neighbour, which sends echoes meanwhile, as fast as they are answered.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
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


# Fan-out, by turns: the same clients are in all three topics, and each round has a batch of broadcasts in each

TOPICS = {
    "without a history": ("plain:1", b"{}"),
    "with one": ("kept:1", b"{}"),
    "with one, for clients that recover": ("kept:2", b'{"recover":true}'),
}
Shouts = Callable[[str, int], Awaitable[float]]
"""Broadcasts so many times on a topic; returns the seconds of the processor that the server has taken."""


async def rounds(shouts: Shouts, clients: int, number: int, text: int, where: str) -> None:
    """Print what a history adds: the median of the rounds, and where it is with a certainty of 95 % (by order statistics)."""
    batch, figures = max(2, 1000 // clients), {name: list[float]() for name in TOPICS}
    for topic, _ in TOPICS.values():
        await shouts(topic, KEPT + batch)
    for _ in range(number):
        for name, (topic, _) in random.sample(list(TOPICS.items()), len(TOPICS)):
            figures[name].append(await shouts(topic, batch) / batch * 1e6)
    plain = figures.pop("without a history")
    print(f"a broadcast of {text} bytes to {clients} clients {where}: {median(plain):.0f} µs without a history")
    for name, found in figures.items():
        ratios = sorted(100 * one / other - 100 for one, other in zip(found, plain, strict=True))
        low = max(0, int(number / 2 - 0.98 * number**0.5))
        print(f"    {name}: {median(ratios):+.1f} % [{ratios[low]:+.1f}, {ratios[-1 - low]:+.1f}]")


def shout_frames(text: int) -> dict[str, bytes]:
    body = b"x" * text
    return {
        topic: framed(b'["1",null,"%b","shout",{"text":"%b"}]' % (topic.encode(), body)) for topic, _ in TOPICS.values()
    }


async def in_process(clients: int, number: int, text: int) -> None:
    endpoint, frames = Endpoint({"/socket": Rooms}, port=0), shout_frames(text)
    async with System([endpoint]):
        with rare_collections():
            server = Memory(endpoint)
            wires = [await server.client() for _ in range(clients)]
            for wire in wires:
                for topic, payload in TOPICS.values():
                    wire.protocol.data_received(framed(b'["1","1","%b","phx_join",%b]' % (topic.encode(), payload)))
                    await until(lambda wire=wire, topic=topic: topic.encode() in wire.last)  # type: ignore[misc]

            async def shouts(topic: str, times: int) -> float:
                began = time.process_time()
                for _ in range(times):
                    await one(wires, frames[topic])
                return time.process_time() - began

            await rounds(shouts, clients, number, text, "without sockets")


async def one(wires: list[Wire], shout: bytes) -> None:
    wanted = wires[-1].writes + 1
    wires[0].protocol.data_received(shout)
    await until(lambda: wires[-1].writes >= wanted)


class Listening(asyncio.Protocol):
    """A client of all topics, which counts the messages that it is sent."""

    def __init__(self) -> None:
        self.heard, self.wanted, self.tail = 0, 0, b""
        self.done = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        joins = [b'["1","1","%b","phx_join",%b]' % (topic.encode(), payload) for topic, payload in TOPICS.values()]
        transport.write(HANDSHAKE + b"".join(map(framed, joins)))

    def data_received(self, data: bytes) -> None:
        # What may be cut in two is counted with the next piece.
        data = self.tail + data
        self.heard += data.count(b'"shout"') + data.count(b"phx_reply")
        self.tail = data[-8:]
        self.heard -= self.tail.count(b'"shout"') + self.tail.count(b"phx_reply")
        if self.heard >= self.wanted:
            self.done.set()

    async def until(self, wanted: int) -> None:
        self.wanted = wanted
        if self.heard < wanted:
            self.done.clear()
            await self.done.wait()


async def over_sockets(clients: int, number: int, text: int) -> None:
    """Do the same with the server in a process of its own, whose processor time is on Linux in nanoseconds."""
    server, frames = await started("--serve"), shout_frames(text)
    assert server.stdout is not None
    port, _ = json.loads(await server.stdout.readline())
    loop = asyncio.get_running_loop()
    opened = [(await loop.create_connection(Listening, "127.0.0.1", port))[1] for _ in range(clients)]
    await asyncio.gather(*(each.until(len(TOPICS)) for each in opened))

    async def shouts(topic: str, times: int) -> float:
        began, wanted = ran(server.pid), opened[0].heard + times
        for one in range(1, times + 1):
            opened[0].transport.write(frames[topic])
            await asyncio.gather(*(each.until(wanted - times + one) for each in opened))
        return ran(server.pid) - began

    try:
        await rounds(shouts, clients, number, text, "over sockets")
    finally:
        server.terminate()
        await server.wait()


def ran(pid: int) -> float:
    """Return the seconds that the only thread of a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def fan_out(number: int, rooms: list[int]) -> None:
    for clients in rooms:
        for text in (64, 2000):
            gc.collect()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(in_process(clients, number, text))
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(over_sockets(clients, number, 64))


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
    parser.add_argument("--rounds", type=int, default=100, help="of the fan-out")
    parser.add_argument("--rooms", type=int, nargs="*", default=[10, 100, 1000], help="clients that are broadcast to")
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
        fan_out(options.rounds, options.rooms)
        for size in (10, 1000):
            memory(size)
        asyncio.run(come_back(options.clients))


if __name__ == "__main__":
    main()
