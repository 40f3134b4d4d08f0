"""How soon a process knows the presences of another one, over Redis, and what that costs.

    redis-server --port 6379 --save "" &
    python benchmarks/presence_nodes.py --redis redis://localhost

Another process tracks the presences, one for each of many users in rooms of 20. This one measures.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import resource
import time
from multiprocessing.connection import Connection
from statistics import quantiles
from typing import Any

from ashtree import Actor, Presence, PubSub, RedisPubSub, System

OF_ROOM = 20


class Member(Actor):
    """Is tracked."""


class Meter(RedisPubSub):
    """Counts what arrives from Redis."""

    size = messages = 0

    def receive(self, topic: str, data: bytes) -> None:
        """Deliver a message."""
        self.size += len(topic) + len(data)
        self.messages += 1
        super().receive(topic, data)


class Watched(Presence):
    """Measures how long changes elsewhere take."""

    def __init__(self) -> None:
        super().__init__()
        self.delays: list[float] = []

    def handle_metas(self, topic: str, diff: dict[str, Any], presences: Any) -> None:
        """Keep the age of each meta that has joined."""
        now = time.perf_counter()
        joined = (meta for entry in diff["joins"].values() for meta in entry["metas"])
        self.delays += [now - meta["at"] for meta in joined if "at" in meta]


def other(url: str, pipe: Connection) -> None:
    """Track what the measuring process asks for: a number of presences, and the seconds between two of them."""
    asyncio.run(track_on_request(url, pipe))


async def track_on_request(url: str, pipe: Connection) -> None:
    """Serve until the pipe says None."""
    presence, member, number = Presence(), None, 0
    async with System([presence], pubsub=PubSub(adapter=RedisPubSub(url))):
        member = Member.start()
        while (wanted := await asyncio.to_thread(pipe.recv)) is not None:
            for _ in range(wanted[0]):
                meta = {"online_at": int(time.time())} | ({"at": time.perf_counter()} if wanted[1] else {})
                presence.track(member, f"room:{number // OF_ROOM}", f"user{number}", meta)
                number += 1
                if wanted[1] or not number % 1000:
                    await asyncio.sleep(wanted[1])
            pipe.send(number)


async def measure(url: str, pipe: Connection, number: int) -> None:
    """Print the figures."""
    pipe.send((number, 0))
    await asyncio.to_thread(pipe.recv)
    presence, meter = Watched(), Meter(url)
    memory, began, used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter(), time.process_time()
    async with System([presence], pubsub=PubSub(adapter=meter)):
        while known(presence) < number:  # noqa: ASYNC110  # nothing reports it
            await asyncio.sleep(0.005)
        seconds, processor = time.perf_counter() - began, time.process_time() - used
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        print(f"{number:,} presences of another process are known {seconds:.2f} s after the start of this one")
        print(
            f"  {meter.size / number:.0f} bytes each, in {meter.messages} messages; {processor:.2f} s of the processor"
        )
        print(f"  {grown * 1024 / number:.0f} bytes of memory each, with what was needed meanwhile")
        await idle(meter)
        await changes(presence, meter, pipe)


def known(presence: Presence) -> int:
    """Return how many presences of others are known; the benchmark of a private part."""
    exchange = presence.exchange
    return 0 if exchange is None else sum(len(each.table) for each in exchange.replicas._replicas.values())  # noqa: SLF001


async def idle(meter: Meter) -> None:
    """Measure what one process costs another while nothing changes."""
    before = meter.size, meter.messages
    await asyncio.sleep(6)
    got, messages = meter.size - before[0], meter.messages - before[1]
    print(f"without a change: {got / 6:.0f} bytes and {messages / 6:.1f} messages a second from another process")


async def changes(presence: Watched, meter: Meter, pipe: Connection) -> None:
    """Measure single changes, and many."""
    for number, pause, what in ((50, 0.1, "ten a second"), (2_000, 0.001, "as many as 1,000 a second")):
        presence.delays.clear()
        before = meter.size, meter.messages
        pipe.send((number, pause))
        await asyncio.to_thread(pipe.recv)
        await asyncio.sleep(0.5)
        cuts = quantiles(presence.delays, n=100)
        got, messages = meter.size - before[0], meter.messages - before[1]
        print(f"changes, {what}: known elsewhere after {cuts[49] * 1e3:.0f} ms (median), {cuts[98] * 1e3:.0f} ms (p99)")
        print(f"  {got / number:.0f} bytes each, {messages} messages for {number:,} changes")


def main() -> None:
    """Run the other process, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", default="redis://localhost", metavar="URL")
    parser.add_argument("--presences", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=other, args=(options.redis, theirs))
    process.start()
    try:
        asyncio.run(measure(options.redis, ours, options.presences))
    finally:
        ours.send(None)
        process.join()


if __name__ == "__main__":
    main()
