"""The player of recorded long polling notices what differs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests import polls
from tests.polls import PollingPlayer
from tests.transcript import Http, read_step, replay

OPENED = {"status": 410, "token": "a", "messages": []}
OPEN = '{"poll": "c", "path": "/?vsn=1.0.0", "status": 410}'
TWO = '{"poll": "c", "messages": [{"frame": [1]}, {"text": "ok"}]}'
POST = '{"post": "c", "lines": [{"frame": [1]}, {"binary": "00ff"}]}'


def some(*messages: str, token: str = "a", status: int = 200) -> dict[str, Any]:  # noqa: S107  # a test's
    return {"status": status, "token": token, "messages": messages}


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replay lines with a server of prepared answers; return the requests."""

    def run(answers: list[Any], *lines: str, status: int = 200) -> list[Http]:
        requests: list[Http] = []

        def fetch(_address: str, request: Http) -> tuple[int, str]:
            requests.append(request)
            return status, json.dumps(answers.pop(0))

        monkeypatch.setattr(polls, "fetch", fetch)
        asyncio.run(replay([read_step(line) for line in lines], "http://nowhere", PollingPlayer))
        assert not answers
        return requests

    return run


def test_a_session_as_recorded_passes(play: Any) -> None:
    answers = [OPENED, {"status": 200}, some("[1]"), some("ok"), some(status=204), some(token="b", status=410)]  # noqa: S106  # no secret, only a name
    lines = [OPEN, POST, TWO, '{"poll": "c", "status": 204}', '{"poll": "c", "status": 410}']
    opened, posted, polled, *_ = play(answers, *lines)
    assert (opened.http, opened.path) == ("GET", "/?vsn=1.0.0")
    assert (posted.http, posted.path, posted.content) == ("POST", "/?vsn=1.0.0&token=a", "[1]\nAP8=")
    assert posted.headers == {"Content-Type": "application/x-ndjson"}
    assert (polled.http, polled.path) == ("GET", "/?vsn=1.0.0&token=a")


def test_a_poll_that_waits_is_looked_at_later(play: Any) -> None:
    play([OPENED, some("[1]", "ok"), {"status": 403}], OPEN, '{"waiting": "c"}', TWO, '{"poll": "c", "status": 403}')


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([some("[2]", "ok")], TWO),
        ([some("[1]", "no")], TWO),
        ([some("[1]", "ok", "[3]")], TWO),
        ([some("[1]"), some(status=204)], TWO),
        ([some("[1]", "ok", token="b")], TWO),  # noqa: S106  # no secret, only a name
        ([{"status": 410}], POST),
        ([{"status": 200, "more": 1}], POST),
        ([some("[1]", status=204)], '{"poll": "c", "status": 204}'),
        ([{"status": 403, "messages": []}], '{"poll": "c", "status": 403}'),
    ],
)
def test_what_differs_from_the_recording_fails(play: Any, answers: list[Any], line: str) -> None:
    with pytest.raises(AssertionError, match=r"expected .*, got "):
        play([OPENED, *answers], OPEN, line)


def test_a_session_may_not_open_with_the_old_token(play: Any) -> None:
    with pytest.raises(AssertionError, match="keeps its token"):
        play([OPENED, OPENED], OPEN, '{"poll": "c", "status": 410}')


def test_the_status_of_http_is_always_200(play: Any) -> None:
    with pytest.raises(AssertionError, match="expected status 200, got 403"):
        play([OPENED], OPEN, status=403)


def test_nothing_more_may_wait_for_a_client_at_the_end(play: Any) -> None:
    open_2, beat = (
        OPEN.replace("1.0.0", "2.0.0"),
        [None, "barrier", "phoenix", "phx_reply", {"status": "ok", "response": {}}],
    )
    play([OPENED, {"status": 200}, some(json.dumps(beat))], open_2)
    with pytest.raises(AssertionError, match=r"expected .*, got "):
        play([OPENED, {"status": 200}, some("[1]", json.dumps(beat))], open_2)
