"""Runs programs in forks of one process that has imported `ashtree`: each starts in milliseconds instead of half a second."""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 60
"""Seconds that a program may take; then SIGALRM ends it."""


class Forks:
    """The process that forks, while the `with` block runs; it runs one program at a time."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(  # noqa: S603  # this file
            [sys.executable, __file__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=2 * LIMIT)

    def run(self, program: Path, directory: Path, *, imported: bool = False) -> tuple[int, str, str]:
        """Run a program in a directory, as a script or by importing it; return its exit status, output and errors."""
        out, err = directory / "stdout", directory / "stderr"
        request = {
            "program": str(program),
            "imported": imported,
            "cwd": str(directory),
            "out": str(out),
            "err": str(err),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{json.dumps(request)}\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        return status, out.read_text(), err.read_text()


def serve() -> dict[str, Any]:
    """Fork for each request and print how the child exited; return in the child."""
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            request: dict[str, Any] = json.loads(line)
            return request
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201  # the answer
    raise SystemExit


def become(request: dict[str, Any]) -> None:
    """Run the program; what it does not catch ends this process, as it ends any program."""
    signal.alarm(LIMIT)
    for descriptor, path in enumerate((os.devnull, request["out"], request["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(request["cwd"])
    sys.path[:1] = paths = [request["cwd"], str(ROOT)]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    sys.argv = [request["program"]]
    if request["imported"]:
        __import__(Path(request["program"]).stem)
    else:
        runpy.run_path(request["program"], run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    import pytest  # noqa: F401  # for the forks

    import ashtree  # noqa: F401  # as above

    gc.freeze()  # what the garbage collector leaves alone is not copied into each fork
    become(serve())
