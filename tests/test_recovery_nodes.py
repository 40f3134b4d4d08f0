"""Clients that recover what they have missed over two demos that Redis connects, while these and Redis come and go."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.live import ROOT, LiveDemo
from tests.node import play
from tests.servers.redis_server import PROGRAM, RedisServer, free_port, move_slot, redis_cluster, redis_sentinel, until
from tests.servers.round_robin import RoundRobin
from tests.servers.tcp_proxy import TCPProxy
from tests.transcript import Http, fetch
from tests.transport.wire import on_loop
from tests.wire_clients import Meeting, WireClient
from transport.client import Socket
from transport.client.exceptions import ClientError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


pytestmark = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")
DEMO = ROOT / "demo.py"
# What the first join says, without a position.
FIRST: Any = True


class Nodes:
    """Two demos, by which clients meet in one room."""

    def __init__(self, demos: list[LiveDemo], room: str) -> None:
        self.demos, self.room = demos, room

    def connect(self, node: int, user: str = "ann") -> AbstractAsyncContextManager[WireClient]:
        return Meeting(self.demos[node].address, "websocket", "2.0.0").connect(user=user)

    async def join(self, client: WireClient, recover: Any = FIRST) -> dict[str, Any]:
        """Join the room, and return what the answer says under "recover"; what was missed comes next."""
        ref = await client.push(None, self.room, "phx_join", {"recover": recover})
        # Of an older join of the client, there may be messages left.
        while (said := await client.hear()).ref != ref:
            assert said.event in {"new_msg", "phx_error", "phx_skip"}, said
        assert said.payload["status"] == "ok"
        found: dict[str, Any] = said.payload["response"]["recover"]
        return found

    async def speak(self, client: WireClient, *bodies: int) -> None:
        """Say something, by a client that has joined without "recover": each is heard before it is answered."""
        for body in bodies:
            ref = await client.push(None, self.room, "new_msg", {"body": body})
            await client.hears(None, None, self.room, "new_msg", {"user": "bob", "body": body})
            answer = await client.hear()
            assert (answer.ref, answer.event) == (ref, "phx_reply")

    async def hears(self, client: WireClient, offset: int | None, body: int) -> None:
        ref = None if offset is None else f"@{offset}"
        await client.hears(None, ref, self.room, "new_msg", {"user": "bob", "body": body})

    def are_ready(self) -> bool:
        return [self.ready(demo)["status"] for demo in self.demos] == ["ready"] * len(self.demos)

    @staticmethod
    def ready(demo: LiveDemo) -> Any:
        return json.loads(fetch(demo.address, Http("GET", "/health/ready"))[1])


@contextmanager
def nodes_at(*urls: str) -> Iterator[list[LiveDemo]]:
    demos = [LiveDemo(DEMO, "--redis", url) for url in urls]
    with demos[0], demos[1]:
        yield demos


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def shared(server: RedisServer) -> Iterator[list[LiveDemo]]:
    with nodes_at(server.url, server.url) as demos:
        yield demos


@pytest.fixture
def nodes(shared: list[LiveDemo], request: pytest.FixtureRequest) -> Nodes:
    return Nodes(shared, f"room:{request.node.name}")


@on_loop
async def test_the_offsets_are_the_same_at_both_and_what_was_missed_comes_from_either(nodes: Nodes) -> None:
    async with nodes.connect(1, "bob") as bob:
        await bob.join(nodes.room)
        async with nodes.connect(0) as ann:
            first = await nodes.join(ann)
            assert (first["offset"], first["recovered"], first["count"]) == (0, False, 0)
            await nodes.speak(bob, 1, 2)
            await nodes.hears(ann, 1, 1)
            await nodes.hears(ann, 2, 2)
        await nodes.speak(bob, 3, 4)
        for node in (0, 1):
            async with nodes.connect(node) as ann:
                found = await nodes.join(ann, {**first, "offset": 2})
                assert found == {"epoch": first["epoch"], "offset": 4, "recovered": True, "count": 2}
                await nodes.hears(ann, 3, 3)
                await nodes.hears(ann, 4, 4)
                await ann.hears_nothing()


@on_loop
async def test_what_both_say_at_once_is_heard_in_one_order(nodes: Nodes) -> None:
    async with nodes.connect(0) as ann, nodes.connect(1) as ben:
        for client in (ann, ben):
            await nodes.join(client)
        for number in range(50):
            await ann.push(None, nodes.room, "new_msg", {"body": number})
            await ben.push(None, nodes.room, "new_msg", {"body": 100 + number})
        heard: list[list[Any]] = [[], []]
        for client, own in zip((ann, ben), heard, strict=True):
            while len(own) < 100:
                said = await client.hear()
                if said.event == "new_msg":
                    own.append((said.ref, said.payload["body"]))
        assert heard[0] == heard[1]
        assert [ref for ref, _ in heard[0]] == [f"@{offset}" for offset in range(1, 101)]


@on_loop
async def test_a_history_outlives_the_process_that_has_made_it(server: RedisServer, nodes: Nodes) -> None:
    dying = LiveDemo(DEMO, "--redis", server.url)
    with dying:
        pair = Nodes([nodes.demos[0], dying], nodes.room)
        async with pair.connect(1) as ann, pair.connect(1, "bob") as bob:
            before = await pair.join(ann)
            await bob.join(pair.room)
            await pair.speak(bob, 1, 2, 3)
            dying.signal(signal.SIGKILL)
            dying.ended()
    async with nodes.connect(0) as ann:
        assert await nodes.join(ann, before) == {**before, "offset": 3, "recovered": True, "count": 3}
        for offset in (1, 2, 3):
            await nodes.hears(ann, offset, offset)


@on_loop
async def test_an_emptied_redis_is_another_epoch(server: RedisServer, nodes: Nodes) -> None:
    async with nodes.connect(0) as ann, nodes.connect(1, "bob") as bob:
        before = await nodes.join(ann)
        await bob.join(nodes.room)
        await nodes.speak(bob, 1)
        await nodes.hears(ann, 1, 1)
        server.ask("FLUSHALL")
        found = await nodes.join(ann, {**before, "offset": 1})
        assert (found["offset"], found["recovered"], found["count"]) == (0, False, 0)
        assert found["epoch"] != before["epoch"]
        assert (await ann.hear()).event == "phx_close"
        await nodes.speak(bob, 2)
        await nodes.hears(ann, 1, 2)


@pytest.mark.parametrize("fail", ["stop", "freeze"])
def test_what_is_said_while_redis_is_away_has_no_offset_and_another_epoch_follows(
    server: RedisServer, nodes: Nodes, fail: str
) -> None:
    @on_loop
    async def talk() -> None:
        async with nodes.connect(0) as ann, nodes.connect(1) as eve, nodes.connect(0, "bob") as bob:
            before = await nodes.join(ann)
            await nodes.join(eve)
            await bob.join(nodes.room)
            await nodes.speak(bob, 1)
            await nodes.hears(ann, 1, 1)
            await nodes.hears(eve, 1, 1)
            getattr(server, fail)()
            await nodes.speak(bob, 2, 3)
            await nodes.hears(ann, None, 2)
            await nodes.hears(ann, None, 3)
            async with nodes.connect(0) as back:
                assert not (await nodes.join(back, {**before, "offset": 1}))["recovered"]
            until(lambda: not nodes.are_ready())
            await nodes.speak(bob, 4)
            await nodes.hears(ann, None, 4)
            async with nodes.connect(0) as back:
                assert not (await nodes.join(back, {**before, "offset": 1}))["recovered"]
            server.start() if fail == "stop" else server.thaw()
            until(nodes.are_ready)
            for node in (0, 1):
                async with nodes.connect(node) as back:
                    found = await nodes.join(back, {**before, "offset": 1})
                    assert found["epoch"] not in {before["epoch"], ""}
                    assert (found["offset"], found["recovered"]) == (0, False)
            await nodes.speak(bob, 5)
            await nodes.hears(ann, 1, 5)
            said = await eve.hear()
            while fail == "freeze" and said.payload["body"] < 5:
                # What was on its way arrives, later than at the clients of the first node.
                said = await eve.hear()
            assert (said.ref, said.payload["body"]) == ("@1", 5)

    talk()


@on_loop
async def test_what_redis_records_too_late_comes_once_and_its_epoch_ends(server: RedisServer, nodes: Nodes) -> None:
    async with nodes.connect(0) as ann, nodes.connect(1) as eve, nodes.connect(0, "bob") as bob:
        before = await nodes.join(ann)
        await nodes.join(eve)
        await bob.join(nodes.room)
        await nodes.speak(bob, 1)
        for client in (ann, eve):
            await nodes.hears(client, 1, 1)
        # Longer than a broadcast waits, and shorter than a connection is given up.
        server.ask("CLIENT", "PAUSE", 1300, "ALL")
        await nodes.speak(bob, 2)
        await nodes.hears(ann, None, 2)
        await nodes.hears(eve, 2, 2)
        for node in (0, 1):
            async with nodes.connect(node) as back:
                found = await nodes.join(back, {**before, "offset": 1})
                assert found["epoch"] not in {before["epoch"], ""}
                assert (found["offset"], found["recovered"]) == (0, False)
        await nodes.speak(bob, 3)
        for client in (ann, eve):
            await nodes.hears(client, 1, 3)


@on_loop
async def test_what_was_missed_in_a_cut_comes_when_it_has_healed_without_a_join(tmp_path: Path) -> None:
    async def talk(nodes: Nodes, proxy: TCPProxy) -> None:
        async with nodes.connect(1) as ann, nodes.connect(0, "bob") as bob:
            await nodes.join(ann)
            await bob.join(nodes.room)
            await nodes.speak(bob, 1)
            await nodes.hears(ann, 1, 1)
            proxy.cut()
            await nodes.speak(bob, 2, 3)
            until(lambda: nodes.ready(nodes.demos[1])["status"] == "degraded")
            await nodes.speak(bob, 4)
            proxy.heal()
            for offset in (2, 3, 4):
                await nodes.hears(ann, offset, offset)
            await ann.hears_nothing()

    server = RedisServer(tmp_path, port=free_port())
    with server, TCPProxy(server.port) as proxy, nodes_at(server.url, f"redis://127.0.0.1:{proxy.port}") as demos:
        await talk(Nodes(demos, "room:cut"), proxy)


def talk_over(demos: list[LiveDemo]) -> None:
    """Talk in rooms with and without braces in their names, which decide the slot of a cluster."""

    @on_loop
    async def talk(nodes: Nodes) -> None:
        async with nodes.connect(1, "bob") as bob:
            await bob.join(nodes.room)
            async with nodes.connect(0) as ann:
                before = await nodes.join(ann)
                await nodes.speak(bob, 1)
                await nodes.hears(ann, 1, 1)
            await nodes.speak(bob, 2)
            async with nodes.connect(0) as ann:
                assert (await nodes.join(ann, {**before, "offset": 1}))["count"] == 1
                await nodes.hears(ann, 2, 2)

    for name in ("one", "two", "{three}", "a{b}c", "a}b", "a{}b", "{", "}{"):
        talk(Nodes(demos, f"room:{name}"))


def test_a_cluster_keeps_them(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as (url, _), nodes_at(url, url) as demos:
        talk_over(demos)


def test_a_slot_of_a_cluster_that_moves_is_no_error(tmp_path: Path) -> None:
    @on_loop
    async def talk(nodes: Nodes, servers: list[RedisServer]) -> None:
        async def epochs() -> set[str]:
            """Return what both nodes take for the epoch."""
            async with nodes.connect(0) as ann, nodes.connect(1) as eve:
                return {(await nodes.join(each))["epoch"] for each in (ann, eve)}

        async with nodes.connect(1, "bob") as bob:
            await bob.join(nodes.room)
            await nodes.speak(bob, 1)
            before = await epochs()
            move_slot(servers, b"ashtree:" + nodes.room.encode())
            body = 2
            while len(known := await epochs()) > 1 or known & {*before, ""}:
                await nodes.speak(bob, body)
                body += 1
            async with nodes.connect(0) as ann:
                after = await nodes.join(ann)
                await nodes.speak(bob, body)
                await nodes.hears(ann, after["offset"] + 1, body)

    with redis_cluster(tmp_path) as (url, servers), nodes_at(url, url) as demos:
        talk(Nodes(demos, "room:moves"), servers)
        assert not [line for demo in demos for line in demo.output if "ERROR" in line]


def test_a_user_of_redis_with_the_permissions_that_the_documentation_names(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ACL SETUSER .*", (ROOT / "docs/scaling.md").read_text(encoding="utf-8"), re.MULTILINE)
    with RedisServer(tmp_path, port=free_port()) as server:
        assert server.ask(*line.split())
        url = f"redis://chat:password@127.0.0.1:{server.port}"
        with nodes_at(url, url) as demos:
            talk_over(demos)
        assert server.ask("ACL", "LOG") == []


def test_a_server_that_takes_over_begins_another_epoch(tmp_path: Path) -> None:
    @on_loop
    async def talk(nodes: Nodes, master: RedisServer) -> None:
        async with nodes.connect(0) as ann, nodes.connect(1, "bob") as bob:
            before = await nodes.join(ann)
            await bob.join(nodes.room)
            await nodes.speak(bob, 1)
            await nodes.hears(ann, 1, 1)
            master.stop()
            until(lambda: not nodes.are_ready())
            until(nodes.are_ready)
            async with nodes.connect(1) as back:
                found = await nodes.join(back, {**before, "offset": 1})
            assert (found["offset"], found["recovered"]) == (0, False)
            assert found["epoch"] not in {before["epoch"], ""}

    with redis_sentinel(tmp_path) as (url, [master, _], _sentinel), nodes_at(url, url) as demos:
        talk_over(demos)
        talk(Nodes(demos, "room:taken over"), master)


def test_a_redis_that_has_kept_its_data_over_a_restart_begins_another_epoch(tmp_path: Path) -> None:
    @on_loop
    async def talk(nodes: Nodes, server: RedisServer) -> None:
        async with nodes.connect(0) as ann, nodes.connect(1, "bob") as bob:
            before = await nodes.join(ann)
            await bob.join(nodes.room)
            await nodes.speak(bob, 1)
            await nodes.hears(ann, 1, 1)
            server.stop()
            server.start()
            until(nodes.are_ready)
            assert server.ask("EXISTS", f"ashtree!topic:{{ashtree:{nodes.room}}}") == 1
            found = await nodes.join(ann, {**before, "offset": 1})
            assert found["epoch"] not in {before["epoch"], ""}

    server = RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    with server, nodes_at(server.url, server.url) as demos:
        talk(Nodes(demos, "room:kept"), server)


def test_the_workers_of_one_program_have_one_history(tmp_path: Path) -> None:
    with LiveDemo(DEMO, "--workers", "2") as demo:
        talk_over([demo, demo])


# Ledgers


class Ledger:
    """A client that notes what it hears in the room, and what it is told at each join."""

    def __init__(self, url: str, room: str) -> None:
        self.socket = Socket(url)
        self.channel = self.socket.channel(room, recover=True)
        self.heard: list[int] = []
        self.answers: list[dict[str, Any]] = []
        self.changed = asyncio.Event()
        self.channel.on("new_msg", self._hear)
        self.channel.on_recovery(self.answers.append)

    def _hear(self, payload: Any) -> None:
        self.heard.append(payload["body"])
        self.changed.set()

    async def until(self, body: int) -> None:
        while body not in self.heard:
            self.changed.clear()
            await self.changed.wait()

    async def join(self) -> None:
        await self.socket.__aenter__()
        await self.channel.join()


async def acknowledged(channel: Any, body: int) -> bool:
    """Say something; return False if it is not known whether it was said."""
    try:
        await channel.push("new_msg", {"body": body}, 3.0)
    except ClientError:
        return False
    return True


def test_no_client_misses_anything_while_the_workers_are_killed() -> None:
    @on_loop
    async def talk(demo: LiveDemo) -> None:
        url = f"{demo.websocket_address}/socket"
        ledgers, speaker = [Ledger(url, "room:ledger") for _ in range(6)], Socket(url)
        for ledger in ledgers:
            await ledger.join()
        async with speaker:
            room = speaker.channel("room:ledger")
            await room.join()
            said: list[int] = []
            for number in range(60):
                if await acknowledged(room, number):
                    said.append(number)
                if number % 20 == 10:
                    os.kill((await ledgers[number // 20].channel.push("node"))["pid"], signal.SIGKILL)
            while not await acknowledged(room, 60):
                pass
        for ledger in ledgers:
            await ledger.until(60)
            assert ledger.heard == ledgers[0].heard
            assert len(ledger.heard) == len(set(ledger.heard))
            assert set(said) <= set(ledger.heard)
            assert [answer["recovered"] for answer in ledger.answers] == [False] + [True] * (len(ledger.answers) - 1)
        assert max(len(ledger.answers) for ledger in ledgers) > 1
        for ledger in ledgers:
            await ledger.socket.close()

    with LiveDemo(DEMO, "--workers", "2") as demo:
        talk(demo)


@pytest.mark.parametrize("transport", ["WebSocket", "LongPoll"])
def test_the_helper_of_phoenix_js_recovers_over_redis_as_without(shared: list[LiveDemo], transport: str) -> None:
    with RoundRobin([demo.address for demo in shared]) as proxy:
        report = play("recovery.mjs", f"{proxy.address.replace('http', 'ws', 1)}/socket", transport)
    seen = report("away and back")
    assert [heard["body"] for heard in seen["heard"]] == list(range(12))
    assert [answer["recovered"] for answer in seen["answers"]] == [False, True, True, True]
    seen = report("away for too long")
    assert [(answer["recovered"], answer["offset"]) for answer in seen["answers"]] == [(False, 0), (False, 101)]
    seen = report("a lost message")
    assert [heard["body"] for heard in seen["heard"]] == list(range(4))


def test_a_client_is_told_when_redis_was_killed_and_gets_nothing_twice() -> None:
    @on_loop
    async def talk(demo: LiveDemo) -> None:
        url = f"{demo.websocket_address}/socket"
        ledgers, speaker = [Ledger(url, "room:ledger") for _ in range(4)], Socket(url)
        for ledger in ledgers:
            await ledger.join()
        async with speaker:
            room = speaker.channel("room:ledger")
            await room.join()
            said = [number for number in range(20) if await acknowledged(room, number)]
            (server,) = [child for child in psutil.Process(demo.pid).children() if "redis" in child.name()]
            server.kill()
            said += [number for number in range(20, 40) if await acknowledged(room, number)]
            # Until all have seen that the epoch has ended, and have joined again.
            number = 40
            while not all(len(ledger.answers) > 1 for ledger in ledgers):
                said += [number] if await acknowledged(room, number) else []
                number += 1
        for ledger in ledgers:
            assert ledger.heard == sorted(set(ledger.heard))
            assert [answer["recovered"] for answer in ledger.answers].count(False) > 1
            assert set(range(20)) & set(said) <= set(ledger.heard)
            await ledger.socket.close()

    with LiveDemo(DEMO, "--workers", "2") as demo:
        talk(demo)
