"""A task for each of many items, a bounded number at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import Timeout
from actors.exits import SHUTDOWN, Crash, Exit, Normal
from actors.task.task import Task
from actors.task.task_stream import Items, TaskStream

if TYPE_CHECKING:
    from actors.runtime.scheduler import in_thread
    from actors.testing import ManualRuntime


class BoomError(Exception):
    pass


class Works:
    """A function whose calls end when the test says so."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.ended: list[int] = []
        self.gates: dict[int, asyncio.Future[Any]] = {}

    async def __call__(self, number: int) -> str:
        self.began.append(number)
        self.gates[number] = asyncio.get_running_loop().create_future()
        try:
            return await self.gates[number] or f"{number} done"
        finally:
            self.ended.append(number)

    def finish(self, *numbers: int) -> None:
        for number in numbers:
            self.gates[number].set_result(None)

    def fail(self, number: int) -> None:
        self.gates[number].set_exception(BoomError(number))


@pytest.fixture
def works() -> Works:
    return Works()


class Consumer:
    """Takes from a stream one after the other, and keeps what it got."""

    def __init__(self, runtime: ManualRuntime, stream: TaskStream[Any, Any]) -> None:
        self.runtime, self.taken = runtime, []
        self.task = runtime._scheduler.loop.create_task(self._take_all(stream))
        runtime.settle()

    taken: list[Any]

    async def _take_all(self, stream: TaskStream[Any, Any]) -> None:
        async for result in stream:
            self.taken.append(result)


def stream(
    function: Callable[[Any], Any], items: Items[Any], max_concurrency: int, *, ordered: bool = True
) -> TaskStream[Any, Any]:
    return TaskStream(
        partial(Task.start, function), items, take=Task.get, max_concurrency=max_concurrency, ordered=ordered
    )


async def taken(source: TaskStream[Any, Any]) -> list[Any]:
    return [result async for result in source]


async def double(number: int) -> int:
    return number * 2


async def numbers_from_afar(numbers: Iterator[int]) -> AsyncIterator[int]:
    for number in numbers:
        yield number


class Crawler(Actor):
    """Takes the results of a stream of its own in its handler."""

    def __init__(self, works: Works, *, trap_exit: bool = False, most: int | None = None) -> None:
        self.works, self.trap_exit, self.most = works, trap_exit, most
        self.taken: list[Any] = []

    async def on_receive(self, message: Any) -> None:
        if isinstance(message, Exit):
            self.taken.append(message.reason)
            return
        results = Task.async_stream(self, self.works, message, max_concurrency=2, timeout=10.0)
        try:
            async for result in results:
                self.taken.append(result)
                if len(self.taken) == self.most:
                    break
        except (BoomError, Timeout) as error:
            self.taken.append(type(error))


def test_a_stream_without_a_supervisor_is_of_tasks_below_its_owner(runtime: ManualRuntime, works: Works) -> None:
    crawler = Crawler.start(works)
    crawler.tell(count())
    runtime.settle()
    assert works.began == [0, 1]
    tasks = [ref for ref in runtime.actors if ref is not crawler]
    assert [ref.process.parent for ref in tasks] == [crawler.process] * 2
    works.finish(1)
    runtime.settle()
    assert works.began == [0, 1]  # in order: the result of 1 is waiting to be taken
    works.finish(0)
    runtime.settle()
    assert works.began == [0, 1, 2, 3]
    crawler.exit(SHUTDOWN)
    runtime.settle()
    assert (runtime.actors, sorted(works.ended)) == ([], [0, 1, 2, 3])


def test_a_consumer_that_stops_early_stops_the_tasks_and_lives_on(runtime: ManualRuntime, works: Works) -> None:
    crawler = Crawler.start(works, most=1)
    crawler.tell(count())
    runtime.settle()
    works.finish(0)
    runtime.settle()
    assert (crawler.proxy().taken.get(), sorted(works.ended)) == (["0 done"], [0, 1])
    assert runtime.actors == [crawler]


def test_a_task_of_a_stream_that_raises_ends_its_owner(runtime: ManualRuntime, works: Works) -> None:
    crawler = Crawler.start(works)
    crawler.tell(range(2))
    runtime.settle()
    works.fail(1)
    runtime.settle()
    assert isinstance(crawler.exit_reason, Crash)
    assert (runtime.actors, sorted(works.ended)) == ([], [0, 1])


