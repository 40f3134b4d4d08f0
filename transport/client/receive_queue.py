"""Messages of a channel that wait to be taken: a bounded queue that gives up its oldest when it is full."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from transport.client.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Message
    from actors.clock import Clock

__all__ = ["Inbox"]

_log = logging.getLogger("ashtree.client")


class Inbox:
    """What a channel has got and nobody has taken yet, at most `limit` messages: when it is full the oldest is dropped.

    It belongs to one event loop. Of several who wait, each gets other messages.
    """

    def __init__(self, topic: str, limit: int, is_over: Callable[[], bool]) -> None:
        self.dropped = 0
        self._topic, self._limit, self._is_over = topic, limit, is_over
        self._messages: deque[Message] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        # Who uses callbacks only never takes anything, and need not be told that it is dropped.
        self._used = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        """Keep a message."""
        if self._limit == 0:
            return
        if len(self._messages) == self._limit:
            self._drop()
        self._messages.append(message)
        self._wake(1)

    def _drop(self) -> None:
        self._messages.popleft()
        self.dropped += 1
        if self._used and self.dropped & (self.dropped - 1) == 0:
            _log.warning("messages of %r are not taken fast enough: %d dropped so far", self._topic, self.dropped)

    def end(self) -> None:
        """Let those who wait look whether anything will come any more."""
        self._wake(len(self._waiting))

    def _wake(self, number: int) -> None:
        while self._waiting and number > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                number -= 1

    async def get(self, clock: Clock, timeout: float | None = None) -> Message:  # noqa: ASYNC109  # measured by the clock
        """Take the oldest message; wait for one if there is none.

        Raises:
            TimeoutError: if none has come after `timeout` seconds.
            ClosedError: if none can come any more.
        """
        self._check_limit()
        self._used = True
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            self.end()

        timer = None if timeout is None else clock.call_after(timeout, expire)
        try:
            while not self._messages:
                if self._is_over():
                    raise ClosedError(f"no more messages of {self._topic!r}: its channel or its socket is closed")
                if expired:
                    raise TimeoutError(f"no message of {self._topic!r} within {timeout:g} s")
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
                await self._wait(waiter)
            return self._messages.popleft()
        finally:
            if timer is not None:
                timer.cancel()

    def _check_limit(self) -> None:
        if self._limit == 0:
            raise ValueError(f"the channel {self._topic!r} keeps no messages: it was made with max_queue=0")

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # It was woken for a message that it will not take now; somebody else may.
                self._wake(1)
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
