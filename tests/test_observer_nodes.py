"""What a prompt and the observer's page show of another process: two demos that Redis connects."""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from actors.pubsub.pubsub import PubSub
from actors.pubsub.redis.redis_pubsub import RedisPubSub
from supervisors.exceptions import RemoteActorError
from supervisors.observer.commands import Commands
from supervisors.system import System
from tests.live import LiveDemo
from tests.node import browser, play
from tests.servers.redis_server import RedisServer, until
from tests.test_nodes import DEMO
from tests.transport.wire import on_loop
from tests.wire_clients import Meeting
from transport.client import ClientError, JoinError, Socket
from transport.observer.observer import TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from transport.client import Channel

TOKEN = "a-token-for-the-tests"  # noqa: S105  # of no other use


class Nodes:
    """Two demos, whose observers have these tokens."""

    def __init__(self, redis: RedisServer, demos: list[LiveDemo]) -> None:
        self.redis, self.demos = redis, demos

    @asynccontextmanager
    async def page(self, number: int, token: str = TOKEN) -> AsyncIterator[Socket]:
        async with Socket(f"{self.demos[number].websocket_address}/observer/socket", auth_token=token) as socket:
            yield socket

    @asynccontextmanager
    async def other(self, socket: Socket) -> AsyncIterator[str]:
        """Yield the topic of the other node, which the page of this one has."""
        own = socket.channel("observer")
        await own.join()
        async for message in own:
            if message.event == "nodes" and len(message.payload["nodes"]) == 2:
                yield message.payload["nodes"][1][0]
                return


@contextmanager
def running(directory: Path, *tokens: str) -> Iterator[Nodes]:
    with RedisServer(directory) as redis, ExitStack() as stack:
        options = ("--redis", redis.url)
        demos = [LiveDemo(DEMO, *options, variables={TOKEN_VARIABLE: token}) for token in tokens]
        yield Nodes(redis, [stack.enter_context(demo) for demo in demos])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with running(tmp_path_factory.mktemp("redis"), TOKEN, TOKEN) as found:
        yield found


async def difference(channel: Channel, member: str = "rows") -> Any:
    """Return that member of the next difference that has it."""
    async for message in channel:
        if message.event == "difference" and member in message.payload:
            return message.payload[member]
    raise AssertionError("the channel is closed")


@on_loop
async def test_the_page_of_one_node_shows_the_tree_of_the_other_and_gives_orders_there(nodes: Nodes) -> None:
    async with nodes.page(0) as socket, nodes.other(socket) as topic:
        channel = socket.channel(topic)
        await channel.join()
        rows = {row.get("name"): row for row in await difference(channel)}
        assert {"System", "pubsub", "presence", "endpoint", "listener"} <= set(rows)
        presence = rows["presence"]["id"]
        await channel.push("kill", {"id": presence})
        while "presence" not in {row.get("name") for row in await difference(channel)}:
            pass
        with pytest.raises(ClientError, match="it has exited"):
            await channel.push("kill", {"id": presence})
    assert any("the observer at" in line and "kill presence" in line for line in nodes.demos[1].output)


@on_loop
async def test_a_node_with_another_token_is_not_shown(tmp_path: Path) -> None:
    with running(tmp_path, TOKEN, f"{TOKEN}-other") as nodes:
        async with nodes.page(0) as socket, nodes.other(socket) as topic:
            with pytest.raises(JoinError, match="another token"):
                await socket.channel(topic).join()


@on_loop
async def test_a_node_that_does_not_answer_is_said_to(nodes: Nodes) -> None:
    async with nodes.page(0) as socket, nodes.other(socket) as topic:
        channel = socket.channel(topic)
        await channel.join()
        await difference(channel)
        nodes.demos[1].signal(signal.SIGSTOP)
        try:
            assert await difference(channel, "lost") is True
        finally:
            nodes.demos[1].signal(signal.SIGCONT)
        assert await difference(channel, "lost") is False


def test_a_prompt_lists_the_nodes_and_the_clients_of_all(nodes: Nodes) -> None:
    @on_loop
    async def talk(its: Commands) -> None:
        async with Meeting(nodes.demos[0].address, "websocket", "2.0.0").connect(user="ann") as ann:
            await ann.join("room:1")
            rows = await asyncio.to_thread(its.sockets)
            [row] = rows
            assert (row.id, row.topics, row.ref) == ("users_socket:ann", ["room:1"], None)
            assert row.node in str(rows)
            assert "user='ann'" in str(rows)
            with pytest.raises(RemoteActorError, match=f"one of {row.node}"):
                its.kill(row)
            listed = {each.node: each for each in await asyncio.to_thread(its.nodes)}
            assert (listed[row.node].clients, listed[row.node].channels) == (1, 1)
            assert listed[row.node].pid == nodes.demos[0].pid
            tree = await asyncio.to_thread(its.tree, row.node)
            assert "RoomChannel" in tree
            nodes.demos[0].signal(signal.SIGSTOP)
            try:
                assert f"{row.node} did not answer" in str(await asyncio.to_thread(its.sockets))
                [silent] = [each for each in await asyncio.to_thread(its.nodes) if each.node == row.node]
                assert (silent.status, silent.pid) == ("did not answer", None)
            finally:
                nodes.demos[0].signal(signal.SIGCONT)

    system = System(pubsub=PubSub(adapter=RedisPubSub(nodes.redis.url)))
    with system:
        its = Commands(system)
        until(lambda: len(its.nodes()) == 3)
        assert [row.status for row in its.nodes()] == ["this one", "connected", "connected"]
        talk(its)


def test_a_browser_shows_the_node_that_is_chosen(tmp_path: Path) -> None:
    with running(tmp_path, TOKEN, TOKEN) as nodes:
        report = play("nodes.mjs", nodes.demos[0].address, browser(), TOKEN)("another node")
    assert report["problems"] == []
    assert len(set(report["names"])) == 2
    assert report["topics"][0] == "observer"
    other = report["other"]
    assert {"System", "presence", "endpoint", "listener"} <= set(other["rows"])
    assert "observer" not in other["rows"]
    assert (other["chosen"], other["lost"]) == (False, "")
    assert "observer" in report["back"]
    assert report["barriers"] == []
    assert [pixels for _, pixels in report["overflow"]] == [0] * 5
