"""Histories in memory: they belong to the actor of the PubSub, and expire by its clock."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from actors.channels.message import Broadcast, Serializer
from actors.exceptions import UnencodableError
from actors.exits import SHUTDOWN
from actors.history.history import NOWHERE, History, Position
from actors.history.history_store import HistoryStore, NoHistory
from actors.history.memory_history import MemoryHistory
from actors.history.topic_logs import SWEPT_AT_ONCE
from actors.lowlevel import spawn
from actors.pubsub.adapter import Adapter
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.testing.manual_runtime import ManualRuntime
from supervisors.child_spec import ChildSpec
from supervisors.supervisor import Supervisor
from transport.protocol.serializer import V2JSONSerializer

TOPIC, HISTORY = "room:1", History(size=3, ttl=60.0, events=("said",))


class Clients:
    """What clients could join the topic through."""

    has_histories = True

    def serializers(self, topic: str, event: str) -> Collection[Serializer]:
        return [V2JSONSerializer()]

    def history_of(self, topic: str) -> History | None:
        return HISTORY if topic == TOPIC else None


class World:
    def __init__(self, runtime: ManualRuntime, adapter: Adapter | None = None) -> None:
        self.runtime, self.history = runtime, MemoryHistory(max_bytes=1_000_000)
        self.pubsub = PubSub(adapter=adapter, history=self.history)
        spec = ChildSpec(PubSubServer, (self.pubsub,), id="pubsub", name="pubsub")
        self.top = spawn(Supervisor, ([spec],), label="system")
        runtime.settle()
        self.pubsub.attach_audience(Clients(), self.top.process)

    def say(self, *payloads: Any, topic: str = TOPIC, event: str = "said") -> None:
        for payload in payloads:
            self.pubsub.broadcast(topic, Broadcast(topic, event, payload))

    def standing(self, position: Position = NOWHERE) -> tuple[Position, bool, list[bytes]]:
        found = self.history.recover(TOPIC, HISTORY, position)
        return found.position, found.recovered, [kept.payload for kept in found.missed]

    def crash(self) -> None:
        assert self.pubsub.server is not None
        self.pubsub.server.actor_ref.kill()


@pytest.fixture
def world() -> Iterator[World]:
    with ManualRuntime() as runtime:
        yield World(runtime)


def test_what_is_broadcast_is_kept_as_it_was(world: World) -> None:
    payload = {"n": 1}
    before = world.standing()[0]
    world.say(payload)
    payload["n"] = 2
    world.say(payload)
    assert world.standing(before) == (Position(before.epoch, 2), True, [b'{"n":1}', b'{"n":2}'])


def test_only_the_events_and_topics_of_the_history_are_kept(world: World) -> None:
    world.say({}, event="typing")
    world.say({}, topic="room:2")
    world.pubsub.broadcast(TOPIC, "a message of actors")
    world.pubsub.broadcast(TOPIC, Broadcast("room:2", "said", {}))
    world.pubsub.local_broadcast(TOPIC, Broadcast(TOPIC, "said", {}))
    assert world.standing()[0].offset == 0
    assert world.history.counts.recorded == 0


@pytest.mark.parametrize(
    "payload",
    [{"n": object()}, [1], "text", {"n": {1: {2: open}}}],
    ids=["an object", "a list", "a text", "a function"],
)
def test_what_cannot_be_encoded_is_neither_kept_nor_counted(world: World, payload: Any) -> None:
    world.say({})
    with pytest.raises(UnencodableError):
        world.say(payload)
    world.say({})
    assert world.standing()[0].offset == 2


def test_a_crash_of_its_owner_begins_another_epoch(world: World) -> None:
    before = world.standing()[0]
    world.say({"n": 1})
    world.crash()
    world.runtime.settle()
    world.say({"n": 2})
    (epoch, offset), recovered, missed = world.standing(before)
    assert (offset, recovered, missed) == (1, False, [])
    assert epoch != before.epoch


def test_without_its_owner_there_is_no_epoch(world: World) -> None:
    world.top.exit(SHUTDOWN)
    world.runtime.settle()
    assert world.standing(Position("", 0)) == (NOWHERE, False, [])
    assert not world.history.record(Broadcast(TOPIC, "said", {}), HISTORY, None, None)
    assert (world.history.counts.recorded, world.history.counts.unrecorded) == (0, 1)


def test_what_has_expired_is_forgotten_and_the_timer_ends_with_the_last(world: World) -> None:
    world.say({"n": 1})
    full = world.history.logs.bytes
    world.runtime.advance(59.0)
    assert world.history.logs.bytes == full
    world.runtime.advance(11.0)
    assert 0 < world.history.logs.bytes < full
    world.runtime.advance(4000.0)
    assert (world.history.logs.bytes, len(world.history.logs)) == (0, 0)
    assert world.runtime.clock.pending() == 0


def test_the_counts_are_of_joins_with_a_position(world: World) -> None:
    world.say({}, {})
    position = world.standing()[0]
    world.standing(Position(position.epoch, 0))
    world.standing(Position("another", 0))
    counts = world.history.counts
    assert (counts.recovered, counts.unrecovered, counts.replayed) == (1, 1, 2)


class Elsewhere(Adapter):
    """An adapter that knows other processes, and keeps no history."""

    def __init__(self) -> None:
        self.published: list[str] = []

    def publish(self, topic: str, data: bytes) -> None:
        self.published.append(topic)

    def subscribed(self, topic: str) -> None:
        """Nothing to do."""

    def unsubscribed(self, topic: str) -> None:
        """Nothing to do."""


def test_with_other_processes_there_is_no_history_in_memory() -> None:
    """It would be another one in each of them."""
    adapter = Elsewhere()
    with ManualRuntime() as runtime:
        world = World(runtime, adapter)
        world.say({})
        assert adapter.published == [TOPIC]
        assert world.standing() == (NOWHERE, False, [])


class Sharing(Elsewhere):
    """An adapter that keeps histories, which the other processes share."""

    def __init__(self, history: HistoryStore) -> None:
        super().__init__()
        self.history = history


class Store(NoHistory):
    """A store of an author."""


def test_an_adapter_that_keeps_histories_is_asked_and_not_the_memory() -> None:
    """Workers have an adapter, also where the program has said how much of the memory histories may take."""
    shared, own = Store(), Store()
    assert PubSub(adapter=Sharing(shared), history=MemoryHistory()).history is shared
    assert PubSub(adapter=Sharing(Store()), history=own).history is own


@pytest.mark.parametrize("topics", [1, SWEPT_AT_ONCE * 2 + 1])
def test_the_histories_of_all_topics_expire(world: World, topics: int) -> None:
    for number in range(topics):
        world.history.record(Broadcast(f"room:{number}", "said", {}), HISTORY, None, None)
    assert world.history.sizes.messages == topics
    world.runtime.advance(70.0)
    assert (world.history.sizes.messages, world.history.sizes.topics) == (0, topics)


def test_a_store_belongs_to_one_pubsub() -> None:
    history = MemoryHistory()
    PubSub(history=history)
    with pytest.raises(ValueError, match="belongs to another PubSub already"):
        PubSub(history=history)


def test_a_store_must_be_one() -> None:
    with pytest.raises(TypeError, match=r"history must be a HistoryStore, such as MemoryHistory\(\), got "):
        PubSub(history=History())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_bytes must be a whole number >= 1, got 0"):
        MemoryHistory(max_bytes=0)