def test_an_owner_that_traps_exits_gets_the_error_in_its_turn(runtime: ManualRuntime, works: Works) -> None:
    crawler = Crawler.start(works, trap_exit=True)
    crawler.tell(range(3))
    runtime.settle()
    works.fail(1)
    runtime.settle()
    works.finish(0)
    runtime.settle()
    first, error, *reasons = crawler.proxy().taken.get()
    assert (first, error) == ("0 done", BoomError)
    assert [type(reason) for reason in reasons] == [
        Crash,
        Normal,
    ]  # of the task that raised, and of the one that did not
    assert runtime.actors == [crawler]


def test_a_task_of_a_stream_that_is_late_raises_timeout_and_its_owner_lives_on(
    runtime: ManualRuntime, works: Works
) -> None:
    crawler = Crawler.start(works)
    crawler.tell(range(3))
    runtime.advance(10.0)
    assert (crawler.proxy().taken.get(), sorted(works.ended)) == ([Timeout], [0, 1])


@pytest.mark.parametrize("ordered", [True, False], ids=["ordered", "as ready"])
def test_a_stream_may_have_neither_a_supervisor_nor_an_owner(
    runtime: ManualRuntime, works: Works, ordered: Any
) -> None:
    consumer = Consumer(runtime, Task.async_stream(None, works, [0, 1], max_concurrency=2, ordered=ordered))
    works.finish(1)
    runtime.settle()
    assert consumer.taken == ([] if ordered else ["1 done"])
    works.finish(0)
    runtime.settle()
    assert consumer.taken == (["0 done", "1 done"] if ordered else ["1 done", "0 done"])
    assert runtime.actors == []


