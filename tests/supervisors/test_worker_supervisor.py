"""`System.run(workers=…)` of small programs: how workers that fail, hang or end are dealt with."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.live import ROOT, WAIT
from tests.servers.redis_server import PROGRAM as REDIS
from tests.servers.redis_server import until

PROGRAM = '''
import asyncio
import atexit
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil

from actors import Actor, Adapter, PubSub
from supervisors import ChildSpec, Supervisor, System, UnavailableError
from supervisors.workers.worker import this_worker


def say(*line):
    os.write(1, (" ".join(map(str, line)) + "\\n").encode())


class Deaf(Adapter):
    """Connects nothing, so that no Redis is started."""

    def publish(self, topic, data): ...
    def subscribed(self, topic): ...
    def unsubscribed(self, topic): ...


class Telling(Deaf):
    def publish(self, topic, data):
        say("publishes", repr(topic))


class Child(Actor):
    def terminate(self, reason):
        say("ends", reason)


class Last(Actor):
    """Lets all others stop before it, in one of the workers."""

    async def terminate(self, reason):
        if this_worker().number == 1:
            while len(psutil.Process(PARENT).children()) > 1:
                await asyncio.sleep(0)
            # What the parent has to say of them comes before its answer.
            await this_worker().gather("nothing")


class Failing(Actor):
    def on_start(self):
        raise OSError("the disk is full")


class Lacking(Actor):
    def on_start(self):
        raise UnavailableError("there is no disk")


class Fragile(Actor):
    """Brings its system down, the first time."""

    def on_start(self):
        if not Path(sys.argv[2]).exists():
            self.send_after(0.01, "fail")

    def on_receive(self, message):
        Path(sys.argv[2]).touch()
        raise RuntimeError("fragile")


class Busy(Actor):
    def on_start(self):
        self.send_after(0.01, "work")

    def on_receive(self, message):
        say("busy")
        while True:
            time.sleep(60)


class Shared:
    """What is opened once for all workers."""

    def child_spec(self):
        return ChildSpec(Child)

    def before_fork(self, workers):
        say("before", workers, os.getpid() == PARENT)
        for _ in range(int(os.environ.get("SIGNALS_BEFORE", "0"))):
            signal.raise_signal(signal.SIGTERM)

    def in_worker(self, number):
        say("in worker", number, os.getpid() == PARENT)
        match os.environ.get("IN_WORKER"):
            case "fails":
                raise RuntimeError("there is nothing to share")
            case "orphan":
                os.kill(PARENT, signal.SIGKILL)
                # The thread that watches over the parent ends this process.
                threading.Event().wait(1.0)

    def without_worker(self, number):
        say("without", number, os.getpid() == PARENT)

    def after_workers(self):
        say("after", os.getpid() == PARENT)


def then(system):
    say("then", os.getpid() == PARENT)


def failing_then(system):
    raise RuntimeError("then failed")


def leaving_then(system):
    sys.exit(3)


PARENT = os.getpid()
CHILDREN = {
    "fine": [Child],
    "last": [Last],
    "failing": [Failing],
    "lacking": [ChildSpec(Supervisor, ([Lacking],))],
    "fragile": [ChildSpec(Supervisor, ([Fragile],), {"max_restarts": 0}), Child],
    "busy": [Busy],
    "shared": [ChildSpec(Supervisor, ([Shared()],))],
}
THEN = {"then": then, "failing": failing_then, "leaving": leaving_then}
if "IGNORED" in os.environ:
    signal.signal(int(os.environ["IGNORED"]), signal.SIG_IGN)
options = {"max_restarts": 0, "console": os.environ.get("CONSOLE")}
atexit.register(lambda: say("exit", os.getpid() == PARENT))
pubsub = None if "REDIS" in os.environ else PubSub(adapter=Telling() if sys.argv[1] == "last" else Deaf())
System(CHILDREN[sys.argv[1]], pubsub=pubsub, **options).run(THEN[os.environ.get("THEN", "then")], workers=2)
say("over", os.getpid() == PARENT)
'''


class Program:
    """The program, and what it has written."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", PROGRAM, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def until(self, text: str) -> None:
        """Read until it has written a line with this text."""
        assert self.process.stdout is not None
        while text not in self.output:
            line = self.process.stdout.readline()
            assert line, f"it has ended without {text!r}:\n{self.output}"
            self.output += line

    def workers(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children()
        return found

    def ended(self) -> int:
        """Return its status when it has ended, and all that it has started."""
        rest, _ = self.process.communicate(timeout=WAIT)
        self.output += rest
        return self.process.returncode


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_the_workers_run_the_system_and_the_parent_what_comes_after_it() -> None:
    with Program("fine") as program:
        program.until("then")
        program.process.terminate()
        assert program.ended() == 0
    lines = program.output.splitlines()
    assert [line for line in lines if line.startswith("then")] == ["then False"]
    assert lines.count("ends Shutdown(detail=None)") == 2
    assert lines[-2:] == ["over True", "exit True"]
    # What was registered before belongs to the parent.
    assert "exit False" not in lines


def test_a_child_that_is_shared_is_opened_once_also_under_another_supervisor() -> None:
    with Program("shared") as program:
        program.until("then")
        program.process.terminate()
        assert program.ended() == 0
    told = [
        line for line in program.output.splitlines() if line.startswith(("before", "in worker", "without", "after"))
    ]
    assert told[:3] == ["before 2 True", "in worker 0 False", "in worker 1 False"]
    assert {"without 0 True", "without 1 True"} == set(told[3:-1])
    assert told[-1] == "after True"


@pytest.mark.parametrize(("signals", "status"), [(1, 0), (2, 1)])
def test_a_signal_while_the_parent_opens_what_is_shared_ends_it_without_workers(signals: int, status: int) -> None:
    with Program("shared", SIGNALS_BEFORE=str(signals)) as program:
        assert program.ended() == status
    assert "after True" in program.output
    assert "in worker" not in program.output
    assert "Traceback" not in program.output


def test_a_worker_says_why_it_cannot_use_what_is_shared() -> None:
    with Program("shared", IN_WORKER="fails") as program:
        assert program.ended() == 1
    assert "RuntimeError: there is nothing to share" in program.output


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
def test_a_worker_that_has_hardly_begun_removes_what_a_killed_parent_has_left(tmp_path: Path) -> None:
    with Program("shared", IN_WORKER="orphan", REDIS="1", TMPDIR=str(tmp_path)) as program:
        assert program.ended() == -signal.SIGKILL
        until(lambda: not list(tmp_path.iterdir()))


def test_workers_that_stop_together_are_not_told_of_each_other() -> None:
    with Program("last") as program:
        program.until("then ")
        program.process.terminate()
        assert program.ended() == 0
    assert "nodes" not in program.output


def test_a_system_that_cannot_start_is_told_once() -> None:
    with Program("failing") as program:
        assert program.ended() == 1
    assert program.output.count("Traceback") == 1
    assert program.output.count("the disk is full") == 1
    assert "then False" not in program.output


def test_what_is_not_available_is_one_line() -> None:
    with Program("lacking") as program:
        assert program.ended() == 1
    assert program.output == "System cannot start: there is no disk\nexit True\n"


def test_a_worker_whose_system_ends_is_replaced(place: Path) -> None:
    with Program("fragile", str(place)) as program:
        program.until("worker 1 (process")
        until(lambda: len(program.workers()) == 2)
        program.process.terminate()
        assert program.ended() == 0
    assert re.search(r"WARNING worker 1 \(process \d+\) ended with status 1", program.output)
    assert "SystemDownError" not in program.output


@pytest.mark.parametrize(("then", "status", "tracebacks"), [("failing", 1, 1), ("leaving", 3, 0)])
def test_what_fails_when_all_have_started_ends_the_program(then: str, status: int, tracebacks: int) -> None:
    with Program("fine", THEN=then) as program:
        assert program.ended() == status
    assert program.output.count("Traceback") == tracebacks
    assert program.output.count("ends Shutdown(detail=None)") == 2


def test_workers_whose_event_loops_are_blocked_end_with_their_parent() -> None:
    with Program("busy") as program:
        program.until("busy")
        workers = program.workers()
        program.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=WAIT)
        assert [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE] == []


