"""One HTTP/1.1 connection of the listener, until it is closed or becomes a WebSocket.

Theory of operation.

A request is read when the one before it has been answered, and the answer has been sent. So one connection holds one request
and one answer, whatever its client sends, and what it receives meanwhile waits unparsed (`RequestReader`).

1. `data_received` keeps the bytes; `_proceed` reads and answers one request after the other. After a few, or `BUDGET` seconds,
   it lets the event loop do its other work, and goes on in the next iteration.
2. The socket is not read while `_proceed` has to go on, while the client has not read an answer, and while more than
   `MOST_WAITING` bytes wait behind a request that is being answered. TCP then slows the client down. With less than that the
   socket is read, so that the end of a client is noticed while its answer is prepared.
3. An answer is written piece by piece, as the client reads it, so that all connections share its bytes.
4. There is one deadline at a time: for a head, a body, the reading of an answer, or the next request. Preparing an answer has
   none: that is up to the application.
5. When the server ends a connection, it ends its own direction first and ignores what it still receives for a while
   (`_linger`). Closed at once, with unread bytes, TCP would reset the connection, and the client could lose the answer.
6. A client that has ended its own direction still gets the answers to what it has sent (`eof_received`).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

from websockets.http11 import Request, Response

from actors.fork import shut_down
from actors.log import Log
from actors.lowlevel import leave
from actors.redaction import safe_repr
from actors.time_bound import is_cancellation
from transport.access.proxies import InvalidPrefaceError, read_preface
from transport.http.connection_timer import ConnectionTimer
from transport.http.exchange import ANSWERS, MAX_BODY, Answer, HttpEndpoint, Incoming, Late, Upgrade, Waiting, refusal
from transport.http.http_connections import PATIENCE
from transport.http.request_reader import NOTHING, PART, ReadRequest, RefusedRequestError, RequestReader

if TYPE_CHECKING:
    from actors.lowlevel import Scheduler
    from transport.access.proxies import Address
    from transport.http.http_connections import HttpConnections

__all__ = ["HttpConnection"]

_log = Log("ashtree.transport")

# Requests, or parts of bodies, and seconds, until other connections get their turn.
STEPS = 32
BUDGET = 0.002
# Bytes that may wait behind a request that is being answered; one read adds up to 256 KiB.
MOST_WAITING = 64 * 1024
# Bytes of an answer that are written at a time; event loops copy what the client does not read.
PIECE = 64 * 1024
# Seconds without a byte, seconds in all, and bytes, for which the rest of a refused request is ignored, so that its client can
# read the answer.
LINGER = 5.0
LONGEST_LINGER = 30.0
MOST_IGNORED = 8 * MAX_BODY
# What tells a client to send its body.
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# What the deadline is for after the last answer; it is no limit.
_LINGER = "linger"
# Its time is up, and it is given up in its turn.
_TOO_LATE = "too late"
# It is new, and the server is about to end.
_PATIENCE = "patience"
# What the deadline remains for, whatever is received.
_FIXED = (_TOO_LATE, _PATIENCE)


class HttpConnection(asyncio.Protocol):
    """Reads requests and writes the endpoint's answers in the order of the requests."""

    def __init__(self, endpoint: HttpEndpoint, scheduler: Scheduler, connections: HttpConnections) -> None:
        self._endpoint, self._scheduler, self._connections = endpoint, scheduler, connections
        self._reader = RequestReader(endpoint.limits, self._admit)
        self._task: asyncio.Task[None] | None = None
        self._awaited: object = None
        self._is_opening_websocket = False
        self._deadline = ConnectionTimer(scheduler.clock, self._time_is_up)
        # What the deadline is for, by the name of its limit.
        self._waits_for: str | None = None
        self._answered = 0
        # The rest of an answer, which has not been written; and how many of the written bytes have not been sent, as of when
        # that was last looked at.
        self._body, self._is_last = memoryview(b""), False
        self._unsent: int | None = None
        self._goes_on = self._is_reading_paused = self._is_over = False
        # The beginning of a PROXY protocol header, None if none is expected.
        self._preface: bytearray | None = None
        # The bytes that were received after the last answer, and until when they are ignored.
        self._ignored: int | None = None
        self._lingers_until = 0.0
        # Whether the client sends nothing more.
        self._has_ended = False

    # asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a request."""
        self._transport = cast("asyncio.Transport", transport)
        # The context variables of the listener.
        self._context = copy_context()
        peer = self._transport.get_extra_info("peername")
        # Of IPv6 it also has the flow and the scope; a Unix socket has a path, mostly an empty one.
        self._peer: Address | None = peer[:2] if isinstance(peer, tuple) else None
        if peer is None:
            # The client has gone, after a request perhaps, which no limit and no rule for its address would apply to.
            self._transport.abort()
        if self._endpoint.proxies.send_preface(self._peer):
            self._preface = bytearray()
        self._connections.opened(self)
        self._wait_for("head_timeout", self._endpoint.limits.head_timeout)
        if self._connections.are_ending:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the answer that is being prepared."""
        if not self._scheduler.forked:
            shut_down(self._transport)
        self._end()
        if self._task is not None:
            self._task.cancel()
            # If the task has not begun, it never will, and Python would warn of what it was to await.
            if inspect.iscoroutine(self._awaited) and inspect.getcoroutinestate(self._awaited) == inspect.CORO_CREATED:
                self._awaited.close()

    def data_received(self, data: bytes) -> None:
        """Keep the received bytes, and answer the requests in them unless others have to be answered first."""
        if self._ignored is not None:
            self._ignore(len(data))
            return
        if self._preface is not None:
            data = self._read_preface(self._preface, data)
        self._reader.receive(data)
        if self._is_free():
            self._proceed()
        else:
            self._pace()

    def eof_received(self) -> bool:
        """Return whether there is something to answer: the client sends nothing more, but may still read.

        The end of a client that opens a WebSocket ends the opening: a half of a WebSocket is none.
        """
        self._has_ended = True
        if self._ignored is not None or self._is_free() or (self._task is not None and self._is_opening_websocket):
            return False
        if isinstance(self._awaited, Waiting):
            self._awaited.end()
        return True

    def _read_preface(self, received: bytearray, data: bytes) -> bytes:
        """Return what follows the PROXY protocol header, which the proxy sends before its client's bytes."""
        received += data
        try:
            preface = read_preface(bytes(received))
        except InvalidPrefaceError as error:
            _log.warning("closed a connection of the trusted proxy %s: %s", self._peer, error)
            self.close()
            return b""
        if preface is None:
            return b""
        self._preface = None
        self._peer = preface.peer or self._peer
        return bytes(received[preface.size :])

    def pause_writing(self) -> None:
        """Answer nothing more until the client has read the last answer."""
        self._unsent = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """Go on: what was written of the last answer has been sent."""
        self._unsent = self._waits_for = None
        if self._ignored is not None:
            self._wait_for(_LINGER, LINGER)
        else:
            self._go_on()

    def close(self) -> None:
        """Close the connection once all that was written has been sent."""
        self._transport.close()

    # The end of the server

    @property
    def is_new(self) -> bool:
        """Whether no request has come, and there is still time for it."""
        return self._waits_for == _PATIENCE

    @property
    def is_busy(self) -> bool:
        """Whether it has a request that is not answered, or an answer that is not written."""
        return not self._is_over and not self._is_free()

    def end(self) -> None:
        """Close it when the requests that were received are answered; at once if there are none, unless it is new."""
        if self._answered or self._reader.in_body or self._reader.waiting or self._preface:
            self._end_if_free()
        else:
            self._wait_for(_PATIENCE, PATIENCE)

    def _end_if_free(self) -> None:
        if self._is_free() and self._ignored is None:
            self.close()

    # Requests

    def _is_free(self) -> bool:
        """Return whether the next request may be read."""
        is_answering = self._task is not None or self._unsent is not None or bool(self._body)
        return not is_answering and not self._goes_on and not self._is_over

    def _go_on(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self._scheduler.loop.call_soon(self._continue, context=self._context)

    def _continue(self) -> None:
        self._goes_on = False
        if self._transport.is_closing():
            return
        if self._body:
            self._send_body()
        self._proceed()

    def _proceed(self) -> None:
        """Answer what has been received, one request at a time, for as long as other connections can wait."""
        clock, left = self._scheduler.clock, STEPS
        until = clock.now() + BUDGET
        while self._is_free() and self._step():
            left -= 1
            if not self._is_over and (not left or clock.now() >= until):
                self._go_on()
        if self._has_ended and self._is_free():
            # What is left is a part of a request.
            self.close()
        elif not self._is_over:
            self._expect()
            self._pace()

    def _step(self) -> bool:
        """Read a part of a request, or answer one; return whether there may be more."""
        try:
            read = self._reader.read()
        except RefusedRequestError as refused:
            self._refuse(refused.response, refused.limit)
            return False
        if read is NOTHING:
            return False
        if read is not PART:
            # A client of its own, if a proxy has sent it: what its `connect` sets is not for the next one.
            self._context.copy().run(self._answer_request, read)
        elif self._reader.expects_continue:
            self._transport.write(_CONTINUE)
        return True

    def _admit(self, request: Request) -> int | Response:
        incoming = Incoming(request, b"", self._peer)
        try:
            return self._endpoint.admit(incoming)
        except BaseException as error:  # noqa: BLE001  # the author's; the client gets a 500
            leave(error)
            return self._failed(incoming)

    def _pace(self) -> None:
        """Read from the socket, or do not."""
        if self._has_ended:
            return
        waiting = self._reader.waiting
        pause = self._ignored is None and (
            self._unsent is not None or bool(self._body) or waiting > MOST_WAITING or (self._goes_on and waiting > 0)
        )
        if pause is not self._is_reading_paused and not self._transport.is_closing():
            self._is_reading_paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # Time

    def _expect(self) -> None:
        """Set the deadline for what the client has to do next, unless it has been set already."""
        limits = self._endpoint.limits
        if self._goes_on or self._ignored is not None or self._waits_for in _FIXED:
            return
        if self._connections.are_ending:
            self._end_if_free()
        if self._task is not None:
            self._wait_for(None)
        elif self._unsent is not None:
            self._wait_for("send_timeout", limits.send_timeout)
        elif self._reader.in_body:
            self._wait_for("body_timeout", limits.body_timeout)
        elif self._reader.waiting:
            self._connections.works(self)
            self._wait_for("head_timeout", limits.head_timeout)
        elif self._answered:
            self._connections.waits(self)
            self._wait_for("keep_alive", limits.keep_alive)

    def _wait_for(self, limit: str | None, seconds: float = 0.0) -> None:
        if limit is None:
            self._deadline.clear()
        elif limit != self._waits_for:
            self._deadline.set(seconds)
        self._waits_for = limit

    def _time_is_up(self) -> None:
        limit, self._waits_for = self._waits_for, None
        if limit == "send_timeout":
            self._check_progress()
        elif limit in (_LINGER, _PATIENCE, None):
            self.close()
        else:
            self._waits_for = _TOO_LATE
            self._connections.give_up(partial(self._give_up, limit), self._scheduler.loop.call_soon)

    def _give_up(self, limit: str) -> None:
        """End the connection of a client that took too long; with 408 if it has begun a request."""
        if self._waits_for != _TOO_LATE or self._is_over or self._transport.is_closing():
            return
        self._endpoint.reached(limit)
        if limit == "body_timeout" or self._reader.waiting:
            self._write(refusal(408, "the request took too long"), keep_alive=False)
        if limit != "body_timeout":
            # All that the client has sent has been read.
            self.close()

    def _check_progress(self) -> None:
        """Cut the connection, unless the client has read something since the last time."""
        unsent = self._transport.get_write_buffer_size()
        if self._unsent is not None and unsent >= self._unsent:
            self._endpoint.reached("send_timeout")
            self._transport.abort()
        else:
            self._unsent = unsent
            self._wait_for("send_timeout", self._endpoint.limits.send_timeout)

    # Answers

    def _answer_request(self, read: ReadRequest) -> None:
        self._waits_for = None
        self._answered += 1
        keep_alive = read.keep_alive and self._answered < self._endpoint.limits.requests
        if keep_alive is not read.keep_alive:
            self._endpoint.reached("requests")
        incoming = Incoming(read.request, read.body, self._peer)
        try:
            answer: object = self._endpoint.handle(incoming)
        except BaseException as error:  # noqa: BLE001  # the author's; the client gets a 500
            leave(error)
            answer = self._failed(incoming)
        if type(answer) not in ANSWERS and inspect.isawaitable(answer):
            self._connections.works(self)
            self._awaited, self._is_opening_websocket = answer, _asks_for_websocket(read.request)
            self._task = self._scheduler.loop.create_task(self._answer_later(answer, incoming, keep_alive))
        else:
            self._answer(answer, incoming, keep_alive)

    async def _answer_later(self, answer: Awaitable[Answer], incoming: Incoming, keep_alive: bool) -> None:  # noqa: FBT001  # private
        try:
            result: object = await answer
        except BaseException as error:
            if is_cancellation(error):
                raise
            leave(error)
            result = self._failed(incoming)
        self._task = self._awaited = None
        self._answer(result, incoming, keep_alive)
        if not self._transport.is_closing():
            self._proceed()

    def _answer(self, answer: object, incoming: Incoming, keep_alive: bool) -> None:  # noqa: FBT001  # private
        if self._transport.is_closing():
            return
        if isinstance(answer, Upgrade):
            self._upgrade(answer)
            return
        if isinstance(answer, Late):
            answer = answer.make()
        if not isinstance(answer, Response):
            answer = self._failed(incoming, f": got {safe_repr(answer)}")
        if incoming.request.method == "HEAD":
            answer = replace(answer, body=b"")
        self._write(answer, keep_alive=keep_alive)

    def _failed(self, incoming: Incoming, why: str = "") -> Response:
        """Log what the endpoint raised, or `why` its answer is none; return what its client is answered."""
        if self._scheduler.crash_log.admits(_log, "requests that could not be answered", type(self._endpoint)):
            method, path = incoming.request.method, _path(incoming)
            _log.error("could not answer %s %s%s", method, path, why, exc_info=sys.exception())
        return refusal(500, "Internal Server Error")

    def _refuse(self, response: Response, limit: str | None) -> None:
        if limit is not None:
            self._endpoint.reached(limit)
        if not self._transport.is_closing():
            self._write(response, keep_alive=False)

    def _write(self, response: Response, *, keep_alive: bool) -> None:
        self._connections.works(self)
        if self._connections.are_ending and not self._reader.waiting:
            keep_alive = False
        # A copy: an application may return the same response many times.
        headers = response.headers.copy()
        headers["Connection"] = "keep-alive" if keep_alive else "close"
        # From now on `pause_writing` is called whenever something has not been sent.
        self._transport.set_write_buffer_limits(0)
        head = replace(response, headers=headers, body=b"").serialize()
        self._body, self._is_last = memoryview(response.body)[PIECE:], not keep_alive
        self._transport.write(head + response.body[:PIECE])
        self._send_body()

    def _send_body(self) -> None:
        """Write the rest of the last answer, as fast as the client reads it."""
        for _ in range(STEPS):
            if not self._body or self._unsent is not None or self._transport.is_closing():
                break
            piece, self._body = self._body[:PIECE], self._body[PIECE:]
            self._transport.write(piece)
        else:
            self._go_on()
        if self._is_last and not self._body:
            self._linger()

    def _linger(self) -> None:
        """End our direction, and ignore what is still received, until the client ends the connection."""
        self._reader.close()
        self._reader.rest()
        self._ignored = 0
        if self._transport.is_closing():
            return
        if self._has_ended:
            self.close()
            return
        with suppress(OSError):  # the client was faster
            self._transport.write_eof()
        self._lingers_until = self._scheduler.clock.now() + LONGEST_LINGER
        if self._unsent is None:
            self._wait_for(_LINGER, LINGER)
        else:
            self._wait_for("send_timeout", self._endpoint.limits.send_timeout)
        self._pace()

    def _ignore(self, size: int) -> None:
        assert self._ignored is not None
        self._ignored += size
        if self._ignored > MOST_IGNORED:
            self._transport.abort()
        elif self._waits_for == _LINGER:
            self._deadline.set(min(LINGER, self._lingers_until - self._scheduler.clock.now()))

    def _upgrade(self, upgrade: Upgrade) -> None:
        early = self._reader.rest()
        self._pace()
        if self._answered > 1:
            self._transport.set_write_buffer_limits()
        self._end()
        self._transport.write(upgrade.response.serialize())
        protocol = cast("asyncio.Protocol", upgrade.protocol)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        upgrade.begin()
        if early:
            protocol.data_received(early)
        self._scheduler.run_ready()

    def _end(self) -> None:
        """Be no connection any more: it was lost, or has become a WebSocket. What refers back to this object is freed."""
        self._is_over = True
        self._connections.closed(self)
        self._deadline.cancel()
        self._reader.close()


def _asks_for_websocket(request: Request) -> bool:
    return any("websocket" in value.lower() for value in request.headers.get_all("Upgrade"))


def _path(incoming: Incoming) -> str:
    """Return the path without its query, which may hold secrets."""
    return incoming.request.path.partition("?")[0]
