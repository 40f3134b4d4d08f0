"""A Redis of the program's own: what it needs, how it starts and ends, and that it outlives no one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from actors.pubsub.redis.private_server import PrivateServer, PrivateServerError
from tests.children import in_child, needs_fork, runs, sleeping_child
from tests.live import ROOT, WAIT
from tests.servers.redis_server import PROGRAM, until

pytestmark = [needs_fork, pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the directories be made in an empty one, so that what is left behind is seen."""
    # Not the test's own, whose path may be too long for a socket.
    place = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))


@pytest.fixture
def place(here: None) -> Iterator[Path]:
    yield Path(tempfile.gettempdir())
    os.rmdir(tempfile.gettempdir())  # it is empty


@pytest.fixture
def server(place: Path) -> Iterator[PrivateServer]:
    server = PrivateServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ping(url: str) -> bool:
    with redis.Redis.from_url(url, socket_timeout=WAIT) as client:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False


# Start


def test_it_serves_its_url_as_soon_as_it_has_started(server: PrivateServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert client.config_get("port", "save", "appendonly", "maxmemory") == {
            "port": "0",
            "save": "",
            "appendonly": "no",
            "maxmemory": "0",
        }


def test_only_this_user_can_reach_it(server: PrivateServer, place: Path) -> None:
    (directory,) = place.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_it_is_a_child_in_the_session_of_its_parent(server: PrivateServer) -> None:
    assert os.waitpid(server.pid, os.WNOHANG) == (0, 0)
    assert os.getsid(server.pid) == os.getsid(0)


def test_a_path_may_have_blanks(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = place / "a b%20?#"
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(odd))
    server = PrivateServer()
    try:
        assert ping(server.start())
    finally:
        server.stop()
        odd.rmdir()
        monkeypatch.setattr(tempfile, "tempdir", str(place))


def test_where_the_path_would_be_too_long_for_a_socket_another_place_is_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place / ("long" * 20)))
    server = PrivateServer()
    try:
        assert server.start().startswith("unix:///tmp/ashtree-")
    finally:
        server.stop()
        monkeypatch.setattr(tempfile, "tempdir", str(place))


def test_valkey_will_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PROGRAM is not None
    bin_ = place / "bin"
    bin_.mkdir()
    (bin_ / "valkey-server").write_text(f'#!/bin/sh\nexec {PROGRAM} "$@"\n')
    (bin_ / "valkey-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_))
    server = PrivateServer()
    try:
        assert ping(server.start())
    finally:
        server.stop()
        (bin_ / "valkey-server").unlink()
        bin_.rmdir()


def test_without_a_program_one_line_says_what_to_do(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(PrivateServerError) as raised:
        PrivateServer()
    text = str(raised.value)
    assert "\n" not in text
    assert "install redis-server or valkey-server" in text
    assert "--redis URL" in text


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 'out of luck'; exit 3", "has ended at once: out of luck"),
        ("exit 0", "has ended at once: it has logged nothing"),
        ("exec sleep 60", "does not answer within 0.2 s"),
    ],
    ids=["says why", "says nothing", "hangs"],
)
def test_a_server_that_does_not_start_is_one_line_and_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, script: str, text: str
) -> None:
    program = place / "redis-server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setattr(PrivateServer, "start_timeout", 0.2 if "sleep" in script else WAIT)
    with pytest.raises(PrivateServerError) as raised:
        PrivateServer().start()
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    program.unlink()


def test_a_program_that_cannot_be_run_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = place / "redis-server"
    program.write_text("#!/nowhere/interpreter\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(PrivateServerError, match="cannot be started"):
        PrivateServer().start()
    program.unlink()


# Restart


def test_it_is_started_again_at_the_same_url(server: PrivateServer) -> None:
    url, before = server.url, server.pid
    os.kill(server.pid, signal.SIGKILL)
    assert os.waitpid(-1, 0)[0] == before
    assert not ping(url)
    assert server.last_log_line() == ""
    server.restart()
    until(lambda: ping(url))
    assert server.pid != before


def test_what_it_says_at_its_end_can_be_read(server: PrivateServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.shutdown(nosave=True)
    os.waitpid(server.pid, 0)
    assert "bye" in server.last_log_line()


# Its end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_of_the_program_does_not_end_it(server: PrivateServer, number: int) -> None:
    os.kill(server.pid, number)
    assert ping(server.url)
    assert os.waitpid(server.pid, os.WNOHANG) == (0, 0)


def test_nothing_is_left_when_it_is_stopped(server: PrivateServer, place: Path) -> None:
    pid = server.pid
    server.stop()
    assert not runs(pid)
    assert list(place.iterdir()) == []
    server.stop()  # does no harm


def test_a_frozen_one_is_stopped_too(server: PrivateServer) -> None:
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()
    assert not runs(pid)


def test_it_is_stopped_when_the_parent_has_seen_its_end_already(server: PrivateServer, place: Path) -> None:
    os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)
    server.stop()
    assert list(place.iterdir()) == []


def test_a_forked_process_that_ends_does_not_stop_it(server: PrivateServer) -> None:
    in_child(server.stop)
    assert ping(server.url)


def test_a_forked_process_does_not_keep_it_busy(server: PrivateServer) -> None:
    pid = server.pid
    with sleeping_child():
        server.stop()
        assert not runs(pid)


PARENT = """
import os, sys
from actors.pubsub.redis.private_server import PrivateServer
server = PrivateServer()
server.start()
if not os.fork():
    print(server.pid, flush=True)
    sys.stdin.readline()
    server.stop_orphan()
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux ends it")
def test_it_dies_with_its_parent_and_a_process_that_is_left_removes_the_directory(place: Path, frozen: bool) -> None:  # noqa: FBT001
    with subprocess.Popen(  # noqa: S603  # our own
        [sys.executable, "-c", PARENT], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if frozen:
            os.kill(pid, signal.SIGSTOP)
        parent.kill()
        until(lambda: not runs(pid))
        assert len(list(place.iterdir())) == 1
        parent.communicate("\n", timeout=WAIT)
    until(lambda: not list(place.iterdir()))


def test_what_has_outlived_its_parent_elsewhere_is_stopped(server: PrivateServer, place: Path) -> None:
    """On other systems than Linux it does outlive it."""
    in_child(server.stop_orphan)
    os.waitpid(server.pid, 0)
    assert list(place.iterdir()) == []
