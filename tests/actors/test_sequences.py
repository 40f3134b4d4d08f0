"""Numbers of messages: none is given out twice, duplicates and gaps are seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.pubsub.sequences import Arrivals, Numbers


def test_each_topic_is_numbered_from_one() -> None:
    numbers = Numbers()
    assert [numbers.next(topic) for topic in "aabab"] == [(1, 1), (2, 1), (1, 1), (3, 1), (2, 1)]


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.integers(1, 5))
def test_with_little_memory_too_no_number_of_a_topic_is_given_out_twice_and_no_gap_seen(
    topics: list[str], most: int
) -> None:
    numbers, arrivals = Numbers(most), Arrivals()
    given: set[tuple[str, int]] = set()
    for topic in topics:
        seq, start = numbers.next(topic)
        assert (topic, seq) not in given
        given.add((topic, seq))
        assert arrivals.missed(topic, "run", seq, start) == 0
        assert arrivals.missed(topic, "run", seq, start) is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ok", "lost", "twice"])), max_size=60),
    st.integers(1, 3),
)
def test_what_is_lost_is_counted_exactly_once_a_topic_is_known(events: list[tuple[str, str]], most: int) -> None:
    numbers, arrivals, lost = Numbers(most), Arrivals(), dict.fromkeys("abc", 0)
    known: set[str] = set()
    for topic, fate in events:
        seq, start = numbers.next(topic)
        if fate == "lost":
            lost[topic] += 1
            continue
        missed = arrivals.missed(topic, "run", seq, start)
        # A numbering that started again does not say how many of the one before were lost at its end.
        assert missed is not None
        if topic in known and most == 3:
            assert missed == lost[topic]
        elif topic not in known:
            assert missed == 0
        lost[topic] = 0
        known.add(topic)
        if fate == "twice":
            assert arrivals.missed(topic, "run", seq, start) is None


def test_where_listening_begins_any_number_is_the_first() -> None:
    arrivals = Arrivals()
    assert arrivals.missed("a", "run", 17) == 0
    assert arrivals.missed("a", "run", 20) == 2
    assert arrivals.missed("a", "another run", 3) == 0
    assert arrivals.missed("b", "run", 1) == 0
    arrivals.forget("a")
    arrivals.forget("never known")
    assert arrivals.missed("a", "run", 30) == 0
    assert len(arrivals) == 2


def test_late_messages_are_duplicates() -> None:
    arrivals = Arrivals()
    assert [arrivals.missed("a", "run", seq) for seq in (5, 7, 6, 8)] == [0, 1, None, 0]


def test_the_processes_that_published_last_are_remembered() -> None:
    arrivals = Arrivals(most=2)
    for run in ("one", "two", "one", "three"):
        arrivals.missed("a", run, 1 if run != "one" else 5)
    assert arrivals.missed("a", "one", 5) is None
    assert arrivals.missed("a", "two", 1) == 0
