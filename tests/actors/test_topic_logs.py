"""The logs of all topics together: their epochs, their bounds, and what is swept away."""

from __future__ import annotations

from actors.history.history import History
from actors.history.topic_log import KeptBroadcast, TopicLog
from actors.history.topic_logs import SWEPT_AT_ONCE, TopicLogs

HISTORY = History(ttl=10.0)


def say(logs: TopicLogs, topic: str, now: float = 0.0, payload: bytes = b"{}", history: History = HISTORY) -> str:
    """Add a broadcast; return the epoch."""
    log = logs.use(topic, history, now)
    log.append(KeptBroadcast(log.last + 1, now, "said", payload))
    return log.epoch


def standing(logs: TopicLogs, topic: str, now: float = 0.0) -> tuple[int, int]:
    """Return the last offset of a topic, and how many of its broadcasts are kept."""
    log = logs.use(topic, HISTORY, now)
    return log.last, len(log)


def test_each_topic_has_an_epoch_and_offsets_of_its_own() -> None:
    logs = TopicLogs(1_000_000)
    epochs = [say(logs, topic) for topic in ("a", "b", "a")]
    assert epochs[0] == epochs[2] != epochs[1]
    assert (standing(logs, "a"), standing(logs, "b")) == ((2, 2), (1, 1))
    assert (len(logs), logs.messages) == (2, 3)


def test_two_tables_have_no_epoch_in_common() -> None:
    assert say(TopicLogs(1_000_000), "a") != say(TopicLogs(1_000_000), "a")


def test_what_was_used_is_as_it_is_at_that_time() -> None:
    logs = TopicLogs(1_000_000)
    say(logs, "a", 0.0)
    empty = TopicLogs(1_000_000)
    empty.use("a", HISTORY, 0.0)
    assert standing(logs, "a", 9.9) == (1, 1)
    assert standing(logs, "a", 10.0) == (1, 0)
    assert logs.bytes == empty.bytes


def test_above_the_bound_topics_are_dropped_that_were_not_used_for_longest() -> None:
    logs = TopicLogs(10_000)
    before = {topic: say(logs, topic, payload=bytes(2000)) for topic in "abc"}
    logs.use("a", HISTORY, 0.0)
    say(logs, "d", payload=bytes(2000))
    assert logs.dropped == 1
    assert logs.bytes <= 10_000
    assert say(logs, "a") == before["a"]
    assert standing(logs, "a") == (2, 2)
    assert say(logs, "b") != before["b"]
    assert standing(logs, "b") == (1, 1)


def test_one_topic_may_be_alone_above_the_bound() -> None:
    logs = TopicLogs(100)
    say(logs, "a", payload=bytes(2000))
    assert standing(logs, "a") == (1, 1)


def test_the_bytes_are_those_of_what_is_left() -> None:
    logs = TopicLogs(50_000)
    for number in range(500):
        say(logs, f"topic {number % 37}", float(number), bytes(number * 3), History(size=4, ttl=50.0))
    counted = logs.bytes
    left = [logs.use(f"topic {number}", HISTORY, 0.0) for number in range(37)]
    assert 0 < counted <= 50_000
    assert logs.dropped > 37
    assert sum(len(log) for log in left) > 0


def test_a_sweep_forgets_what_has_expired() -> None:
    logs = TopicLogs(1_000_000)
    say(logs, "a", 0.0)
    say(logs, "a", 5.0)
    logs.sweep(12.0, lambda _: False)
    assert (logs.messages, standing(logs, "a", 12.0)) == (1, (2, 1))


def test_an_empty_log_keeps_its_place_for_an_hour_and_while_it_has_subscribers() -> None:
    logs = TopicLogs(1_000_000)
    epochs = {topic: say(logs, topic, 0.0) for topic in ("left", "full")}
    logs.sweep(3609.0, lambda _: False)
    assert len(logs) == 2
    logs.sweep(3610.0, lambda topic: topic == "full")
    assert len(logs) == 1
    assert say(logs, "full", 3610.0) == epochs["full"]
    assert say(logs, "left", 3610.0) != epochs["left"]


def test_nothing_is_left_of_topics_that_are_swept_away() -> None:
    logs = TopicLogs(1_000_000)
    for number in range(100):
        say(logs, f"topic {number}", payload=bytes(number))
    logs.sweep(10_000.0, lambda _: False)
    assert (len(logs), logs.bytes, logs.dropped) == (0, 0, 0)


def test_a_sweep_over_many_topics_is_made_in_parts() -> None:
    logs = TopicLogs(1_000_000_000)
    for number in range(SWEPT_AT_ONCE * 2 + 1):
        say(logs, f"topic {number}", 0.0)
    parts = [set(logs.sweep(10_000.0, lambda _: True))]
    assert (logs.messages, logs.is_swept) == (SWEPT_AT_ONCE + 1, False)
    say(logs, "new", 10_000.0)
    logs.forget(f"topic {SWEPT_AT_ONCE}")
    while not logs.is_swept:
        parts.append(set(logs.sweep(10_000.0, lambda _: True)))
    assert [len(part) for part in parts] == [SWEPT_AT_ONCE, SWEPT_AT_ONCE, 1]
    assert len(set.union(*parts)) == SWEPT_AT_ONCE * 2 + 1
    assert (logs.messages, len(logs)) == (1, SWEPT_AT_ONCE * 2 + 1)


def test_a_log_may_be_put_in_the_place_of_another_one() -> None:
    logs = TopicLogs(1_000_000)
    logs.begin("room:1", TopicLog("e", 0.0, HISTORY, 7))
    assert logs.topics() == ["room:1"]
    found = logs.get("room:1")
    assert found is not None
    assert (found.epoch, found.last, found.first, found.is_whole) == ("e", 7, 8, False)
    assert (found.has_all_after(7), found.has_all_after(6)) == (True, False)
    before = logs.bytes
    logs.begin("room:1", TopicLog("f", 0.0, HISTORY))
    assert (len(logs), logs.bytes) == (1, before)
    logs.forget("room:1")
    logs.forget("room:1")
    assert (len(logs), logs.bytes, logs.get("room:1")) == (0, 0, None)
