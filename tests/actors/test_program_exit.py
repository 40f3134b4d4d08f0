"""What is meant for the program, or the test, and not for one actor: the actor ends, and then it leaves the event loop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import pykka
import pytest
from _pytest.outcomes import Exit as RunExit
from _pytest.outcomes import Failed, Skipped

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import Crash, Down, ExitReason
from actors.future import Future
from actors.runtime.program_exit import OutcomeExit, is_program_exit, leave, through_loop, unclaimed, unwrapped
from actors.runtime.report import last_crash
from actors.runtime.scheduler import in_thread, new_event_loop
from actors.task.task import Task
from actors.testing import ManualRuntime, Probe
from actors.threads.threaded_actor import ThreadedActor

KINDS: list[type[BaseException]] = [KeyboardInterrupt, SystemExit, Failed, Skipped, RunExit]
every_kind = pytest.mark.parametrize("kind", KINDS)
both_loops = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "fast"])


class Puppet(Actor):
    """Does what it is told."""

    def on_receive(self, message: Any) -> Any:
        return message(self)


class Threaded(ThreadedActor):
    """Does what it is told in its thread."""

    def on_receive(self, message: Any) -> Any:
        return message(self)


class Bad(Puppet):
    """Raises where its argument says."""

    def __init__(self, where: str, error: BaseException) -> None:
        self.where, self.error = where, error

    def on_start(self) -> Any:
        if self.where == "own":
            self.own(self.fail)
        if self.where == "on_start":
            self.fail()
        return self.fail_later() if self.where == "async on_start" else None

    def terminate(self, _reason: ExitReason) -> Any:
        if self.where == "terminate":
            self.fail()
        return self.fail_later() if self.where == "async terminate" else None

    def fail(self) -> None:
        raise self.error

    async def fail_later(self) -> None:
        await asyncio.sleep(0)
        raise self.error


def raising(error: BaseException) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise error

    return fail


def test_what_is_meant_for_the_program() -> None:
    assert all(is_program_exit(kind("over")) for kind in KINDS)
    assert not any(map(is_program_exit, [ValueError(), asyncio.CancelledError(), GeneratorExit(), BaseException()]))


@every_kind
def test_one_in_a_group_leaves_without_it(runtime: ManualRuntime, kind: type[BaseException]) -> None:
    meant = kind("over")
    group = BaseExceptionGroup("tasks", [ValueError(), BaseExceptionGroup("inner", [GeneratorExit(), meant])])
    ref = Puppet.start()
    ref.tell(raising(group))
    with pytest.raises(kind) as raised:
        runtime.settle()
    assert raised.value is meant
    assert ref.exit_reason == Crash(group)


def test_a_group_of_others_is_a_crash(runtime: ManualRuntime) -> None:
    ref = Puppet.start()
    ref.tell(raising(BaseExceptionGroup("tasks", [ValueError(), GeneratorExit()])))
    runtime.settle()
    assert isinstance(ref.exit_reason, Crash)


@every_kind
def test_only_what_a_loop_would_not_let_pass_is_carried(kind: type[BaseException]) -> None:
    error = kind("over")
    carrier = through_loop(error)
    assert isinstance(carrier, KeyboardInterrupt | SystemExit)
    assert isinstance(carrier, OutcomeExit) is (kind not in {KeyboardInterrupt, SystemExit})
    assert unwrapped(carrier) is error


def test_in_a_thread_without_actors_it_is_raised_on_the_spot() -> None:
    with pytest.raises(KeyboardInterrupt):
        leave(KeyboardInterrupt())
    leave(ValueError())
    leave(SystemExit(), of_report=True)


@every_kind
def test_an_actor_ends_in_the_regular_way_before_it_leaves(runtime: ManualRuntime, kind: type[BaseException]) -> None:
    error, bystander, probe, bad = kind("over"), Puppet.start(), Probe(), Puppet.start()
    probe.monitor(bad)
    asked = bad.ask(raising(error), block=False)
    with pytest.raises(kind) as raised:
        runtime.settle()
    assert raised.value is error
    runtime.settle()
    assert probe.assert_receive(Down).reason == bad.exit_reason == Crash(error)
    assert isinstance(asked.exception, error.__class__ if isinstance(error, Exception) else pykka.ActorDeadError)
    report = last_crash()
    assert report is not None
    assert report.error is error
    assert bystander.ask(lambda _: "unharmed") == "unharmed"


@pytest.mark.parametrize("where", ["terminate", "async terminate", "own"])
def test_it_leaves_from_the_end_of_an_actor(runtime: ManualRuntime, where: str) -> None:
    bad, error = Bad.start(where, Failed("over")), None
    down = bad.down()
    bad.stop(block=False)
    with pytest.raises(Failed) as raised:
        runtime.settle()
    error = raised.value
    runtime.settle()
    assert down.done
    assert (bad.exit_reason == Crash(error)) is (where != "own")


@pytest.mark.parametrize("where", ["on_start", "async on_start"])
def test_it_leaves_from_a_start_and_the_starter_is_answered(runtime: ManualRuntime, where: str) -> None:
    error = Failed("over")
    if where == "on_start":
        with pytest.raises(StartError):
            Bad.start(where, error)
    else:
        started = Bad.start(where, error).process.started
    with pytest.raises(Failed):
        runtime.settle()
    if where != "on_start":
        assert started is not None
        assert isinstance(started.exception, StartError)


def test_it_leaves_from_a_coroutine_a_task_a_timer_a_callback_and_a_posted_call(runtime: ManualRuntime) -> None:
    async def later(_: object) -> None:
        await asyncio.sleep(0)
        raise SystemExit(1)

    ref, future, scheduler = Puppet.start(), Future[Any](), runtime._scheduler
    future.add_done_callback(raising(SystemExit(3)))
    ways: list[Callable[[], object]] = [
        lambda: Puppet.start().tell(later),
        lambda: Task.start(raising(SystemExit(2)), None),
        lambda: ref.tell(lambda _: future.set(None)),
        lambda: ref.tell(lambda actor: actor.clock.call_after(0.0, lambda: raising(SystemExit(4))(None))),
        lambda: scheduler.post(raising(SystemExit(5)), None),
    ]
    for way in ways:
        way()
        with pytest.raises(SystemExit):  # noqa: PT012  # it may take a second pass on a busy machine
            runtime.advance(0.0)
            runtime.settle()
    runtime.settle()
    assert ref.is_alive()


def test_it_leaves_from_the_thread_of_an_actor(runtime: ManualRuntime) -> None:
    ref = Threaded.start()
    ref.tell(raising(Failed("in a thread")))
    with pytest.raises(Failed, match="in a thread"):
        runtime.settle()
    runtime.settle()
    assert not ref.is_alive()


@both_loops
@every_kind
def test_it_leaves_a_running_loop(new_loop: Callable[[], asyncio.AbstractEventLoop], kind: type[BaseException]) -> None:
    async def main() -> None:
        ref = Puppet.start()
        ref.tell(raising(kind("over")))
        await asyncio.Event().wait()

    with pytest.raises((KeyboardInterrupt, SystemExit)) as raised, asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
    assert type(unwrapped(raised.value)) is kind


@both_loops
def test_a_caller_that_waits_in_the_main_task_does_not_swallow_it(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        with pytest.raises(pykka.ActorDeadError):
            await Puppet.start().call(raising(SystemExit(3)))

    with pytest.raises(SystemExit), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@both_loops
def test_ctrl_c_interrupts_a_busy_handler_and_then_the_program(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    def busy(_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        Puppet.start().tell(busy)
        await asyncio.Event().wait()

    loop = new_loop()
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(main())
    finally:
        signal.signal(signal.SIGINT, previous)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Failed("over")], ids=repr)
def test_a_loop_in_a_thread_of_ours_goes_on_and_its_owner_gets_it(error: BaseException) -> None:
    thread = in_thread("of a test")
    bystander = thread.scheduler
    started: Future[Any] = Future(bystander)
    bystander.post(lambda: started.set((Puppet.start(), Puppet.start())))
    bad, other = started.get(timeout=5)
    with pytest.raises(pykka.ActorDeadError):
        bad.ask(raising(error))
    assert other.ask(lambda _: "goes on") == "goes on"
    with pytest.raises(type(error)) as raised:
        thread.stop()
    assert raised.value is error
    assert unclaimed() is None
    thread.stop()


@pytest.mark.usefixtures("background")
def test_only_outcomes_of_tests_are_kept_of_a_loop_in_a_thread(background: in_thread) -> None:
    ref, other = Puppet.start(), Puppet.start()
    for error in (SystemExit(1), Failed("kept")):
        with pytest.raises(pykka.ActorDeadError):
            Puppet.start().ask(raising(error))
    assert ref.ask(lambda _: 1) == other.ask(lambda _: 1) == 1
    assert isinstance(unclaimed(), Failed)
    assert unclaimed() is None
    with pytest.raises(SystemExit):
        background.stop()
