"""The limits of an endpoint, checked where they are written."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from transport.carriers.rate import Rate
from transport.limits import Limits
from transport.metrics.counters import LIMITS

ROOT = Path(__file__).parents[2]

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


def test_the_documentation_has_all_limits_that_are_counted_with_their_defaults() -> None:
    text = (ROOT / "docs" / "security.md").read_text().partition("## Limits")[2].partition("\n## ")[0]
    assert [name for name in (*LIMITS, "log_line") if f"`{name}`" not in text] == []
    for shown in (
        "1 MiB, 1,000",
        "`Rate(100, burst=200)`",
        "131,072",
        "1,024 bytes",
        "16 KiB, 10 KiB, 100",
        "10,000; None",
    ):
        assert shown in text
    limits = Limits()
    assert (limits.waiting_bytes, limits.waiting_messages, limits.joins) == (1 << 20, 1_000, Rate(100, burst=200))
    assert (limits.fragments, limits.topic_length, limits.sessions) == (131_072, 1_024, 10_000)
    assert (limits.head_size, limits.request_line, limits.headers, limits.requests) == (16_384, 10_240, 100, 1_000)
