"""Our server beside the yardsticks, with the load generator, over real sockets, in one go.

    make bench                                   # the whole table, about 20 minutes
    make bench ARGS="echo_100x10 fanout_1000"    # some rows
    make bench ARGS="--runs 5 --seconds 5"

The load generator `phxload` and its yardsticks (`peer_raw.py`: the `websockets` package by hand; `peer_protocol.py`: what
CPython can do at most) are found in `--load` and built in a temporary folder. The server gets one core and the generator
another. In each round every server does the same work, one after the other, and a ratio is taken within a round; the table has
the median of the ratios to peer_raw, with the smallest and the largest, and the medians of what was counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
LOAD = HERE.parent.parent / "shared" / "load"

# uvloop is not to be found: the event loop is asyncio's.
WITHOUT_UVLOOP = """
import runpy, sys
sys.modules["uvloop"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Row(NamedTuple):
    """One kind of work, what is counted of it, and the ratio to peer_raw that we want to reach."""

    arguments: list[str]
    figure: str
    target: float
    lasts: bool = True
    """Whether it takes `--seconds`; else as long as it takes, on a server that has done nothing before."""


def _row(arguments: str, figure: str, target: float, *, lasts: bool = True) -> Row:
    return Row(arguments.split(), figure, target, lasts)


ROWS = {
    "echo_1x1": _row("echo --conns 1 --window 1", "rtt_per_s", 1.0),
    "echo_100x1": _row("echo --conns 100 --window 1", "rtt_per_s", 1.6),
    "echo_100x10": _row("echo --conns 100 --window 10", "rtt_per_s", 3.0),
    "fanout_100": _row("fanout --conns 100", "deliveries_per_s", 1.45),
    "fanout_1000": _row("fanout --conns 1000", "deliveries_per_s", 1.7),
    "fanout_10000": _row("fanout --conns 10000", "deliveries_per_s", 1.6),
    "connect_10000": _row("connect --conns 10000", "joins_per_s", 2.0, lasts=False),
    "churn": _row("churn --conns 100", "cycles_per_s", 1.5),
}

Figures = dict[str, Any]


def servers(load: Path, names: list[str]) -> dict[str, list[str]]:
    """Return the command of each server; the port comes last."""
    ours, python = str(HERE / "server.py"), sys.executable
    commands = {
        "peer_raw": [python, str(load / "peer_raw.py")],
        "ours": [python, ours, "--port"],
        "ours without uvloop": [python, "-c", WITHOUT_UVLOOP, ours, "--port"],
        "peer_protocol": [python, str(load / "peer_protocol.py")],
    }
    return {name: commands[name] for name in ["peer_raw", *(name for name in names if name != "peer_raw")]}


def _on_core(number: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # one core only, or not Linux
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def serving(command: list[str]) -> Iterator[tuple[int, int]]:
    """Run a server on the first core; give its port and process number when it accepts."""
    port = _free_port()
    with subprocess.Popen(  # noqa: S603  # our own programs
        [*command, str(port)],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: _on_core(0),  # noqa: PLW1509  # there are no threads here
        text=True,
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()  # each says when it listens
        try:
            yield port, server.pid
        finally:
            server.send_signal(signal.SIGKILL)


def work(load: Path, row: Row, port: int, pid: int, seconds: float) -> Figures:
    """Let the load generator do the work of one row, on the second core; return what it counted."""
    lasts = ["--seconds", f"{seconds:g}"] if row.lasts else []
    done = subprocess.run(  # noqa: S603  # our own program
        [str(load / "phxload"), *row.arguments, *lasts, "--port", str(port), "--pid", str(pid), "--json"],
        stdout=subprocess.PIPE,
        preexec_fn=lambda: _on_core(-1),  # as above
        text=True,
        check=False,
    )
    figures: Figures = json.loads(done.stdout)
    if figures["errors"]:
        raise RuntimeError(f"{' '.join(row.arguments)}: {done.stdout}")
    return figures


def measure(
    load: Path, row: Row, commands: dict[str, list[str]], runs: int, seconds: float
) -> dict[str, list[Figures]]:
    """Do one row on all servers in turns, so often."""
    figures: dict[str, list[Figures]] = defaultdict(list)
    for _ in range(runs):
        for name, command in commands.items():
            with serving(command) as (port, pid):
                figures[name].append(work(load, row, port, pid, seconds))
    return figures


def spread(figures: list[float], digits: int = 2) -> str:
    """Write the median, and the range."""
    middle, least, most = statistics.median(figures), min(figures), max(figures)
    return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def report(name: str, row: Row, figures: dict[str, list[Figures]]) -> None:
    """Print the lines of one row: counts a second, the ratio to peer_raw, and the processor's microseconds for each."""
    for server, ours in figures.items():
        pairs = zip(ours, figures["peer_raw"], strict=True)
        ratios = [mine[row.figure] / raw[row.figure] for mine, raw in pairs]
        costs = [value for mine in ours for key, value in mine.items() if key.startswith("srv_us_per")]
        costs_raw = [value for raw in figures["peer_raw"] for key, value in raw.items() if key.startswith("srv_us_per")]
        by_cost = [theirs / mine for mine, theirs in zip(costs, costs_raw, strict=True)]
        wanted = f">= {row.target:g}" if server == "ours" else ""
        rate = f"{statistics.median(mine[row.figure] for mine in ours):,.0f}"
        cells = [name, server, rate, spread(ratios), wanted, f"{statistics.median(costs):,.1f}", spread(by_cost)]
        if "rss_per_conn" in ours[0]:
            cells[-1] += f"; {statistics.median(mine['rss_per_conn'] for mine in ours) / 1000:.1f} kB a connection"
        print("| " + " | ".join(cells) + " |", flush=True)


@contextlib.contextmanager
def built(source: Path) -> Iterator[Path]:
    """Build the load generator in a folder of its own, beside the yardsticks."""
    if not (source / "phxload.c").exists():
        raise SystemExit(f"compare: there is no phxload.c in {source}; say where it is: --load DIR")
    with tempfile.TemporaryDirectory() as folder:
        load = Path(shutil.copytree(source, Path(folder) / "load"))
        subprocess.run(["make", "--silent", "-C", str(load)], check=True)  # noqa: S603, S607  # whatever make there is
        yield load


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    parser.add_argument("--load", type=Path, default=LOAD, help="where phxload and the yardsticks are")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--servers", nargs="+", default=["ours", "ours without uvloop", "peer_protocol"])
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    print("| work | server | a second | ratio to peer_raw | wanted | µs of processor each | ratio of these |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with built(options.load) as load:
        for name in options.rows or ROWS:
            commands = servers(load, options.servers)
            report(name, ROWS[name], measure(load, ROWS[name], commands, options.runs, options.seconds))


if __name__ == "__main__":
    main()
