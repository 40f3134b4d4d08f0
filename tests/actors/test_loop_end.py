"""Tasks of actors that other code cancels: one of them, or all of them at the end of the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from actors.actor import Actor
from actors.clock import LoopClock
from actors.exceptions import TaskExitError
from actors.exits import NORMAL, SHUTDOWN, Crash, ExitReason
from actors.runtime.loop_end import LoopEnd
from actors.task.task import Task
from actors.testing import WAIT
from supervisors.calls import start_child, which_children
from supervisors.child_spec import ChildSpec
from supervisors.system import System
from supervisors.task_supervisor import TaskSupervisor

if TYPE_CHECKING:
    from actors.ref import ActorRef

Run = Callable[[Coroutine[Any, Any, None]], object]


class Patient(Actor):
    """Waits in its handler, in `on_start` or in `terminate`, until it is interrupted."""

    def __init__(self, journal: list[str], waits_in: str = "on_receive", cleans_up: int = 0) -> None:
        self.journal, self.waits_in, self.cleans_up = journal, waits_in, cleans_up

    def on_start(self) -> Any:
        self.journal.append("starts")
        return self._wait() if self.waits_in == "on_start" else None

    async def on_receive(self, message: asyncio.Event) -> None:
        message.set()
        await self._wait()

    async def _wait(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for _ in range(self.cleans_up):
                await asyncio.shield(asyncio.sleep(0))

    async def on_stop(self) -> None:
        await asyncio.sleep(0)
        self.journal.append("stops")

    def on_failure(self, *error: object) -> None:
        self.journal.append(f"fails: {error[0]}")


class Asks(Actor):
    """Interrupts its own handler."""

    async def on_receive(self, message: object) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.get_running_loop().create_future()


class Limited(Actor):
    """Has a time limit of its own in its handler, which runs out."""

    async def on_receive(self, message: object) -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "late"
        return "never"


def by_hand(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` as programs did before there was `asyncio.run`."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main)
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


runs = pytest.mark.parametrize("run", [asyncio.run, uvloop.run, by_hand], ids=["asyncio", "uvloop", "by hand"])


async def busy(ref: ActorRef[Any]) -> None:
    """Return when the handler of a `Patient` waits."""
    begun = asyncio.Event()
    ref.send(begun)
    await asyncio.wait_for(begun.wait(), WAIT)


async def cleans_up_slowly() -> None:
    """Run when interrupted: a task that nothing cancels, while the loop ends."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.shield(asyncio.create_task(asyncio.sleep(0.01)))


