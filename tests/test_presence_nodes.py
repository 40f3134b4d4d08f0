"""Presence over several processes: real demos, a real Redis, and clients that keep the lists as phoenix.js does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.live import ROOT, WAIT, LiveDemo
from tests.servers.redis_server import RedisServer, free_port
from tests.servers.tcp_proxy import TCPProxy
from tests.transport.wire import on_loop
from transport.client import Presence, Socket

if TYPE_CHECKING:
    from transport.client.client_channel import Channel

NODE = ROOT / "tests" / "presence_node.py"
"""Presences of a silent node leave after 3 s."""


class Watching:
    """A client in a room, and who it thinks is there; it fails if one leaves that has not been told to."""

    def __init__(self, room: Channel) -> None:
        self.here = Presence(room)
        self._changed = asyncio.Event()
        self.left: list[str] = []
        self.joined: list[str] = []
        self.here.on_sync(self._changed.set)
        self.here.on_leave(lambda key, _, __: self.left.append(key))
        self.here.on_join(lambda key, _, __: self.joined.append(key))

    async def sees(self, *, within: float = WAIT, **users: int) -> None:
        """Wait until these users are there, each with so many metas."""
        async with asyncio.timeout(within):
            while (found := {key: len(entry["metas"]) for key, entry in self.here.state.items()}) != users:
                self._changed.clear()
                try:
                    await self._changed.wait()
                except asyncio.CancelledError:
                    raise AssertionError(f"it sees {found}, and not {users}") from None


@asynccontextmanager
async def watching(node: LiveDemo, user: str, room: str = "room:1") -> AsyncIterator[Watching]:
    address = node.address.replace("http:", "ws:") + "/socket"
    async with Socket(address, params={"user": user}) as client:
        channel = client.channel(room)
        watcher = Watching(channel)
        await channel.join()
        yield watcher


@contextmanager
def running(*options: tuple[str, ...], script: Path = NODE) -> Iterator[list[LiveDemo]]:
    """Run a node with each of the URLs of Redis."""
    with ExitStack() as stack:
        yield [stack.enter_context(LiveDemo(script, "--redis", *each)) for each in options]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, port=free_port()) as server:
        yield server


def test_clients_of_all_nodes_have_the_same_list_and_one_that_is_killed_leaves_it(redis: RedisServer) -> None:
    @on_loop
    async def talk(one: LiveDemo, two: LiveDemo, three: LiveDemo) -> None:
        async with watching(one, "ann") as ann, watching(two, "ben") as ben, watching(three, "cid"):
            for watcher in (ann, ben):
                await watcher.sees(ann=1, ben=1, cid=1)
            async with watching(three, "ann") as again:
                for watcher in (ann, ben, again):
                    await watcher.sees(ann=2, ben=1, cid=1)
                refs = [sorted(meta["phx_ref"] for meta in each.here.state["ann"]["metas"]) for each in (ann, ben)]
                assert refs[0] == refs[1]
            for watcher in (ann, ben):
                await watcher.sees(ann=1, ben=1, cid=1)
                assert watcher.left == ["ann"]
                watcher.left.clear()
            three.signal(signal.SIGKILL)
            three.ended()
            for watcher in (ann, ben):
                await watcher.sees(ann=1, ben=1)
                assert watcher.left == ["cid"]

    with running((redis.url,), (redis.url,), (redis.url,)) as found:
        talk(*found)


def test_the_presences_of_a_node_that_ends_in_order_leave_at_once(redis: RedisServer) -> None:
    @on_loop
    async def talk(one: LiveDemo, two: LiveDemo) -> None:
        async with watching(one, "ann") as ann, watching(two, "ben"):
            await ann.sees(ann=1, ben=1)
            two.signal(signal.SIGTERM)
            # By default they would be there for another 30 s.
            await ann.sees(ann=1)
            assert two.ended() == 0

    with running((redis.url,), (redis.url,), script=ROOT / "demo.py") as found:
        talk(*found)


def test_a_node_that_is_cut_off_is_dropped_and_is_back_when_the_network_heals(redis: RedisServer) -> None:
    @on_loop
    async def talk(network: TCPProxy, one: LiveDemo, two: LiveDemo) -> None:
        async with watching(one, "ann") as ann, watching(two, "ben") as ben:
            await ann.sees(ann=1, ben=1)
            await ben.sees(ann=1, ben=1)
            network.cut()
            await ann.sees(ann=1)
            await ben.sees(ben=1)
            async with watching(two, "cid"):
                await ben.sees(ben=1, cid=1)
                network.heal()
                await ann.sees(ann=1, ben=1, cid=1)
                await ben.sees(ann=1, ben=1, cid=1)
            await ann.sees(ann=1, ben=1)

    with TCPProxy(redis.port) as network, running((redis.url,), (f"redis://127.0.0.1:{network.port}",)) as found:
        talk(network, *found)


def test_what_changes_while_redis_is_away_is_known_when_it_is_back_and_nothing_else_changes(redis: RedisServer) -> None:
    @on_loop
    async def talk(one: LiveDemo, two: LiveDemo) -> None:
        async with watching(one, "ann") as ann, watching(two, "ben") as ben:
            await ann.sees(ann=1, ben=1)
            await ben.sees(ann=1, ben=1)
            redis.stop()
            async with watching(two, "cid"):
                await ben.sees(ann=1, ben=1, cid=1)
                redis.start()
                await ann.sees(ann=1, ben=1, cid=1)
            await ann.sees(ann=1, ben=1)
            assert (ann.left, ben.left) == (["cid"], ["cid"])

    with running((redis.url,), (redis.url,), script=ROOT / "demo.py") as found:
        talk(*found)


def test_to_a_node_that_was_frozen_the_others_have_never_left(redis: RedisServer) -> None:
    @on_loop
    async def talk(one: LiveDemo, two: LiveDemo) -> None:
        async with watching(one, "ann") as ann, watching(two, "ben") as ben:
            await ann.sees(ann=1, ben=1)
            await ben.sees(ann=1, ben=1)
            two.signal(signal.SIGSTOP)
            await ann.sees(ann=1)
            async with watching(one, "cid"):
                two.signal(signal.SIGCONT)
                await ann.sees(ann=1, ben=1, cid=1)
                await ben.sees(ann=1, ben=1, cid=1)
            await ben.sees(ann=1, ben=1)
            assert ben.left == ["cid"]

    with running((redis.url,), (redis.url,)) as found:
        talk(*found)


def test_by_default_dead_and_frozen_nodes_leave_after_30_seconds(redis: RedisServer) -> None:
    # Not @on_loop, whose tests may not take as long.
    async def talk(one: LiveDemo, two: LiveDemo, three: LiveDemo) -> None:
        async with watching(one, "ann") as ann, watching(two, "ben") as ben, watching(three, "cid"):
            await ann.sees(ann=1, ben=1, cid=1)
            await ben.sees(ann=1, ben=1, cid=1)
            two.signal(signal.SIGSTOP)
            three.signal(signal.SIGKILL)
            three.ended()
            await ann.sees(ann=1, within=30 + WAIT)
            async with watching(one, "dan"):
                two.signal(signal.SIGCONT)
                await ann.sees(ann=1, ben=1, dan=1)
                # It has seen the others live, and gives the dead one time to speak.
                await ben.sees(ann=1, ben=1, cid=1, dan=1)
                assert ben.left == []

    with running((redis.url,), (redis.url,), (redis.url,), script=ROOT / "demo.py") as found:
        asyncio.run(talk(*found))
