"""The demo as a subprocess, for tests over real connections."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Self

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
WAIT = float(os.environ.get("ASHTREE_TEST_WAIT", "15"))
"""Seconds after which something awaited is taken for missing; for slow machines it is set from outside."""


class LiveDemo:
    """A running `demo.py`, or another script with its options and variables, on a free port; it must end with status 0.

    `address` is its `http://127.0.0.1:<port>`, `output` the lines it has printed so far.
    """

    def __init__(
        self,
        script: Path = ROOT / "demo.py",
        *options: str,
        python: str | Path = sys.executable,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.script, self.options, self.python = script, options, python
        self.environment = {**os.environ, **(variables or {})}
        self.address = ""
        self.output: list[str] = []
        self._is_over = False
        self._addresses: SimpleQueue[str | None] = SimpleQueue()

    @property
    def websocket_address(self) -> str:
        return self.address.replace("http:", "ws:", 1)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603  # our own script
            [self.python, self.script, *self.options, "--host", "127.0.0.1", "--port", "0"],
            cwd=self.script.parent,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = Thread(target=self._read, name="demo output", daemon=True)
        self._reader.start()
        try:
            self.address = self._printed_address()
        except BaseException:
            self._process.kill()
            self._end()
            raise
        return self

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.output.append(line)
                if found := ADDRESS.search(line):
                    self._addresses.put(found.group())
        self._addresses.put(None)

    def _printed_address(self) -> str:
        try:
            address = self._addresses.get(timeout=WAIT)
        except Empty:
            address = None
        if address is None:
            self._process.kill()
            status = self._end()
            raise RuntimeError(f"{self.script.name} printed no address (exit status {status}):\n{''.join(self.output)}")
        return address

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """Return the exit status of a demo that was told to end; that it is not 0 is then right."""
        self._is_over = True
        return self._end()

    def __exit__(self, *_: object) -> None:
        if self._is_over:
            return
        self._process.terminate()
        status = self._end()
        if status != 0:
            raise RuntimeError(f"{self.script.name} ended with status {status}:\n{''.join(self.output)}")

    def _end(self) -> int:
        """Return the exit status once the process and its last output are gone."""
        try:
            status = self._process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait(WAIT)
        self._reader.join(WAIT)
        return status


@pytest.fixture(scope="session")
def demo() -> Iterator[LiveDemo]:
    with LiveDemo() as running:
        yield running
