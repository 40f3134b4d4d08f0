"""Pushes with a key that several nodes share, over a model of Redis that answers late, is cut off, and loses processes.

Whatever happens: a push is handled once at most, each of its answers is that of its handler or an honest error, and in the end
there is one.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from actors.channels.channel_socket import ChannelSocket
from actors.channels.message import Message, Reply, ok
from actors.idempotency.idempotency import Idempotency
from actors.idempotency.keyed_pushes import KeyedPushes
from actors.idempotency.push_logs import Claimant, PushLogs
from actors.idempotency.push_store import SharedPush, StoreUnavailableError
from actors.pubsub.push_inquiry import PushInquiry
from actors.pubsub.redis import push_commands, redis_pushes
from actors.pubsub.redis.redis_pushes import RedisPushes
from actors.pubsub.redis.redis_shard import Lost
from actors.pubsub.requests import PeerAnswer, UnreachableError
from actors.testing.manual_runtime import ManualRuntime
from actors.testing.probe import Probe

if TYPE_CHECKING:
    from actors.pubsub.redis.redis_link import RedisLink
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler

TOPIC = "room:1"
OPTIONS = Idempotency(ttl=300.0, size=1_000, max_bytes=100_000)


class ModelServer:
    """What the scripts do, without bounds and expiry."""

    def __init__(self) -> None:
        self.known: dict[tuple[bytes, bytes], bytes] = {}

    def execute(self, command: tuple[bytes, ...]) -> Any:
        if command[0] == b"HGET":
            return self.known.get((command[1], command[2]))
        # The text of the scripts is sent each time, so they need not be there.
        assert command[0] == b"EVAL"
        place, own = (command[3], command[5]), command[10]
        if command[1] == push_commands._CLAIM.encode():
            return self._claim(place, own)
        return self._answer(place, own, command[11])

    def _claim(self, place: tuple[bytes, bytes], own: bytes) -> bytes | None:
        before = self.known.get(place)
        self.known.setdefault(place, b"?17 " + own)
        return before

    def _answer(self, place: tuple[bytes, bytes], own: bytes, answer: bytes) -> int:
        if self.known.get(place) != b"?17 " + own:
            return 0
        if answer:
            self.known[place] = b"=17 " + answer
        else:
            del self.known[place]
        return 1


class Node:
    """One process, and its connection: commands and answers wait until they are let through.

    It stands for the PubSub, its adapter, the relay, the link and the shard.
    """

    prefix = "ashtree"

    def __init__(self, server: ModelServer, scheduler: Scheduler, nodes: dict[str, Node], run: str) -> None:
        self.server, self.scheduler, self.nodes, self.run = server, scheduler, nodes, run
        self.commands: deque[tuple[tuple[bytes, ...], Callable[[Any], object]]] = deque()
        self.answers: deque[tuple[Any, Callable[[Any], object]]] = deque()
        self.connected, self.is_silent, self.is_alive = True, False, True
        self.refused: list[Exception] = []
        self.store = RedisPushes(self)
        self.store.linked(cast("RedisLink", self))
        self.logs = PushLogs()
        self.inquiry = PushInquiry(cast("Any", Handling(self)))
        nodes[run] = self

    # As its adapter

    def channel(self, topic: str) -> bytes:
        return topic.encode()

    # As its link and shard

    def shard_of(self, _channel: bytes) -> Node:
        return self

    def can_ask(self, _size: int) -> bool:
        return self.is_alive and self.connected and not self.is_silent

    def ask_server(self, command: tuple[bytes, ...], on_answer: Callable[[Any], object]) -> None:
        self.commands.append((command, on_answer))

    def log_refusal(self, _what: str, error: Exception) -> None:
        self.refused.append(error)

    # As its peers

    def serve(self, _name: str, service: Any) -> None:
        self.service = service

    def may_be_alive(self, run: str) -> bool:
        return self.nodes[run].is_alive

    async def ask_peer(self, run: str, about: dict[str, Any]) -> PeerAnswer:
        other = self.nodes[run]
        if not (other.is_alive and other.connected and self.connected):
            raise UnreachableError("it has ended")
        answer = other.service(about, b"")
        found: PeerAnswer = await answer if isawaitable(answer) else answer
        if not other.is_alive:
            raise UnreachableError("it has ended")
        return found

    def ask(self, first: Any, second: Any, about: Any = None, **_: Any) -> Any:
        return self.ask_server(first, second) if about is None else self.ask_peer(first, about)

    # What happens to it

    def execute(self) -> None:
        if self.commands:
            command, on_answer = self.commands.popleft()
            self.answers.append((self.server.execute(command), on_answer))

    def answer(self) -> None:
        if self.answers:
            answer, on_answer = self.answers.popleft()
            if self.is_silent:
                self.is_silent = False
                self.store.changed(lambda _: True)
            on_answer(answer)

    def disconnect(self, executed: int) -> None:
        for _ in range(min(executed, len(self.commands))):
            self.execute()
        asked = [on_answer for _, on_answer in (*self.answers, *self.commands)]
        self.answers.clear()
        self.commands.clear()
        self.connected = self.is_silent = False
        for on_answer in asked:
            on_answer(Lost("the connection is lost"))

    def connect_again(self) -> None:
        self.connected = True
        self.store.changed(lambda _: True)

    def die(self, executed: int) -> None:
        for _ in range(min(executed, len(self.commands))):
            self.execute()
        self.is_alive = self.connected = False
        self.store.linked(None)
        self.commands.clear()
        self.answers.clear()


class Handling:
    """The PubSub as `PushInquiry` sees it."""

    def __init__(self, node: Node) -> None:
        self.peers, self.pushes, self.scheduler = node, node.logs, node.scheduler
        self.adapter = ModelAdapter(node.store)


class ModelPubSub:
    """The PubSub as `KeyedPushes` sees it."""

    def __init__(self, node: Node) -> None:
        self.pushes, self.relay, self.inquiry = node.logs, node, node.inquiry
        self.adapter = ModelAdapter(node.store)


class ModelAdapter:
    def __init__(self, store: RedisPushes) -> None:
        self.pushes = store


class Owner:
    """The actor of a channel, as far as `KeyedPushes` uses it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.at_end: list[Callable[[], object]] = []

    def own(self, close: Callable[[], object]) -> None:
        self.at_end.append(close)


