"""The demo's page in a browser, against the running demo (scenarios: javascript/page.mjs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.node import browser, play

if TYPE_CHECKING:
    from tests.live import LiveDemo
    from tests.node import Reporter

SCENARIOS = [
    "names",
    "chat",
    "a connection is cut",
    "ticks, pings and debounce",
    "crashes",
    "a clock crashes",
    "endings",
    "failure",
    "accessibility",
    "links",
    "frames",
    "widths",
]


@pytest.fixture(scope="session")
def report(demo: LiveDemo) -> Reporter:
    return play("page.mjs", demo.address, browser())


def living(pids: dict[str, str]) -> dict[str, str]:
    """Return the pids of actors that all are joined."""
    assert (pids["room"], pids["demo"]) == ("joined", "joined")
    return pids


def frames_of(frames: list[dict[str, Any]], topic: str) -> list[tuple[str, str]]:
    return [(frame["direction"], frame["event"]) for frame in frames if frame["topic"] == topic]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_browser_finds_nothing_to_complain_about(report: Reporter, scenario: str) -> None:
    assert report(scenario)["problems"] == []


def test_a_visitor_without_a_name_is_given_one_which_the_address_keeps(report: Reporter, demo: LiveDemo) -> None:
    first = report("names")["first"]
    assert first["status"] == "connected"
    assert first["url"] == f"{demo.address}/?user={first['user']}"


def test_a_visitor_can_take_another_name(report: Reporter, demo: LiveDemo) -> None:
    assert report("names")["renamed"] == {"status": "connected", "url": f"{demo.address}/?user=carol"}


def test_two_tabs_chat_and_what_they_write_is_never_html(report: Reporter) -> None:
    chat = report("chat")
    said = [["ben", "good evening"], ["<u>ann</u>", "<img src=x onerror=alert(1)>"]]
    assert chat["messages"] == {"ann": said, "ben": said}
    assert chat["own"] == ["<img src=x onerror=alert(1)>"]
    assert chat["user"] == "<u>ann</u>"
    assert chat["made"] == [0, 0]


def test_a_tab_shows_who_is_in_the_room_until_they_go(report: Reporter) -> None:
    chat = report("chat")
    assert chat["present"] == {
        "ann": {"<u>ann</u>": "<u>ann</u> (you)", "ben": "ben"},
        "ben": {"<u>ann</u>": "<u>ann</u>", "ben": "ben (you)"},
    }
    assert chat["presentAfter"] == {"<u>ann</u>": "<u>ann</u> (you)"}


def test_what_was_said_while_the_connection_was_cut_follows_and_is_marked(report: Reporter) -> None:
    cut = report("a connection is cut")
    assert cut["note"] == "The connection is cut for 5 s. What others say meanwhile follows then."
    assert cut["messages"] == [["talker", body] for body in ("before", "one", "two", "after")]
    assert cut["missed"] == ["one", "two"]
    assert cut["noteAfter"] == ""
    assert any(sentence.startswith("You have cut the connection: ") for sentence in cut["told"])
    assert cut["barriers"] == []


def test_the_clock_ticks_at_once_and_five_seconds_later(report: Reporter) -> None:
    frames = [frame for frame in report("ticks, pings and debounce")["frames"] if frame["topic"] == "demo:clock"]
    joined = next(frame for frame in frames if frame["event"] == "phx_reply")
    first, second, *_ = [frame for frame in frames if frame["event"] == "tick"]
    assert (first["payload"], second["payload"]) == ({"value": 0}, {"value": 1})
    # A busy browser dates frames late; the exact times are tested on virtual time.
    assert (first["at"] - joined["at"]) % 86400 < 4
    assert (second["at"] - first["at"]) % 86400 > 1


def test_delayed_pings_are_overtaken(report: Reporter) -> None:
    pings = report("ticks, pings and debounce")["pings"]
    assert [ping["event"] for ping in pings] == ["ping", "ping", "ping:1000", "ping:2000", "ping:3000"]
    assert {ping["outcome"] for ping in pings} == {"answered"}
    assert [ping["text"].split()[0] for ping in pings] == ["#1", "#5", "#4", "#3", "#2"]


def test_delayed_pings_are_drawn_in_the_order_in_which_they_were_asked(report: Reporter) -> None:
    lanes = report("ticks, pings and debounce")["lanes"]
    assert lanes == ["#2 ping:3000", "#3 ping:2000", "#4 ping:1000", "#5 ping"]


def test_five_clicks_at_once_arrive_as_two(report: Reporter) -> None:
    assert report("ticks, pings and debounce")["debounce"] == {"clicks": "5", "arrivals": "2"}


def test_a_crashed_channel_comes_back_under_the_same_transport(report: Reporter) -> None:
    crashes = report("crashes")
    before, after = living(crashes["before"]), living(crashes["channel"]["actors"])
    assert after["channel"] != before["channel"]
    assert after["transport"] == before["transport"]
    assert crashes["channel"]["counts"] == {"joins": 3, "crashes": 1, "reconnects": 0}
    assert crashes["channel"]["told"] == (
        f"Channel {before['channel']} crashed → rejoined as {after['channel']}; the connection was not affected."
    )


def test_a_crashed_transport_takes_its_channels_along_and_all_come_back(report: Reporter) -> None:
    crashes = report("crashes")
    before, after = living(crashes["channel"]["actors"]), living(crashes["transport"]["actors"])
    assert after["channel"] != before["channel"]
    assert after["transport"] != before["transport"]
    assert crashes["transport"]["counts"] == {"joins": 5, "crashes": 1, "reconnects": 1}
    assert crashes["transport"]["told"].startswith("Reconnected and rejoined automatically")


def test_a_crashed_clock_loses_its_pings_and_counts_from_0_and_the_chat_goes_on(report: Reporter) -> None:
    crash = report("a clock crashes")
    assert living(crash["after"]) == living(crash["before"])
    assert crash["counts"] == {"joins": 3, "crashes": 1, "reconnects": 0}
    outcomes = {ping["event"]: ping["outcome"] for ping in crash["pings"]}
    assert outcomes == {"ping": "answered", "ping:3000": "lost", "ping:2000": "lost", "ping:1000": "lost"}
    assert "it counts from 0" in crash["told"]


@pytest.mark.parametrize(("ending", "how"), [(0, "stopped normally"), (1, "ended because you left")])
def test_a_room_that_was_stopped_or_left_waits_until_it_is_joined_again(
    report: Reporter, ending: int, how: str
) -> None:
    endings = report("endings")
    before, after = map(living, endings["lives"][ending : ending + 2])
    ended = endings["endings"][ending]
    assert (ended["actors"]["room"], ended["actors"]["demo"]) == ("closed", "joined")
    assert how in ended["told"]
    assert ended["note"] == "You are not in the room. Join again to write."
    assert after["note"] == ""
    assert not ended["writable"]
    assert after["writable"]
    assert after["channel"] != before["channel"]
    assert after["transport"] == before["transport"]
    assert endings["counts"] == {"joins": 4, "crashes": 0, "reconnects": 0}


def test_a_grey_button_says_why(report: Reporter) -> None:
    ended, after = report("endings")["endings"][1], report("endings")["lives"][2]
    assert {button for button, _ in ended["grey"]} == {
        "crash-channel",
        "stop-channel",
        "leave",
        "fail",
        "crash-transport",
    }
    assert {reason for _, reason in ended["grey"]} == set(ended["why"])
    assert any("You are not in the room" in reason for reason in ended["why"])
    assert after["grey"] == []


@pytest.mark.parametrize("state", ["joined", "left"])
def test_the_page_has_no_barriers(report: Reporter, state: str) -> None:
    assert report("accessibility")[state] == []


def test_the_page_leads_to_the_observer_the_metrics_and_the_documentation(report: Reporter) -> None:
    links = report("links")
    assert links["links"] == [["Observer", "/observer"], ["Metrics", "/metrics"], ["Documentation", "/docs"]]
    assert links["answers"] == [200, 200, 200]
    assert {"/docs/README.md", "/docs/channels.md"} <= set(links["guides"])
    assert links["guide"].startswith("# Ashtree")
    assert links["barriers"] == []


def test_an_error_reply_is_told_and_crashes_nothing(report: Reporter) -> None:
    failure = report("failure")
    assert "it replied error, “failed on purpose”" in failure["told"]
    assert living(failure["actors"])
    assert failure["counts"] == {"joins": 2, "crashes": 0, "reconnects": 0}


def test_the_frame_log_shows_what_went_over_the_wire(report: Reporter) -> None:
    frames = report("frames")["all"]
    assert frames_of(frames, "demo:watcher")[:3] == [("out", "phx_join"), ("in", "phx_reply"), ("in", "tick")]
    assert frames_of(frames, "room:lobby")[:2] == [("out", "phx_join"), ("in", "phx_reply")]
    assert {"status": "ok", "response": {}} in [frame["payload"] for frame in frames]


def test_the_frame_log_can_be_filtered_and_paused(report: Reporter) -> None:
    shown = report("frames")
    assert {frame["topic"] for frame in shown["ofTopic"]} == {"demo:watcher"}
    assert {frame["event"] for frame in shown["withoutTicks"]} == {"phx_join", "phx_reply"}
    assert shown["paused"] == 0


def test_the_page_fits_windows_of_any_width(report: Reporter) -> None:
    assert report("widths")["overflows"] == [[320, 0], [400, 0], [768, 0], [1024, 0], [1400, 0]]
