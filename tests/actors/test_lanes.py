"""Broadcasts to many clients by their lanes, held against the general way: the same clients get the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import sys
from actors.actor import Actor
from actors.channels.fastlane import CORKED, Fastlane, Outlet
from actors.channels.message import Broadcast, Frame, Opcode
from actors.exits import Crash
from actors.history.history import History
from actors.pubsub import subscriptions
from actors.pubsub.lanes import MANY, Lanes
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.pubsub.subscriptions import Subscription
from actors.runtime.spawn import spawn
from actors.testing import ManualRuntime, Probe
from transport.protocol.serializer import V2JSONSerializer

NEWS = Broadcast("a", "news", {"n": 1})


class Serializer:
    """Writes broadcasts with its name in front; "none" has no form for them."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode_broadcast(self, broadcast: Broadcast) -> Frame | None:
        if self.name == "none":
            return None
        return Frame(Opcode.TEXT, f"{self.name} {broadcast.event} {broadcast.payload}".encode())


class Wire:
    """What all clients have in common: it counts what is written past the carrier."""

    def __init__(self) -> None:
        self.bytes = self.messages = 0
        self.watched = False

    def wire(self, frame: Frame) -> bytes:
        data: bytes = frame.data
        return b"wire " + data

    def wrote(self, data: bytes, times: int) -> None:
        self.messages += times
        self.bytes += len(data) * times


class Transport(Actor):
    """Writes to its log; with an outlet, broadcasts may go right there."""

    def __init__(self, serializer: Any, outlet: Outlet | None) -> None:
        self.serializer, self.outlet = serializer, outlet
        self.log: list[bytes] = []

    def on_start(self) -> None:
        self.fastlane = Fastlane(self._process, self.serializer, self.on_receive)
        self.fastlane.open()
        self.fastlane.outlet, self.fastlane.write = self.outlet, self.log.append

    def on_receive(self, frame: Any) -> None:
        self.log.append(b"wire " + frame.data)


