"""Nothing that has ended or failed is left to the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import sys
from actors.actor import Actor
from actors.exceptions import ActorDeadError, AskCycleError, StartError, TaskExitError
from actors.exits import Refuse
from actors.ref import ActorRef
from actors.runtime import report
from actors.task.task import Task
from actors.testing import WAIT
from actors.threads.threaded_actor import ThreadedActor
from supervisors.calls import count_children, start_child
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.system import System
from supervisors.task_supervisor import TaskSupervisor

if TYPE_CHECKING:
    from actors.runtime.scheduler import in_thread

Scenario = Callable[[], Coroutine[Any, Any, None]]

scenarios: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    scenarios.append(function)
    return function


class Plain(Actor):
    def on_receive(self, message: Any) -> object:
        match message:
            case "refuse":
                return Refuse(ValueError("no"))
            case "crash":
                raise ValueError("boom")
            case "keep":
                self.reply_later()
            case "refuse later":
                self.reply_later().refuse(ValueError("no"))
        return message


class Async(Plain):
    async def on_receive(self, message: Any) -> object:
        await asyncio.sleep(0)
        if message == "wait":
            await asyncio.get_running_loop().create_future()
        if message == "circle":
            return await self.actor_ref.call("any")
        if isinstance(message, ActorRef):
            return await message.call("crash")
        return super().on_receive(message)


class Threaded(ThreadedActor, Plain):
    def on_receive(self, message: Any) -> object:
        return message.ask("refuse") if isinstance(message, ActorRef) else super().on_receive(message)


class BadStart(Actor):
    def on_start(self) -> None:
        raise ValueError("boom")


class BadAsyncStart(Actor):
    async def on_start(self) -> None:
        await asyncio.sleep(0)
        raise ValueError("boom")


class SlowStart(Actor):
    start_timeout = 0.001

    async def on_start(self) -> None:
        await asyncio.get_running_loop().create_future()


async def end(*refs: ActorRef[Any]) -> None:
    for ref in refs:
        ref.kill()
        await ref.down()
    await asyncio.sleep(0)  # the task of a handler is cancelled


def fails(kind: type[Actor], message: str) -> Scenario:
    async def call() -> None:
        ref = kind.start()
        with suppress(ValueError):
            await ref.call(message, timeout=WAIT)
        await end(ref)

    async def ask() -> None:
        ref = kind.start()
        with suppress(ValueError):
            await ref.ask(message, block=False, timeout=WAIT)
        await end(ref)

    for run in (call, ask):
        run.__name__ = f"{kind.__name__} {message} {run.__name__}"
        scenarios.append(run)
    return call


for kind in (Plain, Async, Threaded):
    for message in ("refuse", "refuse later", "crash"):
        fails(kind, message)


@scenario
async def a_told_crash() -> None:
    for kind in (Plain, Async):
        ref = kind.start()
        ref.tell("crash")
        await ref.down()


@scenario
async def a_crash_that_is_passed_on() -> None:
    one, other = Async.start(), Plain.start()
    with suppress(ValueError):
        await one.call(other)


@scenario
async def a_refusal_in_a_thread() -> None:
    one, other = Threaded.start(), Plain.start()
    with suppress(ValueError):
        await one.call(other, timeout=WAIT)
    await end(one, other)


@scenario
async def a_traced_crash() -> None:
    ref = Plain.start()
    sys.trace(ref, to=lambda _line: None)
    with suppress(ValueError):
        await ref.call("crash")


@scenario
async def a_kill_in_a_handler() -> None:
    ref = Async.start()
    ref.tell("wait")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await end(ref)


@scenario
async def a_kill_of_who_keeps_a_request() -> None:
    ref = Plain.start()
    call = asyncio.ensure_future(ref.call("keep"))
    await asyncio.sleep(0)
    await end(ref)
    with suppress(ActorDeadError):
        await call
    del call


@scenario
async def an_exit_signal_in_a_handler() -> None:
    ref = Async.start()
    ref.tell("wait")
    await asyncio.sleep(0)
    ref.exit(ValueError("boom"))
    await ref.down()
    await asyncio.sleep(0)


@scenario
async def a_timeout() -> None:
    for kind, message in ((Async, "wait"), (Plain, "keep")):
        ref = kind.start()
        with suppress(pykka.Timeout):
            await ref.call(message, timeout=0)
        await end(ref)


@scenario
async def a_cancelled_wait() -> None:
    ref = Async.start()
    for wait in (ref.call("wait"), ref.down()):
        with suppress(TimeoutError):
            await asyncio.wait_for(wait, 0.001)
    del wait
    await end(ref)


@scenario
async def a_dead_actor() -> None:
    ref = Plain.start()
    await end(ref)
    with suppress(ActorDeadError):
        await ref.call("any")


@scenario
async def a_circle_of_asks() -> None:
    ref = Async.start()
    with suppress(AskCycleError):
        await ref.call("circle")


@scenario
async def a_start_that_fails() -> None:
    with suppress(StartError):
        BadStart.start()
    for kind in (BadAsyncStart, SlowStart):
        with suppress(StartError):
            await kind.start().started()
        await asyncio.sleep(0)


def raises() -> None:
    raise ValueError("boom")


async def raises_later() -> None:
    await asyncio.sleep(0)
    raise ValueError("boom")


async def waits() -> None:
    await asyncio.get_running_loop().create_future()


@scenario
async def a_task_that_crashes() -> None:
    for function in (raises, raises_later):
        with suppress(ValueError):
            await Task.start(function)


@scenario
async def a_task_that_is_ended() -> None:
    for end_it in (Task.cancel, lambda task: task.ref.kill()):
        task = Task.start(waits)
        for _ in range(3):  # it begins to wait
            await asyncio.sleep(0)
        end_it(task)
        with suppress(TaskExitError):
            await task
        del task
    await asyncio.sleep(0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    logging.disable(logging.CRITICAL)
    with asyncio.Runner() as runner:
        yield runner.get_loop()
    logging.disable(logging.NOTSET)


@contextmanager
def without_collections() -> Iterator[None]:
    """Assert that the block leaves no cycles, once the threads of its actors have ended."""
    forget_crashes()
    threads = set(threading.enumerate())
    gc.collect()
    gc.disable()
    try:
        yield
        for thread in set(threading.enumerate()) - threads:
            thread.join(WAIT)
        forget_crashes()
        assert gc.collect() == 0
    finally:
        gc.enable()


def forget_crashes() -> None:
    """Drop the reports of crashes, which keep the actors of the last few."""
    report._crashes.clear()


@pytest.mark.parametrize("run", scenarios, ids=lambda run: run.__name__)
def test_nothing_is_left(loop: asyncio.AbstractEventLoop, run: Scenario) -> None:
    loop.run_until_complete(run())
    with without_collections():
        loop.run_until_complete(run())
        loop.run_until_complete(asyncio.sleep(0))


async def restart(system: System) -> None:
    ref = system.whereis("plain")
    assert ref is not None
    with suppress(ValueError):
        await ref.call("crash")
    await count_children(system.ref)  # it has restarted the actor before it replies
    assert system.whereis("plain") not in {ref, None}


async def children_that_do_not_start(_: System) -> None:
    for kind in (BadStart, BadAsyncStart):
        with suppress(StartError):
            await start_child("dynamic", kind)


async def tasks_that_crash(_: System) -> None:
    for function in (raises, raises_later):
        with suppress(ValueError):
            await TaskSupervisor.start_child("tasks", function)


@pytest.mark.parametrize("run", [restart, children_that_do_not_start, tasks_that_crash], ids=lambda run: run.__name__)
def test_nothing_is_left_in_a_system(
    loop: asyncio.AbstractEventLoop, run: Callable[[System], Coroutine[Any, Any, None]]
) -> None:
    specs = [
        ChildSpec(Plain, name="plain"),
        ChildSpec(DynamicSupervisor, name="dynamic"),
        ChildSpec(TaskSupervisor, name="tasks"),
    ]

    async def main() -> None:
        async with System(specs, max_restarts=10) as system:
            await run(system)
            with without_collections():
                await run(system)
                await asyncio.sleep(0)

    loop.run_until_complete(main())


def blocking_ask(ref: ActorRef[Any], message: str) -> None:
    with suppress(ValueError, pykka.Timeout):
        ref.ask(message, timeout=0.01 if message == "keep" else WAIT)


def blocking_get(ref: ActorRef[Any], message: str) -> None:
    with suppress(ValueError, pykka.Timeout):
        ref.ask(message, block=False).map(str).get(timeout=0.01 if message == "keep" else WAIT)


@pytest.mark.parametrize("message", ["refuse", "refuse later", "keep"])
@pytest.mark.parametrize("ask", [blocking_ask, blocking_get])
def test_nothing_is_left_of_a_blocking_ask(
    background: in_thread, ask: Callable[[ActorRef[Any], str], None], message: str
) -> None:
    ref = Plain.start()
    ask(ref, message)
    with without_collections():
        ask(ref, message)


def test_a_constant_that_is_refused_does_not_grow(loop: asyncio.AbstractEventLoop) -> None:
    constant, lengths = ValueError("always the same"), set[int]()

    class Refusing(Actor):
        def on_receive(self, message: Any) -> Refuse | None:
            if message == "later":
                self.reply_later().refuse(constant)
                return None
            return Refuse(constant)

    async def main() -> None:
        ref = Refusing.start()
        for message in ["now", "later"] * 10:
            with suppress(ValueError):
                await ref.ask(message, block=False)
            lengths.add(sum(1 for _ in walk(constant)))

    loop.run_until_complete(main())
    assert len(lengths) == 1


def walk(error: BaseException) -> Iterator[object]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next
