"""What every adapter promises, as tests that pytest runs, for authors of adapters.

    from ashtree.testing import AdapterContract

    class TestMyAdapter(AdapterContract):
        def connected(self):
            return MyAdapter("broker.example"), MyAdapter("broker.example")

The two PubSubs run in two systems, each on an event loop in a thread of its own, so nothing but the adapters connects them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Any

from actors.channels.message import Broadcast
from actors.lowlevel import run_on
from actors.pubsub.pubsub import PubSub
from actors.testing.probe import WAIT, Probe, sync
from supervisors.calls import which_children
from supervisors.system import System

if TYPE_CHECKING:
    from actors.pubsub.adapter import Adapter
    from actors.ref import ActorRef

__all__ = ["AdapterContract", "ContractNode"]

_NEWS = Broadcast("room:1", "news", {"n": 1, "text": "é"})
_MARK = Broadcast("room:1", "mark", {})
_MANY = 200
_POLLS = 250


class ContractNode:
    """A system whose PubSub has an adapter; it stands for one process."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter, self.pubsub = adapter, PubSub(adapter=adapter)
        self.system = System(pubsub=self.pubsub)
        self._probes: list[Probe] = []

    def actor(self, name: str) -> ActorRef[Any]:
        """Return the actor that the system has started under a name."""
        children = {child.id: child.ref for child in which_children(self.system.ref).get(timeout=WAIT)}
        ref = children[name]
        assert ref is not None
        return ref

    @property
    def server(self) -> ActorRef[Any]:
        """The actor of the PubSub."""
        return self.actor(self.pubsub.name)

    def subscriber(self, topic: str) -> Probe:
        """Return a probe that is subscribed to a topic, when that is in effect."""
        probe = Probe()
        self._probes.append(probe)
        self.pubsub.subscribe(topic, probe.ref)
        self.wait_for(topic)
        return probe

    def connected(self) -> None:
        """Return when the adapter reports no trouble; a system that starts does not wait for a broker for long."""
        for _ in range(_POLLS):
            trouble = self.call(self.adapter.trouble)
            if trouble is None:
                return
            Event().wait(WAIT / _POLLS)
        raise AssertionError(f"expected an adapter that is connected within {WAIT} s, its trouble is {trouble!r}")

    def wait_for(self, topic: str) -> None:
        """Return when the messages on a topic arrive, as far as the adapter knows."""
        loop = self.system.ref.process.scheduler.loop
        asyncio.run_coroutine_threadsafe(self._held(topic), loop).result(WAIT)

    async def _held(self, topic: str) -> None:
        async with self.pubsub.held(topic):
            pass

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

    def stop_probes(self) -> None:
        """Stop the subscribers."""
        while self._probes:
            self._probes.pop().ref.stop()