class ChannelOf(Actor):
    """Keeps the broadcasts that it intercepts."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    def on_receive(self, message: Any) -> None:
        self.log.append(message)


class World:
    """A topic with clients; broadcasts go by lanes, or all the general way."""

    def __init__(self, *, by_lanes: bool) -> None:
        self.pubsub, self.wire = PubSub(), Wire()
        self.server = spawn(PubSubServer, (self.pubsub,), label="pubsub")
        self.serializers = {name: Serializer(name) for name in ("one", "two", "none")}
        self.transports: list[Transport] = []
        self.channels: list[ChannelOf] = []
        if not by_lanes:
            self.pubsub.subscriptions.lanes = lambda topic: None  # type: ignore[method-assign]  # there are no lanes

    def client(self, serializer: str = "one", *intercepts: str, outlet: bool = True) -> Transport:
        ref = spawn(Transport, (self.serializers[serializer], self.wire if outlet else None))
        channel = ChannelOf.start()
        transport = ref.process.actor
        assert isinstance(transport, Transport)
        self.pubsub.subscribe("a", channel, transport.fastlane, intercepts)
        self.transports.append(transport)
        kept: Any = channel.process.actor
        self.channels.append(kept)
        return transport

    def broadcast(self, broadcast: Broadcast = NEWS, sender: int | None = None) -> None:
        if sender is None:
            self.pubsub.broadcast("a", broadcast)
        else:
            self.pubsub.broadcast_from(self.channels[sender].actor_ref, "a", broadcast)


@pytest.fixture
def world(runtime: ManualRuntime) -> World:
    """A topic with many clients that has not changed since it was first heard of."""
    world = World(by_lanes=True)
    for _ in range(MANY):
        world.client()
    world.broadcast()
    return world


def written(world: World) -> list[int]:
    return [len(transport.log) for transport in world.transports]


def test_the_lanes_of_many_are_written_to_at_once(world: World) -> None:
    assert world.wire.messages == 0
    world.broadcast()
    assert world.wire.messages == MANY
    assert world.wire.bytes == sum(len(transport.log[1]) for transport in world.transports)
    assert world.transports[0].log == [b"wire one news {'n': 1}"] * 2


def test_few_have_no_lanes(runtime: ManualRuntime) -> None:
    world = World(by_lanes=True)
    for _ in range(MANY - 1):
        world.client()
    for _ in range(3):
        world.broadcast()
    assert (world.wire.messages, written(world)) == (0, [3] * (MANY - 1))


def test_whoever_comes_later_is_written_to_as_well(world: World) -> None:
    world.broadcast()
    world.client()
    world.broadcast()
    assert written(world) == [3] * MANY + [1]


def test_whoever_leaves_is_not(world: World) -> None:
    world.broadcast()
    world.pubsub.unsubscribe("a", world.channels[3].actor_ref)
    world.broadcast()
    assert written(world)[2:5] == [3, 2, 3]


def test_a_held_lane_is_written_to_by_its_transport(world: World) -> None:
    world.transports[3].fastlane.hold(CORKED)
    world.broadcast()
    assert (world.wire.messages, written(world)) == (MANY - 1, [2] * MANY)


def test_what_many_get_is_checked_without_a_look_at_each(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.pubsub.broadcast("a", NEWS)
    world.pubsub.broadcast("a", NEWS)
    monkeypatch.setattr("actors.pubsub.pubsub._recipients", lambda *_: pytest.fail("each subscriber is looked at"))
    world.pubsub.check(NEWS)


def test_one_whose_mailbox_is_not_empty_gets_it_after_what_waits(world: World, runtime: ManualRuntime) -> None:
    transport = world.transports[3]
    transport.actor_ref.tell(Frame(Opcode.TEXT, b"before"))
    world.broadcast()
    runtime.settle()
    assert transport.log[1:] == [b"wire before", b"wire one news {'n': 1}"]


def test_the_dead_get_nothing_even_before_anybody_knows(world: World, runtime: ManualRuntime) -> None:
    world.channels[3]._process.finish_killed()
    world.broadcast()
    assert written(world)[2:5] == [2, 1, 2]


def test_while_its_actor_is_looked_into_the_dead_are_looked_for(world: World, runtime: ManualRuntime) -> None:
    sys.suspend(world.server)
    runtime.settle()
    world.channels[3].actor_ref.kill()
    runtime.settle()
    world.broadcast()
    assert written(world)[2:5] == [2, 1, 2]


def test_an_event_that_somebody_intercepts_goes_the_general_way(world: World, runtime: ManualRuntime) -> None:
    world.client("one", "news")
    for _ in range(3):
        world.broadcast()
    runtime.settle()
    assert world.wire.messages == 0
    assert world.channels[-1].log == [NEWS] * 3
    world.broadcast(Broadcast("a", "other", {}))
    assert world.wire.messages == MANY + 1


def test_each_frame_is_told_of_if_somebody_listens(world: World) -> None:
    world.wire.watched = True
    world.broadcast()
    assert (world.wire.messages, written(world)) == (0, [2] * MANY)


def test_a_wire_that_fails_ends_its_transport_and_no_other(world: World, runtime: ManualRuntime) -> None:
    def fail(_data: bytes) -> None:
        raise RuntimeError("the handle is closed")

    world.broadcast()
    world.transports[3].fastlane.write = fail
    probe = Probe()
    probe.monitor(world.transports[3].actor_ref)
    world.broadcast()
    assert written(world) == [3 if number != 3 else 2 for number in range(MANY)]
    assert isinstance(probe.assert_receive(lambda down: True).reason, Crash)
    assert world.wire.messages == 2 * MANY - 1


def test_one_lane_twice_is_no_case_for_lanes(runtime: ManualRuntime) -> None:
    transport = World(by_lanes=True).client()
    twice = [Subscription("a", transport._process, transport.fastlane) for _ in range(2)]
    assert Lanes.of(twice) is None
    assert Lanes.of(twice[:1]) is not None


CLIENT = st.tuples(
    st.sampled_from(["one", "two", "none"]), st.sampled_from([(), (), ("news",), ("other",)]), st.booleans()
)
STEP = st.one_of(
    st.tuples(st.just("broadcast"), st.sampled_from(["news", "other"]), st.none() | st.integers(0, 5)),
    st.tuples(st.sampled_from(["kill", "leave", "busy", "watch", "cork"]), st.integers(0, 5), st.none()),
    st.tuples(st.just("join"), CLIENT, st.none()),
    st.tuples(st.just("settle"), st.none(), st.none()),
)


def play(clients: list[Any], steps: list[Any], *, by_lanes: bool) -> list[Any]:
    """Return what each client has got, and what its channel has intercepted."""
    with ManualRuntime() as runtime:
        world = World(by_lanes=by_lanes)
        for serializer, intercepts, outlet in clients:
            world.client(serializer, *intercepts, outlet=outlet)
        for step, what, sender in steps:
            if step == "broadcast":
                world.broadcast(Broadcast("a", what, {}), None if sender is None else sender % len(world.channels))
            elif step == "join":
                world.client(what[0], *what[1], outlet=what[2])
            elif step == "settle":
                runtime.settle()
            else:
                touch(world, step, what % len(world.channels))
        runtime.settle()
        return [
            (transport.log, channel.log) for transport, channel in zip(world.transports, world.channels, strict=True)
        ]


def touch(world: World, step: str, number: int) -> None:
    transport, channel = world.transports[number], world.channels[number]
    match step:
        case "kill":
            channel._process.kill()
        case "leave":
            world.pubsub.unsubscribe("a", channel._process.ref)
        case "busy":
            transport._process.put(Frame(Opcode.TEXT, b"busy"))
        case "watch":
            sys.log(transport._process.ref, 3)
        case "cork":
            lane = transport.fastlane
            (lane.release if lane.held & CORKED else lane.hold)(CORKED)


@given(st.lists(CLIENT, min_size=1, max_size=6), st.lists(STEP, max_size=20))
def test_both_ways_give_each_client_the_same(clients: list[Any], steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscriptions, "MANY", 1)
        assert play(clients, steps, by_lanes=True) == play(clients, steps, by_lanes=False)


# Clients that want the offsets of recorded broadcasts


class Counting(V2JSONSerializer):
    """Counts what it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        self.encoded += 1
        return super().encode_broadcast(broadcast)

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Any) -> Frame:
        self.encoded += 1
        return super().encode_push(join_ref, ref, topic, event, payload)


