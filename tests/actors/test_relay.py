"""The relay: what a PubSub sends to other processes, and what it makes of what it receives."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from actors import telemetry
from actors.actor import Actor
from actors.channels.fastlane import Fastlane
from actors.channels.message import Broadcast, Frame, Opcode
from actors.lowlevel import Scheduler, spawn
from actors.pubsub.adapter import Adapter
from actors.pubsub.pubsub import PubSub
from actors.pubsub.relay import MESSAGES_LOST, MESSAGES_MISSED, this_node
from actors.pubsub.remote_message import Header, pack, unpack
from actors.testing import ManualRuntime, Probe
from supervisors.supervisor import Supervisor


class Wire(Adapter):
    """It keeps what leaves."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def publish(self, topic: str, data: bytes) -> None:
        self.sent.append((topic, data))

    def subscribed(self, topic: str) -> None:
        pass

    def unsubscribed(self, topic: str) -> None:
        pass


def started(runtime: ManualRuntime, **options: Any) -> PubSub:
    pubsub = PubSub(adapter=Wire(), **options)
    spawn(Supervisor, ([pubsub],))
    runtime.settle()
    return pubsub


@pytest.fixture
def pubsub(runtime: ManualRuntime) -> PubSub:
    return started(runtime, node="here")


@pytest.fixture
def reported() -> Iterator[list[Any]]:
    seen: list[Any] = []

    def keep(event: Any, numbers: Any, about: Any) -> None:
        seen.append((event, dict(numbers), about.get("topic"), about.get("node")))

    telemetry.attach("relay test", [MESSAGES_LOST, MESSAGES_MISSED], keep)
    yield seen
    telemetry.detach("relay test")


def wire(pubsub: PubSub) -> list[tuple[str, bytes]]:
    assert isinstance(pubsub.adapter, Wire)
    return pubsub.adapter.sent


def elsewhere(seq: int, payload: bytes = b"{}", **others: Any) -> bytes:
    return pack(Header(**{"event": "news", "node": "there", "run": "theirs", "seq": seq, **others}), payload)


def counts(pubsub: PubSub) -> dict[str, int]:
    found = {name: getattr(pubsub.relay.counts, name) for name in pubsub.relay.counts.__slots__}
    return {name: number for name, number in found.items() if number}


def test_what_leaves_is_numbered_for_each_topic(pubsub: PubSub) -> None:
    for topic in ("a", "a", "b"):
        pubsub.broadcast(topic, Broadcast(topic, "news", {"n": 1}))
    stamps = [(topic, header.node, header.seq) for topic, data in wire(pubsub) for header in [unpack(data)[0]]]
    assert stamps == [("a", "here", 1), ("a", "here", 2), ("b", "here", 1)]
    assert counts(pubsub) == {"published": 3}


def test_what_cannot_leave_takes_no_number(pubsub: PubSub) -> None:
    with pytest.raises(TypeError, match="only a Broadcast"):
        pubsub.broadcast("a", object())
    for broadcast in (Broadcast("a", "\ud800", {}), Broadcast("\ud800", "news", {})):
        with pytest.raises(UnicodeEncodeError):
            pubsub.broadcast("a", broadcast)
    pubsub.broadcast("a", Broadcast("other", "news", b"\x00"))
    [(topic, data)] = wire(pubsub)
    header, payload = unpack(data)
    assert (topic, header.topic, header.binary, header.seq, payload) == ("a", "other", True, 1, b"\x00")


