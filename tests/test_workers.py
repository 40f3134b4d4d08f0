"""`demo.py --workers N`: real processes, real clients, and what is left of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.live import ROOT, WAIT, LiveDemo
from tests.servers.redis_server import PROGRAM, until
from tests.terminal import CTRL_C, TerminalSession
from tests.transcript import Http, fetch
from tests.transport.wire import on_loop
from tests.wire_clients import EndedError, Meeting, WireClient

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")

DEMO = ROOT / "demo.py"


class WorkersDemo(LiveDemo):
    """A demo with workers, and all of its processes."""

    def __init__(self, *options: str, workers: int = 2, variables: dict[str, str] | None = None) -> None:
        super().__init__(DEMO, "--workers", str(workers), *options, variables=variables)

    def children(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        return found

    def workers(self) -> list[psutil.Process]:
        return [child for child in self.children() if child.ppid() == self.pid and not is_redis(child)]

    def redis(self) -> psutil.Process:
        (found,) = [child for child in self.children() if is_redis(child)]
        return found

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def connections(self) -> list[int]:
        """Return how many connections each worker has."""
        found = [worker.net_connections("tcp") for worker in self.workers()]
        mine = ("ESTABLISHED", self.port)
        return [sum((each.status, each.laddr.port) == mine for each in each_one) for each_one in found]


def is_redis(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "redis" in process.name() or "valkey" in process.name()
    return False


def are_gone(processes: list[psutil.Process]) -> bool:
    """Return whether all of them have ended, within the time of a test."""
    _, alive = psutil.wait_procs(processes, timeout=WAIT)
    # Without a parent that waits for them, and without an init of the container, dead ones may be left as zombies.
    return all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


async def client_of(demo: WorkersDemo, worker: int, stack: AsyncExitStack, **params: str) -> WireClient:
    """Return a client of the worker with this process id."""
    for _ in range(200):
        meeting = Meeting(demo.address, "websocket", "2.0.0").connect(**params)
        client = await meeting.__aenter__()
        ref = await client.join("room:node")
        await client.push(ref, "room:node", "node")
        if (await client.hear()).payload["response"]["pid"] == worker:
            stack.push_async_exit(meeting)
            return client
        await meeting.__aexit__(None, None, None)
    raise AssertionError(f"no connection came to process {worker}")


@pytest.fixture
def demo() -> Iterator[WorkersDemo]:
    with WorkersDemo("--drain-batch-size", "10", "--drain-batch-interval", "0.2") as running:
        yield running


def test_each_of_an_idle_pair_of_workers_gets_connections_and_all_are_children_in_one_session(
    demo: WorkersDemo,
) -> None:
    parent = os.getsid(demo.pid)
    assert [os.getsid(child.pid) for child in demo.children()] == [parent] * 3
    assert [child.ppid() for child in demo.children()] == [demo.pid] * 3
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", demo.port), timeout=WAIT))
        until(lambda: sum(demo.connections()) == 60)
        assert min(demo.connections()) >= 10
    assert sum("Ashtree's demo is at" in line for line in demo.output) == 1
    assert sum("is running at" in line for line in demo.output) == 1


@on_loop
async def test_what_one_worker_broadcasts_reaches_the_clients_of_the_others(demo: WorkersDemo) -> None:
    async with AsyncExitStack() as stack:
        one, two = [
            await client_of(demo, worker.pid, stack, user=f"user{n}") for n, worker in enumerate(demo.workers())
        ]
        ref = await one.join("bench:1")
        await two.join("bench:1")
        await one.push(ref, "bench:1", "shout", {"n": 1})
        await two.is_told("bench:1", "shout", {"n": 1})
        await one.is_told("bench:1", "shout", {"n": 1})


@on_loop
async def test_a_worker_that_is_killed_is_replaced_and_the_others_go_on(demo: WorkersDemo) -> None:
    async with AsyncExitStack() as stack:
        killed, other = demo.workers()
        client, lost = [await client_of(demo, each.pid, stack) for each in (other, killed)]
        killed.kill()
        with pytest.raises(EndedError):
            await lost.hear()
        new = await asyncio.to_thread(new_worker, demo, {killed.pid, other.pid})
        # The dead one has been waited for, and the other has the same clients.
        assert not psutil.pid_exists(killed.pid)
        ref = await client.join("bench:1")
        another = await client_of(demo, new, stack)
        await another.join("bench:1")
        await client.push(ref, "bench:1", "shout", {"n": 1})
        await another.is_told("bench:1", "shout", {"n": 1})
    until(lambda: any(f"process {killed.pid}) was killed by SIGKILL" in line for line in demo.output))


def new_worker(demo: WorkersDemo, known: set[int]) -> int:
    """Return the process id of a worker that is not known, once it serves."""
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [each.pid for each in demo.workers() if each.pid not in known]
        return bool(found)

    until(is_there)
    return found[0]


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_when_the_parent_is_killed_nothing_is_left(frozen: bool, tmp_path: Path) -> None:  # noqa: FBT001  # a parameter
    with WorkersDemo(variables={"TMPDIR": str(tmp_path)}) as demo:
        children = demo.children()
        assert len(children) == 3
        if frozen:
            demo.workers()[0].suspend()
        demo.signal(signal.SIGKILL)
        assert demo.ended() == -signal.SIGKILL
        assert are_gone(children)
    assert list(tmp_path.iterdir()) == []


@on_loop
async def test_the_redis_of_the_program_is_started_again_when_it_ends(demo: WorkersDemo) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await client_of(demo, worker.pid, stack) for worker in demo.workers()]
        ref = await one.join("bench:1")
        await two.join("bench:1")
        before = demo.redis().pid
        demo.redis().kill()
        await asyncio.to_thread(until, lambda: any(map(is_redis, demo.children())) and demo.redis().pid != before)
        await asyncio.to_thread(until, lambda: [line for line in demo.output if " again, after" in line][1:])
        await one.push(ref, "bench:1", "shout", {"n": 2})
        await two.is_told("bench:1", "shout", {"n": 2})
    assert len(demo.workers()) == 2


async def code_of(client: Any) -> int | None:
    """Return the code with which a server closes a connection."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(WAIT):
            while True:
                await client.recv()
    code: int | None = client.close_code
    return code


