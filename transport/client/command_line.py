"""A channel on the command line: prints received messages, pushes the lines of standard input."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from actors import standard_streams
from actors.clock import wall_time
from actors.redaction import Lines
from transport.client.exceptions import BufferFullError, ClosedError, ReplyError, ReplyTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.client.client_channel import Channel
    from transport.client.client_push import Push
    from transport.client.client_socket import Socket

__all__ = ["CommandLine", "complain", "parse_line"]

_HINT = 'write an event and optionally its payload as JSON, such as: new_msg {"body": "hello"}'


def complain(text: object) -> None:
    """Print a line about the client itself to standard error."""
    standard_streams.complain(f"client: {Lines(text)}")


def parse_line(line: str) -> tuple[str, object]:
    """Return the event and the payload of a line such as `new_msg {"body": "hello"}`; a missing payload is `{}`.

    Raises:
        ValueError: if the payload is not JSON; the message shows what to write instead.
    """
    event, *rest = line.strip().split(maxsplit=1)
    if not rest:
        return event, {}
    text = rest[0]
    try:
        return event, msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"{text!r} is not JSON ({error}); {_HINT}") from error


class CommandLine:
    """Connects a channel to the terminal: its messages to standard output, lines of standard input to it."""

    def __init__(self, socket: Socket, channel: Channel) -> None:
        self._socket, self._channel = socket, channel
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._is_connected = True
        self._is_leaving = False
        self._ended_by: str | None = None

    async def run(self) -> None:
        """Join, and return when the input has ended and the channel was left.

        Raises:
            JoinError: if the join is refused.
            ReplyTimeoutError: if it gets no reply in time.
            ClosedError: if the server closed the channel, or the connection with a code that says not to reconnect, or if the
                output cannot be written.
        """
        self._register_callbacks()
        await self._join()
        self._read_input()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._show_messages())
            while (line := await self._lines.get()) is not None:
                self._push(line, tasks)
            await self._leave()
        if self._ended_by is not None:
            raise ClosedError(self._ended_by)

    def _register_callbacks(self) -> None:
        self._socket.on_close(self._disconnected)
        self._socket.on_open(self._connected)
        self._channel.on_error(self._lost)
        self._channel.on_close(self._closed)

    async def _join(self) -> None:
        join = self._channel.join()
        try:
            await join
        except ClosedError as error:
            raise ClosedError(self._ended_by or str(error)) from error
        # For this reply and those of later rejoins.
        for status in ("ok", "error"):
            join.receive(status, partial(self._show_joined, status))
        join.receive("timeout", lambda _: complain(f"no reply to the join of {self._channel.topic!r}; retrying"))

    def _show_joined(self, status: str, response: object) -> None:
        self._show("phx_reply", _reply("phx_join", status, response))

    async def _leave(self) -> None:
        self._is_leaving = True
        try:
            # The replies to earlier pushes arrive before the reply to this one.
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
            tasks.create_task(self._show_reply(event, push))

    async def _show_reply(self, event: str, push: Push) -> None:
        try:
            reply = _reply(event, "ok", await push)
        except ReplyError as error:
            reply = _reply(event, error.status, error.response)
        except (ReplyTimeoutError, ClosedError):
            # Many events have no reply.
            return
        self._show("phx_reply", reply)

    def _show(self, event: str, payload: object) -> None:
        now = datetime.fromtimestamp(wall_time(), UTC).astimezone()
        line = f"{now:%H:%M:%S}.{now.microsecond // 1000:03} {event} {_written(payload)}"
        try:
            print(_printable(line), flush=True)  # noqa: T201  # it is a command line
        except OSError as error:
            standard_streams.abandon_broken_output()
            # The reader of a pipe, such as `head`, has exited when it had enough.
            if not isinstance(error, BrokenPipeError):
                self._end(f"the output cannot be written: {error.strerror}")
            self._lines.put_nowait(None)

    def _lost(self, reason: object) -> None:
        # If it will not reconnect, `_disconnected` reports why.
        if self._socket.will_reconnect or self._socket.is_open:
            complain(f"lost {self._channel.topic!r}: {_written(reason)}")

    def _closed(self, _reason: object) -> None:
        self._end(f"the server closed {self._channel.topic!r}")

    def _disconnected(self, code: int, reason: str) -> None:
        if not self._socket.will_reconnect:
            self._end(f"the server closed the connection with {code} {reason}".rstrip())
            # Otherwise a pending join would be waited for.
            self._channel.leave()
        # This is called for each failed attempt too.
        elif self._is_connected:
            self._is_connected = False
            complain(f"the connection ended with {code} {reason}".rstrip() + "; reconnecting")

    def _end(self, why: str) -> None:
        """Record why it ends early, as when the server ends the channel or the connection, unless we are leaving."""
        if not self._is_leaving and self._ended_by is None:
            self._ended_by = why

    def _connected(self) -> None:
        self._is_connected = True
        complain("reconnected")

    # Input

    def _read_input(self) -> None:
        """Put the lines of the input in the queue, and None at its end."""
        loop = asyncio.get_running_loop()

        def put(line: str | None) -> None:
            loop.call_soon_threadsafe(self._lines.put_nowait, line)

        # Reading a terminal cannot be cancelled, so this thread is a daemon.
        threading.Thread(target=_read, args=(sys.stdin.fileno(), put), name="input", daemon=True).start()


def _read(descriptor: int, put: Callable[[str | None], None]) -> None:
    # Not through sys.stdin: its lock would be held while the program exits.
    rest = b""
    try:
        while data := os.read(descriptor, 65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                put(line.decode(errors="replace"))
        put(rest.decode(errors="replace"))
        put(None)
    except RuntimeError:
        # The loop is closed: drop what is typed now.
        return


def _reply(event: str, status: str, response: object) -> dict[str, object]:
    return {"event": event, "status": status, "response": response}


def _written(value: object) -> str:
    """Return JSON; bytes are encoded as base64."""
    return msgspec.json.encode(value).decode()


def _printable(line: str) -> str:
    """Escape, as JSON does, characters that would control the terminal: the server chooses the names of events."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in line)
