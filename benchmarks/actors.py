"""Measure the actor runtime: starts, memory, messages, questions, crashes; pykka's threads beside it.

    python benchmarks/actors.py [--runs N] [--json]

Each figure is the median of N runs on one event loop (uvloop's with the `fast` extra). Run it on a quiet machine; the ratio to
pykka's threads, measured in the same run, says more than the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pykka

from actors import NORMAL, Actor
from actors.runtime.scheduler import Scheduler, new_event_loop
from supervisors import ChildSpec, System

Measure = Callable[[int], Awaitable[float]]


class Idle(Actor):
    """An actor with nothing to do."""


class Echo(Actor):
    """An actor that answers with the question."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message


class Counter(Actor):
    """An actor that counts what it is told."""

    def __init__(self) -> None:
        self.count = 0

    def on_receive(self, message: Any) -> Any:
        """Count; answer with the count when asked for it."""
        if message == "count":
            return self.count
        self.count += 1
        return None


class Fragile(Actor):
    """An actor that crashes when told to, and says under which pid it runs otherwise."""

    def on_receive(self, message: Any) -> Any:
        """Crash or answer."""
        if message == "crash":
            raise RuntimeError("told to")
        return self.pid


class ThreadEcho(pykka.ThreadingActor):
    """The same on a thread of pykka's."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message


async def starts(number: int) -> float:
    """Start an actor, stop it, and see it gone; so many times a second."""
    began = time.perf_counter()
    for _ in range(number // 100):
        refs = [Idle.start() for _ in range(100)]
        for ref in refs:
            ref.send(_STOP)
        await refs[-1].down()
        assert not any(ref.is_alive() for ref in refs)
    return number / (time.perf_counter() - began)


class _Stop:
    pass


_STOP = _Stop()


async def bytes_each(number: int) -> float:
    """Count the bytes that an idle actor takes, with all that the runtime keeps of it."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    refs = [Idle.start() for _ in range(number)]
    await refs[-1].call("settle")
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for ref in refs:
        ref.kill()
    await refs[-1].down()
    return (after - before) / number


async def tells(number: int) -> float:
    """Tell one actor, a thousand messages at a time, and wait until all are handled; so many a second."""
    ref = Counter.start()
    began = time.perf_counter()
    for _ in range(number // 1000):
        for _ in range(1000):
            ref.tell("one")
        await ref.call("count")
    took = time.perf_counter() - began
    assert await ref.call("count") == number // 1000 * 1000
    ref.kill()
    return number / took


async def asks(number: int) -> float:
    """Ask one actor, wait for the answer, ask again; so many a second."""
    ref = Echo.start()
    began = time.perf_counter()
    for _ in range(number):
        await ref.call("ping")
    took = time.perf_counter() - began
    ref.kill()
    return number / took


async def replacement(number: int) -> float:
    """Crash a supervised actor, and get an answer of its replacement; the median in microseconds."""
    took = []
    async with System([ChildSpec(Fragile, name="fragile")], max_restarts=number + 1) as system:
        for _ in range(number):
            old = system.whereis("fragile")
            assert old is not None
            began = time.perf_counter()
            old.tell("crash")
            while (new := system.whereis("fragile")) is None or new is old:
                await asyncio.sleep(0)
            await new.call("pid")
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6
