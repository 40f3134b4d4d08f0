"""The stock phoenix client, under node, cannot tell the demo from Phoenix (scenarios: javascript/session.mjs).

`transport.client` is held to the same checks (the same scenarios: python_session.py), but for those of JavaScript's own types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.node import play
from tests.python_session import play_in_python

if TYPE_CHECKING:
    from tests.live import LiveDemo
    from tests.node import Reporter
    from transport.client.protocol.effects import TransportName


PYTHON: dict[str, TransportName] = {"transport.client": "websocket", "transport.client, long polling": "longpoll"}


@pytest.fixture(scope="session", params=["WebSocket", "LongPoll", *PYTHON])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def report(demo: LiveDemo, transport: str) -> Reporter:
    url = f"{demo.websocket_address}/socket"
    return play_in_python(url, PYTHON[transport]) if transport in PYTHON else play("session.mjs", url, transport)


# For what the stock client alone has.
stock = pytest.mark.parametrize("transport", ["WebSocket", "LongPoll"], indirect=True, scope="session")


def test_ticks_come_at_once_and_five_seconds_later(report: Reporter) -> None:
    first, second = report("ticks and pings")["ticks"]
    assert (first["value"], second["value"]) == (0, 1)
    assert first["at"] < second["at"]
    assert second["at"] >= 4.9


def test_each_delayed_ping_is_answered_in_due_time_and_overtaken_by_shorter_ones(report: Reporter) -> None:
    answers = report("ticks and pings")["answers"]
    assert [answer["event"] for answer in answers] == ["ping", "ping:1000", "ping:2000", "ping:3000"]
    assert {answer["status"] for answer in answers} == {"ok"}
    assert [answer["response"] for answer in answers] == [
        {"response": "pong"},
        {"delay": 1000, "response": "pong"},
        {"delay": 2000, "response": "pong"},
        {"delay": 3000, "response": "pong"},
    ]
    for answer, seconds in zip(answers, (0, 0.95, 1.95, 2.95), strict=True):
        assert answer["after"] >= seconds


def test_a_crashed_channel_tells_its_client_which_joins_again_by_itself(report: Reporter) -> None:
    crashes = report("crashes")
    assert crashes["channelCrash"]["errors"] == [{"reason": "channel_crash"}]
    assert crashes["channelCrash"]["joins"] == 2
    assert crashes["afterChannel"]["user"] == crashes["before"]["user"] == "crasher"
    assert crashes["afterChannel"]["channel"] != crashes["before"]["channel"]
    assert crashes["afterChannel"]["transport"] == crashes["before"]["transport"]


def test_a_crashed_channel_goes_unnoticed_by_its_sibling_and_the_socket(report: Reporter) -> None:
    crash = report("crashes")["channelCrash"]
    assert crash["sockets"] == {"opened": 1, "closed": []}
    assert crash["demo"]["state"] == "joined"
    assert (crash["demo"]["joins"], crash["demo"]["joined"]) == (1, 1)
    assert (crash["demo"]["errors"], crash["demo"]["closed"]) == ([], 0)
    # A channel that was replaced would begin again; on a slow machine there is time for more than the first.
    assert [tick["value"] for tick in crash["demo"]["ticks"]] == list(range(len(crash["demo"]["ticks"])))
    assert crash["demo"]["ticks"]
    assert crash["demo"]["ping"] == {"status": "ok", "response": {"response": "pong"}}


def test_a_crashed_transport_is_replaced_and_all_its_topics_joined_again(report: Reporter, transport: str) -> None:
    crashes = report("crashes")
    crash, before, after = crashes["transportCrash"], crashes["afterChannel"], crashes["afterTransport"]
    # What phoenix.js makes of an end without a close frame, and of a session that is gone.
    ends = {"LongPoll": (3410, "connection_error"), "transport.client, long polling": (3410, "connection_closed")}
    code, reason = ends.get(transport, (1006, "connection_closed"))
    assert crash["closes"] == [code]
    assert crash["joins"] == {"room": 3, "demo": 2}
    dropped = [{"source": "transport", "reason": reason}]
    assert crash["errors"] == {"room": dropped, "demo": dropped}
    assert crash["ping"] == {"status": "ok", "response": {"response": "pong"}}
    assert after["user"] == "crasher"
    assert after["channel"] != before["channel"]
    assert after["transport"] != before["transport"]


def test_a_message_reaches_both_ends_and_typing_only_the_other(report: Reporter) -> None:
    chat = report("chat and kick")
    assert chat["sent"] == {"status": "ok", "response": {}}
    first = {"user": "ann", "body": "hello"}
    assert (chat["messages"]["ann"][0], chat["messages"]["ben"][0]) == (first, first)
    assert chat["typing"] == {"ann": [], "ben": [{"user": "ann"}]}


def test_a_kick_closes_with_1001_and_the_client_comes_back(report: Reporter, transport: str) -> None:
    chat = report("chat and kick")
    assert chat["kicked"] == {"status": "ok", "response": {}}
    # Without frames there are no close codes: phoenix.js finds its session gone.
    assert chat["code"] == {"LongPoll": 3410, "transport.client, long polling": 3410}.get(transport, 1001)
    assert chat["opened"] == {"ann": 1, "ben": 2}
    assert chat["again"] == {"status": "ok", "response": {}}
    second = {"user": "ann", "body": "welcome back"}
    assert (chat["messages"]["ann"][1:], chat["messages"]["ben"][1:]) == ([second], [second])


@pytest.mark.parametrize("ending", ["left", "stopped"])
def test_a_channel_that_was_left_or_stopped_is_closed_and_not_joined_again(report: Reporter, ending: str) -> None:
    endings = report("leave, stop and refusals")
    assert endings["stop"] == {"status": "ok", "response": {}}
    assert endings["closes"] == []
    standing = endings[ending]
    assert (standing["state"], standing["forgotten"]) == ("closed", True)
    assert (standing["joins"], standing["closed"], standing["errors"]) == (1, 1, [])


@stock
def test_a_client_whose_websocket_is_blocked_falls_back_to_long_polling(report: Reporter) -> None:
    assert report("fallback") == {"polls": True, "user": "fallen"}


@pytest.mark.parametrize(("topic", "reason"), [("nope:x", "unmatched topic"), ("room:vip", "unauthorized")])
def test_a_refused_join_says_why(report: Reporter, topic: str, reason: str) -> None:
    assert report("leave, stop and refusals")["refusals"][topic] == {"reason": reason}


def test_the_stock_presence_keeps_the_list_of_who_is_here(report: Reporter) -> None:
    lists = [dict(members) for members in report("presence")["together"]]
    assert lists[0] == lists[1] == lists[2]
    assert {key: len(metas) for key, metas in lists[0].items()} == {"ann": 2, "__proto__": 1}
    assert all(sorted(meta) == ["online_at", "phx_ref"] for metas in lists[0].values() for meta in metas)


def test_whoever_crashes_or_closes_leaves_the_stock_presence(report: Reporter) -> None:
    told = report("presence")
    before, after = dict(told["together"][0]), dict(told["rejoined"][0])
    assert dict(told["crashed"]) == {"ann": before["ann"]}
    assert after == dict(told["rejoined"][1])
    assert after["ann"] == before["ann"]
    assert after["__proto__"] != before["__proto__"]
    assert dict(told["closed"]) == {**after, "ann": before["ann"][:1]}
    assert dict(told["left"]) == {"ann": before["ann"][:1]}


def test_the_stock_presence_tells_who_comes_and_goes(report: Reporter) -> None:
    # One's own diff comes before the state and is applied after it.
    itself = ["ann joins", "ann again"]
    others = ["ann again", "__proto__ joins", "__proto__ leaves", "__proto__ joins", "ann less", "__proto__ leaves"]
    assert report("presence")["changes"] == itself + others


@stock
def test_binary_payloads_are_array_buffers(report: Reporter) -> None:
    binary = report("binary")
    assert binary["blob"] == ["ok", "ArrayBuffer", 0, 255, 1]
    assert binary["empty"] == ["ok", "ArrayBuffer"]
    assert binary["shouts"] == [["ArrayBuffer", 0, 255, 1]] * 2
