"""Tasks under a supervisor."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, AskCycleError, TaskExitError, Timeout
from actors.exits import KILLED, NO_PROCESS, SHUTDOWN, Crash, Exit, Normal, Shutdown
from actors.runtime.spawn import spawn
from actors.task.task import Task
from actors.task.task_stream import TaskStream
from actors.testing import WAIT, ManualRuntime, Probe
from supervisors.calls import count_children, terminate_child, which_children
from supervisors.child_spec import BRUTAL_KILL, ChildSpec, Restart
from supervisors.exceptions import TooManyChildrenError
from supervisors.observer import tree
from supervisors.supervision import TOO_MANY_RESTARTS
from supervisors.system import System
from supervisors.task_supervisor import TaskSupervisor

if TYPE_CHECKING:
    from actors.lowlevel import in_thread
    from actors.ref import ActorRef

    Journal = list[str]
    Starter = Callable[..., Task[Any]]

NUMBER: ContextVar[int] = ContextVar("a number of the code that starts a task", default=0)


class BoomError(Exception):
    pass


class Idle(Actor):
    """Does nothing but own tasks."""


async def double(number: int) -> int:
    return number * 2


async def fail(text: str) -> None:
    raise BoomError(text)


async def wait(journal: Journal) -> None:
    """Wait for ever, and say when it is over."""
    journal.append("waits")
    try:
        await asyncio.Event().wait()
    finally:
        journal.append("over")


async def deaf(journal: Journal) -> None:
    """Do not end when told to once."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await wait(journal)


@pytest.fixture
def tasks(runtime: ManualRuntime) -> ActorRef[TaskSupervisor]:
    return TaskSupervisor.start()


@pytest.fixture
def owner(runtime: ManualRuntime) -> ActorRef[Idle]:
    return Idle.start()


every_start = pytest.mark.parametrize(
    "start",
    [
        lambda tasks, _owner, function, *args: TaskSupervisor.start_child(tasks, function, *args),
        TaskSupervisor.async_,
        TaskSupervisor.async_nolink,
    ],
    ids=["start_child", "async_", "async_nolink"],
)
owned = pytest.mark.parametrize(
    "start", [TaskSupervisor.async_, TaskSupervisor.async_nolink], ids=["async_", "async_nolink"]
)


# Start and result


