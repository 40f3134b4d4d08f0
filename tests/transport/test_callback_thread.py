"""The thread in which callbacks of the client for threads are called."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.live import WAIT
from transport.client.callback_thread import CallbackThread

if TYPE_CHECKING:
    from tests.live import LiveDemo


def forget() -> None:
    """Be a callback whose call is made by another function."""


def test_calls_are_made_in_order_and_those_that_are_due_before_the_end() -> None:
    thread, made = CallbackThread(), list[int]()
    for number in range(100):
        thread.submit(forget, lambda number=number: made.append(number))  # type: ignore[misc]  # the default is the number
    thread.end(WAIT)
    assert made == list(range(100))


@pytest.mark.parametrize("error", [ValueError("mistake"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_call_that_raises_is_logged_and_the_next_is_made(
    caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    thread, made = CallbackThread(), list[int]()

    def fail() -> None:
        raise error

    thread.submit(forget, fail)
    thread.submit(forget, lambda: made.append(1))
    thread.end(math.inf)
    assert made == [1]
    assert [(record.message, record.exc_info and record.exc_info[1]) for record in caplog.records] == [
        (f"the callback {forget!r} failed", error)
    ]


def test_a_call_that_does_not_return_is_left_behind_and_named(caplog: pytest.LogCaptureFixture) -> None:
    thread, started, release = CallbackThread(), threading.Event(), threading.Event()
    done = threading.Event()

    def block() -> None:
        started.set()
        release.wait()

    thread.submit(forget, block)
    thread.submit(forget, done.set)
    assert started.wait(WAIT)
    thread.end(0.01)
    [record] = caplog.records
    assert (record.levelno, record.message) == (
        logging.WARNING,
        f"the callback {forget!r} has not returned within 0.01 s: the socket closes without it",
    )
    release.set()
    assert done.wait(WAIT)
    thread.end(WAIT)


def test_a_callback_of_one_thread_may_wait_for_another_thread_but_not_for_its_own() -> None:
    one, other, made = CallbackThread(), CallbackThread(), list[str]()

    def end() -> None:
        other.end(WAIT)
        made.append("ended")
        one.end(WAIT)

    other.submit(forget, lambda: made.append("other"))
    one.submit(forget, end)
    one.end(WAIT)
    assert made == ["other", "ended"]


PROGRAM = """
import sys, threading
from transport.client.sync import connect

socket = connect(sys.argv[1], params={"user": "ann"}, timeout=float(sys.argv[2]))
room, called = socket.channel("room:blocking"), threading.Event()


def block(payload):
    called.set()
    threading.Event().wait()


room.on("new_msg", block)
room.join()
room.push("new_msg", {"body": "hello"}).reply()
called.wait()
"""


@pytest.mark.parametrize("end", ["", "socket.close()", "raise ValueError"])
def test_a_callback_that_blocks_does_not_keep_the_program_from_ending(demo: LiveDemo, end: str) -> None:
    arguments = [f"{demo.websocket_address}/socket", "0.5" if end == "socket.close()" else "10"]
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", PROGRAM + end, *arguments], capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert done.returncode == ("raise" in end)
    assert ("has not returned within 0.5 s" in done.stderr) == ("close" in end)