class Kept:
    """What the clients join the topic through."""

    has_histories = True

    def serializers(self, topic: str, event: str) -> list[Any]:
        return []

    def history_of(self, topic: str) -> History:
        return History(events=("news",))


@pytest.mark.parametrize("by_lanes", [True, False])
@pytest.mark.parametrize("number", [4, MANY * 2])
def test_there_are_two_encodings_with_the_offset_and_without(
    runtime: ManualRuntime, number: int, *, by_lanes: bool
) -> None:
    world, serializer = World(by_lanes=by_lanes), Counting()
    world.pubsub.attach_audience(Kept(), world.server.process)
    transports = [spawn(Transport, (serializer, world.wire)).process.actor for _ in range(number)]
    channels = [ChannelOf.start() for _ in transports]
    for index, (channel, transport) in enumerate(zip(channels, transports, strict=True)):
        assert isinstance(transport, Transport)
        world.pubsub.subscribe("a", channel, transport.fastlane, offsets=index % 2 == 0)
    for _ in range(3):
        world.broadcast()
    assert serializer.encoded == 6
    world.pubsub.broadcast_from(channels[0], "a", NEWS)
    world.pubsub.broadcast_from(channels[1], "a", NEWS)
    world.broadcast(Broadcast("a", "other", {}))
    runtime.settle()
    plain, news = b'wire [null,null,"a",%b]', b'"news",{"n":1}'
    numbered = [b'wire [null,"@%d","a",%b]' % (offset, news) for offset in range(1, 6)]
    skipped = b'wire [null,"@4","a","phx_skip",{}]'
    other = plain % b'"other",{}'
    logs = [transport.log for transport in transports if isinstance(transport, Transport)]
    assert logs[0] == [*numbered[:3], skipped, numbered[4], other]
    assert logs[1] == [plain % news] * 4 + [other]
    assert logs[2::2] == [[*numbered, other]] * (number // 2 - 1)
    assert logs[3::2] == [[plain % news] * 5 + [other]] * (number // 2 - 1)
