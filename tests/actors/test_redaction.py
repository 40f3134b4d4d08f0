from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.redaction import (
    LINE,
    MAX_DEPTH,
    Lines,
    error_text,
    filter_parameters,
    printable,
    safe_repr,
    safe_str,
    shown,
    without_secrets,
)


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


Key = namedtuple("Key", "api_key size")  # noqa: PYI024  # whatever its kind
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
        (["user", "x"], ["user", "x"]),
        ([["cookie", "x"], ("x-api-key", "x")], [["cookie", "[FILTERED]"], ["x-api-key", "[FILTERED]"]]),
        ("/socket?user_token=x&vsn=2.0.0", "/socket?user_token=[FILTERED]&vsn=2.0.0"),
        ("password=x;a=b", "password=[FILTERED];a=b"),
        ("a token = 5, the token=5", "a token = 5, the token=5"),
        ("phoenix, base64url.bearer.phx.eA, x", "phoenix, base64url.bearer.phx.[FILTERED], x"),
    ],
    ids=repr,
)
def test_secrets_are_filtered_however_deep(value: Any, filtered: Any) -> None:
    assert filter_parameters(value) == filtered


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "apikey",
        "apiKey",
        "x-api-key",
        "API_KEY",
        "Cookie",
        "set-cookie",
        "_csrf_token",
        "x-csrf",
        "passwd",
        "aws_credentials",
        b"authorization",
    ],
)
def test_names_of_secrets_are_found_in_any_case_and_form(name: Any) -> None:
    for value in ({name: "x"}, {"a": [{"b": {name: "x"}}]}, [(name, "x")], {"headers": [[name, "x"]]}):
        for text in (repr(filter_parameters(value)), shown(value), repr(without_secrets(value))):
            assert "'x'" not in text
            assert "[FILTERED]" in text


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
        (Key("x", 1), "Key(api_key='[FILTERED]', size=1)"),
        (OrderedDict({"token": "x", "a": [("cookie", "x")]}),
         "OrderedDict({'token': '[FILTERED]', 'a': [('cookie', '[FILTERED]')]})"),
        (MappingProxyType({"secret": "x"}), "mappingproxy({'secret': '[FILTERED]'})"),
        ({"uri": "wss://a/?token=x"}, "{'uri': 'wss://a/?token=[FILTERED]'}"),
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


@pytest.mark.parametrize(
    "value",
    ["x" * 10**6, b"x" * 10**6, ["x"] * 10**6, dict.fromkeys(range(10**6)), {"a": ("x" * 10**6, "y")}],
    ids=type,
)
def test_a_message_is_looked_at_no_further_than_it_is_shown(value: Any) -> None:
    text = repr(without_secrets(value))
    assert text[:LINE] == repr(value)[:LINE]
    assert len(text) < 100 * LINE


# Printable texts

HOSTILE = "\n\r\t\x00\x1b[2J\x7f\x85\x9b\xa0\xad\u200b\u2028\u2029\u202e\u2066\ufeff\ud800\U000e0001"


@given(st.text() | st.text(st.sampled_from(HOSTILE + "aé日")), st.integers(1, 50))
def test_a_printable_text_is_one_bounded_line_with_the_escapes_of_repr(text: str, most: int) -> None:
    line = printable(text)
    assert line.isprintable()
    if "\\" not in text and "'" not in text and len(line) < LINE:
        assert line == repr(text)[1:-1]
    assert len(printable(text, most)) <= most + 1


@pytest.mark.parametrize("text", ["", "room:lobby", "Ünï 日本 🎉", "C:\\temp", 'it\'s "quoted"'])
def test_a_printable_text_is_left_as_it_is(text: str) -> None:
    assert printable(text) is text


def test_lines_are_printable_one_by_one() -> None:
    assert str(Lines("one\n  two\r\nthree\x1b[2J")) == "one\n  two\\r\nthree\\x1b[2J"
    assert str(Lines("x\n" * 100, 9)) == "x\nx\nx\nx\nx…"
    assert str(Lines(ValueError("a\n\x00"))) == "a\n\\x00"


def test_texts_of_values_command_no_terminal() -> None:
    class Loud:
        def __repr__(self) -> str:
            return f"<{HOSTILE}>"

    for text in (safe_repr(Loud()), safe_str(Loud()), safe_str(HOSTILE)):
        assert all(line.isprintable() for line in text.split("\n"))
    assert error_text(ValueError("a\nb\x1b")) == "ValueError: a\\nb\\x1b"
