"""The process of the server under test: commands, signals, and what it has written."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from havoc.census import Census, differences

VICTIM = Path(__file__).resolve().parent / "victim.py"
DEADLINE = 60.0
"""Seconds after which something hangs."""
AGAIN = 0.2
"""Seconds between two polls of a condition that no message reports."""

_REST = 2.0
"""Seconds in which a server that is at rest has not changed."""


class Victim:
    """A server in a process of its own."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = 0
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(VICTIM),
            *self._options,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=2**24,
        )
        self.port = int(await self._line())

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server has ended with status {await self._process.wait()}")
        return line

    async def ask(self, command: str, *arguments: object) -> Any:
        """Let it carry out a command; return its answer."""
        assert self._process.stdin is not None
        async with self._asking:
            self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
            return json.loads(await self._line())

    async def census(self) -> Census:
        taken: Census = await self.ask("census")
        return taken

    async def settles(self, before: Census) -> list[str]:
        """Wait until it has what it had before; return what is different after a minute."""
        end = asyncio.get_running_loop().time() + DEADLINE
        while left := differences(before, await self.census()):
            if asyncio.get_running_loop().time() > end:
                return left
            await asyncio.sleep(AGAIN)
        return []

    async def rested(self) -> Census:
        """Wait until nothing changes any more; return what it then has."""
        before = await self.census()
        while True:
            await asyncio.sleep(_REST)
            after = await self.census()
            if not differences(before, after):
                return after
            before = after

    async def freeze(self, seconds: float) -> None:
        """Let it stand still."""
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> list[str]:
        """End it as an operator does; return what was wrong with that."""
        async with self._asking:
            self._process.terminate()
            faults: list[str] = json.loads(await self._line())
            async with asyncio.timeout(DEADLINE):
                status = await self._process.wait()
        return [*faults, f"the server's exit status is {status}"] if status else faults

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


class Service:
    """Servers on one port, one after the other: a deploy puts another one in the place of the current one."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.current = Victim(*options)
        self._is_deploying = False

    async def start(self) -> None:
        await self.current.start()

    async def deploy(self) -> list[str]:
        """Start another server beside the current one, which then drains; return what was wrong with its end.

        During a deploy there is no other one.
        """
        if self._is_deploying:
            return []
        self._is_deploying = True
        old, new = self.current, Victim(*self._options, "--port", str(self.current.port))
        await new.start()
        self.current = new
        try:
            return [*await old.ask("surprises"), *await old.stop()]
        finally:
            old.kill()
            self._is_deploying = False