@every_start
def test_a_task_is_a_temporary_child_until_it_has_its_result(
    start: Starter, runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    task = start(tasks, owner, double, 4)
    assert task.ref is None  # its supervisor has not had its turn
    waiting = start(tasks, owner, wait, journal)
    runtime.settle()
    assert task.get() == 8
    assert count_children(tasks).get().active == 1
    (info,) = which_children(tasks).get()
    assert (info.id, info.ref) == ("wait", waiting.ref)
    assert waiting.ref is not None
    assert waiting.ref.process.parent is tasks.process
    assert f"└── wait {waiting.ref.pid}" in tree(tasks)


@every_start
def test_a_crash_is_not_restarted_and_leaves_the_supervisor_and_the_other_tasks_alone(
    start: Starter, runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal
) -> None:
    probe = Probe()
    other = start(tasks, probe.ref, wait, journal)
    failed = [start(tasks, probe.ref, fail, str(number)) for number in range(10)]
    runtime.settle()
    assert [type(task._answer.exception) for task in failed] == [BoomError] * 10
    assert tasks.is_alive()
    assert not other.done
    assert journal == ["waits"]


@every_start
def test_max_children_is_said_where_the_task_is_awaited(
    start: Starter,
    runtime: ManualRuntime,
    owner: ActorRef[Idle],
    journal: Journal,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = TaskSupervisor.start(max_children=1)
    start(tasks, owner, wait, journal)
    refused = start(tasks, owner, wait, journal)
    with pytest.raises(TooManyChildrenError):
        refused.get()
    assert refused.exit_reason == NO_PROCESS
    assert journal == ["waits"]
    assert caplog.messages[0].startswith("wait was not started: there ")


@every_start
def test_without_its_supervisor_a_task_does_not_start(
    start: Starter, runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    tasks.stop()
    with pytest.raises(ActorDeadError):
        start(tasks, owner, wait, journal).get()
    assert journal == []


def test_a_task_that_has_its_result_has_made_room_for_the_next(runtime: ManualRuntime, owner: ActorRef[Idle]) -> None:
    tasks = TaskSupervisor.start(max_children=1)

    async def one_after_the_other() -> list[int]:
        return [await TaskSupervisor.async_nolink(tasks, owner, double, number) for number in range(5)]

    assert runtime.run(one_after_the_other()) == [0, 2, 4, 6, 8]


def test_cancelled_before_its_supervisor_has_started_it_it_never_begins(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    task = TaskSupervisor.async_(tasks, owner, wait, journal)
    task.cancel()
    with pytest.raises(TaskExitError):
        task.get()
    assert task.exit_reason == SHUTDOWN
    assert owner.is_alive()
    assert journal == []


def test_shutdown_before_its_supervisor_has_started_it_waits_for_both(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    task = TaskSupervisor.async_(tasks, owner, wait, journal)
    assert runtime.run(task.shutdown()) == SHUTDOWN
    assert journal == []


# The owner


@owned
@pytest.mark.parametrize(
    "end",
    [lambda owner: owner.stop(), lambda owner: owner.exit(BoomError()), lambda owner: owner.kill()],
    ids=["normal", "crash", "kill"],
)
def test_however_its_owner_ends_it_ends_too(
    end: Callable[[ActorRef[Idle]], object],
    start: Starter,
    runtime: ManualRuntime,
    tasks: ActorRef[Any],
    owner: ActorRef[Idle],
) -> None:
    journal: Journal = []
    task = start(tasks, owner, wait, journal)
    runtime.settle()
    end(owner)
    runtime.settle()
    assert task.done
    assert journal == ["waits", "over"]
    assert runtime.actors == [tasks]


@owned
def test_with_an_owner_that_is_dead_it_never_begins(
    start: Starter, runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    owner.stop()
    task = start(tasks, owner, wait, journal)
    with pytest.raises(TaskExitError):
        task.get()
    assert journal == []


def test_a_linked_crash_ends_the_owner(runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle]) -> None:
    task = TaskSupervisor.async_(tasks, owner, fail, "no")
    runtime.settle()
    assert isinstance(owner.exit_reason, Crash)
    assert owner.exit_reason == task.exit_reason


def test_a_crash_that_is_not_linked_reaches_only_whoever_awaits(runtime: ManualRuntime, tasks: ActorRef[Any]) -> None:
    probe = Probe()
    task = TaskSupervisor.async_nolink(tasks, probe.ref, fail, "no")
    with pytest.raises(BoomError):
        runtime.run(task)
    probe.refute_received(Exit)


@owned
def test_it_leaves_no_trace_with_an_owner_that_lives_on(
    start: Starter, runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle]
) -> None:
    for number in range(3):
        start(tasks, owner, double, number).get()
    assert not owner.process.links
    assert not owner.process.watchers


def test_late_and_linked_it_is_ended_late_and_not_linked_it_goes_on(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    linked = TaskSupervisor.async_(tasks, owner, wait, journal)
    free = TaskSupervisor.async_nolink(tasks, owner, wait, journal)
    loop = runtime._scheduler.loop
    results = [loop.create_task(task.result(timeout=1.0)) for task in (linked, free)]
    runtime.advance(1)
    assert [type(result.exception()) for result in results] == [Timeout, Timeout]
    assert (linked.done, free.done) == (True, False)
    assert owner.is_alive()


# The supervisor's end


def test_a_supervisor_that_stops_lets_its_tasks_clean_up(
    runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal
) -> None:
    task = TaskSupervisor.start_child(tasks, wait, journal)
    runtime.settle()
    tasks.exit(SHUTDOWN)
    runtime.settle()
    assert journal == ["waits", "over"]
    assert task.exit_reason == SHUTDOWN


def test_a_supervisor_that_stops_kills_a_task_that_does_not_end_in_five_seconds(
    runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal
) -> None:
    task = TaskSupervisor.start_child(tasks, deaf, journal)
    runtime.settle()
    tasks.exit(SHUTDOWN)
    runtime.advance(4.999)
    assert tasks.is_alive()
    runtime.advance(0.001)
    assert task.exit_reason == KILLED
    assert runtime.actors == []


def test_a_thread_that_does_not_end_keeps_its_supervisor_five_seconds_and_the_log_says_why(
    runtime: ManualRuntime, tasks: ActorRef[Any], caplog: pytest.LogCaptureFixture
) -> None:
    running, released = threading.Event(), threading.Event()

    def block() -> None:
        running.set()
        assert released.wait(WAIT)

    task = TaskSupervisor.start_child(tasks, block)
    runtime.settle()
    assert running.wait(WAIT)
    tasks.exit(SHUTDOWN)
    runtime.advance(5)
    released.set()
    assert task.exit_reason == KILLED
    assert runtime.actors == []
    assert f"{task.ref} was killed, but its thread cannot be" in caplog.text


# Tasks that are called again


class Flaky:
    """Fails so many times, then returns."""

    __name__ = "flaky"

    def __init__(self, failures: int) -> None:
        self.failures, self.calls = failures, list[tuple[Any, ...]]()

    async def __call__(self, *args: Any, **kwargs: Any) -> str:
        self.calls.append((args, kwargs, NUMBER.get()))
        NUMBER.set(0)
        if len(self.calls) <= self.failures:
            raise BoomError("flaky")
        return "done"


@pytest.mark.parametrize(
    ("restart", "failures", "calls"),
    [("temporary", 1, 1), ("temporary", 0, 1), ("transient", 2, 3), ("transient", 0, 1), ("permanent", 1, 4)],
)
def test_a_task_is_called_again_as_its_restart_says(
    runtime: ManualRuntime, tasks: ActorRef[Any], restart: Any, failures: int, calls: int
) -> None:
    flaky = Flaky(failures)
    NUMBER.set(7)
    task = TaskSupervisor.start_child(tasks, flaky, 1, "two", restart=restart, key="value")
    NUMBER.set(0)
    runtime.settle()
    assert flaky.calls == [((1, "two"), {"key": "value"}, 7)] * calls
    assert tasks.is_alive() is (restart != "permanent")
    assert isinstance(task.exit_reason, Crash if failures else Normal)


def test_a_task_that_is_called_again_is_of_its_first_call(runtime: ManualRuntime, tasks: ActorRef[Any]) -> None:
    flaky = Flaky(1)
    task = TaskSupervisor.start_child(tasks, flaky, restart="transient")
    runtime.settle()
    with pytest.raises(BoomError):
        task.get()
    assert task.ref is not None
    assert not task.ref.is_alive()
    assert len(flaky.calls) == 2


def test_a_transient_task_that_is_killed_is_called_again_and_one_that_is_cancelled_is_not(
    runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal
) -> None:
    killed, cancelled = (TaskSupervisor.start_child(tasks, wait, journal, restart="transient") for _ in range(2))
    runtime.settle()
    assert killed.ref is not None
    killed.ref.kill()
    cancelled.cancel()
    runtime.settle()
    assert (killed.exit_reason, cancelled.exit_reason) == (KILLED, SHUTDOWN)
    (info,) = which_children(tasks).get()
    assert (info.id, info.restarts) == ("wait", 1)


def test_too_many_restarts_of_tasks_end_their_supervisor(runtime: ManualRuntime) -> None:
    tasks, flaky = TaskSupervisor.start(max_restarts=1), Flaky(100)
    TaskSupervisor.start_child(tasks, flaky, restart="transient")
    runtime.settle()
    assert (tasks.exit_reason, len(flaky.calls)) == (TOO_MANY_RESTARTS, 2)


def test_a_permanent_task_is_ended_for_good_by_its_supervisor(
    runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal
) -> None:
    task = TaskSupervisor.start_child(tasks, wait, journal, restart="permanent")
    runtime.settle()
    terminate_child(tasks, task.ref).get()
    runtime.settle()
    assert (journal, which_children(tasks).get()) == (["waits", "over"], [])


def test_a_plain_function_is_called_again_in_a_thread(background: in_thread) -> None:
    threads: list[threading.Thread] = []
    again = threading.Event()

    def fail_once() -> None:
        threads.append(threading.current_thread())
        if len(threads) == 1:
            raise BoomError("once")
        again.set()

    tasks = TaskSupervisor.start()
    TaskSupervisor.start_child(tasks, fail_once, restart="transient")
    assert again.wait(WAIT)
    assert threads[0] is not threads[1]
    tasks.stop(timeout=WAIT)


@pytest.mark.parametrize(
    ("shutdown", "seconds"), [(0.5, 0.5), (BRUTAL_KILL, 0.0), (20, 20)], ids=["half a second", "kill", "20 seconds"]
)
def test_a_task_may_take_its_shutdown_time(
    runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal, shutdown: Any, seconds: float
) -> None:
    task = TaskSupervisor.start_child(tasks, deaf, journal, shutdown=shutdown)
    runtime.settle()
    tasks.exit(SHUTDOWN)
    if seconds:
        runtime.advance(seconds - 0.001)
        assert not task.done
    runtime.advance(0.001)
    assert task.exit_reason == KILLED
    assert runtime.actors == []


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"restart": "always"}, "restart must be one of permanent, transient, temporary, got 'always'"),
        ({"restart": None}, "restart must be one of"),
        ({"shutdown": -1}, "shutdown must be"),
        ({"shutdown": "5"}, "shutdown must be"),
    ],
    ids=str,
)
def test_an_invalid_option_of_a_task_is_refused_at_once(
    runtime: ManualRuntime, tasks: ActorRef[Any], options: Any, error: str
) -> None:
    flaky = Flaky(0)
    with pytest.raises((TypeError, ValueError), match=error):
        TaskSupervisor.start_child(tasks, flaky, **options)
    runtime.settle()
    assert (flaky.calls, count_children(tasks).get().specs) == ([], 0)


def test_a_function_with_such_a_parameter_gets_it_by_a_partial(runtime: ManualRuntime, tasks: ActorRef[Any]) -> None:
    async def when(restart: str) -> str:
        return restart

    assert TaskSupervisor.start_child(tasks, partial(when, restart="later")).get() == "later"


def test_tasks_are_temporary_whatever_the_defaults_of_children_are(
    runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal
) -> None:
    task = TaskSupervisor.start_child(tasks, wait, journal)
    runtime.settle()
    assert task.ref is not None
    assert ChildSpec(task.ref.actor_class, (task,)).restart is Restart.TEMPORARY


# Streams


def stream_of(tasks: ActorRef[Any], owner: ActorRef[Any] | None, **options: Any) -> Any:
    return partial(TaskSupervisor.async_stream, tasks, owner, max_concurrency=3, **options)


async def taken(stream: Any) -> list[Any]:
    return [result async for result in stream]


def test_a_stream_gives_the_results_in_order(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle]
) -> None:
    assert runtime.run(taken(stream_of(tasks, owner)(double, range(10)))) == list(range(0, 20, 2))
    assert count_children(tasks).get().active == 0


