"""A program in a pseudo-terminal, used by what it shows and what is typed."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING, Self

from tests.live import ROOT, WAIT

if TYPE_CHECKING:
    from pathlib import Path

# Colours, and what else goes to a terminal and is no text (ECMA-48).
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\x01\x02\x07]")

# The first terminal that the leader of a session opens is the one whose Ctrl-C is a signal to it.
_TAKE_TERMINAL = "import os, sys; os.open(sys.argv[1], os.O_RDWR); os.execv(sys.argv[2], sys.argv[2:])"

CTRL_C, CTRL_D, TAB = "\x03", "\x04", "\t"


class TerminalSession:
    """A Python program that believes to be in a terminal of 50 lines of 200 columns; it must end by itself, with status 0.

    `prompt` is a regular expression for what it shows when it waits for a line. `raw` is all that it has written.
    """

    def __init__(self, *arguments: str, prompt: str = r">>> ", **environment: str) -> None:
        self._prompt = prompt
        self._command = [sys.executable, *arguments]
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", **environment}
        self.raw = ""
        self._read_up_to = 0
        self._decode = codecs.getincrementaldecoder("utf-8")().decode

    def __enter__(self) -> Self:
        self._terminal, other_end = pty.openpty()
        fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.process = subprocess.Popen(  # noqa: S603  # our own programs
            [sys.executable, "-c", _TAKE_TERMINAL, os.ttyname(other_end), *self._command],
            cwd=ROOT,
            env=self._environment,
            stdin=other_end,
            stdout=other_end,
            stderr=other_end,
            start_new_session=True,
        )
        os.close(other_end)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            status = self.process.wait(0 if kind else WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait(WAIT)
        os.close(self._terminal)
        assert kind is not None or status == 0, f"it ended with status {status}:\n{self.raw}"

    @property
    def text(self) -> str:
        """What it has written, without colours."""
        return _CONTROL.sub("", self.raw).replace("\r\n", "\n").replace("\r", "")

    def until(self, pattern: str) -> str:
        """Read until what it writes fits a pattern; return what came before."""
        wanted, deadline = re.compile(pattern), time.monotonic() + WAIT
        while not (found := wanted.search(self.text, self._read_up_to)):
            assert self._read(deadline), f"it has ended without {pattern!r}:\n{self.text}"
        before = self.text[self._read_up_to : found.start()]
        self._read_up_to = found.end()
        return before

    def _read(self, deadline: float) -> bool:
        """Read what is available, waiting for it until the deadline; return whether there may be more."""
        ready, _, _ = select.select([self._terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"it has written no more than this in {WAIT} s:\n{self.text}"
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # the end, on Linux
            return False
        self.raw += self._decode(data)
        return bool(data)

    def until_prompt(self) -> str:
        """Read until it waits for a line; return what it wrote before."""
        return self.until(self._prompt)

    def type(self, keys: str) -> None:
        """Press some keys."""
        os.write(self._terminal, keys.encode())

    def interrupt(self) -> str:
        """Press Ctrl-C while a line is typed; return what it shows until it waits for the next line.

        A signal that comes just before readline begins to wait for a key is seen after the next line, so one is sent. What is
        shown of that one, at the interrupted prompt or at a prompt of its own, ends with the answer to a line after it.
        """
        self.type(f"{CTRL_C}\n'inter' 'rupted'\n")
        shown = self.until(r"'interrupted'\n")
        self.until_prompt()
        return shown

    def wake(self) -> None:
        """Press return: a signal that comes just before readline begins to wait for a key is seen after the next line."""
        self.type("\n")

    def run(self, line: str) -> str:
        """Type a line; return what it answers until it waits for the next."""
        self.type(f"{line}\n")
        self.until(re.escape(line) + r" *\n")
        answer = self.until_prompt().rstrip("\n")  # the prompt of Python 3.13 and later writes one more line end
        return f"{answer}\n" if answer else ""

    def end(self) -> str:
        """Press Ctrl-D, and return what it still writes, when it has ended."""
        self.type(CTRL_D)
        return self.rest()

    def rest(self) -> str:
        """Return what it writes until it ends."""
        deadline = time.monotonic() + WAIT
        while self._read(deadline):
            pass
        return self.text[self._read_up_to :]

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.process.send_signal(signal.SIGTERM)


def without(module: str, folder: Path) -> dict[str, str]:
    """Return the environment of a program for which a module is not installed."""
    (folder / f"{module}.py").write_text(f"raise ImportError({module!r})\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
