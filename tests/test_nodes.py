"""Two demos that Redis connects, and real clients of each."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from tests.live import ROOT, LiveDemo
from tests.servers.redis_server import RedisServer, until
from tests.transcript import Http, fetch
from tests.transport.wire import on_loop
from tests.wire_clients import Meeting, WireClient
from transport.publish import main as publish

DEMO = ROOT / "demo.py"


class Nodes:
    """Two demos with one Redis."""

    def __init__(self, redis: RedisServer, demos: list[LiveDemo]) -> None:
        self.redis, self.demos = redis, demos

    @asynccontextmanager
    async def clients(self, transport: str = "websocket", version: str = "2.0.0") -> AsyncIterator[list[WireClient]]:
        """Connect a client to each."""
        async with AsyncExitStack() as stack:
            meetings = [Meeting(demo.address, transport, version) for demo in self.demos]
            yield [await stack.enter_async_context(each.connect(user=f"user{n}")) for n, each in enumerate(meetings)]

    def ready(self, node: int) -> tuple[int, Any]:
        status, body = fetch(self.demos[node].address, Http("GET", "/health/ready"))
        return status, json.loads(body)


@contextmanager
def running(directory: Path) -> Iterator[Nodes]:
    with RedisServer(directory) as redis:
        demos = [LiveDemo(DEMO, "--redis", redis.url) for _ in range(2)]
        with demos[0], demos[1]:
            yield Nodes(redis, demos)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("redis")) as found:
        yield found


@on_loop
async def test_a_broadcast_reaches_the_clients_of_both_nodes_in_order(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        ref = await one.join("room:1")
        await two.join("room:1")
        pushed = [await one.push(ref, "room:1", "new_msg", {"body": number}) for number in range(50)]
        for number, push in enumerate(pushed):
            await one.is_told("room:1", "new_msg", {"user": "user0", "body": number})
            await one.is_answered(ref, push, "room:1")
            await two.is_told("room:1", "new_msg", {"user": "user0", "body": number})
        await one.push(ref, "room:1", "typing")
        await two.is_told("room:1", "typing", {"user": "user0"})
        await one.hears_nothing()


@on_loop
async def test_a_client_that_has_joined_misses_no_broadcast_of_another_node(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        for number in range(100):
            topic = f"bench:{number}"
            ref = await one.join(topic)
            await two.join(topic)
            await one.push(ref, topic, "shout", {"n": number})
            await two.is_told(topic, "shout", {"n": number})
            await one.is_told(topic, "shout", {"n": number})


@pytest.mark.parametrize("transport", ["websocket", "longpoll"])
@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_clients_of_each_kind_get_what_was_broadcast_elsewhere(nodes: Nodes, transport: str, version: str) -> None:
    @on_loop
    async def talk() -> None:
        async with nodes.clients(transport, version) as (one, two):
            ref = await one.join("bench:1")
            await two.join("bench:1")
            payload: dict[str, Any] = {"text": 'é\n"', "list": [1, 2.5, None, {"a": []}], "null": None}
            await one.push(ref, "bench:1", "shout", payload)
            await two.is_told("bench:1", "shout", payload)

    talk()


@on_loop
async def test_an_intercepted_event_is_handled_by_the_channels_of_the_other_node(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        ref = await one.join("demo:1")
        await one.hears(ref, None, "demo:1", "tick", {"value": 0})
        other = await two.join("demo:1")
        await two.hears(other, None, "demo:1", "tick", {"value": 0})
        await one.push(ref, "demo:1", "debounce_ping")
        await one.hears(ref, None, "demo:1", "debounce_ping", {})
        await two.hears(other, None, "demo:1", "debounce_ping", {})


@on_loop
async def test_a_user_is_kicked_from_another_node(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        ref = await one.join("room:1")
        kick = await one.push(ref, "room:1", "kick", {"user": "user1"})
        await one.is_answered(ref, kick, "room:1")
        await two.is_ended(1001)


@on_loop
async def test_each_node_has_another_name(nodes: Nodes) -> None:
    names = set()
    async with nodes.clients() as clients:
        for client, demo in zip(clients, nodes.demos, strict=True):
            ref = await client.join("room:1")
            await client.push(ref, "room:1", "node")
            response = (await client.hear()).payload["response"]
            assert response["pid"] == demo.pid
            names.add(response["node"])
    assert len(names) == 2


@pytest.mark.parametrize("fail", ["stop", "freeze"])
def test_while_redis_is_away_a_node_is_degraded_and_serves_its_own_clients(nodes: Nodes, fail: str) -> None:
    @on_loop
    async def talk() -> None:
        async with nodes.clients() as (one, two):
            ref = await one.join("bench:1")
            await two.join("bench:1")
            assert nodes.ready(0) == (200, {"status": "ready"})
            getattr(nodes.redis, fail)()
            until(lambda: nodes.ready(0) == (503, {"status": "degraded", "failed": ["pubsub"]}))
            assert fetch(nodes.demos[0].address, Http("GET", "/health/live"))[0] == 200
            await one.push(ref, "bench:1", "shout", {"n": 1})
            await one.is_told("bench:1", "shout", {"n": 1})
            # Joins are answered without it.
            await one.join("bench:2")
            nodes.redis.start() if fail == "stop" else nodes.redis.thaw()
            until(lambda: [nodes.ready(node)[0] for node in (0, 1)] == [200, 200])
            await one.push(ref, "bench:1", "shout", {"n": 2})
            await one.is_told("bench:1", "shout", {"n": 2})
            await two.is_told("bench:1", "shout", {"n": 2})

    talk()


@on_loop
async def test_a_node_that_was_frozen_is_back_with_what_was_sent_meanwhile(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        ref = await one.join("bench:1")
        await two.join("bench:1")
        nodes.demos[1].signal(signal.SIGSTOP)
        for number in range(3):
            await one.push(ref, "bench:1", "shout", {"n": number})
            await one.is_told("bench:1", "shout", {"n": number})
        nodes.demos[1].signal(signal.SIGCONT)
        for number in range(3):
            await two.is_told("bench:1", "shout", {"n": number})


def test_a_node_that_is_killed_is_not_missed_by_the_other(tmp_path: Path) -> None:
    @on_loop
    async def talk(nodes: Nodes) -> None:
        async with Meeting(nodes.demos[0].address, "websocket", "2.0.0").connect() as one:
            ref = await one.join("bench:1")
            nodes.demos[1].signal(signal.SIGKILL)
            nodes.demos[1].ended()
            await one.push(ref, "bench:1", "shout", {"n": 1})
            await one.is_told("bench:1", "shout", {"n": 1})
            assert nodes.ready(0)[0] == 200

    with RedisServer(tmp_path) as redis:
        demos = [LiveDemo(DEMO, "--redis", redis.url) for _ in range(2)]
        with demos[0], demos[1]:
            talk(Nodes(redis, demos))


@on_loop
async def test_the_command_line_publishes_to_the_clients_of_all_nodes(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        for client in (one, two):
            await client.join("bench:1")
        command = [sys.executable, "-m", "transport.publish", "--redis", nodes.redis.url, "bench:1", "news", "-"]
        process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
        assert (await process.communicate('{"é": [null]}'.encode()))[0] == b"published to 2 processes\n"
        for client in (one, two):
            await client.is_told("bench:1", "news", {"é": [None]})


def test_it_says_how_many_processes_it_has_reached(nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    assert publish(["--redis", nodes.redis.url, "nobody:is there", "news"]) == 0
    assert capsys.readouterr() == ("published to 0 processes\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("room:1", "news", "[1]"), "a payload must be an object or bytes, got [1]"),
        (("room:1", "news", "{"), "Input data was truncated"),
        (("--redis", "http://host", "room:1", "news"), "the URL of Redis must be like"),
        (("room:1", "news"), "refused"),
        (("\0nodes", "news"), "topics that begin with NUL are reserved"),
        (("--redis", "redis://127.0.0.1:1?colour=red", "room:1", "news"), "got colour ("),
        (("--redis", "redis+sentinel://127.0.0.1:1/main", "room:1", "news"), "No master found"),
        (("--redis", "redis+cluster://127.0.0.1:1", "room:1", "news"), "cannot be connected"),
    ],
)
def test_what_cannot_be_published_is_one_line_and_status_1(
    arguments: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(["--redis", "redis://127.0.0.1:1", *arguments]) == 1
    printed, complaints = capsys.readouterr()
    assert (printed, len(complaints.splitlines())) == ("", 1)
    assert complaint in complaints


@on_loop
async def test_what_another_program_publishes_as_the_documentation_says_reaches_clients(nodes: Nodes) -> None:
    async with nodes.clients() as (one, two):
        for client in (one, two):
            await client.join("bench:1")
        assert nodes.redis.ask("PUBLISH", "ashtree:bench:1", b'{"event":"paid"}\n{"total":20}') == 2
        for client in (one, two):
            await client.is_told("bench:1", "paid", {"total": 20})
