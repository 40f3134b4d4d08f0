"""Programs that are told to end by signals: `System.run` as a subprocess."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from actors.testing import WAIT
from tests.servers.redis_server import until

ROOT = Path(__file__).resolve().parents[2]
PROGRAM_WAIT = 4 * WAIT
"""Seconds after which a line of a program, or its end, is taken for missing: it has an interpreter to start."""

PROGRAM = """
import asyncio
import atexit
import concurrent.futures
import io
import logging
import os
import signal
import sys
import threading

from actors.actor import Actor
from actors.threads.threaded_actor import ThreadedActor
from supervisors.child_spec import ChildSpec
from supervisors.system import System


def say(line):
    print(line, flush=True)


class Child(Actor):
    def __init__(self, label):
        self.label = label

    def on_start(self):
        say(f"{self.label} starts")

    def terminate(self, reason):
        say(f"{self.label} ends")


class Failing(Child):
    def on_start(self):
        raise OSError("the port is taken")


class Starting(Child):
    async def on_start(self):
        say(f"{self.label} is starting")
        await asyncio.get_running_loop().create_future()


class Hanging(Child):
    async def terminate(self, reason):
        say(f"{self.label} is ending")
        await asyncio.get_running_loop().create_future()


class Works:
    def say(self):
        say(f"{self.label} is busy")


class Busy(Works, Child):
    def on_receive(self, message):
        self.say()
        while True:
            pass


class Obstinate(Works, Child):
    def on_receive(self, message):
        self.say()
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass


class Deaf(Works, Child):
    async def on_receive(self, message):
        self.say()
        while True:
            try:
                await asyncio.sleep(1)
            except (Exception, asyncio.CancelledError):
                pass


class Immortal(Works, Child):
    async def on_receive(self, message):
        self.say()
        while True:
            try:
                await asyncio.sleep(1)
            except BaseException:
                pass


class Lingering(Works, Child):
    async def on_receive(self, message):
        self.say()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.get_running_loop().create_future()


class Calling(Works, Child):
    async def on_receive(self, message):
        await asyncio.to_thread(self.call_without_end)

    def call_without_end(self):
        self.say()
        threading.Event().wait()


class Spinning(Calling):
    def call_without_end(self):
        self.say()
        while True:
            pass


class Pooling(Calling):
    async def on_receive(self, message):
        pool = concurrent.futures.ThreadPoolExecutor(thread_name_prefix="mine")
        await asyncio.get_running_loop().run_in_executor(pool, self.call_without_end)


class Threading(Calling):
    def on_receive(self, message):
        threading.Thread(target=self.call_without_end, name="mine").start()


class Thready(Works, ThreadedActor):
    def __init__(self, label):
        self.label = label

    def on_receive(self, message):
        self.say()
        threading.Event().wait()


class Writing(io.RawIOBase):
    interrupted = False

    def writable(self):
        return True

    def write(self, data):
        count = os.write(1, data)
        if b"waits" in bytes(data) and not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGINT)
        return count


class Interrupting(Threading):
    def on_receive(self, message):
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(Writing()))
        super().on_receive(message)


class Leaving(Works, Child):
    def on_receive(self, message):
        self.say()
        atexit.register(leave_without_end)


def leave_without_end():
    print("leaves", flush=True)
    threading.Event().wait()


def then(system):
    say("running")
    for process in list(system.ref.process.scheduler.processes.values()):
        if issubclass(process.actor_class, Works):
            process.ref.send("work")


if sys.argv[1] == "asyncio":
    sys.modules["uvloop"] = None
if "IGNORED" in os.environ:
    signal.signal(int(os.environ["IGNORED"]), signal.SIG_IGN)
