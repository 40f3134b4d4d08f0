"""How an actor comes to life: names, labels, parents, and what happens when it cannot."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import NameTakenError, StartError
from actors.exits import SHUTDOWN, Crash, Exit
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
    with pytest.raises(StartError, match="name 'clerk' is already taken") as caught:
        spawn(Plain, name="clerk")
    assert isinstance(caught.value.cause, NameTakenError)
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
def test_even_an_exit_of_the_program_is_only_a_failed_start(runtime: ManualRuntime, error: BaseException) -> None:
    class Exiting(Actor):
        def on_start(self) -> None:
            raise error

    with pytest.raises(StartError) as caught:
        Exiting.start()
    assert caught.value.cause is error


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
    assert ref.process.started is not None
    assert runtime.run(ref.process.started) is ref
    assert ref.ask("ready?") is True


def test_an_async_on_start_that_fails_is_told_by_started(runtime: ManualRuntime) -> None:
    ref = FailingLater.start()
    assert ref.process.started is not None
    with pytest.raises(StartError, match="could not start: ValueError: boom") as caught:
        runtime.run(ref.process.started)
    assert caught.value.root is BOOM
    assert runtime.actors == []


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
