"""Compressed messages in a browser, whose WebSocket always offers them (scenarios: javascript/compression.mjs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors import Channel, Reply, ok
from tests.node import browser, play
from transport import Socket, respond
from transport.testing import LiveEndpoint

if TYPE_CHECKING:
    from tests.node import Reporter

TERMS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class EchoChannel(Channel):
    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        return ok(payload)


class EchoSocket(Socket):
    channels = {"room:*": EchoChannel}  # noqa: RUF012  # as an author writes it


@pytest.fixture(scope="module")
def report() -> Reporter:
    with LiveEndpoint({"/socket": EchoSocket}, compress=True, routes={"/": lambda _: respond(200, "a page")}) as live:
        return play("compression.mjs", live.url, browser())


def test_a_browser_reads_and_writes_compressed_messages_of_all_sizes(report: Reporter) -> None:
    result = report("messages of all sizes")
    assert result == {"extensions": TERMS, "same": True, "code": 1000, "wasClean": True, "problems": []}


def test_a_browser_reads_the_close_code_of_a_connection_that_was_failed(report: Reporter) -> None:
    result = report("a malformed message")
    assert result == {"extensions": TERMS, "heard": 1, "code": 1011, "wasClean": True, "problems": []}
