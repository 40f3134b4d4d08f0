"""Histories that several nodes share, over a model of Redis that answers late, is cut off, emptied, and taken over.

Whatever happens: a client gets what was recorded from where it was, each once and in order, or it is told that it has not
recovered.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from actors.actor import Actor
from actors.channels.encoding import decoded
from actors.channels.message import Broadcast, NumberedBroadcast, Serializer
from actors.exceptions import UnencodableError
from actors.history.backlog import broadcast_of
from actors.history.history import NOWHERE, History, Position
from actors.lowlevel import spawn
from actors.pubsub.adapter import Adapter
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.pubsub.redis import broken_topics
from actors.pubsub.redis import history_commands as commands
from actors.pubsub.redis.redis_history import RedisHistory
from actors.pubsub.redis.redis_shard import Lost, read_server
from actors.testing.manual_runtime import ManualRuntime
from actors.testing.probe import Probe
from tests.actors.test_redis_pubsub import two_nodes
from tests.servers.redis_server import RedisServer, free_port
from transport.protocol.serializer import V2JSONSerializer

if TYPE_CHECKING:
    from pathlib import Path

    from actors.pubsub.redis.redis_link import RedisLink
    from transport.testing.adapter_contract import ContractNode

TOPIC = "room:1"
HISTORY = History(size=6, ttl=60.0, events=("said",))


class Clients:
    """What clients could join the topic through."""

    has_histories = True

    def serializers(self, topic: str, event: str) -> Collection[Serializer]:
        return [V2JSONSerializer()]

    def history_of(self, topic: str) -> History | None:
        return HISTORY


class ModelServer:
    """What the scripts do, for one topic; all that is published goes to the nodes that are subscribed."""

    def __init__(self, clock: Any) -> None:
        self.clock, self.nodes = clock, cast("list[Node]", [])
        # What its clock is ahead of those of the nodes.
        self.ahead = 1_000.0
        self.runs = count(1)
        self.server_run = b"run 0"
        self.known_run, self.epoch, self.offset, self.began = b"", "", 0, 0
        self.kept: deque[tuple[int, int, bytes]] = deque()
        self.truth: dict[Position, int] = {}

    def now(self) -> int:
        """Return its time in milliseconds."""
        return int((self.clock.now() + self.ahead) * 1000)

    def empty(self) -> None:
        self.epoch = ""

    def take_over(self) -> None:
        """Be another server, which has missed what came last."""
        self.server_run = b"run %d" % next(self.runs)
        if self.kept:
            self.kept.pop()
            self.offset -= 1

    def execute(self, command: tuple[bytes, ...]) -> Any:
        match command[0]:
            case b"SCAN":
                return [b"0", [b"ashtree!topic:{it}", b"ashtree!topic"] if self.epoch else []]
            case b"DEL":
                self.empty()
                return 1
            case b"PING":
                return b"PONG"
        if command[1] == commands._FORGET.encode():
            if self.began <= max(self.now() - int(command[5]), int(command[6])) or self.began > self.now():
                self.empty()
            return 1
        if not self.epoch or self.known_run != self.server_run:
            self.known_run, self.epoch, self.offset = self.server_run, command[6].decode(), 0
            self.began = self.now()
            self.kept.clear()
        elif self.began > self.now():
            self.began = 0
        return self._append(command) if command[1] == commands._APPEND.encode() else self._read(command)

    def _append(self, command: tuple[bytes, ...]) -> Any:
        *_, most, _most_bytes, _publish, _channel, message = command
        self.offset += 1
        self.kept.append((self.offset, self.now(), message))
        while len(self.kept) > int(most):
            self.kept.popleft()
        place = Position(self.epoch, self.offset)
        self.truth[place] = msgspec.json.decode(message.partition(b"\n")[2])["n"]
        self.publish(b'{"epoch":"%b","offset":%d,%b' % (self.epoch.encode(), self.offset, message[1:]))
        return [self.epoch.encode(), self.offset]

    def _read(self, command: tuple[bytes, ...]) -> Any:
        after = int(command[-1]) if command[-2] == self.epoch.encode() else 0
        kept = [[b"%d-0" % at, [b"t", b"%d" % time, b"m", data]] for at, time, data in self.kept if at > after]
        return [self.epoch.encode(), self.offset, self.now(), kept]

    def publish(self, data: bytes) -> None:
        for node in self.nodes:
            if node.is_subscribed:
                node.arriving.append(data)


class Node(Adapter):
    """One process: its PubSub and its connections, whose commands, answers and arrivals wait until they are let through."""

    server_run = b""
    ahead: float | None = None
    sharded = False
    prefix = "ashtree"

    def __init__(self, server: ModelServer, runtime: ManualRuntime, number: int) -> None:
        self.server, self.clock = server, server.clock
        self.history = self.store = RedisHistory(self)
        self.commands: deque[tuple[Any, Any]] = deque()
        self.answers: deque[tuple[Any, Any]] = deque()
        self.arriving: deque[bytes] = deque()
        self.echoes: deque[Callable[[], object]] = deque()
        self.connected = self.is_silent = self.is_subscribed = self.is_wanted = False
        # What joins wait for before they read.
        self.effect: asyncio.Future[None] | None = None
        self.own = PubSub(f"pubsub {number}", self)
        self.process = spawn(PubSubServer, (self.own,), label=f"node {number}", name=self.own.name).process
        runtime.settle()
        self.own.attach_audience(Clients(), self.process)
        server.nodes.append(self)
        self.store.open(cast("RedisLink", self))
        self.connect_again()

    # As an adapter

    def publish(self, topic: str, data: bytes) -> None:
        if self.connected:
            self.ask((b"PUBLISH", data), lambda _: None)

    def subscribed(self, topic: str) -> None:
        self.is_wanted, self.is_subscribed = True, self.connected

    def unsubscribed(self, topic: str) -> None:
        self.is_wanted = self.is_subscribed = False
        self.store.unsubscribed(topic)

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        return self.effect

    def lost(self, messages: int) -> None:
        self.pubsub.lost(messages)

    def channel(self, topic: str) -> bytes:
        return topic.encode()

    # As its actor, and as the shard

    def shard_of(self, _channel: bytes) -> Node:
        return self

    @property
    def shards(self) -> list[Node]:
        return [self]

    def takes(self, _size: int) -> bool:
        return self.connected

    def can_ask(self, _size: int) -> bool:
        return self.connected and not self.is_silent

    def ask(self, command: tuple[bytes, ...], on_answer: Callable[[Any], object]) -> None:
        self.commands.append((command, on_answer))

    def after_arrivals(self, call: Callable[[], object]) -> None:
        self.echoes.append(call)
        self.ask((b"PUBLISH", b"", b"echo"), lambda _: None)

    def echo(self) -> None:
        if self.echoes:
            self.echoes.popleft()()

    def log_refusal(self, _what: str, _error: Exception) -> None: ...

    # What happens to it

    def execute(self) -> None:
        if self.commands:
            command, on_answer = self.commands.popleft()
            answer: Any = 1
            if command[-1] == b"echo":
                self.arriving.append(b"echo")
            elif command[0] == b"PUBLISH":
                self.server.publish(command[1])
            else:
                answer = self.server.execute(command)
            self.answers.append((answer, on_answer))

    def answer(self) -> None:
        if self.answers:
            answer, on_answer = self.answers.popleft()
            was_silent, self.is_silent = self.is_silent, False
            if was_silent:
                self.store.changed(lambda _: True)
            on_answer(answer)

    def arrive(self) -> None:
        arrived = self.arriving.popleft() if self.arriving else None
        if arrived == b"echo":
            self.echo()
        elif arrived is not None:
            self.pubsub.receive(TOPIC, arrived)

    def disconnect(self) -> None:
        asked = [on_answer for _, on_answer in (*self.answers, *self.commands)]
        if self.server.nodes and random.Random(len(asked)).random() < 0.5:  # noqa: S311
            # They were on their way, and are executed all the same.
            while self.commands:
                self.execute()
        self.answers.clear()
        self.commands.clear()
        self.arriving.clear()
        self.connected = self.is_silent = self.is_subscribed = False
        self.store.changed(lambda _: True)
        for on_answer in asked:
            on_answer(Lost("the connection is lost"))
        while self.echoes:
            self.echo()

    def connect_again(self) -> None:
        self.connected, self.server_run, self.ahead = True, self.server.server_run, self.server.ahead
        self.is_subscribed = self.is_wanted
        self.store.changed(lambda _: True)

    def let_all_through(self) -> bool:
        has_any = bool(self.commands or self.answers or self.arriving)
        while self.commands:
            self.execute()
        while self.arriving:
            self.arrive()
        while self.answers:
            self.answer()
        return has_any


class Subscriber(Actor):
    """One join of a client, by the rules of a channel."""

    def __init__(self, client: Client, node: Node) -> None:
        self.client, self.pubsub = client, node.own

    def on_start(self) -> None:
        self.send(self, "join")

    async def on_receive(self, message: Any) -> None:
        if message == "join":
            await self.join()
        elif isinstance(message, NumberedBroadcast):
            self.client.numbered(self, message.offset, None if message.is_own else message.broadcast.payload["n"])
        elif isinstance(message, Broadcast):
            self.client.heard.add(message.payload["n"])

    async def join(self) -> None:
        history, position = self.pubsub.history, self.client.position
        preparing = history.prepare(TOPIC, HISTORY, position)
        async with self.pubsub.held(TOPIC):
            if preparing is not None:
                await preparing
            if self.client.subscriber is not self.actor_ref:
                return
            found = history.recover(TOPIC, HISTORY, position)
            self.pubsub.subscribe(TOPIC, self.actor_ref, offsets=True)
        self.client.joined(found.position, recovered=found.recovered)
        for kept in found.missed:
            self.client.numbered(self, kept.offset, decoded(broadcast_of(kept, TOPIC)).payload["n"])


class Client:
    def __init__(self, world: World) -> None:
        self.world, self.position, self.subscriber = world, NOWHERE, cast("Any", None)
        self.runs: list[tuple[Position, list[tuple[int, int | None]]]] = []
        # Of what was said since the last run has begun, with an offset or without.
        self.heard: set[int] = set()
        self.since = 0
        self.node = world.nodes[0]

    def join(self) -> None:
        self.leave()
        self.node = self.world.random.choice(self.world.nodes)
        self.subscriber = Subscriber.start(self, self.node)

    def leave(self) -> None:
        if self.subscriber is not None:
            self.subscriber.kill()
            self.subscriber = None

    def joined(self, position: Position, *, recovered: bool) -> None:
        if not recovered:
            self.position = position
            self.runs.append((position, []))
            self.heard, self.since = set(), self.world.said

    def numbered(self, subscriber: Subscriber, offset: int, number: int | None) -> None:
        if self.subscriber is not subscriber.actor_ref:
            return
        if offset != self.position.offset + 1:
            self.join()
            return
        self.position = self.position._replace(offset=offset)
        self.runs[-1][1].append((offset, number))
        if number is not None:
            self.heard.add(number)


class World:
    def __init__(self, runtime: ManualRuntime, seed: int) -> None:
        self.runtime, self.random = runtime, random.Random(seed)  # noqa: S311
        self.server = ModelServer(runtime.clock)
        self.nodes = [Node(self.server, runtime, number) for number in range(2)]
        self.clients = [Client(self) for _ in range(3)]
        self.said = 0
        self.by_node: dict[int, Node] = {}
        # Those that do not recover.
        self.others = [Probe() for _ in self.nodes]
        for node, other in zip(self.nodes, self.others, strict=True):
            if self.random.random() < 0.5:
                node.own.subscribe(TOPIC, other.ref)

    def step(self) -> None:
        chance, node, client = self.random, self.random.choice(self.nodes), self.random.choice(self.clients)
        acts: list[tuple[int, Callable[[], object]]] = [
            (10, node.execute),
            (10, node.answer),
            (10, node.arrive),
            (6, lambda: self.say(node)),
            (4, client.join),
            (1, client.leave),
            (1, lambda: self.runtime.advance(chance.choice((0.3, 1.1, 9.0)))),
            (1, lambda: node.disconnect() if node.connected else node.connect_again()),
            (1, self.set_clock),
            (3, lambda: None if node.connected else node.connect_again()),
        ]
        if chance.random() < 0.02:
            acts = [(1, self.server.empty), (1, self.take_over)]
        weights = [weight for weight, _ in acts]
        chance.choices([act for _, act in acts], weights)[0]()
        self.runtime.settle()

    def take_over(self) -> None:
        self.server.take_over()
        for node in self.nodes:
            node.disconnect()

    def set_clock(self) -> None:
        """Set the clock of Redis."""
        self.server.ahead += self.random.choice((-3600.0, -9.0, -1.0, 1.0, 9.0, 3600.0))

    def say(self, node: Node) -> None:
        self.said += 1
        self.by_node[self.said] = node
        node.own.broadcast(TOPIC, Broadcast(TOPIC, "said", {"n": self.said}))

    def settle(self) -> None:
        for _ in range(100):
            self.runtime.settle()
            if not sum(node.let_all_through() for node in self.nodes):
                return
        raise AssertionError("it does not come to rest")

    def heal(self) -> None:
        for node in self.nodes:
            if not node.connected:
                node.connect_again()
        self.settle()
        self.runtime.advance(1.1)
        self.settle()
        for client in self.clients:
            if client.subscriber is None:
                client.join()
        self.settle()
        # One more of each node shows every gap.
        for node in self.nodes:
            self.say(node)
        self.settle()
        for client in self.clients:
            client.join()
        self.settle()

    def check(self) -> None:
        top = Position(self.server.epoch, self.server.offset)
        for other in self.others:
            heard = [message.payload["n"] for message in other.messages]
            assert len(heard) == len(set(heard)), heard
        for client in self.clients:
            assert client.position == top, (client.position, top)
            # All have just joined again.
            missed = set(range(client.since + 1, self.said + 1)) - client.heard
            assert not missed, missed
            for (epoch, start), got in client.runs:
                seen = [number for _, number in got]
                assert len(seen) == len(set(seen)), seen
                # A join while Redis is out of reach is answered without an epoch.
                if epoch:
                    assert [offset for offset, _ in got] == list(range(start + 1, start + 1 + len(got)))
                    self.check_run(epoch, got)

    def check_run(self, epoch: str, got: list[tuple[int, int | None]]) -> None:
        for offset, number in got:
            if number is not None and self.server.truth.get(Position(epoch, offset)) != number:
                # It was at 0, and another epoch has begun: nothing of either was missed.
                assert offset == 1
                break


def story(seed: int) -> None:
    with ManualRuntime() as runtime:
        world = World(runtime, seed)
        for _ in range(world.random.randint(20, 120)):
            world.step()
        world.heal()
        world.check()
        for client in world.clients:
            client.leave()
        runtime.settle()


@pytest.mark.parametrize("part", range(12))
def test_what_a_client_gets_is_whole_or_it_is_told(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if part >= 10:
        # Too many topics are broken to be remembered one by one.
        monkeypatch.setattr(broken_topics, "_MOST", 0)
    for seed in range(part * 100, part * 100 + 100):
        try:
            story(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.fixture
def world(runtime: ManualRuntime) -> Iterator[World]:
    world = World(runtime, 0)
    yield world
    for client in world.clients:
        client.leave()
    runtime.settle()


def joined(world: World, node: Node, position: Position = NOWHERE) -> Client:
    """Return a client that joins at a node."""
    client = Client(world)
    world.clients.append(client)
    client.node, client.position = node, position
    client.subscriber = Subscriber.start(client, node)
    world.runtime.settle()
    return client


def test_what_is_on_its_way_when_the_first_client_recovers_reaches_the_others(world: World) -> None:
    here, there = world.nodes
    others = Probe()
    there.own.subscribe(TOPIC, others.ref)
    world.runtime.settle()
    world.say(here)
    here.execute()
    client = joined(world, there)
    # It reads what has been published, before that arrives.
    while there.commands or there.answers:
        there.execute()
        there.answer()
        world.runtime.settle()
    world.settle()
    assert others.messages == [Broadcast(TOPIC, "said", {"n": 1})]
    assert client.runs == [(Position(world.server.epoch, 1), [])]


def test_a_client_that_has_had_nothing_is_told_that_it_has_missed_something(world: World) -> None:
    here, there = world.nodes
    client = joined(world, there)
    world.settle()
    before = world.server.epoch
    here.disconnect()
    world.say(here)
    here.connect_again()
    world.settle()
    world.say(here)
    world.settle()
    # The next epoch begins with the offset that it expects.
    assert client.runs[0] == (Position(before, 0), [(1, 2)])
    assert client.runs[1][0] == client.position == Position(world.server.epoch, 1)
    assert world.server.epoch != before


def test_a_client_that_joins_while_redis_is_away_has_a_position_afterwards(world: World) -> None:
    here, there = world.nodes
    there.disconnect()
    client = joined(world, there)
    world.runtime.advance(1.1)
    assert client.runs == [(NOWHERE, [])]
    there.connect_again()
    world.settle()
    world.say(here)
    world.settle()
    assert client.runs[-1][0] == client.position == Position(world.server.epoch, 1)


@pytest.mark.parametrize(("said", "missed"), [(2, 0), (HISTORY.size, 0), (HISTORY.size + 3, 3)])
def test_what_is_read_later_is_not_missed(world: World, said: int, missed: int) -> None:
    here, there = world.nodes
    client = joined(world, there)
    world.say(here)
    world.settle()
    there.disconnect()
    for _ in range(said):
        world.say(here)
    here.own.broadcast(TOPIC, Broadcast(TOPIC, "typing", {"n": 0}))
    world.settle()
    there.connect_again()
    world.settle()
    world.say(here)
    world.settle()
    assert client.position.offset == said + 2
    assert there.own.relay.counts.missed == missed
    here.own.broadcast(TOPIC, Broadcast(TOPIC, "typing", {"n": 0}))
    world.settle()
    assert there.own.relay.counts.missed == missed


def test_what_is_missing_in_a_later_epoch_ends_that_too(world: World) -> None:
    here, there = world.nodes
    joined(world, here)
    world.settle()
    here.disconnect()
    world.say(here)
    # Another epoch begins, in which a client is when there is another broadcast that does not reach it.
    world.server.empty()
    world.say(there)
    client = joined(world, there)
    world.settle()
    position = client.position
    world.say(here)
    here.connect_again()
    world.settle()
    again = joined(world, there, position)
    world.settle()
    assert again.position.epoch not in {position.epoch, ""}


def test_an_epoch_that_has_begun_since_is_not_ended(world: World) -> None:
    here, there = world.nodes
    joined(world, here)
    world.settle()
    here.disconnect()
    world.say(here)
    world.runtime.advance(0.5)
    world.server.empty()
    client = joined(world, there)
    world.settle()
    world.runtime.advance(0.5)
    here.connect_again()
    world.settle()
    assert client.position.epoch == world.server.epoch


def test_an_epoch_ends_even_if_the_clock_of_redis_is_set_back_over_its_beginning(world: World) -> None:
    here, there = world.nodes
    client = joined(world, there)
    world.settle()
    world.runtime.advance(5.0)
    here.disconnect()
    world.say(here)
    world.runtime.advance(7.0)
    world.server.ahead -= 9.0
    here.connect_again()
    world.settle()
    again = joined(world, there, client.position)
    world.settle()
    assert again.position.epoch not in {client.runs[0][0].epoch, ""}


@pytest.mark.parametrize("subscribed_after", [0.0, 0.5])
def test_a_join_waits_a_second_for_its_subscription_and_for_what_is_kept(world: World, subscribed_after: float) -> None:
    here = world.nodes[0]
    effect = here.effect = here.own.scheduler.loop.create_future()
    client = joined(world, here)
    world.runtime.advance(subscribed_after)
    effect.set_result(None)
    world.runtime.settle()
    world.runtime.advance(0.9 - subscribed_after)
    assert client.runs == []
    world.runtime.advance(0.1)
    assert client.runs == [(NOWHERE, [])]
    # A server that had less time is not given up: that would end the epoch at the next broadcast.
    assert here.is_silent == (subscribed_after == 0.0)


def test_a_join_whose_subscription_takes_a_second_does_not_wait_for_what_is_kept(world: World) -> None:
    here = world.nodes[0]
    here.effect = here.own.scheduler.loop.create_future()
    client = joined(world, here)
    world.runtime.advance(1.0)
    assert client.runs == [(NOWHERE, [])]
    assert not here.is_silent
    here.effect.set_result(None)
    world.say(here)
    world.settle()
    # It sees a gap by the next broadcast, and joins again.
    assert client.position == Position(world.server.epoch, 1)


def test_the_epoch_is_ended_even_if_the_process_dies_before_a_frozen_server_answers(world: World) -> None:
    here, there = world.nodes
    client = joined(world, there)
    world.settle()
    world.say(here)
    world.runtime.advance(1.1)
    assert here.is_silent
    # It is not recorded any more. What has been written reaches the server all the same.
    world.say(here)
    for _ in range(len(here.commands)):
        here.execute()
    here.answers.clear()
    world.server.nodes.remove(here)
    world.nodes.remove(here)
    again = joined(world, there, client.position)
    world.settle()
    assert again.position.epoch not in {client.runs[0][0].epoch, ""}


# With a real Redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextmanager
def two_rooms(url: str) -> Iterator[tuple[ContractNode, ContractNode]]:
    """Run two nodes that keep the history of the topic."""
    with two_nodes(url) as nodes:
        for node in nodes:
            node.connected()
            node.call(node.pubsub.attach_audience, Clients(), node.system.ref.process)
        yield nodes


def said(number: int, event: str = "said") -> Broadcast:
    return Broadcast(TOPIC, event, {"n": number})


def publish_all(node: ContractNode, sent: list[Broadcast]) -> None:
    for each in sent:
        node.pubsub.broadcast(TOPIC, each)


def counts(node: ContractNode) -> tuple[int, int]:
    found = node.pubsub.history.counts
    return node.call(lambda: (found.recorded, found.unrecorded))  # type: ignore[no-any-return]


@pytest.mark.usefixtures("background")
def test_what_one_publishes_is_in_order_with_and_without_an_offset(server: RedisServer) -> None:
    with two_rooms(server.url) as (one, two):
        here, there = one.subscriber(TOPIC), two.subscriber(TOPIC)
        sent = [said(number, "said" if number % 3 else "typing") for number in range(30)]
        one.call(publish_all, one, sent)
        for probe in (here, there):
            for each in sent:
                probe.assert_receive(each)
        assert counts(one) == (20, 0)


@pytest.mark.usefixtures("background")
def test_what_the_clock_of_the_server_shows_is_known(server: RedisServer) -> None:
    with two_rooms(server.url) as (one, _):
        link = cast("Any", one.pubsub.adapter)._link
        seconds, microseconds = server.ask("TIME")
        shows = int(seconds) + int(microseconds) / 1e6
        # It had connected before, and takes the latest time that is possible.
        assert shows - 1.0 < link.clock.now() + link.shards[0].ahead < shows + 10.0


def test_a_server_that_does_not_say_what_it_is_has_no_run_and_no_time() -> None:
    assert read_server(b"redis_version:7.0.0\r\nrun_id:4f\r\nserver_time_usec:1500000\r\n") == (b"4f", 1.5)
    assert read_server(b"run_id:4f\r\n") == (b"4f", None)
    assert read_server(b"") == (b"", None)


@pytest.mark.usefixtures("background")
def test_broadcast_from_and_bytes_are_recorded_too(server: RedisServer) -> None:
    with two_rooms(server.url) as (one, two):
        here, other, there = one.subscriber(TOPIC), one.subscriber(TOPIC), two.subscriber(TOPIC)
        one.pubsub.broadcast_from(here.ref, TOPIC, said(1))
        one.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "said", b"\0bytes"))
        for probe in (other, there):
            probe.assert_receive(said(1))
            probe.assert_receive(Broadcast(TOPIC, "said", b"\0bytes"))
        here.assert_receive(Broadcast(TOPIC, "said", b"\0bytes"))


@pytest.mark.usefixtures("background")
def test_what_cannot_be_encoded_is_an_error_of_its_sender_and_takes_no_offset(server: RedisServer) -> None:
    with two_rooms(server.url) as (one, _):
        here = one.subscriber(TOPIC)
        with pytest.raises(UnencodableError, match="payload of 'said' on 'room:1'"):
            one.call(one.pubsub.broadcast, TOPIC, Broadcast(TOPIC, "said", {"n": object()}))
        one.pubsub.broadcast(TOPIC, said(1))
        here.assert_receive(said(1))
        assert counts(one) == (1, 0)


@pytest.mark.usefixtures("background")
def test_a_redis_that_is_full_passes_broadcasts_on_without_recording_them(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, two_rooms(server.url) as (one, two):
        here, there = one.subscriber(TOPIC), two.subscriber(TOPIC)
        for number, memory in enumerate((0, 1, 0)):
            server.ask("CONFIG", "SET", "maxmemory", memory)
            one.pubsub.broadcast(TOPIC, said(number))
            here.assert_receive(said(number))
            there.assert_receive(said(number))
        # The epoch in which it is missing has ended.
        assert server.ask("HGET", f"ashtree!topic:{{ashtree:{TOPIC}}}", "offset") == b"1"
        assert counts(one) == (2, 1)


@pytest.mark.parametrize("forbidden", ["-eval", "-info"])
@pytest.mark.usefixtures("background")
def test_a_user_of_redis_without_scripts_has_no_history_and_broadcasts_all_the_same(
    tmp_path: Path, forbidden: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path, port=free_port()) as server:
        server.ask("ACL", "SETUSER", "ann", "on", ">secret", "+@all", "~*", "&*", forbidden)
        with two_rooms(f"redis://ann:secret@127.0.0.1:{server.port}") as (one, two):
            here, there = one.subscriber(TOPIC), two.subscriber(TOPIC)
            for number in range(3):
                one.pubsub.broadcast(TOPIC, said(number))
            for number in range(3):
                here.assert_receive(said(number))
                there.assert_receive(said(number))
            assert counts(one) == (0, 3)
    assert "no permission" in caplog.text.lower()
