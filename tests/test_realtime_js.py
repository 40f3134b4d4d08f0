"""The stock client of Supabase Realtime, under node, with a channel made for it (scenarios: javascript/realtime.mjs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.live import ROOT, LiveDemo
from tests.node import play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.node import Reporter


@pytest.fixture(scope="module")
def server() -> Iterator[LiveDemo]:
    with LiveDemo(ROOT / "tests" / "servers" / "realtime.py") as running:
        yield running


@pytest.fixture(scope="module", params=["1.0.0", "2.0.0"])
def vsn(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(server: LiveDemo, vsn: str) -> Reporter:
    return play("realtime.mjs", f"{server.websocket_address}/realtime", vsn)


def test_a_subscription_is_a_join_and_unsubscribing_leaves(report: Reporter) -> None:
    told = report("broadcast")
    assert told["statuses"] == [{"status": "SUBSCRIBED"}, {"status": "SUBSCRIBED"}]
    assert told["left"] == "ok"


def test_a_broadcast_reaches_the_others_and_is_acknowledged(report: Reporter) -> None:
    told = report("broadcast")
    assert told["sent"] == "ok"
    assert told["heard"] == {"type": "broadcast", "event": "said", "payload": {"body": "hé"}}
    assert told["echoes"] == []


def test_a_broadcast_reaches_its_sender_if_it_wants_that(report: Reporter) -> None:
    heard = {"type": "broadcast", "event": "said", "payload": {"n": 1}}
    assert report("broadcast to oneself") == {"sent": "ok", "heard": heard}


def test_a_binary_broadcast_goes_by_a_serializer_of_the_application(report: Reporter, vsn: str) -> None:
    expected = {} if vsn == "1.0.0" else {"sent": "ok", "heard": ["ArrayBuffer", 0, 255, 1]}
    assert report("binary broadcast") == expected


def test_presence_is_tracked_and_untracked(report: Reporter) -> None:
    told = report("presence")
    assert (told["tracked"], told["untracked"]) == (["ok", "ok"], "ok")
    assert told["states"][0] == told["states"][1]
    statuses = {key: [meta["status"] for meta in metas] for key, metas in told["states"][0].items()}
    assert statuses == {"ann": ["typing"], "ben": ["reading"]}
    assert told["left"]["key"] == "ben"
    assert told["remaining"] == ["ann"]


def test_a_refused_join_says_why(report: Reporter) -> None:
    assert report("refused join") == {"status": "CHANNEL_ERROR", "error": "Unauthorized"}


def test_another_token_reaches_the_socket_and_all_channels(report: Reporter) -> None:
    assert report("another token") == {"messages": ["the token is new", "the token is new"]}
