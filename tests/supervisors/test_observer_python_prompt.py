"""Statements that await, at a prompt in another thread than the loop's."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from supervisors.observer.python_prompt import run_on_loop
from supervisors.observer.typed import report
from supervisors.system import System
from tests.live import WAIT


def test_a_statement_runs_on_the_loop_of_the_system() -> None:
    ran_on: list[Any] = []

    async def statement() -> None:
        ran_on.append(asyncio.get_running_loop())

    with System() as system:
        loop = system.ref.process.scheduler.loop
        run_on_loop(statement, loop)
    assert ran_on == [loop]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_it_raises_is_raised_here_and_does_not_end_the_loop(error: BaseException) -> None:
    async def statement() -> None:
        raise error

    with System() as system:
        with pytest.raises(type(error)):
            run_on_loop(statement, system.ref.process.scheduler.loop)
        assert system.ref.is_alive()


def test_the_loop_of_a_system_that_has_ended_runs_nothing() -> None:
    async def statement() -> None:
        raise AssertionError("not reached")

    with System() as system:
        loop = system.ref.process.scheduler.loop
    with pytest.raises(RuntimeError, match="closed"):
        run_on_loop(statement, loop)


def test_a_signal_that_does_not_interrupt_the_wait_is_handled_soon() -> None:
    cancelled = threading.Event()

    async def statement() -> None:
        # As one that arrives just before the main thread begins to wait: it is noted, and wakes nothing.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with System() as system:
        with pytest.raises(KeyboardInterrupt):
            run_on_loop(statement, system.ref.process.scheduler.loop)
        assert cancelled.wait(WAIT)


def test_the_text_of_an_error_commands_no_terminal() -> None:
    assert report(ValueError("room:\x1b[2J\u202e"), {}) == "ValueError: room:\\x1b[2J\\u202e\n"
