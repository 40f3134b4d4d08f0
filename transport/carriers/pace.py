"""The pace at which the WebSockets of an ASGI application are written, so that the event loop reads its sockets in between.

Theory of operation.

A broadcast wakes the tasks that write to all its clients, in one iteration of the event loop, and passing one message to an
ASGI server takes up to a hundred microseconds. So all tasks together may write so much in one iteration (`ROUND`); the others
wait in the order in which they came, and continue in the next one. Replies and pushes wait only if there are as many more: each
is the work of one client, and its neighbours' are not to wait behind a broadcast.

The text of a broadcast is decoded once for the clients that are written one after the other.

A broadcast is the work of the actor that makes it, as in `actors/pubsub/fanout.py`: one that has broadcast more than is written
meanwhile gets no turn (`Scheduler.pace`) until its broadcasts have been passed to the server. So a client that shouts into a
room is slowed down, and its neighbours are not: what others broadcast makes no client wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.channels.message import Frame
    from actors.lowlevel import Process, Scheduler

__all__ = ["ROUND", "Pace"]

ROUND = 32
"""The broadcasts that are written in one iteration of the event loop; a long one counts for each 4 KiB."""

_PIECE = 4096

_AHEAD = 64
"""The messages that an actor may broadcast before they are written."""

Turn = tuple[asyncio.Future[None], int]


class Pace:
    """The turns of all tasks of one application; for the thread of its event loop."""

    __slots__ = ("_broadcasts", "_caused", "_decoded", "_is_on", "_left", "_paced", "_replies", "_round", "_text")

    def __init__(self) -> None:
        self._left = ROUND
        self._broadcasts: deque[Turn] = deque()
        self._replies: deque[Turn] = deque()
        self._is_on = False
        self._decoded: Frame | None = None
        self._text = ""
        # The round up to which the broadcasts of an actor go, at one message a round.
        self._round = 0
        self._caused: dict[Process, int] = {}
        self._paced: set[Process] = set()

    async def turn(self, size: int, *, is_broadcast: bool = True) -> None:
        """Wait for the turn to write a message of `size` bytes."""
        cost = 1 + size // _PIECE
        queue, least = (self._broadcasts, 0) if is_broadcast else (self._replies, -ROUND)
        if not queue and self._left > least:
            self._take(cost)
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append((turn, cost))
        await turn

    def queued(self, scheduler: Scheduler, cause: Process) -> None:
        """Count one message of a broadcast, which is to be written to one client; `cause` is the actor that made it.

        The count of an actor falls by one in each round. Those who write what was broadcast by others, such as a reply that is
        not to overtake it, do so once or twice in a round, and are not paced.
        """
        self._caused[cause] = until = max(self._caused.get(cause, 0), self._round) + 1
        if until - self._round > _AHEAD and cause not in self._paced:
            self._paced.add(cause)
            scheduler.pace(cause)
            # The tasks that write to the clients join the queue in the next iteration of the loop.
            asyncio.get_running_loop().call_soon(self._wait_behind, scheduler, cause)

    def _wait_behind(self, scheduler: Scheduler, cause: Process) -> None:
        turn = asyncio.get_running_loop().create_future()
        turn.add_done_callback(lambda _: self._go_on(scheduler, cause))
        self._broadcasts.append((turn, 1))
        self._arm()

    def _go_on(self, scheduler: Scheduler, cause: Process) -> None:
        self._paced.remove(cause)
        self._caused.pop(cause, None)
        scheduler.unpace(cause)

    def _take(self, cost: int) -> None:
        self._left -= cost
        self._arm()

    def _arm(self) -> None:
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
        self._round += 1
        if not self._broadcasts:
            self._decoded, self._text = None, ""
            self._caused.clear()
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
