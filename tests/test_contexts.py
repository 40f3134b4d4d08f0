"""Context variables: each actor has its own, from its start to its end."""

from __future__ import annotations

import asyncio
import decimal
import gc
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import Actor, ActorRef, Channel, Task, ThreadedActor, ok
from actors.clock import LoopClock
from actors.exceptions import StartError
from actors.lowlevel import Scheduler, in_thread
from actors.runtime.message_queue import MessageQueue
from actors.testing import WAIT, ManualRuntime, Simulation
from supervisors import ChildSpec, DynamicSupervisor, Supervisor, System, TaskSupervisor, start_child
from tests.transport.wire import on_both_loops, serving
from transport import ConnectInfo, LongPoll, Socket
from transport.testing import ChannelTest

if TYPE_CHECKING:
    from actors.channels.message import Reply
    from actors.exits import ExitReason
    from actors.future import Future

variable: ContextVar[Any] = ContextVar("variable", default="nobody's")
other: ContextVar[str] = ContextVar("other", default="nobody's")


@contextmanager
def holding(value: object) -> Iterator[None]:
    """Give the variable a value inside the block."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


class Holder(Actor):
    """Sets its variable to its own value, and returns what it finds there."""

    def __init__(self, own: object = None) -> None:
        self.own_value = own

    def on_start(self) -> None:
        if self.own_value is not None:
            variable.set(self.own_value)

    def on_receive(self, message: Any) -> Any:
        match message:
            case ("set", value):
                variable.set(value)
            case ("start", *args):
                return Holder.start(*args)
        return variable.get()


class AsyncHolder(Holder):
    """The same, with coroutines."""

    async def on_start(self) -> None:  # type: ignore[override]  # either is allowed
        await asyncio.sleep(0)
        super().on_start()

    async def on_receive(self, message: Any) -> Any:
        await asyncio.sleep(0)
        return super().on_receive(message)


class ThreadedHolder(Holder, ThreadedActor):
    """The same, in a thread."""


every_kind = pytest.mark.parametrize("kind", [Holder, AsyncHolder, ThreadedHolder])


# One context for the whole life


@every_kind
def test_what_on_start_sets_is_seen_by_the_handlers_and_by_no_one_else(runtime: ManualRuntime, kind: Any) -> None:
    first = kind.start("the first's")
    second = kind.start()
    runtime.settle()
    assert variable.get() == "nobody's"
    assert [first.ask("get"), second.ask("get"), first.ask("get")] == ["the first's", "nobody's", "the first's"]


@every_kind
def test_an_actor_has_its_starters_variables_as_they_were(runtime: ManualRuntime, kind: Any) -> None:
    with holding("the starter's"):
        actor = kind.start()
    runtime.settle()
    with holding("of later"):
        assert actor.ask("get") == "the starter's"


def test_an_actor_that_an_actor_starts_has_that_ones(runtime: ManualRuntime) -> None:
    with holding("the program's"):
        parent = Holder.start("the parent's")
    child = parent.ask(("start",))
    parent.ask(("set", "the parent's later"))
    assert [child.ask("get"), parent.ask("get")] == ["the parent's", "the parent's later"]


@every_kind
@pytest.mark.parametrize("apart", [True, False], ids=["in turns of their own", "in one turn"])
def test_what_one_message_sets_is_seen_by_the_next(runtime: ManualRuntime, kind: Any, apart: bool) -> None:  # noqa: FBT001  # a parameter of pytest
    actor = kind.start()
    runtime.settle()
    actor.tell(("set", "the first message's"))
    if apart:
        runtime.settle()
    assert actor.ask("get") == "the first message's"


def test_init_sets_the_actors_own_variables_too(runtime: ManualRuntime) -> None:
    class Early(Holder):
        def __init__(self) -> None:
            super().__init__()
            variable.set("of __init__")

    actor = Early.start()
    assert (variable.get(), actor.ask("get")) == ("nobody's", "of __init__")


def test_the_variables_of_an_async_handler_outlast_its_awaits(runtime: ManualRuntime) -> None:
    class Waits(Actor):
        async def on_receive(self, _message: Any) -> Any:
            variable.set("before")
            await asyncio.sleep(1)
            other.set(variable.get())

    class Reads(Waits):
        async def on_receive(self, message: Any) -> Any:
            return (variable.get(), other.get()) if message == "read" else await super().on_receive(message)

    actor = Reads.start()
    actor.tell("wait")
    runtime.advance(1)
    assert actor.ask("read") == ("before", "before")


def test_a_handler_that_returns_a_coroutine_has_one_context(runtime: ManualRuntime) -> None:
    class Both(Actor):
        def on_receive(self, message: Any) -> Any:
            if message == "read":
                return (variable.get(), other.get())
            variable.set("plain")
            return self.later()

        async def later(self) -> None:
            other.set(f"after {variable.get()}")

    actor = Both.start()
    actor.tell("set")
    assert actor.ask("read") == ("plain", "after plain")


def test_decimal_computes_with_the_actors_own_precision(runtime: ManualRuntime) -> None:
    class Rough(Actor):
        def on_start(self) -> None:
            decimal.setcontext(decimal.Context(prec=6))

        def on_receive(self, _message: Any) -> str:
            return str(Decimal(1) / 7)

    rough = Rough.start()
    assert (rough.ask("divide"), str(Decimal(1) / 7)) == ("0.142857", "0.1428571428571428571428571429")


def test_the_first_to_start_an_actor_on_a_loop_leaves_nothing_to_others() -> None:
    async def main() -> list[Any]:
        async def first() -> ActorRef[Any]:
            variable.set("the first's")
            return Holder.start()

        actor = await asyncio.create_task(first())
        later = Holder.start()
        seen: list[Any] = []
        done = asyncio.Event()
        scheduler = Scheduler.here()
        LoopClock(scheduler.loop).call_at(0, lambda: seen.append(variable.get()))
        scheduler.clock.call_at(0, lambda: seen.append(variable.get()))
        await asyncio.to_thread(scheduler.post, lambda: seen.append(variable.get()))
        scheduler.clock.call_at(0, done.set)
        await done.wait()
        return [await actor.call("get"), await later.call("get"), *seen]

    assert asyncio.run(main()) == ["the first's", "nobody's", *["nobody's"] * 3]


def plain_factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)


@pytest.mark.parametrize("factory", [plain_factory, getattr(asyncio, "eager_task_factory", None)])
def test_a_loop_that_has_a_task_factory(factory: Any) -> None:
    class Slow(AsyncHolder):
        async def terminate(self, reason: ExitReason) -> None:
            await asyncio.sleep(0)
            seen.append(variable.get())

        async def on_receive(self, message: Any) -> Any:
            try:
                if message == "wait":
                    await asyncio.sleep(WAIT)
            finally:
                seen.append(variable.get())
            return await super().on_receive(message)

    async def main() -> list[Any]:
        asyncio.get_running_loop().set_task_factory(factory)
        first, second = Slow.start("the first's"), Slow.start()
        answers = [await first.call("get"), await second.call(("set", "the second's")), await second.call("get")]
        await second.call(("set", "later"))
        second.tell("wait")
        for _ in range(3):
            await asyncio.sleep(0)
        second.kill()
        await second.down()
        await first.stop(block=False)
        return [*answers, variable.get()]

    seen: list[Any] = []
    assert asyncio.run(main()) == ["the first's", "the second's", "the second's", "nobody's"]
    assert seen == ["the first's", "nobody's", "the second's", "the second's", "later", "the first's"]


# Every callback


class Reports(Actor):
    """Appends what it finds in its variable, which it has set to "its own", to a list."""

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def see(self, what: str) -> None:
        self.seen.append((what, variable.get()))

    def on_start(self) -> None:
        variable.set("its own")
        self.own(lambda: self.see("own"))

    def on_receive(self, message: Any) -> Any:
        self.see(str(message))

    def terminate(self, reason: ExitReason) -> Any:
        self.see("terminate")
        variable.set("of its end")


def test_timers_and_continued_messages(runtime: ManualRuntime) -> None:
    class Timed(Reports):
        def on_start(self) -> None:
            super().on_start()
            self.send_after(1, "after")
            self.continue_with("continued")
            self.idle_timeout = 2

        def on_receive(self, message: Any) -> None:
            self.see(message if isinstance(message, str) else type(message).__name__)

    seen: list[Any] = []
    Timed.start(seen)
    runtime.advance(3)
    assert seen == [(what, "its own") for what in ("continued", "after", "IdleTimeout")]


def test_an_interval(runtime: ManualRuntime) -> None:
    class Ticking(Reports):
        def on_start(self) -> None:
            super().on_start()
            self.send_interval(1, "tick")

    seen: list[Any] = []
    Ticking.start(seen)
    runtime.advance(2)
    assert seen == [("tick", "its own")] * 2


@pytest.mark.parametrize("end", [lambda ref: ref.stop(), lambda ref: ref.exit(ValueError("x"))], ids=["stop", "exit"])
def test_terminate_and_what_is_owned(runtime: ManualRuntime, end: Any) -> None:
    seen: list[Any] = []
    ref = Reports.start(seen)
    end(ref)
    runtime.settle()
    assert seen == [("terminate", "its own"), ("own", "of its end")]
    assert variable.get() == "nobody's"


def test_an_async_terminate(runtime: ManualRuntime) -> None:
    class Slow(Reports):
        async def terminate(self, reason: ExitReason) -> None:
            await asyncio.sleep(0)
            super().terminate(reason)

    seen: list[Any] = []
    Slow.start(seen).stop()
    assert seen == [("terminate", "its own"), ("own", "of its end")]


def test_on_failure(runtime: ManualRuntime) -> None:
    class Failing(Actor):
        def on_receive(self, message: Any) -> None:
            variable.set(message)
            raise ValueError

        def on_failure(self, *_error: object) -> None:
            seen.append(variable.get())

    seen: list[Any] = []
    Failing.start().tell("of the message")
    runtime.settle()
    assert seen == ["of the message"]


def test_an_actor_whose_turn_fails(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise ValueError

    seen: list[Any] = []
    actor = Reports.start(seen)
    monkeypatch.setattr(MessageQueue, "go_on", fail)
    actor.tell("x")
    runtime.settle()
    assert seen == [("x", "its own"), ("terminate", "its own"), ("own", "of its end")]


def test_an_actor_that_waits_for_what_refuses_to_be_cancelled(runtime: ManualRuntime) -> None:
    class Refusing(asyncio.Future[None]):
        def cancel(self, msg: object = None) -> bool:
            raise ValueError

    class Waiting(Reports):
        async def on_receive(self, _message: Any) -> None:
            variable.set("of the handler")
            await Refusing()

    seen: list[Any] = []
    actor = Waiting.start(seen)
    actor.tell("wait")
    runtime.settle()
    with holding("the killer's"):
        actor.exit(ValueError("x"))
        runtime.settle()
    assert seen[0] == ("terminate", "of the handler")


def test_a_handler_that_is_killed_while_it_waits(runtime: ManualRuntime) -> None:
    class Waiting(Reports):
        async def on_receive(self, _message: Any) -> None:
            variable.set("of the handler")
            try:
                await asyncio.sleep(9)
            finally:
                self.see("finally")

    seen: list[Any] = []
    actor = Waiting.start(seen)
    actor.tell("wait")
    runtime.settle()
    with holding("the killer's"):
        actor.kill()
        runtime.settle()
    assert sorted(seen) == [("finally", "of the handler"), ("own", "of the handler")]


@pytest.mark.parametrize("wait", [0, 9], ids=["plain", "async"])
def test_an_actor_that_is_killed_by_one_that_it_starts(runtime: ManualRuntime, wait: float) -> None:
    class Killer(Actor):
        def __init__(self, victim: ActorRef[Any]) -> None:
            self.victim = victim

        def on_start(self) -> None:
            variable.set("the killer's")
            self.victim.kill()

    class Victim(Reports):
        def on_receive(self, _message: Any) -> Any:
            return self.wait() if wait else Killer.start(self.actor_ref)

        async def wait(self) -> None:
            Killer.start(self.actor_ref)
            await asyncio.sleep(wait)

    seen: list[Any] = []
    victim = Victim.start(seen)
    victim.tell("start the killer")
    runtime.settle()
    assert (seen, victim.is_alive()) == ([("own", "its own")], False)


def test_an_actor_that_is_started_in_terminate(runtime: ManualRuntime) -> None:
    class Last(Reports):
        def terminate(self, reason: ExitReason) -> None:
            super().terminate(reason)
            heir.append(Holder.start())

    heir: list[ActorRef[Any]] = []
    Last.start([]).stop()
    assert heir[0].ask("get") == "of its end"


def test_on_start_that_takes_too_long(runtime: ManualRuntime) -> None:
    class Late(Actor):
        start_timeout = 1

        async def on_start(self) -> None:
            variable.set("its own")
            self.own(lambda: seen.append(variable.get()))
            await asyncio.sleep(9)

    seen: list[Any] = []
    started = Late.start().started()
    runtime.advance(1)
    assert (seen, type(started.exception)) == (["its own"], StartError)


def test_links_monitors_and_exits(runtime: ManualRuntime) -> None:
    class Watches(Reports):
        def on_start(self) -> None:
            super().on_start()
            self.trap_exit = True
            other_actor = Holder.start("another's")
            self.link(other_actor)
            self.monitor(other_actor)
            other_actor.stop(block=False)

        def on_receive(self, message: Any) -> None:
            self.see(type(message).__name__)

    seen: list[Any] = []
    Watches.start(seen)
    runtime.settle()
    assert seen == [("Exit", "its own"), ("Down", "its own")]


def test_a_proxy(runtime: ManualRuntime) -> None:
    class Attributes(Actor):
        def on_start(self) -> None:
            variable.set("its own")

        def get(self) -> object:
            return variable.get()

        @property
        def value(self) -> object:
            return variable.get()

    proxy = Attributes.start().proxy()
    assert (proxy.get().get(), proxy.value.get()) == ("its own", "its own")


def test_callbacks_of_an_answer_have_the_variables_of_those_who_add_them(runtime: ManualRuntime) -> None:
    holder, seen = Holder.start("the answerer's"), list[Any]()

    def called(_future: Future[Any]) -> None:
        seen.append(variable.get())
        variable.set("the callback's")

    with holding("the asker's"):
        holder.ask("get", block=False).add_done_callback(called)
    runtime.settle()
    assert (seen, holder.ask("get")) == (["the asker's"], "the answerer's")


def test_a_timer_of_the_clock_has_the_variables_of_those_who_set_it(runtime: ManualRuntime) -> None:
    seen: list[Any] = []
    with holding("the setter's"):
        runtime.clock.call_after(1, lambda: seen.append(variable.get()))
    runtime.advance(1)
    assert seen == ["the setter's"]


def test_what_waits_on_asyncio_inherits(runtime: ManualRuntime) -> None:
    class Hands(Actor):
        def on_start(self) -> None:
            variable.set("its own")

        async def on_receive(self, message: Any) -> Any:
            if message == "task":
                return await asyncio.create_task(self.read())
            return variable.get()

        async def read(self) -> object:
            found = variable.get()
            variable.set("the task's")
            return found

    actor = Hands.start()
    assert (actor.ask("task"), actor.ask("get")) == ("its own", "its own")


def test_to_thread_inherits() -> None:
    class Hands(Actor):
        async def on_receive(self, message: Any) -> Any:
            variable.set(message)
            return await asyncio.to_thread(variable.get)

    async def main() -> object:
        return await Hands.start().call("its own")

    assert asyncio.run(main()) == "its own"


def test_simulations(runtime: ManualRuntime) -> None:
    with Simulation(seed=1) as simulation:
        actors = [AsyncHolder.start(number) for number in range(5)]
        simulation.settle()
        assert [actor.ask("get") for actor in actors] == list(range(5))


# Threads


def test_an_actor_that_another_thread_starts(background: in_thread) -> None:
    with holding("the thread's"):
        actor = Holder.start()
    with holding("of later"):
        assert actor.ask("get") == "the thread's"


def test_what_a_thread_owned_is_closed_with_its_values(background: in_thread) -> None:
    class Owns(ThreadedActor):
        def on_start(self) -> None:
            self.own(lambda: seen.append(variable.get()))

        def on_receive(self, message: Any) -> None:
            variable.set(message)

        def terminate(self, reason: ExitReason) -> None:
            seen.append(variable.get())

    seen: list[Any] = []
    actor = Owns.start()
    actor.tell("its own")
    actor.stop()
    assert seen == ["its own", "its own"]


def test_a_thread_that_is_killed_at_work(background: in_thread) -> None:
    class Works(ThreadedActor):
        def on_receive(self, message: Any) -> None:
            self.own(lambda: seen.append(variable.get()))
            variable.set(message)
            at_work.set()
            go.wait(WAIT)

    seen: list[Any] = []
    at_work, go = threading.Event(), threading.Event()
    actor = Works.start()
    actor.tell("its own")
    assert at_work.wait(WAIT)
    actor.kill()
    actor.down().get(timeout=WAIT)
    go.set()
    assert seen == ["its own"]


def test_a_pykka_actor(background: in_thread) -> None:
    class Plain(pykka.ThreadingActor):
        def on_start(self) -> None:
            before.append(variable.get())
            variable.set("its own")

        def on_receive(self, _message: Any) -> object:
            return variable.get()

    before: list[Any] = []
    with holding("the starter's"):
        supervisor = DynamicSupervisor.start()
    actor = start_child(supervisor, ChildSpec(Plain)).get()
    assert (before, actor.ask("get"), variable.get()) == (["the starter's"], "its own", "nobody's")
    supervisor.stop()


# Supervision


def test_children_have_their_supervisors_variables_at_each_start(runtime: ManualRuntime) -> None:
    class Sets(Supervisor):
        def on_start(self) -> Any:
            variable.set("the supervisor's")
            return super().on_start()

    class Child(Holder):
        def on_receive(self, message: Any) -> Any:
            if message == "crash":
                raise ValueError
            return super().on_receive(message)

    ref = Sets.start([ChildSpec(Child, name="child")])
    runtime.settle()
    child = runtime._scheduler.names.whereis("child")
    assert child is not None
    child.tell(("set", "of its first life"))
    assert child.ask("get") == "of its first life"
    child.tell("crash")
    runtime.settle()
    again = runtime._scheduler.names.whereis("child")
    assert again is not None
    assert again is not child
    with holding("the asker's"):
        assert again.ask("get") == "the supervisor's"
    ref.stop()


def test_a_child_that_is_started_by_a_call_has_its_supervisors(runtime: ManualRuntime) -> None:
    with holding("the supervisor's"):
        supervisor = DynamicSupervisor.start()
    with holding("the caller's"):
        child = start_child(supervisor, ChildSpec(Holder, args=(None,))).get()
        assert child.ask("get") == "the supervisor's"


def test_the_actors_of_a_system_have_the_programs() -> None:
    async def main() -> list[Any]:
        with holding("the program's"):
            async with System([ChildSpec(Holder, name="holder")]) as system:
                variable.set("of later")
                holder = system.whereis("holder")
                assert holder is not None
                return [await holder.call("get")]

    assert asyncio.run(main()) == ["the program's"]


# Tasks


async def read_async() -> object:
    found = variable.get()
    variable.set("the task's")
    await asyncio.sleep(0)
    return found


def read() -> object:
    found = variable.get()
    variable.set("the task's")
    return found


def returned() -> Any:
    return read_async()


@pytest.mark.parametrize("function", [read, read_async, returned])
@pytest.mark.parametrize("how", ["start_link", "async_nolink", "async_", "start_child", "stream", "nested"])
def test_a_task_sees_its_starters_variables(function: Any, how: str) -> None:
    class Starts(Actor):
        async def on_receive(self, _message: Any) -> Any:
            variable.set("its starter's")
            return [await self.result(), variable.get()]

        async def result(self) -> Any:
            match how:
                case "start_link":
                    return await Task.start_link(self, function)
                case "async_nolink":
                    return await TaskSupervisor.async_nolink("tasks", self, function)
                case "async_":
                    return await TaskSupervisor.async_("tasks", self, function)
                case "start_child":
                    return await TaskSupervisor.start_child("tasks", function)
                case "nested":
                    return await Task.start_link(self, self.nested)
            stream = TaskSupervisor.async_stream("tasks", self, lambda _: function(), [1], max_concurrency=1)
            return await anext(stream)

        async def nested(self) -> Any:
            return await Task.start_link(Task.current(), function)

    async def main() -> Any:
        async with System([ChildSpec(TaskSupervisor, name="tasks"), ChildSpec(Starts, name="starts")]) as system:
            ref = system.whereis("starts")
            assert ref is not None
            return await ref.call("go")

    assert asyncio.run(main()) == ["its starter's", "its starter's"]


def test_an_actor_that_a_task_starts_is_no_task(runtime: ManualRuntime) -> None:
    class Asks(Actor):
        def on_receive(self, _message: Any) -> object:
            return Task.current()

    async def work() -> ActorRef[Any]:
        variable.set("the task's")
        return Asks.start()

    task = Task.start(work)
    runtime.settle()
    with pytest.raises(RuntimeError, match="must be called in the function of a task"):
        runtime.run(task).ask("current")


# Nothing is kept


class Value:
    """Something large."""


@every_kind
@pytest.mark.parametrize("end", ["stop", "kill", "crash in on_start"])
def test_no_value_outlives_the_actor(background: in_thread, kind: Any, end: str) -> None:
    class Sets(kind):  # type: ignore[misc]  # a base that is an argument
        def on_start(self) -> Any:
            variable.set(Value())
            value.append(weakref.ref(variable.get()))
            if end == "crash in on_start":
                raise ValueError

        def on_receive(self, _message: Any) -> None:
            self.send_after(1000, "late")

    value: list[weakref.ref[Value]] = []
    if end == "crash in on_start":
        with pytest.raises(StartError):
            Sets.start()
    else:
        actor = Sets.start()
        actor.ask("set a timer")
        stopped = actor.down()
        actor.stop() if end == "stop" else actor.kill()
        stopped.get(timeout=WAIT)
    settled = threading.Event()
    background.scheduler.loop.call_soon_threadsafe(background.scheduler.loop.call_soon, settled.set)
    assert settled.wait(WAIT)
    for thread in threading.enumerate():
        if thread.name.startswith("Sets"):
            thread.join(WAIT)
    gc.collect()
    assert value[0]() is None


def test_no_value_outlives_its_task(runtime: ManualRuntime) -> None:
    async def work() -> None:
        pass

    with holding(Value()):
        value = weakref.ref(variable.get())
        task = Task.start(work)
        never = Task.start(work)
        never.cancel()
        runtime.settle()
    assert task.done
    assert never.done
    gc.collect()
    assert value() is None


# Clients


class Room(Channel):
    """Sees the variable in each of its callbacks."""

    intercept = ("shout",)

    def join(self, topic: str, payload: Any) -> Reply:
        other.set(f"set by join of {variable.get()}")
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        match event:
            case "shout":
                return self.broadcast("shout", {})
            case "tell":
                return self.send(self, "tell")
            case "later":
                return self.later()
            case "set":
                variable.set("set")
        return self.seen()

    def seen(self) -> Reply:
        return ok({"variable": variable.get(), "other": other.get()})

    async def later(self) -> Reply:
        await asyncio.sleep(0)
        return self.seen()

    def handle_out(self, event: str, payload: Any) -> None:
        self.push(event, {"variable": variable.get(), "other": other.get()})

    def handle_info(self, message: Any) -> None:
        self.push(message, {"variable": variable.get(), "other": other.get()})


class UserSocket(Socket):
    channels = {"room:*": Room}  # noqa: RUF012  # as an author writes it

    def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        assert variable.get() == "the program's"
        variable.set(params["user"])
        return ok()


class AsyncSocket(UserSocket):
    async def connect(self, params: Mapping[str, str], connect_info: ConnectInfo) -> Any:
        await asyncio.sleep(0)
        return super().connect(params, connect_info)


def of(name: str) -> dict[str, str]:
    return {"variable": name, "other": f"set by join of {name}"}


async def see_what_connect_has_set(socket: type[Socket]) -> None:
    variable.set("the program's")
    async with serving(socket) as server:
        for name in ("alice", "bob"):
            client = await server.connect(user=name)
            ref, seen = await client.join("room:1"), of(name)
            for event in ("get", "later"):
                assert await client.ask(ref, "room:1", event) == seen
            for event in ("tell", "shout"):
                await client.send(ref, None, "room:1", event, {})
                assert await client.recv() == [ref, None, "room:1", event, seen]
            await client.ask(ref, "room:1", "set")
            assert await client.ask(ref, "room:1", "get") == {**seen, "variable": "set"}
            await client.close()
    assert variable.get() == "the program's"


@on_both_loops
async def test_channels_see_what_connect_has_set() -> None:
    await see_what_connect_has_set(UserSocket)


@on_both_loops
async def test_channels_see_what_an_async_connect_has_set() -> None:
    await see_what_connect_has_set(AsyncSocket)


@pytest.mark.parametrize("socket", [UserSocket, AsyncSocket])
def test_the_test_kit_does_as_the_endpoint(socket: type[Socket]) -> None:
    with holding("the program's"), ChannelTest(socket, {"user": "alice"}) as alice:
        bob = alice.connect({"user": "bob"})
        for client, name in ((alice, "alice"), (bob, "bob")):
            client.join("room:1").push("get").assert_reply("ok", of(name))
        assert variable.get() == "the program's"


@pytest.mark.parametrize("socket", [UserSocket, AsyncSocket])
def test_so_does_the_one_for_async_tests(socket: type[Socket]) -> None:
    async def main() -> None:
        variable.set("the program's")
        async with ChannelTest(socket, {"user": "alice"}) as alice:
            bob = await alice.connect({"user": "bob"})
            for client, name in ((alice, "alice"), (bob, "bob")):
                joined = await client.join("room:1")
                await joined.push("get").assert_reply("ok", of(name))
            assert variable.get() == "the program's"

    asyncio.run(main())


@on_both_loops
async def test_clients_that_share_a_connection_share_no_variables() -> None:
    variable.set("the program's")
    async with serving(UserSocket, longpoll=LongPoll()) as server:
        tcp = await server.tcp()
        for name in ("alice", "bob"):  # as from a proxy; `connect` sees that nothing is set
            assert (await tcp.get(f"/socket/longpoll?vsn=2.0.0&user={name}")).status == 200
            # Refused after `connect`, as it is no handshake.
            assert (await tcp.get(f"/socket/websocket?vsn=2.0.0&user={name}")).status == 400
        await tcp.close()
