"""A program tells systemd that it is ready, and that it stops."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.testing import WAIT
from supervisors.service_manager import READY, STOPPING, notify

ROOT = Path(__file__).resolve().parent.parent.parent

# It is told to stop by what it runs when it has started.
PROGRAM = """
import os, signal
from supervisors.system import System

System([]).run(lambda _: os.kill(os.getpid(), signal.SIGTERM))
"""


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(WAIT)
        yield listening


def test_a_program_tells_that_it_is_ready_and_that_it_stops(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with manager(path) as systemd:
        done = subprocess.run(  # noqa: S603  # our own code
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env=os.environ | {"NOTIFY_SOCKET": path},
            timeout=10 * WAIT,
            check=False,
        )
        assert [systemd.recv(100).decode() for _ in range(2)] == [READY, STOPPING]
    assert done.returncode == 0


def test_the_address_may_be_abstract(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"ashtree-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with manager(f"\0{name}") as systemd:
        notify(READY)
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "vsock:2:1234", "/" + "x" * 200], ids=repr)
def test_without_a_manager_that_listens_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify(READY)
