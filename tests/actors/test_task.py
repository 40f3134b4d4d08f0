"""A function run by a process of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, AskCycleError, BlockingCallError, TaskExitError, Timeout
from actors.exits import KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, Down, Exit, Shutdown
from actors.task.task import Task
from actors.task.task_actor import TIMED_OUT
from actors.testing import WAIT, ManualRuntime, Probe

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.scheduler import in_thread

    Journal = list[str]


class BoomError(Exception):
    pass


async def double(number: int, *, plus: int = 0) -> int:
    return number * 2 + plus


async def fail(text: str) -> None:
    raise BoomError(text)


async def wait(journal: Journal) -> str:
    """Wait for ever, and say when it is over."""
    journal.append("waits")
    try:
        await asyncio.Event().wait()
    finally:
        journal.append("over")
    return "never"


async def stubborn(journal: Journal) -> None:
    """Do not end when told to once."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        journal.append("no")
        await wait(journal)


class Owner(Actor):
    """Does in its handler what it is sent: `what(owner)`."""

    def on_receive(self, message: Callable[[Owner], Any]) -> Any:
        return message(self)


@pytest.fixture
def owner(runtime: ManualRuntime) -> ActorRef[Owner]:
    return Owner.start()


class Blocked:
    """A plain function that blocks its thread until it is released."""

    __name__ = "blocked"

    def __init__(self) -> None:
        self.running, self.released = threading.Event(), threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> str:
        self.thread = threading.current_thread()
        self.running.set()
        assert self.released.wait(WAIT)
        return "released"

    def wait_until_it_runs(self) -> None:
        assert self.running.wait(WAIT)

    def release(self) -> None:
        self.released.set()
        assert self.thread is not None
        self.thread.join(WAIT)


# Its result


def test_a_task_gives_what_its_function_returns_as_often_as_it_is_taken(runtime: ManualRuntime) -> None:
    task = Task.start(double, 20, plus=2)
    assert (task.done, task.exit_reason) == (False, None)
    assert [task.get(), runtime.run(task), runtime.run(task.result())] == [42, 42, 42]
    assert (task.done, task.exit_reason) == (True, NORMAL)


def test_whoever_has_the_result_finds_nothing_left_of_the_actor(runtime: ManualRuntime) -> None:
    task = Task.start(double, 1)
    assert task.ref is not None
    left: list[bool] = []
    task.add_done_callback(lambda done: left.append(done.ref is not None and done.ref.is_alive()))
    runtime.settle()
    assert left == [False]


def test_what_the_function_raises_is_raised_with_its_traceback(runtime: ManualRuntime) -> None:
    task = Task.start(fail, "no")
    with pytest.raises(BoomError, match=r"^no$") as caught:
        task.get()
    assert "fail" in [entry.name for entry in caught.traceback]
    assert task.exit_reason == Crash(caught.value)
    with pytest.raises(BoomError):
        runtime.run(task)


