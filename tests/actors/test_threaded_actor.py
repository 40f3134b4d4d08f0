"""Actors with a thread of their own: all that an actor is, though its work blocks; and the threads that will not end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import sys
from actors.actor import Actor
from actors.clock import LoopClock, Timer
from actors.exceptions import ActorDeadError, AskCycleError, NameTakenError, NotRegisteredError, StartError, Timeout
from actors.exits import KILLED, NO_PROCESS, NORMAL, SHUTDOWN, Crash, Down, Exit, ExitReason, Refuse, Shutdown, Stop
from actors.future import Future
from actors.names import whereis
from actors.registry import Registry
from actors.runtime import current
from actors.runtime.idle_timeout import Idle, IdleTimeout
from actors.runtime.process import Process
from actors.runtime.scheduler import Scheduler, in_thread
from actors.testing import WAIT, ManualRuntime, Probe, sync
from actors.threads.actor_thread import threads_left
from actors.threads.threaded_actor import ThreadedActor
from supervisors.calls import which_children
from supervisors.child_spec import BRUTAL_KILL, ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from actors.ref import ActorRef

BOOM = ValueError("boom")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Join the threads that a test has started; all must have come to an end, or be about to."""
    before = threading.enumerate()
    yield
    for thread in threading.enumerate():
        if thread not in before and thread.name.endswith(">"):
            thread.join(WAIT)
            assert not thread.is_alive(), f"the thread of {thread.name} is left"
    assert threads_left() == []


@pytest.fixture
def log() -> list[Any]:
    return []


class Puppet(ThreadedActor):
    """Does what it is told: its messages are functions of the actor; all others it keeps."""

    def __init__(self, log: list[Any] | None = None) -> None:
        self.log: list[Any] = [] if log is None else log

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else self.log.append(message)

    def terminate(self, reason: ExitReason) -> Any:
        self.log.append(("terminated", reason))


