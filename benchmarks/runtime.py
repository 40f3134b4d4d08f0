"""Measure the actor runtime: starts, memory, messages, questions, crashes; pykka's threads beside it.

    python benchmarks/runtime.py [--runs 5] [--quick] [--json]

Each figure is the median of the runs, with the smallest and the largest. Actors run on one event loop (uvloop's with the `fast`
extra). Run it on a quiet machine; the ratio to pykka's threads, measured in the same run, says more than the figure.
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
from pathlib import Path
from typing import Any, NamedTuple

import pykka

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from actors import Actor
from actors.lowlevel import new_event_loop
from supervisors import ChildSpec, DynamicSupervisor, System, start_child


class Idle(Actor):
    """An actor with nothing to do."""


class Echo(Actor):
    """An actor that answers with the question."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message


class Fragile(Actor):
    """An actor that crashes when told to, and says under which pid it runs otherwise."""

    def on_receive(self, message: Any) -> Any:
        """Crash or answer."""
        if message == "crash":
            raise RuntimeError("told to")
        return self.pid


class ThreadEcho(pykka.ThreadingActor):
    """The same as `Echo` on a thread of pykka's."""

    def on_receive(self, message: Any) -> Any:
        """Answer."""
        return message


# On the event loop


async def starts(number: int) -> float:
    """Start actors and stop them, a hundred at a time; so many a second."""
    began = time.perf_counter()
    for _ in range(number // 100):
        refs = [Idle.start() for _ in range(100)]
        for stopped in [ref.stop(block=False) for ref in refs]:
            await stopped
    return number / (time.perf_counter() - began)


async def size(number: int) -> float:
    """Count the bytes that an idle actor takes, with all that the runtime keeps of it."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    refs = [Idle.start() for _ in range(number)]
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for ref in refs:
        ref.kill()
    await refs[-1].down()
    return (after - before) / number


async def tells(number: int) -> float:
    """Tell one actor, a thousand messages at a time, and wait until all are handled; so many a second."""
    ref = Echo.start()
    began = time.perf_counter()
    for _ in range(number // 1000):
        for _ in range(1000):
            ref.tell("message")
        await ref.call("all handled")
    took = time.perf_counter() - began
    await ref.stop(block=False)
    return number / took


async def asks(number: int) -> float:
    """Ask one actor, wait for the answer, ask again; so many a second."""
    ref = Echo.start()
    began = time.perf_counter()
    for _ in range(number):
        await ref.call("question")
    took = time.perf_counter() - began
    await ref.stop(block=False)
    return number / took


async def replacement(number: int) -> float:
    """Crash a supervised actor, and get an answer of its replacement; the median in microseconds.

    The log of crashes is off: what is measured is supervision, not the writing of tracebacks.
    """
    took = []
    logging.getLogger("ashtree").setLevel(logging.CRITICAL)
    async with System([ChildSpec(Fragile, name="fragile")], max_restarts=number + 1) as system:
        whereis = system.names.whereis
        for _ in range(number):
            old = whereis("fragile")
            assert old is not None
            began = time.perf_counter()
            old.tell("crash")
            while (new := whereis("fragile")) is None or new is old:  # noqa: ASYNC110  # the runtime sets no event
                await asyncio.sleep(0)
            await new.call("pid")
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


async def stops(number: int) -> float:
    """Stop a supervisor with all its children, which it tells at once and waits for together; so many children a second."""
    supervisor, spec = DynamicSupervisor.start(), ChildSpec(Idle)
    for _ in range(number // 100):
        for started in [start_child(supervisor, spec) for _ in range(100)]:
            await started
    began = time.perf_counter()
    await supervisor.stop(block=False)
    return number / (time.perf_counter() - began)


# On pykka's threads


def thread_starts(number: int) -> float:
    """Start actors and stop them, a hundred at a time; so many a second."""
    began = time.perf_counter()
    for _ in range(number // 100):
        refs = [ThreadEcho.start() for _ in range(100)]
        for stopped in [ref.stop(block=False) for ref in refs]:
            stopped.get()
    return number / (time.perf_counter() - began)


def thread_tells(number: int) -> float:
    """Tell one actor, a thousand messages at a time, and wait until all are handled; so many a second."""
    ref = ThreadEcho.start()
    began = time.perf_counter()
    for _ in range(number // 1000):
        for _ in range(1000):
            ref.tell("message")
        ref.ask("all handled")
    took = time.perf_counter() - began
    ref.stop()
    return number / took


def thread_asks(number: int) -> float:
    """Ask one actor, wait for the answer, ask again; so many a second."""
    ref = ThreadEcho.start()
    began = time.perf_counter()
    for _ in range(number):
        ref.ask("question")
    took = time.perf_counter() - began
    ref.stop()
    return number / took


class Row(NamedTuple):
    """One line of the table: what is measured, how often, on the loop and on threads."""

    name: str
    number: int
    measure: Callable[[int], Awaitable[float]]
    threads: Callable[[int], float] | None = None
    thread_number: int = 0


ROWS = [
    Row("start + stop, a second", 20_000, starts, thread_starts, 1_000),
    Row("bytes an idle actor", 20_000, size),
    Row("tells a second", 200_000, tells, thread_tells, 20_000),
    Row("asks a second", 50_000, asks, thread_asks, 10_000),
    Row("crash to answering replacement, us", 5_000, replacement),
    Row("children stopped together, a second", 100_000, stops),
]


def measure(row: Row, share: float) -> tuple[float, float | None]:
    """Take one figure of ours and, right after it, one of pykka's."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        ours = runner.run(_figure(row, max(1000, int(row.number * share))))
    theirs = row.threads(max(1000, int(row.thread_number * share))) if row.threads is not None else None
    return ours, theirs


async def _figure(row: Row, number: int) -> float:
    return await row.measure(number)


def spread(figures: list[float]) -> str:
    """Write the median, and the range."""
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f} to {max(figures):,.0f})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages")
    parser.add_argument("--json", action="store_true", help="all figures, for other programs")
    options = parser.parse_args()
    share = 0.1 if options.quick else 1.0
    table = {row.name: [measure(row, share) for _ in range(options.runs)] for row in ROWS}
    if options.json:
        print(json.dumps(table))
        return
    print(f"| {'':35} | {'ours':32} | {'pykka threads':26} | ratio |")
    for name, figures in table.items():
        ours, theirs = [our for our, _ in figures], [their for _, their in figures if their is not None]
        ratio = f"{statistics.median(ours) / statistics.median(theirs):.1f}" if theirs else ""
        print(f"| {name:35} | {spread(ours):32} | {spread(theirs) if theirs else '':26} | {ratio:>5} |")


if __name__ == "__main__":
    main()
