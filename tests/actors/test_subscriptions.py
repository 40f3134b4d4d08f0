"""The table of subscriptions, held against a plain list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pubsub.subscriptions import First, Last, Subscription, Subscriptions

# Processes are only keys here; anything hashable stands for one.
ALICE: Any = "alice"
BOB: Any = "bob"


@pytest.fixture
def table() -> Subscriptions:
    return Subscriptions()


def add(table: Subscriptions, topic: str, subscriber: Any) -> First:
    return table.add(Subscription(topic, subscriber, None))


def of(table: Subscriptions, topic: str) -> list[Any]:
    return [subscription.subscriber for subscription in table.of(topic)]


def test_an_empty_table_knows_nobody(table: Subscriptions) -> None:
    assert (of(table, "a"), table.subscribers(), table.topics()) == ([], [], [])


def test_subscribers_stand_in_the_order_they_came(table: Subscriptions) -> None:
    add(table, "a", BOB)
    add(table, "a", ALICE)
    assert of(table, "a") == [BOB, ALICE]


def test_add_reports_the_first_of_a_subscriber_and_of_a_topic(table: Subscriptions) -> None:
    assert add(table, "a", ALICE) == First(of_subscriber=True, of_topic=True)
    assert add(table, "b", ALICE) == First(of_subscriber=False, of_topic=True)
    assert add(table, "a", BOB) == First(of_subscriber=True, of_topic=False)
    assert add(table, "a", BOB) == First(of_subscriber=False, of_topic=False)


def test_subscribing_twice_counts_twice(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    add(table, "a", ALICE)
    assert of(table, "a") == [ALICE, ALICE]


def test_remove_takes_all_of_one_topic_and_leaves_the_others(table: Subscriptions) -> None:
    for topic in ("a", "b", "a"):
        add(table, topic, ALICE)
    add(table, "a", BOB)
    assert table.remove("a", ALICE) == Last(of_subscriber=False, of_topic=False)
    assert (of(table, "a"), of(table, "b")) == ([BOB], [ALICE])


def test_remove_reports_when_nothing_is_left_of_a_subscriber_and_of_a_topic(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    assert table.remove("a", ALICE) == Last(of_subscriber=True, of_topic=True)
    assert (table.topics(), table.subscribers()) == ([], [])


def test_removing_what_is_not_there_changes_nothing(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    assert table.remove("b", ALICE) == Last(of_subscriber=False, of_topic=False)
    assert table.remove("a", BOB) == Last(of_subscriber=True, of_topic=False)
    assert of(table, "a") == [ALICE]


def test_drop_takes_everything_of_a_subscriber(table: Subscriptions) -> None:
    for topic in ("a", "b"):
        add(table, topic, ALICE)
        add(table, topic, BOB)
    assert table.drop(ALICE) == []
    assert (of(table, "a"), of(table, "b"), table.subscribers()) == ([BOB], [BOB], [BOB])
    assert table.drop(ALICE) == []
    assert table.subscribers() == [BOB]
    assert table.drop(BOB) == ["a", "b"]
    assert table.topics() == []


def test_drop_reports_a_topic_once_that_had_one_subscriber_twice(table: Subscriptions) -> None:
    add(table, "a", ALICE)
    add(table, "a", ALICE)
    assert table.drop(ALICE) == ["a"]


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
                first = add(table, topic, person)
                assert first.of_subscriber is all(other != person for _, other in pairs)
                assert first.of_topic is all(other != topic for other, _ in pairs)
                pairs.append((topic, person))
            case "remove":
                there = any(other == topic for other, _ in pairs)
                pairs = [pair for pair in pairs if pair != (topic, person)]
                last = table.remove(topic, person)  # type: ignore[arg-type]  # a key, as above
                assert last.of_subscriber is all(other != person for _, other in pairs)
                assert last.of_topic is (there and all(other != topic for other, _ in pairs))
            case _:
                before, pairs = pairs, [pair for pair in pairs if pair[1] != person]
                ended = {topic for topic, _ in before} - {topic for topic, _ in pairs}
                assert sorted(table.drop(person)) == sorted(ended)  # type: ignore[arg-type]  # a key, as above
        for each in "abc":
            assert of(table, each) == [other for of_topic, other in pairs if of_topic == each]
        assert set(table.topics()) == {of_topic for of_topic, _ in pairs}
        assert set(table.subscribers()) == {other for _, other in pairs}


class Compared(str):
    """A topic that counts what it is compared with."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def test_a_subscriber_of_many_topics_ends_one_of_them_without_a_look_at_the_others(table: Subscriptions) -> None:
    topics = [Compared(number) for number in range(1000)]
    for topic in topics:
        add(table, topic, ALICE)
    Compared.times = 0
    for topic in topics:
        table.remove(Compared(topic), ALICE)
    assert Compared.times < 10 * len(topics)
    assert table.topics() == []