class Held:
    """Holds the thread of an actor until the test lets it go; for actors that run in real time."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self, _actor: Actor | None = None) -> str:
        self.begun.set()
        assert self.released.wait(WAIT)
        return "released"


def crash(_actor: Actor) -> None:
    raise BOOM


# One thread


class Hooks(ThreadedActor):
    """Writes down in which thread each of its methods runs."""

    def __init__(self, threads: dict[str, threading.Thread]) -> None:
        self.threads = threads
        self.note("__init__")

    def note(self, name: str) -> None:
        self.threads[name] = threading.current_thread()

    def on_start(self) -> None:
        self.note("on_start")

    def on_receive(self, message: Any) -> None:
        self.note(message)

    def on_stop(self) -> None:
        self.note("on_stop")

    def called(self) -> None:
        self.note("called")


def test_all_hooks_run_in_one_thread_that_ends_with_the_actor(background: in_thread) -> None:
    threads: dict[str, threading.Thread] = {}
    ref = Hooks.start(threads)
    ref.tell("told")
    ref.ask("asked")
    ref.proxy().called().get(timeout=WAIT)
    name = str(ref)
    ref.stop()
    assert threads.pop("__init__") is threading.current_thread()
    assert set(threads) == {"on_start", "told", "asked", "called", "on_stop"}
    (thread,) = set(threads.values())
    assert thread is not background.thread
    assert (thread.name, thread.daemon) == (name, True)
    thread.join(WAIT)
    assert not thread.is_alive()


def test_each_actor_has_a_thread_of_its_own_and_blocks_nobody_else(background: in_thread) -> None:
    held = Held()
    first, second = Puppet.start(), Puppet.start()
    first.tell(held)
    assert held.begun.wait(WAIT)
    assert second.ask(lambda _: "free") == "free"
    held.released.set()
    first.stop()
    second.stop()


class Ledger(ThreadedActor):
    """Keeps amounts in a database whose connection works in the thread that made it and in no other."""

    def __init__(self, path: str) -> None:
        self.path = path

    def on_start(self) -> None:
        self.db = sqlite3.connect(self.path)
        self.db.execute("create table if not exists entries (amount integer)")

    def on_receive(self, message: Any) -> Any:
        if message == "sum":
            return self.db.execute("select sum(amount) from entries").fetchone()[0]
        with self.db:
            self.db.execute("insert into entries values (?)", [message])
        return None

    def terminate(self, reason: ExitReason) -> None:
        self.db.close()


@pytest.mark.usefixtures("background")
def test_a_connection_that_belongs_to_a_thread(tmp_path: Any) -> None:
    supervisor: ActorRef[Any] = Supervisor.start([ChildSpec(Ledger, (str(tmp_path / "ledger.db"),), name="ledger")])
    ledger = whereis("ledger")
    assert ledger is not None
    for amount in range(10):
        ledger.tell(amount)
    assert ledger.ask("sum", timeout=WAIT) == 45
    with pytest.raises(sqlite3.Error):
        ledger.ask(["no amount"], timeout=WAIT)
    assert isinstance(ledger.exit_reason, Crash)
    (info,) = which_children(supervisor).get(timeout=WAIT)
    assert (info.ref, info.restarts) == (whereis("ledger"), 1)
    restarted = info.ref
    assert restarted is not None
    assert restarted.ask("sum", timeout=WAIT) == 45
    supervisor.stop()


# Calls


@pytest.mark.usefixtures("background")
def test_what_a_handler_returns_answers_and_stop_and_refuse_mean_what_they_do_elsewhere(log: list[Any]) -> None:
    ref = Puppet.start(log)
    assert ref.ask(lambda _: 42) == 42
    with pytest.raises(KeyError):
        ref.ask(lambda _: Refuse(KeyError("no")))
    assert ref.ask(lambda _: Stop(Shutdown("done"), reply="bye")) == "bye"
    ref.down().get(timeout=WAIT)
    assert (ref.exit_reason, log) == (Shutdown("done"), [("terminated", Shutdown("done"))])


@pytest.mark.usefixtures("background")
@pytest.mark.parametrize("error", [BOOM, asyncio.CancelledError()], ids=repr)
def test_an_exception_ends_this_actor_and_no_other_and_the_asker_gets_it(error: BaseException, log: list[Any]) -> None:
    def fail(_: Actor) -> None:
        raise error

    bystander, ref = Puppet.start(), Puppet.start(log)
    with pytest.raises(Exception) as raised:  # noqa: PT011  # which one is looked at below
        ref.ask(fail)
    told = raised.value if isinstance(error, Exception) else raised.value.__cause__
    assert type(told) is type(error)
    reason = ref.exit_reason
    assert isinstance(reason, Crash)
    assert type(reason.exception) is type(error)
    assert log == [("terminated", reason)]
    assert bystander.ask(lambda _: "alive") == "alive"
    bystander.stop()


@pytest.mark.usefixtures("background")
def test_threads_may_ask_each_other_and_wait() -> None:
    first, second = Puppet.start(), Puppet.start()
    assert first.ask(lambda _: second.ask(lambda _: "from the second")) == "from the second"
    assert first.ask(lambda actor: threading.current_thread().name == str(actor))
    first.stop()
    second.stop()


@pytest.mark.usefixtures("background")
def test_a_circle_of_asks_is_told_with_its_chain() -> None:
    first, second, third = Puppet.start(), Puppet.start(), Puppet.start()
    with pytest.raises(AskCycleError) as caught:
        first.ask(lambda _: second.ask(lambda _: third.ask(lambda _: first.ask("never", timeout=None))), timeout=WAIT)
    assert caught.value.chain == (str(third), str(first), str(second), str(third))
    for ref in (first, second, third):
        assert ref.down().get(timeout=WAIT) in {NO_PROCESS, ref.exit_reason}


@pytest.mark.usefixtures("background")
def test_a_circle_of_an_actor_on_the_loop_and_one_in_a_thread() -> None:
    class Asking(Actor):
        async def on_receive(self, message: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
            return await message()

    threaded, asking = Puppet.start(), Asking.start()
    with pytest.raises(AskCycleError):
        threaded.ask(lambda _: asking.ask(lambda: threaded.call("never", timeout=None), timeout=None), timeout=WAIT)
    threaded.down().get(timeout=WAIT)
    asking.down().get(timeout=WAIT)


@pytest.mark.usefixtures("background")
def test_a_thread_that_asks_its_own_actor_is_told() -> None:
    ref = Puppet.start()
    with pytest.raises(AskCycleError):
        ref.ask(lambda actor: actor.actor_ref.ask("never"))


def test_an_event_loop_asks_without_being_blocked() -> None:
    async def main() -> list[int]:
        refs = [Puppet.start() for _ in range(4)]
        held = Held()
        waiting = asyncio.ensure_future(refs[0].call(held))
        await asyncio.to_thread(held.begun.wait, WAIT)
        answers = [await ref.call(lambda _, n=n: n) for n, ref in enumerate(refs[1:])]
        held.released.set()
        assert await waiting == "released"
        for ref in refs:
            await ref.stop(block=False)
        return answers

    assert asyncio.run(main()) == [0, 1, 2]


@pytest.mark.usefixtures("background")
def test_many_at_once(log: list[Any]) -> None:
    counter = Puppet.start(log)
    refs = [Puppet.start() for _ in range(20)]
    for n, ref in enumerate(refs):
        for m in range(10):
            ref.tell(lambda actor, n=n, m=m: actor.send(counter, (n, m)))
    sync(*refs)
    sync(counter)
    assert [[m for of, m in log if of == n] for n in range(20)] == [list(range(10))] * 20
    for ref in (*refs, counter):
        ref.stop()


@pytest.mark.parametrize("hook", ["on_start", "on_receive", "terminate", "on_stop", "on_failure"])
def test_hooks_that_are_coroutines_are_refused_where_they_are_written(hook: str) -> None:
    async def coroutine(self: Any, *args: Any) -> None:
        """Never run."""

    with pytest.raises(TypeError, match=rf"Wrong\.{hook} must be a plain `def`, got `async def`"):
        type("Wrong", (ThreadedActor,), {hook: coroutine, "__qualname__": "Wrong"})


@pytest.mark.usefixtures("background")
def test_other_methods_that_are_coroutines_crash_with_the_reason() -> None:
    class Wrong(Puppet):
        async def fetch(self) -> None:
            """Never run."""

    ref = Wrong.start()
    with pytest.raises(TypeError, match="fetch is `async def`; drop the `async`"):
        ref.proxy().fetch().get(timeout=WAIT)
    ref.down().get(timeout=WAIT)


# Starts


def test_the_starter_gets_the_error_of_on_start(runtime: ManualRuntime) -> None:
    class Stillborn(ThreadedActor):
        def on_start(self) -> None:
            raise BOOM

    started = Stillborn.start().started()
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert started.exception.cause is BOOM
    assert runtime.actors == []


def test_a_start_that_takes_too_long_fails_and_leaves_its_thread(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    held: Future[None] = Future()

    class Slow(ThreadedActor):
        start_timeout = 2.0

        def on_start(self) -> None:
            held.get()

    started = Slow.start().started()
    runtime.advance(1.9)
    assert not started.done
    runtime.advance(0.2)
    assert isinstance(started.exception, StartError)
    assert [left.doing for left in threads_left()] == ["on_start"]
    held.set()
    runtime.settle()
    assert "its thread cannot be killed and runs on; it is handling: on_start" in caplog.text


def test_actors_that_are_started_in_the_thread_live_on_the_actors_loop(runtime: ManualRuntime) -> None:
    ref, probe = Puppet.start(), Probe()
    child = ref.ask(lambda actor: (Puppet.start(), Scheduler.here(), whereis("nobody")))
    assert child[1:] == (runtime._scheduler, None)
    assert child[0] in runtime.actors
    ref.ask(lambda actor: actor.register("me"))
    assert ref.ask(lambda _: whereis("me")) == ref
    probe.monitor(child[0])


# Bonds


def test_links_monitors_and_names_made_in_the_thread(runtime: ManualRuntime, log: list[Any]) -> None:
    ref, other, probe = Puppet.start(log), Puppet.start(), Probe()
    monitor = ref.ask(lambda actor: actor.monitor(other))
    gone = ref.ask(lambda actor: (actor.monitor("nobody"), actor.demonitor(actor.monitor(other), flush=True))[0])
    ref.ask(lambda actor: actor.link(probe.ref))
    ref.ask(lambda actor: actor.register("puppet"))
    with pytest.raises(NameTakenError):
        other.ask(lambda actor: actor.register("puppet"))
    runtime.settle()
    assert isinstance(log.pop(0), Down)
    (down,) = log
    assert (down.ref, down.actor, type(down.reason)) == (monitor, other, Crash)
    assert gone is not monitor
    ref.tell(crash)
    assert probe.assert_receive(Exit).reason == Crash(BOOM)
    assert whereis("puppet") is None


ON_LOOP: list[tuple[str, type, str, Callable[[Any], object]]] = [
    ("stop", Process, "put", lambda actor: actor.stop(SHUTDOWN)),
    ("register", Registry, "register", lambda actor: actor.register("me")),
    ("unregister", Registry, "unregister", lambda actor: (actor.register("me"), actor.unregister("me"))),
    ("reply_later", Process, "reply_later", lambda actor: actor.reply_later()),
    ("continue_with", Process, "continue_with", lambda actor: actor.continue_with("next")),
    ("link", Process, "link", lambda actor: actor.link(actor)),
    ("unlink", Process, "unlink", lambda actor: actor.unlink(actor)),
    ("monitor", Process, "monitor", lambda actor: actor.monitor(actor)),
    ("demonitor", Process, "demonitor", lambda actor: actor.demonitor(actor.monitor(actor))),
    ("own", Process, "own", lambda actor: actor.own(list)),
    ("send", Process, "put", lambda actor: actor.send(actor, "hello")),
    ("send_after", LoopClock, "send_after", lambda actor: actor.send_after(100, "late")),
    ("send_interval", LoopClock, "send_interval", lambda actor: actor.send_interval(100, "late")),
    ("cancel", Timer, "cancel", lambda actor: actor.cancel(actor.send_after(100, "never"))),
    ("idle_timeout", Idle, "__init__", lambda actor: setattr(actor, "idle_timeout", 100)),
]


@pytest.mark.parametrize(("owner", "name", "use"), [row[1:] for row in ON_LOOP], ids=[row[0] for row in ON_LOOP])
def test_what_belongs_to_the_loop_is_done_by_the_loop(
    background: in_thread, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, use: Callable[[Any], object]
) -> None:
    ref = Puppet.start()
    done: Future[str] = Future()
    threads: list[threading.Thread] = []
    method = getattr(owner, name)

    def recorded(*args: Any, **kwargs: Any) -> Any:
        threads.append(threading.current_thread())
        return method(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, recorded)
        ref.tell(lambda actor: done.set(repr(use(actor))))
        done.get(timeout=WAIT)
        sync(Probe().ref)  # what the thread posted before has been done too
    assert set(threads) == {background.thread}
    ref.kill()
    ref.down().get(timeout=WAIT)


# What a thread may use of an `Actor` as it is, each with its reason. All other public members belong to the loop.
OF_ANY_THREAD = {
    "actor_inbox": "a reference",
    "actor_ref": "a reference, for any thread",
    "actor_stopped": "reads one attribute",
    "actor_urn": "never changes",
    "clock": "never changes",
    "exit": "sends, from any thread",
    "format_status": "a hook that is called in any thread",
    "mailbox": "an option of the class",
    "pid": "never changes",
    "record": "an option of the class",
    "remaining": "reads two attributes",
    "start": "made for any thread",
    "start_as": "made for any thread",
    "start_timeout": "an option of the class",
    "stuck_after": "an option of the class",
    "trap_exit": "reads or writes one attribute, as an `Actor` on the loop does",
    "whereis": "reads a registry, which is for any thread",
}
HOOKS = {"on_start", "on_receive", "terminate", "on_stop", "on_failure"}


def test_each_public_member_of_an_actor_is_wrapped_or_for_any_thread() -> None:
    public = {name for name in dir(Actor) if not name.startswith("_")}
    assert public - vars(ThreadedActor).keys() == OF_ANY_THREAD.keys() | HOOKS


@pytest.mark.parametrize("name", sorted({name for name in vars(ThreadedActor) if not name.startswith("_")} - {"send"}))
def test_what_is_wrapped_is_the_member_of_an_actor(name: str) -> None:
    wrapped, original = vars(ThreadedActor)[name], vars(Actor)[name]
    if isinstance(wrapped, property):
        assert wrapped.fget is original.fget
        wrapped, original = wrapped.fset, original.fset
    assert wrapped.__wrapped__ is original


def test_a_threaded_actor_is_started_under_a_name_and_gives_it_back(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start_as("puppet", log)
    assert whereis("puppet") is ref
    with pytest.raises(NameTakenError):
        Puppet.start_as("puppet")
    ref.ask(lambda actor: actor.unregister("puppet"))
    assert whereis("puppet") is None
    with pytest.raises(NotRegisteredError):
        ref.ask(lambda actor: actor.unregister("puppet"))


def test_exits_are_trapped_from_the_thread(runtime: ManualRuntime, log: list[Any]) -> None:
    ref, other = Puppet.start(log), Puppet.start()

    def trap(actor: Any) -> None:
        actor.trap_exit = True
        actor.link(other)

    ref.ask(trap)
    other.tell(crash)
    runtime.settle()
    (exit_,) = log
    assert (exit_.actor, exit_.reason) == (other, Crash(BOOM))
    ref.ask(lambda actor: actor.unlink(other))


def test_timers_set_and_cancelled_in_the_thread(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)

    def arm(actor: Any) -> float | None:
        actor.send_after(2, "once")
        actor.ticks = actor.send_interval(3, "tick")
        left: float | None = actor.cancel(actor.send_after(5, "never"))
        return left

    assert ref.ask(arm) == 5
    runtime.advance(7)
    assert ref.ask(lambda actor: (actor.remaining(actor.ticks), actor.cancel(actor.ticks))) == (2, 2)
    runtime.advance(20)
    assert log == ["once", "tick", "tick"]


def test_idle_time_outs_continuations_and_questions_kept(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)

    def keep(actor: Any) -> str:
        actor.kept = actor.reply_later()
        actor.continue_with("next")
        actor.send(actor, "last")
        actor.idle_timeout = 4
        return "no answer"

    answer = ref.ask(keep, block=False)
    runtime.advance(5)
    assert log == ["next", "last", IdleTimeout(4)]
    assert (ref.ask(lambda actor: actor.idle_timeout), answer.done) == (4, False)
    ref.ask(lambda actor: actor.kept.reply("at last"))
    assert answer.result() == "at last"


def test_its_attributes_are_its_own_and_the_authors_all_the_names(runtime: ManualRuntime, log: list[Any]) -> None:
    class Player(Puppet):
        def on_start(self) -> None:
            self._thread = "of a tale"  # a name that many would take

    ref = Player.start(log)
    assert sys.get_state(ref).get() == {"log": log, "_thread": "of a tale"}
    assert sys.replace_state(ref, lambda _: {"log": log, "page": 7}).get() == {"log": log, "page": 7}
    assert ref.ask(lambda actor: actor.page) == 7


def test_what_it_owns_is_closed_and_it_can_stop_itself(runtime: ManualRuntime, log: list[Any]) -> None:
    ref, closed = Puppet.start(log), []
    ref.ask(lambda actor: actor.own(lambda: closed.append("closed")))
    ref.tell("before")
    ref.tell(lambda actor: actor.stop())
    runtime.settle()
    assert closed == ["closed"]
    assert log == ["before", ("terminated", NORMAL)]


def test_a_stop_with_a_reason_comes_after_the_earlier_messages(runtime: ManualRuntime, log: list[Any]) -> None:
    ref = Puppet.start(log)
    ref.tell(lambda actor: actor.stop(Shutdown("enough")))
    ref.tell("in time")
    runtime.settle()
    assert (ref.exit_reason, log) == (Shutdown("enough"), ["in time", ("terminated", Shutdown("enough"))])


def test_a_ref_stops_its_actor_with_a_reason_when_its_thread_has_handled_the_earlier_messages(
    runtime: ManualRuntime, log: list[Any]
) -> None:
    ref = Puppet.start(log)
    ref.tell("earlier")
    assert ref.stop(reason=BOOM) is True
    assert (ref.exit_reason, log) == (Crash(BOOM), ["earlier", ("terminated", Crash(BOOM))])


# The end


def test_an_exit_signal_waits_for_the_handler_whose_answer_counts(runtime: ManualRuntime, log: list[Any]) -> None:
    held: Future[str] = Future()
    ref = Puppet.start(log)
    answer = ref.ask(lambda _: held.get(), block=False)
    ref.tell("too late")
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert ref.is_alive()
    held.set("answer")
    runtime.settle()
    assert answer.result() == "answer"
    assert (ref.exit_reason, log) == (SHUTDOWN, [("terminated", SHUTDOWN)])


def test_a_handler_that_crashes_after_an_exit_signal_has_crashed(runtime: ManualRuntime, log: list[Any]) -> None:
    held: Future[str] = Future()
    ref = Puppet.start(log)
    ref.tell(lambda _: held.get())
    runtime.settle()
    ref.exit(SHUTDOWN)
    held.set_exception(BOOM)
    runtime.settle()
    assert (ref.exit_reason, log) == (Crash(BOOM), [("terminated", Crash(BOOM))])


def test_kill_while_blocked_ends_the_actor_for_everybody_but_its_thread(
    runtime: ManualRuntime, log: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    held: Future[str] = Future()
    after: list[str] = []

    def blocked(actor: Any) -> None:
        held.get()
        for method, *args in ((actor.send, probe.ref, "ghost"), (actor.link, probe.ref), (actor.own, list)):
            with pytest.raises(ActorDeadError):
                method(*args)
            after.append("dead")

    ref, probe = Puppet.start(log), Probe()
    ref.ask(lambda actor: actor.register("puppet"))
    probe.monitor(ref)
    probe.link(ref)
    answer = ref.ask(blocked, block=False)
    runtime.settle()
    ref.kill()
    assert probe.assert_receive(Down).reason == KILLED
    assert probe.assert_receive(Exit).reason == KILLED
    assert whereis("puppet") is None
    assert isinstance(answer.exception, ActorDeadError)
    (left,) = threads_left()
    assert (left.actor, left.thread.name) == (ref, str(ref))
    assert "blocked" in left.doing
    assert "held.get()" in left.stack
    assert f"{ref} has ended (Killed()), but its thread cannot be killed and runs on" in caplog.text
    assert "held.get()" in caplog.text
    caplog.clear()
    held.set("go on")
    runtime.settle()
    left.thread.join(WAIT)
    assert f"the thread that {ref} left behind has ended at last" in caplog.text
    assert (threads_left(), left.stack, log, after) == ([], "", [], ["dead"] * 3)
    probe.refute_received("ghost")


def test_kill_while_idle_leaves_no_thread(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, log: list[Any]
) -> None:
    ref = Puppet.start(log)
    runtime.settle()
    ref.kill()
    runtime.settle()
    assert (ref.exit_reason, log, threads_left()) == (KILLED, [], [])
    assert "its thread" not in caplog.text


def test_what_it_owns_is_closed_at_once_which_may_free_the_thread(background: in_thread) -> None:
    released = threading.Event()
    begun = threading.Event()

    def blocked(actor: Any) -> None:
        actor.own(released.set)
        begun.set()
        assert released.wait(WAIT)

    ref = Puppet.start()
    ref.tell(blocked)
    assert begun.wait(WAIT)
    ref.kill()
    assert ref.down().get(timeout=WAIT) in {KILLED, NO_PROCESS}


def test_the_thread_of_a_loop_that_has_ended_comes_to_its_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    held, ended, loop = Held(), threading.Event(), in_thread("ends before its actor")
    monkeypatch.setitem(current.schedulers, current.BACKGROUND, loop.scheduler)

    def call_in_vain(actor: Any) -> None:
        held()
        try:
            actor.monitor(actor)
        finally:
            ended.set()

    ref = Puppet.start()
    ref.tell(call_in_vain)
    assert held.begun.wait(WAIT)
    loop.stop()
    assert ref.exit_reason == KILLED
    held.released.set()
    assert ended.wait(WAIT)


# Supervision


def supervised(ref: ActorRef[Any]) -> ActorRef[Any]:
    child = whereis("child")
    assert child is not None, f"{ref} has no child"
    return child


@pytest.mark.parametrize(
    ("restart", "message", "restarted"),
    [
        ("permanent", crash, True),
        ("permanent", lambda _: Stop(), True),
        ("transient", crash, True),
        ("transient", lambda _: Stop(), False),
        ("temporary", crash, False),
    ],
    ids=["permanent crash", "permanent stop", "transient crash", "transient stop", "temporary crash"],
)
def test_restarts(runtime: ManualRuntime, restart: str, message: Any, restarted: bool) -> None:  # noqa: FBT001  # a row of the table
    ref: ActorRef[Any] = Supervisor.start([ChildSpec(Puppet, name="child", restart=restart)])  # type: ignore[arg-type]  # by its name
    runtime.settle()
    child = supervised(ref)
    child.tell(message)
    runtime.settle()
    again = whereis("child")
    assert (again is not None, again != child) == (restarted, True)


def test_a_supervisor_that_loses_patience_kills_and_says_so(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    held: Future[str] = Future()
    ref: ActorRef[Any] = Supervisor.start([ChildSpec(Puppet, name="child", shutdown=3)])
    runtime.settle()
    child = supervised(ref)
    child.tell(lambda _: held.get())
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.advance(2.9)
    assert ref.is_alive()
    assert threads_left() == []
    runtime.advance(0.1)
    assert (ref.exit_reason, child.exit_reason) == (SHUTDOWN, KILLED)
    assert [left.actor for left in threads_left()] == [child]
    assert f"{child} did not end in time and is killed" in caplog.text
    assert f"{child} has ended (Killed()), but its thread cannot be killed" in caplog.text
    held.set("go on")
    runtime.settle()


def test_a_shutdown_waits_for_handler_and_terminate(runtime: ManualRuntime) -> None:
    held: Future[str] = Future()
    log: list[Any] = []
    ref: ActorRef[Any] = DynamicSupervisor.start()
    supervisor: ActorRef[Any] = Supervisor.start([ChildSpec(Puppet, (log,), name="child", shutdown=3)])
    runtime.settle()
    supervised(supervisor).tell(lambda _: held.get())
    runtime.settle()
    supervisor.exit(SHUTDOWN)
    runtime.advance(2)
    held.set("in time")
    runtime.settle()
    assert (supervisor.exit_reason, log) == (SHUTDOWN, [("terminated", SHUTDOWN)])
    assert ref.is_alive()


def test_a_brutal_kill_does_not_wait(runtime: ManualRuntime) -> None:
    held: Future[str] = Future()
    ref: ActorRef[Any] = Supervisor.start([ChildSpec(Puppet, name="child", shutdown=BRUTAL_KILL)])
    runtime.settle()
    supervised(ref).tell(lambda _: held.get())
    runtime.settle()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert ref.exit_reason == SHUTDOWN
    assert len(threads_left()) == 1
    held.set("go on")
    runtime.settle()


# Virtual time


def test_threads_and_loop_go_on_in_turns_so_a_run_is_always_the_same(runtime: ManualRuntime) -> None:
    log: list[str] = []
    listener = Puppet.start(log)

    def report(name: str) -> Callable[[Any], None]:
        def on_receive(_: Any) -> None:
            for n in range(3):
                listener.ask(lambda actor, n=n: actor.log.append(f"{name}{n}"))

        return on_receive

    refs = [Puppet.start() for _ in range(3)]
    for ref, name in zip(refs, "abc", strict=True):
        ref.tell(report(name))
    runtime.settle()
    assert sorted(log) == [f"{name}{n}" for name in "abc" for n in range(3)]
    assert log == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_time_out_in_a_thread_is_on_the_clock_of_the_runtime(runtime: ManualRuntime) -> None:
    never: Future[None] = Future()
    ref, deaf = Puppet.start(), Puppet.start()
    deaf.tell(lambda _: never.get())

    def ask(_: Any) -> str:
        try:
            deaf.ask("anybody there?", timeout=10)
        except pykka.Timeout:
            return "nobody"
        return "somebody"

    answer = ref.ask(ask, block=False, timeout=None)
    runtime.advance(9.9)
    assert not answer.done
    runtime.advance(0.1)
    assert answer.result() == "nobody"
    with pytest.raises(Timeout, match="all actors are idle"):
        deaf.ask("anybody there?")
    never.set()
