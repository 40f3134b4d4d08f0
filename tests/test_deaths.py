"""What happens when a process exits, over a real endpoint with real clients (docs/conformance.md, "Joins and exits")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from actors import ActorRef, Channel, Reply, Stop, error, ok
from actors.channels.message import Frame, Opcode
from actors.exits import KILLED, NORMAL, Crash, ExitReason, Shutdown
from actors.lowlevel import new_event_loop
from actors.testing import WAIT
from supervisors import System, SystemDownError, which_children
from tests.transport.wire import NO_CLOSE_FRAME, Client, Server, limited, on_loop, serving, until
from transport import ConnectInfo, Endpoint, Socket

CRASHED = {"reason": "channel_crash"}


class World:
    """What the channels of a test have done, and how they are to do it."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, ExitReason]] = []
        self.joins: asyncio.Queue[tuple[str, Any, Any]] = asyncio.Queue()
        self.join = "accept"

    async def joined(self) -> tuple[str, Any, Any]:
        """Wait for the next join: its topic, payload and join_ref."""
        async with asyncio.timeout(WAIT):
            return await self.joins.get()

    def reasons(self, topic: str) -> list[ExitReason]:
        """Return what `terminate` of the topic's channels was called with."""
        return [reason for ended, reason in self.ended if ended == topic]


class RoomChannel(Channel):
    """Does what it is asked to, and tells the world."""

    world: World

    def join(self, topic: str, payload: Any) -> Reply:
        self.world.joins.put_nowait((topic, payload, self.join_ref))
        if self.world.join == "crash":
            raise RuntimeError("crashed on purpose in join")
        # Something that has to end with the channel.
        self.send_after(3600.0, "late")
        return ok() if self.world.join == "accept" else error({"reason": "not again"})

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "who":
                return ok({"channel": self.pid, "transport": self.socket.transport.pid})
            case "shout":
                self.broadcast("shout", payload)
            case "crash":
                raise RuntimeError("crashed on purpose")
            case "stop":
                return Stop(NORMAL)
        return None

    def terminate(self, reason: ExitReason) -> None:
        self.world.ended.append((self.topic, reason))


class TransientChannel(RoomChannel):
    restart = "transient"


class PermanentChannel(RoomChannel):
    restart = "permanent"


class UserSocket(Socket):
    channels = {  # noqa: RUF012  # as an author writes it
        "room:*": RoomChannel,
        "transient:*": TransientChannel,
        "permanent:*": PermanentChannel,
    }

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Reply:
        self.assigns["user"] = params.get("user", "anonymous")
        return ok()

    def id(self) -> str:
        return f"users:{self.assigns['user']}"


@pytest.fixture
def world() -> World:
    RoomChannel.world = World()
    return RoomChannel.world


class User:
    """A client with the topics that it has joined."""

    def __init__(self, server: Server, client: Client) -> None:
        self.server, self.client = server, client
        self.join_refs: dict[str, str] = {}

    async def join(self, topic: str, payload: Any = None) -> None:
        self.join_refs[topic] = await self.client.join(topic, payload)
        await RoomChannel.world.joined()

    async def who(self, topic: str) -> dict[str, str]:
        """Return the pids of the channel and the transport that serve this client now."""
        pids: dict[str, str] = await self.client.ask(self.join_refs[topic], topic, "who")
        return pids

    async def channel(self, topic: str) -> ActorRef[Any]:
        return self.server.pid((await self.who(topic))["channel"])

    async def transport(self) -> ActorRef[Any]:
        return self.server.pid((await self.who(next(iter(self.join_refs))))["transport"])

    async def push(self, topic: str, event: str, payload: Any = None) -> None:
        await self.client.send(self.join_refs[topic], None, topic, event, {} if payload is None else payload)

    async def sees(self, *frames: Any) -> None:
        """See these frames come, and none after them."""
        for frame in frames:
            assert await self.client.recv() == frame
        await self.client.nothing_came()

    def ended(self, topic: str, event: str = "phx_error", payload: Any = None) -> list[Any]:
        """Return the frame that tells of the end of a topic."""
        join_ref = self.join_refs[topic]
        return [join_ref, join_ref, topic, event, CRASHED if payload is None else payload]


