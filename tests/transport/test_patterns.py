"""Patterns: what matches, and how differences are described."""

from __future__ import annotations

import operator
import re
from functools import partial
from typing import Any
from unittest import mock

import msgspec
import pytest

from transport.testing.patterns import ANY, Capture, differences, take_captures


class Point(msgspec.Struct, rename={"x": "left"}):
    x: int
    y: int = 0


def named(value: object) -> str:
    """Name a case without a memory address: xdist needs the same names in all workers."""
    return (
        value.__name__
        if callable(value) and not isinstance(value, type) and hasattr(value, "__name__")
        else repr(value)
    )


def is_even(number: int) -> bool:
    return number % 2 == 0


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (ANY, None),
        (1, 1),
        (1, 1.0),
        ("a", "a"),
        (b"\0", b"\0"),
        (None, None),
        (True, True),
        ({}, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}),
        ([1, ANY], [1, 2]),
        ([{"a": 1}], [{"a": 1, "b": 2}]),
        ((1, 2), [1, 2]),
        (int, 1),
        (bool, True),
        (str, "a"),
        ({"at": float}, {"at": 1.5}),
        (re.compile("^ab"), "abc"),
        (is_even, 2),
        (Capture(int), 1),
        ({"left": 1}, Point(1)),
        ({"points": [{"y": 2}]}, {"points": [Point(1, 2)]}),
        (mock.ANY, True),
        (pytest.approx(0.3), 0.1 + 0.2),
    ],
    ids=named,
)
def test_what_fits(expected: Any, actual: Any) -> None:
    assert list(differences(expected, actual)) == []


@pytest.mark.parametrize(
    ("expected", "actual", "said"),
    [
        (1, 2, ["payload: expected 1, got 2"]),
        (1, True, ["payload: expected 1, got True"]),
        (False, 0, ["payload: expected False, got 0"]),
        (int, True, ["payload: expected a value of type int, got True"]),
        (str, None, ["payload: expected a value of type str, got None"]),
        (None, {}, ["payload: expected None, got {}"]),
        ({}, None, ["payload: expected {}, got None"]),
        ({"a": 1}, [], ["payload: expected {'a': 1}, got []"]),
        ({"a": ANY}, {"b": 1}, ["a: expected ANY, but there is no such key"]),
        ({"a": {"b": 1}, "c": 2}, {"a": {"b": 2}, "c": 3}, ["a.b: expected 1, got 2", "c: expected 2, got 3"]),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ["a[1].b: expected 2, got 3"]),
        ([1], [1, 2], ["payload: expected [1], got [1, 2]"]),
        ([1], "1", ["payload: expected [1], got '1'"]),
        (re.compile("^b"), "abc", ["payload: expected a text that matches '^b', got 'abc'"]),
        (re.compile("1"), 1, ["payload: expected a text that matches '1', got 1"]),
        (is_even, 3, ["payload: expected a value for which is_even is true, got 3"]),
        ({"a": Capture(str)}, {"a": 1}, ["a: expected a value of type str, got 1"]),
        ({"x": 1}, Point(1), ["x: expected 1, but there is no such key"]),
    ],
    ids=named,
)
def test_what_does_not_fit_is_said(expected: Any, actual: Any, said: list[str]) -> None:
    assert list(differences(expected, actual)) == said


def test_a_capture_keeps_its_part() -> None:
    who, where, item = Capture(), Capture({"x": int}), Capture()
    pattern = {"user": who, "at": where, "items": [ANY, item]}
    payload = {"user": "ann", "at": {"x": 1, "y": 2}, "items": [1, 2], "more": True}
    assert list(differences(pattern, payload)) == []
    take_captures(pattern, payload)
    assert (who.value, where.value, item.value) == ("ann", {"x": 1, "y": 2}, 2)


def test_captures_may_be_nested() -> None:
    inner = Capture()
    outer = Capture({"left": inner})
    take_captures(outer, Point(1))
    assert (outer.value, inner.value) == ({"left": 1, "y": 0}, 1)


def test_a_capture_that_has_nothing_says_so() -> None:
    with pytest.raises(LookupError, match="nothing has been captured; give the Capture to an assertion first"):
        _ = Capture().value


@pytest.mark.parametrize(
    ("pattern", "text"), [(ANY, "ANY"), (Capture(), "Capture()"), (Capture(int), "Capture(<class 'int'>)")], ids=repr
)
def test_patterns_show_what_they_are(pattern: Any, text: str) -> None:
    assert repr(pattern) == text


def test_any_is_equal_to_everything() -> None:
    assert ANY == 1
    assert [ANY, ANY] == [None, "a"]
    assert {"a": ANY} == {"a": 2}
    assert len({ANY, ANY}) == 1


@pytest.mark.parametrize("pattern", [list[int], int | None, Any], ids=str)
def test_an_annotation_is_no_pattern(pattern: Any) -> None:
    with pytest.raises(TypeError, match="is not a pattern; write"):
        list(differences({"items": pattern}, {"items": ["a"]}))


def test_a_condition_without_a_name_is_shown_as_it_is() -> None:
    is_two = partial(operator.eq, 2)
    assert list(differences({"n": is_two}, {"n": 2})) == []
    assert list(differences({"n": is_two}, {"n": 1})) == [f"n: expected a value for which {is_two!r} is true, got 1"]
