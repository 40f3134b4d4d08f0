"""Soak: clients come and go for a long time, and the server must not grow.

    python benchmarks/soak.py                                   # an hour
    python benchmarks/soak.py --seconds 60
    python benchmarks/soak.py --json soak.json --svg docs/images/soak.svg

The server is the demo's application in a process of its own (`havoc/victim.py`). Its clients are those of `chaos.py`, without
a bad network: each connects, by a WebSocket or long polling, joins, talks, perhaps crashes its channel or its connection, and
leaves in one of several ways. After each round all of them are gone, and the server is measured:

- it has as many actors, names, timers, subscriptions, tasks, futures, files and threads as after the first round;
- memory (RSS), and blocks of Python's allocator, of which each object has one or more: over the last half of the sessions the
  trend of neither (`havoc/curve.py`) may rise by more than an allowance, and so much for each 1,000 sessions.

The ledger of the clients is checked too. The exit status is 1 if anything has grown, or was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from havoc.census import Census, differences
from havoc.curve import Panel, Point, drawn, rise, trend
from havoc.ledger import Ledger
from havoc.members import AshtreeMember, Member, Role, WireMember
from havoc.trial import Victim

ROOMS = [f"room:{n}" for n in range(6)]
AT_A_TIME = 24
"""Clients that are connected at the same time."""
FEWEST = 4
"""Rounds that are needed to see a trend."""


class Allowance(NamedTuple):
    """What the trend of a size may rise by over the last half: something, and something for each 1,000 sessions."""

    title: str
    unit: float
    once: float
    each_1000: float


ALLOWANCES = {
    "rss": Allowance("memory (RSS), MB", 1e6, 3e6, 50e3),
    "blocks": Allowance("allocated blocks, thousands", 1e3, 1_500, 100),
}


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._random = random.Random(options.seed)  # noqa: S311  # to be repeated
        self._victim = Victim("--loop", options.loop)
        self.samples: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.sessions = 0

    async def run(self) -> None:
        """Play one round after the other until the time is over."""
        await self._victim.start()
        began = time.monotonic()
        try:
            await self._round()
            first = await self._rested(None)
            while time.monotonic() - began < self._options.seconds and not self.faults:
                await self._round()
                taken = await self._rested(first)
                self.faults += differences(first, taken)
                self.samples.append(
                    {"sessions": self.sessions, "seconds": time.monotonic() - began}
                    | {size: taken[size] for size in ALLOWANCES}
                )
            self.faults += await self._victim.ask("surprises")
            self.faults += grown(self.samples)
        finally:
            self._victim.kill()

    async def _rested(self, first: Census | None) -> Census:
        """Let the server come to rest; count what it has."""
        for number in range(AT_A_TIME):
            # A session of long polling would stay for a while.
            await self._victim.ask("disconnect", f"user{number}")
        if first is None:
            return await self._victim.rested()
        await self._victim.settles(first)
        return await self._victim.census()

    async def _round(self) -> None:
        ledger = Ledger()
        await asyncio.gather(*(self._client(number, ledger) for number in range(AT_A_TIME)))
        self.faults += ledger.check()

    async def _client(self, number: int, ledger: Ledger) -> None:
        chance = random.Random(self._random.getrandbits(64))  # noqa: S311  # as above
        for session in range(self._options.round):
            role = Role(f"client{number}.{session}", f"user{number}", chance.sample(ROOMS, chance.choice([1, 1, 2])))
            try:
                await self._session(self._member(role, ledger, chance), chance)
            except TimeoutError:
                ledger.fault(f"{role} has not joined")
            self.sessions += 1

    def _member(self, role: Role, ledger: Ledger, chance: random.Random) -> Member:
        url = f"ws://127.0.0.1:{self._victim.port}/socket"
        kinds: list[Callable[[], Member]] = [
            lambda: WireMember(role, ledger, url),
            lambda: AshtreeMember(role, ledger, url, "websocket"),
            lambda: AshtreeMember(role, ledger, url, "longpoll"),
        ]
        return chance.choices(kinds, [5, 3, 1])[0]()

    async def _session(self, member: Member, chance: random.Random) -> None:
        await member.start()
        try:
            await member.settled()
            for topic in member.topics:
                await member.say(topic)
                await member.push(topic, "echo", {"text": "x" * chance.choice([0, 50, 2_000])})
            await self._perhaps_more(member, member.topics[0], chance)
        finally:
            await (member.vanish() if isinstance(member, WireMember) and chance.random() < 0.5 else member.close())

    async def _perhaps_more(self, member: Member, topic: str, chance: random.Random) -> None:
        match chance.choice(["crash", "stop", "crash_transport", "leave", "blob", *["nothing"] * 4]):
            case "leave":
                await member.leave(topic)
            case "crash" | "stop" as event:
                await member.push(topic, event)
            case "crash_transport":
                member.send(topic, "crash_transport")
            case _:
                await member.push(topic, "whoami")


def points(samples: Sequence[dict[str, Any]], size: str) -> list[Point]:
    return [Point(sample["sessions"], sample[size]) for sample in samples]


def grown(samples: Sequence[dict[str, Any]]) -> list[str]:
    """Name what has grown by more than its allowance."""
    found = []
    if len(samples) < FEWEST:
        return [f"{len(samples)} rounds are too few to see a trend; it takes {FEWEST}"]
    for size, allowance in ALLOWANCES.items():
        curve = points(samples, size)
        allowed = allowance.once + allowance.each_1000 * curve[-1].sessions / 2 / 1000
        if rise(curve) > allowed:
            found.append(f"{size} grows by {trend(curve):,.0f} in 1,000 sessions")
    return found


def described(samples: Sequence[dict[str, Any]]) -> str:
    """Return the figures of a run in a line."""
    last, parts = samples[-1], []
    for size, allowance in ALLOWANCES.items():
        first_half = next(sample for sample in samples if sample["sessions"] >= last["sessions"] / 2)
        parts.append(
            f"{size} {samples[0][size]:,} at first, {first_half[size]:,} after half, {last[size]:,} at last, "
            f"trend {trend(points(samples, size)):+,.0f} in 1,000 sessions "
            f"(allowed: {allowance.each_1000:,.0f}, and {allowance.once:,.0f} besides)"
        )
    return f"{last['sessions']:,} sessions in {last['seconds']:,.0f} s; " + "; ".join(parts)


def draw(samples: Sequence[dict[str, Any]]) -> str:
    """Return the curves as SVG."""
    panels = [Panel(each.title, points(samples, size), each.unit) for size, each in ALLOWANCES.items()]
    return drawn(panels, "sessions")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--round", type=int, default=10, help="sessions of each client in a round")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop", help="the server's event loop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the curves there")
    options = parser.parse_args()
    soak = Soak(options)
    asyncio.run(soak.run())
    if options.json:
        options.json.write_text(json.dumps(soak.samples, indent=1))
    if options.svg:
        options.svg.write_text(draw(soak.samples))
    print(described(soak.samples))
    for text in soak.faults[:20]:
        print(text)
    print(f"{len(soak.faults)} faults")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