async def user(server: Server, *topics: str, name: str = "alice") -> User:
    """Connect, and join topics."""
    connected = User(server, await server.connect(user=name))
    for topic in topics:
        await connected.join(topic)
    return connected


async def gone(*refs: ActorRef[Any]) -> None:
    async with asyncio.timeout(WAIT):
        for ref in refs:
            await ref.down()


async def restarted(server: Server, label: str, parent: str, end: Callable[[ActorRef[Any]], None]) -> ActorRef[Any]:
    """End a part of the tree, and return the one that has taken its place."""
    first = server.find(label)
    down = first.down()
    end(first)
    async with asyncio.timeout(WAIT):
        await down
        # A supervisor has its notice before others have theirs; it answers when it has dealt with it.
        await which_children(server.find(parent))
    second = server.find(label)
    assert second is not first
    return second


def kill(ref: ActorRef[Any]) -> None:
    ref.kill()


def crash(ref: ActorRef[Any]) -> None:
    ref.exit(RuntimeError("crashed on purpose"))


ENDS = pytest.mark.parametrize("end", [kill, crash])


def is_crash(reason: ExitReason) -> bool:
    return isinstance(reason, Crash) and isinstance(reason.exception, RuntimeError)


def subscribers(server: Server, topic: str) -> list[str]:
    return [ref.pid for ref in server.system.pubsub.subscribers(topic)]


# A channel


@on_loop
async def test_a_channel_that_crashes_is_an_error_for_its_client_and_nobody_elses(world: World) -> None:
    async with serving(UserSocket) as server:
        alice, bob = await user(server, "room:1", "room:2"), await user(server, "room:1", name="bob")
        mine, other, bobs = await alice.who("room:1"), await alice.who("room:2"), await bob.who("room:1")
        timers = server.clock.pending()

        await alice.push("room:1", "crash")
        await alice.sees(alice.ended("room:1"))
        await bob.sees()

        [(topic, reason)] = world.ended
        assert topic == "room:1"
        assert is_crash(reason)
        await server.watched()
        assert subscribers(server, "room:1") == [bobs["channel"]]
        assert server.clock.pending() == timers - 1
        assert (await alice.who("room:2"), await bob.who("room:1")) == (other, bobs)

        await alice.join("room:1", {"again": True})
        again = await alice.who("room:1")
        assert again["channel"] != mine["channel"]
        assert again["transport"] == mine["transport"]
        await bob.push("room:1", "shout", {"n": 1})
        await alice.sees([None, None, "room:1", "shout", {"n": 1}])
        await bob.sees([None, None, "room:1", "shout", {"n": 1}])


