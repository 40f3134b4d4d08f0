"""Several tasks, of which the first that is done ends the others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.transport.wire import on_loop
from transport.carriers.race import first, task_of


async def never() -> None:
    await asyncio.Event().wait()


async def failing() -> None:
    raise LookupError("on purpose")


async def failing_at_its_end() -> None:
    try:
        await never()
    finally:
        raise LookupError("on purpose")


@on_loop
async def test_the_first_one_ends_the_others() -> None:
    other, quick = task_of(never()), task_of(asyncio.sleep(0))
    assert await first(other, quick) == [quick]
    assert other.cancelled()


@on_loop
async def test_an_error_is_raised_once_and_no_other_is_logged() -> None:
    with pytest.raises(LookupError):
        await first(task_of(failing()), task_of(failing()), task_of(failing_at_its_end()))


@on_loop
async def test_a_cancellation_keeps_its_message_by_which_anyio_knows_its_own() -> None:
    tasks = [task_of(never()), task_of(failing_at_its_end())]
    task = task_of(first(*tasks))
    await asyncio.sleep(0)
    task.cancel("of a scope")
    with pytest.raises(asyncio.CancelledError, match="of a scope"):
        await task
    assert all(each.done() for each in tasks)


@on_loop
async def test_a_cancellation_that_is_repeated_until_it_is_over_keeps_its_message() -> None:
    async def stubborn() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)

    task = task_of(first(task_of(stubborn()), task_of(never())))
    await asyncio.sleep(0)
    caught: list[Any] = []
    for _ in range(2):
        task.cancel("of a scope")
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    caught.append(raised.value.args)
    assert caught == [("of a scope",)]
