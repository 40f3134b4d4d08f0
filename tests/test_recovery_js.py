"""`recoverable` around the stock phoenix client, over real sockets (scenarios: javascript/recovery.mjs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.node import play

if TYPE_CHECKING:
    from tests.live import LiveDemo
    from tests.node import Reporter


@pytest.fixture(scope="module", params=["WebSocket", "LongPoll"])
def report(demo: LiveDemo, request: pytest.FixtureRequest) -> Reporter:
    return play("recovery.mjs", f"{demo.websocket_address}/socket", request.param)


def bodies(report: dict[str, Any]) -> list[int]:
    return [heard["body"] for heard in report["heard"]]


def test_a_client_that_is_away_again_and_again_misses_nothing(report: Reporter) -> None:
    seen = report("away and back")
    assert bodies(seen) == list(range(12))
    assert [heard["isRecovered"] for heard in seen["heard"]] == [False] * 3 + [True, True, False] * 3
    assert [heard["ref"] for heard in seen["heard"]] == [f"@{number}" for number in range(1, 13)]
    first, *others = seen["answers"]
    assert (first["offset"], first["recovered"], first["count"]) == (0, False, 0)
    assert [(each["offset"], each["recovered"], each["count"]) for each in others] == [
        (5, True, 2),
        (8, True, 2),
        (11, True, 2),
    ]


def test_a_client_that_left_before_the_first_message_gets_it(report: Reporter) -> None:
    seen = report("away before anything was said")
    assert bodies(seen) == [0, 1]
    assert [each["recovered"] for each in seen["answers"]] == [False, True]


def test_a_client_that_was_away_for_too_long_is_told(report: Reporter) -> None:
    seen = report("away for too long")
    assert bodies(seen) == [101]
    assert [(each["recovered"], each["offset"]) for each in seen["answers"]] == [(False, 0), (False, 101)]


def test_a_gap_makes_the_channel_join_again(report: Reporter) -> None:
    seen = report("a lost message")
    assert bodies(seen) == list(range(4))
    assert "missed" in seen["errors"]
    assert [each["recovered"] for each in seen["answers"]] == [False, True]


def test_only_base64_in_the_place_of_a_payload_is_made_bytes(report: Reporter) -> None:
    assert report("payloads that look binary")["payloads"] == [[0, 1, 255], {"@binary": "no Base64!"}]


def test_only_what_has_an_offset_was_missed(report: Reporter) -> None:
    assert report("refs that are no offsets")["recovered"] == [False, True, False, False, False]


# Pushes that are handled once

OK = ["ok", {}]


def test_pushes_over_connections_that_break_are_heard_once(report: Reporter) -> None:
    seen = report("pushes over connections that break")
    assert seen["answered"] == [OK] * 12
    assert bodies(seen) == list(range(12))


def test_a_push_whose_answer_is_lost_gets_it_after_the_rejoin(report: Reporter) -> None:
    seen = report("a lost answer")
    assert seen["answered"] == [OK] * 2
    assert bodies(seen) == [0, 1]


def test_a_push_that_finds_no_channel_is_sent_after_the_rejoin(report: Reporter) -> None:
    seen = report("a push that finds no channel")
    assert seen["answered"] == [OK]
    assert bodies(seen) == [0]


def test_a_push_is_sent_again_when_the_server_says_so(report: Reporter) -> None:
    seen = report("a push that is asked for again")
    assert (seen["answered"], seen["refusals"]) == ([OK], 3)
    assert bodies(seen) == [0]


def test_the_same_key_is_the_same_push(report: Reporter) -> None:
    seen = report("a key of one's own")
    assert seen["answered"] == [OK, OK, ["error", {"reason": "key used for another push"}]]
    assert bodies(seen) == [0]


def test_a_push_is_given_up_in_time(report: Reporter) -> None:
    seen = report("a push that is given up")
    assert seen["answered"] == [["timeout", {}], OK]
    assert bodies(seen) == [1]