logging.basicConfig(format="%(message)s")  # for warnings only
atexit.register(say, "exit")
threading._register_atexit(say, "waits")  # for threads that are not daemons, and called before that
children = [ChildSpec(globals()[kind], (label,), id=label) for label, kind in zip("abc", sys.argv[2:])]
seconds = float(os.environ.get("SHUTDOWN_TIMEOUT", "30"))
System(children, shutdown_timeout=seconds, console=os.environ.get("CONSOLE")).run(then)
say("over")
"""


class Program:
    """`PROGRAM` in a process of its own: what it prints, line by line, and how it ends."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: SimpleQueue[str | None] = SimpleQueue()
        self.errors: list[str] = []
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._read_lines, self._read_errors)]
        for reader in self.readers:
            reader.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as errors:
            self.errors.extend(errors)

    def expect(self, *expected: str) -> None:
        """Wait for lines, which must be the next ones."""
        for line in expected:
            try:
                got = self.lines.get(timeout=PROGRAM_WAIT)
            except Empty:
                got = "nothing"
            assert got == line, f"expected {line!r}, got {got!r}; errors: {''.join(self.errors)}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def sleeps(self) -> None:
        """Wait until the main thread waits: CPython does not notice a signal that comes just before, until there is another."""
        main_thread = psutil.Process(self.process.pid)
        until(lambda: main_thread.status() == psutil.STATUS_SLEEPING)

    def end(self) -> tuple[int, list[str], str]:
        """Wait for the end; return the status, the lines that came since, and the errors."""
        status = self.process.wait(PROGRAM_WAIT)
        for reader in self.readers:
            reader.join(PROGRAM_WAIT)
        return status, list(iter(self.lines.get_nowait, None)), "".join(self.errors)


Start = Callable[..., Program]
INT, TERM, HUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
both_loops = pytest.mark.parametrize("loop", ["fast", "asyncio"])
second_signals = pytest.mark.parametrize(
    ("first", "second"), [(INT, INT), (TERM, TERM), (INT, TERM)], ids=["int-int", "term-term", "int-term"]
)


@pytest.fixture
def program() -> Iterator[Start]:
    with _programs() as start:
        yield start


@contextmanager
def _programs() -> Iterator[Start]:
    started: list[Program] = []

    def start(*arguments: str, **environment: str) -> Program:
        started.append(Program(*arguments, **environment))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.process.kill()
            one.process.wait(PROGRAM_WAIT)
            for reader in one.readers:
                reader.join(PROGRAM_WAIT)


@both_loops
@pytest.mark.parametrize("number", [INT, TERM, HUP], ids=["int", "term", "hup"])
def test_a_signal_stops_the_program_in_reverse_order_with_status_0(
    loop: str, number: signal.Signals, program: Start
) -> None:
    running_program = program(loop, "Child", "Child", "Child")
    running_program.expect("a starts", "b starts", "c starts", "running")
    running_program.signal(number)
    assert running_program.end() == (0, ["c ends", "b ends", "a ends", "over", "waits", "exit"], "")


@both_loops
@second_signals
def test_a_second_signal_kills_what_is_left_with_status_1(
    loop: str, first: signal.Signals, second: signal.Signals, program: Start
) -> None:
    hanging = program(loop, "Child", "Hanging", "Child")
    hanging.expect("a starts", "b starts", "c starts", "running")
    hanging.signal(first)
    hanging.expect("c ends", "b is ending")
    hanging.signal(second)
    assert hanging.end() == (1, ["waits", "exit"], "")


@both_loops
def test_a_signal_while_it_starts_stops_what_has_started_with_status_0(loop: str, program: Start) -> None:
    starting = program(loop, "Child", "Starting", "Child")
    starting.expect("a starts", "b is starting")
    starting.signal(INT)
    assert starting.end() == (0, ["a ends", "over", "waits", "exit"], "")


@both_loops
def test_a_second_signal_while_it_starts_kills_what_has_started_with_status_1(loop: str, program: Start) -> None:
    starting = program(loop, "Hanging", "Starting")
    starting.expect("a starts", "b is starting")
    starting.signal(INT)
    starting.expect("a is ending")
    starting.signal(INT)
    assert starting.end() == (1, ["waits", "exit"], "")


@both_loops
def test_a_second_signal_breaks_an_actor_that_blocks_the_loop(loop: str, program: Start) -> None:
    busy = program(loop, "Child", "Busy")
    busy.expect("a starts", "b starts", "running", "b is busy")
    # Two signals of one kind may arrive as one.
    busy.signal(INT)
    busy.signal(TERM)
    assert busy.end() == (1, ["waits", "exit"], "")


@both_loops
def test_a_program_that_cannot_start_ends_with_status_1_and_says_why(loop: str, program: Start) -> None:
    status, lines, errors = program(loop, "Child", "Failing").end()
    assert (status, lines) == (1, ["a starts", "a ends", "waits", "exit"])
    assert errors.splitlines()[-1].endswith("OSError: the port is taken")


# What does not end