class AdapterContract(ABC):
    """Two systems, `one` and `two`, whose PubSubs are connected by the adapters under test; subclass it for your adapter."""

    @abstractmethod
    def connected(self) -> tuple[Adapter, Adapter]:
        """Return two adapters that will be connected with each other when their systems run."""

    def settle(self, *nodes: ContractNode) -> None:
        """Return when all nodes know what was subscribed and unsubscribed, and which of their actors have been replaced.

        By default it waits until no adapter reports trouble, and for the topics of all nodes by `Adapter.in_effect`. An
        adapter without these needs a way of its own.
        """
        for node in nodes:
            node.connected()
            sync(node.server)
            for topic in node.pubsub.topics():
                node.wait_for(topic)

    @contextmanager
    def nodes(self) -> Iterator[tuple[ContractNode, ContractNode]]:
        """Run the two systems."""
        one, two = map(ContractNode, self.connected())
        with one.system, two.system:
            try:
                one.connected()
                two.connected()
                yield one, two
            finally:
                one.stop_probes()
                two.stop_probes()

    def assert_nothing_more(self, nodes: tuple[ContractNode, ContractNode], *probes: Probe) -> None:
        """Check that these probes, on "room:1", have no message left: what each node publishes now is all that arrives."""
        self.settle(*nodes)
        for node in nodes:
            node.pubsub.broadcast("room:1", _MARK)
        for probe in probes:
            for _ in nodes:
                probe.assert_receive(_MARK)
            assert probe.messages == [], f"expected no more messages, got {probe.messages}"

    def test_a_broadcast_reaches_the_subscribers_of_both_once(self) -> None:
        """A broadcast reaches the subscribers of its topic on both nodes, once, and no others."""
        with self.nodes() as (one, two):
            here, there, elsewhere = one.subscriber("room:1"), two.subscriber("room:1"), two.subscriber("room:2")
            one.pubsub.broadcast("room:1", _NEWS)
            here.assert_receive(_NEWS)
            there.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), here, there)
            assert elsewhere.messages == []

    def test_it_goes_both_ways(self) -> None:
        """What the second node publishes reaches the first."""
        with self.nodes() as (one, two):
            here, there = one.subscriber("room:1"), two.subscriber("room:1")
            two.pubsub.broadcast("room:1", _NEWS)
            here.assert_receive(_NEWS)
            there.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), here, there)

    def test_binary_payloads_arrive_as_they_are(self) -> None:
        """A payload of bytes is not changed, whatever they are."""
        with self.nodes() as (one, two):
            there = two.subscriber("room:1")
            for payload in (b"", b"\x00\xff{}\n", bytes(range(256)) * 300):
                blob = Broadcast("room:1", "blob", payload)
                one.pubsub.broadcast("room:1", blob)
                there.assert_receive(blob)

    def test_other_messages_than_broadcasts_arrive(self) -> None:
        """What JSON has, and bytes, reach actors elsewhere as they were sent."""
        with self.nodes() as (one, two):
            there = two.subscriber("room:1")
            for message in ({"wind": 7, "é": [1.5, None, True]}, "text", 5, b"\x00\xff"):
                one.pubsub.broadcast("room:1", message)
                there.assert_receive(message)

    def test_any_text_may_be_a_topic(self) -> None:
        """Spaces, newlines, NUL, wildcards and what is not ASCII are characters of a topic like others."""
        topics = ["a b", "a\nb", "a\x00b", "é漢🦀", "room:*", "{a}b", "a.b>c", "x" * 500, ""]
        with self.nodes() as (one, two):
            probes = {topic: two.subscriber(topic) for topic in topics}
            for topic, probe in probes.items():
                one.pubsub.broadcast(topic, Broadcast(topic, "news", {"topic": topic}))
                probe.assert_receive(Broadcast(topic, "news", {"topic": topic}))
            assert [probe.messages for probe in probes.values()] == [[]] * len(topics)

    def test_broadcast_from_leaves_out_its_sender_and_no_other(self) -> None:
        """The sender is left out; all others get the message, on both nodes."""
        with self.nodes() as (one, two):
            sender, here, there = one.subscriber("room:1"), one.subscriber("room:1"), two.subscriber("room:1")
            one.pubsub.broadcast_from(sender.ref, "room:1", _NEWS)
            here.assert_receive(_NEWS)
            there.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), sender, here, there)

    def test_a_local_broadcast_stays_here(self) -> None:
        """A local broadcast is not published."""
        with self.nodes() as (one, two):
            here, there = one.subscriber("room:1"), two.subscriber("room:1")
            one.pubsub.local_broadcast("room:1", _NEWS)
            here.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), here, there)

    def test_what_one_publishes_on_a_topic_arrives_in_order(self) -> None:
        """Messages of one node on one topic keep their order, and none is lost or doubled."""
        with self.nodes() as (one, two):
            there = two.subscriber("room:1")
            broadcasts = [Broadcast("room:1", "news", {"n": number}) for number in range(_MANY)]
            for broadcast in broadcasts:
                one.pubsub.broadcast("room:1", broadcast)
            there.assert_receive(lambda message: message == broadcasts[-1])
            assert there.messages == broadcasts[:-1]
            counts = two.pubsub.relay.counts
            assert (counts.missed, counts.duplicates, counts.malformed) == (0, 0, 0)

    def test_other_topics_may_come_and_go_meanwhile(self) -> None:
        """Nothing is lost or doubled on a topic, and its order is kept, while others get and lose their subscribers."""
        with self.nodes() as (one, two):
            there, others = two.subscriber("room:1"), [Probe(), Probe()]
            broadcasts = [Broadcast("room:1", "news", {"n": number}) for number in range(_MANY)]
            for number, broadcast in enumerate(broadcasts):
                two.pubsub.subscribe(f"other:{number}", others[number % 2].ref)
                one.pubsub.broadcast("room:1", broadcast)
                two.pubsub.unsubscribe(f"other:{number - 1}", others[(number - 1) % 2].ref)
            there.assert_receive(lambda message: message == broadcasts[-1])
            assert there.messages == broadcasts[:-1]
            # What the adapter does later than it is told to is done now.
            self.settle(one, two)
            one.pubsub.broadcast("room:1", _NEWS)
            there.assert_receive(lambda message: message == _NEWS)
            for probe in others:
                probe.ref.stop()

    def test_nothing_waits_for_the_other(self) -> None:
        """A node delivers to its own subscribers, publishes, subscribes and unsubscribes while the other one is busy."""
        with self.nodes() as (one, two):
            here, there, other = one.subscriber("room:1"), two.subscriber("room:1"), Probe()
            may_go_on = Event()
            busy = run_on(two.system.ref.process.scheduler, may_go_on.wait, 4 * WAIT)
            try:
                one.call(one.pubsub.subscribe, "room:2", other.ref)
                one.call(one.pubsub.broadcast, "room:1", _NEWS)
                one.call(one.pubsub.unsubscribe, "room:2", other.ref)
                here.assert_receive(_NEWS)
            finally:
                may_go_on.set()
                busy.get(timeout=WAIT)
                other.ref.stop()
            there.assert_receive(_NEWS)

    def test_a_subscription_is_in_effect_soon(self) -> None:
        """What `in_effect` returns is done soon after; else each client that joins waits for a second."""
        probe = Probe()
        with self.nodes() as (_, two):
            for number in range(10):
                topic = f"room:{number}"
                two.pubsub.subscribe(topic, probe.ref)
                self._assert_in_effect(two, topic)
            probe.ref.stop()

    def _assert_in_effect(self, node: ContractNode, topic: str) -> None:
        for _ in range(_POLLS):
            future = node.call(node.adapter.in_effect, topic)
            if future is None or future.done():
                return
            Event().wait(WAIT / _POLLS)
        raise AssertionError(f"expected that in_effect({topic!r}) is done within {WAIT} s")

    def test_without_subscribers_of_its_own_a_process_publishes_all_the_same(self) -> None:
        """A node without subscribers of a topic publishes on it."""
        with self.nodes() as (one, two):
            there = two.subscriber("room:1")
            one.pubsub.broadcast("room:1", _NEWS)
            there.assert_receive(_NEWS)

    def test_a_topic_may_lose_its_last_subscriber_and_get_another(self) -> None:
        """A topic that is left and subscribed again is received again, by the subscriber that it has then."""
        with self.nodes() as (one, two):
            first = two.subscriber("room:1")
            two.pubsub.unsubscribe("room:1", first.ref)
            self.settle(one, two)
            second = two.subscriber("room:1")
            one.pubsub.broadcast("room:1", _NEWS)
            second.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), second)
            assert first.messages == []

    def test_topics_may_be_left_and_joined_many_times(self) -> None:
        """The last of many changes counts."""
        with self.nodes() as (one, two):
            for _ in range(20):
                probe = Probe()
                two.pubsub.subscribe("room:1", probe.ref)
                two.pubsub.unsubscribe("room:1", probe.ref)
                probe.ref.stop()
            there = two.subscriber("room:1")
            one.pubsub.broadcast("room:1", _NEWS)
            there.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), there)

    def test_a_message_that_cannot_leave_is_an_error_of_its_sender_once_it_was_delivered_here(self) -> None:
        """Its sender gets a TypeError; subscribers of its own node have the message."""
        with self.nodes() as (one, two):
            here, there = one.subscriber("room:1"), two.subscriber("room:1")
            secret = object()
            try:
                one.call(one.pubsub.broadcast, "room:1", secret)
            except TypeError:
                here.assert_receive(secret)
                self.assert_nothing_more((one, two), here, there)
            else:
                raise AssertionError("expected a TypeError")

    def test_the_actor_of_a_pubsub_may_be_replaced(self) -> None:
        """After a crash of the actors of both PubSubs messages go both ways, and exited subscribers are removed."""
        with self.nodes() as (one, two):
            here, there, dying = one.subscriber("room:1"), two.subscriber("room:1"), two.subscriber("room:2")
            for node in (one, two):
                node.replaced(node.pubsub.name)
            self.settle(one, two)
            for node in (one, two):
                node.pubsub.broadcast("room:1", _NEWS)
                here.assert_receive(_NEWS)
                there.assert_receive(_NEWS)
            dying.ref.stop()
            sync(two.server)
            assert "room:1" in two.pubsub.topics()
            assert "room:2" not in two.pubsub.topics()
            self.assert_nothing_more((one, two), here, there)

    def test_the_actor_of_an_adapter_may_be_replaced(self) -> None:
        """After a crash of the adapters' own actors messages go both ways; nothing else is restarted."""
        with self.nodes() as (one, two):
            here, there = one.subscriber("room:1"), two.subscriber("room:1")
            for node in (one, two):
                server = node.server
                if node.adapter.actor is not None:
                    node.replaced(node.adapter.name)
                assert node.server is server
            self.settle(one, two)
            for node in (one, two):
                node.pubsub.broadcast("room:1", _NEWS)
                here.assert_receive(_NEWS)
                there.assert_receive(_NEWS)
            self.assert_nothing_more((one, two), here, there)

    def test_local_delivery_goes_on_when_the_other_is_gone(self) -> None:
        """A node that is alone delivers to its own subscribers; the other may come back."""
        one, two = map(ContractNode, self.connected())
        with one.system:
            with two.system:
                one.connected()
                here = one.subscriber("room:1")
                self.settle(one, two)
            one.pubsub.broadcast("room:1", _NEWS)
            here.assert_receive(_NEWS)
            with two.system:
                two.connected()
                there = two.subscriber("room:1")
                self.settle(one, two)
                one.pubsub.broadcast("room:1", _NEWS)
                there.assert_receive(_NEWS)
                two.stop_probes()
            one.stop_probes()
