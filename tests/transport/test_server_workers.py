"""The warning under a server with several workers, on the real servers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.pubsub.pubsub import PubSub
from supervisors import System
from tests.children import needs_fork
from tests.live import ROOT, WAIT
from tests.servers.redis_server import free_port, until
from tests.transport.test_endpoint import Bridge
from tests.transport.wire import on_loop
from transport import Endpoint, Socket, server_workers
from transport.server_workers import server_workers as workers_of

SPLIT = "rooms are split"

UVICORN = [sys.executable, "-m", "uvicorn", "tests.asgi_demo:app", "--port", "{port}"]
GUNICORN = [sys.executable, "-m", "gunicorn", "-k", "asgi", "tests.asgi_demo:app", "-b", "127.0.0.1:{port}"]
GUNICORN += ["--no-control-socket"]
HYPERCORN = [sys.executable, "-m", "hypercorn", "tests.asgi_demo:app", "-b", "127.0.0.1:{port}"]
GRANIAN = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", "{port}", "tests.asgi_demo:app"]

# As on Python 3.14, where it does not fork its workers.
SPAWNED_GRANIAN = [
    sys.executable,
    "-c",
    "import multiprocessing as m; from granian.cli import cli; m.parent_process() or m.set_start_method('spawn'); cli()",
    *GRANIAN[3:],
]


class Site:
    """The demo on a server that is started as from a shell."""

    def __init__(self, output: Path, port: int) -> None:
        self._output, self._port = output, port

    def warnings(self, server: str, workers: int) -> int:
        """Return how often it has been logged that this server has so many workers."""
        return self._output.read_text().count(f"{SPLIT}: this is one of {workers} workers of {server}, and nothing")

    def is_silent(self) -> bool:
        return SPLIT not in self._output.read_text()

    def serves(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health/ready", timeout=WAIT) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False


@contextmanager
def site(directory: Path, command: list[str], *options: str, **variables: str) -> Iterator[Site]:
    port, output = free_port(), directory / "output"
    full = [word.format(port=port) for word in command] + list(options)
    with output.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own
            full, cwd=ROOT, env=os.environ | variables, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Site(output, port)
    finally:
        # With all of its workers; how a server ends is not what is tested.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(WAIT)


@needs_fork
@pytest.mark.parametrize(
    ("server", "command", "options"),
    [
        ("uvicorn", UVICORN, ["--workers", "2"]),
        ("gunicorn", GUNICORN, ["-w", "2"]),
        ("hypercorn", HYPERCORN, ["-w", "2"]),
        ("granian", GRANIAN, ["--workers", "2"]),
    ],
    ids=["uvicorn", "gunicorn", "hypercorn", "granian"],
)
def test_each_of_two_workers_warns_once(tmp_path: Path, server: str, command: list[str], options: list[str]) -> None:
    pytest.importorskip(server)
    with site(tmp_path, command, *options) as running:
        until(lambda: running.warnings(server, 2) == 2)


@pytest.mark.parametrize(("server", "command"), [("uvicorn", UVICORN), ("gunicorn", GUNICORN)])
def test_the_number_may_come_from_the_environment(tmp_path: Path, server: str, command: list[str]) -> None:
    pytest.importorskip(server)
    with site(tmp_path, command, WEB_CONCURRENCY="3") as running:
        until(lambda: running.warnings(server, 3) == 3)


def test_workers_that_are_not_told_their_number_count_themselves(tmp_path: Path) -> None:
    pytest.importorskip("granian")
    with site(tmp_path, SPAWNED_GRANIAN, "--workers", "2") as running:
        until(lambda: running.warnings("granian", 2) == 1)


@pytest.mark.parametrize(
    ("server", "command", "options"),
    [
        ("uvicorn", UVICORN, ["--workers", "1"]),
        ("uvicorn", UVICORN, ["--reload", "--reload-dir", "fuzz"]),
        ("gunicorn", GUNICORN, ["-w", "1"]),
        ("hypercorn", HYPERCORN, ["-w", "1"]),
        ("granian", GRANIAN, ["--workers", "1"]),
    ],
    ids=["uvicorn", "uvicorn that reloads", "gunicorn", "hypercorn", "granian"],
)
def test_one_worker_does_not_warn(tmp_path: Path, server: str, command: list[str], options: list[str]) -> None:
    """Whatever the environment says of others."""
    pytest.importorskip(server)
    with site(tmp_path, command, *options, WEB_CONCURRENCY="2") as running:
        until(running.serves)
        assert running.is_silent()


def test_a_server_in_the_program_itself_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    config = uvicorn.Config("tests.asgi_demo:app")
    assert config.workers == 2
    assert workers_of() == ("uvicorn", 1)


# What connects the workers


async def warnings_with(pubsub: PubSub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> int:
    monkeypatch.setattr(server_workers, "server_workers", lambda: ("gunicorn", 4))
    caplog.set_level(logging.WARNING)
    endpoint = Endpoint({"/socket": Socket}, secret_key="s" * 32, port=None)
    for _ in range(2):
        async with System([endpoint], pubsub=pubsub):
            pass
    return sum(SPLIT in record.getMessage() for record in caplog.records)


@on_loop
async def test_an_adapter_is_an_answer(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert await warnings_with(PubSub(adapter=Bridge()), monkeypatch, caplog) == 0


@on_loop
async def test_an_endpoint_that_starts_again_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await warnings_with(PubSub(), monkeypatch, caplog) == 1
    assert "one of 4 workers of gunicorn" in caplog.text
    assert "RedisPubSub" in caplog.text