def test_what_comes_back_is_not_delivered(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    pubsub.broadcast("a", 1)
    pubsub.receive(*wire(pubsub)[0])
    runtime.settle()
    assert (probe.messages, counts(pubsub)) == ([1], {"published": 1})


def test_what_comes_twice_is_delivered_once(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    for seq in (1, 2, 2, 1, 3):
        pubsub.receive("a", elsewhere(seq, b'{"n":%d}' % seq))
    runtime.settle()
    assert probe.messages == [Broadcast("a", "news", {"n": seq}) for seq in (1, 2, 3)]
    assert counts(pubsub) == {"received": 3, "duplicates": 2}


def test_what_is_missing_is_counted_logged_and_reported(
    pubsub: PubSub, reported: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    pubsub.subscribe("a", Probe().ref)
    for seq in (4, 5, 8, 10):
        pubsub.receive("a", elsewhere(seq))
    assert counts(pubsub) == {"received": 4, "missed": 3}
    assert reported == [(MESSAGES_MISSED, {"count": 2}, "a", "there"), (MESSAGES_MISSED, {"count": 1}, "a", "there")]
    # Each kind of loss is logged once in a while.
    assert [record.getMessage() for record in caplog.records] == [
        "2 messages of 'there' on 'a' have not arrived: delivery is at most once"
    ]


def test_a_topic_that_was_left_is_not_missed(pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    pubsub.receive("a", elsewhere(1))
    pubsub.unsubscribe("a", probe.ref)
    pubsub.receive("a", elsewhere(2))
    pubsub.subscribe("a", probe.ref)
    pubsub.receive("a", elsewhere(9))
    assert counts(pubsub) == {"received": 2}


def test_messages_without_numbers_are_delivered_as_they_come(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    for _ in range(2):
        pubsub.receive("a", b'{"event":"news"}\n{"n":1}')
    runtime.settle()
    assert probe.messages == [Broadcast("a", "news", {"n": 1})] * 2


def test_what_is_no_message_is_counted_and_dropped(
    runtime: ManualRuntime, pubsub: PubSub, caplog: pytest.LogCaptureFixture
) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    for data in (b"nonsense", b'{"event":"e"}\nnonsense', b'{"event":"e","run":"r","seq":1}\n{"a":'):
        pubsub.receive("a", data)
    runtime.settle()
    assert (probe.messages, counts(pubsub)) == ([], {"malformed": 3})
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_the_adapter_loses_is_counted_and_reported(
    pubsub: PubSub, reported: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    pubsub.lost(2)
    pubsub.lost(1)
    assert counts(pubsub) == {"lost": 3}
    assert [(event, numbers) for event, numbers, *_ in reported] == [
        (MESSAGES_LOST, {"count": 2}),
        (MESSAGES_LOST, {"count": 1}),
    ]
    assert len(caplog.records) == 1


def test_a_process_is_called_by_its_machine_and_its_id_unless_it_has_a_name() -> None:
    assert PubSub().node == this_node()
    assert f":{os.getpid()}:" in PubSub().node
    assert PubSub(node="web-1").node == "web-1"
    with pytest.raises(TypeError, match=r'^node must be a str, such as "web-1", or None, got 5$'):
        PubSub(node=5)  # type: ignore[arg-type]


def test_each_pubsub_has_a_run_of_its_own(runtime: ManualRuntime) -> None:
    one, two = started(runtime, name="one"), started(runtime, name="two")
    assert one.relay.run != two.relay.run
    assert one.server is not None
    before = one.relay.run
    one.server.actor_ref.kill()
    runtime.settle()
    assert one.relay.run == before


def test_a_payload_of_another_process_is_decoded_for_actors_only_once(
    runtime: ManualRuntime, pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = Probe(), Probe()
    pubsub.subscribe("a", one.ref)
    pubsub.subscribe("a", two.ref)
    pubsub.receive("a", elsewhere(1, b'{"n":[1]}'))
    runtime.settle()
    [first], [second] = one.messages, two.messages
    assert first == second == Broadcast("a", "news", {"n": [1]})


def test_text_of_json_may_be_broadcast_as_it_is(runtime: ManualRuntime, pubsub: PubSub) -> None:
    probe = Probe()
    pubsub.subscribe("a", probe.ref)
    pubsub.broadcast("a", Broadcast("a", "news", msgspec.Raw(b'{"n": 1}')))
    runtime.settle()
    assert probe.messages == [Broadcast("a", "news", {"n": 1})]
    assert unpack(wire(pubsub)[0][1])[1] == b'{"n": 1}'


# Clients


class Written:
    """A serializer that keeps what it is given; it may take JSON as text."""

    def __init__(self, *, takes_json: bool) -> None:
        self.takes_json = takes_json
        self.given: list[Broadcast] = []

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        self.given.append(broadcast)
        return Frame(Opcode.TEXT, b"")


@pytest.mark.parametrize("clients", [1, 40], ids=["few clients", "many clients"])
def test_text_is_decoded_only_for_serializers_that_read_it_and_encoded_once_for_each(
    runtime: ManualRuntime, pubsub: PubSub, clients: int
) -> None:
    texts, objects = Written(takes_json=True), Written(takes_json=False)
    received: list[Frame] = []
    for serializer in (texts, objects, texts):
        for _ in range(clients):
            probe = Probe()
            lane = Fastlane(probe.ref.process, serializer, received.append)  # type: ignore[arg-type]
            pubsub.subscribe("a", probe.ref, lane)
    pubsub.receive("a", elsewhere(1, b'{"n": 1}'))
    runtime.settle()
    assert len(received) == 3 * clients
    [text], [read] = texts.given, objects.given
    assert (type(text.payload), bytes(text.payload)) == (msgspec.Raw, b'{"n": 1}')
    assert read == Broadcast("a", "news", {"n": 1})


class Broken(Written):
    """A serializer with a bug."""

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        raise KeyError("user")


def test_a_bug_in_a_serializer_is_logged_and_does_no_harm_to_the_adapter_that_delivers(
    runtime: ManualRuntime, pubsub: PubSub, caplog: pytest.LogCaptureFixture
) -> None:
    probe, other = Probe(), Probe()
    lane = Fastlane(probe.ref.process, Broken(takes_json=True), lambda _: None)  # type: ignore[arg-type]
    pubsub.subscribe("a", probe.ref, lane)
    pubsub.subscribe("b", other.ref)
    pubsub.receive("a", elsewhere(1))
    pubsub.receive("a", elsewhere(2))
    pubsub.receive("b", elsewhere(1, b'{"n":1}'))
    runtime.settle()
    assert other.messages == [Broadcast("b", "news", {"n": 1})]
    assert counts(pubsub) == {"received": 1, "malformed": 2}
    [record] = caplog.records
    assert "on 'a' cannot be delivered: 'user'" in record.getMessage()
    assert record.exc_info is not None


# Joins, which wait until a topic is received


class Slow(Wire):
    """An adapter whose subscriptions are in effect when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.effect: asyncio.Future[None] | None = None

    def subscribed(self, topic: str) -> None:
        self.told.append(f"+{topic}")

    def unsubscribed(self, topic: str) -> None:
        self.told.append(f"-{topic}")

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        return self.effect


class Joining(Actor):
    """It subscribes when that is in effect, unless it is told not to, and then reports."""

    def __init__(self, pubsub: PubSub, joined: list[str], *, subscribes: bool = True) -> None:
        self.pubsub, self.joined, self.subscribes = pubsub, joined, subscribes

    async def on_receive(self, message: object) -> None:
        async with self.pubsub.held("a"):
            if self.subscribes:
                self.pubsub.subscribe("a", self.actor_ref)
        self.joined.append(str(message))


@pytest.fixture
def slow(runtime: ManualRuntime) -> Slow:
    adapter = Slow()
    adapter.effect = Scheduler.here().loop.create_future()
    spawn(Supervisor, ([PubSub(adapter=adapter)],))
    runtime.settle()
    return adapter


def pubsub_of(adapter: Adapter) -> PubSub:
    assert isinstance(adapter.pubsub, PubSub)
    return adapter.pubsub


def test_a_join_waits_until_the_topic_is_received(runtime: ManualRuntime, slow: Slow) -> None:
    pubsub, joined = pubsub_of(slow), list[str]()
    assert not pubsub.is_in_effect("a")
    for number in range(2):
        Joining.start(pubsub, joined).tell(number)
    runtime.settle()
    assert (slow.told, joined, pubsub.topics()) == (["+a"], [], [])
    assert slow.effect is not None
    slow.effect.set_result(None)
    runtime.settle()
    assert (slow.told, joined, pubsub.topics()) == (["+a"], ["0", "1"], ["a"])
    slow.effect = None
    assert pubsub.is_in_effect("a")
    assert not pubsub.is_in_effect("b")


def test_it_waits_for_a_second_at_most(runtime: ManualRuntime, slow: Slow) -> None:
    joined: list[str] = []
    Joining.start(pubsub_of(slow), joined).tell("late")
    runtime.advance(0.9)
    assert joined == []
    runtime.advance(0.2)
    assert (joined, pubsub_of(slow).topics()) == (["late"], ["a"])


def test_a_topic_that_gets_no_subscriber_after_all_is_left(runtime: ManualRuntime, slow: Slow) -> None:
    pubsub, joined = pubsub_of(slow), list[str]()
    Joining.start(pubsub, joined, subscribes=False).tell("one")
    waiting = Joining.start(pubsub, joined)
    waiting.tell("two")
    runtime.settle()
    waiting.kill()
    runtime.settle()
    assert slow.told == ["+a"]
    runtime.advance(1.1)
    assert (slow.told, joined, pubsub.topics()) == (["+a", "-a"], ["one"], [])


def test_without_an_adapter_that_tells_nothing_is_waited_for(pubsub: PubSub) -> None:
    assert pubsub.is_in_effect("a")
    assert PubSub().is_in_effect("a")
