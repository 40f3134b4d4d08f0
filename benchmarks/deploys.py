"""A deploy: the old server drains its clients in batches while the new one accepts on the same port.

    python benchmarks/deploys.py                                  # 2,000 clients, a fourth of them phoenix.js under node
    python benchmarks/deploys.py --clients 200 --javascript 0 --batch-size 50 --batch-interval 0.5

Both servers are the demo, with `--reuse-port`. All clients have joined a topic. The old server gets SIGTERM; each client
measures when it is closed, by which code, and when it has joined again at the new server. Our client and the stock phoenix.js
have their default back-off. It prints the batches, when clients were closed after the signal, for how long they were away, and
how many joined again in the busiest tenth of a second. The exit status is 1 unless every client was closed by 1012 and is
back, and the old server ended with 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from transport.client import Socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parent.parent
JAVASCRIPT = ROOT / "tests" / "javascript"
DEADLINE = 120.0
"""Seconds after which something hangs."""
AT_ONCE = 50
"""Clients that connect at the same time, before the deploy."""


@dataclass
class Row:
    """What one client saw: its close code, and when it was closed and had joined again, in seconds since 1970."""

    code: int | None = None
    closed: float = 0.0
    back: float | None = None


@asynccontextmanager
async def server(port: int, log: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the demo on a port that others may have too."""
    command = [str(ROOT / "demo.py"), "--port", str(port), "--reuse-port", *options]
    with log.open("w") as written:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=written
        )
    try:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), DEADLINE)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Clients:
    """Clients of ours."""

    def __init__(self, url: str, count: int) -> None:
        self.rows = [Row() for _ in range(count)]
        self._url, self._sockets = url, [Socket(url, params={"user": f"user{number}"}) for number in range(count)]
        self._all_back = asyncio.Event()

    async def start(self) -> None:
        """Connect and join all."""
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._start(gate, *pair) for pair in zip(self._sockets, self.rows, strict=True)))

    async def _start(self, gate: asyncio.Semaphore, client: Socket, row: Row) -> None:
        joined = asyncio.Event()

        def on_close(code: int, _reason: str) -> None:
            if row.code is None:
                row.code, row.closed = code, time.time()

        def on_join(_response: object) -> None:
            joined.set()
            if row.code is not None and row.back is None:
                row.back = time.time()
                if all(each.back is not None for each in self.rows):
                    self._all_back.set()

        async with gate:
            client.on_close(on_close)
            client.connect()
            client.channel("bench:drained").join().receive("ok", on_join)
            await joined.wait()

    async def finish(self) -> list[Row]:
        """Wait until all are back, and disconnect them."""
        if self.rows:
            await self._all_back.wait()
        await asyncio.gather(*(client.close() for client in self._sockets))
        return self.rows


class PhoenixClients:
    """Stock clients, in node."""

    def __init__(self, url: str, count: int) -> None:
        self._arguments = [str(JAVASCRIPT / "drained.mjs"), url, str(count), str(DEADLINE)]
        self._count = count

    async def start(self) -> None:
        """Connect and join all."""
        if self._count:
            self._node = await asyncio.create_subprocess_exec(
                "node", *self._arguments, stdout=asyncio.subprocess.PIPE, limit=2**24
            )
            line = await self._line()
            assert line == b"ready\n", line

    async def _line(self) -> bytes:
        assert self._node.stdout is not None
        return await self._node.stdout.readline()

    async def finish(self) -> list[Row]:
        """Wait until all are back, and end node."""
        if not self._count:
            return []
        found = json.loads(await self._line())
        await self._node.wait()
        return [Row(code, (closed or 0) / 1000, back and back / 1000) for code, closed, back in found]


async def deploy(options: argparse.Namespace) -> dict[str, Any]:
    """Replace a server by another one; return what the clients saw, its exit status, and how long it took to end."""
    port = _free_port()
    url, counts = f"ws://127.0.0.1:{port}/socket", (options.clients - options.javascript, options.javascript)
    drain = ("--drain-batch-size", str(options.batch_size), "--drain-batch-interval", str(options.batch_interval))
    async with AsyncExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "old.log"
        old = await stack.enter_async_context(server(port, log, *drain))
        ours, stock = Clients(url, counts[0]), PhoenixClients(url, counts[1])
        await asyncio.gather(ours.start(), stock.start())
        await stack.enter_async_context(server(port, log.with_name("new.log")))
        began = time.time()
        old.send_signal(signal.SIGTERM)
        status = await old.wait()
        took = time.time() - began
        rows = await asyncio.gather(ours.finish(), stock.finish())
        rounds = [int(size) for size in re.findall(r"DRAINING (\d+) ", log.read_text())]
        clients = {"ours": rows[0], "phoenix.js": rows[1]}
        return {"began": began, "status": status, "took": took, "rounds": rounds, **clients}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def report(result: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a deploy."""
    rows: list[Row] = [*result["ours"], *result["phoenix.js"]]
    codes = Counter(row.code for row in rows)
    return {
        "status": result["status"],
        "seconds": round(result["took"], 2),
        "rounds": result["rounds"],
        "codes": {str(code): count for code, count in codes.items()},
        "closed": _shares([row.closed - result["began"] for row in rows]),
        "away": {kind: _away(result[kind]) for kind in ("ours", "phoenix.js") if result[kind]},
        "busiest": max(Counter(int((row.back or 0) * 10) for row in rows).values()),
        "lost": sum(row.back is None for row in rows),
    }


def _away(rows: Sequence[Row]) -> dict[str, float]:
    """Return for how many seconds clients were away."""
    return _shares([row.back - row.closed for row in rows if row.back is not None])


def _shares(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    shares = [("p50", 0.5), ("p99", 0.99), ("max", 1)]
    return {name: round(ordered[int(share * (len(ordered) - 1))], 3) for name, share in shares}


def main() -> None:
    """Run a deploy, and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=2_000)
    parser.add_argument(
        "--javascript", type=int, help="of these, phoenix.js under node; a fourth if `make test` has installed it"
    )
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--batch-interval", type=float, default=2.0)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if options.javascript is None:
        has_client = shutil.which("node") and (JAVASCRIPT / "node_modules").exists()
        options.javascript = options.clients // 4 if has_client else 0
    figures = report(asyncio.run(asyncio.wait_for(deploy(options), 2 * DEADLINE)))
    print(json.dumps(figures, indent=2))
    if options.json is not None:
        options.json.write_text(json.dumps(figures))
    is_fine = figures["status"] == figures["lost"] == 0 and set(figures["codes"]) == {"1012"}
    sys.exit(not is_fine)


if __name__ == "__main__":
    main()
