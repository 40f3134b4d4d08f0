"""What is kept of a channel's broadcasts, and what a client may say about where it was."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.channel import Channel
from actors.history.history import NOWHERE, History, Position, wanted_position


def test_all_events_are_kept_but_those_of_presence() -> None:
    assert History().records("new_msg")
    assert not History().records("presence_diff")


def test_only_the_events_that_are_named_are_kept() -> None:
    history = History(events=("new_msg",))
    assert history.records("new_msg")
    assert not history.records("typing")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"size": 0}, "size must be a whole number >= 1, got 0"),
        ({"size": 1.5}, "size must be a whole number >= 1, got 1.5"),
        ({"ttl": 0}, "ttl must be seconds > 0, got 0"),
        ({"ttl": "300"}, "ttl must be seconds > 0, got '300'"),
        ({"max_bytes": -1}, "max_bytes must be a whole number >= 1, got -1"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        History(**options)


@pytest.mark.parametrize("events", ["new_msg", b"new_msg", 7, [7], ["new_msg", None]])
def test_events_must_be_a_collection_of_texts(events: Any) -> None:
    with pytest.raises(TypeError, match="events must be a collection of events such as"):
        History(events=events)


@pytest.mark.parametrize("history", [True, 100, {"size": 100}, History])
def test_a_channel_is_refused_whose_history_is_none(history: Any) -> None:
    with pytest.raises(TypeError, match=r"Kept\.history must be a History such as History\(ttl=300\.0\)"):
        type("Kept", (Channel,), {"history": history})


# Where a client was


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("true", NOWHERE),
        ('{"epoch": "a", "offset": 0}', Position("a", 0)),
        ('{"epoch": "", "offset": 9007199254740991}', Position("", 2**53 - 1)),
        ('{"epoch": "a", "offset": 3, "recovered": true, "count": 2}', Position("a", 3)),
    ],
)
def test_what_a_client_says_about_where_it_was(text: str, position: Position) -> None:
    assert wanted_position(msgspec.json.decode(text)) == position


@pytest.mark.parametrize(
    "text",
    [
        *("false", "null", "0", "1", '"true"', "[]", "{}", "-1", "1.0"),
        '{"epoch": "a"}',
        '{"offset": 1}',
        '{"epoch": null, "offset": 1}',
        '{"epoch": 1, "offset": 1}',
        '{"epoch": "a", "offset": "1"}',
        '{"epoch": "a", "offset": null}',
        '{"epoch": "a", "offset": true}',
        '{"epoch": "a", "offset": false}',
        '{"epoch": "a", "offset": -1}',
        '{"epoch": "a", "offset": 1.0}',
        '{"epoch": "a", "offset": 0.5}',
        '{"epoch": "a", "offset": 9007199254740992}',
        '{"epoch": "a", "offset": 123456789012345678901234567890}',
        '["a", 1]',
    ],
)
def test_what_is_no_position(text: str) -> None:
    assert wanted_position(msgspec.json.decode(text)) is None
