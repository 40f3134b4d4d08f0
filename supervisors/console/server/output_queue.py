"""The output for a client: in order, from any thread, and limited for slow clients."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import cast

from actors.fork import free_after_fork
from supervisors.console.protocol import Bye, FromServer, Output, encodable, encode

__all__ = ["LIMIT", "OutputQueue"]

# Characters that may wait for a slow client.
LIMIT = 1 << 18

# Characters in a frame; the loop does other work between two frames.
_CHUNK = 1 << 14


class OutputQueue:
    """Frames for a client.

    When `LIMIT` characters wait, `write` blocks in a thread that may block. In any other thread, where it would hold up actors,
    the text is dropped, and the client receives a line with the number of characters.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._changed = free_after_fork(threading.Condition(threading.Lock()))
        self._items: deque[str | FromServer] = deque()
        self._waiting = self._dropped = 0
        self._is_armed = self._is_paused = self._is_closed = False

    # In any thread

    def put(self, frame: FromServer) -> None:
        """Send a frame that is not text."""
        with self._changed:
            self._append(frame)

    def write(self, text: str, *, waits: Callable[[], bool] | None = None) -> None:
        """Send text, in pieces; with `waits`, block while there is no room and `waits()` is true, then drop the rest.

        Raises:
            BrokenPipeError: if the client has disconnected.
        """
        for start in range(0, len(text), _CHUNK):
            # Piece by piece: other threads run between two pieces.
            if not self._write(encodable(text[start : start + _CHUNK]), waits):
                return

    def _write(self, piece: str, waits: Callable[[], bool] | None) -> bool:
        with self._changed:
            if waits is not None:
                self._changed.wait_for(lambda: self._has_room() or self._is_closed or not waits())
            if self._is_closed:
                raise BrokenPipeError("the client of this console has disconnected")
            if not self._has_room():
                self._dropped += len(piece) if waits is None else 0
                return waits is None
            self._waiting += len(piece)
            self._append(piece)
            return True

    def wake(self) -> None:
        """Wake the threads that are waiting for room, to check again whether they should wait."""
        with self._changed:
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._waiting < LIMIT

    def _append(self, item: str | FromServer) -> None:
        if not self._is_closed:
            self._items.append(item)
            self._arm()

    def _arm(self) -> None:
        if self._is_armed:
            return
        try:
            # Not through the scheduler, which would flush again and again while a thread keeps writing.
            self._loop.call_soon_threadsafe(self._flush)
        except RuntimeError as closed:
            raise BrokenPipeError("the event loop of this console is closed") from closed
        self._is_armed = True

    # On the loop

    def open(self, transport: asyncio.Transport) -> None:
        """Start sending."""
        self._transport = transport

    def pause(self) -> None:
        """Stop sending for now: the client is slow."""
        self._is_paused = True

    def resume(self) -> None:
        """Continue sending."""
        self._is_paused = False
        self._flush()

    def finish(self, bye: Bye) -> None:
        """Accept no more frames; send what is left and `bye`, then close the connection."""
        with self._changed:
            if not self._is_closed:
                self._append(bye)
            self._is_closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Discard what is left; threads that are waiting for room get an error."""
        with self._changed:
            self._is_closed = True
            self._items.clear()
            self._changed.notify_all()

    def _flush(self) -> None:
        with self._changed:
            self._is_armed = False
            frame = None if self._is_paused or self._transport is None else self._next()
            if frame is not None and (self._items or self._dropped):
                self._arm()
        if self._transport is None or frame is None or self._transport.is_closing():
            return
        # This may call pause().
        self._transport.write(encode(frame))
        if isinstance(frame, Bye):
            self._transport.close()

    def _next(self) -> FromServer | None:
        if not self._items:
            return self._notice_of_loss() if self._dropped else None
        pieces, length = [], 0
        while length < _CHUNK and self._next_is_text():
            piece = cast("str", self._items.popleft())
            pieces.append(piece)
            length += len(piece)
        if not pieces:
            return cast("FromServer", self._items.popleft())
        self._waiting -= length
        self._changed.notify_all()
        return Output("".join(pieces))

    def _next_is_text(self) -> bool:
        return bool(self._items) and isinstance(self._items[0], str)

    def _notice_of_loss(self) -> Output:
        dropped, self._dropped = self._dropped, 0
        return Output(f"\n[{dropped} characters were dropped: there was more output than this client could receive]\n")