@pytest.mark.parametrize(
    ("number", "place"),
    [(signal.SIGTERM, []), (signal.SIGTERM, ["--reuse-port"]), (signal.SIGINT, []), (signal.SIGHUP, [])],
    ids=["SIGTERM", "SIGTERM, a shared port", "SIGINT", "SIGHUP"],
)
def test_a_signal_drains_all_workers_in_rounds_of_one_batch(number: signal.Signals, place: list[str]) -> None:
    options = ("--drain-batch-size", "4", "--drain-batch-interval", "0.05", *place)

    @on_loop
    async def drain() -> None:
        with WorkersDemo(*options) as demo:
            children = demo.children()
            async with AsyncExitStack() as stack:
                url = f"{demo.websocket_address}/socket/websocket?vsn=2.0.0"
                clients = [await stack.enter_async_context(connect(url, proxy=None)) for _ in range(22)]
                demo.signal(number)
                codes = await asyncio.gather(*map(code_of, clients))
            assert codes == [1012] * 22
            assert await asyncio.to_thread(demo.ended) == 0
            assert are_gone(children)
            rounds = [re.search(r"DRAINING (\d+) of", line) for line in demo.output]
            assert sum(int(each[1]) for each in rounds if each) == 22

    drain()


def test_all_workers_are_draining_at_once() -> None:
    options = ("--drain-batch-size", "1", "--drain-batch-interval", "30")

    @on_loop
    async def drain() -> None:
        with WorkersDemo(*options) as demo:
            url = f"{demo.websocket_address}/socket/websocket?vsn=2.0.0"
            async with connect(url, proxy=None) as first, connect(url, proxy=None) as second:
                demo.signal(signal.SIGTERM)
                ended, _ = await asyncio.wait(
                    [asyncio.create_task(code_of(each)) for each in (first, second)],
                    return_when=asyncio.FIRST_COMPLETED,
                )
                assert [task.result() for task in ended] == [1012]
                answers = {
                    await asyncio.to_thread(fetch, demo.address, Http("GET", "/health/ready")) for _ in range(16)
                }
                assert {status for status, _ in answers} == {503}
                assert all("draining" in body for _, body in answers)
                demo.signal(signal.SIGTERM)
                assert await asyncio.to_thread(demo.ended) == 1

    drain()


