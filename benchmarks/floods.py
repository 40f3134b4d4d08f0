"""Floods: what one hostile or slow client does to the memory of a server, and to the echoes of a neighbour.

    python benchmarks/floods.py                                    # our server, all floods, some five minutes
    python benchmarks/floods.py --only shouts --only empty_pings   # some of them
    python benchmarks/floods.py --server ashtree-asgi              # the same endpoint on uvicorn
    python benchmarks/floods.py --server websockets                # a server by hand on the package of that name
    python benchmarks/floods.py --loop asyncio --json out.json
    python benchmarks/floods.py --tree ../other/checkout           # the Ashtree of another checkout
    python benchmarks/floods.py --compare before.json after.json   # what these runs have written

Each flood gets a server of its own (`flooding/servers.py`), on the first core; the clients have the last. A neighbour in a
process of its own sends an echo each 10 ms, whether the last one was answered or not (`flooding/neighbour.py`). The floods are
in `flooding/hostile.py`. A line has:

- growth: the most that the server's memory (RSS) rose above what it was before the flood, in MB;
- p50, p99, longest: times of the neighbour's echoes that were due during the flood, in ms;
- CPU: seconds of processor that the server took;
- what the hostile client has seen, and whether all marks are held: 40 MB of growth unless the flood has a mark of its own, p99
  below 20 ms, longest below 100 ms, and the neighbour is answered every echo.

The exit status is 1 if a mark is not held. Machines are noisy: the flood `nothing` shows by how much, and `--again 3` repeats a
flood whose times are above the mark, up to so many times.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from flooding.hostile import FLOODS, Flood, Seen, rest
from flooding.raw_client import RawClient
from flooding.servers import KINDS

HERE = Path(__file__).resolve().parent / "flooding"
PAGE = resource.getpagesize()
TICKS = os.sysconf("SC_CLK_TCK")
P99, LONGEST = 20.0, 100.0
"""The marks of the neighbour, in ms."""


def _on_core(number: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # one core only, or not Linux
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[number]})


class Program:
    """One of our programs in a process of its own, which prints a line when it is ready, and ends with its input."""

    def __init__(
        self, name: str, *arguments: str, core: int = -1, files: int | None = None, log: IO[str] | None = None
    ) -> None:
        def prepare() -> None:
            _on_core(core)
            if files is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(  # noqa: S603  # our own programs
            [sys.executable, str(HERE / name), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            preexec_fn=prepare,  # noqa: PLW1509  # there are no threads here
            text=True,
        )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline().strip()
        if not self.first_line:
            raise RuntimeError(f"{name} {' '.join(arguments)} has ended with status {self.process.wait()}")

    def finish(self) -> Any:
        """End its input; return what it prints."""
        output, _ = self.process.communicate(timeout=120)
        return json.loads(output)

    def leave(self) -> dict[str, object]:
        """End an audience; return what it has seen."""
        seen: dict[str, object] = self.finish()
        return seen

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Memory(NamedTuple):
    """A process's resident memory in bytes: now, and at most since the last reset."""

    now: int
    peak: int


class Watched:
    """A server's process, read from /proc."""

    def __init__(self, pid: int) -> None:
        self.pid, self._folder = pid, Path(f"/proc/{pid}")

    def memory(self) -> Memory:
        lines = (self._folder / "status").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines if line.startswith(("VmRSS", "VmHWM"))}
        return Memory(sizes["VmRSS:"], sizes["VmHWM:"])

    def reset_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5")

    def cpu(self) -> float:
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def files(self) -> int:
        return len(list((self._folder / "fd").iterdir()))


class Stand:
    """A server, its neighbour, and what is measured: the `flooding.hostile.Stage` of one flood."""

    def __init__(self, flood: Flood, options: argparse.Namespace) -> None:
        self.scale: float = options.scale
        self._flood, self._options = flood, options
        self._stack = contextlib.ExitStack()
        self.figures: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._log = self._stack.enter_context(tempfile.TemporaryFile("w+"))
        idle = [] if self._flood.idle is None else ["--idle", str(self._flood.idle)]
        options = self._options
        command = [options.server, "--loop", options.loop, "--ws", options.ws, "--tree", str(options.tree), *idle]
        self._server = self._program("servers.py", *command, core=0, files=self._flood.files, log=self._log)
        self.port = int(self._server.first_line.rpartition(":")[2])
        self.watched = Watched(self._server.process.pid)
        self._neighbour = self._program("neighbour.py", str(self.port))
        rest(0.5)  # the server's first messages are slower than all others
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._stack.close()

    def _program(
        self, name: str, *arguments: str, core: int = -1, files: int | None = None, log: Any = None
    ) -> Program:
        program = Program(name, *arguments, core=core, files=files, log=log)
        self._stack.callback(program.kill)
        return program

    # For the flood

    def client(self) -> RawClient:
        return self._stack.enter_context(RawClient(self.port))

    def audience(self, count: int, topic: str, mode: str) -> Program:
        return self._program("audience.py", str(self.port), str(count), topic, mode)

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        self.watched.reset_peak()
        before, cpu, begun = self.watched.memory().now, self.watched.cpu(), time.monotonic()
        yield
        ended = time.monotonic()
        echoes = [(due, latency) for due, latency in self._neighbour.finish() if begun <= due <= ended]
        self.figures = {
            "seconds": ended - begun,
            **_times([latency for _, latency in echoes]),
            **self._cost(before, cpu),
        }

    def _cost(self, before: int, cpu: float) -> dict[str, Any]:
        if self._server.process.poll() is not None:
            return {"growth": None, "cpu": None, "status": self._server.process.returncode}
        return {"growth": (self.watched.memory().peak - before) / 1e6, "cpu": self.watched.cpu() - cpu}

    def files(self) -> int:
        return self.watched.files()

    def stop_for(self, seconds: float) -> None:
        self._server.process.send_signal(signal.SIGSTOP)
        rest(seconds)
        self._server.process.send_signal(signal.SIGCONT)

    def log_lines(self) -> int:
        with open(f"/proc/self/fd/{self._log.fileno()}", encoding="utf-8", errors="replace") as lines:
            return sum(1 for _ in lines)

    def log(self) -> str:
        with open(f"/proc/self/fd/{self._log.fileno()}", encoding="utf-8", errors="replace") as lines:
            return lines.read(20_000)


