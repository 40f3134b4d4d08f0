"""A forked process: what is its parent's fails at once and says so, and what it makes itself works."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import names, telemetry
from actors import sys as inspection
from actors.actor import Actor
from actors.exceptions import ActorDeadError, ForkedError
from actors.exits import KILL, KILLED, NO_PROCESS
from actors.fork import check_process
from actors.future import Future
from actors.lowlevel import in_thread, last_crashes, new_event_loop
from actors.presence.presence import Presence
from actors.registry import ActorRegistry, Keys, Registry
from actors.runtime import report
from actors.runtime import scheduler as scheduler_module
from actors.task.task import Task
from actors.testing import ManualRuntime, Probe
from actors.threads import actor_thread
from actors.threads.threaded_actor import ThreadedActor
from actors.via import Via
from supervisors import calls
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.system import System
from supervisors.task_supervisor import TaskSupervisor
from tests.children import fork, in_child, needs_fork, outcome_of, wait_for
from tests.live import WAIT

if TYPE_CHECKING:
    from actors.pubsub.pubsub import PubSub

pytestmark = needs_fork


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message() if callable(message) else message


class Blocking(ThreadedActor):
    def on_receive(self, message: Any) -> Any:
        return message() if callable(message) else message


@pytest.fixture
def ref(background: in_thread) -> Iterator[Any]:
    started = Echo.start()
    yield started
    started.stop()


def names_the_fork(use: Callable[[], object]) -> bool:
    return f"process {os.getpid()}, from which this one" in outcome_of(use)


REF: dict[str, Callable[[Any], object]] = {
    "send": lambda ref: ref.send("hello"),
    "tell": lambda ref: ref.tell("hello"),
    "ask": lambda ref: ref.ask("hello"),
    "future": lambda ref: ref.ask("hello", block=False).get(),
    "call": lambda ref: asyncio.run(ref.call("hello")),
    "stop": lambda ref: ref.stop(),
    "stop later": lambda ref: ref.stop(block=False),
    "kill": lambda ref: ref.kill(),
    "exit": lambda ref: ref.exit(KILL),
    "down": lambda ref: ref.down(),
    "started": lambda ref: ref.started(),
    "stopped": lambda ref: ref.actor_stopped.wait(),
    "proxy": lambda ref: ref.proxy(),
    "register": lambda ref: Registry().register("name", ref),
    "monitor": lambda ref: Probe().monitor(ref),
    "link": lambda ref: Probe().link(ref),
    "get_state": lambda ref: inspection.get_state(ref).get(),
    "peek": lambda ref: inspection.peek(ref).get(),
    "clock": lambda ref: ref.process.clock,
    "from an actor of the child": lambda ref: Echo.start().ask(lambda: ref.send("hello")),
}


@pytest.mark.parametrize("use", REF.values(), ids=REF)
def test_an_actor_of_the_parent_cannot_be_used(ref: Any, use: Callable[[Any], object]) -> None:
    assert names_the_fork(lambda: use(ref))


def test_the_error_is_that_of_a_dead_actor_too(ref: Any) -> None:
    with pytest.raises(ActorDeadError) as raised:
        in_child(lambda: ref.tell("hello"))
    error = raised.value
    assert type(error) is ForkedError
    assert (error.process_id, error.what) == (os.getpid(), str(ref))
    assert in_child(lambda: (ref.is_alive(), ref.exit_reason)) == (False, KILLED)
    assert in_child(lambda: repr(ref)) == f"<ActorRef Echo {ref.pid} of process {os.getpid()}>"
    assert ref.ask("still") == "still"


def test_an_actor_that_had_ended_before_is_only_dead(background: in_thread) -> None:
    dead = Echo.start()
    dead.stop()
    assert outcome_of(lambda: dead.tell("hello")).startswith("ActorDeadError")
    assert outcome_of(lambda: dead.send("hello")) == "None"
    assert in_child(lambda: dead.down().get()) == NO_PROCESS


def test_a_future_of_the_parent_is_not_waited_for(background: in_thread) -> None:
    class Later(Actor):
        def on_receive(self, _message: object) -> None:
            self.reply_later()

    later = Later.start()
    pending, done = later.ask("hello", block=False, timeout=None), Future[int]()
    done.set(7)

    async def wait() -> object:
        return await pending

    assert names_the_fork(pending.get)
    assert names_the_fork(lambda: pending.get(timeout=WAIT))
    assert names_the_fork(lambda: asyncio.run(wait()))
    assert names_the_fork(lambda: pending.add_done_callback(print))
    assert in_child(done.get) == 7
    later.stop()


def test_a_caller_of_the_parent_is_not_answered(background: in_thread) -> None:
    kept: list[Any] = []

    class Keeping(Actor):
        def on_receive(self, _message: object) -> None:
            kept.append(self.reply_later())

    keeping = Keeping.start()
    answer = keeping.ask("hello", block=False)
    inspection.get_state(keeping).get()
    assert names_the_fork(lambda: kept[0].reply("too far away"))
    kept[0].reply("here")
    assert answer.get(timeout=WAIT) == "here"
    keeping.stop()


def test_names_of_the_parent_are_not_taken_for_names_that_no_actor_has(background: in_thread) -> None:
    class Named(Actor):
        def on_start(self) -> None:
            self.register("logger")

    registry, logger = Registry(), Named.start()
    registry.register("key", logger)
    shared = Registry(Keys.DUPLICATE)
    shared.register("topic", logger)
    assert names_the_fork(lambda: names.send("logger", "hello"))
    assert names_the_fork(lambda: names.ask("logger", "hello"))
    assert names_the_fork(lambda: names.send(Via(registry, "key"), "hello"))
    assert names_the_fork(lambda: names.ask(Via(registry, "key"), "hello"))
    assert names_the_fork(lambda: registry.update_value("key", logger, str))
    assert names_the_fork(lambda: shared.dispatch("topic", lambda _: None))

    def of_its_own() -> object:
        nothing = (len(registry), registry.names(), registry.whereis("key"), names.whereis("logger"))
        Named.start()
        names.send("logger", "hello")
        names.send("unknown", "hello")
        return nothing, names.whereis("logger") is not None

    assert in_child(of_its_own) == ((0, [], None, None), True)
    assert registry.whereis("key") == logger
    logger.stop()


def test_the_registry_of_all_actors_has_those_of_the_child(ref: Any) -> None:
    def use() -> object:
        none = (ActorRegistry.get_all(), ActorRegistry.broadcast("hello"), ActorRegistry.stop_all())
        Echo.start()
        return none, len(ActorRegistry.get_by_class(Echo)), ActorRegistry.stop_all()

    assert in_child(use) == (([], None, []), 1, [True])


# What the child makes itself


def on_virtual_time() -> object:
    with ManualRuntime() as runtime:
        actor = Echo.start()
        runtime.advance(1.0)
        return actor.ask("hello")


def in_a_system() -> object:
    with System([ChildSpec(Echo, name="echo")]) as system:
        return names.ask("echo", "hello"), len(calls.which_children(system.ref).get())


def as_the_program() -> object:
    class Ending(Actor):
        def on_start(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    System([ChildSpec(Ending)]).run()
    return "ended"


@pytest.mark.parametrize(
    ("use", "result"),
    [
        (on_virtual_time, "hello"),
        (in_a_system, ("hello", 2)),
        (as_the_program, "ended"),
        (lambda: Blocking.start().ask("hello"), "hello"),
        (lambda: Echo.start().ask("hello"), "hello"),
    ],
    ids=["manual", "system", "program", "thread", "background"],
)
def test_what_a_child_makes_works(ref: Any, use: Callable[[], object], result: object) -> None:
    assert in_child(use) == result


def from_a_handler(actor: Any, function: Callable[[], object]) -> Any:
    return actor.ask(lambda: in_child(function), timeout=None)


@pytest.mark.parametrize("kind", [Echo, Blocking])
def test_a_child_that_a_handler_forks_has_its_own_actors_and_none_of_the_parents(
    background: in_thread, kind: type[Actor]
) -> None:
    actor, other = kind.start(), Echo.start()

    def use() -> object:
        async def on_a_loop() -> object:
            return await Echo.start().call("loop")

        with System([ChildSpec(Echo, name="echo")]):
            asked = names.ask("echo", "system")
        return Echo.start().ask("background"), asyncio.run(on_a_loop()), asked

    assert from_a_handler(actor, use) == ("background", "loop", "system")
    assert "from which this one" in from_a_handler(actor, lambda: outcome_of(lambda: other.send("hello")))
    assert (actor.ask("still"), other.ask("still")) == ("still", "still")
    actor.stop()
    other.stop()


OWN: dict[str, Callable[[Any], object]] = {
    "self.send": lambda self: self.send("unknown", "hello"),
    "self.send 2": lambda self: self.send(self, "hello"),
    "self.whereis": lambda self: self.whereis("unknown"),
    "self.register": lambda self: self.register("name"),
    "self.monitor": lambda self: self.monitor("unknown"),
    "self.send_after": lambda self: self.send_after(1.0, "hello"),
    "self.send_interval": lambda self: self.send_interval(1.0, "hello"),
    "setattrself idle_timeout .": lambda self: setattr(self, "idle_timeout", 1.0),
    "self.stop": lambda self: self.stop(),
    "self.clock": lambda self: self.clock,
}


@pytest.mark.parametrize("use", OWN.values(), ids=OWN)
def test_an_actor_is_not_in_the_child_that_its_handler_forks(
    background: in_thread, use: Callable[[Any], object]
) -> None:
    class Forking(Actor):
        def on_receive(self, _message: object) -> str:
            return outcome_of(lambda: use(self))

    forking = Forking.start()
    assert "from which this one" in forking.ask("fork", timeout=None)
    forking.stop()


def raise_from_itself() -> None:
    error = ValueError("its own cause")
    raise error from error


@pytest.mark.parametrize("kind", [Echo, Blocking])
@pytest.mark.parametrize(
    ("end", "status"),
    [(lambda: None, 70), (lambda: sys.exit(3), 3), (lambda: 1 / 0, 70), (raise_from_itself, 70)],
    ids=["None", "exit", "crash", "cycle"],
)
def test_a_child_that_returns_from_the_handler_ends(
    background: in_thread, kind: type[Actor], end: Callable[[], object], status: int
) -> None:
    actor = kind.start()

    def work() -> int:
        child = fork()
        if not child:
            end()
        return child

    assert wait_for(actor.ask(work)) == status
    assert actor.ask("still") == "still"
    actor.stop()


def test_a_child_that_returns_from_a_task_ends(background: in_thread) -> None:
    assert wait_for(Task.start(fork).get(timeout=WAIT)) == 70


def test_an_async_handler_that_returns_in_the_child_ends_it(background: in_thread) -> None:
    class Waiting(Actor):
        async def on_receive(self, _message: object) -> int:
            return fork()

    waiting = Waiting.start()
    assert wait_for(waiting.ask("fork")) == 70
    waiting.stop()


FOREIGN: dict[str, Callable[[Any, Callable[[], object]], object]] = {
    "callback of the loop": lambda runs, function: runs.loop.call_soon_threadsafe(function),
    "task of asyncio": lambda runs, function: asyncio.run_coroutine_threadsafe(coroutine_of(function), runs.loop),
    "timer": lambda runs, function: runs.loop.call_soon_threadsafe(lambda: runs.clock.call_after(0, function)),
    "closer": lambda runs, function: Owning.start(function).stop(),
}


async def coroutine_of(function: Callable[[], object]) -> None:
    function()
    await asyncio.sleep(0)


class Owning(Actor):
    def __init__(self, closer: Callable[[], object]) -> None:
        self.closer = closer

    def on_start(self) -> None:
        self.own(self.closer)


@pytest.mark.parametrize("call", FOREIGN.values(), ids=FOREIGN)
def test_a_child_that_returns_to_the_loop_from_code_that_is_no_handler_ends(
    background: in_thread, call: Callable[[Any, Callable[[], object]], object]
) -> None:
    children = Future[int]()
    echo = Echo.start()
    call(background.scheduler, lambda: children.set(fork()))
    assert wait_for(children.get(timeout=WAIT)) == 70
    assert echo.ask("still") == "still"
    echo.stop()


# Tables and trees of the parent


@contextmanager
def tree() -> Iterator[tuple[System, PubSub, Presence]]:
    presence = Presence()
    system = System([presence, ChildSpec(DynamicSupervisor, name="dynamic"), ChildSpec(TaskSupervisor, name="tasks")])
    with system:
        yield system, system.pubsub, presence


TREE: dict[str, Callable[[Any, Any, Any], object]] = {
    "which_children": lambda system, pubsub, presence: calls.which_children("dynamic").get(),
    "pubsub.broadcast": lambda system, pubsub, presence: pubsub.broadcast("topic", "hello"),
    "pubsub.local_broadcast": lambda system, pubsub, presence: pubsub.local_broadcast("topic", "hello"),
    "pubsub.broadcast_from": lambda system, pubsub, presence: pubsub.broadcast_from(Echo.start(), "topic", "hello"),
    "pubsub.subscribe": lambda system, pubsub, presence: pubsub.subscribe("topic", Echo.start()),
    "pubsub.unsubscribe": lambda system, pubsub, presence: pubsub.unsubscribe("topic", Echo.start()),
    "pubsub.subscribers": lambda system, pubsub, presence: pubsub.subscribers("topic"),
    "pubsub.topics": lambda system, pubsub, presence: pubsub.topics(),
    "presence.list": lambda system, pubsub, presence: presence.list("topic"),
    "presence.track": lambda system, pubsub, presence: presence.track(Echo.start(), "topic", "key", {}),
    "presence.untrack": lambda system, pubsub, presence: presence.untrack(Echo.start(), "topic", "key"),
    "presence.get_by_key": lambda system, pubsub, presence: presence.get_by_key("topic", "key"),
    "system.ref": lambda system, pubsub, presence: system.ref,
    "system.names": lambda system, pubsub, presence: system.names,
    "system.whereis": lambda system, pubsub, presence: system.whereis("dynamic"),
    "system.tree": lambda system, pubsub, presence: system.tree(),
    "asyncio.runsystem.stop": lambda system, pubsub, presence: asyncio.run(system.stop()),
    "asyncio.runsystem.wait": lambda system, pubsub, presence: asyncio.run(system.wait()),
    "calls.start_child": lambda system, pubsub, presence: calls.start_child("dynamic", ChildSpec(Echo)).get(),
    "TaskSupervisor.async_nolinktasks Echo.start print.": lambda system, pubsub, presence: TaskSupervisor.async_nolink(
        "tasks", Echo.start(), print
    ).get(),
    "System pubsubpubsub.__enter__": lambda system, pubsub, presence: System([], pubsub=pubsub).__enter__(),
    "Systempresence.__enter__": lambda system, pubsub, presence: System([presence]).__enter__(),
}


@pytest.mark.parametrize("use", TREE.values(), ids=TREE)
def test_the_tree_of_the_parent_cannot_be_used(use: Callable[[Any, Any, Any], object]) -> None:
    with tree() as (system, pubsub, presence):
        assert names_the_fork(lambda: use(system, pubsub, presence))
        assert system.is_running


def test_a_child_leaves_the_block_of_a_system_that_is_the_parents() -> None:
    with System() as system:
        child = fork()
        if not child:
            system.__exit__(None, None, None)
            os._exit(system.is_running)
        assert wait_for(child) == 0
        assert system.is_running


def test_what_was_made_but_not_started_before_the_fork_works_in_the_child() -> None:
    system = System([ChildSpec(Echo, name="echo")])

    def use() -> object:
        with system:
            return names.ask("echo", "hello")

    assert in_child(use) == "hello"


def test_what_had_ended_before_the_fork_can_be_started_in_the_child() -> None:
    system = System([ChildSpec(Echo, name="echo")])

    def use() -> object:
        with system:
            return names.ask("echo", "hello")

    assert (use(), in_child(use)) == ("hello", "hello")


# Locks


LOCKS = [report._lock, telemetry._lock, actor_thread._leaving, scheduler_module._background_lock]


@contextmanager
def held(lock: Any) -> Iterator[None]:
    """Hold a lock in another thread."""
    acquired, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            acquired.set()
            done.wait(WAIT)

    thread = threading.Thread(target=hold)
    thread.start()
    acquired.wait(WAIT)
    yield
    done.set()
    thread.join(WAIT)


@pytest.mark.parametrize("lock", LOCKS, ids=["report", "telemetry", "threads", "background"])
def test_a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child(lock: Any) -> None:
    with held(lock):
        assert in_child(lambda: lock.acquire(timeout=WAIT))


def test_a_registry_that_another_thread_wrote_at_the_fork_works_in_the_child(background: in_thread) -> None:
    registry, ref = Registry(), Echo.start()
    registry.register("key", ref)
    writing, written = threading.Event(), threading.Event()

    def update(value: object) -> object:
        writing.set()
        written.wait(WAIT)
        return value

    thread = threading.Thread(target=registry.update_value, args=("key", ref, update))
    thread.start()
    writing.wait(WAIT)

    def register() -> int:
        registry.register("key", Echo.start())
        return len(registry)

    assert in_child(register) == 1
    written.set()
    thread.join(WAIT)
    ref.stop()


def test_a_child_has_the_crashes_of_its_parent_and_its_own(background: in_thread) -> None:
    with held(report._lock):
        assert isinstance(in_child(lambda: len(last_crashes())), int)


def test_what_is_checked_is_the_process() -> None:
    check_process(os.getpid(), "this")
    with pytest.raises(ForkedError, match="this belongs to process 1, from which"):
        check_process(1, "this")


def test_a_child_of_a_child_is_told_of_the_process_that_has_the_actor(ref: Any) -> None:
    assert f"process {os.getpid()}," in in_child(lambda: outcome_of(lambda: ref.tell("hello")))


@pytest.mark.parametrize(
    "use",
    [
        lambda task: task.get(),
        lambda task: asyncio.run(task.shutdown()),
        lambda task: asyncio.run(task.result(timeout=1.0)),
        lambda task: task.cancel(),
        lambda task: Task.start_link(task, print),
    ],
    ids=["get", "shutdown", "result", "cancel", "start_link"],
)
def test_a_task_of_the_parent_cannot_be_used(background: in_thread, use: Callable[[Any], object]) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    task = Task.start(forever)
    assert names_the_fork(lambda: use(task))
    task.cancel()


class Ticking(Actor):
    def on_receive(self, _message: object) -> Any:
        return self.send_after(1000, "timer"), self.send_interval(1000, "interval")


def test_a_timer_of_the_parent_cannot_be_used(background: in_thread) -> None:
    ticking: Any = Ticking.start()
    timers = ticking.ask("start")
    for timer in timers:
        assert names_the_fork(timer.cancel)
        assert names_the_fork(timer.remaining)
    assert in_child(lambda: repr(timers[0])) == "<Timer of another process>"
    assert [timer.remaining() is None for timer in timers] == [False, False]
    ticking.stop()


def test_a_child_leaves_the_block_of_a_runtime_that_is_the_parents(runtime: ManualRuntime) -> None:
    assert names_the_fork(runtime.settle)
    assert names_the_fork(lambda: runtime.advance(1.0))
    assert names_the_fork(lambda: runtime.actors)
    assert outcome_of(lambda: runtime.__exit__(None, None, None)) == "None"


def test_pykkas_actors_have_a_registry_of_their_own_in_a_child() -> None:
    def start() -> object:
        with System([ChildSpec(OfPykka, name="mine")]):
            return names.ask("mine", "hello")

    with System([ChildSpec(OfPykka, name="pykka")]), held(pykka.ActorRegistry._actor_refs_lock):
        assert in_child(start) == "hello"
        assert in_child(pykka.ActorRegistry.stop_all) == []


class OfPykka(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


async def in_the_body_of_a_system(end: Callable[[], object]) -> int:
    async with System([ChildSpec(Echo, name="echo")]) as system:
        child = fork()
        if not child:
            end()
            return 0
        status = await asyncio.to_thread(wait_for, child)
        assert await system.ref.process.scheduler.names.whereis("echo").call("still") == "still"  # type: ignore[union-attr]  # it is running
        return status


async def in_a_program_with_actors(end: Callable[[], object]) -> int:
    echo = Echo.start()
    child = fork()
    if not child:
        end()
        return 0
    status = await asyncio.to_thread(wait_for, child)
    assert await echo.call("still") == "still"
    return status


@pytest.mark.parametrize("main", [in_the_body_of_a_system, in_a_program_with_actors])
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "fastest"])
@pytest.mark.parametrize(("end", "status"), [(lambda: None, 70), (lambda: sys.exit(3), 3)], ids=["returns", "exits"])
def test_a_child_that_leaves_the_program_of_its_parent_does_not_close_the_loop(
    main: Callable[[Callable[[], object]], Any], new_loop: Any, end: Callable[[], object], status: int
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main(end)) == status


def test_a_child_that_leaves_the_program_of_a_system_does_not_end_it() -> None:
    ended: list[int] = []

    def then(_system: System) -> None:
        child = fork()
        if not child:
            sys.exit(3)
        ended.append(wait_for(child))
        signal.raise_signal(signal.SIGTERM)

    System([ChildSpec(Echo)]).run(then)
    assert ended == [3]
