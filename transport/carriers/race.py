"""Several coroutines of one connection at once, until the first of them is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["first", "task_of"]


def task_of(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run a coroutine as a task of this event loop."""
    return asyncio.get_running_loop().create_task(work)


async def first(*tasks: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
    """Wait until one of these tasks is done, then cancel the others; return those that were done, or raise their error.

    If it is cancelled itself, that goes on with its message, by which anyio knows its own; `gather` would raise another one.
    """
    one, every = asyncio.Event(), asyncio.Event()

    def on_end(task: asyncio.Task[Any]) -> None:
        one.set()
        if all(each.done() for each in tasks):
            every.set()
        if not task.cancelled():
            task.exception()  # else asyncio logs one that is not raised here

    for task in tasks:
        task.add_done_callback(on_end)
    try:
        await one.wait()
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await every.wait()
    for task in ended:
        task.result()
    return ended