def _times(latencies: list[float | None]) -> dict[str, Any]:
    """Return the neighbour's figures, in ms."""
    answered = sorted(latency * 1000 for latency in latencies if latency is not None)
    figures: dict[str, Any] = {"echoes": len(latencies), "lost": len(latencies) - len(answered)}
    for name, share in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0)):
        figures[name] = answered[min(int(len(answered) * share), len(answered) - 1)] if answered else None
    return figures


def failings(flood: Flood, seen: Seen, figures: dict[str, Any]) -> list[str]:
    """Return the marks that are not held."""
    if figures["growth"] is None:
        return [f"the server ended with status {figures['status']}"]
    found = [] if seen.held else ["outcome"]
    if figures["lost"]:
        found.append("echoes lost")
    if figures["growth"] > flood.growth:
        found.append("growth")
    if flood.cpu is not None and figures["cpu"] > flood.cpu:
        found.append("CPU")
    return found + slow(flood, figures)


def slow(flood: Flood, figures: dict[str, Any]) -> list[str]:
    """Return the marks of time that are not held."""
    if not flood.timed or figures["longest"] is None:
        return []
    return ["p99"] * (figures["p99"] >= P99) + ["longest"] * (figures["longest"] >= LONGEST)


def measure(name: str, flood: Flood, options: argparse.Namespace) -> dict[str, Any]:
    """Play one flood on a server of its own."""
    with Stand(flood, options) as stand:
        try:
            seen = flood.play(stand)
        except OSError as error:
            seen = Seen(f"{type(error).__name__}: {error}", held=False)
        figures = stand.figures
        if options.log:
            print(stand.log(), file=sys.stderr)
    if not figures:
        raise RuntimeError(f"{name}: {seen.text}")
    return {"flood": name, "title": flood.title, **figures, "seen": seen.text, "failed": failings(flood, seen, figures)}


def measured_again(name: str, flood: Flood, options: argparse.Namespace) -> dict[str, Any]:
    """Play a flood again while only its times are above the marks, at most so many times in all; return the last."""
    for _ in range(options.again - 1):
        row = measure(name, flood, options)
        if not {"p99", "longest"}.intersection(row["failed"]):
            return row
    return measure(name, flood, options)


COLUMNS = "| flood | growth, MB | p50, ms | p99 | longest | CPU, s | outcome | |\n|---|---|---|---|---|---|---|---|"


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    cells = [_number(row[name]) for name in ("growth", "p50", "p99", "longest", "cpu")]
    verdict = f"**{', '.join(row['failed'])}**" if row["failed"] else "held"
    return "| " + " | ".join([f"{row['title']} (`{row['flood']}`)", *cells, row["seen"], verdict]) + " |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def compare(files: list[Path]) -> None:
    """Print the figures of several runs side by side: growth in MB, p99 and longest in ms."""
    runs = [{row["flood"]: row for row in json.loads(file.read_text())} for file in files]
    print("| flood | " + " | ".join(file.stem for file in files) + " |")
    print("|---" * (len(files) + 1) + "|")
    for name, flood in FLOODS.items():
        if cells := [summary(run.get(name)) for run in runs if any(name in other for other in runs)]:
            print("| " + " | ".join([f"`{name}`: {flood.title}", *cells]) + " |")


def summary(row: dict[str, Any] | None) -> str:
    """Return the figures of a flood in one cell; bold if a mark is not held."""
    if row is None:
        return ""
    times = " / ".join(_number(row[name]) or "?" for name in ("growth", "p99", "longest"))
    return f"**{times}**" if row["failed"] else times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=KINDS, default="ashtree")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--ws", default="auto", help="uvicorn's implementation of WebSockets")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help=", ".join(FLOODS))
    parser.add_argument("--scale", type=float, default=1.0, help="how much of each flood")
    parser.add_argument("--again", type=int, default=1, metavar="TIMES")
    parser.add_argument("--tree", type=Path, default=HERE.parent.parent, help="the checkout whose Ashtree is served")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--log", action="store_true", help="show what the servers log")
    parser.add_argument(
        "--compare", nargs="+", type=Path, metavar="FILE", help="show files of figures side by side, and end"
    )
    options = parser.parse_args()
    if options.compare:
        compare(options.compare)
        return
    if unknown := set(options.only) - set(FLOODS):
        parser.error(f"there is no flood {', '.join(unknown)}; there are {', '.join(FLOODS)}")
    _on_core(-1)
    sys.exit(run(options))


def run(options: argparse.Namespace) -> int:
    """Play the floods that were asked for; return the exit status."""
    rows: list[dict[str, Any]] = []
    print(COLUMNS, flush=True)
    for name in options.only or FLOODS:
        if options.server in FLOODS[name].servers:
            rows.append(measured_again(name, FLOODS[name], options))
            print(line(rows[-1]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
    return 1 if any(row["failed"] for row in rows) else 0


if __name__ == "__main__":
    main()
