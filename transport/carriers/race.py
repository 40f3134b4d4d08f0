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
    """Wait until one of these tasks is done, then cancel the others; return those that were done, or raise their error."""
    over = asyncio.Event()
    for task in tasks:
        task.add_done_callback(lambda _: over.set())
    try:
        await over.wait()
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()
    return ended
