"""The received messages of a channel: a bounded queue that drops the oldest when it is full."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from actors.log import Log
from transport.client.exceptions import ClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Message
    from actors.clock import Clock

__all__ = ["ReceiveQueue"]

_log = Log("ashtree.client")


class ReceiveQueue:
    """The messages that a channel has received and not delivered yet, at most `limit`: a full queue drops the oldest.

    It belongs to one event loop. Several tasks may wait in `get`; each message goes to one of them.
    """

    def __init__(self, topic: str, limit: int, is_over: Callable[[], bool]) -> None:
        self.dropped = 0
        self._topic, self._limit, self._is_over = topic, limit, is_over
        self._messages: deque[Message] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        # A user of callbacks never calls get(), and needs no warning about dropped messages.
        self._is_used = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: Message) -> None:
        """Add a message."""
        if self._limit == 0:
            return
        if len(self._messages) == self._limit:
            self._drop()
        self._messages.append(message)
        self._wake(1)

    def _drop(self) -> None:
        self._messages.popleft()
        self.dropped += 1
        if self._is_used and self.dropped & (self.dropped - 1) == 0:
            _log.warning("messages of %r are not taken fast enough: %d dropped so far", self._topic, self.dropped)

    def end(self) -> None:
        """Wake all waiting tasks, to check whether more messages can arrive."""
        self._wake(len(self._waiting))

    def _wake(self, number: int) -> None:
        while self._waiting and number > 0:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                number -= 1

    async def get(self, clock: Clock, timeout: float | None = None) -> Message:  # noqa: ASYNC109  # measured by the clock
        """Remove and return the oldest message; wait if there is none.

        Raises:
            TimeoutError: if none was received within `timeout` seconds.
            ClosedError: if no more can arrive.
        """
        self._check_limit()
        self._is_used = True
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
                # It was woken for a message that it will not take now; another task may.
                self._wake(1)
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise
