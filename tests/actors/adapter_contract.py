"""What every adapter promises, as tests: subclass `AdapterContract` and say how two connected adapters are made.

The two PubSubs run in two systems, each on an event loop in a thread of its own, so nothing but the adapters connects them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from actors.channels.message import Broadcast
from actors.lowlevel import run_on
from actors.pubsub.pubsub import PubSub
from actors.testing import WAIT, Probe, sync
from supervisors.calls import which_children
from supervisors.system import System

if TYPE_CHECKING:
    from actors.pubsub.adapter import Adapter
    from actors.ref import ActorRef

NEWS = Broadcast("room:1", "news", {"n": 1, "text": "é"})


class Node:
    """A system whose PubSub has an adapter; it stands for one process."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter, self.pubsub = adapter, PubSub(adapter=adapter)
        self.system = System(pubsub=self.pubsub)

    def actor(self, name: str) -> ActorRef[Any]:
        children = {child.id: child.ref for child in which_children(self.system.ref).get(timeout=WAIT)}
        ref = children[name]
        assert ref is not None
        return ref

    @property
    def server(self) -> ActorRef[Any]:
        return self.actor(self.pubsub.name)

    def subscriber(self, topic: str) -> Probe:
        probe = Probe()
        self.pubsub.subscribe(topic, probe.ref)
        return probe

    def call(self, function: Any, *args: Any) -> Any:
        """Call a function in the thread of the node's event loop; raise what it raises."""
        return run_on(self.system.ref.process.scheduler, function, *args).get(timeout=WAIT)

    def replaced(self, name: str) -> ActorRef[Any]:
        """Kill an actor; return the one that its supervisor starts in its place."""
        before = self.actor(name)
        down = before.down()
        before.kill()
        down.get(timeout=WAIT)
        sync(self.system.ref)
        after = self.actor(name)
        assert after is not before
        return after


class AdapterContract(ABC):
    """Two systems, `one` and `two`, whose PubSubs are connected by the adapters under test."""

    @abstractmethod
    def connected(self) -> tuple[Adapter, Adapter]:
        """Return two adapters that are connected with each other."""

    @abstractmethod
    def settle(self, *nodes: Node) -> None:
        """Return when everything is known on both sides that the nodes have subscribed, published or restarted so far."""

    @pytest.fixture
    def nodes(self, background: object) -> Iterator[tuple[Node, Node]]:
        one, two = map(Node, self.connected())
        with one.system, two.system:
            yield one, two

    def assert_nothing_more(self, nodes: tuple[Node, Node], *probes: Probe) -> None:
        self.settle(*nodes)
        for probe in probes:
            sync(probe.ref)
            assert probe.messages == []

    def test_a_broadcast_reaches_the_subscribers_of_both_once(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        here, there, elsewhere = one.subscriber("room:1"), two.subscriber("room:1"), two.subscriber("room:2")
        self.settle(one, two)
        one.pubsub.broadcast("room:1", NEWS)
        here.assert_receive(NEWS)
        there.assert_receive(NEWS)
        self.assert_nothing_more(nodes, here, there, elsewhere)

    def test_binary_payloads_arrive_as_they_are(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        there = two.subscriber("room:1")
        self.settle(one, two)
        blob = Broadcast("room:1", "blob", b"\x00\xff{}")
        one.pubsub.broadcast("room:1", blob)
        there.assert_receive(blob)

    def test_broadcast_from_leaves_out_its_sender_and_nobody_elsewhere(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        sender, here, there = one.subscriber("room:1"), one.subscriber("room:1"), two.subscriber("room:1")
        self.settle(one, two)
        one.pubsub.broadcast_from(sender.ref, "room:1", NEWS)
        here.assert_receive(NEWS)
        there.assert_receive(NEWS)
        self.assert_nothing_more(nodes, sender, here, there)

    def test_a_local_broadcast_stays_here(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        self.settle(one, two)
        one.pubsub.local_broadcast("room:1", NEWS)
        here.assert_receive(NEWS)
        self.assert_nothing_more(nodes, there)

    def test_what_one_publishes_on_a_topic_arrives_in_order(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        there = two.subscriber("room:1")
        self.settle(one, two)
        broadcasts = [Broadcast("room:1", "news", {"n": number}) for number in range(200)]
        for broadcast in broadcasts:
            one.pubsub.broadcast("room:1", broadcast)
        there.assert_receive(lambda message: message == broadcasts[-1])
        assert there.messages == broadcasts[:-1]

    def test_it_goes_both_ways(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        self.settle(one, two)
        two.pubsub.broadcast("room:1", NEWS)
        here.assert_receive(NEWS)
        there.assert_receive(NEWS)
        self.assert_nothing_more(nodes, here, there)

    def test_without_subscribers_of_its_own_a_process_publishes_all_the_same(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        there = two.subscriber("room:1")
        self.settle(one, two)
        one.pubsub.broadcast("room:1", NEWS)
        there.assert_receive(NEWS)

    def test_a_topic_may_lose_its_last_subscriber_and_get_another(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        first = two.subscriber("room:1")
        two.pubsub.unsubscribe("room:1", first.ref)
        self.settle(one, two)
        one.pubsub.broadcast("room:1", NEWS)
        self.assert_nothing_more(nodes, first)
        second = two.subscriber("room:1")
        self.settle(one, two)
        one.pubsub.broadcast("room:1", NEWS)
        second.assert_receive(NEWS)
        self.assert_nothing_more(nodes, first)

    def test_a_message_that_cannot_leave_is_an_error_of_its_sender_once_it_was_delivered_here(
        self, nodes: tuple[Node, Node]
    ) -> None:
        one, two = nodes
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        self.settle(one, two)
        secret = object()
        with pytest.raises(TypeError):
            one.call(one.pubsub.broadcast, "room:1", secret)
        here.assert_receive(secret)
        self.assert_nothing_more(nodes, there)

    def test_the_actor_of_a_pubsub_may_be_replaced(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        here, there, dying = one.subscriber("room:1"), two.subscriber("room:1"), two.subscriber("room:2")
        self.settle(one, two)
        for node in nodes:
            node.replaced(node.pubsub.name)
        self.settle(one, two)
        for node in nodes:
            node.pubsub.broadcast("room:1", NEWS)
            here.assert_receive(NEWS)
            there.assert_receive(NEWS)
        dying.ref.stop()
        sync(two.server)
        assert two.pubsub.topics() == ["room:1"]
        self.assert_nothing_more(nodes, here, there)

    def test_the_actor_of_an_adapter_may_be_replaced(self, nodes: tuple[Node, Node]) -> None:
        one, two = nodes
        here, there = one.subscriber("room:1"), two.subscriber("room:1")
        self.settle(one, two)
        for node in nodes:
            server = node.server
            if node.adapter.actor is not None:
                node.replaced(node.adapter.name)
            assert node.server is server
        self.settle(one, two)
        for node in nodes:
            node.pubsub.broadcast("room:1", NEWS)
            here.assert_receive(NEWS)
            there.assert_receive(NEWS)
        self.assert_nothing_more(nodes, here, there)

    def test_local_delivery_goes_on_when_the_other_is_gone(self, background: object) -> None:
        one, two = map(Node, self.connected())
        with one.system:
            with two.system:
                here, there = one.subscriber("room:1"), two.subscriber("room:1")
                self.settle(one, two)
            one.pubsub.broadcast("room:1", NEWS)
            here.assert_receive(NEWS)
            with two.system:
                there = two.subscriber("room:1")
                self.settle(one, two)
                one.pubsub.broadcast("room:1", NEWS)
                there.assert_receive(NEWS)