class Encoder:
    """Hands replies on as they are."""

    def encode_reply(self, _join_ref: object, ref: object, _topic: str, reply: Reply) -> Any:
        return (ref, reply)


class Join:
    """One channel of a client, which handles one push at a time."""

    def __init__(self, world: World, client: Client, node: Node) -> None:
        self.world, self.client, self.node = world, client, node
        self.owner = Owner(node.scheduler)
        socket = ChannelSocket(
            client.probe.ref, cast("Any", Encoder()), cast("Any", ModelPubSub(node)), TOPIC, "1", {}, client.name
        )
        self.pushes = KeyedPushes(socket, OPTIONS, cast("Process", self.owner))
        self.task: asyncio.Task[None] | None = None
        self.returned: asyncio.Future[str] | None = None

    @property
    def is_idle(self) -> bool:
        return self.task is None or self.task.done()

    def push(self, message: Message) -> None:
        self.task = self.node.scheduler.loop.create_task(self._handle(message))

    async def _handle(self, message: Message) -> None:
        taken = self.pushes.take(message)
        taken = await taken if isinstance(taken, Coroutine) else taken
        if taken is None:
            return
        number = cast("Any", taken.payload)["n"]
        self.world.handled[number] += 1
        self.world.by[number] = self.node
        self.returned = asyncio.get_running_loop().create_future()
        if await self.returned == "crash":
            self.world.failed.add(number)
            self.end()
        else:
            result = cast("Reply", self.pushes.answered(ok({"done": number})))
            self.client.probe.ref.send((message.ref, result))

    def end(self) -> None:
        """End the channel, as it crashes, is killed, or its client has gone."""
        for close in self.owner.at_end:
            close()
        if self.task is not None and self.returned is not None and not self.returned.done():
            self.world.failed.add(self.client.number)
        if self.task is not None and self.task is not asyncio.tasks.current_task(self.node.scheduler.loop):
            self.task.cancel()