def test_a_stream_keeps_within_max_children(runtime: ManualRuntime, owner: ActorRef[Idle]) -> None:
    tasks = TaskSupervisor.start(max_children=3)
    assert runtime.run(taken(stream_of(tasks, owner)(double, range(100)))) == list(range(0, 200, 2))


def test_an_item_that_fails_raises_and_ends_the_others(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    async def work(number: int) -> None:
        await (wait(journal) if number else fail("first"))

    with pytest.raises(BoomError, match=r"^first$"):
        runtime.run(taken(stream_of(tasks, owner)(work, count())))
    runtime.settle()
    assert journal.count("waits") == journal.count("over")
    assert owner.is_alive()
    assert runtime.actors == [tasks, owner]


def test_an_item_that_is_late_raises_timeout(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    consumer = runtime._scheduler.loop.create_task(taken(stream_of(tasks, owner)(wait, [journal])))
    runtime.advance(4.999)
    assert not consumer.done()
    runtime.advance(0.001)
    assert isinstance(consumer.exception(), Timeout)
    assert journal == ["waits", "over"]


def test_without_a_time_out_an_item_may_take_for_ever(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    consumer = runtime._scheduler.loop.create_task(taken(stream_of(tasks, owner, timeout=None)(wait, [journal])))
    runtime.advance(10_000)
    assert not consumer.done()
    consumer.cancel()
    runtime.settle()
    assert journal == ["waits", "over"]


def test_with_nolink_failures_are_told_by_their_tasks_and_end_no_other(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle], journal: Journal
) -> None:
    async def work(item: int | str) -> int | None:
        match item:
            case int():
                return await double(item)
            case "late":
                await wait(journal)
            case _:
                await fail(item)
        return None

    found, missing = [], {}

    async def collect() -> None:
        items: list[int | str] = [1, "late", "broken", 2]
        async for task in TaskSupervisor.async_stream_nolink(tasks, owner, work, items, max_concurrency=2):
            match task.exit_reason:
                case Normal():
                    found.append(task.get())
                case reason:
                    missing[task.args[0]] = reason

    consumer = runtime._scheduler.loop.create_task(collect())
    runtime.advance(5)
    assert consumer.done()
    assert found == [2, 4]
    assert missing == {"late": Shutdown("timeout"), "broken": missing["broken"]}
    assert isinstance(missing["broken"], Crash)


def test_a_stream_ends_with_its_owner(runtime: ManualRuntime, tasks: ActorRef[Any], journal: Journal) -> None:
    class Crawler(Actor):
        async def on_receive(self, message: Any) -> Any:
            return await taken(stream_of(tasks, self.actor_ref)(self.work, count()))

        async def work(self, number: int) -> None:
            await wait(journal)

    ref = Crawler.start()
    ref.send("go")
    runtime.settle()
    assert journal == ["waits"] * 3
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert sorted(journal) == ["over"] * 3 + ["waits"] * 3
    assert runtime.actors == [tasks]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"timeout": 0}, "timeout must be seconds > 0 or None, got 0"),
        ({"timeout": "5"}, "timeout must be seconds > 0 or None, got '5'"),
        ({"max_concurrency": 0}, "max_concurrency must be"),
    ],
    ids=["timeout of 0", "timeout as text", "max_concurrency"],
)
@pytest.mark.parametrize("stream", [TaskSupervisor.async_stream, TaskSupervisor.async_stream_nolink])
def test_a_wrong_option_is_named_at_once(
    stream: Any, options: dict[str, Any], text: str, runtime: ManualRuntime, tasks: ActorRef[Any]
) -> None:
    with pytest.raises(ValueError, match=f"^{text}"):
        stream(tasks, None, double, [], **{"max_concurrency": 1, **options})


