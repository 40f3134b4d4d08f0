"""The log of one topic: what is kept, what is forgotten, and what a client at some position has missed."""

from __future__ import annotations

import pytest

from actors.history.history import NOWHERE, History, Position
from actors.history.topic_log import KeptBroadcast, TopicLog

OVERHEAD = KeptBroadcast(1, 0.0, "said", b"").size


def filled(number: int, history: History | None = None, *, payload: bytes = b"{}", every: float = 1.0) -> TopicLog:
    """Return a log to which so many broadcasts were added, one in each second."""
    history = History() if history is None else history
    log = TopicLog("e", 0.0, history)
    for offset in range(1, number + 1):
        log.append(KeptBroadcast(offset, offset * every, "said", payload))
    return log


def offsets(log: TopicLog, position: Position) -> list[int] | None:
    missed = log.missed(position)
    return None if missed is None else [kept.offset for kept in missed]


def test_a_fresh_log_stands_at_0() -> None:
    log = filled(0)
    assert (log.first, log.last, len(log), log.bytes) == (1, 0, 0, 0)
    assert offsets(log, Position("e", 0)) == []
    assert offsets(log, Position("e", 1)) is None


def test_what_was_missed_is_what_came_after() -> None:
    log = filled(5)
    assert offsets(log, Position("e", 0)) == [1, 2, 3, 4, 5]
    assert offsets(log, Position("e", 3)) == [4, 5]
    assert offsets(log, Position("e", 5)) == []


@pytest.mark.parametrize("position", [NOWHERE, Position("f", 3), Position("E", 3), Position("e", 6)])
def test_another_epoch_or_a_higher_offset_is_not_known(position: Position) -> None:
    assert filled(5).missed(position) is None


def test_the_oldest_ones_are_forgotten_beyond_the_size() -> None:
    log = filled(7, History(size=3))
    assert (log.first, log.last, len(log)) == (5, 7, 3)
    assert offsets(log, Position("e", 4)) == [5, 6, 7]
    assert log.missed(Position("e", 3)) is None


def test_the_oldest_ones_are_forgotten_beyond_the_bytes() -> None:
    log = filled(7, History(max_bytes=2 * OVERHEAD + 20), payload=b"1234567890")
    assert (len(log), log.bytes) == (2, 2 * (OVERHEAD + 10))
    assert offsets(log, Position("e", 5)) == [6, 7]


def test_one_that_is_too_large_is_not_kept_and_neither_are_those_before_it() -> None:
    log = filled(2)
    log.append(KeptBroadcast(3, 3.0, "said", bytes(2_000_000)))
    assert (log.first, log.last, len(log), log.bytes) == (4, 3, 0, 0)
    assert log.missed(Position("e", 2)) is None
    assert offsets(log, Position("e", 3)) == []


def test_each_is_kept_for_its_time() -> None:
    log = filled(5, History(ttl=10.0))
    log.expire(12.9)
    assert offsets(log, Position("e", 2)) == [3, 4, 5]
    log.expire(13.0)
    assert log.missed(Position("e", 2)) is None
    log.expire(100.0)
    assert (log.last, len(log), log.bytes) == (5, 0, 0)
    assert offsets(log, Position("e", 5)) == []


def test_one_is_found_by_its_offset_while_it_is_kept() -> None:
    log = filled(7, History(size=3))
    found = [log.get(offset) for offset in range(9)]
    assert [kept and kept.offset for kept in found] == [None, None, None, None, None, 5, 6, 7, None]
