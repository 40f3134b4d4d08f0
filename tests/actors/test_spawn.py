"""How an actor comes to life: names, labels, parents, and what happens when it cannot."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import NameTakenError, StartError
from actors.exits import NORMAL, SHUTDOWN, Crash, Exit, Stop
from actors.registry import ActorRegistry
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe

if TYPE_CHECKING:
    from actors.runtime.scheduler import in_thread

BOOM = ValueError("boom")


class Plain(Actor):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.arguments = (args, kwargs)

    def on_receive(self, message: Any) -> Any:
        return message(self)


class Failing(Actor):
    """Takes a name, sets a timer and fails."""

    def on_start(self) -> None:
        self.register("failing")
        self.send_after(1, "x")
        self.send(self, "to myself")
        raise BOOM


class FailingLater(Actor):
    async def on_start(self) -> None:
        await asyncio.sleep(0)
        raise BOOM


class StartingLater(Actor):
    def __init__(self) -> None:
        self.ready = False

    async def on_start(self) -> None:
        await asyncio.sleep(0)
        self.ready = True

    def on_receive(self, message: Any) -> Any:
        return self.ready


def test_arguments_reach_init(runtime: ManualRuntime) -> None:
    ref = spawn(Plain, (1, 2), {"three": 3})
    assert ref.ask(lambda actor: actor.arguments) == ((1, 2), {"three": 3})
    assert spawn(Plain).ask(lambda actor: actor.arguments) == ((), {})


def test_a_name_is_registered_before_on_start_and_is_the_label(runtime: ManualRuntime) -> None:
    seen: list[Any] = []

    class Named(Actor):
        def on_start(self) -> None:
            seen.append(self.whereis("clerk") is self.actor_ref)

    ref = spawn(Named, name="clerk")
    assert seen == [True]
    assert str(ref) == f"clerk {ref.pid}"


@pytest.mark.parametrize(
    ("name", "label", "shown"), [(None, None, "Plain"), ("n", None, "n"), (None, "l", "l"), ("n", "l", "l")]
)
def test_an_actor_is_shown_by_its_label_else_its_name_else_its_class(
    runtime: ManualRuntime, name: str | None, label: str | None, shown: str
) -> None:
    ref = spawn(Plain, name=name, label=label)
    assert str(ref) == f"{shown} {ref.pid}"


def test_a_name_that_is_taken_is_an_error_of_the_start(runtime: ManualRuntime) -> None:
    first = spawn(Plain, name="clerk")
    with pytest.raises(NameTakenError, match="name 'clerk' is already taken"):
        spawn(Plain, name="clerk")
    assert runtime.actors == [first]
    assert first.ask(lambda actor: actor.whereis("clerk")) is first


def test_a_child_is_linked_to_its_parent_and_knows_its_ancestors(runtime: ManualRuntime) -> None:
    probe = Probe()
    child = spawn(Plain, parent=probe.ref.process)
    grandchild = spawn(Plain, parent=child.process)
    assert grandchild.process.ancestors() == [str(child), str(probe.ref)]
    grandchild.exit(SHUTDOWN)
    exited = probe.assert_receive(Exit)
    assert (exited.actor, exited.reason) == (child, SHUTDOWN)


def test_a_failed_start_leaves_nothing_and_tells_only_the_starter(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    probe = Probe()
    with pytest.raises(StartError, match=r"clerk <0.\d+.0> could not start: ValueError: boom") as caught:
        spawn(Failing, parent=probe.ref.process, label="clerk")
    assert (caught.value.cause, caught.value.root, caught.value.__cause__) == (BOOM, BOOM, BOOM)
    runtime.settle()
    assert probe.messages == []
    assert runtime.actors == ActorRegistry.get_all() == [probe.ref]
    assert runtime.clock.pending() == 0
    assert runtime._scheduler.names.names() == []
    assert not probe.ref.process.links
    assert caplog.records == []


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt()], ids=repr)
def test_an_exit_of_the_program_is_a_failed_start_and_then_leaves_the_loop(
    runtime: ManualRuntime, error: BaseException
) -> None:
    class Exiting(Actor):
        def on_start(self) -> None:
            raise error

    with pytest.raises(StartError) as caught:
        Exiting.start()
    assert caught.value.cause is error
    with pytest.raises(type(error)):
        runtime.settle()


def test_the_root_of_a_start_error_is_the_first_failure() -> None:
    error = StartError("top", StartError("middle", StartError("bottom", BOOM)))
    assert error.root is BOOM
    assert str(error) == (
        "top could not start: StartError: middle could not start: StartError: bottom could not start: ValueError: boom"
    )


def test_a_start_within_a_turn_runs_on_start_at_once(runtime: ManualRuntime) -> None:
    seen: list[Any] = []

    class Child(Actor):
        def on_start(self) -> None:
            seen.append("started")

    class Parent(Actor):
        def on_receive(self, message: Any) -> Any:
            Child.start()
            return list(seen)

    assert Parent.start().ask("x") == ["started"]


def test_an_exception_of_a_start_within_a_handler_is_the_handlers(runtime: ManualRuntime) -> None:
    class Parent(Actor):
        def on_receive(self, message: Any) -> Any:
            return spawn(Failing, parent=self._process)

    ref = Parent.start()
    with pytest.raises(StartError):
        ref.ask("x")
    assert isinstance(ref.exit_reason, Crash)
    assert isinstance(ref.exit_reason.exception, StartError)


# Async, on the loop


def test_an_async_on_start_is_waited_for_by_started(runtime: ManualRuntime) -> None:
    ref = StartingLater.start()
    assert not ref.started().done
    assert runtime.run(ref.started()) is ref
    assert ref.ask("ready?") is True
    assert runtime.run(ref.started()) is ref


def test_an_async_on_start_that_fails_is_told_by_started(runtime: ManualRuntime) -> None:
    ref = FailingLater.start()
    for _ in range(2):  # and to whoever asks later
        with pytest.raises(StartError, match="could not start: ValueError: boom") as caught:
            runtime.run(ref.started())
        assert caught.value.root is BOOM
    assert runtime.actors == []


def test_a_plain_on_start_has_ended_when_start_returns(runtime: ManualRuntime) -> None:
    ref = Plain.start()
    assert ref.started().get() is ref


class Slow(Actor):
    """Takes 10 seconds to start, and is allowed as many as the test says."""

    def __init__(self) -> None:
        self.cut_short = False

    async def on_start(self) -> None:
        woken = asyncio.get_running_loop().create_future()
        self.clock.call_after(10, lambda: woken.cancelled() or woken.set_result(None))  # type: ignore[func-returns-value]  # for its effect
        await woken


def test_a_start_that_takes_too_long_has_failed(runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "start_timeout", 3)
    ref = Slow.start()
    started = ref.started()
    runtime.advance(2.999)
    assert not started.done
    runtime.advance(0.001)
    with pytest.raises(StartError, match="could not start: Timeout: on_start took more than 3 seconds"):
        started.get()
    assert runtime.actors == []


@pytest.mark.parametrize("allowed", [None, 10.5])
def test_a_start_within_its_time_is_no_failure(
    runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch, allowed: float | None
) -> None:
    monkeypatch.setattr(Slow, "start_timeout", allowed)
    ref = Slow.start()
    runtime.advance(10)
    assert ref.started().get() is ref
    runtime.advance(10)
    assert ref.is_alive()


def test_a_supervisor_learns_that_a_child_starts_too_slowly(
    runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slow, "start_timeout", 3)

    class Parent(Actor):
        def on_start(self) -> None:
            self.child = spawn(Slow, parent=self._process)

        async def on_receive(self, message: Any) -> Any:
            return await self.child.started()

    parent = Parent.start()
    asked = parent.ask("x", block=False)
    runtime.advance(3)
    with pytest.raises(StartError, match="on_start took more than 3 seconds"):
        asked.get()


# Work that comes next


class Steps(Actor):
    """Writes down the order of what it does."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def on_start(self) -> None:
        self.log.append("on_start")
        self.send(self, "sent")
        self.continue_with("first")
        self.continue_with("second")

    def on_receive(self, message: Any) -> Any:
        self.log.append(message)
        if message == "first":
            self.continue_with("third")
        return message


