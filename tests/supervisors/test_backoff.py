"""Waits before restarts, as pure rules."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisors.backoff import Backoff, Waits

BACKOFFS = st.builds(
    Backoff,
    min=st.floats(0.001, 1),
    max=st.floats(1, 1000),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
)


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff(), [0.1, 0.2, 0.4, 0.8]),
        (Backoff(min=1, max=5), [1, 2, 4, 5, 5]),
        (Backoff(min=1, max=100, factor=3), [1, 3, 9, 27, 81, 100]),
        (Backoff(min=2, max=9, factor=1), [2, 2, 2]),
        (Backoff(min=4, max=4), [4, 4]),
    ],
    ids=["default", "up to max", "another factor", "always the same", "min is max"],
)
def test_each_wait_is_longer_than_the_one_before(backoff: Backoff, waits: list[float]) -> None:
    assert [backoff.seconds(number) for number in range(len(waits))] == pytest.approx(waits)


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 8.0), (0.5, 7.0), (1.0, 6.0)])
def test_chance_takes_a_part_of_the_wait_off(chance: float, seconds: float) -> None:
    assert Backoff(min=1, max=60, jitter=0.25).seconds(3, chance) == seconds


def test_a_wait_is_within_its_bounds_however_often_the_child_has_failed() -> None:
    assert Backoff(factor=10).seconds(1_000_000) == 30.0


@given(backoff=BACKOFFS, waits=st.integers(0, 5000), chance=st.floats(0, 1))
def test_no_wait_is_longer_than_max_or_shorter_than_jitter_makes_it(
    backoff: Backoff, waits: int, chance: float
) -> None:
    seconds = backoff.seconds(waits, chance)
    assert backoff.min * (1 - backoff.jitter) <= seconds <= backoff.max
    assert seconds <= backoff.seconds(waits + 1, chance)


@pytest.mark.parametrize(
    ("ends", "waits"),
    [
        ([0, 1, 3, 7], [1, 2, 4, 8]),
        ([0, 11], [1, 2]),
        ([0, 11.001], [1, 1]),
        ([0, 1, 13, 14], [1, 2, 4, 8]),
        ([0, 1, 13.001, 14.001], [1, 2, 1, 2]),
    ],
    ids=["at once", "after max", "after more than max", "the second wait, after max", "the second wait, after more"],
)
def test_a_child_that_has_run_for_longer_than_max_begins_again(ends: list[float], waits: list[float]) -> None:
    # The time that a child waits is not time in which it runs.
    one = Waits(Backoff(min=1, max=10))
    assert [one.next(end) for end in ends] == waits


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"min": 0}, "min must be seconds > 0, got 0"),
        ({"min": math.inf, "max": math.inf}, "min must be seconds > 0, got inf"),
        ({"min": math.nan}, "min must be seconds > 0, got nan"),
        ({"min": 2, "max": 1}, "max must be seconds >= min (2), got 1"),
        ({"max": math.inf}, "max must be seconds >= min (0.1), got inf"),
        ({"factor": 0.5}, "factor must be >= 1, got 0.5"),
        ({"factor": math.inf}, "factor must be >= 1, got inf"),
        ({"jitter": -0.1}, "jitter must be from 0 to 1, got -0.1"),
        ({"jitter": 1.1}, "jitter must be from 0 to 1, got 1.1"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_with_its_value(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its whole text is compared
        Backoff(**options)
    assert str(caught.value) == text
