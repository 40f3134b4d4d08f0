"""Adapters: what PubSub tells them, and the contract, held by one that connects two systems of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pykka
import pytest

from actors.actor import Actor
from actors.lowlevel import spawn
from actors.pubsub import Adapter, LocalAdapter, PubSub
from actors.pubsub.remote_message import unpack
from actors.testing import ManualRuntime, Probe, sync
from actors.testing.probe import WAIT
from supervisors.calls import start_child, which_children
from supervisors.child_spec import child_spec
from supervisors.supervisor import Supervisor
from supervisors.system import System
from transport.testing.adapter_contract import AdapterContract, ContractNode

if TYPE_CHECKING:
    from actors.ref import ActorRef


# The contract


class Broker:
    """What would be a server: it knows which couriers want which topics."""

    def __init__(self) -> None:
        self.couriers: dict[str, list[ActorRef[Any]]] = {}

    def add(self, topic: str, courier: ActorRef[Any]) -> None:
        self.couriers.setdefault(topic, []).append(courier)

    def remove(self, topic: str, courier: ActorRef[Any]) -> None:
        couriers = self.couriers.get(topic, [])
        # One that gives up what it does not have is not to be replaced by one that subscribes to all again.
        if courier in couriers:
            couriers.remove(courier)

    def leave(self, courier: ActorRef[Any]) -> None:
        for couriers in self.couriers.values():
            while courier in couriers:
                couriers.remove(courier)


class Letter(msgspec.Struct, frozen=True):
    """A broadcast on its way, as bytes."""

    topic: str
    data: bytes


class Courier(Actor):
    """The actor of a `Bridge`: it keeps its topics at the broker, and takes letters to the couriers that want them."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def on_start(self) -> None:
        self.bridge.courier = self.actor_ref
        self.own(lambda: self.bridge.broker.leave(self.actor_ref))
        for topic in self.bridge.pubsub.topics():
            self.bridge.broker.add(topic, self.actor_ref)

    def on_receive(self, message: Any) -> None:
        match message:
            case "subscribed", topic:
                self.bridge.broker.add(topic, self.actor_ref)
            case "unsubscribed", topic:
                self.bridge.broker.remove(topic, self.actor_ref)
            case "publish", letter:
                for courier in list(self.bridge.broker.couriers.get(letter.topic, ())):
                    if courier is not self.actor_ref:
                        self.send(courier, letter)
            case Letter(topic=topic, data=data):
                self.bridge.pubsub.receive(topic, data)


class Bridge(Adapter):
    """Connects the PubSubs of one process, by a broker that is an object."""

    actor = Courier

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.courier: ActorRef[Any] | None = None

    def publish(self, topic: str, data: bytes) -> None:
        self._tell(("publish", Letter(topic, data)))

    def subscribed(self, topic: str) -> None:
        self._tell(("subscribed", topic))

    def unsubscribed(self, topic: str) -> None:
        self._tell(("unsubscribed", topic))

    def _tell(self, message: object) -> None:
        if self.courier is not None:
            self.courier.send(message)


@pytest.mark.usefixtures("background")
class TestBridge(AdapterContract):
    def connected(self) -> tuple[Adapter, Adapter]:
        broker = Broker()
        return Bridge(broker), Bridge(broker)

    def settle(self, *nodes: ContractNode) -> None:
        # Behind what was posted to the loops, what was sent to the couriers, and what those sent to each other.
        for _ in range(2):
            sync(*(node.server for node in nodes), *(node.actor(node.adapter.name) for node in nodes))
        sync(*(node.server for node in nodes))


# What the contract says of adapters that are wrong


class Losing(Bridge):
    """It loses a message now and then."""

    def publish(self, topic: str, data: bytes) -> None:
        self.published = getattr(self, "published", 0) + 1
        if self.published % 50:
            super().publish(topic, data)