STARTS_SLOWLY = """
import asyncio
from actors import Actor
from supervisors import System
from transport import Endpoint, Socket

class UserSocket(Socket):
    pass

class Slow(Actor):
    async def on_start(self):
        print("it starts", flush=True)
        await asyncio.sleep(60)

System([Endpoint({"/socket": UserSocket}, port=0), Slow]).run(workers=2)
"""


def test_a_signal_while_the_workers_start_ends_them_at_once() -> None:
    program = [sys.executable, "-c", STARTS_SLOWLY]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True) as started:  # noqa: S603  # our own
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == "it starts\n"
            started.terminate()
            assert started.wait(WAIT) == 0
        finally:
            started.kill()


def test_a_second_signal_ends_workers_that_hang() -> None:
    with WorkersDemo() as demo:
        children = demo.children()
        demo.workers()[0].suspend()
        demo.signal(signal.SIGTERM)
        until(lambda: len(demo.workers()) == 1)
        demo.signal(signal.SIGINT)
        assert demo.ended() == 1
        assert are_gone(children)


def test_a_worker_that_does_not_stop_in_time_is_killed() -> None:
    with WorkersDemo("--shutdown-timeout", "0.5") as demo:
        children = demo.children()
        frozen = demo.workers()[0]
        frozen.suspend()
        demo.signal(signal.SIGTERM)
        assert demo.ended() == 0
        assert are_gone(children)
    assert any(f"(process {frozen.pid}) has not stopped in time" in line for line in demo.output)


def test_signals_to_the_whole_group_are_those_of_the_parent() -> None:
    with WorkersDemo() as demo:
        children = demo.children()
        for child in [*demo.workers(), psutil.Process(demo.pid), *demo.workers()]:
            child.terminate()
        assert demo.ended() == 0
        assert are_gone(children)
    assert not [line for line in demo.output if "Traceback" in line or "WARNING" in line or "CRITICAL" in line]


def test_ctrl_c_in_a_terminal_stops_it_once() -> None:
    with TerminalSession(str(DEMO), "--port", "0", "--workers", "2") as session:
        session.until("is running at")
        children = psutil.Process(session.process.pid).children()
        session.until("listener")
        session.type(CTRL_C)
        session.until("has stopped")
        assert session.process.wait(WAIT) == 0
        assert are_gone(children)
    assert "Traceback" not in session.text


def test_too_many_deaths_end_it_with_one_line() -> None:
    with WorkersDemo() as demo:
        killed: set[int] = set()
        children = demo.children()
        while psutil.pid_exists(demo.pid) and len(killed) < 6:
            worker = next((each for each in demo.workers() if each.pid not in killed), None)
            if worker is not None:
                killed.add(worker.pid)
                worker.kill()
                until(lambda pid=worker.pid: not psutil.pid_exists(pid))
        assert demo.ended() == 1
        assert are_gone(children)
    lines = [line for line in demo.output if "within 10 s" in line]
    assert re.fullmatch(
        r"System ended: 6 worker processes died within 10 s; the last: worker [12] \(process \d+\) was killed by SIGKILL\n",
        "".join(lines),
    )
    assert "Traceback" not in "".join(demo.output)


