"""Token buckets: how long to wait after what has happened."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.carriers.rate import Bucket, Rate


def test_a_burst_is_free_and_then_each_event_costs_time() -> None:
    bucket = Bucket(Rate(10, burst=3), now=5.0)
    assert [bucket.spend(5.0) for _ in range(5)] == [0, 0, 0, pytest.approx(0.1), pytest.approx(0.2)]
    assert bucket.spend(5.35) == 0
    assert bucket.spend(5.35) == pytest.approx(0.05)


def test_a_pause_fills_the_bucket_and_no_more() -> None:
    bucket = Bucket(Rate(10, burst=3), now=0.0)
    assert bucket.spend(1000.0, count=3) == 0
    assert bucket.spend(1000.0) == pytest.approx(0.1)


def test_a_clock_that_steps_back_takes_nothing() -> None:
    bucket = Bucket(Rate(1, burst=1), now=10.0)
    assert bucket.spend(5.0) == 0
    assert bucket.spend(5.0) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(1, 20)), max_size=30))
def test_who_waits_as_told_stays_within_the_rate(events: list[tuple[float, int]]) -> None:
    bucket, now, total = Bucket(Rate(5, burst=10), now=0.0), 0.0, 0
    for pause, count in events:
        now += pause + bucket.spend(now + pause, count)
        total += count
        assert total <= 10 + 5 * now + 1e-6


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (float("nan"), 1), (1, 0), (1, 1.5), ("1", 1)])
def test_a_rate_has_two_numbers_above_zero(per_second: Any, burst: Any) -> None:
    with pytest.raises(ValueError, match=r"(per_second|burst) must be"):
        Rate(per_second, burst)
