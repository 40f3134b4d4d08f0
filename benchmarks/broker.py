"""What Redis takes for a message, by the number of nodes that receive it, and the bytes that it takes for a topic.

    python benchmarks/broker.py                         # needs redis-server; half a minute

It plays the nodes itself, on plain connections, with messages as a node publishes them, one in flight at a time and a hundred
in one write.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Sequence
from itertools import pairwise

import redis as redis_py
from bench_nodes import Program, redis_server

CHANNEL = "ashtree:room:lobby"
HEADER = b'{"node":"web-1:4711:9f3a","run":"Zk3vP1qT8mA","seq":%d,"start":1,"event":"new_msg"}\n'
TOPICS = 100_000


def message(number: int, size: int) -> bytes:
    return HEADER % number + b"x" * size


class Node:
    """Subscribes to a channel, and throws away what comes."""

    def __init__(self, url: str, channels: Sequence[str]) -> None:
        self._client = redis_py.Redis.from_url(url)
        self._pubsub = self._client.pubsub()  # type: ignore[no-untyped-call]  # redis-py is annotated in parts
        self._pubsub.subscribe(*channels)
        for _ in channels:
            self._pubsub.get_message(timeout=10)
        connection = self._pubsub.connection
        assert connection is not None
        self._socket = connection._sock  # noqa: SLF001  # what comes is not parsed
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while self._socket.recv(1 << 20):
            pass


def publish(url: str, redis: Program, nodes: int, *, size: int, at_once: int, number: int) -> float:
    """Return the microseconds of Redis for one message."""
    client = redis_py.Redis.from_url(url)
    with client.pipeline(transaction=False) as pipeline:
        before = redis.processor_time()
        for start in range(0, number, at_once):
            for each in range(at_once):
                pipeline.publish(CHANNEL, message(start + each, size))
            assert set(pipeline.execute()) == {nodes}
        return (redis.processor_time() - before) / number * 1e6


def main(number: int) -> None:
    print("| nodes that receive it | bytes of payload | µs of Redis, alone | in a hundred |")
    print("|---|---|---|---|")
    for nodes in (1, 2, 10, 50):
        for size in (100, 10_000):
            with redis_server() as (redis, url):
                kept = [Node(url, [CHANNEL]) for _ in range(nodes)]
                alone, many = (
                    publish(url, redis, nodes, size=size, at_once=at_once, number=number) for at_once in (1, 100)
                )
                print(f"| {len(kept)} | {size:,} | {alone:.1f} | {many:.1f} |", flush=True)
    with redis_server() as (_redis, url):
        client = redis_py.Redis.from_url(url)
        used = []
        for _ in range(3):
            used.append(client.info("memory")["used_memory"])
            Node(url, [f"ashtree:room:{topic}" for topic in range(TOPICS)])
        first, second = ((there - here) / TOPICS for here, there in pairwise(used))
        print(
            f"a topic with subscribers: {first:.0f} bytes of Redis for its first node, {second:.0f} for each further one"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=5_000, help="messages of each kind")
    main(parser.parse_args().number)
