"""Dead letters: what is one, what it says, and that nothing else is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
import pytest

from actors import names, telemetry
from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Reply, ok
from actors.exceptions import ActorDeadError
from actors.exits import KILL, Stop
from actors.runtime.dead_letters import DEAD_LETTER
from actors.task.task import Task
from actors.threads.pykka_actor import PykkaActor
from supervisors import ChildSpec, Supervisor
from tests.live import WAIT
from transport.socket import Socket
from transport.testing import ChannelTest

if TYPE_CHECKING:
    from actors.testing import ManualRuntime

Letter = tuple[Any, Any, str]


@pytest.fixture
def letters() -> Iterator[list[Letter]]:
    """Return the dead letters of a test: message, addressee and reason."""
    found: list[Letter] = []

    def keep(_event: telemetry.Event, numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        assert numbers == {"count": 1}
        found.append((about["message"], about["to"], about["reason"]))

    telemetry.attach("letters", [DEAD_LETTER], keep)
    yield found
    telemetry.detach("letters")


class Clerk(Actor):
    """Ends when it is told to, and keeps everything else."""

    def __init__(self) -> None:
        self.trap_exit = True
        self.seen: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        self.seen.append(message)
        return Stop(reply="gone") if message == "go" else None


def ended() -> Any:
    ref = Clerk.start()
    ref.ask("go")
    return ref


SENDS: list[Callable[[Any, Any], object]] = [
    lambda ref, message: ref.send(message),
    lambda ref, message: ref.tell(message),
    lambda ref, message: ref.ask(message, block=False),
    lambda ref, message: Clerk.start().proxy().send(ref, message).get(),
    names.send,
]


@pytest.mark.parametrize("send", SENDS)
def test_a_message_to_a_dead_actor_is_one(runtime: ManualRuntime, letters: list[Letter], send: Any) -> None:
    ref = ended()
    with contextlib.suppress(ActorDeadError):
        send(ref, "hello")
    runtime.settle()

    assert (letters.count(("hello", ref, "dead")), len(letters)) == (1, 1)


def test_a_put_to_a_dead_actor_is_one(runtime: ManualRuntime, letters: list[Letter]) -> None:
    ref = ended()
    with pytest.raises(ActorDeadError):
        runtime.run(ref.put("hello"))

    assert letters == [("hello", ref, "dead")]


def test_what_waits_when_an_actor_ends_is_one_in_order(runtime: ManualRuntime, letters: list[Letter]) -> None:
    ref = Clerk.start()
    future = None
    for message in ("first", "go", "late"):
        ref.send(message)
    future = ref.ask("asked", block=False)
    runtime.settle()

    assert letters == [("late", ref, "dead"), ("asked", ref, "dead")]
    assert isinstance(future.exception, ActorDeadError)


def test_what_an_actor_would_have_continued_with_is_one(runtime: ManualRuntime, letters: list[Letter]) -> None:
    ref = Clerk.start()
    ref.process.continue_with("continued")
    assert ref.process.next_message == "continued"
    ref.kill()
    runtime.settle()

    assert letters == [("continued", ref, "dead")]


def test_a_message_to_a_name_that_no_actor_has_is_one(runtime: ManualRuntime, letters: list[Letter]) -> None:
    names.send("nobody", "hello")
    with pytest.raises(ActorDeadError):
        names.ask("nobody", "asked")
    with pytest.raises(ActorDeadError):
        runtime.run(names.call("nobody", "called"))
    Clerk.start().proxy().send("nobody", "from an actor").get()

    messages = ["hello", "asked", "called", "from an actor"]
    assert letters == [(message, "nobody", "not_registered") for message in messages]


def test_what_the_runtime_sends_is_none(runtime: ManualRuntime, letters: list[Letter]) -> None:
    ref, other = Clerk.start(), Clerk.start()
    other.proxy().monitor(ref).get()
    other.proxy().link(ref).get()
    other.send("go")
    ref.exit(KILL)
    other.stop(block=False)
    ref.stop(block=False)
    runtime.settle()

    assert not ref.is_alive()
    assert not other.is_alive()
    assert letters == []


def test_a_message_of_another_thread_to_an_actor_that_ends_meanwhile_is_one(
    runtime: ManualRuntime, letters: list[Letter]
) -> None:
    ref = Clerk.start()

    def send() -> None:
        ref.tell("go")
        ref.tell("late")

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(WAIT)
    runtime.settle()

    assert letters == [("late", ref, "dead")]


def test_a_handler_that_sends_to_the_dead_itself_does_not_go_round(runtime: ManualRuntime) -> None:
    ref = ended()
    seen: list[Any] = []

    def forward(_event: telemetry.Event, _numbers: Mapping[str, float], about: Mapping[str, Any]) -> None:
        seen.append(about["message"])
        ref.send(("forwarded", about["message"]))

    telemetry.attach("forward", [DEAD_LETTER], forward)
    try:
        ref.send("hello")
        ref.send("again")
    finally:
        telemetry.detach("forward")

    assert seen == ["hello", "again"]


def test_a_handler_that_fails_keeps_nobody_from_ending(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no post today")

    telemetry.attach("fail", [DEAD_LETTER], fail)
    ref = Clerk.start()
    ref.send("go")
    ref.send("late")
    runtime.settle()

    assert not ref.is_alive()
    assert "no post today" in caplog.text
    assert DEAD_LETTER not in telemetry.attached


class Plain(pykka.ThreadingActor):
    """Ends when pykka says so."""

    def on_receive(self, message: Any) -> None:
        pass


def test_a_message_to_a_pykka_actor_that_has_just_ended_is_one(runtime: ManualRuntime, letters: list[Letter]) -> None:
    Supervisor.start([ChildSpec(Plain, restart="temporary")])
    runtime.settle()
    (ref,) = [each for each in runtime.actors if issubclass(each.actor_class, PykkaActor)]
    stand_in = ref.process.actor
    assert isinstance(stand_in, PykkaActor)
    stand_in._proxied().actor_ref.stop(timeout=WAIT)  # type: ignore[attr-defined]  # it is the pykka actor
    ref.send("late")
    runtime.settle()

    assert letters == [("late", ref, "dead")]


async def _for_long() -> None:
    await asyncio.sleep(60)


def test_what_the_runtime_sends_to_a_task_that_has_ended_is_none(runtime: ManualRuntime, letters: list[Letter]) -> None:
    class Owner(Actor):
        async def on_receive(self, _message: object) -> None:
            done, given_up = Task.start(asyncio.sleep, 0), Task.start(_for_long)
            await done
            done.cancel()
            given_up.cancel()
            given_up.cancel()

    owner = Owner.start()
    owner.send("begin")
    runtime.settle()
    owner.stop(block=False)
    runtime.settle()

    assert not owner.is_alive()
    assert letters == []


class Announced(Channel):
    """Handles broadcasts itself, and leaves on its own."""

    intercept = ("news",)

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Any:
        self.broadcast("news", {})
        return Stop()


def test_what_waits_for_a_client_that_has_gone_is_none(letters: list[Letter]) -> None:
    class Wire(Socket):
        channels: ClassVar[Any] = {"news": Announced}

        def connect(self, params: Any, connect_info: Any) -> Reply:
            return ok()

    with ChannelTest(Wire) as client:
        client.join("news")
        client.end.push("1", "news", "leave", {})
        client.end.disconnect()

    assert letters == []
