"""Two Presences on one virtual clock, each with a PubSub of its own, and an adapter that can be cut."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from actors.actor import Actor
from actors.exits import KILL
from actors.presence import Presence
from actors.pubsub import Adapter, PubSub
from actors.runtime.spawn import spawn
from actors.testing import ManualRuntime, Probe
from supervisors.calls import restart_child, terminate_child
from supervisors.supervisor import Supervisor


class Member(Actor):
    """Is tracked."""


class Wire(Adapter):
    """Hands everything to the other one, whose Presence has another name, as both are on one event loop."""

    def __init__(self, name: str) -> None:
        self.own_name = name
        self.other: Wire | None = None
        self.is_cut = False
        self.error: Exception | None = None
        self.published: list[str] = []

    def publish(self, topic: str, data: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.published.append(topic)
        if self.other is not None and not self.is_cut:
            self.other.pubsub.receive(topic.replace(self.own_name, self.other.own_name), data)

    def subscribed(self, topic: str) -> None:
        if self.error is not None:
            raise self.error

    def unsubscribed(self, topic: str) -> None:
        pass


class Node:
    """A tree with a PubSub and a Presence, and a subscriber of the topic "room"."""

    def __init__(self, runtime: ManualRuntime, presence: Presence) -> None:
        self.runtime, self.presence, self.wire = runtime, presence, Wire(presence.name)
        self.pubsub = PubSub(f"pubsub of {presence.name}", self.wire, node=f"node of {presence.name}")
        self.probe = Probe()
        self.tree = spawn(Supervisor, ([self.pubsub, presence],), {"max_restarts": 1000}, label="System")
        runtime.run(self.tree.started())
        self.pubsub.subscribe("room", self.probe.ref)

    def track(self, key: str, **meta: Any) -> str:
        return self.presence.track(Member.start(), "room", key, meta)

    def diffs(self) -> list[tuple[dict[str, list[str]], dict[str, list[str]]]]:
        """Take out the diffs that have come: the refs of those that have joined, and of those that have left."""
        self.runtime.advance(0.1)
        came, self.probe.messages[:] = list(self.probe.messages), []
        return [(refs(message.payload["joins"]), refs(message.payload["leaves"])) for message in came]

    def here(self) -> dict[str, list[str]]:
        return refs(self.presence.list("room"))


def refs(listing: dict[str, Any]) -> dict[str, list[str]]:
    return {key: [meta["phx_ref"] for meta in entry["metas"]] for key, entry in listing.items()}


@pytest.fixture
def nodes(runtime: ManualRuntime) -> tuple[Node, Node]:
    one, two = Node(runtime, Presence("one")), Node(runtime, Presence("two"))
    one.wire.other, two.wire.other = two.wire, one.wire
    return one, two


def test_what_is_tracked_on_one_is_listed_and_told_on_both(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    ann = one.track("ann", status="here")
    assert (one.diffs(), two.diffs()) == ([({"ann": [ann]}, {})], [({"ann": [ann]}, {})])
    again = two.track("ann")
    assert (one.here(), two.here()) == ({"ann": [ann]}, {"ann": [again, ann]})
    assert one.diffs() == [({"ann": [again]}, {})]
    assert one.here() == {"ann": [ann, again]}
    assert two.presence.get_by_key("room", "ann") == {"metas": [{"phx_ref": again}, {"status": "here", "phx_ref": ann}]}
    assert two.presence.get_by_key("elsewhere", "ann") is None


def test_an_update_is_a_leave_and_a_join_in_one_diff(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    member = Member.start()
    before = one.presence.track(member, "room", "ann", {})
    two.diffs()
    after = one.presence.update(member, "room", "ann", {"status": "away"})
    assert two.diffs() == [({"ann": [after]}, {"ann": [before]})]
    assert two.presence.list("room") == one.presence.list("room")


def test_what_comes_and_goes_in_between_is_told_only_on_its_own_node(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    one.diffs()
    member = Member.start()
    one.presence.track(member, "room", "ann", {})
    one.presence.untrack(member, "room", "ann")
    assert (len(one.diffs()), two.diffs()) == (2, [])


def test_many_changes_are_few_messages(nodes: tuple[Node, Node], runtime: ManualRuntime) -> None:
    one, two = nodes
    one.diffs()
    one.wire.published.clear()
    for number in range(100):
        one.track(f"user{number}")
        runtime.advance(0.01)
    assert len(two.diffs()) <= 22
    assert len(one.wire.published) <= 23
    assert len(two.here()) == 100


def test_presences_from_before_they_met_are_listed(runtime: ManualRuntime) -> None:
    one = Node(runtime, Presence("one"))
    ann = one.track("ann")
    two = Node(runtime, Presence("two"))
    one.wire.other, two.wire.other = two.wire, one.wire
    runtime.advance(2.0)
    assert two.here() == {"ann": [ann]}
    assert two.diffs() == [({"ann": [ann]}, {})]


def test_fetch_and_handle_metas_see_the_presences_of_all(runtime: ManualRuntime) -> None:
    handled = []

    class Fetching(Presence):
        def fetch(self, topic: str, presences: dict[str, Any]) -> dict[str, Any]:
            return {key: {**entry, "name": key.upper()} for key, entry in presences.items()}

        def handle_metas(self, topic: str, diff: dict[str, Any], presences: dict[str, Any]) -> None:
            handled.append((topic, list(diff["joins"]), sorted(presences)))

    one, two = Node(runtime, Fetching("one")), Node(runtime, Presence("two"))
    one.wire.other, two.wire.other = two.wire, one.wire
    one.track("ann")
    two.track("ben")
    two.presence.track(Member.start(), "without a subscriber", "cid", {})
    runtime.advance(2.0)
    assert handled == [
        ("room", ["ann"], ["ann"]),
        ("room", ["ben"], ["ann", "ben"]),
        ("without a subscriber", ["cid"], ["cid"]),
    ]
    assert {key: entry["name"] for key, entry in one.presence.list("room").items()} == {"ann": "ANN", "ben": "BEN"}


def test_a_silent_node_leaves_after_the_period_and_is_back_when_it_speaks(
    nodes: tuple[Node, Node], runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = nodes
    ann = one.track("ann")
    two.diffs()
    one.wire.is_cut = True
    runtime.advance(28.0)
    assert two.here() == {"ann": [ann]}
    with caplog.at_level(logging.WARNING):
        runtime.advance(2.0)
    assert two.here() == {}
    assert [record.getMessage() for record in caplog.records] == ["'node of one' is silent: its presences leave"]
    one.wire.is_cut = False
    runtime.advance(2.0)
    assert two.diffs() == [({}, {"ann": [ann]}), ({"ann": [ann]}, {})]


def test_a_missed_diff_is_made_up_for(nodes: tuple[Node, Node], runtime: ManualRuntime) -> None:
    one, two = nodes
    ann = one.track("ann")
    two.diffs()
    one.wire.is_cut = True
    ben = one.track("ben")
    runtime.advance(0.2)
    one.wire.is_cut = False
    runtime.advance(2.0)
    assert two.here() == {"ann": [ann], "ben": [ben]}
    assert two.diffs() == [({"ben": [ben]}, {})]


def test_an_orderly_end_is_told_at_once_and_a_start_is_another_run(
    nodes: tuple[Node, Node], runtime: ManualRuntime
) -> None:
    one, two = nodes
    ann, ben = one.track("ann"), two.track("ben")
    two.diffs()
    runtime.run(terminate_child(one.tree, "one"))
    assert two.diffs() == [({}, {"ann": [ann]})]
    one.diffs()
    runtime.run(restart_child(one.tree, "one"))
    runtime.advance(2.0)
    # It was not away for so long that those of others have left.
    assert (one.diffs(), one.here()) == ([], {"ann": [ann], "ben": [ben]})
    assert two.diffs() == [({"ann": [ann]}, {})]


def test_others_that_have_ended_meanwhile_are_dropped_soon(nodes: tuple[Node, Node], runtime: ManualRuntime) -> None:
    one, two = nodes
    ben = two.track("ben")
    one.diffs()
    runtime.run(terminate_child(one.tree, "one"))
    two.wire.is_cut = True
    runtime.run(restart_child(one.tree, "one"))
    runtime.advance(5.0)
    assert one.diffs() == [({}, {"ben": [ben]})]


def test_when_its_actor_crashes_nothing_is_told_and_changes_are_told_later(
    nodes: tuple[Node, Node], runtime: ManualRuntime
) -> None:
    one, two = nodes
    one.track("ann")
    two.diffs()
    assert one.presence.server is not None
    one.presence.server.actor_ref.process.send_exit(KILL, None)
    ben = one.track("ben")
    runtime.advance(2.0)
    assert two.diffs() == [({"ben": [ben]}, {})]


def test_a_node_that_is_known_to_be_dead_leaves_at_once(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    ann = one.track("ann")
    two.diffs()
    one.wire.is_cut = True
    two.pubsub.node_down("another")
    assert two.here() == {"ann": [ann]}
    two.pubsub.node_down("node of one")
    assert two.diffs() == [({}, {"ann": [ann]})]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"type":"other","node":"a","run":"b","clock":1}',
        b'{"type":"diff","node":"a","run":"b","clock":1,"joins":{"room":{"ann":[1]}}}',
        b'{"type":"diff","node":"a","run":"b","clock":1,"joins":{"room":{"ann":[{}]}}}',
        b'{"type":"diff","node":"a","run":"b","clock":1,"joins":{"room":{"ann":[{"phx_ref":1}]}}}',
        b'{"type":"state","node":"a","run":"b","clock":1,"number":1,"part":0,"is_last":true,"joins":{"room":{"ann":["\xff"]}}}',
        b'{"type":"beat","node":"a","run":"b","clock":1,"x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_ignored_and_logged_once(
    nodes: tuple[Node, Node], runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    one, two = nodes
    two.diffs()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            one.pubsub.broadcast("\0presence:one", data)
        runtime.settle()
    assert len(caplog.records) == 2  # one on each
    ann = one.track("ann")
    assert two.diffs() == [({"ann": [ann]}, {})]


def test_an_adapter_that_raises_is_logged_and_costs_nothing_here(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    presence = Presence("one")
    with caplog.at_level(logging.ERROR):
        one = Node(runtime, presence)
        one.wire.error = OSError("away")
        server = presence.server
        ann = one.track("ann")
        runtime.advance(20.0)
    assert presence.server is server
    assert one.here() == {"ann": [ann]}
    assert 1 <= len(caplog.records) <= 3
    assert "raised: other processes are not told of presences" in caplog.records[0].getMessage()


def test_alone_it_exchanges_nothing(runtime: ManualRuntime) -> None:
    presence = Presence()
    tree = spawn(Supervisor, ([PubSub(), presence],), label="System")
    runtime.run(tree.started())
    presence.track(Member.start(), "room", "ann", {})
    assert presence.exchange is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"broadcast_period": 0}, "broadcast_period must be seconds > 0, got 0"),
        ({"down_period": -1}, "down_period must be"),
        ({"down_period": 2.9}, "down_period must be at least 2 * broadcast_period, which is 1.5, got 2.9"),
        ({"down_period": "30"}, "down_period must be"),
    ],
)
def test_a_wrong_option_is_an_error_with_its_value(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        Presence(**options)
    assert text in str(wrong.value)
