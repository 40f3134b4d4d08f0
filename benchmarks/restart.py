"""The restart of a node under load: how soon its clients are back, and what they missed meanwhile.

    python benchmarks/restart.py                     # needs redis-server; it is told to stop, and drains
    python benchmarks/restart.py --signal KILL

Two nodes accept on one port (`--reuse-port`), and share the clients. All are in one room, whose broadcasts are numbered. One
node gets the signal, and is started again when it has ended. Its clients connect again with phoenix.js's back-off, to
whichever node accepts. A broadcast that was made between the end of a client's connection and its next join is lost to it:
delivery is at most once. None may arrive twice. The exit status is 1 if one did, or if a client is not back.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
import time
from pathlib import Path

from bench_nodes import Program, node, nodes, redis_server
from light_client import LightClient, meet

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from actors.lowlevel import new_event_loop

INTERVAL = 1.0
"""Seconds between two broadcasts."""
DEADLINE = 120


async def restart(clients: int, number: int) -> bool:
    """Restart a node; return whether all clients are back and nothing came twice."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with redis_server() as (_redis, url):
        options = ("--port", port, "--reuse-port", "--redis", url)
        with nodes(2, *options) as pair:
            members = [LightClient(int(port), "bench:all") for _ in range(clients)]
            await meet(members)
            talking = asyncio.create_task(talk(int(port)))
            await asyncio.sleep(3 * INTERVAL)
            began, used, served = time.time(), time.process_time(), pair[1].processor_time()
            pair[0].process.send_signal(number)
            pair.append(await asyncio.to_thread(again, pair[0], options))
            async with asyncio.timeout(DEADLINE):
                while any(member.cut and not member.back for member in members):  # noqa: ASYNC110  # nothing else reports it
                    await asyncio.sleep(0.1)
            used, served = time.process_time() - used, pair[1].processor_time() - served
            print(f"processor time meanwhile: {served:.1f} s of the node that stayed, {used:.1f} s of the clients")
            await asyncio.sleep(3 * INTERVAL)
            talking.cancel()
            return report(members, began)


async def talk(port: int) -> None:
    """Broadcast numbers, as a client that comes back if it is cut off too."""
    speaker = LightClient(port, "bench:all")
    await meet([speaker])
    for number in range(1_000_000):
        await speaker.joined.wait()
        speaker.shout(number)
        await asyncio.sleep(INTERVAL)


def again(old: Program, options: tuple[str, ...]) -> Program:
    old.process.communicate()
    return node(*options)


def report(members: list[LightClient], began: float) -> bool:
    """Print the figures."""
    cut = [member for member in members if member.cut]
    back = sorted(member.back - began for member in cut if member.back)
    away = sorted(member.back - member.cut for member in cut if member.back and member.cut)
    last = max(max(member.seen) for member in members) - 1
    lost = sorted(missed(member, last) for member in cut)
    stayed = sum(missed(member, last) for member in members if not member.cut)
    twice = sum(times > 1 for member in members for times in member.seen.values())
    print(f"cut off: {len(cut):,} of {len(members):,} clients")
    print(f"back: {len(back):,}, the last {back[-1]:.1f} s after the signal")
    print(f"away: {away[len(away) // 2]:.2f} s median, {away[int(len(away) * 0.99)]:.2f} s at the 99th percentile")
    print(f"broadcasts, one each {INTERVAL:g} s: {sum(lost) / len(cut):.2f} lost for each of them ({lost[-1]} at most)")
    print(f"lost for the others: {stayed}; received twice: {twice}")
    return len(back) == len(cut) and not twice


def missed(member: LightClient, last: int) -> int:
    return sum(number not in member.seen for number in range(min(member.seen), last + 1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--signal", choices=["TERM", "KILL"], default="TERM")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        is_fine = runner.run(restart(options.clients, signal.Signals[f"SIG{options.signal}"]))
    sys.exit(not is_fine)
