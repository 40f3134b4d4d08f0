"""The limits of an endpoint, checked where they are written."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from transport.carriers.rate import Rate
from transport.limits import Limits

OFF_BY_DEFAULT = {
    "messages",
    "first_join_timeout",
    "connections",
    "connections_per_address",
    "connections_per_id",
    "sessions_per_address",
}


def test_those_that_proxies_would_share_and_the_one_of_the_file_limit_are_off_by_default() -> None:
    assert {field.name for field in fields(Limits) if getattr(Limits(), field.name) is None} == OFF_BY_DEFAULT
    assert Limits().joins == Rate(100, burst=200)


@pytest.mark.parametrize("field", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, "many", True, float("nan")], ids=repr)
def test_each_names_itself_and_a_value_that_is_wrong(field: str, value: Any) -> None:
    limits: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=rf"^{field} must be .*, got {value!r}$"):
        Limits(**limits)


@pytest.mark.parametrize("field", sorted(OFF_BY_DEFAULT | {"joins", "sessions"}))
def test_some_may_be_turned_off(field: str) -> None:
    limits: dict[str, Any] = {field: None}
    assert getattr(Limits(**limits), field) is None


@pytest.mark.parametrize("field", [field.name for field in fields(Limits) if getattr(Limits(), field.name) is not None])
def test_the_others_may_not(field: str) -> None:
    limits: dict[str, Any] = {field: None}
    if field in {"joins", "sessions"}:
        Limits(**limits)
        return
    with pytest.raises(ValueError, match=rf"^{field} must be"):
        Limits(**limits)
