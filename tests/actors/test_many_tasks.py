"""Tasks that are waited for together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from actors.actor import Actor
from actors.exceptions import BlockingCallError, TaskExitError, Timeout
from actors.exits import KILLED, NORMAL, Crash, ExitReason
from actors.task.task import Task
from actors.task.task_actor import TIMED_OUT
from actors.testing import WAIT, ManualRuntime

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.scheduler import in_thread


class BoomError(Exception):
    pass


class Gates:
    """Coroutine functions that wait until they are let go on, by number."""

    def __init__(self) -> None:
        self._events: dict[int, asyncio.Event] = {}
        self.over: list[int] = []

    def open(self, number: int) -> None:
        self._events[number].set()

    async def wait(self, number: int) -> int:
        self._events[number] = asyncio.Event()
        try:
            await self._events[number].wait()
        finally:
            self.over.append(number)
        if number < 0:
            raise BoomError(number)
        return number * 10


class Owner(Actor):
    """Does in its handler what it is sent."""

    def on_receive(self, message: Callable[[Owner], Any]) -> Any:
        return message(self)


@pytest.fixture
def gates() -> Gates:
    return Gates()


@pytest.fixture
def owner(runtime: ManualRuntime) -> ActorRef[Owner]:
    return Owner.start()


def started(runtime: ManualRuntime, gates: Gates, *numbers: int) -> list[Task[int]]:
    tasks = [Task.start(gates.wait, number) for number in numbers]
    runtime.settle()
    return tasks


def later(runtime: ManualRuntime, waiting: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.ensure_future(waiting, loop=runtime._scheduler.loop)
    runtime.settle()
    return future


# await_many


def test_the_results_of_many_tasks_are_in_their_order(runtime: ManualRuntime, gates: Gates) -> None:
    tasks = started(runtime, gates, 1, 2, 3)
    waiting = later(runtime, Task.await_many(tasks))
    for number in (3, 1):
        gates.open(number)
        runtime.settle()
        assert not waiting.done()
    gates.open(2)
    runtime.settle()
    assert waiting.result() == [10, 20, 30]
    assert later(runtime, Task.await_many(iter(tasks))).result() == [10, 20, 30]


def test_of_no_tasks_there_are_no_results(runtime: ManualRuntime) -> None:
    assert later(runtime, Task.await_many([])).result() == []
    assert later(runtime, Task.yield_many([])).result() == []
    assert (Task.get_many([]), Task.wait_many([])) == ([], [])


def test_the_first_failure_is_raised_at_once_and_the_other_tasks_go_on(runtime: ManualRuntime, gates: Gates) -> None:
    tasks = started(runtime, gates, 1, -2, -3)
    waiting = later(runtime, Task.await_many(tasks, timeout=None))
    gates.open(-3)
    runtime.settle()
    with pytest.raises(BoomError, match="-3"):
        waiting.result()
    assert [task.done for task in tasks] == [False, False, True]


def test_a_task_that_was_told_to_end_is_a_failure(runtime: ManualRuntime, gates: Gates) -> None:
    tasks = started(runtime, gates, 1, 2)
    waiting = later(runtime, Task.await_many(tasks))
    tasks[1].cancel()
    runtime.settle()
    with pytest.raises(TaskExitError):
        waiting.result()


def test_linked_tasks_that_are_late_are_ended_and_others_go_on(
    runtime: ManualRuntime, owner: ActorRef[Owner], gates: Gates
) -> None:
    done, linked, free = Task.start(gates.wait, 1), Task.start_link(owner, gates.wait, 2), Task.start(gates.wait, 3)
    runtime.settle()
    waiting = later(runtime, Task.await_many([done, linked, free], timeout=2.0))
    gates.open(1)
    runtime.advance(1.999)
    assert not waiting.done()
    runtime.advance(0.001)
    with pytest.raises(Timeout, match=r"^2 of 3 tasks have no result after 2 seconds: wait, wait$"):
        waiting.result()
    assert (done.exit_reason, linked.exit_reason, free.exit_reason) == (NORMAL, TIMED_OUT, None)
    assert (gates.over, owner.is_alive()) == ([1, 2], True)


def test_a_linked_task_that_fails_ends_its_owner_and_with_it_the_others(
    runtime: ManualRuntime, owner: ActorRef[Owner], gates: Gates
) -> None:
    tasks: list[Task[int]] = []

    async def all_of_them(actor: Owner) -> list[int]:
        tasks.extend(Task.start_link(actor, gates.wait, number) for number in (1, -2))
        return await Task.await_many(tasks)

    owner.tell(all_of_them)
    runtime.settle()
    gates.open(-2)
    runtime.settle()
    assert isinstance(owner.exit_reason, Crash)
    assert (tasks[0].done, gates.over, runtime.actors) == (True, [-2, 1], [])


def test_many_names_are_cut(runtime: ManualRuntime, gates: Gates) -> None:
    waiting = later(runtime, Task.await_many(started(runtime, gates, *range(1, 8)), timeout=1))
    runtime.advance(1)
    with pytest.raises(
        Timeout, match=r"^7 of 7 tasks have no result after 1 seconds: wait, wait, wait, wait, wait, …$"
    ):
        waiting.result()


# yield_many


def test_yield_many_has_the_reason_of_each_and_raises_nothing(runtime: ManualRuntime, gates: Gates) -> None:
    tasks = started(runtime, gates, 1, -2, 3, 4)
    waiting = later(runtime, Task.yield_many(tasks, timeout=2.0))
    gates.open(1)
    gates.open(-2)
    assert tasks[3].ref is not None
    tasks[3].ref.kill()
    runtime.advance(1.999)
    assert not waiting.done()
    runtime.advance(0.001)
    outcomes: list[tuple[Task[int], ExitReason | None]] = waiting.result()
    assert [task for task, _ in outcomes] == tasks
    first, second, third, fourth = (reason for _, reason in outcomes)
    assert (first, third, fourth) == (NORMAL, None, KILLED)
    assert isinstance(second, Crash)
    assert tasks[0].get() == 10
    assert not tasks[2].done


def test_yield_many_ends_nothing_and_can_be_called_again(
    runtime: ManualRuntime, owner: ActorRef[Owner], gates: Gates
) -> None:
    task = Task.start_link(owner, gates.wait, 1)
    runtime.settle()
    waiting = later(runtime, Task.yield_many([task], timeout=1))
    runtime.advance(1)
    assert waiting.result() == [(task, None)]
    waiting = later(runtime, Task.yield_many([task], timeout=1))
    gates.open(1)
    runtime.settle()
    assert waiting.result() == [(task, NORMAL)]


# Other threads


def double(number: int) -> int:
    return number * 2


def test_another_thread_gets_the_results_of_many_tasks(background: in_thread) -> None:
    tasks = [Task.start(double, number) for number in range(5)]
    assert Task.get_many(tasks, timeout=WAIT) == [0, 2, 4, 6, 8]
    assert Task.wait_many(tasks, timeout=WAIT) == [(task, NORMAL) for task in tasks]


def test_another_thread_waits_no_longer_than_it_wants(background: in_thread) -> None:
    gate = threading.Event()
    owner = Owner.start()
    quick, slow, linked = (
        Task.start(double, 1),
        Task.start(gate.wait, WAIT),
        Task.start_link(owner, asyncio.sleep, WAIT),
    )
    quick.get(timeout=WAIT)
    tasks: list[Task[Any]] = [quick, slow, linked]
    assert [reason for _, reason in Task.wait_many(tasks, timeout=0.01)] == [NORMAL, None, None]
    with pytest.raises(Timeout, match="2 of 3 tasks"):
        Task.get_many(tasks, timeout=0.01)
    with pytest.raises(Timeout, match="its time was over"):
        linked.get(timeout=WAIT)
    gate.set()
    assert slow.get(timeout=WAIT) is True
    owner.stop(timeout=WAIT)


def test_another_thread_gets_the_first_failure(background: in_thread) -> None:
    def fail() -> None:
        raise BoomError("first")

    gate = threading.Event()
    waiting, failing = Task.start(gate.wait, WAIT), Task.start(fail)
    tasks: list[Task[Any]] = [waiting, failing]
    with pytest.raises(BoomError, match="first"):
        Task.get_many(tasks, timeout=WAIT)
    gate.set()
    waiting.get(timeout=WAIT)


def test_a_loop_is_not_blocked(owner: ActorRef[Owner], gates: Gates) -> None:
    def block(actor: Owner) -> None:
        tasks = [Task.start_link(actor, gates.wait, 1)]
        for call in (Task.get_many, Task.wait_many):
            with pytest.raises(
                BlockingCallError, match=r"_many\(\) would block .* write `await Task\.(await|yield)_many"
            ):
                call(tasks)

    owner.ask(block)


def test_a_loop_awaits_tasks_of_another_one(background: in_thread) -> None:
    ref = Owner.start()
    tasks = [Task.start(double, 1), Task.start_link(ref, double, 2)]

    async def wait() -> None:
        assert await Task.await_many(tasks, timeout=WAIT) == [2, 4]
        assert await Task.yield_many(tasks, timeout=WAIT) == [(task, NORMAL) for task in tasks]

    asyncio.run(wait())
    ref.stop(timeout=WAIT)


# Mistakes


@pytest.mark.parametrize("wrong", [None, 1, "tasks", [1], [None]], ids=repr)
def test_what_is_no_list_of_tasks_is_refused(runtime: ManualRuntime, wrong: Any) -> None:
    for call in (Task.get_many, Task.wait_many):
        with pytest.raises(TypeError, match=r"_many\(\) takes a list of tasks, got"):
            call(wrong)
    for waits in (Task.await_many, Task.yield_many):
        with pytest.raises(TypeError, match=r"_many\(\) takes a list of tasks, got"):
            later(runtime, waits(wrong)).result()


def test_type_checkers_know_the_results(runtime: ManualRuntime) -> None:
    tasks = [Task.start(double, 1)]
    runtime.settle()
    assert_type(Task.wait_many(tasks), list[tuple[Task[int], ExitReason | None]])
    assert_type(Task.get_many(tasks), list[int])
