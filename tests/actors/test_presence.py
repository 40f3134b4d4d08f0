"""Presence and the actor behind it: in a tree with PubSub, on virtual time."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.channel_socket import ChannelSocket
from actors.channels.message import Broadcast, Message
from actors.exceptions import ActorDeadError, AlreadyTrackedError, NotTrackedError, StartError, UnencodableError
from actors.presence import Presence
from actors.pubsub import LocalAdapter, PubSub
from actors.ref import ActorRef
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe, sync
from supervisors.calls import which_children
from supervisors.child_spec import ChildSpec
from supervisors.exceptions import ChildExistsError
from supervisors.supervisor import Supervisor
from supervisors.system import System
from tests.presence_client import PresenceClient
from transport.testing import NoopSerializer

if TYPE_CHECKING:
    from actors.presence.presences import Metas


class Member(Actor):
    """Somebody to be tracked."""


class World:
    """A tree with PubSub and a Presence, in a runtime of the test's, and a subscriber of the topic "room"."""

    def __init__(self, runtime: ManualRuntime, presence: Presence) -> None:
        self.runtime, self.presence, self.pubsub = runtime, presence, PubSub()
        self.tree = spawn(Supervisor, ([self.pubsub, presence],), {"max_restarts": 1000}, label="System")
        runtime.settle()
        self.probe = Probe()
        self.pubsub.subscribe("room", self.probe.ref)

    @property
    def server(self) -> ActorRef[Any]:
        assert self.presence.server is not None
        return self.presence.server.actor_ref

    def diffs(self) -> list[dict[str, Any]]:
        """Take out the diffs that have come: `{"joins": {key: [ref, …]}, …}`, sides without anybody left out."""
        self.runtime.settle()
        came, self.probe.messages[:] = list(self.probe.messages), []
        assert all(isinstance(message, Broadcast) and message.event == "presence_diff" for message in came)
        return [
            {side: {key: refs(presence) for key, presence in of.items()} for side, of in message.payload.items() if of}
            for message in came
        ]

    def here(self, topic: str = "room") -> dict[str, list[str]]:
        """Return the refs of each key."""
        return {key: refs(presence) for key, presence in self.presence.list(topic).items()}


def refs(presence: dict[str, Any]) -> list[str]:
    return [meta["phx_ref"] for meta in presence["metas"]]


@pytest.fixture
def presence() -> Presence:
    return Presence()


@pytest.fixture
def world(runtime: ManualRuntime, presence: Presence) -> World:
    return World(runtime, presence)


# Track, list, untrack


def test_whoever_is_tracked_is_listed_with_a_ref(world: World, presence: Presence) -> None:
    ref = presence.track(Member.start(), "room", "ann", {"status": "here"})
    assert presence.list("room") == {"ann": {"metas": [{"status": "here", "phx_ref": ref}]}}
    assert presence.list("elsewhere") == {}


def test_a_ref_is_12_bytes_as_url_safe_base64_and_no_other_has_it(world: World, presence: Presence) -> None:
    member = Member.start()
    made = [presence.track(member, "room", number, {}) for number in range(100)]
    assert len(set(made)) == 100
    assert {len(base64.urlsafe_b64decode(ref)) for ref in made} == {12}
    assert all(base64.urlsafe_b64encode(base64.urlsafe_b64decode(ref)).decode() == ref for ref in made)


def test_the_topic_hears_of_it_at_once_and_only_that_topic(world: World, presence: Presence) -> None:
    ref = presence.track(Member.start(), "room", "ann", {"status": "here"})
    presence.track(Member.start(), "elsewhere", "ann", {})
    broadcast = world.probe.assert_receive(Broadcast)
    joins = {"ann": {"metas": [{"status": "here", "phx_ref": ref}]}}
    assert broadcast == Broadcast("room", "presence_diff", {"joins": joins, "leaves": {}})
    assert world.probe.messages == []


