"""The stock phoenix client, in a browser, cannot tell the demo from Phoenix (scenarios: javascript/browser.mjs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.node import browser, play

if TYPE_CHECKING:
    from tests.live import LiveDemo
    from tests.node import Reporter

NETWORKS = ["refused", "stuck", "mute"]
"""How a network breaks WebSockets: it answers the handshake with an error, or not at all, or swallows all frames."""
POLLED = {"longPoll": True, "methods": ["GET", "POST"]}
NOT_POLLED = {"longPoll": False, "methods": []}


@pytest.fixture(scope="session")
def report(demo: LiveDemo) -> Reporter:
    return play("browser.mjs", demo.address, browser())


def counts(presences: dict[str, list[Any]]) -> dict[str, int]:
    """Return how many metas each user has."""
    return {user: len(metas) for user, metas in presences.items()}


@pytest.mark.parametrize("scenario", ["ticks and pings", "crashes", "presence", "stuck", "mute", "polling"])
def test_the_browser_finds_nothing_to_complain_about(report: Reporter, scenario: str) -> None:
    assert report(scenario)["problems"] == []


def test_the_browser_complains_of_nothing_but_the_refused_handshake(report: Reporter) -> None:
    (problem,) = report("refused")["problems"]
    assert "/socket/blocked" in problem


def test_the_client_ticks_at_once_and_five_seconds_later(report: Reporter) -> None:
    first, second = report("ticks and pings")["ticks"]
    assert (first["value"], second["value"]) == ({"value": 0}, {"value": 1})
    # A busy browser handles frames late; the exact times are tested on virtual time.
    assert second["at"] - first["at"] > 1000


def test_a_ping_is_answered_over_the_websocket(report: Reporter) -> None:
    scenario = report("ticks and pings")
    assert scenario["ping"] == {"status": "ok", "response": {"response": "pong"}}
    assert scenario["transport"] == NOT_POLLED


def test_a_crashed_channel_tells_its_client_which_joins_again_by_itself(report: Reporter) -> None:
    crash = report("crashes")["channel"]
    assert crash == {"joined": 2, "errors": [{"reason": "channel_crash"}], "opened": 1, "closed": []}


def test_a_crashed_channel_comes_back_under_the_same_transport(report: Reporter) -> None:
    before, after, _ = report("crashes")["lives"]
    assert before["user"] == after["user"] == "crasher"
    assert after["channel"] != before["channel"]
    assert after["transport"] == before["transport"]


def test_a_crashed_transport_makes_the_client_reconnect_and_join_again(report: Reporter) -> None:
    crash = report("crashes")["transport"]
    assert (crash["joined"], crash["opened"]) == (3, 2)
    # What phoenix.js makes of an end without a close frame.
    assert crash["closed"] == [1006]
    assert crash["errors"][1:] == [{"source": "transport", "reason": "connection_closed"}]


def test_a_crashed_transport_takes_its_channel_along_and_both_come_back(report: Reporter) -> None:
    _, before, after = report("crashes")["lives"]
    assert after["user"] == "crasher"
    assert after["channel"] != before["channel"]
    assert after["transport"] != before["transport"]


def test_all_tabs_see_two_metas_of_a_user_with_two_tabs(report: Reporter) -> None:
    together = report("presence")["together"]
    assert [counts(presences) for presences in together] == [{"ann": 2, "ben": 1}] * 3
    refs = {meta["phx_ref"] for metas in together[0].values() for meta in metas}
    assert len(refs) == 3


def test_a_user_who_closes_one_of_two_tabs_stays_with_the_other(report: Reporter) -> None:
    presence = report("presence")
    before = presence["together"][0]
    assert [counts(presences) for presences in presence["after"]] == [{"ann": 1, "ben": 1}] * 2
    (stayed,) = presence["after"][1]["ann"]
    assert stayed in before["ann"]
    assert presence["after"][1]["ben"] == before["ben"]


def test_a_user_who_closes_the_last_tab_is_gone(report: Reporter) -> None:
    presence = report("presence")
    assert presence["alone"] == {"ben": presence["together"][2]["ben"]}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_client_without_a_working_websocket_falls_back_to_long_polling(report: Reporter, network: str) -> None:
    fallen = report(network)
    assert fallen["transports"] == {"poller": POLLED, "other": NOT_POLLED}
    assert fallen["user"] == "poller"


def test_a_client_that_chooses_long_polling_needs_no_websocket(report: Reporter) -> None:
    polling = report("polling")
    assert polling["transports"] == {"poller": POLLED, "other": NOT_POLLED}
    assert polling["user"] == "poller"


@pytest.mark.parametrize("scenario", [*NETWORKS, "polling"])
def test_pushes_of_a_polling_client_are_replied_to(report: Reporter, scenario: str) -> None:
    talk = report(scenario)
    assert talk["echo"] == {"status": "ok", "response": {"text": "grüß dich", "numbers": [1, 2.5, None]}}
    assert talk["failure"] == {"status": "error", "response": {"reason": "failed on purpose"}}


@pytest.mark.parametrize("scenario", [*NETWORKS, "polling"])
def test_broadcasts_go_from_and_to_a_polling_client(report: Reporter, scenario: str) -> None:
    talk = report(scenario)
    said = [{"user": "poller", "body": "from the poller"}, {"user": "other", "body": "from the other"}]
    assert talk["heard"] == said
    assert talk["heardByOther"] == said