def test_plain_functions_of_a_stream_run_in_threads(background: in_thread) -> None:
    async def take() -> list[int]:
        return [result async for result in Task.async_stream(None, abs, [-1, -2, -3], max_concurrency=2)]

    assert asyncio.run(take()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        ((double, [1]), {}, "the owner is missing before the function"),
        ((None, double), {}, "the items are missing"),
        ((None, double, 7), {}, "items must be an iterable"),
        ((None, double, [1]), {"max_concurrency": 0}, "max_concurrency must be"),
        ((None, double, [1]), {"timeout": 0}, "timeout must be"),
    ],
    ids=["no owner", "no items", "wrong items", "max_concurrency", "timeout"],
)
def test_a_stream_that_cannot_be_is_refused_at_once(
    runtime: ManualRuntime, arguments: Any, options: Any, error: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        Task.async_stream(*arguments, **{"max_concurrency": 1, **options})


FORMS: dict[str, Callable[[Iterator[int]], Items[int]]] = {"iterable": lambda items: items, "async": numbers_from_afar}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


# What comes out


@every_form
@pytest.mark.parametrize("max_concurrency", [1, 2, 3, 100])
@pytest.mark.parametrize("size", [0, 1, 7])
def test_the_results_come_in_the_order_of_the_items(
    size: int, max_concurrency: int, form: Callable[[Iterator[int]], Items[int]], runtime: ManualRuntime
) -> None:
    source = stream(double, form(iter(range(size))), max_concurrency)
    assert runtime.run(taken(source)) == [number * 2 for number in range(size)]
    assert runtime.actors == []


def test_with_a_slow_first_the_others_wait_for_it(runtime: ManualRuntime, works: Works) -> None:
    consumer = Consumer(runtime, stream(works, range(5), 3))
    works.finish(2, 1)
    runtime.settle()
    assert consumer.taken == []
    assert works.began == [0, 1, 2]
    works.finish(0)
    runtime.settle()
    assert consumer.taken == ["0 done", "1 done", "2 done"]
    assert works.began == [0, 1, 2, 3, 4]
    works.finish(3, 4)
    runtime.settle()
    assert consumer.task.done()


def test_unordered_they_come_as_they_are_ready_and_a_slow_first_holds_up_nobody(
    runtime: ManualRuntime, works: Works
) -> None:
    consumer = Consumer(runtime, stream(works, range(5), 2, ordered=False))
    for number in (1, 2, 3, 4):
        works.finish(number)
        runtime.settle()
    assert consumer.taken == ["1 done", "2 done", "3 done", "4 done"]
    works.finish(0)
    runtime.settle()
    assert consumer.taken[4:] == ["0 done"]
    assert consumer.task.done()


# How much at a time


@every_form
def test_items_are_asked_for_only_when_there_is_room(
    form: Callable[[Iterator[int]], Items[int]], runtime: ManualRuntime, works: Works
) -> None:
    asked: list[int] = []

    def endless() -> Iterator[int]:
        for number in count():
            asked.append(number)
            yield number

    consumer = Consumer(runtime, stream(works, form(endless()), 3))
    assert asked == works.began == [0, 1, 2]
    works.finish(0)
    runtime.settle()
    assert consumer.taken == ["0 done"]
    assert asked == works.began == [0, 1, 2, 3]
    consumer.task.cancel()
    runtime.settle()
    assert sorted(works.ended) == [0, 1, 2, 3]


def test_nothing_begins_before_somebody_wants_a_result(runtime: ManualRuntime, works: Works) -> None:
    source = stream(works, range(3), 2)
    runtime.settle()
    assert works.began == []
    source.close()


def test_nothing_more_begins_while_the_consumer_is_busy_with_a_result(runtime: ManualRuntime, works: Works) -> None:
    async def take_one(source: TaskStream[Any, Any]) -> Any:
        return await anext(source)

    source = stream(works, count(), 2)
    first = runtime._scheduler.loop.create_task(take_one(source))
    runtime.settle()
    works.finish(0, 1)
    runtime.settle()
    assert first.result() == "0 done"
    assert works.began == [0, 1]
    source.close()


def test_one_at_a_time_is_one_after_the_other(runtime: ManualRuntime, works: Works) -> None:
    consumer = Consumer(runtime, stream(works, range(3), 1))
    for number in range(3):
        assert works.began == list(range(number + 1))
        works.finish(number)
        runtime.settle()
    assert consumer.taken == ["0 done", "1 done", "2 done"]


def test_a_source_that_lets_wait_holds_up_no_result_and_is_not_waited_for_at_the_end(runtime: ManualRuntime) -> None:
    journal: list[str] = []

    async def source() -> AsyncIterator[int]:
        yield 1
        yield 2
        try:
            await asyncio.Event().wait()
        finally:
            journal.append("over")

    consumer = Consumer(runtime, stream(double, source(), 3))
    assert consumer.taken == [2, 4]
    assert not consumer.task.done()
    consumer.task.cancel()
    runtime.settle()
    assert journal == ["over"]


# How it ends


def test_an_item_that_fails_raises_in_its_turn_and_ends_the_others(runtime: ManualRuntime, works: Works) -> None:
    consumer = Consumer(runtime, stream(works, range(9), 3))
    works.fail(1)
    runtime.settle()
    assert not consumer.task.done()
    works.finish(0)
    runtime.settle()
    assert isinstance(consumer.task.exception(), BoomError)
    assert consumer.taken == ["0 done"]
    assert sorted(works.ended) == works.began == [0, 1, 2]  # the next one was ended before its first step
    assert runtime.actors == []


def test_after_its_end_a_stream_has_nothing_more(runtime: ManualRuntime) -> None:
    source = stream(double, [1], 1)
    assert runtime.run(taken(source)) == [2]
    assert runtime.run(taken(source)) == []


def test_break_ends_the_tasks_that_still_run(runtime: ManualRuntime, works: Works) -> None:
    async def take_one() -> str:
        async for result in stream(works, count(), 3):
            return str(result)
        return "none"

    first = runtime._scheduler.loop.create_task(take_one())
    runtime.settle()
    works.finish(0)
    runtime.settle()
    assert first.result() == "0 done"
    assert sorted(works.ended) == [0, 1, 2]
    assert runtime.actors == []


def test_closing_ends_the_tasks_that_still_run(runtime: ManualRuntime, works: Works) -> None:
    async def take_none() -> None:
        async with contextlib.aclosing(stream(works, count(), 3)) as source:
            pulling = asyncio.ensure_future(anext(source))
            while len(works.began) < 3:
                await Task.start(double, 1)
        with pytest.raises(StopAsyncIteration):
            await anext(source)
        pulling.cancel()

    runtime.run(take_none())
    assert works.ended == [0, 1, 2]


@every_form
def test_what_the_source_raises_comes_out_and_ends_the_tasks(
    form: Callable[[Iterator[int]], Items[int]], runtime: ManualRuntime, works: Works
) -> None:
    def broken() -> Iterator[int]:
        yield 0
        raise BoomError

    consumer = Consumer(runtime, stream(works, form(broken()), 3))
    assert isinstance(consumer.task.exception(), BoomError)
    assert works.ended == works.began
    assert runtime.actors == []


# Mistakes


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_wrong_max_concurrency_is_named_with_its_value(wrong: int) -> None:
    with pytest.raises(ValueError, match=rf"^max_concurrency must be a whole number >= 1, got {wrong}$"):
        stream(double, [], wrong)


def test_items_that_are_none_are_refused_with_their_value() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match=r"^items must be an iterable or an async iterable, got 3$"):
        stream(double, wrong, 1)