@on_loop
async def test_a_channel_that_is_killed_is_an_error_for_its_client_without_terminate(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1", "room:2")
        other = await alice.who("room:2")
        (await alice.channel("room:1")).kill()
        await alice.sees(alice.ended("room:1"))
        assert world.ended == []
        assert await alice.who("room:2") == other
        await server.watched()
        assert subscribers(server, "room:1") == []


@on_loop
async def test_a_push_to_a_channel_that_has_crashed_is_unmatched_until_it_is_joined_again(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1")
        await alice.push("room:1", "crash")
        await alice.sees(alice.ended("room:1"))
        await alice.push("room:1", "who")
        response = {"status": "error", "response": {"reason": "unmatched topic"}}
        await alice.sees([None, None, "room:1", "phx_reply", response])


@on_loop
async def test_a_channel_that_stops_on_purpose_is_closed(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1")
        await alice.push("room:1", "stop")
        await alice.sees(alice.ended("room:1", "phx_close", {}))
        assert world.ended == [("room:1", NORMAL)]
        await server.watched()
        assert subscribers(server, "room:1") == []


@on_loop
async def test_a_topic_that_is_left_is_closed(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1", "permanent:1")
        for topic in ("room:1", "permanent:1"):
            assert await alice.client.ask(alice.join_refs[topic], topic, "phx_leave") == {}
            await alice.sees(alice.ended(topic, "phx_close", {}))
        assert world.ended == [("room:1", Shutdown("left")), ("permanent:1", Shutdown("left"))]
        assert world.joins.empty()


# A channel that the server restarts


async def end_and_see_it_joined_again(alice: User, topic: str, event: str) -> None:
    """End a channel; wait for the join of the next, which must be the last one's all over again."""
    await alice.push(topic, event)
    assert await RoomChannel.world.joined() == (topic, {"room": "mine"}, alice.join_refs[topic])


@pytest.mark.parametrize(
    ("topic", "event"), [("transient:1", "crash"), ("permanent:1", "crash"), ("permanent:1", "stop")]
)
@on_loop
async def test_a_channel_that_the_server_restarts_is_joined_again_without_a_word(
    topic: str, event: str, world: World
) -> None:
    async with serving(UserSocket) as server:
        alice, bob = await user(server, "room:1"), await user(server, name="bob")
        await alice.join(topic, {"room": "mine"})
        await bob.join(topic)
        mine, other, bobs = await alice.who(topic), await alice.who("room:1"), await bob.who(topic)
        timers = server.clock.pending()

        await end_and_see_it_joined_again(alice, topic, event)
        await alice.sees()
        await bob.sees()

        again = await alice.who(topic)
        assert again["channel"] != mine["channel"]
        assert again["transport"] == mine["transport"]
        assert (await alice.who("room:1"), await bob.who(topic)) == (other, bobs)
        [(ended, reason)] = world.ended
        assert ended == topic
        assert is_crash(reason) if event == "crash" else reason == NORMAL
        await server.watched()
        assert sorted(subscribers(server, topic)) == sorted([again["channel"], bobs["channel"]])
        assert server.clock.pending() == timers

        await bob.push(topic, "shout", {"n": 1})
        await alice.sees([None, None, topic, "shout", {"n": 1}])


@on_loop
async def test_a_transient_channel_that_stops_on_purpose_is_not_restarted(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "transient:1")
        await alice.push("transient:1", "stop")
        await alice.sees(alice.ended("transient:1", "phx_close", {}))
        assert world.joins.empty()


@pytest.mark.parametrize("how", ["refuse", "crash"])
@pytest.mark.parametrize("topic", ["transient:1", "permanent:1"])
@on_loop
async def test_a_restart_that_fails_is_an_error_for_the_client(topic: str, how: str, world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, topic, "room:1")
        other = await alice.who("room:1")
        world.join = how
        await alice.push(topic, "crash")
        assert await world.joined() == (topic, {}, alice.join_refs[topic])
        await alice.sees(alice.ended(topic))
        await until(lambda: topic not in server.labels())
        assert [is_crash(reason) for reason in world.reasons(topic)] == [True, False][: 1 + (how == "refuse")]
        await server.watched()
        assert subscribers(server, topic) == []
        assert await alice.who("room:1") == other

        world.join = "accept"
        await alice.join(topic)
        assert server.labels().count(topic) == 1


@on_loop
async def test_more_restarts_than_the_intensity_allows_are_an_error_for_the_client(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1")
        await alice.join("transient:1", {"room": "mine"})
        other = await alice.who("room:1")
        for _ in range(3):
            await end_and_see_it_joined_again(alice, "transient:1", "crash")
            await alice.sees()
        await alice.push("transient:1", "crash")
        await alice.sees(alice.ended("transient:1"))
        assert len(world.reasons("transient:1")) == 4
        assert world.joins.empty()
        assert await alice.who("room:1") == other

        await alice.join("transient:1", {"room": "mine"})
        await end_and_see_it_joined_again(alice, "transient:1", "crash")
        await alice.sees()


# The supervisor of a connection's channels


@ENDS
@on_loop
async def test_the_channels_of_a_supervisor_that_died_are_errors_and_can_be_joined_again(
    end: Callable[[ActorRef[Any]], None], world: World
) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1", "room:2")
        mine, transport = await alice.who("room:1"), await alice.transport()
        end(server.find("channels"))
        await alice.sees(alice.ended("room:1"), alice.ended("room:2"))
        assert len(world.ended) == 2
        for topic in ("room:1", "room:2"):
            await alice.join(topic)
        assert (await alice.who("room:1"))["channel"] != mine["channel"]
        assert await alice.transport() is transport


# A transport


def poison(ref: ActorRef[Any]) -> None:
    """Let a transport crash over a message."""
    ref.send(Frame(Opcode.TEXT, None))


def has_type_error(reason: ExitReason) -> bool:
    return isinstance(reason, Crash) and isinstance(reason.exception, TypeError)


@pytest.mark.parametrize(
    ("end", "expected"),
    [(kill, KILLED.__eq__), (crash, is_crash), (poison, has_type_error)],
    ids=["kill", "exit", "crash"],
)
@on_loop
async def test_a_transport_that_dies_takes_its_channels_and_its_connection_with_it(
    end: Callable[[ActorRef[Any]], None], expected: Callable[[ExitReason], bool], world: World
) -> None:
    async with serving(UserSocket) as server:
        before, timers = server.labels(), server.clock.pending()
        alice, bob = await user(server, "room:1", "transient:1"), await user(server, "room:1", name="bob")
        mine, bobs = await alice.who("room:1"), await bob.who("room:1")
        transport = await alice.transport()
        downs = [transport, await alice.channel("room:1"), await alice.channel("transient:1")]
        waiting = asyncio.gather(*(gone(ref) for ref in downs))
        await asyncio.sleep(0)

        end(transport)
        assert await alice.client.closed() == NO_CLOSE_FRAME
        await waiting

        assert sorted(topic for topic, _ in world.ended) == ["room:1", "transient:1"]
        assert all(expected(reason) for _, reason in world.ended), world.ended
        assert world.joins.empty()
        await server.watched()
        assert subscribers(server, "room:1") == [bobs["channel"]]
        assert subscribers(server, "users:alice") == []
        await bob.sees()
        assert await bob.who("room:1") == bobs

        alice = await user(server, "room:1")
        again = await alice.who("room:1")
        assert set(again.values()).isdisjoint(mine.values())
        await bob.push("room:1", "shout", {"n": 1})
        await alice.sees([None, None, "room:1", "shout", {"n": 1}])
        await alice.client.close()
        await bob.client.close()
        await until(lambda: (server.labels(), server.clock.pending()) == (before, timers))


@on_loop
async def test_a_client_that_closes_ends_its_channels_as_closed(world: World) -> None:
    async with serving(UserSocket) as server:
        alice, bob = await user(server, "room:1", "room:2"), await user(server, "room:1", name="bob")
        bobs = await bob.who("room:1")
        await alice.client.close()
        await until(lambda: len(world.ended) == 2)
        assert sorted(world.ended, key=str) == [("room:1", Shutdown("closed")), ("room:2", Shutdown("closed"))]
        await bob.sees()
        assert await bob.who("room:1") == bobs
        await bob.client.close()
        await server.nothing_is_left()


@on_loop
async def test_a_client_that_vanishes_ends_its_channels_as_closed(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1", "permanent:1")
        alice.client.vanish()
        await server.nothing_is_left()
        assert sorted(world.ended, key=str) == [("permanent:1", Shutdown("closed")), ("room:1", Shutdown("closed"))]
        assert world.joins.empty()


@on_loop
async def test_a_user_that_is_disconnected_sees_1001_and_its_channels_end(world: World) -> None:
    async with serving(UserSocket) as server:
        alice, bob = await user(server, "room:1"), await user(server, "room:1", name="bob")
        server.endpoint.broadcast("users:alice", "disconnect", {})
        assert await alice.client.closed() == 1001
        await until(lambda: world.ended == [("room:1", Shutdown("disconnected"))])
        await bob.sees()


# PubSub


@ENDS
@on_loop
async def test_a_pubsub_that_dies_has_every_live_subscriber_again_and_nobody_notices(
    end: Callable[[ActorRef[Any]], None], world: World
) -> None:
    async with serving(UserSocket) as server:
        alice, bob = await user(server, "room:1"), await user(server, "room:1", name="bob")
        before = [await alice.who("room:1"), await bob.who("room:1")]
        shouted = [None, None, "room:1", "shout", {"n": 1}]

        pubsub = server.find("pubsub")
        end(pubsub)
        # In this very moment too: a broadcast needs the table and not the actor.
        server.endpoint.broadcast("room:1", "shout", {"n": 1})
        await gone(pubsub)
        await which_children(server.system.ref)
        assert server.system.whereis("pubsub") is server.find("pubsub") is not pubsub
        await alice.sees(shouted)
        await bob.sees(shouted)
        await alice.push("room:1", "shout", {"n": 1})
        await alice.sees(shouted)
        await bob.sees(shouted)

        assert [await alice.who("room:1"), await bob.who("room:1")] == before
        assert world.ended == []
        assert sorted(subscribers(server, "room:1")) == sorted(pids["channel"] for pids in before)
        server.endpoint.broadcast("users:bob", "disconnect", {})
        assert await bob.client.closed() == 1001
        await alice.push("room:1", "crash")
        await alice.sees(alice.ended("room:1"))
        await until(lambda: len(world.ended) == 2)
        await server.watched()
        assert server.system.pubsub.topics() == ["users:alice"]


@on_loop
async def test_a_subscriber_that_ends_while_there_is_no_pubsub_is_forgotten_by_the_next(world: World) -> None:
    async with serving(UserSocket) as server:
        alice = await user(server, "room:1", "room:2")
        channel, pubsub = await alice.channel("room:1"), server.find("pubsub")
        pubsub.kill()
        channel.kill()
        await alice.sees(alice.ended("room:1"))
        await which_children(server.system.ref)
        await server.watched()
        assert sorted(server.system.pubsub.topics()) == ["room:2", "users:alice"]


# The endpoint and its parts


@ENDS
@on_loop
async def test_a_listener_that_dies_is_replaced_and_connections_go_on(
    end: Callable[[ActorRef[Any]], None], world: World
) -> None:
    async with serving(UserSocket) as server:
        alice, port = await user(server, "room:1"), server.endpoint.port
        before, endpoint = await alice.who("room:1"), server.find("endpoint")
        await restarted(server, "listener", "endpoint", end)
        await alice.sees()
        assert await alice.who("room:1") == before
        assert (server.endpoint.port, server.find("endpoint"), world.ended) == (port, endpoint, [])
        bob = await user(server, "room:1", name="bob")
        await bob.push("room:1", "shout", {"n": 1})
        await alice.sees([None, None, "room:1", "shout", {"n": 1}])


@ENDS
@on_loop
async def test_the_connections_supervisor_takes_all_connections_with_it_and_is_replaced(
    end: Callable[[ActorRef[Any]], None], world: World
) -> None:
    async with serving(UserSocket) as server:
        users = [await user(server, "room:1", "permanent:1", name=name) for name in ("alice", "bob")]
        listener, port = server.find("listener"), server.endpoint.port
        before = await users[0].who("room:1")
        await restarted(server, "transports", "endpoint", end)
        codes = [await each.client.closed() for each in users]
        # Killed, it has said nothing to its children; else it has stopped them in good order.
        assert codes == ([NO_CLOSE_FRAME] * 2 if end is kill else [1012] * 2)
        await server.nothing_is_left()
        reason = KILLED if end is kill else Shutdown("draining")
        assert sorted(world.ended, key=str) == sorted([("room:1", reason), ("permanent:1", reason)] * 2, key=str)
        assert world.joins.empty()
        assert (server.find("listener"), server.endpoint.port) == (listener, port)
        alice = await user(server, "room:1")
        assert set((await alice.who("room:1")).values()).isdisjoint(before.values())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, new_event_loop], ids=["asyncio's", "the fastest"])
@ENDS
def test_an_endpoint_that_dies_is_replaced_on_the_same_port(
    end: Callable[[ActorRef[Any]], None], loop: Callable[[], asyncio.AbstractEventLoop], world: World
) -> None:
    async def test() -> None:
        async with serving(UserSocket) as server:
            alice, tcp, port = await user(server, "room:1", "permanent:1"), await server.tcp(), server.endpoint.port
            await tcp.get("/nowhere")
            parts = [server.find(label) for label in ("listener", "transports")]
            pubsub, before = server.find("pubsub"), await alice.who("room:1")
            await restarted(server, "endpoint", "System", end)
            # Whatever it was, phoenix.js connects again after it.
            assert await alice.client.closed() in {1012, NO_CLOSE_FRAME}
            assert await tcp.ended() == b""
            await gone(*parts)
            await server.nothing_is_left()
            assert sorted(topic for topic, _ in world.ended) == ["permanent:1", "room:1"]
            assert world.joins.empty()
            assert (server.endpoint.port, server.find("pubsub")) == (port, pubsub)
            alice = await user(server, "room:1")
            assert set((await alice.who("room:1")).values()).isdisjoint(before.values())

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(limited(test()))


# Too much


@on_loop
async def test_a_listener_that_dies_too_often_ends_its_endpoint_which_is_replaced(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(UserSocket) as server:
        alice, port, endpoint = await user(server, "room:1"), server.endpoint.port, server.find("endpoint")
        for _ in range(3):
            await restarted(server, "listener", "endpoint", crash)
        server.find("listener").exit(RuntimeError("crashed on purpose"))
        assert await alice.client.closed() == 1012
        await gone(endpoint)
        await which_children(server.system.ref)
        assert world.ended == [("room:1", Shutdown("draining"))]
        assert server.endpoint.port == port
        assert server.find("endpoint") is not endpoint
        await user(server, "room:1")
    assert f"{endpoint} gives up: more than 3 restarts within 5 s; the last to end was listener: " in caplog.text


@on_loop
async def test_too_many_restarts_end_the_system_with_a_clear_report(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    body = asyncio.Event()
    clients: list[User] = []
    endpoint = Endpoint({"/socket": UserSocket}, port=0)

    async def run() -> None:
        async with System([endpoint], name="Shop") as system:
            server = Server(endpoint, system, clients_of_the_test)
            clients.append(await user(server, "room:1"))
            for _ in range(3):
                await restarted(server, "pubsub", "Shop", crash)
            server.find("pubsub").exit(RuntimeError("the fourth"))
            await body.wait()

    async with AsyncExitStack() as clients_of_the_test:
        with pytest.raises(SystemDownError) as down:
            await run()
        assert await clients[0].client.closed() == 1012
    assert str(down.value) == "Shop ended: Shutdown(detail='restart intensity reached')"
    assert world.ended == [("room:1", Shutdown("draining"))]
    critical = [record.getMessage() for record in caplog.records if record.levelno >= logging.CRITICAL]
    assert len(critical) == 2
    assert (
        "gives up: more than 3 restarts within 5 s; the last to end was pubsub: RuntimeError: the fourth" in critical[0]
    )
    assert critical[1].startswith("Shop ended unexpectedly")


@on_loop
async def test_an_orderly_stop_tells_all_clients_to_come_back(world: World) -> None:
    async with serving(UserSocket) as server:
        users = [await user(server, "room:1", "permanent:1", name=name) for name in ("alice", "bob")]
        idle = await server.connect()
        await server.system.stop()
        assert [await each.client.closed() for each in users] == [1012, 1012]
        assert await idle.closed() == 1012
        draining = Shutdown("draining")
        assert sorted(world.ended, key=str) == [("permanent:1", draining)] * 2 + [("room:1", draining)] * 2
        assert world.joins.empty()
