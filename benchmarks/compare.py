"""Our server beside the yardsticks and other libraries, with the load generator, over real sockets, in one go.

    make bench                                           # the whole table, about an hour
    make bench ARGS="echo_100x10 fanout_1000"            # some rows
    make bench ARGS="--runs 5 --seconds 5"
    make bench ARGS="--servers ours starlette picows"    # some servers; the ratios need peer_raw, which is always there

The load generator `phxload` and its yardsticks (`peer_raw.py`: the `websockets` package by hand; `peer_protocol.py`: what
CPython can do at most) are found in `--load` and built in a temporary folder. The server gets one core and the generator
another. In each round every server does the same work, one after the other, and ratios are taken within a round: to peer_raw,
and of ours to each server. The table has the medians, of ratios with the smallest and the largest.

`peers/` has a small server for each of the other libraries, as its documentation writes it. One that is not installed is
reported and left out. If a library does not complete a row, the table has the error.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
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
from collections.abc import Iterator, Mapping
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


class Peer(NamedTuple):
    """A library that does the same work: its server in `peers/`, and the modules which that needs."""

    script: str
    modules: list[str]


PEERS = {
    "starlette": Peer("starlette_uvicorn.py", ["starlette", "uvicorn", "uvloop", "httptools", "websockets"]),
    "socketio": Peer("socketio_uvicorn.py", ["socketio", "uvicorn", "uvloop", "httptools", "websockets"]),
    "channels": Peer("channels_daphne.py", ["channels", "daphne", "django"]),
    "websockets": Peer("websockets_asyncio.py", ["websockets", "uvloop"]),
    "picows": Peer("picows_listener.py", ["picows", "uvloop", "orjson"]),
}

OWN = ["ours", "ours without uvloop", "peer_protocol"]


class Server(NamedTuple):
    """The command of a server, to which the port is added, and how the load generator talks to it."""

    command: list[str]
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}
    may_fail: bool = False
    """Whether a failure is a result; of ours and of the yardsticks it is an error."""


def servers(load: Path, names: list[str]) -> dict[str, Server]:
    """Return the servers of these names that are installed, peer_raw first."""
    ours, python = str(HERE / "server.py"), sys.executable
    found = {
        "peer_raw": Server([python, str(load / "peer_raw.py")]),
        "ours": Server([python, ours, "--port"]),
        "ours without uvloop": Server([python, "-c", WITHOUT_UVLOOP, ours, "--port"]),
        "peer_protocol": Server([python, str(load / "peer_protocol.py")]),
    }
    found |= {name: _peer_server(load, peer) for name, peer in PEERS.items() if not missing(peer)}
    return {name: found[name] for name in dict.fromkeys(["peer_raw", *names]) if name in found}


def missing(peer: Peer) -> list[str]:
    """Return the modules of a peer that are not installed."""
    return [module for module in peer.modules if importlib.util.find_spec(module) is None]


def _peer_server(load: Path, peer: Peer) -> Server:
    command = [sys.executable, str(HERE / "peers" / peer.script)]
    if "socketio" not in peer.modules:
        return Server(command, may_fail=True)
    path = ("--path", "/socket.io/?EIO=4&transport=websocket")
    return Server(command, path, {"LD_PRELOAD": str(load / "socketio_wire.so")}, may_fail=True)


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


class LoadError(Exception):
    """A server has not done the work of a row."""


def work(load: Path, row: Row, server: Server, seconds: float) -> Figures:
    """Let the load generator do the work of one row, on the second core; return what it counted.

    Raises:
        LoadError: The server has not answered, or not all of it.
    """
    lasts = ["--seconds", f"{seconds:g}"] if row.lasts else []
    with serving(server.command) as (port, pid):
        done = subprocess.run(  # noqa: S603  # our own program
            [
                str(load / "phxload"),
                *row.arguments,
                *lasts,
                *server.options,
                "--port",
                str(port),
                "--pid",
                str(pid),
                "--json",
            ],
            stdout=subprocess.PIPE,
            preexec_fn=lambda: _on_core(-1),  # as above
            env={**os.environ, **server.variables},
            text=True,
            check=False,
        )
    figures: Figures = json.loads(done.stdout.strip() or "{}")
    if figures.get("errors", 1):
        raise LoadError(figures.get("first_error", f"phxload has ended with status {done.returncode}"))
    if not figures[row.figure]:
        raise LoadError(f"{row.figure} is 0; let it last longer: --seconds")
    return figures


def measure(
    load: Path, row: Row, commands: dict[str, Server], runs: int, seconds: float
) -> tuple[dict[str, list[Figures]], dict[str, LoadError]]:
    """Do one row on all servers in turns, so often; return what was counted, and what has failed."""
    figures: dict[str, list[Figures]] = defaultdict(list)
    failed: dict[str, LoadError] = {}
    for _ in range(runs):
        for name, server in commands.items():
            try:
                figures[name].append(work(load, row, server, seconds))
            except LoadError as error:
                if not server.may_fail:
                    raise
                failed[name] = error
    return {name: counted for name, counted in figures.items() if name not in failed}, failed


def spread(figures: list[float], digits: int = 2) -> str:
    """Write the median, and the range."""
    middle, least, most = statistics.median(figures), min(figures), max(figures)
    return f"{middle:,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"


def report(name: str, row: Row, figures: dict[str, list[Figures]]) -> None:
    """Print the lines of one row: counts a second, ratios, and the processor's microseconds for each."""
    raw, ours = figures["peer_raw"], figures.get("ours")
    for server, counted in figures.items():
        rate = f"{statistics.median(each[row.figure] for each in counted):,.0f}"
        ahead = spread(ratios(ours, counted, row.figure)) if ours and server != "ours" else ""
        wanted = f">= {row.target:g}" if server == "ours" else ""
        cost = next(key for key in counted[0] if key.startswith("srv_us_per"))
        microseconds = f"{statistics.median(each[cost] for each in counted):,.1f}"
        by_cost = spread(ratios(raw, counted, cost))
        cells = [name, server, rate, spread(ratios(counted, raw, row.figure)), wanted, ahead, microseconds, by_cost]
        if "rss_per_conn" in counted[0]:
            cells[-1] += f"; {statistics.median(each['rss_per_conn'] for each in counted) / 1000:.1f} kB a connection"
        print("| " + " | ".join(cells) + " |", flush=True)


