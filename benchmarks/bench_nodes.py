"""Nodes for measurements: bench servers that a Redis of their own connects."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

SERVER = Path(__file__).with_name("server.py")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Program(NamedTuple):
    """A running process, and the port where it listens, if it does."""

    process: subprocess.Popen[str]
    port: int

    def processor_time(self) -> float:
        """Return the seconds of the processor that it has taken."""
        return processor_time(self.process.pid)

    def memory(self) -> int:
        """Return its resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def end(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        self.process.communicate()


def processor_time(pid: int) -> float:
    """Return the seconds of the processor that the threads of a process have taken; exact, where the clock ticks are not."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


@contextmanager
def redis_server() -> Iterator[tuple[Program, str]]:
    """Run a Redis on a Unix socket; give it and its URL."""
    name = shutil.which("redis-server") or shutil.which("valkey-server")
    if name is None:
        raise SystemExit("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", "0", "--unixsocket", f"{folder}/redis.sock", "--save", "", "--dir", folder]
        process = subprocess.Popen([name, *options], stdout=subprocess.PIPE, text=True)  # noqa: S603  # as installed
        assert process.stdout is not None
        while "ready to accept connections" not in process.stdout.readline().lower():
            pass
        try:
            yield Program(process, 0), f"unix://{folder}/redis.sock"
        finally:
            process.kill()
            process.communicate()


def node(*options: str) -> Program:
    """Start a node; return it when it accepts."""
    command = [sys.executable, str(SERVER), *(options if "--port" in options else ("--port", "0", *options))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
    assert process.stdout is not None
    return Program(process, int(process.stdout.readline().rpartition(":")[2]))


@contextmanager
def nodes(count: int, *options: str) -> Iterator[list[Program]]:
    """Run so many nodes; each that is still in the list at the end is ended."""
    with ExitStack() as stack:
        started: list[Program] = []
        stack.callback(lambda: [each.end(signal.SIGKILL) for each in started if each.process.poll() is None])
        started.extend(node(*options) for _ in range(count))
        yield started