class Reversing(Bridge):
    """It swaps each two messages."""

    first: tuple[str, bytes] | None = None

    def publish(self, topic: str, data: bytes) -> None:
        first, self.first = self.first, None
        if first is None:
            self.first = topic, data
        else:
            super().publish(topic, data)
            super().publish(*first)


class Textual(Bridge):
    """It takes messages for text."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic, data.decode(errors="replace").encode())


class Short(Bridge):
    """Its messages have at most 8,000 bytes, as PostgreSQL's."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic, data[:8000])


class Trimming(Bridge):
    """It takes white space for no part of a topic."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish("".join(topic.split()), data)


class Selfish(Bridge):
    """It publishes only what it has subscribers of its own for."""

    def publish(self, topic: str, data: bytes) -> None:
        if topic in self.pubsub.topics():
            super().publish(topic, data)


class ForgetfulCourier(Courier):
    """It does not ask for the topics that have subscribers when it starts."""

    def on_start(self) -> None:
        self.bridge.courier = self.actor_ref
        self.own(lambda: self.bridge.broker.leave(self.actor_ref))


class Forgetful(Bridge):
    """Its actor knows nothing of what was subscribed before it was restarted."""

    actor = ForgetfulCourier


class Rash(Bridge):
    """It gives up all topics with the first one."""

    def unsubscribed(self, topic: str) -> None:
        for each in [topic, *self.pubsub.topics()]:
            super().unsubscribed(each)


class Late(Bridge):
    """It never says that a subscription is in effect."""

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        return asyncio.get_running_loop().create_future()


class Waiting(Bridge):
    """It waits until the other one has a message."""

    def publish(self, topic: str, data: bytes) -> None:
        super().publish(topic, data)
        if self.courier is not None:
            others = [each for each in self.broker.couriers.get(topic, ()) if each is not self.courier]
            for other in others:
                has_it = threading.Event()
                other.process.scheduler.post(has_it.set)
                assert has_it.wait(2 * WAIT)


class Troubled(Bridge):
    """It is never connected."""

    def trouble(self) -> str | None:
        return "no broker"


class BridgeContract(AdapterContract):
    __test__ = False

    def __init__(self, kind: type[Bridge]) -> None:
        self.kind = kind

    def connected(self) -> tuple[Adapter, Adapter]:
        broker = Broker()
        return self.kind(broker), self.kind(broker)

    settle = TestBridge.settle


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize(
    ("wrong", "test"),
    [
        (Losing, AdapterContract.test_what_one_publishes_on_a_topic_arrives_in_order),
        (Reversing, AdapterContract.test_what_one_publishes_on_a_topic_arrives_in_order),
        (Textual, AdapterContract.test_binary_payloads_arrive_as_they_are),
        (Short, AdapterContract.test_binary_payloads_arrive_as_they_are),
        (Trimming, AdapterContract.test_any_text_may_be_a_topic),
        (Selfish, AdapterContract.test_without_subscribers_of_its_own_a_process_publishes_all_the_same),
        (Forgetful, AdapterContract.test_the_actor_of_an_adapter_may_be_replaced),
        (Rash, AdapterContract.test_other_topics_may_come_and_go_meanwhile),
        (Late, AdapterContract.test_a_subscription_is_in_effect_soon),
        (Waiting, AdapterContract.test_nothing_waits_for_the_other),
        (Troubled, AdapterContract.test_it_goes_both_ways),
    ],
)
def test_the_contract_finds_an_adapter_that_is_wrong(
    wrong: type[Bridge], test: Callable[[AdapterContract], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    test(BridgeContract(Bridge))
    # What does not arrive is waited for.
    monkeypatch.setattr("actors.testing.probe.WAIT", 0.5)
    monkeypatch.setattr("transport.testing.adapter_contract.WAIT", 0.5)
    with pytest.raises((AssertionError, pykka.Timeout)):
        test(BridgeContract(wrong))


# What PubSub tells an adapter


class Recording(Adapter):
    """An adapter without an actor; it keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def publish(self, topic: str, data: bytes) -> None:
        if data.endswith(b'"refused"'):
            raise OSError("it cannot leave")
        self.told.append(("publish", topic, unpack(data)[1]))

    def subscribed(self, topic: str) -> None:
        self.told.append(("subscribed", topic))

    def unsubscribed(self, topic: str) -> None:
        self.told.append(("unsubscribed", topic))

    def take(self) -> list[Any]:
        told, self.told = self.told, []
        return told


