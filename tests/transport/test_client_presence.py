"""The presences of a client, as phoenix.js keeps them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from transport.client.client_presence import Presence, sync_diff, sync_state

if TYPE_CHECKING:
    from collections.abc import Callable

State = dict[str, Any]


def metas(*refs: str, **more: Any) -> State:
    return {**more, "metas": [{"phx_ref": ref} for ref in refs]}


@pytest.mark.parametrize(
    ("state", "new", "joins", "leaves"),
    [
        ({}, {"u1": metas("1")}, [("u1", None, metas("1"))], []),
        ({"u1": metas("1")}, {}, [], [("u1", metas(), metas("1"))]),
        (
            {"u1": metas("1"), "u2": metas("2")},
            {"u1": metas("1"), "u3": metas("3")},
            [("u3", None, metas("3"))],
            [("u2", metas(), metas("2"))],
        ),
        ({"u1": metas("1")}, {"u1": metas("1", "2")}, [("u1", metas("1"), metas("2"))], []),
        ({"u1": metas("1", "2")}, {"u1": metas("2")}, [], [("u1", metas("2"), metas("1"))]),
        ({"u1": metas("1")}, {"u1": metas("1")}, [], []),
    ],
    ids=["first", "gone", "one comes, one goes", "a second meta", "a meta less", "no change"],
)
def test_the_state_is_taken_over_and_its_changes_told(
    state: State, new: State, joins: list[Any], leaves: list[Any]
) -> None:
    before = copy.deepcopy((state, new))
    joined: list[Any] = []
    left: list[Any] = []
    synced = sync_state(state, new, lambda *change: joined.append(change), lambda *change: left.append(change))
    assert (synced, joined, left) == (new, joins, leaves)
    assert (state, new) == before


@pytest.mark.parametrize(
    ("state", "diff", "synced"),
    [
        ({}, {"joins": {"u1": metas("1")}, "leaves": {}}, {"u1": metas("1")}),
        ({"u1": metas("1")}, {"joins": {"u1": metas("2")}, "leaves": {}}, {"u1": metas("1", "2")}),
        ({"u1": metas("1")}, {"joins": {}, "leaves": {"u1": metas("1")}}, {}),
        ({"u1": metas("1", "2")}, {"joins": {}, "leaves": {"u1": metas("1")}}, {"u1": metas("2")}),
        ({"u1": metas("1")}, {"joins": {"u1": metas("2")}, "leaves": {"u1": metas("1")}}, {"u1": metas("2")}),
        ({}, {"joins": {}, "leaves": {"u1": metas("1")}}, {}),
        (
            {"u1": metas("1", name="old")},
            {"joins": {"u1": metas("2", name="new")}, "leaves": {}},
            {"u1": metas("1", "2", name="new")},
        ),
    ],
    ids=[
        "first",
        "a second meta",
        "the last meta",
        "one of two",
        "an update",
        "not known",
        "what fetch adds is renewed",
    ],
)
def test_a_diff_is_applied(state: State, diff: State, synced: State) -> None:
    before = copy.deepcopy((state, diff))
    assert sync_diff(state, diff) == synced
    assert (state, diff) == before


class Topic:
    """The part of a channel that a presence uses."""

    def __init__(self) -> None:
        self.join_ref = "1"
        self.failed: list[Callable[..., object]] = []
        self.callbacks: dict[str, Callable[[Any], object]] = {}

    def on(self, event: str, callback: Callable[[Any], object]) -> int:
        self.callbacks[event] = callback
        return len(self.callbacks)

    def call(self, callback: Callable[..., object], *args: object) -> None:
        try:
            callback(*args)
        except RuntimeError:
            self.failed.append(callback)

    def say(self, event: str, payload: Any) -> None:
        self.callbacks[event](payload)


def test_a_presence_follows_state_and_diffs() -> None:
    topic = Topic()
    presence = Presence(topic)
    told: list[Any] = []
    presence.on_join(lambda key, current, new: told.append(("join", key, current, new)))
    presence.on_leave(lambda key, current, left: told.append(("leave", key, current, left)))
    presence.on_sync(lambda: told.append("sync"))
    topic.say("presence_state", {"u1": metas("1")})
    topic.say("presence_diff", {"joins": {"u2": metas("2")}, "leaves": {"u1": metas("1")}})
    assert presence.list() == [metas("2")]
    assert presence.list(lambda key, entry: (key, len(entry["metas"]))) == [("u2", 1)]
    assert told == [
        ("join", "u1", None, metas("1")),
        "sync",
        ("join", "u2", None, metas("2")),
        ("leave", "u1", metas(), metas("1")),
        "sync",
    ]


def test_a_diff_before_the_state_waits_for_it() -> None:
    topic = Topic()
    presence = Presence(topic)
    synced: list[int] = []
    presence.on_sync(lambda: synced.append(len(presence.list())))
    topic.say("presence_diff", {"joins": {"u2": metas("2")}, "leaves": {}})
    assert (presence.list(), synced, presence.is_pending) == ([], [], True)
    topic.say("presence_state", {"u1": metas("1")})
    assert (sorted(presence.state), synced, presence.is_pending) == (["u1", "u2"], [2], False)


def test_after_a_rejoin_diffs_wait_for_the_new_state() -> None:
    topic = Topic()
    presence = Presence(topic)
    topic.say("presence_state", {"u1": metas("1"), "u2": metas("2")})
    topic.join_ref = "9"
    topic.say("presence_diff", {"joins": {}, "leaves": {"u1": metas("1")}})
    assert sorted(presence.state) == ["u1", "u2"]
    left: list[str] = []
    presence.on_leave(lambda key, current, entry: left.append(key))
    topic.say("presence_state", {"u1": metas("1"), "u3": metas("3")})
    assert (sorted(presence.state), left) == (["u3"], ["u2", "u1"])


def test_the_events_may_have_other_names() -> None:
    topic = Topic()
    presence = Presence(topic, state_event="state", diff_event="diff")
    topic.say("state", {"u1": metas("1")})
    topic.say("diff", {"joins": {"u2": metas("2")}, "leaves": {}})
    assert sorted(presence.state) == ["u1", "u2"]


def test_callbacks_that_fail_break_nothing() -> None:
    def fails(*_change: object) -> None:
        raise RuntimeError("on purpose")

    topic = Topic()
    presence = Presence(topic)
    presence.on_join(fails)
    presence.on_leave(fails)
    synced: list[list[str]] = []
    presence.on_sync(lambda: synced.append(list(presence.state)))
    topic.say("presence_state", {"u1": metas("1")})
    topic.say("presence_diff", {"joins": {"u2": metas("2")}, "leaves": {"u1": metas("1")}})
    assert (synced, topic.failed) == ([["u1"], ["u2"]], [fails] * 3)
