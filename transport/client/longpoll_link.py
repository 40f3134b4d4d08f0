"""A client's session of long polling, as phoenix.js has it: GETs wait for the server's messages, POSTs bring the client's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from actors.log import Log
from transport.access.auth_token import LONGPOLL_HEADER
from transport.carriers.batch import read_message, write_batches
from transport.client.address import longpoll_url
from transport.client.exceptions import LongPollError, ParamsError
from transport.client.http_lane import HttpLane
from transport.client.protocol.socket_protocol import ABNORMAL, NORMAL

if TYPE_CHECKING:
    from actors.clock import Clock
    from transport.client.connection_options import ConnectionOptions, Target

__all__ = ["LongPollLink"]

_log = Log("ashtree.client")

# The codes with which phoenix.js' LongPoll closes.
_NO_STATUS = 1005
_FORBIDDEN = 1008
_TOO_LARGE = 1009
_ERROR = 1011
_SESSION_GONE = 3410


_PAUSE = 1.0
"""Seconds before the next poll of a server that answers more than `_HASTY` polls in a row in less, without a message."""
_HASTY = 2


class PollAnswer(msgspec.Struct):
    """The body of an answer; its status is in there."""

    status: int
    token: str | None = None
    messages: list[str] = []


class LongPollLink:
    """A session of long polling."""

    def __init__(self, target: Target, options: ConnectionOptions, clock: Clock) -> None:
        self._options, self._auth_token, self._clock = options, target.auth_token, clock
        self._cookies: SimpleCookie = SimpleCookie()
        self._polls = self._posts = HttpLane(longpoll_url(target.url), options, clock, self._cookies)
        self._session: str | None = None
        self._end: tuple[int, str] | None = None
        # How often in a row a poll was answered at once that there are no messages; what ends the pause then made.
        self._hasty, self._go_on = 0, asyncio.Event()

    @staticmethod
    async def open(target: Target, options: ConnectionOptions, clock: Clock) -> LongPollLink:
        """Begin a session.

        Raises:
            OSError: if the server cannot be reached.
            LongPollError: if it refuses, or does not know long polling.
        """
        link = LongPollLink(target, options, clock)
        try:
            await link._begin()
        except BaseException:
            link.cut()
            raise
        return link

    async def _begin(self) -> None:
        answer = await self._request(self._polls, "GET")
        if answer.status != HTTPStatus.GONE or answer.token is None:
            raise LongPollError(f"the server refused long polling with status {answer.status}")
        self._session = answer.token
        # There, should the first request have been redirected.
        self._posts = HttpLane(self._polls.url, self._options, self._clock, self._cookies)

    async def read(self, received: Callable[[str | bytes], None]) -> tuple[int, str]:
        """Poll, and pass on each message, until the session is over."""
        while self._end is None:
            began = self._clock.now()
            answer = await self._answer(self._polls, "GET")
            if answer.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
                self._refused(answer.status)
            elif answer.messages:
                self._session, self._hasty = answer.token or self._session, 0
                self._pass_on(answer.messages, received)
            elif self._clock.now() - began < _PAUSE:
                await self._slow_down()
            else:
                self._hasty = 0
        return self._end

    async def _slow_down(self) -> None:
        """Do not call a server again and again that does not wait for messages before it says that there are none."""
        self._hasty += 1
        if self._hasty > _HASTY and self._end is None:
            timer = self._clock.call_after(_PAUSE, self._go_on.set)
            await self._go_on.wait()
            timer.cancel()
            self._go_on.clear()

    def _pass_on(self, messages: list[str], received: Callable[[str | bytes], None]) -> None:
        most = self._options.max_size
        for message in map(read_message, messages):
            if most is not None and len(message) > most:
                _log.warning("the connection was ended with %d: a message exceeds limit of %d bytes", _TOO_LARGE, most)
                self._finish(_TOO_LARGE, "")
            if self._end is None:
                received(message)

    async def write(self, messages: list[str | bytes]) -> None:
        """Post messages; each POST waits for the answer to the one before."""
        for content_type, body in write_batches(messages):
            if self._end is None:
                answer = await self._answer(self._posts, "POST", body, content_type)
                if answer.status != HTTPStatus.OK:
                    self._refused(answer.status)

    async def close(self, code: int, reason: str) -> None:
        """End the session; the server is not told, and ends it when nothing polls any more."""
        self._finish(code, reason)

    def cut(self) -> None:
        """End the session."""
        self._finish(NORMAL, "")

    def has_written(self) -> bool:
        """Return False: there are no heartbeats, and each request has its own limit."""
        return False

    # The end

    def _refused(self, status: int) -> None:
        match status:
            case HTTPStatus.GONE:
                self._finish(_SESSION_GONE, "session_gone")
            case HTTPStatus.FORBIDDEN:
                self._finish(_FORBIDDEN, "forbidden")
            case _:
                self._finish(_ERROR, f"status {status}")

    def _finish(self, code: int, reason: str) -> None:
        if self._end is None:
            self._end = code, reason
            self._polls.abort()
            self._posts.abort()
            self._go_on.set()

    # Requests

    async def _answer(self, lane: HttpLane, method: str, body: bytes = b"", content_type: str = "") -> PollAnswer:
        """Return the server's answer; a failure ends the session."""
        try:
            return await self._request(lane, method, body, content_type)
        except TimeoutError:
            self._finish(_NO_STATUS, "timeout")
        except OSError as error:
            self._finish(ABNORMAL, str(error))
        except LongPollError as error:
            _log.warning("long polling failed: %s", error)
            self._finish(_ERROR, "internal server error")
        return PollAnswer(HTTPStatus.OK if method == "POST" else HTTPStatus.NO_CONTENT)

    async def _request(self, lane: HttpLane, method: str, body: bytes = b"", content_type: str = "") -> PollAnswer:
        headers = {"Accept": "application/json", **self._options.headers}
        if self._options.origin is not None:
            headers["Origin"] = self._options.origin
        if self._auth_token is not None:
            headers[LONGPOLL_HEADER] = _checked_header(self._auth_token)
        if method == "POST":
            headers["Content-Type"] = content_type
        # Servers before Phoenix 1.8.10 know no header for it.
        query = "" if self._session is None else urlencode({"token": self._session})
        answer = await lane.request(method, query, headers, body)
        try:
            return msgspec.json.decode(answer.body, type=PollAnswer)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise LongPollError(
                f"a {method} was answered with HTTP status {answer.status}, not by long polling"
            ) from error


def _checked_header(token: str) -> str:
    if not (token.isascii() and token.isprintable()):
        # Without the value, which is secret.
        raise ParamsError("auth_token must be printable ASCII to be sent as a header of long polling")
    return token
