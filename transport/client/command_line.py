"""A channel on the command line: what arrives is printed, what is typed is pushed."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from actors.clock import wall_time
from transport.client.exceptions import BufferFullError, ClosedError, ReplyError, ReplyTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.client.client_channel import Channel
    from transport.client.client_push import Push
    from transport.client.client_socket import Socket

__all__ = ["Console", "complain", "parse_line"]

_HINT = 'write an event and perhaps its payload in JSON, such as: new_msg {"body": "hello"}'


def complain(text: object) -> None:
    """Print a line that is no message."""
    print(f"client: {text}", file=sys.stderr, flush=True)  # noqa: T201  # it is a command line


def parse_line(line: str) -> tuple[str, Any]:
    """Return the event and the payload of a line such as `new_msg {"body": "hello"}`; the payload is `{}` if there is none.

    Raises:
        ValueError: saying what to write instead.
    """
    event, *rest = line.strip().split(maxsplit=1)
    if not rest:
        return event, {}
    text = rest[0]
    try:
        return event, msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"{text!r} is no JSON ({error}); {_HINT}") from error


class Console:
    """Two directions of one channel: its messages to standard output, lines of standard input to it."""

    def __init__(self, socket: Socket, channel: Channel) -> None:
        self._socket, self._channel = socket, channel
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._is_connected = True
        self._is_leaving = False
        self._closed_by_server: str | None = None

    async def run(self) -> None:
        """Join, and return when the input has ended, and the channel was left.

        Raises:
            JoinError: if the join is refused.
            ReplyTimeoutError: if it is not answered.
            ClosedError: if the server has closed the channel, or the connection for good.
        """
        self._follow()
        await self._join()
        self._read_input()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show_messages())
            while (line := await self._lines.get()) is not None:
                self._push(line, tasks)
            await self._leave()
        if self._closed_by_server is not None:
            raise ClosedError(self._closed_by_server)

    def _follow(self) -> None:
        self._socket.on_close(self._disconnected)
        self._socket.on_open(self._connected)
        self._channel.on_error(self._lost)
        self._channel.on_close(self._closed)

    async def _join(self) -> None:
        join = self._channel.join()
        try:
            await join
        except ClosedError as error:
            raise ClosedError(self._closed_by_server or str(error)) from error
        # This answer, and those of the joins to come: it joins again by itself.
        for status in ("ok", "error"):
            join.receive(status, partial(self._show_joined, status))
        join.receive("timeout", lambda _: complain(f"no answer to the join of {self._channel.topic!r}; joining again"))

    def _show_joined(self, status: str, response: Any) -> None:
        self._show("phx_reply", _answer("phx_join", status, response))

    async def _leave(self) -> None:
        self._is_leaving = True
        try:
            # The answers to what was pushed before come before the one to this.
            await self._channel.leave()
        except ReplyTimeoutError as error:
            complain(error)

    async def _show_messages(self) -> None:
        async for message in self._channel:
            self._show(message.event, message.payload)
        self._lines.put_nowait(None)

    def _push(self, line: str, tasks: asyncio.TaskGroup) -> None:
        if not line.strip():
            return
        try:
            event, payload = parse_line(line)
            push = self._channel.push(event, payload)
        except (ValueError, ClosedError, BufferFullError) as error:
            complain(error)
        else:
            tasks.create_task(self._show_answer(event, push))

    async def _show_answer(self, event: str, push: Push) -> None:
        try:
            answer = _answer(event, "ok", await push)
        except ReplyError as error:
            answer = _answer(event, error.status, error.response)
        except (ReplyTimeoutError, ClosedError):
            # Many events have no answer.
            return
        self._show("phx_reply", answer)

    def _show(self, event: str, payload: Any) -> None:
        now = datetime.fromtimestamp(wall_time(), UTC).astimezone()
        line = f"{now:%H:%M:%S}.{now.microsecond // 1000:03} {event} {_written(payload)}"
        try:
            print(_printable(line), flush=True)  # noqa: T201  # it is a command line
        except BrokenPipeError:
            # Nobody reads it any more, as in a pipe to `head`: leave. Python would complain of what it has not written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._lines.put_nowait(None)

    def _lost(self, reason: Any) -> None:
        # If the connection is closed for good, that is the end, and is said in its own words.
        if self._socket.will_reconnect or self._socket.is_open:
            complain(f"{self._channel.topic!r} is lost: {_written(reason)}")

    def _closed(self, _reason: Any) -> None:
        self._end(f"the server has closed {self._channel.topic!r}")

    def _disconnected(self, code: int, reason: str) -> None:
        if not self._socket.will_reconnect:
            self._end(f"the server has closed the connection with {code} {reason}".rstrip())
            # Else a join that was not answered yet would be waited for.
            self._channel.leave()
        # Each try that fails is told here as well.
        elif self._is_connected:
            self._is_connected = False
            complain(f"the connection has ended with {code} {reason}".rstrip() + "; connecting again")

    def _end(self, why: str) -> None:
        """Take note that the server has ended it, unless we are about to do so."""
        if not self._is_leaving and self._closed_by_server is None:
            self._closed_by_server = why

    def _connected(self) -> None:
        self._is_connected = True
        complain("connected again")

    # Input

    def _read_input(self) -> None:
        """Put lines in the queue, and None at the end."""
        loop = asyncio.get_running_loop()

        def put(line: str | None) -> None:
            loop.call_soon_threadsafe(self._lines.put_nowait, line)

        if sys.stdin is None:
            # The program was started with its input closed.
            self._lines.put_nowait(None)
            return
        # To read a terminal cannot be given up, so nobody waits for this thread.
        threading.Thread(target=_read, args=(sys.stdin.fileno(), put), name="input", daemon=True).start()


def _read(descriptor: int, put: Callable[[str | None], None]) -> None:
    # Not through sys.stdin: its lock would be held while the program ends.
    rest = b""
    try:
        while data := os.read(descriptor, 65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                put(line.decode(errors="replace"))
        put(rest.decode(errors="replace"))
        put(None)
    except RuntimeError:
        # The loop is closed: what is typed now is for nobody.
        return


def _answer(event: str, status: str, response: Any) -> dict[str, Any]:
    return {"event": event, "status": status, "response": response}


def _written(value: Any) -> str:
    """Return JSON; bytes are in base64."""
    return msgspec.json.encode(value).decode()


def _printable(line: str) -> str:
    """Escape, as JSON does, what would move the cursor of a terminal: the name of an event is whatever the server says."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)
