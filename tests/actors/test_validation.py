"""Checks of numbers: what they accept, and the name, the bound and the value in what they raise."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest

from actors.validation import check_count, check_number, check_seconds, check_share, is_count, is_number, is_within

NOT_NUMBERS = [True, False, None, "5", [1], 1j]


@pytest.mark.parametrize("value", [0, -1, 2.5, math.inf, math.nan])
def test_ints_and_floats_are_numbers(value: object) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_a_bool_a_string_and_none_are_not_numbers(value: object) -> None:
    assert not is_number(value)
    assert not is_count(value)
    assert not is_within(value, ">= 0")


@pytest.mark.parametrize(
    ("value", "least", "expected"), [(0, 0, [0]), (-1, 0, []), (0, 1, []), (3, 1, [3]), (2.0, 1, [])]
)
def test_a_count_is_whole_and_not_below_the_least(value: object, least: int, expected: list[int]) -> None:
    assert [count for count in [value] if is_count(count, least)] == expected


@pytest.mark.parametrize("value", [0, 0.0, 1, 2.5, math.inf])
def test_a_duration_is_zero_or_more(value: float) -> None:
    check_seconds("timeout", value)
    check_number("size", value)
    assert is_within(value, "> 0") is (value > 0)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (partial(check_seconds, "timeout", -1), "timeout must be seconds >= 0, got -1"),
        (partial(check_seconds, "timeout", 0, "> 0"), "timeout must be seconds > 0, got 0"),
        (partial(check_seconds, "timeout", math.nan), "timeout must be seconds >= 0, got nan"),
        (partial(check_seconds, "timeout", "5", others=" or None"), "timeout must be seconds >= 0 or None, got '5'"),
        (partial(check_number, "size", "5", "> 0"), "size must be a number > 0, got '5'"),
        (partial(check_number, "size", -1, unit="bytes"), "size must be bytes >= 0, got -1"),
        (partial(check_count, "children", -1), "children must be a whole number >= 0, got -1"),
        (partial(check_count, "children", 2.5, others=" or 7"), "children must be a whole number >= 0 or 7, got 2.5"),
        (partial(check_count, "record", 0, least=1, unit="messages"), "record must be messages >= 1, got 0"),
        (partial(check_share, "jitter", 1.5), "jitter must be from 0 to 1, got 1.5"),
        (partial(check_share, "jitter", None, meaning=", a part"), "jitter must be from 0 to 1, a part, got None"),
        (partial(check_share, "jitter", math.nan), "jitter must be from 0 to 1, got nan"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.func.__name__,
)  # fmt: skip
def test_an_error_has_the_name_the_bound_and_the_value(check: Callable[[], None], message: str) -> None:
    with pytest.raises(ValueError, match=r"got .+$") as caught:
        check()
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [0, 0.25, 1])
def test_a_share_is_from_0_to_1(value: float) -> None:
    check_share("jitter", value)
