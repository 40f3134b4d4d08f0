"""A time bound on the clock of the actors, which the test advances."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from actors.testing import ManualClock
from actors.time_bound import TimeBound, sleep


async def waiting(clock: ManualClock, log: list[str]) -> None:
    try:
        with TimeBound(clock, 5):
            await asyncio.Event().wait()
    except TimeoutError as error:
        log.append(str(error))


async def begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    return task


def test_what_takes_longer_is_cancelled() -> None:
    async def run() -> None:
        clock, log = ManualClock(), list[str]()
        task = await begun(waiting(clock, log))
        clock.step(4.9)
        await asyncio.sleep(0)
        assert not task.done()
        clock.step(5)
        await task
        assert log == ["not within 5 s"]

    asyncio.run(run())


def test_what_is_done_in_time_leaves_no_timer() -> None:
    async def run() -> None:
        clock = ManualClock()
        with TimeBound(clock, 5):
            await asyncio.sleep(0)
        assert clock.pending() == 0

    asyncio.run(run())


@pytest.mark.parametrize("late", [False, True])
def test_a_task_that_others_cancel_is_cancelled(*, late: bool) -> None:
    async def run() -> None:
        clock, log = ManualClock(), list[str]()
        task = await begun(waiting(clock, log))
        task.cancel()
        if late:
            clock.step(5)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (log, clock.pending()) == ([], 0)

    asyncio.run(run())


def test_an_error_before_the_deadline_is_raised() -> None:
    async def run() -> None:
        with pytest.raises(OSError, match="gone"), TimeBound(ManualClock(), 5):
            raise OSError("gone")

    asyncio.run(run())


def test_a_sleep_ends_in_time_and_leaves_no_timer_when_it_is_cancelled() -> None:
    async def run() -> None:
        clock = ManualClock()
        sleeping, cancelled = await begun(sleep(clock, 5)), await begun(sleep(clock, 5))
        clock.step(4.9)
        await asyncio.sleep(0)
        assert not sleeping.done()
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert clock.pending() == 1
        clock.step(5)
        await sleeping

    asyncio.run(run())