def test_metas_of_one_key_stand_in_the_order_of_tracking(world: World, presence: Presence) -> None:
    tabs = [Member.start() for _ in range(3)]
    made = [presence.track(tab, "room", "ann", {}) for tab in reversed(tabs)]
    assert world.here() == {"ann": made}


@pytest.mark.parametrize(("key", "text"), [(1, "1"), ("__proto__", "__proto__"), ("", ""), (None, "None")])
def test_keys_are_text(world: World, presence: Presence, key: object, text: str) -> None:
    member = Member.start()
    presence.track(member, "room", key, {})
    assert list(presence.list("room")) == [text]
    assert presence.get_by_key("room", key) == presence.list("room")[text]
    presence.update(member, "room", key, {})
    presence.untrack(member, "room", key)
    assert presence.list("room") == {}


def test_a_key_alone(world: World, presence: Presence) -> None:
    one, two = Member.start(), Member.start()
    made = [presence.track(member, "room", "ann", {}) for member in (one, two)]
    presence.track(one, "room", "ben", {})
    assert presence.get_by_key("room", "ann") == {"metas": [{"phx_ref": ref} for ref in made]}
    assert presence.get_by_key("room", "cid") is None
    assert presence.get_by_key("elsewhere", "ann") is None


def test_nobody_is_tracked_twice_under_one_key(world: World, presence: Presence) -> None:
    member = Member.start()
    ref = presence.track(member, "room", "ann", {})
    with pytest.raises(AlreadyTrackedError, match="is tracked on 'room' as 'ann' already") as refused:
        presence.track(member, "room", "ann", {"other": True})
    assert (refused.value.actor, refused.value.topic, refused.value.key) == (member, "room", "ann")
    assert world.here() == {"ann": [ref]}
    assert len(world.diffs()) == 1


def test_the_dead_are_not_tracked(world: World, presence: Presence) -> None:
    member = Member.start()
    member.stop()
    with pytest.raises(ActorDeadError, match="cannot be tracked"):
        presence.track(member, "room", "ann", {})
    assert world.diffs() == []


def test_untrack_tells_the_topic_and_is_silent_when_there_is_nothing(world: World, presence: Presence) -> None:
    member = Member.start()
    ref = presence.track(member, "room", "ann", {})
    world.diffs()
    presence.untrack(member, "room", "ann")
    presence.untrack(member, "room", "ann")
    assert world.diffs() == [{"leaves": {"ann": [ref]}}]
    assert presence.list("room") == {}


# Update


def test_an_update_keeps_the_key_and_tells_the_ref_before(world: World, presence: Presence) -> None:
    member = Member.start()
    first = presence.track(member, "room", "ann", {"status": "here", "since": 1})
    second = presence.update(member, "room", "ann", {"status": "away"})
    assert presence.list("room") == {
        "ann": {"metas": [{"status": "away", "phx_ref": second, "phx_ref_prev": first}]},
    }
    assert world.diffs() == [{"joins": {"ann": [first]}}, {"joins": {"ann": [second]}, "leaves": {"ann": [first]}}]


def test_only_the_last_ref_is_told(world: World, presence: Presence) -> None:
    member = Member.start()
    presence.track(member, "room", "ann", {"count": 1})
    second = presence.update(member, "room", "ann", lambda meta: meta | {"count": 2})
    third = presence.update(member, "room", "ann", lambda meta: meta | {"count": 3})
    assert presence.list("room")["ann"]["metas"] == [{"count": 3, "phx_ref": third, "phx_ref_prev": second}]


def test_a_function_may_change_the_meta_that_it_is_given(world: World, presence: Presence) -> None:
    member = Member.start()
    presence.track(member, "room", "ann", {"devices": ["phone"]})

    def plug_in(meta: dict[str, Any]) -> dict[str, Any]:
        meta["devices"].append("screen")
        return meta

    presence.update(member, "room", "ann", plug_in)
    joined, updated = (world.probe.assert_receive(Broadcast).payload for _ in range(2))
    assert joined["joins"]["ann"]["metas"][0]["devices"] == ["phone"]
    assert updated["leaves"]["ann"]["metas"][0]["devices"] == ["phone"]
    assert updated["joins"]["ann"]["metas"][0]["devices"] == ["phone", "screen"]


