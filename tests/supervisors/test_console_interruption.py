"""Ctrl-C for one thread: it comes where it may, at once or as soon as it may, and nowhere else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import Any

import pytest

from actors.lowlevel import in_thread
from actors.testing import WAIT
from supervisors.console.server.interruption import Interruption


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    thread = in_thread("loop of a test")
    yield thread.scheduler.loop
    thread.stop()


@pytest.fixture
def interruption(loop: asyncio.AbstractEventLoop) -> Interruption:
    return Interruption(loop)


def in_its_thread(interruption: Interruption, function: Callable[[], object]) -> list[Any]:
    """Return what a function returned or raised in a thread that can be interrupted."""
    results: list[Any] = []

    def run() -> None:
        interruption.begin()
        try:
            results.append(function())
        except BaseException as error:  # noqa: BLE001  # it is the result
            results.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    return results


def test_it_comes_at_once_where_it_may(interruption: Interruption) -> None:
    def run() -> None:
        interruption.expose()
        try:
            interruption.interrupt()
            while True:
                pass
        finally:
            interruption.cover()

    assert in_its_thread(interruption, run) == [KeyboardInterrupt]


def test_it_waits_until_it_may_come(interruption: Interruption) -> None:
    reached = []

    def run() -> None:
        interruption.expose()
        assert interruption.cover()
        assert not interruption.cover()
        interruption.interrupt()
        reached.append("what is covered goes on")
        interruption.expose()
        reached.append("what is exposed does not")

    assert in_its_thread(interruption, run) == [KeyboardInterrupt]
    assert reached == ["what is covered goes on"]


def test_it_comes_before_the_end_of_cover_if_it_comes_at_all(interruption: Interruption) -> None:
    def run() -> str:
        for _ in range(1000):
            interruption.expose()
            try:
                interruption.interrupt()
                interruption.cover()
            except KeyboardInterrupt:
                interruption.cover()
            else:
                return "lost"
        return "in time"

    assert in_its_thread(interruption, run) == ["in time"]


def test_it_is_forgotten_when_what_it_was_for_is_over(interruption: Interruption) -> None:
    def run() -> bool:
        interruption.interrupt()
        assert interruption.is_pending
        interruption.reset()
        interruption.expose()
        return interruption.cover()

    assert in_its_thread(interruption, run) == [True]


def test_only_one_thread_is_meant(interruption: Interruption) -> None:
    assert not interruption.is_here()
    assert in_its_thread(interruption, interruption.is_here) == [True]
    assert not interruption.is_here()


# Tasks


class BoomError(Exception):
    """Raised by a task."""


@pytest.mark.parametrize("error", [BoomError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_what_a_task_raises_is_returned_and_the_loop_lives(
    error: type[BaseException], interruption: Interruption
) -> None:
    async def task() -> None:
        raise error

    assert in_its_thread(interruption, lambda: type(interruption.run_on_loop(task, Context()))) == [error]
    assert in_its_thread(interruption, lambda: interruption.run_on_loop(lambda: asyncio.sleep(0), Context())) == [None]


def test_a_task_is_interrupted(interruption: Interruption) -> None:
    async def task() -> None:
        asyncio.get_running_loop().call_soon(interruption.interrupt)
        await asyncio.Event().wait()

    assert in_its_thread(interruption, lambda: type(interruption.run_on_loop(task, Context()))) == [KeyboardInterrupt]


def test_a_task_that_is_interrupted_before_it_begins_does_not_begin(interruption: Interruption) -> None:
    begun = []

    async def task() -> None:
        begun.append("begun")

    def run() -> None:
        interruption.interrupt()
        assert interruption.run_on_loop(task, Context()) is None
        interruption.expose()

    assert in_its_thread(interruption, run) == [KeyboardInterrupt]
    assert begun == []