def test_workers_whose_event_loops_are_blocked_end_at_the_second_signal() -> None:
    with Program("busy") as program:
        program.until("busy")
        workers = program.workers()
        program.process.send_signal(signal.SIGINT)
        program.until("System stops")
        program.process.send_signal(signal.SIGINT)
        assert program.ended() == 1
        assert not any(psutil.pid_exists(worker.pid) for worker in workers)


@pytest.mark.parametrize("ignored", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_was_ignored_stays_ignored_and_another_one_stops_all(ignored: signal.Signals) -> None:
    with Program("fine", IGNORED=str(int(ignored))) as program:
        program.until("then")
        program.process.send_signal(ignored)
        program.process.send_signal(signal.SIGINT)
        assert program.ended() == 0
    assert program.output.count("ends Shutdown(detail=None)") == 2


def test_each_worker_has_a_console(place: Path) -> None:
    with Program("fine", CONSOLE=str(place)) as program:
        program.until("then")
        for number in (1, 2):
            with socket.socket(socket.AF_UNIX) as connected:
                connected.connect(f"{place}.{number}")
        program.process.terminate()
        assert program.ended() == 0
    assert list(place.parent.iterdir()) == []


def test_the_service_manager_is_told_by_the_parent_alone(place: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(place))
        manager.settimeout(WAIT)
        with Program("fine", NOTIFY_SOCKET=str(place)) as program:
            assert manager.recv(100) == b"READY=1"
            program.process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert program.ended() == 0
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(100)