STUCK = {
    "Deaf": "it waited for a",
    "Immortal": "it waited for a",
    "Lingering": "it waited for a",
    "Calling": "Calling.call_without_end has not returned",
    "Spinning": "Spinning.call_without_end has not returned",
    "Pooling": "the thread mine_0",
    "Threading": "the thread mine",
    "Thready": "it waited for a",
    "Busy": "in on_receive",
    "Obstinate": "in on_receive",
}
"""What a child is, and what the log says of it when it keeps the program from ending."""

INTERRUPTED = ["Busy", "Obstinate"]
"""Those that block the event loop, so that their program cannot end in order."""


@both_loops
@pytest.mark.parametrize("kind", STUCK)
def test_a_program_ends_whatever_is_stuck_in_it_and_says_what(loop: str, kind: str, program: Start) -> None:
    stuck = program(loop, kind, SHUTDOWN_TIMEOUT="0.5")
    _expect_busy(stuck, kind)
    stuck.signal(TERM)
    status, lines, errors = stuck.end()
    in_order = kind not in INTERRUPTED
    assert (status, lines[-3:]) == ((0, ["over", "waits", "exit"]) if in_order else (1, ["exit"]))
    assert STUCK[kind] in errors
    assert "Traceback" not in errors


@both_loops
@pytest.mark.parametrize("kind", STUCK)
def test_a_second_signal_ends_a_program_at_once_whatever_is_stuck_in_it(loop: str, kind: str, program: Start) -> None:
    stuck = program(loop, kind, SHUTDOWN_TIMEOUT="inf")
    _expect_busy(stuck, kind)
    # Two signals of one kind may arrive as one.
    stuck.signal(TERM)
    if kind in {"Pooling", "Threading"}:
        stuck.expect("a ends", "over", "waits")
        stuck.sleeps()
    stuck.signal(INT)
    status, lines, errors = stuck.end()
    assert (status, lines[-1]) == (1, "exit")
    assert "Traceback" not in errors


def test_a_function_that_hangs_at_the_end_of_the_program_is_left_behind_and_the_output_is_written(
    program: Start,
) -> None:
    leaving = program("fast", "Leaving", SHUTDOWN_TIMEOUT="0.5")
    _expect_busy(leaving, "Leaving")
    leaving.signal(TERM)
    status, lines, errors = leaving.end()
    assert (status, lines[:4]) == (0, ["a ends", "over", "waits", "leaves"])
    assert "in leave_without_end" in errors


def test_a_second_signal_that_interrupts_the_writing_of_output_loses_none(program: Start) -> None:
    interrupting = program("fast", "Interrupting", SHUTDOWN_TIMEOUT="inf")
    _expect_busy(interrupting, "Interrupting")
    interrupting.signal(TERM)
    status, lines, errors = interrupting.end()
    assert (status, lines[-1], errors) == (1, "exit", "")


def test_a_second_signal_breaks_off_a_function_that_hangs_at_the_end_of_the_program(program: Start) -> None:
    leaving = program("fast", "Leaving", SHUTDOWN_TIMEOUT="inf")
    _expect_busy(leaving, "Leaving")
    leaving.signal(TERM)
    leaving.expect("a ends", "over", "waits", "leaves")
    leaving.sleeps()
    leaving.signal(INT)
    assert leaving.end()[1:] == (["exit"], "")


def _expect_busy(stuck: Program, kind: str) -> None:
    stuck.expect(*([] if kind == "Thready" else ["a starts"]), "running", "a is busy")


def test_a_signal_that_was_ignored_stays_ignored(program: Start) -> None:
    background = program("fast", "Child", IGNORED=str(int(HUP)))
    background.expect("a starts", "running")
    background.signal(HUP)
    background.signal(TERM)
    assert background.end() == (0, ["a ends", "over", "waits", "exit"], "")


@pytest.mark.parametrize("number", [INT, TERM, HUP], ids=["int", "term", "hup"])
def test_a_signal_leaves_no_files(number: signal.Signals, program: Start, tmp_path: Path) -> None:
    console = tmp_path / "console"
    running_program = program("fast", "Child", CONSOLE=str(console))
    running_program.expect("a starts", "running")
    assert console.exists()
    running_program.signal(number)
    assert running_program.end()[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_leaves_no_files_either(program: Start, tmp_path: Path) -> None:
    busy = program("fast", "Busy", CONSOLE=str(tmp_path / "console"))
    busy.expect("a starts", "running", "a is busy")
    busy.signal(INT)
    busy.signal(TERM)
    assert busy.end()[0] == 1
    assert list(tmp_path.iterdir()) == []