def ratios(counted: list[Figures], others: list[Figures], figure: str) -> list[float]:
    """Return what one server has done by what another has, a round each."""
    return [one[figure] / other[figure] for one, other in zip(counted, others, strict=True)]


@contextlib.contextmanager
def built(source: Path) -> Iterator[Path]:
    """Build the load generator in a folder of its own, beside the yardsticks."""
    if not (source / "phxload.c").exists():
        raise SystemExit(f"compare: there is no phxload.c in {source}; say where it is: --load DIR")
    with tempfile.TemporaryDirectory() as folder:
        load = Path(shutil.copytree(source, Path(folder) / "load"))
        subprocess.run(["make", "--silent", "-C", str(load)], check=True)  # noqa: S603, S607  # whatever make there is
        build_wire(load)
        yield load


def build_wire(load: Path) -> None:
    """Build what translates Socket.IO for the load generator."""
    files = [str(HERE / "peers" / "socketio_wire.c"), "-o", str(load / "socketio_wire.so")]
    subprocess.run(  # noqa: S603  # our own program
        ["cc", "-O2", "-shared", "-fPIC", *files, "-ldl"],  # noqa: S607  # whatever compiler there is
        check=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="row", help=", ".join(ROWS))
    parser.add_argument("--load", type=Path, default=LOAD, help="where phxload and the yardsticks are")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument(
        "--servers", nargs="+", metavar="server", default=[*OWN, *PEERS], help=", ".join([*OWN, *PEERS])
    )
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if unknown := set(options.servers) - {"peer_raw", *OWN, *PEERS}:
        parser.error(f"there is no server {', '.join(unknown)}; there are {', '.join([*OWN, *PEERS])}")
    for name, peer in PEERS.items():
        if name in options.servers and (modules := missing(peer)):
            print(
                f"compare: {name} is left out: {', '.join(modules)} is not installed",
                file=sys.stderr,
            )
    print(
        "| work | server | a second | ratio to peer_raw | wanted | ours / it | µs of processor each | ratio of these |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with built(options.load) as load:
        commands = servers(load, options.servers)
        for name in options.rows or ROWS:
            figures, failed = measure(load, ROWS[name], commands, options.runs, options.seconds)
            report(name, ROWS[name], figures)
            for server, error in failed.items():
                print(f"| {name} | {server} | failed: {error} | | | | | |", flush=True)


if __name__ == "__main__":
    main()
