"""Three demos over Redis, each with a client that broadcasts all the time and keeps a ledger, while something fails.

Whatever fails: no client is told anything twice or out of order, and each is told all that was broadcast on its own node. Once
it is over all are told what all broadcast. Where nothing may be lost the ledgers have no gaps.
"""

from __future__ import annotations

import asyncio
import functools
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.live import ROOT, WAIT, LiveDemo
from tests.servers.redis_server import RedisServer, free_port, until
from tests.servers.tcp_proxy import TCPProxy
from tests.transcript import Http, fetch
from tests.wire_clients import EndedError, Meeting, WireClient

DEMO = ROOT / "demo.py"
TOPIC = "bench:1"
PAUSE = 0.02
"""Seconds between two broadcasts of a client."""


def lasting(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make a test of a coroutine; processes that are started, and frozen ones, take their time."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**arguments), 8 * WAIT))

    return run


class Machines:
    """Redis, three demos, and the network between the last one and Redis."""

    def __init__(self, redis: RedisServer, network: TCPProxy, demos: list[LiveDemo]) -> None:
        self.redis, self.network, self.demos = redis, network, demos

    def status(self, node: int) -> int:
        return fetch(self.demos[node].address, Http("GET", "/health/ready"))[0]

    async def are(self, *statuses: int) -> None:
        """Return when the nodes report these."""
        await asyncio.to_thread(until, lambda: tuple(map(self.status, range(len(statuses)))) == statuses)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with (
        RedisServer(tmp_path_factory.mktemp("redis"), port=free_port()) as redis,
        TCPProxy(redis.port) as network,
        LiveDemo(DEMO, "--redis", redis.url) as one,
        LiveDemo(DEMO, "--redis", redis.url) as two,
        LiveDemo(DEMO, "--redis", f"redis://127.0.0.1:{network.port}") as three,
    ):
        yield Machines(redis, network, [one, two, three])


class Member:
    """A client that broadcasts numbers, and its ledger: which numbers of which members it was told, in order."""

    def __init__(self, name: str, wire: WireClient, heard: asyncio.Condition) -> None:
        self.name, self._wire, self._heard = name, wire, heard
        self.ledger: dict[str, list[int]] = {}
        self.sent = 0

    async def talk(self, ref: str) -> None:
        while True:
            await self._wire.push(ref, TOPIC, "shout", {"from": self.name, "n": self.sent + 1})
            self.sent += 1
            await asyncio.sleep(PAUSE)

    async def listen(self) -> None:
        while True:
            try:
                said = await self._wire.hear()
            except TimeoutError:
                continue
            if said.event == "shout":
                self.ledger.setdefault(said.payload["from"], []).append(said.payload["n"])
                async with self._heard:
                    self._heard.notify_all()

    def last(self, name: str) -> int:
        return self.ledger.get(name, [0])[-1]


class Meetings:
    """The members of the topic, and the ledgers of those that were."""

    def __init__(self) -> None:
        self._heard = asyncio.Condition()
        self.members: list[Member] = []
        self.everyone: list[Member] = []

    @asynccontextmanager
    async def member(self, demo: LiveDemo) -> AsyncIterator[Member]:
        async with Meeting(demo.address, "websocket", "2.0.0").connect() as wire:
            member = Member(f"member {len(self.everyone)}", wire, self._heard)
            ref = await wire.join(TOPIC)
            self.members.append(member)
            self.everyone.append(member)
            tasks = [asyncio.create_task(each) for each in (member.talk(ref), member.listen())]
            try:
                yield member
            finally:
                self.members.remove(member)
                await _ended(tasks)

    async def all_hear_all(self) -> None:
        """Return when each member has been told something that each one sent after now."""
        marks = {member.name: member.sent for member in self.members}
        async with self._heard:
            await self._heard.wait_for(
                lambda: all(member.last(name) > mark for member in self.members for name, mark in marks.items())
            )

    def check(self, *, gaps: bool) -> None:
        for member in self.everyone:
            for name, numbers in member.ledger.items():
                assert numbers == sorted(set(numbers)), f"{member.name} was told twice, or out of order, by {name}"
                if name == member.name or not gaps:
                    assert numbers == list(range(numbers[0], numbers[-1] + 1)), f"{member.name} has missed {name}"


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks; their connections may be lost already."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, asyncio.CancelledError | EndedError | ConnectionClosed), outcome


@asynccontextmanager
async def meeting(machines: Machines, *, gaps: bool) -> AsyncIterator[Meetings]:
    """Let a client of each node talk, and check the ledgers at the end."""
    await machines.are(200, 200, 200)
    async with AsyncExitStack() as stack:
        meetings = Meetings()
        for demo in machines.demos:
            await stack.enter_async_context(meetings.member(demo))
        await meetings.all_hear_all()
        yield meetings
        await meetings.all_hear_all()
        meetings.check(gaps=gaps)


@pytest.mark.parametrize("fails", ["stop", "freeze"])
@lasting
async def test_redis_goes_away_and_comes_back(machines: Machines, fails: str) -> None:
    async with meeting(machines, gaps=True):
        getattr(machines.redis, fails)()
        await machines.are(503, 503, 503)
        await asyncio.to_thread(machines.redis.start if fails == "stop" else machines.redis.thaw)
        await machines.are(200, 200, 200)


@lasting
async def test_redis_is_restarted_again_and_again(machines: Machines) -> None:
    async with meeting(machines, gaps=True):
        for _ in range(5):
            machines.redis.stop()
            await asyncio.to_thread(machines.redis.start)
            await asyncio.sleep(10 * PAUSE)
        await machines.are(200, 200, 200)


def kill(machines: Machines, kind: str) -> None:
    machines.redis.ask("CLIENT", "KILL", "TYPE", kind)


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
@lasting
async def test_redis_closes_the_connections(machines: Machines, kind: str) -> None:
    async with meeting(machines, gaps=True):
        for _ in range(3):
            await asyncio.to_thread(kill, machines, kind)
            await asyncio.sleep(10 * PAUSE)
        await machines.are(200, 200, 200)


def stall(machines: Machines) -> None:
    machines.redis.ask("CLIENT", "PAUSE", "500", "ALL")


def flush(machines: Machines) -> None:
    machines.redis.ask("FLUSHALL")


@pytest.mark.parametrize("happens", [stall, flush])
@lasting
async def test_nothing_is_lost_when_redis_stalls_for_a_moment_or_is_flushed(
    machines: Machines, happens: Callable[[Machines], None]
) -> None:
    async with meeting(machines, gaps=False) as meetings:
        await asyncio.to_thread(happens, machines)
        await meetings.all_hear_all()
        assert [machines.status(node) for node in range(3)] == [200, 200, 200]


@lasting
async def test_the_network_of_a_node_is_cut(machines: Machines) -> None:
    async with meeting(machines, gaps=True) as meetings:
        machines.network.cut()
        await machines.are(200, 200, 503)
        two, three = meetings.members[1:]
        before = two.last(three.name), three.last(two.name)
        await asyncio.sleep(10 * PAUSE)
        assert (two.last(three.name), three.last(two.name)) == before
        machines.network.heal()
        await machines.are(200, 200, 200)


@pytest.mark.parametrize("seconds", [3, 40])
@lasting
async def test_nothing_is_lost_when_a_node_is_frozen_and_back(machines: Machines, seconds: float) -> None:
    async with meeting(machines, gaps=False) as meetings:
        frozen = machines.demos[1]
        frozen.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
            assert (machines.status(0), machines.status(2)) == (200, 200)
        finally:
            frozen.signal(signal.SIGCONT)
        await meetings.all_hear_all()


@lasting
async def test_a_node_is_killed_and_another_one_takes_its_place(machines: Machines) -> None:
    async with meeting(machines, gaps=False) as meetings:
        with LiveDemo(DEMO, "--redis", machines.redis.url) as doomed:
            async with meetings.member(doomed):
                await meetings.all_hear_all()
                doomed.signal(signal.SIGKILL)
                doomed.ended()
        await meetings.all_hear_all()
        assert [machines.status(node) for node in range(3)] == [200, 200, 200]
        with LiveDemo(DEMO, "--redis", machines.redis.url) as fresh:
            async with meetings.member(fresh):
                await meetings.all_hear_all()
        assert sorted(meetings.members[0].ledger) == [f"member {number}" for number in range(5)]
