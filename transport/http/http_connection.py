"""One HTTP/1.1 connection of the listener, until it is closed or becomes a WebSocket.

llhttp (through httptools) does the parsing: `websockets` parses only handshakes, which have no body, and this port also serves
pages and long polling.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import httptools
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from transport.http.exchange import ANSWERS, MAX_BODY, Answer, Application, Incoming, Late, Upgrade, respond

if TYPE_CHECKING:
    from actors.clock import Timer
    from actors.lowlevel import Scheduler

__all__ = ["HttpConnection"]

_log = logging.getLogger("ashtree.transport")

# The bytes that the head of a request may have, as in most servers.
MAX_HEAD = 64 * 1024
# Seconds that a client may take to send a request, or stay connected without one.
REQUEST_TIMEOUT = 60.0


class HttpConnection(asyncio.Protocol):
    """Reads requests and writes the application's answers in the order of the requests."""

    def __init__(self, application: Application, scheduler: Scheduler, alive: set[HttpConnection]) -> None:
        self._application, self._scheduler, self._alive = application, scheduler, alive
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[Incoming, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._upgrading = False
        self._early = b""
        self._body_too_large = False
        self._begin()

    def _begin(self) -> None:
        self._url, self._body, self._size = b"", bytearray(), 0
        self._headers: list[tuple[str, str]] = []

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a request."""
        self._transport = cast("asyncio.Transport", transport)
        self._peer = self._transport.get_extra_info("peername")
        self._alive.add(self)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the answer that is being prepared."""
        self._alive.discard(self)
        self._expect_nothing()
        self._parser = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse the received bytes, and answer the requests in them."""
        self._size += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            # The requests before it were valid, and are answered first.
            self._work()
            self._give_up(400, f"bad request: {error}")
            return
        if self._body_too_large:
            self._give_up(413, "the request's body is too large")
            return
        if self._size - len(self._body) > MAX_HEAD:
            self._give_up(431, "the request's head is too large")
            return
        self._work()

    def _parse(self, data: bytes) -> None:
        if self._upgrading or self._parser is None:
            # The handshake is being answered; this is for the WebSocket.
            self._early += data
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrading, self._early = True, data[upgrade.args[0] :]

    def close(self) -> None:
        """Close the connection once all that was written has been sent."""
        self._transport.close()

    def _expect_request(self) -> None:
        self._expect_nothing()
        self._timer = self._scheduler.clock.call_after(REQUEST_TIMEOUT, self._transport.close)

    def _expect_nothing(self) -> None:
        """Stop the timer: the client is waiting for an answer."""
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self, status: int, text: str) -> None:
        # After the last answer, whatever follows is ignored.
        if not self._transport.is_closing():
            self._write(respond(status, text), keep_alive=False)

    # httptools

    def on_url(self, url: bytes) -> None:
        """Append a part of the path and query."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header."""
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        """Append a part of the body."""
        self._body += body
        if len(self._body) > MAX_BODY:
            self._body_too_large = True

    def on_message_complete(self) -> None:
        """Queue the complete request."""
        parser = self._parser
        assert parser is not None
        request = Request(
            self._url.decode("latin-1"),
            Headers(self._headers),
            parser.get_method().decode("latin-1"),
            f"HTTP/{parser.get_http_version()}",
        )
        # The bytes after a request for an upgrade are not HTTP, whether it is accepted or not.
        keep_alive = parser.should_keep_alive() and not parser.should_upgrade()
        self._queue.append((Incoming(request, bytes(self._body), self._peer), keep_alive))
        self._begin()

    # Answers

    def _work(self) -> None:
        """Answer the queued requests, one at a time."""
        while self._queue and self._task is None and not self._transport.is_closing():
            incoming, keep_alive = self._queue.popleft()
            try:
                answer = self._application(incoming)
            except Exception:  # noqa: BLE001  # the author's; the client gets a 500
                _log.exception("could not answer %s %s", incoming.request.method, _path(incoming))
                answer = respond(500, "Internal Server Error")
            if type(answer) not in ANSWERS and inspect.isawaitable(answer):
                self._expect_nothing()
                self._task = asyncio.get_running_loop().create_task(self._answer_later(answer, incoming, keep_alive))
            else:
                self._answer(answer, incoming, keep_alive)

    async def _answer_later(self, answer: Awaitable[Answer], incoming: Incoming, keep_alive: bool) -> None:  # noqa: FBT001  # private
        try:
            result: Answer = await answer
        except Exception:  # noqa: BLE001  # as above
            _log.exception("could not answer %s %s", incoming.request.method, _path(incoming))
            result = respond(500, "Internal Server Error")
        self._task = None
        self._answer(result, incoming, keep_alive)
        self._work()

    def _answer(self, answer: object, incoming: Incoming, keep_alive: bool) -> None:  # noqa: FBT001  # private
        if self._transport.is_closing():
            return
        if isinstance(answer, Upgrade):
            self._upgrade(answer)
            return
        if isinstance(answer, Late):
            answer = answer.make()
        if not isinstance(answer, Response):
            _log.error("could not answer %s %s: got %r", incoming.request.method, _path(incoming), answer)
            answer = respond(500, "Internal Server Error")
        if incoming.request.method == "HEAD":
            answer = replace(answer, body=b"")
        self._write(answer, keep_alive=keep_alive)

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        # A copy: an application may return the same response many times.
        headers = response.headers.copy()
        headers["Connection"] = "keep-alive" if keep_alive else "close"
        self._transport.write(replace(response, headers=headers).serialize())
        if keep_alive:
            self._expect_request()
        else:
            self._transport.close()

    def _upgrade(self, upgrade: Upgrade) -> None:
        self._alive.discard(self)
        self._expect_nothing()
        # It refers back to this object: without it this is freed as soon as the WebSocket has taken over.
        self._parser = None
        self._transport.write(upgrade.response.serialize())
        protocol = cast("asyncio.Protocol", upgrade.protocol)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        upgrade.begin()
        if self._early:
            protocol.data_received(self._early)
        self._scheduler.run_ready()


def _path(incoming: Incoming) -> str:
    """Return the path without its query, which may hold secrets."""
    return incoming.request.path.partition("?")[0]
