from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.redaction import MAX_DEPTH, filter_parameters, shown, without_secrets


@dataclass
class Login:
    user: str
    password: str
    more: Any = None
    hidden: int = field(default=0, repr=False)


class Order(msgspec.Struct):
    api_key: str
    item: Any


class Wordy(msgspec.Struct):
    token: str

    def __repr__(self) -> str:
        return "what the author says"


Point = namedtuple("Point", "x y")  # noqa: PYI024  # whatever its kind


@pytest.mark.parametrize(
    ("value", "filtered"),
    [
        ({"user": "alice"}, {"user": "alice"}),
        ({"password": "x"}, {"password": "[FILTERED]"}),
        ({"new_Password_again": "x"}, {"new_Password_again": "[FILTERED]"}),
        ({"user_token": {"a": 1}}, {"user_token": "[FILTERED]"}),
        ({"a": [{"client_secret": 1, "b": 2}]}, {"a": [{"client_secret": "[FILTERED]", "b": 2}]}),
        ("text", "text"),
        (b"\x00\x01", "<2 bytes>"),
        ({1: 2}, {1: 2}),
        (None, None),
    ],
    ids=repr,
)
def test_secrets_are_filtered_however_deep(value: Any, filtered: Any) -> None:
    assert filter_parameters(value) == filtered


def test_the_names_of_secrets_can_be_chosen() -> None:
    assert filter_parameters({"pin": 1, "password": 2}, ["pin"]) == {"pin": "[FILTERED]", "password": 2}


def test_what_lies_too_deep_is_not_shown() -> None:
    assert filter_parameters({"a": [{"b": 1}]}, depth=2) == {"a": [{"b": "[DEEPER]"}]}
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": [deep]}
    assert "'[DEEPER]'" in repr(filter_parameters(deep))


def test_what_is_filtered_is_a_copy() -> None:
    params = {"password": "x", "inner": {"token": "y"}}
    filter_parameters(params)
    assert params == {"password": "x", "inner": {"token": "y"}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (("login", {"password": "x", "n": 1}), "('login', {'password': '[FILTERED]', 'n': 1})"),
        ([{"a": ({"Cookie": "x"},)}], "[{'a': ({'Cookie': '[FILTERED]'},)}]"),
        (Login("ann", "x"), "Login(user='ann', password='[FILTERED]', more=None)"),
        (Order("x", Login("ann", "x", {"token": 1})),
         "Order(api_key='[FILTERED]', item=Login(user='ann', password='[FILTERED]', more={'token': '[FILTERED]'}))"),
        (Wordy("x"), "what the author says"),
        (Point(1, 2), "Point(x=1, y=2)"),
        (("withdraw", b"ten", {1}), "('withdraw', b'ten', {1})"),
        ("password", "'password'"),
        (None, "None"),
    ],
    ids=repr,
)  # fmt: skip  # a table
def test_a_message_is_shown_as_it_is_without_its_secrets(value: Any, shown: str) -> None:
    assert repr(without_secrets(value)) == shown


def test_a_message_that_holds_itself_is_shown_to_an_end() -> None:
    ring: list[Any] = [1]
    ring.extend([ring, ring])
    assert repr(without_secrets(ring)) == "[1, [DEEPER], [DEEPER]]"
    deep: Any = {}
    for _ in range(5000):
        deep = (deep,)
    assert "[DEEPER]" in repr(without_secrets(deep))


# A bounded text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["token", "password"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(0, 60))
def test_the_text_is_the_beginning_of_the_repr_of_what_is_filtered(value: Any, most: int) -> None:
    whole = repr(filter_parameters(value))
    assert shown(value) == whole
    text = shown(value, most=most)
    assert len(text) <= most + 1
    assert text == whole or text.endswith("…")


def test_a_bounded_text_looks_at_no_more_than_it_shows() -> None:
    class Endless(list[Any]):
        def __iter__(self) -> Iterator[Any]:
            return repeat({"a": [1]})

    assert shown({"list": Endless()}, most=40) == "{'list': [{'a': [1]}, {'a': [1]}, {'a': …"
    assert shown("x" * 100, most=5) == "'xxxx…"
    assert len(shown({"k" * 10**6: "v"}, most=10)) == 11


def test_a_bounded_text_goes_no_deeper_than_the_filter() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 10):
        deep = [deep]
    assert shown(deep) == repr(filter_parameters(deep))