def test_a_function_that_fails_changes_nothing(world: World, presence: Presence) -> None:
    member = Member.start()
    ref = presence.track(member, "room", "ann", {})
    with pytest.raises(KeyError):
        presence.update(member, "room", "ann", lambda meta: {"status": meta["status"]})
    assert world.here() == {"ann": [ref]}
    assert len(world.diffs()) == 1


def test_what_is_not_tracked_cannot_be_updated(world: World, presence: Presence) -> None:
    member = Member.start()
    with pytest.raises(NotTrackedError, match=r"is not tracked on 'room' as 'ann'; track\(\) it first") as refused:
        presence.update(member, "room", "ann", {})
    assert (refused.value.actor, refused.value.topic, refused.value.key) == (member, "room", "ann")


# Metas


class Online(msgspec.Struct):
    """A meta with types."""

    since: int


def test_a_meta_may_be_a_struct(world: World, presence: Presence) -> None:
    ref = presence.track(Member.start(), "room", "ann", Online(since=7))
    assert presence.list("room")["ann"]["metas"] == [{"since": 7, "phx_ref": ref}]


def test_what_the_author_does_with_a_meta_later_changes_nothing(world: World, presence: Presence) -> None:
    meta: dict[str, Any] = {"devices": ["phone"]}
    ref = presence.track(Member.start(), "room", "ann", meta)
    meta["devices"].append("screen")
    presence.list("room")["ann"]["metas"][0]["more"] = True
    presence.list("room").clear()
    assert presence.list("room") == {"ann": {"metas": [{"devices": ["phone"], "phx_ref": ref}]}}
    assert meta == {"devices": ["phone", "screen"]}


@pytest.mark.parametrize("meta", [None, "here", ["here"], 1, object(), {"key": object()}, {1j: 1}])
def test_a_meta_that_is_no_object_or_cannot_be_sent_is_refused(world: World, presence: Presence, meta: object) -> None:
    member = Member.start()
    with pytest.raises(TypeError):
        presence.track(member, "room", "ann", meta)
    presence.track(member, "room", "ann", {})
    with pytest.raises(TypeError):
        presence.update(member, "room", "ann", meta)
    assert len(world.diffs()) == 1


@dataclasses.dataclass
class Seat:
    row: object


def test_a_meta_may_be_any_record_and_its_part_that_cannot_be_sent_is_named(world: World, presence: Presence) -> None:
    member = Member.start()
    ref = presence.track(member, "room", "ann", Seat(Path("a/b")))
    assert presence.list("room")["ann"]["metas"] == [{"row": "a/b", "phx_ref": ref}]
    for change in (Seat([object()]), lambda _: Seat([object()])):
        with pytest.raises(
            UnencodableError, match=r"^meta of 'ann' on 'room' at \$\.row\[0\]: Encoding objects of type object"
        ):
            presence.update(member, "room", "ann", change)
    with pytest.raises(
        UnencodableError, match=r"^meta of '\\ud800' on 'room', the key, at \$: '\\ud800' has a lone surrogate"
    ):
        presence.track(member, "room", "\ud800", {})


# Whom and where


class Room(Channel):
    """A channel that waits for a join that never comes."""

    def on_start(self) -> None:
        """Do not join."""


def start_channel(world: World, topic: str) -> Room:
    socket = ChannelSocket(world.probe.ref, NoopSerializer(), world.pubsub, topic, "1", {})
    channel = Room.start(socket, Message("1", "1", topic, "phx_join", {})).process.actor
    assert isinstance(channel, Room)
    return channel


