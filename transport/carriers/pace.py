"""The pace at which the WebSockets of an ASGI application are written, so that the event loop reads its sockets in between.

Theory of operation.

A broadcast wakes the tasks that write to all its clients, in one iteration of the event loop, and passing one message to an
ASGI server takes up to a hundred microseconds. So all tasks together may write so much in one iteration (`ROUND`); the others
wait in the order in which they came, and continue in the next one. Replies and pushes wait only if there are as many more: each
is the work of one client, and its neighbours' are not to wait behind a broadcast.

The text of a broadcast is decoded once for the clients that are written one after the other.

The task that reads from a client joins that queue when its messages have caused many others: a client that shouts into a room
is read when what it has shouted before has been written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.channels.message import Frame

__all__ = ["ROUND", "Pace"]

ROUND = 32
"""The broadcasts that are written in one iteration of the event loop; a long one counts for each 4 KiB."""

_PIECE = 4096

Turn = tuple[asyncio.Future[None], int]


class Pace:
    """The turns of all tasks of one application; for the thread of its event loop.

    `caused` counts the messages that were queued for clients.
    """

    __slots__ = ("_broadcasts", "_decoded", "_is_on", "_left", "_replies", "_text", "caused")

    def __init__(self) -> None:
        self._left = ROUND
        self._broadcasts: deque[Turn] = deque()
        self._replies: deque[Turn] = deque()
        self._is_on = False
        self._decoded: Frame | None = None
        self._text = ""
        self.caused = 0

    async def turn(self, size: int, *, is_broadcast: bool = True) -> None:
        """Wait for the turn to write a message of `size` bytes; 0 for a turn behind all that wait now."""
        cost = 1 + size // _PIECE
        queue, least = (self._broadcasts, 0) if is_broadcast else (self._replies, -ROUND)
        if not queue and self._left > least:
            self._take(cost)
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append((turn, cost))
        await turn

    def _take(self, cost: int) -> None:
        self._left -= cost
        if not self._is_on:
            self._is_on = True
            asyncio.get_running_loop().call_soon(self._next_round)

    def text_of(self, frame: Frame) -> str:
        """Return the text of a frame."""
        if frame.broadcast is None:
            text: str = frame.data.decode()
            return text
        if frame is not self._decoded:
            self._decoded, self._text = frame, frame.data.decode()
        return self._text

    def _next_round(self) -> None:
        """Let those go on that have waited longest, and one broadcast at least; they run in the next iteration of the loop."""
        self._left, self._is_on = ROUND, False
        if not self._broadcasts:
            self._decoded, self._text = None, ""
        while self._replies and self._left > -ROUND:
            self._grant(self._replies)
        if self._broadcasts:
            self._grant(self._broadcasts)
        while self._broadcasts and self._left > 0:
            self._grant(self._broadcasts)

    def _grant(self, queue: deque[Turn]) -> None:
        turn, cost = queue.popleft()
        if not turn.done():  # its task has been cancelled
            turn.set_result(None)
            self._take(cost)