def test_work_after_the_start_comes_before_the_first_message(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Steps.start(log)
    assert log == ["on_start"]
    ref.tell("told")
    runtime.settle()
    assert log == ["on_start", "first", "second", "third", "sent", "told"]


def test_it_comes_next_from_a_handler_too(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    ref = Steps.start(log)
    runtime.settle()
    log.clear()
    asked = [ref.ask(message, block=False) for message in ("before", "first", "after")]
    runtime.settle()
    assert log == ["before", "first", "third", "after"]
    assert [answer.get() for answer in asked] == ["before", "first", "after"]


def test_one_more_does_not_look_at_all_those_that_wait(runtime: ManualRuntime) -> None:
    log: list[Any] = []
    process, looks = Steps.start(log).process, 0

    def count(*_event: object) -> None:
        nonlocal looks
        looks += 1

    for number in range(1000):
        process.continue_with(number)
    sys.setprofile(count)
    try:
        process.continue_with("last")
    finally:
        sys.setprofile(None)
    runtime.settle()
    assert log == ["on_start", "first", "second", *range(1000), "last", "third", "sent"]
    assert looks < 100


def test_it_comes_next_from_an_async_handler_too(runtime: ManualRuntime) -> None:
    log: list[Any] = []

    class Later(Actor):
        async def on_receive(self, message: Any) -> None:
            log.append(message)
            await asyncio.sleep(0)
            if message == "first":
                self.continue_with("next")

    ref = Later.start()
    for message in ("first", "last"):
        ref.tell(message)
    runtime.settle()
    assert log == ["first", "next", "last"]


def test_it_follows_an_async_on_start(runtime: ManualRuntime) -> None:
    log: list[Any] = []

    class Later(Actor):
        async def on_start(self) -> None:
            self.continue_with("next")
            await asyncio.sleep(0)
            log.append("on_start")

        def on_receive(self, message: Any) -> None:
            log.append(message)

    Later.start().tell("told")
    runtime.settle()
    assert log == ["on_start", "next", "told"]


def test_what_was_to_be_continued_ends_with_the_actor(runtime: ManualRuntime) -> None:
    class Ending(Actor):
        def on_receive(self, message: Any) -> Stop:
            self.continue_with("never")
            return Stop()

        def terminate(self, reason: Any) -> None:
            self.continue_with("never")

    ref = Ending.start()
    ref.tell("x")
    runtime.settle()
    assert ref.exit_reason == NORMAL


# From another thread


@pytest.mark.parametrize("actor", [Plain, StartingLater], ids=lambda actor: actor.__name__)
def test_a_start_from_another_thread_returns_when_on_start_has_ended(background: in_thread, actor: type[Actor]) -> None:
    ref = actor.start()
    assert ref.is_alive()
    assert ref.process.started is None
    assert ref.process.scheduler is background.scheduler


@pytest.mark.parametrize("actor", [Failing, FailingLater], ids=lambda actor: actor.__name__)
def test_a_start_from_another_thread_that_fails_raises_there(background: in_thread, actor: type[Actor]) -> None:
    with pytest.raises(StartError, match="could not start: ValueError: boom") as caught:
        actor.start()
    assert caught.value.cause is BOOM
    assert not background.scheduler.processes


def test_a_start_from_another_thread_that_is_killed_meanwhile_raises_there(background: in_thread) -> None:
    starting = threading.Event()

    class Endless(Actor):
        async def on_start(self) -> None:
            starting.set()
            await asyncio.get_running_loop().create_future()

    def kill_it() -> None:
        assert starting.wait(WAIT)
        for ref in ActorRegistry.get_by_class(Endless):
            ref.kill()

    killer = threading.Thread(target=kill_it)
    killer.start()
    with pytest.raises(pykka.ActorDeadError, match="was ended while it started"):
        Endless.start()
    killer.join(WAIT)
    assert not background.scheduler.processes


def test_an_exception_in_init_comes_as_it_is_from_another_thread(background: in_thread) -> None:
    with pytest.raises(TypeError):
        StartingLater.start("too", "many")
    assert not background.scheduler.processes


def test_an_actor_that_was_never_started_is_dead_to_callers() -> None:
    ref = Plain().actor_ref
    with pytest.raises(pykka.ActorDeadError):
        ref.ask("x")
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("x")
    ref.send("x")
    ref.kill()
    assert ref.exit_reason is None


class Impatient(Plain):
    start_timeout = "5"  # type: ignore[assignment]  # what this tests

    async def on_start(self) -> None:
        """Take time."""


class Forgetful(Plain):
    record = -1


@pytest.mark.parametrize(
    ("actor", "option"), [(Impatient, "start_timeout"), (Forgetful, "record")], ids=["start_timeout", "record"]
)
def test_a_wrong_option_of_a_class_is_the_starters_error_in_any_thread(
    background: in_thread, actor: type[Actor], option: str
) -> None:
    with pytest.raises((StartError, ValueError), match=f"{option} must be"):
        actor.start()
    assert ActorRegistry.get_by_class(actor) == []