@pytest.fixture
def adapter() -> Recording:
    return Recording()


@pytest.fixture
def pubsub(runtime: ManualRuntime, adapter: Recording) -> PubSub:
    pubsub = PubSub(adapter=adapter)
    spawn(Supervisor, ([pubsub],))
    runtime.settle()
    return pubsub


def test_all_that_is_not_local_is_published_after_it_was_delivered(
    runtime: ManualRuntime, pubsub: PubSub, adapter: Recording
) -> None:
    probe, sender = Probe(), Probe()
    pubsub.subscribe("a", probe.ref)
    adapter.take()
    pubsub.broadcast("a", 1)
    pubsub.broadcast_from(sender.ref, "a", 2)
    pubsub.local_broadcast("a", 3)
    pubsub.broadcast("nobody here", 4)
    with pytest.raises(OSError, match="it cannot leave"):
        pubsub.broadcast("a", "refused")
    runtime.settle()
    assert probe.messages == [1, 2, 3, "refused"]
    assert adapter.take() == [("publish", "a", b"1"), ("publish", "a", b"2"), ("publish", "nobody here", b"4")]


def test_it_learns_of_the_first_and_the_last_subscriber_of_a_topic(
    runtime: ManualRuntime, pubsub: PubSub, adapter: Recording
) -> None:
    one, two = Probe(), Probe()
    pubsub.subscribe("a", one.ref)
    pubsub.subscribe("a", one.ref)
    pubsub.subscribe("a", two.ref)
    pubsub.subscribe("b", one.ref)
    assert adapter.take() == [("subscribed", "a"), ("subscribed", "b")]
    pubsub.unsubscribe("a", one.ref)
    pubsub.unsubscribe("a", one.ref)
    assert adapter.take() == []
    pubsub.unsubscribe("a", two.ref)
    assert adapter.take() == [("unsubscribed", "a")]
    pubsub.subscribe("a", one.ref)
    one.ref.kill()
    runtime.settle()
    assert adapter.take() == [("subscribed", "a"), ("unsubscribed", "b"), ("unsubscribed", "a")]
    pubsub.subscribe("a", one.ref)
    assert adapter.take() == []


def test_it_learns_of_those_that_exit_while_the_actor_of_the_pubsub_is_down(
    runtime: ManualRuntime, pubsub: PubSub, adapter: Recording
) -> None:
    living, dying, server = Probe(), Probe(), pubsub.server
    assert server is not None
    pubsub.subscribe("a", living.ref)
    pubsub.subscribe("b", dying.ref)
    adapter.take()
    server.actor_ref.kill()
    dying.ref.kill()
    runtime.settle()
    assert pubsub.server is not server
    assert (adapter.take(), pubsub.topics()) == ([("unsubscribed", "b")], ["a"])