def test_a_channel_is_tracked_on_its_own_topic(world: World, presence: Presence) -> None:
    channel = start_channel(world, "room")
    first = presence.track(channel, "ann", {})
    assert presence.list(channel) == {"ann": {"metas": [{"phx_ref": first}]}}
    second = presence.update(channel, "ann", {})
    assert presence.get_by_key(channel, "ann") == {"metas": [{"phx_ref": second, "phx_ref_prev": first}]}
    elsewhere = presence.track(channel, "elsewhere", "ann", {})
    presence.untrack(channel, "ann")
    assert (world.here(), world.here("elsewhere")) == ({}, {"ann": [elsewhere]})


def test_an_actor_may_be_given_for_its_ref(world: World, presence: Presence) -> None:
    member = Member.start()
    actor = member.process.actor
    assert isinstance(actor, Member)
    presence.track(actor, "room", "ann", {})
    presence.untrack(member, "room", "ann")
    assert world.here() == {}


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("track", ("ann", {})),
        ("track", ("room", "ann")),
        ("track", (1, "ann", {})),
        ("track", ("room", "ann", {}, {})),
        ("update", ("ann", {})),
        ("untrack", ("ann",)),
        ("untrack", ()),
    ],
)
def test_other_arguments_are_refused_with_the_allowed_ones(
    world: World, presence: Presence, verb: str, arguments: tuple[Any, ...]
) -> None:
    with pytest.raises(TypeError, match=rf"{verb}\(\) takes \(channel, key.*\) or \(actor, topic, key.*\), got"):
        getattr(presence, verb)(Member.start(), *arguments)


def test_who_is_no_actor_is_refused(world: World, presence: Presence) -> None:
    with pytest.raises(TypeError, match="got"):
        presence.track("ann", "room", "ann", {})  # type: ignore[call-overload]  # the wrong call is what it is about


# The end of an actor


@pytest.mark.parametrize("end", [ActorRef.stop, ActorRef.kill], ids=["stopped", "killed"])
def test_presences_end_with_their_actor_in_one_diff_a_topic(world: World, presence: Presence, end: Any) -> None:
    member, other = Member.start(), Member.start()
    ann, ben = (presence.track(member, "room", key, {}) for key in ("ann", "ben"))
    presence.track(member, "elsewhere", "ann", {})
    stays = presence.track(other, "room", "ann", {})
    world.diffs()
    end(member)
    assert world.diffs() == [{"leaves": {"ann": [ann], "ben": [ben]}}]
    assert (world.here(), world.here("elsewhere")) == ({"ann": [stays]}, {})


def test_whoever_is_tracked_no_more_is_watched_no_more(world: World, presence: Presence) -> None:
    member = Member.start()
    for key in ("ann", "ben"):
        presence.track(member, "room", key, {})
    assert len(member.process.watchers or ()) == 1
    presence.untrack(member, "room", "ann")
    assert len(member.process.watchers or ()) == 1
    presence.untrack(member, "room", "ben")
    assert len(member.process.watchers or ()) == 0
    world.diffs()
    member.kill()
    assert world.diffs() == []


def test_nothing_is_left_when_all_have_gone(world: World, presence: Presence) -> None:
    members = [Member.start() for _ in range(5)]
    for member in members:
        for topic in ("room", "elsewhere"):
            presence.track(member, topic, member, {})
    for member in members:
        member.kill()
    world.runtime.settle()
    assert presence.server is not None
    assert (presence.presences.topics(), presence.presences.actors()) == ([], [])
    assert (presence.server._monitors, world.server.process.watching) == ({}, {})


# The end of the Presence actor


def test_the_restarted_presence_knows_everybody_and_nobody_hears_of_it(world: World, presence: Presence) -> None:
    member = Member.start()
    ref = presence.track(member, "room", "ann", {})
    world.diffs()
    before = world.server
    before.kill()
    assert world.diffs() == []
    assert (world.server.is_alive(), world.server != before) == (True, True)
    assert world.here() == {"ann": [ref]}
    member.kill()
    assert world.diffs() == [{"leaves": {"ann": [ref]}}]


