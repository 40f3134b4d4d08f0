"""The queue of a channel's received messages."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from actors.channels.message import Message
from actors.testing import ManualClock
from transport.client.exceptions import ClosedError
from transport.client.receive_queue import ReceiveQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def message(number: int) -> Message:
    return Message(None, None, "t", "e", number)


class Life:
    over = False


def run(test: Callable[[ReceiveQueue, ManualClock, Life], Coroutine[Any, Any, None]], limit: int = 3) -> None:
    async def main() -> None:
        life = Life()
        await test(ReceiveQueue("t", limit, lambda: life.over), ManualClock(), life)

    asyncio.run(main())


async def turns() -> None:
    """Let all tasks run as far as they can."""
    for _ in range(5):
        await asyncio.get_running_loop().run_in_executor(None, int)


def test_messages_are_taken_in_their_order() -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        waiting = asyncio.create_task(queue.get(clock))
        await turns()
        for number in (1, 2, 3):
            queue.put(message(number))
        taken = [(await waiting).payload, (await queue.get(clock)).payload, (await queue.get(clock)).payload]
        assert taken == [1, 2, 3]

    run(test)


def test_the_oldest_is_dropped_and_counted_when_it_is_full(caplog: pytest.LogCaptureFixture) -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        for number in range(5):
            queue.put(message(number))
        assert (queue.dropped, caplog.records) == (2, []), "nobody has ever taken one, so nobody misses any"
        assert (await queue.get(clock)).payload == 2
        for number in range(5, 12):
            queue.put(message(number))
        assert [(await queue.get(clock)).payload for _ in range(3)] == [9, 10, 11]

    with caplog.at_level(logging.WARNING, "ashtree.client"):
        run(test)
    assert [record.getMessage() for record in caplog.records] == [
        "messages of 't' are not taken fast enough: 4 dropped so far",
        "messages of 't' are not taken fast enough: 8 dropped so far",
    ]


def test_who_waits_longer_than_he_will_gets_a_timeout() -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        waiting = asyncio.create_task(queue.get(clock, 5))
        await turns()
        clock.step(4.9)
        await turns()
        assert not waiting.done()
        clock.step(5)
        with pytest.raises(TimeoutError, match="no message of 't' within 5 s"):
            await waiting
        queue.put(message(1))
        assert (await queue.get(clock, 5)).payload == 1
        assert clock.pending() == 0

    run(test)


def test_at_the_end_what_is_there_is_taken_first() -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        queue.put(message(1))
        life.over = True
        assert (await queue.get(clock)).payload == 1
        with pytest.raises(ClosedError, match="no more messages of 't'"):
            await queue.get(clock)

    run(test)


def test_the_end_is_told_to_all_who_wait() -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        waiting = [asyncio.create_task(queue.get(clock)) for _ in range(3)]
        await turns()
        life.over = True
        queue.end()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ClosedError] * 3

    run(test)


def test_who_is_cancelled_takes_no_message_along() -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        first, second = (asyncio.create_task(queue.get(clock)) for _ in range(2))
        await turns()
        queue.put(message(1))
        first.cancel()
        assert (await second).payload == 1
        assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], asyncio.CancelledError)

    run(test)


def test_an_inbox_that_keeps_nothing_says_so() -> None:
    async def test(queue: ReceiveQueue, clock: ManualClock, life: Life) -> None:
        queue.put(message(1))
        assert len(queue) == 0
        with pytest.raises(ValueError, match="max_queue=0"):
            await queue.get(clock)

    run(test, limit=0)


def test_who_gives_up_waiting_leaves_nothing() -> None:
    async def conversation() -> None:
        queue = ReceiveQueue("room:1", 10, lambda: False)
        for _ in range(3):
            waiting = asyncio.create_task(queue.get(ManualClock()))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert len(queue._waiting) == 0

    asyncio.run(conversation())
