from __future__ import annotations

from typing import Any

import pytest

from actors.parameters import filter_parameters


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
