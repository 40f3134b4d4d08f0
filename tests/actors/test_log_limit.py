"""Which of many records are logged, and the number of the others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.log_limit import LogLimit


def test_the_first_of_each_kind_are_admitted_and_the_others_counted() -> None:
    limit: LogLimit[str] = LogLimit(2, 1.0)
    assert [limit.admit("a", 0.0) for _ in range(4)] == [0, 0, None, None]
    assert limit.admit("b", 0.5) == 0
    assert limit.admit("a", 0.9) is None
    assert limit.admit("a", 1.0) == 3
    assert limit.admit("a", 1.0) == 0


def test_numbers_that_were_taken_are_not_reported_again() -> None:
    limit: LogLimit[str] = LogLimit(1, 1.0)
    for _ in range(3):
        limit.admit("a", 0.0)
    limit.admit("b", 0.0)
    assert limit.take() == {"a": 2}
    assert limit.take() == {}
    assert limit.admit("a", 1.5) == 0


def test_kinds_that_are_over_are_forgotten() -> None:
    limit: LogLimit[int] = LogLimit(1, 1.0)
    for kind in range(10_000):
        limit.admit(kind, float(kind))
    assert len(limit._windows) < 100


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 0.4)), max_size=200), st.integers(1, 5))
def test_no_record_is_lost(records: list[tuple[str, float]], most: int) -> None:
    limit: LogLimit[str] = LogLimit(most, 1.0)
    now, admitted, left_out = 0.0, 0, 0
    for kind, later in records:
        now += later
        number = limit.admit(kind, now)
        if number is not None:
            admitted += 1
            left_out += number
    assert admitted + left_out + sum(limit.take().values()) == len(records)