class Client:
    """Pushes one number after the other, each until it is answered, over whichever node it is connected to."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.probe = world, name, Probe()
        self.number, self.answer = 0, cast("Reply | None", None)
        self.joins: list[Join] = []
        self.answers: list[tuple[int, Reply]] = []
        self.refs = 0
        self.by_ref: dict[object, int] = {}
        self.next()

    def next(self) -> None:
        self.world.pushed += 1
        self.number = self.world.pushed

    def join(self, node: Node) -> None:
        """Connect anew; the channel of the connection before may not have noticed yet."""
        if node.is_alive:
            self.joins.append(Join(self.world, self, node))

    def push(self) -> None:
        """Send the push, or a copy of it."""
        if self.joins and self.joins[-1].is_idle and self.joins[-1].node.is_alive:
            self.refs += 1
            self.by_ref[self.refs] = self.number
            payload = {"n": self.number, "@key": f"key {self.number}"}
            self.joins[-1].push(Message("1", self.refs, TOPIC, "say", payload))

    def hear(self) -> None:
        """Take the answers that have come, and go on with another push if it is answered."""
        for ref, reply in self.probe.messages:
            self.answers.append((self.by_ref[ref], reply))
        self.probe.messages.clear()
        if any(number == self.number and not is_later(reply) for number, reply in self.answers):
            self.next()


def is_later(reply: Reply) -> bool:
    return isinstance(reply.payload, dict) and "@retry" in reply.payload


class World:
    def __init__(self, runtime: ManualRuntime, seed: int) -> None:
        self.runtime, self.random = runtime, random.Random(seed)  # noqa: S311
        self.server, self.pushed, self.runs = ModelServer(), 0, 0
        self.handled: Counter[int] = Counter()
        self.by: dict[int, Node] = {}
        self.failed: set[int] = set()
        self.all: dict[str, Node] = {}
        self.clients = [Client(self, name) for name in ("ann", "bob")]
        self.scheduler = self.clients[0].probe.ref.process.scheduler
        self.nodes = [self.node() for _ in range(2)]

    def node(self) -> Node:
        self.runs += 1
        return Node(self.server, self.scheduler, self.all, f"run {self.runs}")

    def step(self) -> None:
        chance, number, client = self.random, self.random.randrange(2), self.random.choice(self.clients)
        node = self.nodes[number]
        acts: list[tuple[float, Callable[[], object]]] = [
            (10, node.execute),
            (10, node.answer),
            (8, client.push),
            (8, lambda: self.handle(client, "return")),
            (4, lambda: client.join(node)),
            (0.5, lambda: self.handle(client, "crash")),
            (1, lambda: chance.choice(client.joins).end() if client.joins else None),
            (1, lambda: node.disconnect(chance.randrange(4)) if node.connected else node.connect_again()),
            (3, lambda: None if node.connected else node.connect_again()),
            (0.5, lambda: setattr(node, "is_silent", bool(node.commands or node.answers))),
            (0.7, lambda: self.replace(number)),
            (1, lambda: self.runtime.advance(chance.choice((0.3, 1.1, 9.0)))),
        ]
        chance.choices([act for _, act in acts], [weight for weight, _ in acts])[0]()
        self.settle()

    def handle(self, client: Client, how: str) -> None:
        """Let a handler of the client return."""
        for join in client.joins:
            if join.node.is_alive and join.returned is not None and not join.returned.done():
                join.returned.set_result(how)
                return

    def replace(self, number: int) -> None:
        """Kill a process; another one takes its place."""
        self.nodes[number].die(self.random.randrange(4))
        for client in self.clients:
            for join in client.joins:
                if join.node is self.nodes[number] and join.task is not None:
                    join.task.cancel()
        self.nodes[number] = self.node()

    def settle(self) -> None:
        self.runtime.settle()
        for client in self.clients:
            client.hear()

    def heal(self) -> None:
        """Let all go well, until each client has an answer to what it pushes now."""
        wanted = {client: client.number for client in self.clients}
        for _ in range(60):
            for node in self.nodes:
                if not node.connected:
                    node.connect_again()
                while node.commands or node.answers:
                    node.execute()
                    node.answer()
            for client in self.clients:
                self.handle(client, "return")
                if client.number == wanted[client]:
                    client.join(self.random.choice(self.nodes))
                    client.push()
            self.runtime.advance(3.0)
            self.settle()
        for client, number in wanted.items():
            assert client.number > number, f"{client.name} gets no answer to {number}"

    def check(self) -> None:
        assert max(self.handled.values(), default=0) <= 1, self.handled
        assert not any(node.refused for node in self.all.values())
        for client in self.clients:
            for number, reply in client.answers:
                self.check_answer(number, reply)

    def check_answer(self, number: int, reply: Reply) -> None:
        match reply.payload:
            case {"done": done}:
                assert (done, self.handled[number]) == (number, 1)
            case {"reason": "handling failed"}:
                assert number in self.failed
            case {"reason": "outcome unknown"}:
                # Its process has ended.
                assert self.runs > len(self.nodes)
                assert number not in self.by or not self.by[number].is_alive
            case _:
                assert is_later(reply) or reply.payload == {"reason": "in progress"}, reply

    def close(self) -> None:
        for client in self.clients:
            for join in client.joins:
                join.end()
        self.runtime.settle()


def story(seed: int) -> None:
    with ManualRuntime() as runtime:
        world = World(runtime, seed)
        for _ in range(world.random.randint(20, 150)):
            world.step()
        world.heal()
        world.check()
        world.close()


@pytest.mark.parametrize("part", range(8))
def test_a_push_is_handled_once_at_most_and_its_answers_are_true(part: int) -> None:
    for seed in range(part * 50, part * 50 + 50):
        try:
            story(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


class Alone:
    """One node; a coroutine of its store runs until it waits for Redis."""

    def __init__(self, runtime: ManualRuntime) -> None:
        self.runtime, self.server = runtime, ModelServer()
        self.node = Node(self.server, Probe().ref.process.scheduler, {}, "run 1")
        self.store = self.node.store

    def push(self, key: str = "k", run: str = "run 1") -> SharedPush:
        return SharedPush(Claimant(TOPIC, "ann"), key, b"digest", run)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.node.scheduler.loop.create_task(work)
        self.runtime.settle()
        return task

    def let_through(self) -> None:
        while self.node.commands or self.node.answers:
            self.node.execute()
            self.node.answer()
        self.runtime.settle()

    def claim(self, key: str = "k", options: Idempotency = OPTIONS) -> Callable[[Reply], object]:
        task = self.start(self.store.claim(self.push(key), options))
        self.let_through()
        return cast("Callable[[Reply], object]", task.result())

    def found(self, key: str = "k") -> SharedPush | None:
        task = self.start(self.store.find(self.push(key, "run 2")))
        self.let_through()
        found: SharedPush | None = task.result()
        return found


@pytest.fixture
def alone(runtime: ManualRuntime) -> Alone:
    return Alone(runtime)


def kept(text: str) -> Reply:
    return Reply("ok", msgspec.Raw(f'"{text}"'.encode()))


def test_an_answer_that_is_too_large_is_not_kept_but_that_it_was_handled_is(alone: Alone) -> None:
    alone.claim(options=Idempotency(max_bytes=100))(kept("x" * 100))
    alone.let_through()
    found = alone.found()
    assert found is not None
    assert found.answer == Reply("error", msgspec.Raw())


def test_answers_that_cannot_be_written_wait_up_to_a_bound(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_pushes, "_MOST_UNWRITTEN", 2)
    keeps = [alone.claim(str(number)) for number in range(4)]
    alone.node.disconnect(0)
    for number, keep in enumerate(keeps):
        keep(kept(f"answer {number}"))
    assert [alone.store.is_unsettled(Claimant(TOPIC, "ann"), str(number)) for number in range(4)] == [0, 0, 1, 1]
    alone.node.connect_again()
    alone.let_through()
    answers = [cast("SharedPush", alone.found(str(number))).answer for number in range(4)]
    assert answers == [None, None, kept("answer 2"), kept("answer 3")]
    assert not alone.store.is_unsettled(Claimant(TOPIC, "ann"), "3")


def test_the_bytes_of_what_waits_are_bounded_too(alone: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_pushes, "_MOST_UNWRITTEN_BYTES", 6_000)
    keeps = [alone.claim(str(number)) for number in range(2)]
    alone.node.disconnect(0)
    for keep in keeps:
        keep(kept("x" * 2_000))
    alone.node.connect_again()
    alone.let_through()
    assert [cast("SharedPush", alone.found(key)).answer is None for key in "01"] == [True, False]


@pytest.mark.parametrize("executed", [0, 1])
def test_a_claim_whose_answer_is_lost_is_undone(alone: Alone, executed: int) -> None:
    claiming = alone.start(alone.store.claim(alone.push(), OPTIONS))
    assert alone.store.is_unsettled(*alone.push()[:2])
    alone.node.disconnect(executed)
    alone.runtime.settle()
    assert isinstance(claiming.exception(), StoreUnavailableError)
    assert alone.store.is_unsettled(*alone.push()[:2])
    alone.node.connect_again()
    alone.let_through()
    assert alone.found() is None
    assert not alone.store.is_unsettled(*alone.push()[:2])


@pytest.mark.parametrize("answers", [0, 1])
def test_a_claim_that_is_not_waited_for_any_more_is_undone(alone: Alone, answers: int) -> None:
    claiming = alone.start(alone.store.claim(alone.push(), OPTIONS))
    alone.node.execute()
    for _ in range(answers):
        alone.node.answer()
    claiming.cancel()
    alone.runtime.settle()
    assert claiming.cancelled()
    assert alone.store.is_unsettled(*alone.push()[:2])
    alone.let_through()
    assert alone.found() is None
    assert not alone.store.is_unsettled(*alone.push()[:2])


def test_what_redis_refuses_or_says_in_another_form_is_no_claim(alone: Alone) -> None:
    claiming = alone.start(alone.store.claim(alone.push(), OPTIONS))
    _, on_answer = alone.node.commands.popleft()
    on_answer(ValueError("no permission"))
    alone.runtime.settle()
    assert isinstance(claiming.exception(), StoreUnavailableError)
    assert len(alone.node.refused) == 1
    claiming = alone.start(alone.store.claim(alone.push(), OPTIONS))
    _, on_answer = alone.node.commands.popleft()
    on_answer(b"nonsense")
    alone.runtime.settle()
    assert isinstance(claiming.exception(), StoreUnavailableError)
    assert not alone.store.is_unsettled(*alone.push()[:2])


@pytest.mark.parametrize("trouble", ["silent", "disconnected", "not linked"])
def test_a_server_that_cannot_be_asked_is_unavailable_at_once(alone: Alone, trouble: str) -> None:
    alone.node.is_silent = trouble == "silent"
    alone.node.connected = trouble != "disconnected"
    if trouble == "not linked":
        alone.store.linked(None)
    for work in (alone.store.claim(alone.push(), OPTIONS), alone.store.find(alone.push())):
        assert isinstance(alone.start(work).exception(), StoreUnavailableError)
