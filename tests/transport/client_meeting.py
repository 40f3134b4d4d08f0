"""A client and its server in one event loop, for tests over real connections."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from tests.live import WAIT

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from transport.client import Channel, Socket

Result = TypeVar("Result")


def run(conversation: Coroutine[Any, Any, Result]) -> Result:
    """Run a conversation until it ends; it must leave no task behind."""

    async def bounded() -> Result:
        async with asyncio.timeout(WAIT):
            result = await conversation
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"
        return result

    return asyncio.run(bounded(), debug=False)


class Log:
    """A log of callbacks, and a way to wait for entries."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self._changed = asyncio.Event()

    def add(self, *entry: Any) -> None:
        self.entries.append(entry)
        self._changed.set()

    async def until(self, count: int) -> list[tuple[Any, ...]]:
        """Return the entries once there are `count`."""
        while len(self.entries) < count:
            self._changed.clear()
            await self._changed.wait()
        return self.entries


def opens(socket: Socket) -> Log:
    log = Log()
    socket.on_open(lambda: log.add("open"))
    return log


def closes(socket: Socket) -> Log:
    log = Log()
    socket.on_close(log.add)
    return log


def joins(channel: Channel, timeout: float | None = None) -> Log:
    """Join, and log each reply."""
    log = Log()
    push = channel.join(timeout)
    for status in ("ok", "error", "timeout"):
        push.receive(status, partial(log.add, status))
    return log


def heard(channel: Channel, event: str) -> Log:
    log = Log()
    channel.on(event, log.add)
    return log