# In programs


def test_in_an_asyncio_program() -> None:
    def square(number: int) -> int:
        return number * number

    async def program() -> tuple[list[int], int]:
        async with System([ChildSpec(TaskSupervisor, name="tasks")]) as system:
            tasks = system.whereis("tasks")
            assert tasks is not None
            stream = TaskSupervisor.async_stream(tasks, None, square, range(20), max_concurrency=4)
            return [result async for result in stream], await TaskSupervisor.start_child(tasks, double, 21)

    assert asyncio.run(program()) == ([number * number for number in range(20)], 42)


def test_in_synchronous_code() -> None:
    with System([ChildSpec(TaskSupervisor, name="tasks")]) as system:
        tasks = system.whereis("tasks")
        assert tasks is not None
        assert TaskSupervisor.start_child(tasks, double, 21).get(timeout=WAIT) == 42


def test_a_stream_can_be_consumed_on_another_loop(background: in_thread) -> None:
    tasks = TaskSupervisor.start()
    stream = TaskSupervisor.async_stream(tasks, None, double, range(50), max_concurrency=4, ordered=False)
    assert sorted(asyncio.run(taken(stream))) == list(range(0, 100, 2))
    tasks.stop()


def test_the_docstring_example(runtime: ManualRuntime) -> None:
    log: list[str] = []

    async def fetch(url: str) -> str:
        return f"page {url}"

    async def write_log(urls: list[str]) -> None:
        log.extend(urls)

    class Crawler(Actor):
        def __init__(self) -> None:
            self.pages: list[str] = []

        async def on_receive(self, urls: list[str]) -> str:
            TaskSupervisor.start_child("tasks", write_log, urls)
            robots = TaskSupervisor.async_nolink("tasks", self, fetch, "/robots.txt")
            async for page in TaskSupervisor.async_stream("tasks", self, fetch, urls, max_concurrency=8):
                self.pages.append(page)
            return await robots

    system = System([ChildSpec(TaskSupervisor, name="tasks")])
    runtime.run(system.start())
    crawler = Crawler.start()
    assert crawler.ask(["/a", "/b"]) == "page /robots.txt"
    assert crawler.proxy().pages.get() == ["page /a", "page /b"]
    assert log == ["/a", "/b"]
    runtime.run(system.stop())


