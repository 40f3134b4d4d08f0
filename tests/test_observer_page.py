"""The observer's page in a browser, against the running demo (scenarios: javascript/observer.mjs)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.live import LiveDemo
from tests.node import browser, play
from transport import Socket
from transport.observer.observer import TOKEN_VARIABLE, Observer
from transport.testing.live_endpoint import LiveEndpoint

if TYPE_CHECKING:
    from tests.node import Reporter

SCENARIOS = [
    "tree",
    "join",
    "crash",
    "state",
    "orders",
    "own",
    "recovery",
    "keyboard",
    "search",
    "accessibility",
    "widths",
    "token",
    "rebound",
]
TOKEN = "a-token-for-the-tests"  # noqa: S105  # of no other use


@pytest.fixture(scope="session")
def report() -> Reporter:
    # A demo of its own: where other tests have left more than a few clients, the page shows them folded.
    sockets, observer = {"/socket": Socket}, Observer(TOKEN)
    with LiveDemo(variables={TOKEN_VARIABLE: TOKEN}) as demo, LiveEndpoint(sockets, observer=observer) as another:
        return play("observer.mjs", demo.address, browser(), another.url, TOKEN)


def test_the_demo_prints_the_address_with_a_token_of_its_own() -> None:
    printed = []
    for _ in range(2):
        with LiveDemo() as demo:
            pass
        printed += re.findall(r"http://127\.0\.0\.1:\d+/observer#token=(\S+)", "".join(demo.output))
    assert len(set(printed)) == len(printed) == 2


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_browser_finds_nothing_to_complain_about(report: Reporter, scenario: str) -> None:
    assert report(scenario)["problems"] == []


def test_the_tree_appears(report: Reporter) -> None:
    tree = report("tree")
    assert tree["status"] == "connected"
    assert tree["names"][:5] == ["System", "pubsub", "presence", "endpoint", "transports"]
    assert {"channels", "observer", "listener"} <= set(tree["names"])
    # Nothing is folded, and every row is a running actor.
    assert int(tree["actors"]) == len(tree["names"])


def test_the_tree_is_one_to_assistive_technology(report: Reporter) -> None:
    tree = report("tree")
    assert tree["tree"] == "tree"
    assert {role for role, *_ in tree["items"]} == {"treeitem"}
    assert [row[1:4] for row in tree["items"][:3]] == [["1", "1", "1"], ["2", "1", "3"], ["2", "2", "3"]]
    # One row is reached by Tab, all others from there.
    assert [tab_index for *_, tab_index in tree["items"]].count(0) == 1


def test_a_join_brings_its_actors(report: Reporter) -> None:
    join = report("join")
    assert join["above"] == ["channels", "transport", "transports", "endpoint", "System"]
    assert join["isBorn"]


def test_a_crash_flashes_and_the_successor_has_another_pid(report: Reporter) -> None:
    crash = report("crash")
    assert crash["told"] == f"room:seen crashing {crash['before']} crashed: RuntimeError: crashed on purpose"
    assert crash["after"] != crash["before"] == crash["struck"]


def test_where_a_row_with_the_focus_crashes_the_one_above_has_it(report: Reporter) -> None:
    assert report("crash")["focused"] == "channels"


def test_the_state_of_an_actor_opens_without_its_secrets_and_never_as_html(report: Reporter) -> None:
    state = report("state")
    assert state["assigns"] == "{'user': 'visitor'}"
    assert "'password': [FILTERED]" in state["joined"]
    assert "'colour': '<b>green</b>'" in state["joined"]
    assert state["html"] == 0


def test_its_messages_and_ancestors_are_shown(report: Reporter) -> None:
    state = report("state")
    assert state["message"] == "echo {'token': [FILTERED], 'n': 1}"
    assert "event='echo'" in state["whole"]
    assert [name.split()[0] for name in state["ancestors"]] == [
        "channels", "transport", "transports", "endpoint", "System",
    ]  # fmt: skip  # one line


def test_an_actor_can_be_suspended_resumed_and_after_a_second_click_killed(report: Reporter) -> None:
    orders = report("orders")
    assert orders["suspended"] == "suspended"
    assert orders["asked"] == "Kill room:seen dying?"


def test_from_an_actor_that_has_ended_one_goes_on_to_its_successor(report: Reporter) -> None:
    assert report("orders")["orders"] == ["Suspend", "Kill"]


def test_an_order_that_is_not_done_says_why(report: Reporter) -> None:
    assert report("own")["answer"] == "Not done: this page could not resume it"


def test_a_page_that_kills_its_own_connection_comes_back(report: Reporter) -> None:
    # Whoever walks the tree by the keyboard goes on where they were.
    assert report("recovery") == {"own": 2, "systems": 1, "focused": "pubsub", "status": "connected", "problems": []}


def test_the_page_can_be_used_with_a_keyboard(report: Reporter) -> None:
    seen = report("keyboard")
    assert seen["found"] == "search"
    assert seen["first"] == {"name": "System", "role": "treeitem", "expanded": "true", "level": "1"}
    assert seen["folded"] == {**seen["first"], "expanded": "false"}
    assert seen["below"] == {"name": "pubsub", "role": "treeitem", "expanded": None, "level": "2"}
    assert (seen["last"]["name"], seen["home"], seen["parent"]) == ("listener", seen["first"], seen["first"])
    assert seen["back"] == seen["below"]


def test_a_search_leaves_the_hits_and_what_is_above_them(report: Reporter) -> None:
    search = report("search")
    assert search["found"]["hits"] == "1 found"
    assert search["found"]["names"] == [
        "System", "endpoint", "transports", "transport", "channels", "room:seen in the haystack",
    ]  # fmt: skip  # one line
    assert search["hits"] == ""


def test_the_page_fits_windows_of_any_width(report: Reporter) -> None:
    assert report("widths")["overflows"] == [[320, 0], [400, 0], [768, 0], [1024, 0], [1400, 0]]


def test_without_the_token_nothing_is_shown_and_with_it_everything(report: Reporter) -> None:
    access = report("token")
    assert access["before"] == 0
    assert any("403" in problem for problem in access["refused"])


def test_a_page_without_its_token_asks_for_it_and_waits(report: Reporter) -> None:
    # One attempt, with a wrong one, however long it waits.
    assert report("token")["asked"].startswith("This page needs a token.")
    assert report("token")["attempts"] == 1
    assert sum("403" in problem for problem in report("token")["refused"]) == 1


def test_the_page_has_no_barriers(report: Reporter) -> None:
    assert report("accessibility")["barriers"] == []
    assert report("token")["obstacles"] == []


def test_the_page_leads_to_the_pages_of_the_endpoint(report: Reporter) -> None:
    assert report("accessibility")["links"] == [["Home", "/"], ["Metrics", "/metrics"]]


def test_a_token_in_the_address_is_taken_out_of_it(report: Reporter) -> None:
    assert report("token")["url"].endswith("/observer")


def test_a_page_of_a_foreign_name_that_leads_here_connects_nowhere(report: Reporter) -> None:
    assert report("rebound")["rebound.test"] == {"websocket": "refused", "status": 403}
    assert report("rebound")["127.0.0.1"] == {"websocket": "open", "status": 200}
