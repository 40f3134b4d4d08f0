"""Connections that expire, with the stock phoenix client under node (scenarios: javascript/tokens.mjs), and with ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.live import ROOT, LiveDemo
from tests.node import play
from tests.transport.client_meeting import Log, closes, heard, opens, run
from transport.client import Socket, sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.node import Reporter
    from transport.client.protocol.effects import TransportName


@pytest.fixture(scope="module")
def server() -> Iterator[LiveDemo]:
    with LiveDemo(ROOT / "tests" / "servers" / "tokens.py") as running:
        yield running


@pytest.fixture(scope="module", params=["WebSocket", "LongPoll"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def report(server: LiveDemo, transport: str) -> Reporter:
    return play("tokens.mjs", server.websocket_address, transport)


def test_an_application_answers_the_warning(report: Reporter) -> None:
    assert report("answers the warning") == {
        "warnings": [["expires_in"]],
        "replies": [{"status": "ok", "response": {"name": "ben"}}],
        "name": "ben",
        "isLong": True,
        "closes": [],
    }


def test_a_token_goes_on_a_topic_too(report: Reporter) -> None:
    assert report("sends another token on a topic") == {
        "reply": {"name": "ben"},
        "refused": '{"reason":"invalid token"}',
        "name": "ben",
        "closes": [],
    }


def test_a_client_whose_token_has_expired_connects_and_joins_again(report: Reporter, transport: str) -> None:
    code = {"WebSocket": 1008, "LongPoll": 3410}[transport]
    assert report("expires and connects again") == {"name": "ben", "closes": [code]}


# Our client


class Tokens:
    """Tokens that are asked for one after the other; the last one again and again."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)

    def __call__(self) -> str:
        return self.tokens.pop(0) if len(self.tokens) > 1 else self.tokens[0]


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@pytest.mark.parametrize("carried_by", ["websocket", "longpoll"])
def test_our_client_answers_the_warning_by_itself(server: LiveDemo, carried_by: TransportName, vsn: str) -> None:
    async def conversation() -> None:
        url = f"{server.websocket_address}/socket"
        async with Socket(url, auth_token=Tokens("ann:1", "ben:600"), transport=carried_by, vsn=vsn) as socket:
            room, ends = socket.channel("room:1"), closes(socket)
            renamed = heard(room, "renamed")
            await room.join()
            assert await renamed.until(1) == [({"name": "ben"},)]
            who: Any = await room.push("who")
            assert (who["name"], who["left"] > 60, ends.entries) == ("ben", True, [])

    run(conversation())


def test_our_client_reports_a_function_that_has_no_other_token(server: LiveDemo) -> None:
    async def conversation() -> None:
        given: list[str | None] = ["ann:1", None]
        async with Socket(f"{server.websocket_address}/socket", auth_token=lambda: given.pop(0)) as socket:
            errors = Log()
            socket.on_error(errors.add)
            [[error]] = await errors.until(1)
            assert str(error) == "auth_token returned None, and the server asks for another token"

    run(conversation())


def test_our_client_connects_again_with_another_token_when_it_was_too_late(server: LiveDemo) -> None:
    async def conversation() -> None:
        url = f"{server.websocket_address}/short"
        async with Socket(url, auth_token=Tokens("ann:1", "ben:600")) as socket:
            room, ends, again = socket.channel("room:1"), closes(socket), opens(socket)
            await room.join()
            await again.until(1)
            assert [code for code, _ in ends.entries] == [1008]
            assert (await room.push("who"))["name"] == "ben"

    run(conversation())


def test_our_client_sends_a_token_at_any_time_and_reports_a_refusal(server: LiveDemo) -> None:
    async def conversation() -> None:
        async with Socket(f"{server.websocket_address}/socket", auth_token="ann:600") as socket:  # noqa: S106  # of a test
            room, errors = socket.channel("room:1"), Log()
            renamed = heard(room, "renamed")
            socket.on_error(errors.add)
            await room.join()
            socket.send_token("ben:600")
            assert await renamed.until(1) == [({"name": "ben"},)]
            socket.send_token("forged")
            [[refusal]] = await errors.until(1)
            assert (refusal.event, refusal.response) == ("access_token", {"reason": "invalid token"})
            for wrong in (None, 5, "\ud800"):
                with pytest.raises(TypeError, match="token"):
                    socket.send_token(wrong)  # type: ignore[arg-type]  # as a caller may

    run(conversation())


def test_the_synchronous_client_answers_the_warning_by_itself(server: LiveDemo) -> None:
    with sync.connect(f"{server.websocket_address}/socket", auth_token=Tokens("ann:1", "ben:600")) as socket:
        room = socket.channel("room:1")
        room.join()
        assert room.recv(timeout=15).payload == {"name": "ben"}
        assert room.push("who").reply()["left"] > 60
        socket.send_token("cid:600")
        assert room.recv(timeout=15).payload == {"name": "cid"}
