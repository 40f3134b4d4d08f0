"""What a server has at one moment: actors, timers, subscriptions, tasks, futures, files, threads and memory."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actors import Future

if TYPE_CHECKING:
    from actors.lowlevel import Scheduler
    from supervisors import System

PAGE = os.sysconf("SC_PAGE_SIZE")

Census = Mapping[str, Any]

SIZES = ("rss", "blocks")
"""What is a size, and need not come back to the byte."""


def take_census(system: System, scheduler: Scheduler) -> Census:
    """Count everything, in the thread of the event loop.

    What waits for the garbage collector is freed first, and so are the lines of source files, which Python keeps of each that
    was in a traceback: each has a block.
    """
    linecache.clearcache()
    gc.collect()
    pubsub = system.pubsub
    subscribed = {topic: len(pubsub.subscribers(topic)) for topic in pubsub.topics()}
    return {
        "actors": dict(Counter(process.actor_class.__name__ for process in scheduler.processes.values())),
        "names": sorted(str(name) for name in scheduler.names.names()),
        "timers": len(scheduler.clock.timers()),
        "subscriptions": subscribed,
        "tasks": sorted(task.get_name() for task in asyncio.all_tasks(scheduler.loop)),
        "futures": len(unanswered()),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "rss": _resident(),
        "blocks": sys.getallocatedblocks(),
    }


def unanswered() -> list[Future[Any]]:
    """Return all futures without an answer."""
    return [found for found in gc.get_objects() if isinstance(found, Future) and not found.done]


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as fields:
        return int(fields.read().split()[1]) * PAGE


def differences(before: Census, after: Census) -> list[str]:
    """Name what two counts do not have in common; sizes are not compared."""
    return [
        f"{kind}: {before[kind]} at the start, {after[kind]} at the end"
        for kind in before
        if kind not in SIZES and before[kind] != after[kind]
    ]