def test_whoever_dies_while_there_is_no_presence_leaves_when_it_is_back(world: World, presence: Presence) -> None:
    member, other = Member.start(), Member.start()
    ref, stays = (presence.track(one, "room", "ann", {}) for one in (member, other))
    world.diffs()
    world.server.kill()
    member.kill()
    assert world.diffs() == [{"leaves": {"ann": [ref]}}]
    assert world.here() == {"ann": [stays]}


def test_one_tracks_while_there_is_no_presence(world: World, presence: Presence) -> None:
    one, two = Member.start(), Member.start()
    presence.track(one, "room", "ann", {})
    before = world.server
    before.kill()
    before.process.turn()
    assert not before.is_alive()
    first = presence.update(one, "room", "ann", {})
    second = presence.track(two, "room", "ben", {})
    presence.untrack(one, "room", "ann")
    assert [list(diff) for diff in world.diffs()] == [["joins"], ["joins", "leaves"], ["joins"], ["leaves"]]
    assert (one.process.watchers or {}, len(two.process.watchers or {})) == ({}, 1)
    two.kill()
    assert world.diffs() == [{"leaves": {"ben": [second]}}]
    assert first != second


def test_presence_and_pubsub_may_die_together(world: World, presence: Presence) -> None:
    ref = presence.track(Member.start(), "room", "ann", {})
    world.diffs()
    pubsub = world.pubsub.server
    assert pubsub is not None
    world.server.kill()
    pubsub.actor_ref.kill()
    world.runtime.settle()
    assert (world.here(), world.server.is_alive()) == ({"ann": [ref]}, True)
    assert [child.restarts for child in which_children(world.tree).get()] == [1, 1]
    second = presence.track(Member.start(), "room", "ben", {})
    assert world.diffs() == [{"joins": {"ben": [second]}}]


# What subclasses add


class Profiles(Presence):
    """Adds what is known of a user."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, list[str]]] = []
        self.failing: BaseException | None = None

    def fetch(self, topic: str, presences: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        self.calls.append((topic, list(presences)))
        if self.failing is not None:
            raise self.failing
        for key, presence in presences.items():
            presence["name"] = key.title()
            for meta in presence["metas"]:
                meta["where"] = topic
        return presences


@pytest.fixture
def profiles() -> Profiles:
    return Profiles()


def test_fetch_adds_to_lists_keys_and_both_sides_of_a_diff(runtime: ManualRuntime, profiles: Profiles) -> None:
    world, member = World(runtime, profiles), Member.start()
    first = profiles.track(member, "room", "ann", {})
    second = profiles.update(member, "room", "ann", {})
    before = {"name": "Ann", "metas": [{"where": "room", "phx_ref": first}]}
    after = {"name": "Ann", "metas": [{"where": "room", "phx_ref": second, "phx_ref_prev": first}]}
    assert profiles.list("room") == {"ann": after}
    assert profiles.get_by_key("room", "ann") == after
    world.probe.assert_receive(lambda it: it.payload == {"joins": {"ann": before}, "leaves": {}})
    world.probe.assert_receive(lambda it: it.payload == {"joins": {"ann": after}, "leaves": {"ann": before}})
    assert profiles.presences.of("room") == {"ann": [{"phx_ref": second, "phx_ref_prev": first}]}


def test_fetch_is_not_called_for_nobody(runtime: ManualRuntime, profiles: Profiles) -> None:
    World(runtime, profiles)
    assert (profiles.list("room"), profiles.get_by_key("room", "ann")) == ({}, None)
    profiles.track(Member.start(), "room", "ann", {})
    assert profiles.calls == [("room", ["ann"])]


def test_a_diff_goes_out_though_fetch_fails_and_a_list_does_not(
    runtime: ManualRuntime, profiles: Profiles, caplog: pytest.LogCaptureFixture
) -> None:
    world, member = World(runtime, profiles), Member.start()
    profiles.failing = ConnectionError("no database")
    ref = profiles.track(member, "room", "ann", {})
    with pytest.raises(ConnectionError, match="no database"):
        profiles.list("room")
    server = world.server
    member.kill()
    assert world.diffs() == [{"joins": {"ann": [ref]}}, {"leaves": {"ann": [ref]}}]
    assert server.is_alive()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == [
        "a diff of room is sent without what Profiles.fetch() adds"
    ] * 2


class Wrong(Presence):
    """Returns what `fetch` may not."""

    def fetch(self, topic: str, presences: Any) -> Any:
        return None


def test_fetch_must_return_a_dict(runtime: ManualRuntime) -> None:
    presence = Wrong()
    World(runtime, presence)
    presence.track(Member.start(), "room", "ann", {})
    with pytest.raises(TypeError, match=r"fetch\(\) must return a dict .*, got None"):
        presence.list("room")


class Counting(Presence):
    """Writes down what `handle_metas` is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, Any, Metas, bool]] = []
        self.failing = False

    def handle_metas(self, topic: str, diff: dict[str, Any], presences: Metas) -> Any:
        if self.failing:
            raise RuntimeError("told to fail")
        assert self.server is not None
        process = self.server.actor_ref.process
        self.told.append((topic, diff, presences, process.scheduler.current is process))
        return self.later()

    async def later(self) -> None:
        self.told.append(("later", None, {}, True))