class Failing(Recording):
    """It raises for the topics in `broken`, in both directions."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken = set(broken)

    def subscribed(self, topic: str) -> None:
        self._fail(topic)
        super().subscribed(topic)

    def unsubscribed(self, topic: str) -> None:
        self._fail(topic)
        super().unsubscribed(topic)

    def _fail(self, topic: str) -> None:
        if topic in self.broken:
            raise ConnectionError("the broker is away")


def test_an_adapter_that_raises_at_the_first_subscriber_is_asked_again_at_the_next(runtime: ManualRuntime) -> None:
    adapter, probe = Failing("a"), Probe()
    pubsub = PubSub(adapter=adapter)
    spawn(Supervisor, ([pubsub],))
    runtime.settle()
    for _ in range(2):
        with pytest.raises(ConnectionError, match="the broker is away"):
            pubsub.subscribe("a", probe.ref)
    assert pubsub.topics() == []
    adapter.broken.clear()
    pubsub.subscribe("a", probe.ref)
    pubsub.broadcast("a", 1)
    runtime.settle()
    assert (probe.messages, adapter.take()) == ([1], [("subscribed", "a"), ("publish", "a", b"1")])
    probe.ref.kill()
    runtime.settle()
    assert adapter.take() == [("unsubscribed", "a")]


def test_an_adapter_that_raises_when_subscribers_exit_does_not_harm_the_watcher(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    adapter, probes = Failing(), [Probe() for _ in range(10)]
    pubsub = PubSub(adapter=adapter)
    spawn(Supervisor, ([pubsub],))
    runtime.settle()
    server = pubsub.server
    for number, probe in enumerate(probes):
        pubsub.subscribe(f"broken {number}", probe.ref)
        pubsub.subscribe(f"sound {number}", probe.ref)
    adapter.take()
    adapter.broken = {f"broken {number}" for number in range(10)}
    for probe in probes:
        probe.ref.kill()
    runtime.settle()
    assert adapter.take() == [("unsubscribed", f"sound {number}") for number in range(10)]
    assert (pubsub.topics(), pubsub.server is server) == ([], True)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 10
    assert "raised in unsubscribed('broken 0')" in caplog.text
    assert "ConnectionError: the broker is away" in caplog.text


def test_by_default_a_pubsub_is_alone(runtime: ManualRuntime) -> None:
    adapter = PubSub().adapter
    assert (type(adapter), adapter.actor, PubSub().companions) == (LocalAdapter, None, [])


# The actor of an adapter


def test_its_actor_stands_beside_that_of_the_pubsub() -> None:
    pubsub = PubSub("chat", adapter=Bridge(Broker()))
    with System(pubsub=pubsub) as system:
        assert [child.id for child in which_children(system.ref).get()] == ["chat", "chat adapter", "chat peers"]
        assert [line.split()[-1] for line in system.tree().splitlines()[1:]] == [
            "PubSubServer",
            "Courier",
            "PeerServer",
        ]


def test_it_is_started_with_its_pubsub_under_any_supervisor(runtime: ManualRuntime) -> None:
    supervisor = spawn(Supervisor, ([PubSub("chat", adapter=Bridge(Broker()))],))
    runtime.settle()
    children = which_children(supervisor)
    runtime.settle()
    assert [child.id for child in children.result()] == ["chat", "chat adapter"]


def test_a_pubsub_with_such_an_adapter_cannot_be_started_as_one_child(runtime: ManualRuntime) -> None:
    pubsub = PubSub("chat", adapter=Bridge(Broker()))
    with pytest.raises(
        TypeError, match="is started together with chat adapter: put it in the list of a System or a Super"
    ):
        start_child("anybody", pubsub)
    with pytest.raises(TypeError, match="is started together with chat adapter"):
        child_spec(pubsub)


# What is wrong


def test_each_pubsub_needs_an_adapter_of_its_own(adapter: Recording) -> None:
    PubSub("chat", adapter=adapter)
    with pytest.raises(ValueError, match=r"connects PubSub 'chat' already; give each PubSub its own adapter$"):
        PubSub(adapter=adapter)


@pytest.mark.parametrize("adapter", [Recording, "redis://", 5], ids=["a class", "a text", "a number"])
def test_what_is_not_an_adapter_is_an_error(adapter: Any) -> None:
    with pytest.raises(
        TypeError, match=r"^adapter must be an Adapter, such as PubSub\(adapter=LocalAdapter\(\)\), got "
    ):
        PubSub(adapter=adapter)
