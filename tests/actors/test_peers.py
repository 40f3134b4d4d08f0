"""Two systems of one event loop whose PubSubs a bridge connects: they know each other, ask, and notice each other's end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self

import pytest

from actors.channels.message import Broadcast
from actors.pubsub import peers as peers_module
from actors.pubsub import requests as requests_module
from actors.pubsub.adapter import Adapter
from actors.pubsub.known_peers import FORGOTTEN_AFTER
from actors.pubsub.peer_message import NODES, PEERS, topic_of
from actors.pubsub.pubsub import PubSub
from actors.pubsub.requests import OutOfReachError, PeerAnswer, PeerBusyError, PeerError, UnreachableError
from supervisors.system import System
from tests.transport.wire import on_loop

if TYPE_CHECKING:
    from actors.pubsub.peers import Peers


class Bridge(Adapter):
    """Hands what is published to all others, unless it is cut."""

    def __init__(self, all_: list[Bridge]) -> None:
        self.all, self.is_cut, self.is_mute, self.sent = all_, False, False, 0
        all_.append(self)

    def publish(self, topic: str, data: bytes) -> None:
        self.sent += 1
        for other in self.all:
            if other is not self and not (self.is_cut or other.is_cut or self.is_mute):
                asyncio.get_running_loop().call_soon(other.deliver, topic, data)

    def deliver(self, topic: str, data: bytes) -> None:
        with suppress(RuntimeError):  # it does not run yet, or no more
            self.pubsub.receive(topic, data)

    def subscribed(self, topic: str) -> None:
        pass

    def unsubscribed(self, topic: str) -> None:
        pass

    def trouble(self) -> str | None:
        return "it is cut" if self.is_cut else None


class Pair:
    """Two systems, `one` and `two`."""

    def __init__(self) -> None:
        bridges: list[Bridge] = []
        self.pubsubs = [PubSub(name, adapter=Bridge(bridges), node=name) for name in ("one", "two")]
        self.systems = [System(name=pubsub.name, pubsub=pubsub) for pubsub in self.pubsubs]
        self.bridges = bridges

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        for system in self.systems:
            await self._stack.enter_async_context(system)
        await rounds()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def one(self) -> Peers:
        return self.pubsubs[0].peers

    @property
    def two(self) -> Peers:
        return self.pubsubs[1].peers


async def rounds(number: int = 30) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


def echo(about: dict[str, Any], body: bytes) -> PeerAnswer:
    return PeerAnswer(about, body[::-1])


@on_loop
async def test_they_know_each_other_by_name() -> None:
    async with Pair() as pair:
        assert [(peer.node, peer.run) for peer in pair.one.all()] == [("two", pair.two.run)]
        assert [peer.node for peer in pair.two.all()] == ["one"]
        # What they say to each other is no one else's.
        assert {topic for topic in pair.pubsubs[0].topics() if topic[0] != "\0"} == set()


@on_loop
async def test_a_request_is_answered_at_once_or_later_also_by_oneself() -> None:
    async def later(about: dict[str, Any], body: bytes) -> PeerAnswer:
        await rounds()
        return echo(about, body)

    async with Pair() as pair:
        for peers in (pair.one, pair.two):
            peers.serve("echo", echo)
            peers.serve("later", later)
        for service in ("echo", "later"):
            for run in (pair.two.run, pair.one.run):
                assert await pair.one.ask(run, service, {"a": [1]}, b"\n\x00x") == ({"a": [1]}, b"x\x00\n")
        assert len(pair.one.requests) == 0


@on_loop
async def test_what_fails_there_fails_here_and_is_logged_there() -> None:
    def fail(about: dict[str, Any], body: bytes) -> NoReturn:
        raise ValueError("broken")

    async def fail_later(about: dict[str, Any], body: bytes) -> PeerAnswer:
        await rounds()
        raise ValueError("broken")

    async with Pair() as pair:
        pair.two.serve("fail", fail)
        pair.two.serve("fail later", fail_later)
        for service in ("fail", "fail later", "unknown"):
            with pytest.raises(PeerError, match="it has failed"):
                await pair.one.ask(pair.two.run, service, {})


@on_loop
async def test_a_caller_that_is_cancelled_cancels_what_is_done_for_it() -> None:
    ends: list[str] = []

    async def wait(about: dict[str, Any], body: bytes) -> PeerAnswer:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("ended")
        raise AssertionError

    async with Pair() as pair:
        pair.two.serve("wait", wait)
        asking = asyncio.create_task(pair.one.ask(pair.two.run, "wait", {}))
        await rounds()
        assert (ends, len(pair.one.requests)) == ([], 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await rounds()
        assert (ends, len(pair.one.requests)) == (["ended"], 0)


@on_loop
async def test_an_orderly_end_is_known_at_once() -> None:
    async def wait(about: dict[str, Any], body: bytes) -> PeerAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    async with Pair() as pair:
        run = pair.two.run
        pair.two.serve("wait", wait)
        asking = asyncio.create_task(pair.one.ask(run, "wait", {}, seconds=1000))
        await rounds()
        await pair.systems[1].stop()
        with pytest.raises(PeerError):
            await asking
        await rounds()
        with pytest.raises(UnreachableError, match="it has ended"):
            await pair.one.ask(run, "wait", {})
        assert pair.one.all() == []


@on_loop
async def test_one_that_a_program_knows_to_be_dead_is_given_up() -> None:
    async with Pair() as pair:
        pair.bridges[1].is_mute = True
        asking = asyncio.create_task(pair.one.ask(pair.two.run, "wait", {}))
        await rounds()
        pair.pubsubs[0].node_down("two")
        with pytest.raises(UnreachableError, match="it has ended"):
            await asking
        assert pair.one.all() == []


@on_loop
async def test_requests_fail_when_the_adapter_is_out_of_reach() -> None:
    async with Pair() as pair:
        pair.bridges[1].is_mute = True
        asking = asyncio.create_task(pair.one.ask(pair.two.run, "wait", {}))
        await rounds()
        pair.bridges[0].is_cut = True
        with pytest.raises(OutOfReachError, match="it is cut"):
            await asking
        assert pair.one.may_be_alive(pair.two.run)


@on_loop
async def test_after_a_long_outage_they_know_each_other_at_once() -> None:
    async with Pair() as pair:
        pair.bridges[0].is_cut = True
        await tick(pair.one)
        for peers in (pair.one, pair.two):
            assert peers.known.all(peers.clock.now() + FORGOTTEN_AFTER + 1) == []
        pair.bridges[0].is_cut = False
        await tick(pair.one)
        assert [peer.node for peer in pair.one.all()] == ["two"]
        assert [peer.node for peer in pair.two.all()] == ["one"]


async def tick(peers: Peers) -> None:
    assert peers.server is not None
    peers.server.send(peers_module._TICK)
    await rounds()


@on_loop
async def test_a_process_that_is_not_known_yet_is_looked_for() -> None:
    async with Pair() as pair:
        pair.two.serve("echo", echo)
        for peers in (pair.one, pair.two):
            peers.known.__init__()  # type: ignore[misc]  # what it has heard was lost
        assert (await pair.one.ask(pair.two.run, "echo", {}, b"ab")).body == b"ba"
        sent = pair.bridges[0].sent
        with pytest.raises(UnreachableError, match="no such process is known"):
            await pair.one.ask("no one", "echo", {}, b"x" * 1000)
        # Nothing but the question who is there.
        assert pair.bridges[0].sent <= sent + 2


@on_loop
async def test_all_are_asked_and_those_that_do_not_answer_are_named() -> None:
    async with Pair() as pair:
        pair.two.serve("echo", echo)
        [(peer, answer)] = await pair.one.ask_all("echo", {"a": 1})
        assert (peer.node, answer) == ("two", ({"a": 1}, b""))
        pair.bridges[1].is_mute = True
        [(peer, answer)] = await pair.one.ask_all("echo", {}, seconds=0.01)
        assert (peer.node, answer) == ("two", None)


@on_loop
async def test_too_many_requests_are_refused() -> None:
    async with Pair() as pair:
        pair.two.serve("echo", echo)
        large = pair.one.requests.open(pair.two.run, requests_module.MOST_BYTES)
        with pytest.raises(PeerBusyError):
            await pair.one.ask(pair.two.run, "echo", {}, b"x")
        pair.one.requests.close(large)
        assert (await pair.one.ask(pair.two.run, "echo", {}, b"x")).body == b"x"


@on_loop
async def test_what_any_program_may_publish_does_no_harm() -> None:
    async with Pair() as pair:
        pair.two.serve("echo", echo)
        for topic in (PEERS, NODES, topic_of(pair.two.run)):
            messages: list[Any] = [
                b"",
                b"{}\n",
                b'{"what":"cancel","run":"x"}\n',
                {"down": 1},
                {"disconnect": []},
                [1],
                None,
            ]
            for message in messages:
                pair.pubsubs[0].broadcast(topic, message)
            pair.pubsubs[0].broadcast(topic, Broadcast("room:1", "news", {}))
        await rounds()
        assert (await pair.one.ask(pair.two.run, "echo", {}, b"ab")).body == b"ba"


@on_loop
async def test_a_disconnect_is_told_to_all_before_it_is_published() -> None:
    async with Pair() as pair:
        number = pair.pubsubs[1].disconnects.number
        pair.pubsubs[0].broadcast("users:ann", Broadcast("users:ann", "disconnect", {}))
        await rounds()
        disconnects = pair.pubsubs[1].disconnects
        assert disconnects.since(number, "users:ann")
        assert not disconnects.since(number, "users:ben")


@on_loop
async def test_its_actor_is_restarted_and_goes_on() -> None:
    async with Pair() as pair:
        pair.two.serve("echo", echo)
        before = pair.two.server
        assert before is not None
        before.kill()
        await before.down()
        await rounds()
        assert pair.two.server is not before
        assert (await pair.one.ask(pair.two.run, "echo", {}, b"ab")).body == b"ba"


@on_loop
async def test_without_an_adapter_there_is_none() -> None:
    pubsub = PubSub()
    async with System(pubsub=pubsub) as system:
        assert (pubsub.peers.are_possible, pubsub.topics()) == (False, [])
        assert "peers" not in system.tree()
        with pytest.raises(UnreachableError):
            await pubsub.peers.ask("another", "echo", {})