def test_a_crash_is_logged_once_with_the_call(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    task = Task.start(partial(fail, "no"))
    runtime.settle()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{task.ref} crashed: BoomError: no\n  last message: fail()")


def test_a_call_is_described_with_its_arguments_cut_short(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    async def fetch(url: str, *, body: bytes) -> None:
        raise BoomError

    Task.start(fetch, "/a", body=b"x" * 1000)
    runtime.settle()
    assert "last message: fetch('/a', body=b'xxxxxxxxxxx" in caplog.text
    assert len(caplog.records[0].getMessage()) < 300


@pytest.mark.parametrize("error", [GeneratorExit(), asyncio.CancelledError()], ids=lambda error: type(error).__name__)
def test_what_would_end_more_than_a_task_ends_only_the_task(error: BaseException, runtime: ManualRuntime) -> None:
    async def leave() -> None:
        raise error

    task = Task.start(leave)
    with pytest.raises(TaskExitError) as caught:
        task.get()
    assert caught.value.__cause__ is error
    assert caught.value.reason == task.exit_reason == Crash(error)


def test_a_callback_on_one_that_has_ended_is_called_at_once(runtime: ManualRuntime) -> None:
    task = Task.start(double, 1)
    runtime.settle()
    done: list[Task[int]] = []
    task.add_done_callback(done.append)
    assert done == [task]


def test_an_actor_can_have_the_result_as_a_message(runtime: ManualRuntime) -> None:
    probe = Probe()
    task = Task.start_link(probe.ref, double, 4)
    task.add_done_callback(lambda task: probe.ref.send(("doubled", task.get())))
    probe.assert_receive(("doubled", 8))


def test_tasks_run_side_by_side(runtime: ManualRuntime) -> None:
    gate = asyncio.Event()

    async def pass_gate(number: int) -> int:
        await gate.wait()
        return number

    async def open_gate() -> None:
        gate.set()

    async def both() -> list[int]:
        tasks = [Task.start(pass_gate, 1), Task.start(pass_gate, 2)]
        await Task.start(open_gate)
        return await asyncio.gather(*tasks)

    assert runtime.run(both()) == [1, 2]


def test_the_docstring_example(runtime: ManualRuntime) -> None:
    async def fetch(url: str) -> str:
        return f"{url} and so on"

    def read_words(language: str) -> set[str]:
        return {"and", "so", language}

    class Page(Actor):
        async def on_receive(self, url: str) -> int:
            body = Task.start_link(self, fetch, url)
            words = Task.start_link(self, read_words, "en")
            text, known = await body, await words
            return sum(word in known for word in text.split())

    asked = Page.start().ask("/a", block=False)
    settle_with_threads(runtime)
    assert asked.get() == 2


def settle_with_threads(runtime: ManualRuntime) -> None:
    """Let the actors run until no thread of a task is left either."""
    runtime.settle()
    for thread in [thread for thread in threading.enumerate() if " <0." in thread.name]:
        thread.join(WAIT)
    runtime.settle()


# Where it stands


@pytest.mark.parametrize(
    ("function", "label"),
    [
        (double, "double"),
        (partial(partial(double, 1), plus=1), "double"),
        (lambda _: None, "<lambda>"),
        (Blocked(), "blocked"),
        (print, "print"),
    ],
    ids=["function", "partial", "lambda", "object", "builtin"],
)
def test_a_task_is_called_as_its_function(function: Callable[..., Any], label: str, runtime: ManualRuntime) -> None:
    task: Task[Any] = Task(function, (), {}, scheduler=runtime._scheduler)
    assert task.label == label
    assert repr(task) == f"<Task {label} running>"


def test_it_stands_below_its_owner_with_a_pid(runtime: ManualRuntime, owner: ActorRef[Owner], journal: Journal) -> None:
    task = Task.start_link(owner, wait, journal)
    assert task.ref is not None
    assert task.ref.process.parent is owner.process
    assert str(task.ref) == f"wait {task.ref.pid}"
    assert repr(task) == f"<Task {task.ref} running>"
    runtime.settle()
    assert runtime.actors == [owner, task.ref]


def test_it_answers_while_its_function_waits(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    assert task.ref is not None
    assert task.ref.proxy().pid.get() == task.ref.pid
    assert task.ref.stop()
    assert journal == ["waits", "over"]


def test_stopped_before_it_has_a_result_it_ends_normally_without_one(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    assert task.ref is not None
    task.ref.stop()
    assert task.exit_reason == NORMAL
    with pytest.raises(TaskExitError):
        task.get()


def test_what_is_no_function_is_refused_with_the_value(runtime: ManualRuntime) -> None:
    called: Any = double(1)
    with pytest.raises(TypeError, match=r"^a task runs a function, got <coroutine .*; give it the arguments apart"):
        Task.start(called)
    called.close()
    assert runtime.actors == []


@pytest.mark.parametrize("wrong", [None, "me", object()], ids=["None", "name", "object"])
def test_what_cannot_be_an_owner_is_refused_with_the_value(wrong: Any, runtime: ManualRuntime) -> None:
    with pytest.raises(TypeError, match=r"^the owner of a task must be an actor, its ref or a task that runs, got "):
        Task.start_link(wrong, double, 1)


# Linked to its owner


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda owner: owner.stop(), NORMAL),
        (lambda owner: owner.exit(SHUTDOWN), SHUTDOWN),
        (lambda owner: owner.exit(Shutdown("enough")), Shutdown("enough")),
        (lambda owner: owner.kill(), KILLED),
    ],
    ids=["normal", "shutdown", "shutdown with a detail", "kill"],
)
def test_however_its_owner_ends_it_ends_too(
    end: Callable[[ActorRef[Owner]], object],
    reason: Any,
    runtime: ManualRuntime,
    owner: ActorRef[Owner],
    journal: Journal,
) -> None:
    task = Task.start_link(owner, wait, journal)
    runtime.settle()
    end(owner)
    runtime.settle()
    assert journal == ["waits", "over"]
    assert task.exit_reason == reason
    assert runtime.actors == []


def test_a_task_whose_actor_is_stopped_with_a_reason_has_no_result(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    runtime.settle()
    assert task.ref is not None
    assert task.ref.stop(reason=Shutdown("enough")) is True
    assert (journal, task.exit_reason) == (["waits", "over"], Shutdown("enough"))
    with pytest.raises(TaskExitError, match="enough"):
        task.get()


def test_a_crash_of_the_owner_is_what_whoever_else_awaits_the_task_gets(
    runtime: ManualRuntime, owner: ActorRef[Owner], journal: Journal
) -> None:
    task = Task.start_link(owner, wait, journal)
    owner.send(lambda _: 1 / 0)
    runtime.settle()
    with pytest.raises(ZeroDivisionError):
        task.get()


def test_its_crash_ends_the_owner(runtime: ManualRuntime, owner: ActorRef[Owner]) -> None:
    task = Task.start_link(owner, fail, "no")
    runtime.settle()
    assert owner.exit_reason == task.exit_reason
    assert isinstance(owner.exit_reason, Crash)
    assert isinstance(owner.exit_reason.exception, BoomError)


def test_its_crash_is_a_message_to_an_owner_that_traps_exits(runtime: ManualRuntime) -> None:
    probe = Probe()
    task = Task.start_link(probe.ref, fail, "no")
    exited = probe.assert_receive(Exit)
    assert (exited.actor, exited.reason) == (task.ref, task.exit_reason)
    with pytest.raises(BoomError):
        task.get()


def test_its_good_end_leaves_the_owner_alone(runtime: ManualRuntime, owner: ActorRef[Owner]) -> None:
    assert Task.start_link(owner, double, 1).get() == 2
    assert owner.is_alive()
    assert owner.process.links == {}


def test_with_an_owner_that_is_dead_it_never_begins(
    runtime: ManualRuntime, owner: ActorRef[Owner], journal: Journal
) -> None:
    owner.stop()
    task = Task.start_link(owner, wait, journal)
    with pytest.raises(TaskExitError) as caught:
        task.get()
    assert caught.value.reason == task.exit_reason == NO_PROCESS
    assert isinstance(caught.value, ActorDeadError)
    assert journal == []


def test_an_owner_that_dies_while_it_awaits_the_task_takes_it_along(runtime: ManualRuntime, journal: Journal) -> None:
    class Waiter(Actor):
        async def on_receive(self, message: Any) -> Any:
            return await Task.start_link(self, wait, journal)

    ref = Waiter.start()
    asked = ref.ask("go", block=False)
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert journal == ["waits", "over"]
    assert isinstance(asked.exception, ActorDeadError)


def test_a_task_may_own_tasks(runtime: ManualRuntime, journal: Journal) -> None:
    async def outer() -> str:
        return await Task.start_link(Task.current(), wait, journal)

    task = Task.start(outer)
    runtime.settle()
    assert [ref.process.parent for ref in runtime.actors] == [None, runtime.actors[0].process]
    task.cancel()
    runtime.settle()
    assert journal == ["waits", "over"]
    assert runtime.actors == []


def test_a_function_in_a_thread_may_own_tasks_and_wait_for_them(background: in_thread) -> None:
    def outer() -> tuple[str, int]:
        inner = Task.start_link(Task.current(), double, 2)
        return Task.current().label, inner.get(timeout=WAIT)

    assert Task.start(outer).get(timeout=WAIT) == ("outer", 4)


def test_outside_of_a_task_there_is_no_current_one(runtime: ManualRuntime, owner: ActorRef[Owner]) -> None:
    Task.start(double, 1).get()
    with pytest.raises(RuntimeError, match=r"^Task.current\(\) must be called in the function of a task$"):
        Task.current()
    seen = Task.start(owner.call, lambda _: current_label())
    assert seen.get() == "none"


def current_label() -> str:
    try:
        return Task.current().label
    except RuntimeError:
        return "none"


def test_a_task_that_asks_an_owner_which_awaits_it_is_told_at_once(runtime: ManualRuntime) -> None:
    class Waiter(Actor):
        async def on_receive(self, message: Any) -> Any:
            self.trap_exit = True
            return await Task.start_link(self, self.actor_ref.call, "nobody will answer")

    asked = Waiter.start().ask("go", block=False)
    runtime.settle()
    with pytest.raises(AskCycleError, match=r"Waiter <0\.\d+\.0> asks call <0\.\d+\.0>"):
        asked.get()


# Time


def test_a_linked_task_that_is_late_is_ended_and_its_owner_lives_on(
    runtime: ManualRuntime, owner: ActorRef[Owner], journal: Journal
) -> None:
    task = Task.start_link(owner, wait, journal)
    waiting = asyncio.ensure_future(task.result(timeout=2.0), loop=runtime._scheduler.loop)
    runtime.advance(1.999)
    assert not waiting.done()
    runtime.advance(0.001)
    with pytest.raises(Timeout, match=r"^wait has no result after 2 seconds$"):
        waiting.result()
    assert journal == ["waits", "over"]
    assert task.exit_reason == TIMED_OUT
    assert owner.is_alive()
    with pytest.raises(Timeout, match=r"its time was over$"):
        task.get()


def test_a_task_that_is_not_linked_goes_on_when_it_is_late(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    waiting = asyncio.ensure_future(task.result(), loop=runtime._scheduler.loop)
    runtime.advance(5)
    with pytest.raises(Timeout, match=r"after 5 seconds"):
        waiting.result()
    assert not task.done
    assert journal == ["waits"]


def test_awaited_without_a_time_out_it_may_take_for_ever(runtime: ManualRuntime, owner: ActorRef[Owner]) -> None:
    class Sleeper(Actor):
        def on_receive(self, seconds: float) -> Any:
            from_ = self.reply_later()
            self.clock.call_after(seconds, from_.reply)

    sleep = partial(Sleeper.start().call, timeout=None)

    async def await_task() -> Any:
        return await Task.start_link(owner, sleep, 10_000.0)

    waiting = asyncio.ensure_future(await_task(), loop=runtime._scheduler.loop)
    runtime.advance(9_999)
    assert not waiting.done()
    runtime.advance(1)
    assert waiting.done()


# Its end


def test_cancel_lets_the_function_clean_up_and_spares_the_owner(
    runtime: ManualRuntime, owner: ActorRef[Owner], journal: Journal
) -> None:
    task = Task.start_link(owner, wait, journal)
    runtime.settle()
    task.cancel()
    with pytest.raises(TaskExitError, match=r"^wait <0\.\d+\.0> ended without a result: "):
        task.get()
    assert journal == ["waits", "over"]
    assert task.exit_reason == SHUTDOWN
    assert owner.is_alive()


def test_cancelled_before_its_first_step_it_never_begins(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    task.cancel()
    runtime.settle()
    assert task.exit_reason == SHUTDOWN
    assert journal == []


def test_ended_between_its_call_and_its_first_step_it_ends_as_told(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    ref = task.ref
    assert ref is not None
    # Its turn makes the coroutine's task, whose first step would be the loop's next.
    ref.process.scheduler.run_ready()
    ref.exit(SHUTDOWN)
    ref.process.scheduler.run_ready()
    runtime.settle()
    assert task.exit_reason == SHUTDOWN
    assert journal == []


def test_cancelled_when_it_is_done_it_keeps_its_result(runtime: ManualRuntime) -> None:
    task = Task.start(double, 1)
    runtime.settle()
    task.cancel()
    task.cancel()
    assert task.get() == 2


def test_shutdown_waits_until_it_has_ended(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    assert runtime.run(task.shutdown()) == SHUTDOWN
    assert task.done


def test_shutdown_says_when_there_is_a_result_after_all(runtime: ManualRuntime) -> None:
    task = Task.start(double, 1)
    runtime.settle()
    assert runtime.run(task.shutdown()) == NORMAL


def test_shutdown_kills_one_that_does_not_obey_and_spares_the_owner(
    runtime: ManualRuntime, owner: ActorRef[Owner], journal: Journal
) -> None:
    task = Task.start_link(owner, stubborn, journal)
    runtime.settle()
    ended = asyncio.ensure_future(task.shutdown(timeout=3.0), loop=runtime._scheduler.loop)
    runtime.advance(2.999)
    assert not task.done
    runtime.advance(0.001)
    assert ended.result() == task.exit_reason == KILLED
    assert owner.is_alive()
    assert journal == ["no", "waits", "over"]


def test_a_task_that_is_killed_is_gone_at_once_and_its_function_cleans_up(
    runtime: ManualRuntime, journal: Journal
) -> None:
    probe = Probe()
    task = Task.start(wait, journal)
    assert task.ref is not None
    probe.monitor(task.ref)
    task.ref.kill()
    assert probe.assert_receive(Down).reason == KILLED
    assert journal == ["waits", "over"]
    with pytest.raises(TaskExitError) as caught:
        task.get()
    assert caught.value.reason == KILLED


# In threads


def test_a_plain_function_runs_in_a_thread_of_its_own_and_others_go_on(background: in_thread) -> None:
    blocked = Blocked()
    task = Task.start(blocked)
    blocked.wait_until_it_runs()
    assert blocked.thread not in (threading.current_thread(), background.thread)
    assert Task.start(double, 1).get(timeout=WAIT) == 2
    assert not task.done
    blocked.release()
    assert task.get(timeout=WAIT) == "released"


def test_a_plain_function_that_raises_crashes_its_task(background: in_thread) -> None:
    def divide(number: int) -> float:
        return 1 / number

    task = Task.start(divide, 0)
    with pytest.raises(ZeroDivisionError) as caught:
        task.get(timeout=WAIT)
    assert "divide" in [entry.name for entry in caught.traceback]
    assert task.exit_reason == Crash(caught.value)


def test_a_plain_function_that_makes_a_coroutine_has_it_run_on_the_loop(background: in_thread) -> None:
    threads: list[threading.Thread] = []

    async def note() -> str:
        threads.append(threading.current_thread())
        return "noted"

    assert Task.start(lambda: note()).get(timeout=WAIT) == "noted"  # noqa: PLW0108  # the lambda is what is tested
    assert threads == [background.thread]


def test_a_coroutine_that_a_plain_function_made_can_be_cut_short(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(lambda: wait(journal))
    settle_with_threads(runtime)
    assert journal == ["waits"]
    task.cancel()
    runtime.settle()
    assert journal == ["waits", "over"]
    assert task.exit_reason == SHUTDOWN


def test_a_coroutine_that_comes_when_the_task_is_to_end_does_not_begin(
    runtime: ManualRuntime, journal: Journal
) -> None:
    blocked = Blocked()

    def wait_later() -> Any:
        blocked()
        return wait(journal)

    task = Task.start(wait_later)
    runtime.settle()
    blocked.wait_until_it_runs()
    task.cancel()
    runtime.settle()
    blocked.release()
    runtime.settle()
    assert task.exit_reason == SHUTDOWN
    assert journal == []


def test_an_object_with_an_async_call_is_run_on_the_loop(runtime: ManualRuntime) -> None:
    class Doubling:
        async def __call__(self, number: int) -> int:
            return number * 2

    assert Task.start(Doubling(), 3).get() == 6


def test_a_task_whose_thread_goes_on_stays_in_the_tree_until_its_function_returns(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ashtree.actors")
    blocked = Blocked()
    task = Task.start(blocked)
    runtime.settle()
    blocked.wait_until_it_runs()
    task.cancel()
    runtime.settle()
    assert f"{task.ref} is to end ({SHUTDOWN}), but a thread cannot be ended" in caplog.text
    assert runtime.actors == [task.ref]
    blocked.release()
    runtime.settle()
    assert task.exit_reason == SHUTDOWN
    with pytest.raises(TaskExitError):
        task.get()


def test_a_task_that_is_killed_leaves_its_thread_behind_and_says_so(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = Blocked()
    task = Task.start(blocked)
    runtime.settle()
    blocked.wait_until_it_runs()
    assert task.ref is not None
    task.ref.kill()
    runtime.settle()
    assert caplog.messages == [
        f"{task.ref} was killed, but its thread cannot be: its function runs on, its result will be lost"
    ]
    assert task.exit_reason == KILLED
    blocked.release()
    runtime.settle()
    assert caplog.messages[1:] == []


def test_a_thread_that_outlives_its_loop_ends_in_peace(monkeypatch: pytest.MonkeyPatch) -> None:
    escaped: list[object] = []
    monkeypatch.setattr(threading, "excepthook", escaped.append)
    blocked = Blocked()
    with ManualRuntime() as runtime:
        Task.start(blocked)
        runtime.settle()
        blocked.wait_until_it_runs()
    blocked.release()
    assert escaped == []


def test_get_refuses_to_block_the_loop_of_its_task(runtime: ManualRuntime, owner: ActorRef[Owner]) -> None:
    probe = Probe()
    owner.send(lambda self: probe.ref.send(blocking(Task.start_link(self, double, 1))))
    refused = probe.assert_receive(BlockingCallError)
    assert str(refused) == (
        "task.get() would block the event loop that has to answer it; write `await task` in an async handler; "
        "an actor that has to block is a ThreadedActor"
    )


def blocking(task: Task[Any]) -> BlockingCallError | None:
    try:
        task.get()
    except BlockingCallError as error:
        return error
    return None


def test_get_waits_no_longer_than_its_time_out_in_another_thread(background: in_thread, journal: Journal) -> None:
    task = Task.start(wait, journal)
    with pytest.raises(Timeout, match=r"^wait has no result after 0 seconds$"):
        task.get(timeout=0)
    assert not task.done


def test_a_task_can_be_linked_to_an_owner_in_another_thread(background: in_thread, journal: Journal) -> None:
    owner = Owner.start()
    task = Task.start_link(owner, wait, journal)
    down = owner.down()
    owner.stop()
    assert down.get(timeout=WAIT) == NORMAL
    with pytest.raises(TaskExitError):
        task.get(timeout=WAIT)
    assert task.ref is not None
    assert task.ref.process.parent is owner.process


def test_a_task_can_be_awaited_on_another_loop(background: in_thread) -> None:
    task = Task.start(double, 21)

    async def elsewhere() -> int:
        return await task.result(timeout=WAIT)

    assert asyncio.run(elsewhere()) == 42


def test_in_an_asyncio_program_tasks_live_on_its_loop() -> None:
    async def program() -> list[Any]:
        tasks = [Task.start(double, number) for number in (1, 2)]
        return [await task for task in tasks]

    assert asyncio.run(program()) == [2, 4]


def test_those_that_stop_waiting_for_a_result_leave_nothing(runtime: ManualRuntime, journal: Journal) -> None:
    task = Task.start(wait, journal)
    for _ in range(100):
        with pytest.raises(Timeout):
            runtime.run(task.result(timeout=0))
        with pytest.raises(Timeout):
            task.get(timeout=0)
    assert not task._answer._waiters
    assert not task._answer._callbacks