@runs
@pytest.mark.parametrize("rounds", [0, 3], ids=["ends at once", "cleans up"])
def test_what_waits_at_the_end_of_the_loop_stops_and_is_not_restarted(
    run: Run, rounds: int, caplog: pytest.LogCaptureFixture
) -> None:
    journal: list[str] = []

    async def main() -> None:
        first = asyncio.create_task(cleans_up_slowly())
        system = await System(
            [ChildSpec(Patient, (journal, "on_receive", rounds), id=number) for number in range(3)]
        ).start()
        for child in await which_children(system.ref):
            if child.ref is not None and child.actor is Patient:
                await busy(child.ref)
        last = asyncio.create_task(cleans_up_slowly())
        await asyncio.sleep(0)
        assert (first.done(), last.done()) == (False, False)

    run(main())
    assert journal == ["starts"] * 3 + ["stops"] * 3
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@runs
def test_what_starts_at_the_end_of_the_loop_is_not_tried_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    journal: list[str] = []

    async def main() -> None:
        system = await System().start()
        start_child(system.ref, ChildSpec(Patient, (journal, "on_start")))
        await asyncio.sleep(0)
        assert journal == ["starts"]

    run(main())
    assert journal == ["starts"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@runs
def test_a_task_that_runs_at_the_end_of_the_loop_has_not_crashed(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def job(begun: asyncio.Event) -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        await System([ChildSpec(TaskSupervisor, name="tasks")]).start()
        first, second = asyncio.Event(), asyncio.Event()
        TaskSupervisor.start_child("tasks", job, first)
        Task.start(job, second)
        await first.wait()
        await second.wait()

    run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Any:
    """Run an `async` test on an event loop of its own, with a task that goes on."""

    @wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(asyncio.wait_for(test(**fixtures), 4 * WAIT))

    return run


def cancel(ref: ActorRef[Any]) -> None:
    task = ref.process.task
    assert task is not None
    task.cancel()


@on_a_loop
async def test_a_handler_that_other_code_cancels_has_not_crashed_and_its_child_is_restarted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal: list[str] = []
    async with System([ChildSpec(Patient, (journal,))]) as system:
        (ref,) = [info.ref for info in await which_children(system.ref) if info.actor is Patient]
        assert ref is not None
        await busy(ref)
        asked, down = ref.ask(None, block=False), ref.down()
        cancel(ref)
        assert await down == SHUTDOWN
        assert type(asked.exception).__name__ == "ActorDeadError"
        await which_children(system.ref)
        assert journal == ["starts", "stops", "starts"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@on_a_loop
async def test_terminate_that_other_code_cancels_ends_with_the_reason_it_had(caplog: pytest.LogCaptureFixture) -> None:
    begun = asyncio.Event()

    class Slow(Actor):
        async def terminate(self, reason: ExitReason) -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

    ref = Slow.start()
    down = ref.down()
    ref.stop(block=False)
    await begun.wait()
    cancel(ref)
    assert await down == NORMAL
    assert caplog.records == []


@on_a_loop
async def test_a_task_that_other_code_cancels_has_not_crashed(caplog: pytest.LogCaptureFixture) -> None:
    running: asyncio.Future[asyncio.Task[Any] | None] = asyncio.get_running_loop().create_future()

    async def job() -> None:
        running.set_result(asyncio.current_task())
        await asyncio.get_running_loop().create_future()

    task = Task.start(job)
    runs = await running
    assert runs is not None
    runs.cancel()
    with pytest.raises(TaskExitError):
        await task
    assert task.exit_reason == SHUTDOWN
    assert caplog.records == []


@on_a_loop
async def test_a_handler_that_cancels_itself_has_crashed() -> None:
    ref = Asks.start()
    down = ref.down()
    ref.send("go")
    assert isinstance(await down, Crash)


@on_a_loop
async def test_a_time_limit_in_a_handler_is_its_own_affair() -> None:
    ref = Limited.start()
    assert [await ref.call("go") for _ in range(3)] == ["late"] * 3


# How the end is noticed


def test_a_loop_that_goes_on_although_all_its_tasks_were_cancelled_restarts_then() -> None:
    journal: list[str] = []
    loop = asyncio.new_event_loop()

    async def start() -> ActorRef[Any]:
        system = await System([ChildSpec(Patient, (journal,))]).start()
        (ref,) = [info.ref for info in await which_children(system.ref) if info.actor is Patient]
        assert ref is not None
        await busy(ref)
        return ref

    ref = loop.run_until_complete(start())
    loop.call_soon(cancel, ref)
    again = loop.call_later(0, _until, lambda: len(journal) == 3, loop)
    loop.run_forever()
    assert journal == ["starts", "stops", "starts"]
    again.cancel()
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _until(is_so: Callable[[], bool], loop: asyncio.AbstractEventLoop) -> None:
    if is_so():
        loop.stop()
    else:
        loop.call_later(0.01, _until, is_so, loop)


@on_a_loop
async def test_while_one_task_goes_on_the_others_are_not_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, visits = asyncio.get_running_loop(), list[str]()
    end = LoopEnd(loop, LoopClock(loop))
    goes_on = asyncio.create_task(asyncio.Event().wait())
    await asyncio.sleep(0)
    before = asyncio.all_tasks

    def all_tasks(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[Any]]:
        visits.append("all")
        return before(loop)

    monkeypatch.setattr(asyncio, "all_tasks", all_tasks)
    for _ in range(1000):
        end.look()
    goes_on.cancel()
    assert (visits, end.suspected) == (["all"], False)
