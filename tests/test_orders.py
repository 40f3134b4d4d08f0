"""Pushes with a key over two processes that Redis connects: handled by one of them, and answered by both as the first time."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from tests.live import ROOT, WAIT, LiveDemo
from tests.servers.redis_server import RedisServer, free_port, redis_cluster
from tests.transport.wire import on_loop
from transport.client import Channel, Push, ReplyError, Socket

ORDERS = ROOT / "tests" / "servers" / "orders.py"


@contextmanager
def both(url: str) -> Iterator[list[LiveDemo]]:
    with LiveDemo(ORDERS, "--redis", url) as one, LiveDemo(ORDERS, "--redis", url) as two:
        yield [one, two]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def nodes(server: RedisServer) -> Iterator[list[LiveDemo]]:
    with both(server.url) as demos:
        yield demos


class Client:
    """A user at one of the nodes, who has joined a topic."""

    def __init__(self, node: LiveDemo, topic: str, user: str | None = "ann") -> None:
        self.socket = Socket(f"{node.websocket_address}/socket", params={"user": user} if user else {})
        self.channel: Channel = self.socket.channel(topic)

    async def __aenter__(self) -> Self:
        await self.socket.__aenter__()
        await self.channel.join()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.socket.close()

    def once(self, event: str, payload: Any = None, key: str = "k", timeout: float = WAIT) -> Push:
        return self.channel.push_once(event, {"n": 1} if payload is None else payload, timeout, key=key)

    async def order(self, key: str = "k") -> Any:
        return await self.once("order", key=key)

    async def refusal(self, event: str, payload: Any = None, key: str = "k") -> Any:
        """Return the error that a push is answered with, the first time."""
        with pytest.raises(ReplyError) as refused:
            await self.channel.push(event, {**({"n": 1} if payload is None else payload), "@key": key}, WAIT)
        return refused.value.response

    async def taken(self) -> list[Any]:
        """Return what this topic has heard as taken until now."""
        await self.once("order", {"n": "last"}, key="last")
        heard = []
        while (message := await self.channel.recv(WAIT)).payload["payload"] != {"n": "last"}:
            heard.append(message.payload["event"])
        return heard


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return f"orders:{request.node.name}"


@on_loop
async def test_a_copy_at_another_node_gets_the_first_reply(nodes: list[LiveDemo], topic: str) -> None:
    async with Client(nodes[0], topic) as here, Client(nodes[1], topic) as there:
        first = await here.order()
        assert first["pid"] == nodes[0].pid
        assert [await there.order(), await here.order(), await there.order()] == [first] * 3
        refused = await there.refusal("refuse", key="r")
        assert refused["pid"] == nodes[1].pid
        assert [await here.refusal("refuse", key="r"), await there.refusal("refuse", key="r")] == [refused] * 2
        number = await here.once("bytes", b"\0\xff", key="b")
        assert await there.once("bytes", b"\0\xff", key="b") == number
        assert isinstance(number, bytes)
        assert await there.taken() == ["order", "refuse", "bytes"]


@on_loop
async def test_a_key_is_of_one_push_of_one_user_on_one_topic(nodes: list[LiveDemo], topic: str) -> None:
    async with Client(nodes[0], topic) as ann, Client(nodes[1], topic) as there, Client(nodes[1], topic, "bob") as bob:
        first = await ann.order()
        assert await there.refusal("order", {"n": 2}) == {"reason": "key used for another push"}
        assert await there.refusal("refuse") == {"reason": "key used for another push"}
        assert await bob.order() != first
        async with Client(nodes[1], f"{topic}:other") as elsewhere:
            assert await elsewhere.order() != first


@on_loop
async def test_a_copy_waits_for_the_first_answer_of_the_other_node(nodes: list[LiveDemo], topic: str) -> None:
    async with Client(nodes[0], topic) as here, Client(nodes[1], topic) as there:
        first = here.once("later")
        await here.channel.recv(WAIT)
        copy = there.once("later")
        # What is pushed behind a copy does not wait for the answer to that.
        assert (await there.order("other"))["pid"] == nodes[1].pid
        await here.channel.push("ship", {})
        answer = await first
        assert answer["pid"] == nodes[0].pid
        assert await copy == answer


@on_loop
async def test_a_handler_that_crashes_or_answers_at_length_is_not_called_again(
    nodes: list[LiveDemo], topic: str
) -> None:
    async with Client(nodes[0], topic) as here, Client(nodes[1], topic) as there:
        # It is answered when it is sent again, after the rejoin.
        with pytest.raises(ReplyError, match="handling failed"):
            await here.once("crash", key="c")
        assert await there.refusal("crash", key="c") == {"reason": "handling failed"}
        assert len((await here.once("long", key="l"))["text"]) == 30_000
        assert await there.refusal("long", key="l") == {"reason": "handled, reply not kept"}
        assert await there.taken() == ["crash", "long"]


@on_loop
async def test_what_is_pushed_behind_a_push_with_a_key_is_handled_behind_it(nodes: list[LiveDemo], topic: str) -> None:
    async with Client(nodes[0], topic) as here, Client(nodes[1], topic) as there:
        pushes = [
            here.once("order", {"n": n}, key=str(n)) if n % 3 else here.channel.push("order", {"n": n})
            for n in range(30)
        ]
        assert [(await push)["pid"] for push in pushes] == [nodes[0].pid] * 30
        heard = [(await there.channel.recv(WAIT)).payload["payload"] for _ in range(30)]
        assert heard == [{"n": n} for n in range(30)]


@on_loop
async def test_nothing_is_handled_while_it_is_not_known_what_another_process_has_done(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, both(server.url) as nodes:
        async with Client(nodes[0], "orders:1") as here, Client(nodes[1], "orders:1") as there:
            first = await here.order()
            server.freeze()
            answer = await there.refusal("order")
            assert answer == {"reason": "key store unavailable", "@retry": 1.0}
            waiting = [there.once("order"), there.once("order", key="new")]
            server.thaw()
            repeated, new = [await each for each in waiting]
            assert repeated == first
            assert new["pid"] == nodes[1].pid
            assert await here.order("new") == new


@on_loop
async def test_a_push_whose_client_goes_while_its_key_is_looked_up_is_handled_once(
    tmp_path: Path,
) -> None:
    with RedisServer(tmp_path) as server, both(server.url) as nodes:
        async with Client(nodes[1], "orders:1") as there:
            async with Client(nodes[0], "orders:1") as here:
                server.freeze()
                pushed = here.once("order")
                # A connection's messages reach their channels in order, and one channel does not wait for the other.
                await here.socket.channel("orders:2").join()
            server.thaw()
            assert (await there.order())["pid"] in {node.pid for node in nodes}
            assert await there.taken() == ["order"]
            del pushed


@on_loop
async def test_what_becomes_of_a_push_whose_process_is_killed_is_not_known(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, both(server.url) as nodes:
        async with Client(nodes[1], "orders:1") as there, Client(nodes[0], "orders:1") as here:
            done = await here.order("done")
            pushed = here.once("later")
            heard = [(await there.channel.recv(WAIT)).payload["event"] for _ in range(2)]
            nodes[0].signal(signal.SIGKILL)
            assert nodes[0].ended() == -signal.SIGKILL
            assert await there.order("done") == done
            # For ten seconds after a node has connected it is not sure that it hears all others.
            for _ in range(2):
                with pytest.raises(ReplyError, match="outcome unknown"):
                    await there.once("later", timeout=2 * WAIT)
            assert heard + await there.taken() == ["order", "later"]
            del pushed


@on_loop
async def test_pushes_are_handled_once_while_their_clients_change_the_node(nodes: list[LiveDemo], topic: str) -> None:
    """Each push is sent at both nodes at the same time, as over a connection that breaks."""
    async with Client(nodes[0], topic) as here, Client(nodes[1], topic) as there, Client(nodes[0], topic, "eve") as eve:
        answers = []
        for n in range(100):
            pair = [client.once("order", {"n": n}, key=str(n)) for client in (here, there)]
            answers.append([await each for each in pair])
        assert all(one == two for one, two in answers)
        assert {one["pid"] for one, _ in answers} <= {node.pid for node in nodes}
        heard = [(await asyncio.wait_for(eve.channel.recv(), WAIT)).payload["payload"]["n"] for _ in range(100)]
        assert heard == [*range(100)]
        assert await eve.taken() == []


@on_loop
async def shared_by(nodes: list[LiveDemo]) -> None:
    for topic in ("orders:1", "orders:2", "orders:{a}b", "orders:a}b"):
        async with Client(nodes[0], topic) as here, Client(nodes[1], topic) as there:
            first = await here.order()
            assert await there.order() == first


def test_a_cluster_keeps_them(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as (url, _), both(url) as nodes:
        shared_by(nodes)


def test_a_user_of_redis_with_the_permissions_that_the_documentation_names(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ACL SETUSER .*", (ROOT / "docs/scaling.md").read_text(encoding="utf-8"), re.MULTILINE)
    with RedisServer(tmp_path, port=free_port()) as server:
        assert server.ask(*line.split())
        with both(f"redis://chat:password@127.0.0.1:{server.port}") as nodes:
            shared_by(nodes)
        assert server.ask("ACL", "LOG") == []