def test_handle_metas_is_told_of_each_change_in_the_actors_turn(runtime: ManualRuntime) -> None:
    presence = Counting()
    world, member = World(runtime, presence), Member.start()
    ref = presence.track(member, "room", "ann", {})
    assert presence.told == []
    runtime.settle()
    meta = {"phx_ref": ref}
    joined = {"joins": {"ann": {"metas": [meta]}}, "leaves": {}}
    assert presence.told == [("room", joined, {"ann": [meta]}, True), ("later", None, {}, True)]
    member.kill()
    runtime.settle()
    left = {"joins": {}, "leaves": {"ann": {"metas": [meta]}}}
    assert presence.told[2] == ("room", left, {}, True)
    assert len(world.diffs()) == 2


def test_handle_metas_is_told_in_the_order_of_the_diffs(runtime: ManualRuntime) -> None:
    presence = Counting()
    world, one, two = World(runtime, presence), Member.start(), Member.start()
    presence.track(one, "room", "ann", {})
    runtime.settle()
    one.kill()
    one.process.turn()
    presence.track(two, "room", "ben", {})  # before the actor has heard of the death
    runtime.settle()
    told = [{side: list(of) for side, of in diff.items() if of} for topic, diff, *_ in presence.told if diff]
    assert told == [{"joins": ["ann"]}, {"joins": ["ben"]}, {"leaves": ["ann"]}]
    assert [{side: list(of) for side, of in diff.items()} for diff in world.diffs()] == told


def test_handle_metas_that_fails_ends_the_actor_which_is_restarted(runtime: ManualRuntime) -> None:
    presence = Counting()
    world, member = World(runtime, presence), Member.start()
    before, presence.failing = world.server, True
    ref = presence.track(member, "room", "ann", {})
    runtime.settle()
    presence.failing = False
    assert (before.is_alive(), world.server.is_alive(), world.here()) == (False, True, {"ann": [ref]})
    member.kill()
    assert world.diffs() == [{"joins": {"ann": [ref]}}, {"leaves": {"ann": [ref]}}]


# In a system


def test_it_is_a_child_of_a_system_under_its_name(presence: Presence) -> None:
    with System([presence, Presence("guests")]) as system:
        assert [line.split() for line in system.tree().splitlines()[1:]] == [
            ["├──", "pubsub", pid(system, "pubsub"), "PubSubServer"],
            ["├──", "presence", pid(system, "presence"), "PresenceServer"],
            ["└──", "guests", pid(system, "guests"), "PresenceServer"],
        ]
        assert system.names.lookup("presence")[0][1] is presence


