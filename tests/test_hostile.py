"""Code of authors that the runtime calls, in every place: what it raises ends no other actor, and leaves nothing undone.

Texts of exceptions, callbacks of futures, functions that close what an actor owned, watchers, handlers of telemetry and of
logs, the code of names and of what is awaited: each raises what is neither caught by `except Exception` nor expected.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest

from actors import sys as actor_sys
from actors import telemetry
from actors.actor import Actor
from actors.exceptions import BadReturnError, NameTakenError, StartError, TaskExitError, UnhandledEventError
from actors.exits import KILL, KILLED, Crash, Down, Refuse, Shutdown, Stop
from actors.future import Future
from actors.registry import Keys, Registry
from actors.runtime.report import KEPT, CrashReport, last_crash
from actors.runtime.scheduler import in_thread
from actors.task.task import Task
from actors.testing import ManualRuntime, Probe
from actors.threads.threaded_actor import ThreadedActor
from actors.via import Via
from supervisors.calls import get_child_spec, start_child, terminate_child, which_children
from supervisors.child_spec import ChildSpec
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.exceptions import ChildNotFoundError, SystemDownError
from supervisors.restart_events import RESTARTED
from supervisors.supervisor import Supervisor
from supervisors.system import System
from tests.supervisors.workers import child, running, start
from transport.client.exceptions import JoinError

WAIT = 10.0
TEXTS: list[type[BaseException] | None] = [ValueError, asyncio.CancelledError, SystemExit, RecursionError, None]
every_text = pytest.mark.parametrize("raised", TEXTS, ids=lambda kind: "not a str" if kind is None else kind.__name__)
every_error = pytest.mark.parametrize(
    "error", [asyncio.CancelledError("theirs"), GeneratorExit("theirs"), ValueError("theirs")], ids=repr
)


def mute(raised: type[BaseException] | None) -> Exception:
    """Return an exception with texts that raise, or are no text."""

    class MuteError(Exception):
        def __str__(self) -> str:
            if raised is not None:
                raise raised("a text")
            text: Any = 3
            return text  # type: ignore[no-any-return]  # an author's mistake

        __repr__ = __str__

    return MuteError()


class Starting(Actor):
    """Fails in `on_start`, from the second start on if it is told so."""

    fails_from = 1

    def __init__(self, error: BaseException, starts: list[int]) -> None:
        self.error, self.starts = error, starts

    def on_start(self) -> Any:
        self.starts.append(len(self.starts) + 1)
        if self.fails_from <= len(self.starts) < self.fails_from + 2:
            return self.fail()
        return None

    def fail(self) -> Any:
        raise self.error

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        return message(self) if callable(message) else message


class StartingLater(Starting):
    """The same with an `async` `on_start`."""

    async def fail(self) -> Any:
        await asyncio.sleep(0)
        raise self.error


class StartingInThread(Starting, ThreadedActor):
    """The same in a thread."""


class Puppet(Actor):
    """Does what it is told."""

    def on_receive(self, message: Any) -> Any:
        return message(self) if callable(message) else message


every_start = pytest.mark.parametrize("actor", [Starting, StartingLater, StartingInThread])


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_args: object) -> None:
        raise error

    return fail


# Texts


@every_text
@every_start
def test_a_system_whose_child_cannot_start_says_so(raised: Any, actor: type[Starting]) -> None:
    with pytest.raises(StartError, match="could not start"), System([ChildSpec(actor, (mute(raised), []))]):
        pass


@every_text
@every_start
def test_a_supervisor_goes_on_whatever_its_children_say(
    runtime: ManualRuntime, raised: Any, actor: type[Starting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Starting, "fails_from", 2)
    starts: list[int] = []
    error = mute(raised)
    specs = [ChildSpec(actor, (error, starts), id="a"), ChildSpec(Puppet, id="b")]
    supervisor = start(runtime, specs, max_restarts=10)
    child(supervisor, "a").send(error)
    runtime.settle()
    assert starts == [1, 2, 3, 4]
    assert running(supervisor) == ["a", "b"]
    assert [info.restarts for info in which_children(supervisor).get()] == [3, 0]
    child(supervisor, "b").send(raising(error))
    runtime.settle()
    assert running(supervisor) == ["a", "b"]


@every_text
@every_start
def test_a_dynamic_supervisor_answers_whatever_a_child_says(
    runtime: ManualRuntime, raised: Any, actor: type[Starting]
) -> None:
    supervisor = DynamicSupervisor.start()
    started = start_child(supervisor, ChildSpec(actor, (mute(raised), [])))
    runtime.settle()
    assert isinstance(started.exception, StartError)
    assert which_children(supervisor).get() == []


@every_text
def test_errors_and_reports_are_made_of_any_value(runtime: ManualRuntime, raised: Any) -> None:
    error: Any = mute(raised)
    errors = [
        StartError("it", error),
        TaskExitError("it", Shutdown(error)),
        SystemDownError("it", Crash(error)),
        BadReturnError("join", "a tuple", error),
        UnhandledEventError("Room", error),
        NameTakenError(error, error),
        ChildNotFoundError(error),
        JoinError("room:1", "phx_join", "error", {}),
    ]
    errors[-1].__cause__ = error
    assert all("cannot be shown" in str(made) for made in errors)
    values = [Crash(error), Shutdown(error), actor_sys.Got(0.0, error), actor_sys.Handled(0.0, error, 0.1, error)]
    assert all("cannot be shown" in str(value) for value in values)
    assert "cannot be shown" in repr(Crash(error)) + repr(Shutdown(error))
    ref = Puppet.start()
    ref.tell(raising(error))
    runtime.settle()
    report = last_crash()
    assert report is not None
    assert "cannot be shown" in str(report) + repr(report)


@every_text
def test_a_reason_that_cannot_be_shown_ends_what_it_is_to_end(runtime: ManualRuntime, raised: Any) -> None:
    error = mute(raised)
    ref, task = Puppet.start(), Task.start(asyncio.sleep, 100)
    runtime.settle()
    ref.tell(lambda _: Stop(Shutdown(error)))
    assert task.ref is not None
    task.ref.exit(Shutdown(error))
    runtime.settle()
    assert ref.exit_reason == Shutdown(error)
    with pytest.raises(TaskExitError, match="cannot be shown"):
        task.get()


def test_a_detail_that_cannot_be_compared_ends_a_task(runtime: ManualRuntime) -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment]  # as of what has an `__eq__`

        def __eq__(self, _other: object) -> bool:
            raise ValueError("no truth")

    task = Task.start(asyncio.sleep, 100)
    runtime.settle()
    assert task.ref is not None
    task.ref.exit(Shutdown(Odd()))
    runtime.settle()
    assert isinstance(task._answer.exception, TaskExitError)


@every_text
def test_names_ids_and_unknown_children_may_be_mute(runtime: ManualRuntime, raised: Any) -> None:
    name = mute(raised)
    supervisor = start(runtime, [ChildSpec(Puppet, id=name, name=Via(Registry(Keys.UNIQUE), name))])
    refused = terminate_child(supervisor, mute(raised))
    taken = start_child(supervisor, ChildSpec(Puppet, id=name))
    runtime.settle()
    assert isinstance(refused.exception, ChildNotFoundError)
    assert taken.exception is not None
    [info] = which_children(supervisor).get()
    assert info.ref is not None
    assert "cannot be shown" in str(info.ref)
    info.ref.kill()
    runtime.settle()
    assert len(which_children(supervisor).get()) == 1


def test_a_report_that_fails_does_not_keep_its_actor_alive(
    runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(CrashReport, "__init__", raising(asyncio.CancelledError()))
    ref = Puppet.start()
    ref.tell(raising(ValueError("the crash")))
    runtime.settle()
    assert isinstance(ref.exit_reason, Crash)
    assert "the crash" in caplog.text


class OddError(Exception):
    """Has attributes of its own in the place of those of exceptions."""

    __traceback__ = __cause__ = __context__ = property(raising(ValueError("no such attribute")))

    def with_traceback(self, _trace: Any) -> Any:
        raise ValueError("no traceback")


def raise_odd(_: object = None) -> None:
    raise OddError


class DisguisedError(Exception):
    """Has a `__class__` that raises, which `isinstance` looks at."""

    __class__: Any = property(raising(ValueError("no class")))


@every_start
def test_a_class_that_raises_harms_neither_starts_nor_restarts(runtime: ManualRuntime, actor: type[Starting]) -> None:
    supervisor, starts = start(runtime, [], max_restarts=10), list[int]()
    refused = start_child(supervisor, ChildSpec(actor, (DisguisedError(), starts)))
    runtime.settle()
    assert isinstance(refused.exception, StartError)
    starts += [2, 3]
    ref = start_child(supervisor, ChildSpec(actor, (DisguisedError(), starts))).get()
    ref.tell(DisguisedError())
    runtime.settle()
    [info] = which_children(supervisor).get()
    assert info.restarts == 1


@pytest.mark.parametrize("error", [ValueError("no hash"), asyncio.CancelledError(), TypeError("no hash")], ids=repr)
@pytest.mark.parametrize("supervisor", [Supervisor, DynamicSupervisor])
def test_the_key_of_a_child_may_raise(runtime: ManualRuntime, supervisor: type[Actor], error: BaseException) -> None:
    ref = supervisor.start()
    key = type("Key", (), {"__hash__": raising(error)})()
    for call in (terminate_child, get_child_spec):
        with pytest.raises(ChildNotFoundError):
            call(ref, key).get()
    assert which_children(ref).get() == []


@pytest.mark.parametrize(
    "does", [raise_odd, lambda _: Refuse(OddError()), lambda actor: actor.reply_later().refuse(OddError())]
)
def test_a_caller_gets_an_exception_with_odd_attributes(runtime: ManualRuntime, does: Any) -> None:
    asked, task = Puppet.start().ask(does, block=False), Task.start(raise_odd)
    runtime.settle()
    with pytest.raises(OddError):
        asked.get()
    with pytest.raises(OddError):
        task.get()
    for _ in range(KEPT):
        Puppet.start().tell(raising(ValueError("a later crash")))
    runtime.settle()


@pytest.mark.parametrize("raised", [ValueError, asyncio.CancelledError, SystemExit, RecursionError])
def test_a_log_handler_that_raises_harms_no_supervisor(runtime: ManualRuntime, raised: type[BaseException]) -> None:
    class Raising(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            raise raised

    handler = Raising()
    logging.getLogger("ashtree").addHandler(handler)
    try:
        supervisor = start(runtime, [ChildSpec(Puppet, id="a")])
        for _ in range(5):
            child(supervisor, "a").send(raising(ValueError("x")))
            runtime.advance(10.0)
        assert running(supervisor) == ["a"]
    finally:
        logging.getLogger("ashtree").removeHandler(handler)


# Callbacks


@every_error
def test_a_done_callback_harms_neither_the_actor_that_answers_nor_the_next_callback(
    runtime: ManualRuntime, error: BaseException
) -> None:
    supervisor = start(runtime, [ChildSpec(Puppet, id="a")])
    ref, called = child(supervisor, "a"), list[Any]()
    asked = ref.ask(1, block=False)
    asked.add_done_callback(raising(error))
    asked.add_done_callback(called.append)
    runtime.settle()
    assert called == [asked]
    assert ref.ask(2) == 2
    ref.kill()
    runtime.settle()
    assert running(supervisor) == ["a"]
    supervisor.stop()
    assert not supervisor.is_alive()


@every_error
def test_what_closes_or_watches_or_listens_does_not_stop_the_end_of_an_actor(
    runtime: ManualRuntime, error: BaseException
) -> None:
    registry, closed = Registry(Keys.UNIQUE), list[str]()
    supervisor = start(runtime, [ChildSpec(Puppet, id="a")])
    ref, probe = child(supervisor, "a"), Probe()
    runtime._scheduler.watch_ends(raising(error))
    probe.monitor(ref)
    linked = Puppet.start()
    linked.ask(lambda actor: actor.link(ref))
    down = ref.down()
    down.add_done_callback(raising(error))

    def prepare(actor: Actor) -> None:
        actor.own(raising(error))
        actor.own(lambda: closed.append("closed"))
        actor.register(Via(registry, "name"))

    ref.ask(prepare)
    ref.tell(raising(ValueError("crash")))
    runtime.settle()
    assert closed == ["closed"]
    assert registry.whereis("name") is None
    assert isinstance(probe.assert_receive(Down).reason, Crash)
    assert isinstance(linked.exit_reason, Crash)
    assert down.done
    assert running(supervisor) == ["a"]
    assert child(supervisor, "a") != ref


@every_error
def test_the_registry_of_a_name_may_raise(runtime: ManualRuntime, error: BaseException) -> None:
    class Odd(Registry):
        fails = False

        def register(self, key: Any, ref: Any, value: object = None) -> None:
            if self.fails:
                raise error
            super().register(key, ref, value)

        def forget(self, key: Any, process: Any) -> bool:
            raise error

    registry, probe = Odd(Keys.UNIQUE), Probe()
    supervisor = start(runtime, [ChildSpec(Puppet, id="a", name=Via(registry, "name"))])
    ref = child(supervisor, "a")
    probe.monitor(ref)
    registry.fails = True
    ref.kill()
    runtime.settle()
    assert probe.assert_receive(Down).reason == KILLED
    assert not ref.is_alive()
    assert not supervisor.is_alive() or which_children(supervisor).get() is not None


@every_error
def test_telemetry_and_debug_functions_are_detached_and_harm_nothing(
    runtime: ManualRuntime, error: BaseException
) -> None:
    supervisor = start(runtime, [ChildSpec(Puppet, id="a")])
    ref = child(supervisor, "a")
    telemetry.attach("hostile", [RESTARTED], raising(error))
    try:
        actor_sys.install(ref, raising(error))
        runtime.settle()
        assert ref.ask(1) == 1
        assert ref.ask(2) == 2
        ref.kill()
        runtime.settle()
        assert running(supervisor) == ["a"]
        assert RESTARTED not in telemetry.attached
    finally:
        telemetry.detach("hostile")


@every_error
def test_what_a_handler_awaits_may_refuse_to_be_cancelled(runtime: ManualRuntime, error: BaseException) -> None:
    class Stubborn(asyncio.Future[None]):
        def cancel(self, msg: Any = None) -> bool:
            raise error

    async def wait(_: Actor) -> None:
        await Stubborn(loop=runtime._scheduler.loop)

    for reason in (KILL, Shutdown("enough")):
        probe, ref = Probe(), Puppet.start()
        probe.monitor(ref)
        ref.tell(wait)
        runtime.settle()
        ref.exit(reason)
        runtime.settle()
        ended = probe.assert_receive(Down).reason
        assert ended == (KILLED if reason is KILL else Crash(error))


@every_error
def test_a_function_of_a_caller_is_the_callers(runtime: ManualRuntime, error: BaseException) -> None:
    ref = Puppet.start()
    with pytest.raises(type(error)):
        actor_sys.replace_state(ref, raising(error)).get()
    assert ref.ask("alive") == "alive"


@every_error
def test_a_timer_that_raises_stops_no_other_timer(error: BaseException) -> None:
    thread, fired = in_thread("of a test"), Future[str]()
    thread.scheduler.loop.call_soon_threadsafe(
        lambda: (
            thread.scheduler.loop.set_exception_handler(lambda *_: None),
            thread.scheduler.clock.call_after(0.0, raising(error)),
            thread.scheduler.clock.call_after(0.0, lambda: fired.set("fired")),
        )
    )
    try:
        assert fired.get(timeout=WAIT) == "fired"
    finally:
        thread.stop()


@every_error
def test_a_posted_call_that_raises_stops_no_other(background: in_thread, error: BaseException) -> None:
    scheduler, called = background.scheduler, Future[str]()
    scheduler.loop.call_soon_threadsafe(scheduler.loop.set_exception_handler, lambda *_: None)
    scheduler.post(raising(error))
    scheduler.post(called.set, "called")
    assert called.get(timeout=WAIT) == "called"


@every_error
def test_an_iterator_of_an_awaitable_may_raise(runtime: ManualRuntime, error: BaseException) -> None:
    class Odd:
        def __await__(self) -> Generator[Any, None, None]:
            raise error

    async def wait(_: Actor) -> None:
        await Odd()

    ref, other = Puppet.start(), Puppet.start()
    other.ask(lambda actor: actor.link(ref))
    asked = ref.ask(wait, block=False)
    runtime.settle()
    assert isinstance(asked.exception, Exception)
    assert not other.is_alive()
