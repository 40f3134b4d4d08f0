"""What a broadcast between two processes costs, and how long it takes: two systems of this process, and a Redis.

    redis-server --port 6379 --save "" &
    python benchmarks/exchange.py --redis redis://localhost

Both systems run on one event loop, so the processor's time is that of both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import quantiles
from typing import Any

from ashtree import Actor, Broadcast, PubSub, RedisPubSub, System

BURST = 500
MESSAGE = {"user": "ann", "body": "hello there, how are you"}


class Reader(Actor):
    """Counts what it receives, and keeps how long it took."""

    def __init__(self, pubsub: PubSub, expected: int, done: asyncio.Event, delays: list[float]) -> None:
        self.pubsub, self.expected, self.done, self.delays = pubsub, expected, done, delays

    async def on_start(self) -> None:
        async with self.pubsub.held("room"):
            self.pubsub.subscribe("room", self.actor_ref)

    def on_receive(self, message: Any) -> None:
        self.delays.append(time.perf_counter() - message.payload["at"])
        if len(self.delays) == self.expected:
            self.done.set()


async def main(url: str, number: int) -> None:
    one, two = PubSub("one", RedisPubSub(url)), PubSub("two", RedisPubSub(url))
    async with System(pubsub=one, name="one"), System(pubsub=two, name="two"):
        publishing = await publish(one, "unread", number)
        done = asyncio.Event()
        reader = Reader.start(two, number, done, [])
        await two_is_subscribed(two)
        began, used = time.perf_counter(), time.process_time()
        await publish(one, "room", number)
        await asyncio.wait_for(done.wait(), 60)
        seconds, both = time.perf_counter() - began, (time.process_time() - used) / number
        print(f"processor time: {publishing * 1e6:.0f} µs to publish, {both * 1e6:.0f} µs with receiving it")
        print(f"throughput: {number / seconds:,.0f} messages a second, lost: {one.relay.counts.lost}")
        await reader.stop(block=False)
        await delays(one, two)


async def publish(pubsub: PubSub, topic: str, number: int) -> float:
    """Publish in bursts; return the seconds of the processor for one message, without what the event loop does later."""
    used = 0.0
    for _ in range(number // BURST):
        began = time.process_time()
        for _ in range(BURST):
            pubsub.broadcast(topic, Broadcast(topic, "new_msg", {**MESSAGE, "at": time.perf_counter()}))
        used += time.process_time() - began
        await asyncio.sleep(0.005)
    return used / number


async def two_is_subscribed(two: PubSub) -> None:
    while not two.subscribers("room"):  # noqa: ASYNC110  # nothing reports it, and nothing is measured yet
        await asyncio.sleep(0.01)


async def delays(one: PubSub, two: PubSub) -> None:
    done = asyncio.Event()
    measured: list[float] = []
    reader = Reader.start(two, 1_000, done, measured)
    await two_is_subscribed(two)
    for _ in range(1_000):
        one.broadcast("room", Broadcast("room", "new_msg", {"at": time.perf_counter()}))
        await asyncio.sleep(0.002)
    await asyncio.wait_for(done.wait(), 60)
    cuts = quantiles(measured, n=100)
    print(f"delay: {cuts[49] * 1e3:.2f} ms median, {cuts[98] * 1e3:.2f} ms at the 99th percentile")
    await reader.stop(block=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis", default="redis://localhost", help="its URL")
    parser.add_argument("--number", type=int, default=20_000, help="messages")
    options = parser.parse_args()
    asyncio.run(main(options.redis, options.number))