def test_it_takes_the_pubsub_of_its_tree_whatever_its_name(runtime: ManualRuntime) -> None:
    worlds = {name: (PubSub(name), Presence(f"{name} presence"), Probe()) for name in ("shop", "forum")}
    systems = [System([presence], pubsub=pubsub) for pubsub, presence, _ in worlds.values()]
    for system in systems:
        runtime.run(system.start())
    for pubsub, _, probe in worlds.values():
        pubsub.subscribe("room", probe.ref)
    member = Member.start()
    for name, (_, presence, _) in worlds.items():
        presence.track(member, "room", name, {})
    runtime.settle()
    for name, (_, _, probe) in worlds.items():
        assert [list(message.payload["joins"]) for message in probe.messages] == [[name]]
    for system in systems:
        runtime.run(system.stop())


def test_it_is_restarted_with_the_pubsub_of_its_tree_also_while_that_is_down(runtime: ManualRuntime) -> None:
    outer, inner, presence = PubSub("outer"), PubSub("inner"), Presence()
    nested = ChildSpec(Supervisor, ([inner, presence],), {"max_restarts": 10}, id="nested")
    system = System([nested], pubsub=outer)
    runtime.run(system.start())
    probe, member = Probe(), Member.start()
    inner.subscribe("room", probe.ref)
    for table in (presence, inner):
        assert table.server is not None
        table.server.actor_ref.kill()
    runtime.settle()
    presence.track(member, "room", "ann", {})
    runtime.settle()
    assert [message.event for message in probe.messages] == ["presence_diff"]
    runtime.run(system.stop())


def test_its_diffs_stay_in_this_process(runtime: ManualRuntime) -> None:
    published: list[Any] = []

    class Recording(LocalAdapter):
        def publish(self, topic: str, message: object) -> None:
            published.append(message)

    presence, probe, member = Presence(), Probe(), Member.start()
    pubsub = PubSub(adapter=Recording())
    spawn(Supervisor, ([pubsub, presence],))
    runtime.settle()
    pubsub.subscribe("room", probe.ref)
    presence.track(member, "room", "ann", {})
    runtime.settle()
    assert (len(probe.messages), published) == (1, [])


def test_two_presences_of_one_tree_without_a_name_show_the_line_to_write() -> None:
    with pytest.raises(
        ChildExistsError, match=r"""child with id 'presence' already; .*: Presence\(…, name="other"\)$"""
    ):
        Supervisor([Presence(), Presence()])


def test_two_presences_of_one_event_loop_without_a_name_show_the_line_to_write(
    presence: Presence, runtime: ManualRuntime
) -> None:
    first, second = System([presence]), System([Presence()], pubsub=PubSub("other"))
    runtime.run(first.start())
    with pytest.raises(StartError) as failed:
        runtime.run(second.start())
    assert str(failed.value.root) == (
        f"name 'presence' is already taken by {first.whereis('presence')}; "
        'each Presence on an event loop needs its own name: Presence(name="other")'
    )
    runtime.run(first.stop())


def pid(system: System, name: str) -> str:
    ref = system.whereis(name)
    assert ref is not None
    return ref.pid


def test_any_thread_may_use_it(presence: Presence) -> None:
    with System([presence, ChildSpec(Member, name="member")]) as system:
        member = system.whereis("member")
        assert member is not None
        first = presence.track(member, "room", "ann", {})
        second = presence.update(member, "room", "ann", {})
        assert presence.list("room") == {"ann": {"metas": [{"phx_ref": second, "phx_ref_prev": first}]}}
        assert presence.get_by_key("room", "ann") == presence.list("room")["ann"]
        with pytest.raises(AlreadyTrackedError):
            presence.track(member, "room", "ann", {})
        presence.untrack(member, "room", "ann")
        assert presence.list("room") == {}
        presence.track(member, "room", "ann", {})
        server, down = system.whereis("presence"), member.down()
        member.kill()
        down.get(timeout=WAIT)
        assert server is not None
        sync(server)
        assert presence.list("room") == {}


