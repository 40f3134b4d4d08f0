"""The pace of writing: turns in the order in which they were asked for, so many in one iteration of the event loop."""

from __future__ import annotations

import asyncio

from actors import Actor
from actors.channels.message import Broadcast, Frame, Opcode
from actors.lowlevel import Scheduler
from tests.transport.wire import on_loop, until
from transport.carriers.pace import ROUND, Pace

BROADCAST = Broadcast("room:1", "news", {})


async def in_iterations(pace: Pace, *sizes: int) -> list[list[int]]:
    """Let a task for each size take its turn; return which had it in each iteration of the loop."""
    had: list[int] = []

    async def write(number: int, size: int) -> None:
        await pace.turn(size)
        had.append(number)

    tasks = [asyncio.create_task(write(number, size)) for number, size in enumerate(sizes)]
    rounds = []
    while len(had) < len(tasks) - sum(task.cancelled() for task in tasks):
        before = len(had)
        await asyncio.sleep(0)
        rounds.append(had[before:])
    return [numbers for numbers in rounds if numbers]


@on_loop
async def test_so_many_messages_are_written_in_one_iteration_in_order() -> None:
    rounds = await in_iterations(Pace(), *[10] * 80)
    assert [number for numbers in rounds for number in numbers] == list(range(80))
    assert [len(numbers) for numbers in rounds] == [ROUND, ROUND, 80 - 2 * ROUND]


@on_loop
async def test_replies_do_not_wait_behind_broadcasts_unless_they_are_many() -> None:
    pace = Pace()
    broadcasts = [asyncio.create_task(pace.turn(10)) for _ in range(2 * ROUND)]
    replies = [asyncio.create_task(pace.turn(10, is_broadcast=False)) for _ in range(ROUND + 1)]
    await asyncio.sleep(0)
    assert [task.done() for task in broadcasts] == [True] * ROUND + [False] * ROUND
    assert [task.done() for task in replies] == [True] * ROUND + [False]
    await asyncio.gather(*broadcasts, *replies)


@on_loop
async def test_neither_replies_nor_broadcasts_wait_for_ever() -> None:
    pace, order = Pace(), list[str]()

    async def write(name: str, *, is_broadcast: bool) -> None:
        await pace.turn(8_000_000, is_broadcast=is_broadcast)
        order.append(name)

    await asyncio.gather(
        *(write(f"reply {number}", is_broadcast=False) for number in range(3)),
        *(write(f"broadcast {number}", is_broadcast=True) for number in range(3)),
    )
    assert order == ["reply 0", "reply 1", "broadcast 0", "reply 2", "broadcast 1", "broadcast 2"]


@on_loop
async def test_a_long_message_counts_as_many() -> None:
    pace = Pace()
    assert await in_iterations(pace, ROUND * 4096, 1, 100_000, 100_000, 1) == [[0], [1, 2, 3], [4]]
    await asyncio.sleep(0)
    assert await in_iterations(pace, 8_000_000, 8_000_000) == [[0], [1]]


@on_loop
async def test_a_task_that_was_cancelled_takes_no_turn() -> None:
    pace = Pace()
    tasks = [asyncio.create_task(pace.turn(ROUND * 4096)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [True, True, True]


@on_loop
async def test_a_broadcast_is_decoded_once_and_not_kept_when_all_is_written() -> None:
    pace = Pace()
    news, reply = Frame(Opcode.TEXT, b"news", broadcast=BROADCAST), Frame(Opcode.TEXT, b"reply")
    first = pace.text_of(news)
    assert (pace.text_of(reply), pace.text_of(news)) == ("reply", "news")
    assert pace.text_of(news) is first
    await pace.turn(4)
    await asyncio.sleep(0)
    assert pace._decoded is None
    assert pace.text_of(news) == "news"


class Shouting(Actor):
    """Broadcasts to so many clients for each message."""

    def __init__(self, pace: Pace) -> None:
        self.pace, self.handled = pace, 0

    def on_receive(self, clients: int) -> None:
        self.handled += 1
        for _ in range(clients):
            self.pace.queued(Scheduler.here(), self._process)


def shouting(pace: Pace, clients: int, count: int) -> Shouting:
    ref = Shouting.start(pace)
    for _ in range(count):
        ref.send(clients)
    actor = ref.process.actor
    assert isinstance(actor, Shouting)
    return actor


@on_loop
async def test_an_actor_waits_until_its_broadcasts_are_written_and_no_other_one_does() -> None:
    pace = Pace()
    loud, quiet = shouting(pace, 100, 3), shouting(pace, 1, 50)
    await asyncio.sleep(0)
    writing = [asyncio.create_task(pace.turn(10)) for _ in range(100)]
    assert (loud.handled, quiet.handled) == (1, 50)
    for _ in range(2):
        await asyncio.sleep(0)
    assert loud.handled == 1
    await asyncio.gather(*writing)
    await until(lambda: loud.handled == 3)


@on_loop
async def test_an_actor_that_broadcasts_no_more_than_is_written_is_not_paced() -> None:
    pace = Pace()
    scheduler, process = Scheduler.here(), Shouting.start(pace).process
    for _ in range(300):
        blocked = asyncio.create_task(pace.turn(8_000_000))
        pace.queued(scheduler, process)
        await blocked
    assert not scheduler._paced
