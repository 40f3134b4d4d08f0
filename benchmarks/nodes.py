"""What two nodes cost: deliveries across them, the time that Redis adds, and the memory of a node.

    python benchmarks/nodes.py                          # needs redis-server; a minute
    python benchmarks/nodes.py --clients 5000

The nodes are processes of their own, benchmarks/server.py, and Redis listens on a Unix socket of this machine. All clients are
in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import quantiles

from bench_nodes import Program, nodes, redis_server
from light_client import LightClient, meet

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from actors.lowlevel import new_event_loop

MESSAGES = 300
DEADLINE = 60


async def deliver(pair: Sequence[Program], redis: Program, clients: int) -> None:
    """Measure the processor's time of broadcasts that a client of one node makes to many clients of the other."""
    sender = LightClient(pair[0].port, "bench:deliver")
    crowd = [LightClient(pair[1].port, "bench:deliver") for _ in range(clients)]
    await meet([sender, *crowd])
    programs = (pair[0], pair[1], redis)
    before = [each.processor_time() for each in programs]
    for number in range(MESSAGES):
        sender.shout(number)
        await arrived(crowd[-1], number)
    for client in crowd:
        await arrived(client, MESSAGES - 1)
    took = [(each.processor_time() - start) / MESSAGES * 1e6 for each, start in zip(programs, before, strict=True)]
    got = sum(sum(client.seen.values()) for client in crowd)
    print(f"deliveries: {got:,} of {MESSAGES * clients:,}; the receiving node took {took[1] / clients:.1f} µs for each")
    print(f"a message took {took[0]:.0f} µs of the sending node, {took[2]:.0f} µs of Redis")
    close([sender, *crowd])


async def arrived(client: LightClient, number: int) -> None:
    async with asyncio.timeout(DEADLINE):
        while number not in client.seen:  # noqa: ASYNC110  # nothing else reports it
            await asyncio.sleep(0)


async def delay(pair: Sequence[Program]) -> None:
    """Measure how long a broadcast takes to a client of the same node, and to one of the other."""
    sender, near, far = (LightClient(pair[at].port, "bench:delay") for at in (0, 0, 1))
    await meet([sender, near, far])
    near.keeps_times = far.keeps_times = True
    sent = []
    for number in range(1000):
        sent.append(time.perf_counter())
        sender.shout(number)
        await asyncio.sleep(0.003)
    for client in (near, far):
        await arrived(client, 999)
    took = [[client.times[number] - at for number, at in enumerate(sent)] for client in (near, far)]
    added = [there - here for here, there in zip(*took, strict=True)]
    for name, values in (("same node", took[0]), ("other node", took[1]), ("added", added)):
        cuts = quantiles(values, n=100)
        print(f"{name}: {cuts[49] * 1e3:.2f} ms median, {cuts[98] * 1e3:.2f} ms at the 99th percentile")
    close([sender, near, far])


async def memory(pair: Sequence[Program], clients: int) -> None:
    """Measure the memory of a node, with clients in rooms of ten whose other members are at the other node."""
    before = [each.memory() for each in pair]
    members = [LightClient(pair[at % 2].port, f"bench:memory{at // 10}") for at in range(2 * clients)]
    await meet(members)
    for each, start in zip(pair, before, strict=True):
        grown = (each.memory() - start) / clients / 1000
        print(
            f"memory of a node: {start / 1e6:.0f} MB, and {grown:.1f} kB for each of {clients:,} clients in rooms of ten"
        )
    close(members)


def close(clients: Sequence[LightClient]) -> None:
    for client in clients:
        client.close()


async def main(clients: int) -> None:
    with redis_server() as (redis, url):
        with nodes(2, "--redis", url) as pair:
            await memory(pair, clients)
        with nodes(2, "--redis", url) as pair:
            await delay(pair)
            await deliver(pair, redis, 1_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=5_000, help="of each node, when its memory is measured")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(parser.parse_args().clients))
