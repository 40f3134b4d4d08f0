"""The stock phoenix client, under node, cannot tell the demo from Phoenix (scenarios: javascript/session.mjs)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from live import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live import LiveDemo

    Report = dict[str, Any]
    Reporter = Callable[[str], Report]

JAVASCRIPT = Path(__file__).parent / "javascript"
INSTALL = ["install", "--no-audit", "--no-fund", "--no-package-lock"]


def tool(name: str) -> str:
    """Return the path of a program; without it these tests are skipped, but never in CI."""
    if path := shutil.which(name):
        return path
    reason = f"{name} is not installed, and the stock phoenix client runs under it"
    if "CI" in os.environ:
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other test processes out, so that only one of them installs."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_installed() -> bool:
    dependencies = json.loads((JAVASCRIPT / "package.json").read_text())["dependencies"]
    return all((JAVASCRIPT / "node_modules" / name / "package.json").exists() for name in dependencies)


@pytest.fixture(scope="session")
def node() -> str:
    """The path of node, with the stock client installed for it."""
    path, npm = tool("node"), tool("npm")
    with locked(JAVASCRIPT):
        if not is_installed():
            done = subprocess.run([npm, *INSTALL], cwd=JAVASCRIPT, capture_output=True, text=True, check=False)  # noqa: S603 - our own package.json
            assert done.returncode == 0, f"npm install failed:\n{done.stdout}{done.stderr}"
    return path


@pytest.fixture(scope="session")
def report(node: str, demo: LiveDemo) -> Reporter:
    """Play all scenarios at once; return what gives the report of each."""
    done = subprocess.run(  # noqa: S603 - our own script
        [node, "session.mjs", f"{demo.websocket_address}/socket"],
        cwd=JAVASCRIPT,
        env=os.environ | {"ASHTREE_TEST_WAIT": str(WAIT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * WAIT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    results = {result["scenario"]: result for result in map(json.loads, done.stdout.splitlines())}

    def report_of(scenario: str) -> Report:
        result = results[scenario]
        assert "error" not in result, "\n".join([result["error"], *result["trace"]])
        return dict(result["report"])

    return report_of


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
    assert crash["demo"]["ticks"] == [{"value": 0}]
    assert crash["demo"]["ping"] == {"status": "ok", "response": {"response": "pong"}}


def test_a_crashed_transport_is_replaced_and_all_its_topics_joined_again(report: Reporter) -> None:
    crashes = report("crashes")
    crash, before, after = crashes["transportCrash"], crashes["afterChannel"], crashes["afterTransport"]
    assert crash["closes"] == [1006]
    assert crash["joins"] == {"room": 3, "demo": 2}
    dropped = [{"source": "transport", "reason": "connection_closed"}]
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


def test_a_kick_closes_with_1001_and_the_client_comes_back(report: Reporter) -> None:
    chat = report("chat and kick")
    assert chat["kicked"] == {"status": "ok", "response": {}}
    assert chat["code"] == 1001
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


@pytest.mark.parametrize(("topic", "reason"), [("nope:x", "unmatched topic"), ("room:vip", "unauthorized")])
def test_a_refused_join_says_why(report: Reporter, topic: str, reason: str) -> None:
    assert report("leave, stop and refusals")["refusals"][topic] == {"reason": reason}