def test_without_a_system_it_does_not_run(presence: Presence, runtime: ManualRuntime) -> None:
    member = Member.start()
    calls: list[Callable[[], object]] = [
        lambda: presence.track(member, "room", "ann", {}),
        lambda: presence.update(member, "room", "ann", {}),
        lambda: presence.untrack(member, "room", "ann"),
        lambda: presence.list("room"),
        lambda: presence.get_by_key("room", "ann"),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="'presence' is not running; make it a child of a System"):
            call()


def test_after_its_system_it_does_not_run(presence: Presence) -> None:
    with System([presence]):
        assert presence.list("room") == {}
    with pytest.raises(RuntimeError, match="is not running"):
        presence.list("room")
    with System([presence]):
        assert presence.list("room") == {}


def test_it_needs_a_pubsub(presence: Presence, runtime: ManualRuntime) -> None:
    with pytest.raises(StartError) as failed:
        spawn(presence.actor, (presence,))
    assert "needs a PubSub that runs before it" in str(failed.value)


def test_each_system_needs_one_of_its_own(presence: Presence) -> None:
    with System([presence]), pytest.raises(StartError, match="'presence' is running already"), System([presence]):
        raise AssertionError("the second system has started")


# Whatever happens, clients know


VERBS = ["track", "update", "untrack", "kill member", "kill presence", "kill pubsub", "join", "settle"]
happenings = st.lists(
    st.tuples(
        st.sampled_from(VERBS),
        st.integers(0, 2),
        st.sampled_from(["room", "den"]),
        st.sampled_from(["ann", "__proto__"]),
    ),
    max_size=40,
)


class Play:
    """Members that come and go, and clients of two topics, one of them there from the beginning."""

    def __init__(self, world: World) -> None:
        self.world, self.members = world, [Member.start() for _ in range(3)]
        self.clients: list[tuple[str, Probe, PresenceClient]] = []
        for topic in ("room", "den"):
            self.join(topic)

    def join(self, topic: str) -> None:
        probe, client = Probe(), PresenceClient()
        self.world.pubsub.subscribe(topic, probe.ref)
        client.receive("presence_state", json.loads(json.dumps(self.world.presence.list(topic))))
        self.clients.append((topic, probe, client))

    def happen(self, verb: str, number: int, topic: str, key: str) -> None:
        presence, member = self.world.presence, self.members[number]
        there = presence.presences.get(member.process, topic, key) is not None
        match verb:
            case "track" if not there:
                presence.track(member, topic, key, {"number": number})
            case "update" if there:
                presence.update(member, topic, key, lambda meta: meta | {"updated": True})
            case "untrack":
                presence.untrack(member, topic, key)
            case "kill member":
                member.kill()
                self.world.runtime.settle()
                self.members[number] = Member.start()
            case "kill presence":
                self.world.server.kill()
            case "kill pubsub":
                assert self.world.pubsub.server is not None
                self.world.pubsub.server.actor_ref.kill()
            case "join":
                self.join(topic)
            case "settle":
                self.world.runtime.settle()

    def check(self) -> None:
        """See that each client's list is the server's, that the server's has only the living, and nothing else is kept."""
        presence = self.world.presence
        self.world.runtime.settle()
        for topic, probe, client in self.clients:
            for message in probe.messages:
                client.receive(message.event, message.payload)
            probe.messages.clear()
            assert client.state == presence.list(topic)
        actors = presence.presences.actors()
        assert all(process.alive for process in actors)
        assert len(self.world.server.process.watching or ()) == len(actors)


@given(happenings)
def test_the_clients_algorithm_applied_to_the_diffs_yields_the_servers_list(happened: list[Any]) -> None:
    with ManualRuntime() as runtime:
        play = Play(World(runtime, Presence()))
        for happening in happened:
            play.happen(*happening)
            if happening[0] == "settle":
                play.check()
        play.check()
        for member in play.members:
            member.kill()
        play.check()
        assert play.world.presence.presences.topics() == []
