"""The table of subscriptions, held against a plain list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pubsub.subscriptions import Subscription, Subscriptions

# Processes are only keys here; anything hashable stands for one.
ALICE: Any = "alice"
BOB: Any = "bob"


@pytest.fixture
def table() -> Subscriptions:
    return Subscriptions()


def add(table: Subscriptions, topic: str, subscriber: Any) -> bool:
    return table.add(Subscription(topic, subscriber, None))


def of(table: Subscriptions, topic: str) -> list[Any]:
    return [subscription.subscriber for subscription in table.of(topic)]


def test_an_empty_table_knows_nobody(table: Subscriptions) -> None:
    assert (of(table, "a"), table.subscribers(), table.topics()) == ([], [], [])


def test_subscribers_stand_in_the_order_they_came(table: Subscriptions) -> None:
    add(table, "a", BOB)
    add(table, "a", ALICE)
    assert of(table, "a") == [BOB, ALICE]


def test_add_tells_whether_it_is_the_first_of_its_subscriber(table: Subscriptions) -> None:
    assert add(table, "a", ALICE) is True
    assert add(table, "b", ALICE) is False
    assert add(table, "a", BOB) is True


def test_subscribing_twice_counts_twice(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    add(table, "a", ALICE)
    assert of(table, "a") == [ALICE, ALICE]


def test_remove_takes_all_of_one_topic_and_leaves_the_others(table: Subscriptions) -> None:
    for topic in ("a", "b", "a"):
        add(table, topic, ALICE)
    add(table, "a", BOB)
    assert table.remove("a", ALICE) is False
    assert (of(table, "a"), of(table, "b")) == ([BOB], [ALICE])


def test_remove_tells_when_nothing_is_left_of_a_subscriber(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    assert table.remove("a", ALICE) is True
    assert (table.topics(), table.subscribers()) == ([], [])


def test_removing_what_is_not_there_changes_nothing(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    table.remove("b", ALICE)
    table.remove("a", BOB)
    assert of(table, "a") == [ALICE]


def test_drop_takes_everything_of_a_subscriber(table: Subscriptions) -> None:
    for topic in ("a", "b"):
        add(table, topic, ALICE)
        add(table, topic, BOB)
    table.drop(ALICE)
    assert (of(table, "a"), of(table, "b"), table.subscribers()) == ([BOB], [BOB], [BOB])
    table.drop(ALICE)
    assert table.subscribers() == [BOB]


TOPICS = st.sampled_from("abc")
PEOPLE = st.sampled_from("xyz")
STEPS = st.one_of(
    st.tuples(st.just("add"), TOPICS, PEOPLE),
    st.tuples(st.just("remove"), TOPICS, PEOPLE),
    st.tuples(st.just("drop"), TOPICS, PEOPLE),
)


@given(st.lists(STEPS, max_size=40))
def test_the_table_agrees_with_a_list_of_pairs(steps: list[tuple[str, str, str]]) -> None:
    table, pairs = Subscriptions(), list[tuple[str, Any]]()
    for step, topic, person in steps:
        match step:
            case "add":
                assert add(table, topic, person) is all(other != person for _, other in pairs)
                pairs.append((topic, person))
            case "remove":
                pairs = [pair for pair in pairs if pair != (topic, person)]
                assert table.remove(topic, person) is all(other != person for _, other in pairs)  # type: ignore[arg-type]  # a key, as above
            case _:
                pairs = [pair for pair in pairs if pair[1] != person]
                table.drop(person)  # type: ignore[arg-type]  # a key, as above
        for each in "abc":
            assert of(table, each) == [other for of_topic, other in pairs if of_topic == each]
        assert set(table.topics()) == {of_topic for of_topic, _ in pairs}
        assert set(table.subscribers()) == {other for _, other in pairs}
