"""The latest disconnects: what was before a number does not count, and the memory is limited."""

from __future__ import annotations

import pytest

from actors.channels.message import Broadcast
from actors.lowlevel import spawn
from actors.pubsub.disconnects import Disconnects
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.testing.manual_runtime import ManualRuntime


def test_only_what_came_later_on_the_same_topic_counts() -> None:
    disconnects = Disconnects()
    disconnects.add("users:ann")
    before = disconnects.number
    assert not disconnects.since(before, "users:ann")
    disconnects.add("users:ben")
    assert disconnects.since(before, "users:ben")
    assert not disconnects.since(before, "users:ann")
    disconnects.add("users:ann")
    assert disconnects.since(before, "users:ann")
    assert not disconnects.since(disconnects.number, "users:ann")


def test_the_oldest_topics_are_forgotten() -> None:
    disconnects = Disconnects()
    for number in range(10_001):
        disconnects.add(f"users:{number}")
    assert not disconnects.since(0, "users:0")
    assert disconnects.since(0, "users:1")
    disconnects.add("users:1")
    disconnects.add("users:new")
    assert not disconnects.since(0, "users:2")
    assert disconnects.since(0, "users:1")


@pytest.mark.parametrize(("event", "is_one"), [("disconnect", True), ("other", False)])
@pytest.mark.parametrize("how", ["broadcast", "local_broadcast"])
def test_a_pubsub_remembers_them(how: str, event: str, *, is_one: bool) -> None:
    with ManualRuntime():
        pubsub = PubSub()
        spawn(PubSubServer, (pubsub,), name=pubsub.name)
        getattr(pubsub, how)("users:ann", Broadcast("users:ann", event, {}))
        assert pubsub.disconnects.since(0, "users:ann") is is_one