def output_of(*options: str, **variables: str) -> tuple[int, str]:
    """Return the exit status of a demo that cannot start, and all that it writes."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(DEMO), *options],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WAIT,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=" ".join)
def test_a_port_that_workers_have_is_taken(demo: WorkersDemo, options: list[str]) -> None:
    status, output = output_of("--port", str(demo.port), *options)
    assert (status, output.count("\n")) == (1, 1)
    assert f"cannot listen on 127.0.0.1:{demo.port}: Address already in use" in output


def test_a_port_that_another_program_has_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, output = output_of("--port", str(taken.getsockname()[1]), "--workers", "2", "--reuse-port")
    assert (status, output.count("\n")) == (1, 1)
    assert "Address already in use" in output


def test_without_a_redis_to_run_one_line_says_what_to_do(tmp_path: Path) -> None:
    status, output = output_of("--port", "0", "--workers", "2", PATH=str(tmp_path))
    assert (status, output.count("\n")) == (1, 1)
    assert "install redis-server" in output
    assert "--redis" in output


@pytest.mark.parametrize(
    "options",
    [["--workers", "0"], ["--workers", "-1"], ["--workers", "two"], ["--workers", "2", "--repl"]],
    ids=" ".join,
)
def test_options_that_do_not_fit_are_refused(options: list[str]) -> None:
    status, output = output_of("--port", "0", *options)
    assert status == 2
    assert "error: " in output
    assert "Traceback" not in output


def test_a_new_program_with_workers_takes_over_from_an_old_one(tmp_path: Path) -> None:
    with WorkersDemo("--reuse-port") as old:
        program = [sys.executable, str(DEMO), "--port", str(old.port), "--reuse-port", "--workers", "2"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as new:  # noqa: S603
            assert new.stdout is not None
            assert any("is running at" in line for line in new.stdout)
            old.signal(signal.SIGTERM)
            assert old.ended() == 0
            for _ in range(20):
                assert fetch(old.address, Http("GET", "/health/ready"))[0] == 200
            new.terminate()
            assert new.wait(WAIT) == 0


@on_loop
async def test_a_worker_that_is_told_to_stop_drains_while_another_one_takes_its_place(demo: WorkersDemo) -> None:
    before = {worker.pid for worker in demo.workers()}
    url = f"{demo.websocket_address}/socket/websocket?vsn=2.0.0"
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(url, proxy=None)) for _ in range(20)]
        told = demo.workers()[0]
        there = demo.connections()[0]
        told.terminate()
        new = await asyncio.to_thread(new_worker, demo, before)
        assert new
        assert await asyncio.to_thread(are_gone, [told])
        alive = []
        for client in clients:
            with suppress(ConnectionClosed):
                await (await client.ping())
                alive.append(client)
        assert len(alive) == 20 - there
        codes = Counter(client.close_code for client in clients if client not in alive)
        assert codes == Counter({1012: there})
    assert not [line for line in demo.output if "WARNING" in line]


@on_loop
async def test_the_presences_of_a_worker_that_is_killed_leave_long_before_its_silence_would_tell(
    demo: WorkersDemo,
) -> None:
    async with AsyncExitStack() as stack:
        killed, other = demo.workers()
        lost = await client_of(demo, killed.pid, stack, user="gone")
        client = await client_of(demo, other.pid, stack, user="left")
        await client.join("room:here")
        await lost.join("room:here")
        await changes(client, "joins")
        killed.kill()
        async with asyncio.timeout(5.0):
            await changes(client, "leaves")


async def changes(client: WireClient, kind: str) -> None:
    """Return when a client is told that the user who is gone has joined its room, or left it."""
    while True:
        topic, event, payload = json.loads(await client.wire.recv())[2:]
        if (topic, event) == ("room:here", "presence_diff") and "gone" in payload[kind]:
            return