def test_a_name_that_nobody_has_is_an_error_at_once(runtime: ManualRuntime) -> None:
    with pytest.raises(ActorDeadError, match="no actor is registered as 'tasks'"):
        TaskSupervisor.start_child("tasks", double, 1)


def test_type_checkers_know_what_a_task_results_in(
    runtime: ManualRuntime, tasks: ActorRef[Any], owner: ActorRef[Idle]
) -> None:
    def half(number: int) -> float:
        return number / 2

    assert_type(TaskSupervisor.start_child(tasks, double, 4), Task[int])
    assert_type(TaskSupervisor.start_child(tasks, half, 4), Task[float])
    assert_type(TaskSupervisor.async_(tasks, owner, double, number=4), Task[int])
    assert_type(TaskSupervisor.async_nolink(tasks, owner, partial(half, 4)), Task[float])
    stream = TaskSupervisor.async_stream(tasks, owner, double, [4], max_concurrency=1)
    assert_type(stream, TaskStream[int, int])
    several = TaskSupervisor.async_stream_nolink(
        tasks, owner, half, [4], max_concurrency=2, ordered=False, timeout=None
    )
    assert_type(several, TaskStream[float, Task[float]])
    with pytest.raises(TypeError):
        TaskSupervisor.async_stream(tasks, owner, double, [4])  # type: ignore[call-overload]  # without max_concurrency
    with pytest.raises(TypeError):
        TaskSupervisor.async_stream(tasks, owner, double, [4], maximum=1)  # type: ignore[call-overload]  # no such option
    TaskSupervisor.start_child(tasks, double, "4").cancel()  # type: ignore[arg-type]  # not an int
    assert_type(TaskSupervisor.start_child(tasks, double, 4, restart="transient"), Task[int])
    assert_type(TaskSupervisor.start_child(tasks, half, 4, shutdown=BRUTAL_KILL), Task[float])


