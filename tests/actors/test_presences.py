"""The table of presences, held against a plain list, and its diffs against the clients' algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.presence.presences import Diff, Metas, Presences
from tests.presence_client import PresenceClient, State

Table = Presences[str]
Change = tuple[str, str, str, str]


@pytest.fixture
def table() -> Table:
    return Presences()


def meta(ref: str) -> dict[str, Any]:
    return {"phx_ref": ref}


def listing(metas: Metas) -> State:
    return {key: {"metas": of_key} for key, of_key in metas.items()}


def test_an_empty_table_knows_nobody(table: Table) -> None:
    assert (table.of("a"), table.of_key("a", "ann"), table.actors(), table.topics()) == ({}, [], [], [])
    assert table.get("tab", "a", "ann") is None
    assert not table.tracks("tab")


def test_track_joins(table: Table) -> None:
    assert table.track("tab", "a", "ann", meta("1")) == Diff("a", joins={"ann": [meta("1")]})
    assert table.of("a") == {"ann": [meta("1")]}
    assert table.get("tab", "a", "ann") == meta("1")
    assert table.tracks("tab")


def test_metas_of_a_key_stand_in_the_order_they_came(table: Table) -> None:
    for tab in ("2", "1", "3"):
        table.track(tab, "a", "ann", meta(tab))
    assert table.of_key("a", "ann") == table.of("a")["ann"] == [meta("2"), meta("1"), meta("3")]


def test_one_actor_may_have_several_keys_on_several_topics(table: Table) -> None:
    table.track("tab", "a", "ann", meta("1"))
    table.track("tab", "a", "ben", meta("2"))
    table.track("tab", "b", "ann", meta("3"))
    assert table.of("a") == {"ann": [meta("1")], "ben": [meta("2")]}
    assert table.of("b") == {"ann": [meta("3")]}


def test_an_update_joins_and_leaves_and_comes_last(table: Table) -> None:
    table.track("one", "a", "ann", meta("1"))
    table.track("two", "a", "ann", meta("2"))
    assert table.update("one", "a", "ann", meta("3")) == Diff(
        "a", joins={"ann": [meta("3")]}, leaves={"ann": [meta("1")]}
    )
    assert table.of_key("a", "ann") == [meta("2"), meta("3")]


def test_untrack_leaves(table: Table) -> None:
    table.track("tab", "a", "ann", meta("1"))
    table.track("tab", "b", "ann", meta("2"))
    assert table.untrack("tab", "a", "ann") == Diff("a", leaves={"ann": [meta("1")]})
    assert table.of("a") == {}
    assert table.of("b") == {"ann": [meta("2")]}


@pytest.mark.parametrize("place", [("tab", "a", "ben"), ("tab", "b", "ann"), ("other", "a", "ann")])
def test_untracking_what_is_not_there_changes_nothing(table: Table, place: tuple[str, str, str]) -> None:
    table.track("tab", "a", "ann", meta("1"))
    assert table.untrack(*place) is None
    assert table.of("a") == {"ann": [meta("1")]}


def test_drop_leaves_once_for_each_topic(table: Table) -> None:
    for number, (topic, key) in enumerate([("a", "ann"), ("b", "ann"), ("a", "ben")]):
        table.track("tab", topic, key, meta(str(number)))
    table.track("other", "a", "ann", meta("9"))
    assert table.drop("tab") == [
        Diff("a", leaves={"ann": [meta("0")], "ben": [meta("2")]}),
        Diff("b", leaves={"ann": [meta("1")]}),
    ]
    assert table.of("a") == {"ann": [meta("9")]}
    assert table.drop("tab") == []


def test_what_is_looked_at_does_not_change_with_the_table(table: Table) -> None:
    table.track("tab", "a", "ann", meta("1"))
    before = table.of("a"), table.of_key("a", "ann"), table.actors(), table.topics()
    table.drop("tab")
    assert before == ({"ann": [meta("1")]}, [meta("1")], ["tab"], ["a"])


ACTORS, TOPICS, KEYS = ("one", "two", "three"), ("a", "b"), ("ann", "__proto__")
changes = st.lists(
    st.tuples(
        st.sampled_from(["track", "update", "untrack", "drop"]),
        st.sampled_from(ACTORS),
        st.sampled_from(TOPICS),
        st.sampled_from(KEYS),
    )
)


def diffs(table: Table, made: list[Change]) -> Iterator[list[Diff]]:
    """Make the changes that are possible, one after another."""
    for number, (verb, actor, topic, key) in enumerate(made):
        there = table.get(actor, topic, key) is not None
        match verb:
            case "drop":
                yield table.drop(actor)
            case "untrack":
                diff = table.untrack(actor, topic, key)
                yield [] if diff is None else [diff]
            case "track" if not there:
                yield [table.track(actor, topic, key, meta(str(number)))]
            case "update" if there:
                yield [table.update(actor, topic, key, meta(str(number)))]


@given(changes, st.integers(0, 20))
def test_the_clients_algorithm_makes_of_the_diffs_what_is_in_the_table(made: list[Change], joined_at: int) -> None:
    table: Table = Presences()
    clients = {(topic, late): PresenceClient() for topic in TOPICS for late in (False, True)}
    for (_, late), client in clients.items():
        if not late:
            client.receive("presence_state", {})
    for number, made_now in enumerate(diffs(table, made)):
        for diff in made_now:
            for late in (False, True):
                payload = {"joins": listing(diff.joins), "leaves": listing(diff.leaves)}
                clients[diff.topic, late].receive("presence_diff", payload)
        for (topic, late), client in clients.items():
            if late and number == joined_at:
                client.receive("presence_state", listing(table.of(topic)))
            if not late or number >= joined_at:
                assert client.state == listing(table.of(topic))


@given(changes)
def test_nothing_is_left_of_those_who_have_gone(made: list[Change]) -> None:
    table: Table = Presences()
    for _ in diffs(table, made):
        assert sorted(table.topics()) == sorted(topic for topic in TOPICS if table.of(topic))
        places = [(topic, key) for topic in TOPICS for key in KEYS]
        assert set(table.actors()) == {who for who in ACTORS for place in places if table.get(who, *place) is not None}
    for actor in ACTORS:
        table.drop(actor)
    assert (table.topics(), table.actors(), table._by_topic, table._by_actor) == ([], [], {}, {})
