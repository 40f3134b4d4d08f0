"""What a second worker brings: echoes and deliveries with one worker and with two.

    python benchmarks/workers.py                                  # needs redis-server and a C compiler
    python benchmarks/workers.py --runs 5 --seconds 5 echo

Two workers and a load generator do not fit on two cores. So what is compared is not how much was done, but the processor's time
that it took: one worker at its limit does a message in each of these times, and two of them do two, while both of them run and
get in each other's way: they share caches, the kernel and Redis. The capacity is the number of workers by that time, and the
ratio that of two by that of one, in a run after the other. It holds for a generator on a core of its own, and for clients that
are spread evenly: "fuller" is the share of the connections that the fuller worker has. What Redis and the watching parent take
is told apart; the generator's time is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench_nodes import SERVER, processor_time
from compare import LOAD, built, spread

WORK = {
    "echo": ("rtt_per_s", "round_trips", ["echo", "--conns", "100", "--window", "1"]),
    "echo, ten in flight": ("rtt_per_s", "round_trips", ["echo", "--conns", "100", "--window", "10"]),
    "deliveries, rooms of 1,000": ("deliveries_per_s", "deliveries", ["fanout", "--conns", "1000"]),
    "deliveries, rooms of 10": ("deliveries_per_s", "deliveries", ["rooms", "--conns", "1000", "--room-size", "10"]),
}


class Run(NamedTuple):
    """One run: how much was done in a second, and the microseconds that one message took of all workers, and of the rest."""

    a_second: float
    cost: float
    rest: float
    fuller: float
    workers: int

    @property
    def capacity(self) -> float:
        return self.workers / self.cost


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_redis(pid: int) -> bool:
    return (
        b"redis" in Path(f"/proc/{pid}/cmdline").read_bytes() or b"valkey" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


@contextlib.contextmanager
def serving(workers: int) -> Iterator[tuple[int, int]]:
    """Run the server; give its port and process number when it accepts."""
    with subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, str(SERVER), "--port", "0", "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline().rpartition(":")[2]), server.pid
        finally:
            server.send_signal(signal.SIGTERM)


def connections(pid: int) -> int:
    return sum("socket:" in os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())


def measure(load: Path, name: str, workers: int, seconds: float) -> Run:
    """Let the load generator do one kind of work; return what it took."""
    figure, total, arguments = WORK[name]
    with serving(workers) as (port, parent):
        serve = [pid for pid in children(parent) if not is_redis(pid)]
        rest = [parent, *(pid for pid in children(parent) if is_redis(pid))]
        idle = [connections(pid) for pid in serve]
        took = -sum(map(processor_time, rest))
        lasts = ["--seconds", f"{seconds:g}", "--port", str(port), "--pid", ",".join(map(str, serve)), "--json"]
        generator = subprocess.Popen([str(load / "phxload"), *arguments, *lasts], stdout=subprocess.PIPE)  # noqa: S603
        time.sleep(seconds / 2 + 1)  # noqa: TID251  # all have connected
        clients = [connections(pid) - before for pid, before in zip(serve, idle, strict=True)]
        figures = json.loads(generator.communicate()[0])
        took += sum(map(processor_time, rest))
    assert not figures["errors"], figures
    cost = next(value for key, value in figures.items() if key.startswith("srv_us_per"))
    return Run(figures[figure], cost, took / figures[total] * 1e6, max(clients) / sum(clients), workers)


def report(name: str, runs: list[tuple[Run, Run]]) -> None:
    """Print one row: the medians, and the ratio with its range."""
    one, two = zip(*runs, strict=True)
    ratios = [second.capacity / first.capacity for first, second in runs]
    cells = [name, spread(ratios), *(f"{statistics.median(run.cost for run in each):.1f}" for each in (one, two))]
    cells += [
        f"{statistics.median(run.rest for run in two):.1f}",
        f"{statistics.median(run.fuller for run in two):.0%}",
    ]
    rates = [f"{statistics.median(run.a_second for run in each):,.0f}" for each in (one, two)]
    print(f"| {' | '.join([*cells, *rates])} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(WORK))
    parser.add_argument("--load", type=Path, default=LOAD, help="where phxload is")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    options = parser.parse_args()
    print("| work | capacity, 2 by 1 | µs each: 1 worker | 2 workers | Redis, parent | fuller | a second: 1 | 2 |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with built(options.load) as load:
        for name in options.rows or WORK:
            runs = [
                (measure(load, name, 1, options.seconds), measure(load, name, 2, options.seconds))
                for _ in range(options.runs)
            ]
            report(name, runs)


if __name__ == "__main__":
    main()