# Arguments in the wrong order


TASKS: Any = TaskSupervisor
TASK: Any = Task


def job(*_args: Any) -> Any:
    """Do nothing."""


async def fetch(_url: str) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda _: TASKS.async_nolink("tasks", job, 1),
            "the owner is missing before the function job; write TaskSupervisor.async_nolink(supervisor, owner, function, …)",
        ),
        (
            lambda _: TASKS.async_nolink("tasks", job),
            "the owner is missing before the function job; write TaskSupervisor.async_nolink(supervisor, owner, function, …)",
        ),
        (
            lambda me: TASKS.async_("tasks", job, me),
            "the owner is missing before the function job; write TaskSupervisor.async_(supervisor, owner, function, …)",
        ),
        (
            lambda me: TASKS.async_("tasks", me),
            "the function of the task is missing; write TaskSupervisor.async_(supervisor, owner, function, …)",
        ),
        (
            lambda me: TASKS.async_nolink(me, "tasks", job),
            (
                "the owner of a task must be an actor, its ref or a task that runs, got 'tasks'; "
                "write TaskSupervisor.async_nolink(supervisor, owner, function, …)"
            ),
        ),
        (
            lambda _: TASKS.start_child("tasks", job(1)),
            (
                "a task runs a function, got None; give it the arguments apart: (…, fetch, url), as in "
                "TaskSupervisor.start_child(supervisor, function, …)"
            ),
        ),
        (
            lambda _: TASKS.async_stream("tasks", job, [1], max_concurrency=1),
            (
                "the owner is missing before the function job; write "
                "TaskSupervisor.async_stream(supervisor, owner, function, items, max_concurrency=…), with None for no owner"
            ),
        ),
        (
            lambda me: TASKS.async_stream_nolink("tasks", me, [1], job, max_concurrency=1),
            (
                "a task runs a function, got [1]; give it the arguments apart: (…, fetch, url), as in "
                "TaskSupervisor.async_stream_nolink(supervisor, owner, function, items, max_concurrency=…), "
                "with None for no owner"
            ),
        ),
        (
            lambda me: TASKS.async_stream("tasks", me, job, max_concurrency=1),
            (
                "the items are missing; write "
                "TaskSupervisor.async_stream(supervisor, owner, function, items, max_concurrency=…), with None for no owner"
            ),
        ),
        (
            lambda _: TASK.start_link(job),
            "the owner is missing before the function job; write Task.start_link(owner, function, …)",
        ),
    ],
    ids=range(10),
)
def test_what_is_missing_or_in_another_place_is_named(runtime: ManualRuntime, call: Any, text: str) -> None:
    spawn(TaskSupervisor, name="tasks")
    with pytest.raises(TypeError) as raised:
        call(Actor.start())
    assert str(raised.value) == text


def test_a_coroutine_in_place_of_its_function_is_closed(runtime: ManualRuntime) -> None:
    coroutine: Any = fetch("/")
    with pytest.raises(TypeError, match=r"^a task runs a function, got <coroutine object fetch "):
        Task.start(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


def test_what_is_no_supervisor_starts_no_task(runtime: ManualRuntime) -> None:
    with pytest.raises(
        TypeError, match=r"^expected a supervisor, by its ref or its name, before the other arguments, got "
    ):
        TaskSupervisor.start_child(Actor.start(), job)


# Tasks that ask their owner, which waits for them


class Circular(Actor):
    """Waits for what `wait(tasks, self)` returns; the tasks call it."""

    def __init__(self, tasks: ActorRef[Any], wait: Callable[[Any, Actor], Any]) -> None:
        self.tasks, self.wait = tasks, wait

    async def on_receive(self, message: Any) -> Any:
        return await self.wait(self.tasks, self) if message == "go" else message


async def call(ref: ActorRef[Any]) -> Any:
    return await ref.call("and you?")


async def over(stream: TaskStream[Any, Any]) -> list[Any]:
    return [item async for item in stream]


CIRCLES: dict[str, Callable[[Any, Actor], Any]] = {
    "await task": lambda tasks, owner: TaskSupervisor.async_nolink(tasks, owner, call, owner.actor_ref),
    "await task.result()": lambda tasks, owner: TaskSupervisor.async_nolink(tasks, owner, call, owner.actor_ref).result(
        timeout=None
    ),
    "start_child": lambda tasks, owner: TaskSupervisor.start_child(tasks, call, owner.actor_ref),
    "async_stream": lambda tasks, owner: over(
        TaskSupervisor.async_stream(tasks, owner, call, [owner.actor_ref], max_concurrency=2)
    ),
    "async_stream of two": lambda tasks, owner: over(
        TaskSupervisor.async_stream(tasks, owner, call, [owner.actor_ref] * 2, max_concurrency=2)
    ),
}


@pytest.mark.parametrize("wait", CIRCLES.values(), ids=list(CIRCLES))
def test_a_task_that_calls_the_owner_which_awaits_it_is_told_at_once(
    wait: Callable[[Any, Actor], Any], runtime: ManualRuntime, tasks: ActorRef[Any]
) -> None:
    asked = Circular.start(tasks, wait).ask("go", block=False, timeout=None)
    runtime.settle()
    with pytest.raises(AskCycleError, match="Circular"):
        asked.get()


def test_an_owner_that_does_not_await_the_task_is_called(runtime: ManualRuntime, tasks: ActorRef[Any]) -> None:
    started: list[Task[Any]] = []

    async def wait(tasks: ActorRef[Any], owner: Actor) -> str:
        started.append(TaskSupervisor.async_nolink(tasks, owner, call, owner.actor_ref))
        return "goes on"

    assert Circular.start(tasks, wait).ask("go") == "goes on"
    runtime.settle()
    assert started[0].get() == "and you?"
