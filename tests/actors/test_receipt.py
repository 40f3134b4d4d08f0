"""Receipts: the sender of a message learns once that it is over, however the actor deals with it, and is no caller."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors import sys
from actors.actor import Actor
from actors.exits import KILL, NORMAL, ExitReason, Refuse, Stop
from actors.future import Future
from actors.recorder import Recorded
from actors.runtime.receipt import Receipt
from actors.testing import ManualRuntime, Simulation
from actors.threads.pykka_actor import actor_class_of
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from actors.ref import ActorRef


class Counted(Receipt):
    """Counts how often its message is over."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0

    def over(self) -> None:
        self.times += 1


class Caller(Actor):
    """Calls what it is sent, with itself."""

    record = 5

    def on_receive(self, call: Any) -> Any:
        return call(self)


class SlowToEnd(Caller):
    async def terminate(self, reason: ExitReason) -> None:
        await asyncio.sleep(1)


class Threaded(ThreadedActor):
    """Calls what it is sent, in its thread."""

    def on_receive(self, call: Any) -> Any:
        return call(self)


def send(ref: ActorRef[Any], message: object) -> Counted:
    receipt = Counted()
    ref.process.put_counted(message, receipt)
    return receipt


def fail(_actor: Actor) -> None:
    raise ValueError("it does not work")


async def wait(_actor: Actor) -> None:
    await asyncio.sleep(1)


async def wait_and_fail(_actor: Actor) -> None:
    await asyncio.sleep(1)
    raise ValueError("it does not work")


async def wait_for_ever(_actor: Actor) -> None:
    await asyncio.Event().wait()


async def ignore_the_end(_actor: Actor) -> None:
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return


def continued(actor: Actor) -> None:
    actor.continue_with(lambda _: None)


def exits(actor: Actor) -> None:
    actor.actor_ref.exit(ValueError("from its own handler"))


def killed(actor: Actor) -> None:
    actor.actor_ref.kill()


def stopped(actor: Actor) -> None:
    actor.stop()


async def stopped_and_waiting(actor: Actor) -> None:
    actor.stop()
    await asyncio.sleep(1)


HANDLERS: dict[str, Callable[[Any], Any]] = {
    "none": lambda _: None,
    "a value": lambda _: "value",
    "an answer": lambda _: Refuse(ValueError("no")),
    "stop": lambda _: Stop(NORMAL),
    "stop with a reply": lambda _: Stop(NORMAL, reply="value"),
    "stop with what is no reason": lambda _: Stop(7),
    "crash": fail,
    "async": wait,
    "async crash": wait_and_fail,
    "continue": continued,
    "reply later": lambda actor: actor.reply_later() and None,
    "reply later at once": lambda actor: actor.reply_later().reply("value"),
    "exits": exits,
    "killed": killed,
    "stopped": stopped,
    "stopped and waiting": stopped_and_waiting,
}


@pytest.mark.parametrize("kind", [Caller, SlowToEnd])
@pytest.mark.parametrize("handler", HANDLERS)
def test_a_message_is_over_once_when_it_has_been_handled(
    runtime: ManualRuntime, kind: type[Actor], handler: str
) -> None:
    ref = kind.start()
    receipt, behind = send(ref, HANDLERS[handler]), send(ref, HANDLERS["none"])
    runtime.settle()
    runtime.advance(5)
    assert (receipt.times, behind.times) == (1, 1)
    ref.kill()
    runtime.settle()
    assert (receipt.times, behind.times) == (1, 1)


@pytest.mark.parametrize("handler", ["async", "async crash", "stopped and waiting"])
def test_a_message_is_not_over_while_its_handler_waits(runtime: ManualRuntime, handler: str) -> None:
    receipt = send(Caller.start(), HANDLERS[handler])
    runtime.settle()
    assert receipt.times == 0
    runtime.advance(1)
    assert receipt.times == 1


def test_a_message_is_not_over_while_its_handler_waits_even_if_it_would_reply_later(runtime: ManualRuntime) -> None:
    async def later(actor: Actor) -> None:
        actor.reply_later().reply("to no caller")
        await asyncio.sleep(1)

    receipt = send(Caller.start(), later)
    runtime.settle()
    assert receipt.times == 0
    runtime.advance(1)
    assert receipt.times == 1


@pytest.mark.parametrize("handler", [wait_for_ever, ignore_the_end])
@pytest.mark.parametrize("reason", [KILL, ValueError("x")])
@pytest.mark.parametrize("kind", [Caller, SlowToEnd])
def test_a_message_whose_handler_is_interrupted_is_over(
    runtime: ManualRuntime, kind: type[Actor], handler: Any, reason: Any
) -> None:
    ref = kind.start()
    receipts = [send(ref, handler), send(ref, handler)]
    runtime.settle()
    assert [receipt.times for receipt in receipts] == [0, 0]
    ref.exit(reason)
    runtime.settle()
    runtime.advance(5)
    assert not ref.is_alive()
    assert [receipt.times for receipt in receipts] == [1, 1]


def test_a_message_to_a_dead_actor_is_over(runtime: ManualRuntime) -> None:
    ref = Caller.start()
    ref.stop()
    assert send(ref, HANDLERS["none"]).times == 1


def test_a_message_that_arrives_while_its_actor_starts_is_over_if_the_start_fails(runtime: ManualRuntime) -> None:
    class Starting(Caller):
        async def on_start(self) -> None:
            await asyncio.sleep(1)
            raise ValueError("it does not start")

    ref = Starting.start()
    receipt = send(ref, HANDLERS["none"])
    runtime.settle()
    assert receipt.times == 0
    runtime.advance(1)
    assert receipt.times == 1


@pytest.mark.parametrize("end", ["resume", "kill", "stop"])
def test_messages_of_a_suspended_actor_are_over_when_they_are_handled_or_never_will_be(
    runtime: ManualRuntime, end: str
) -> None:
    ref = Caller.start()
    sys.suspend(ref)
    receipts = [send(ref, HANDLERS["none"]) for _ in range(3)]
    runtime.settle()
    assert sys.replace_state(ref, lambda state: state) is not None
    assert [receipt.times for receipt in receipts] == [0, 0, 0]
    if end == "resume":
        sys.resume(ref)
    else:
        ref.exit(KILL if end == "kill" else ValueError("x"))
    runtime.settle()
    assert [receipt.times for receipt in receipts] == [1, 1, 1]


@pytest.mark.parametrize("handler", ["none", "crash", "stop", "async"])
def test_a_message_that_is_traced_and_logged_is_over_once(runtime: ManualRuntime, handler: str) -> None:
    ref = Caller.start()
    sys.log(ref, 10)
    sys.statistics(ref)
    receipt = send(ref, lambda actor: None if handler == "none" else HANDLERS[handler](actor))
    runtime.settle()
    runtime.advance(5)
    assert receipt.times == 1


@pytest.mark.parametrize("handler", ["none", "a value", "crash", "stop", "reply later"])
def test_a_message_of_a_threaded_actor_is_over_when_its_thread_has_handled_it(
    runtime: ManualRuntime, handler: str
) -> None:
    ref = Threaded.start()
    receipts = [send(ref, HANDLERS[handler]), send(ref, HANDLERS["none"])]
    runtime.settle()
    assert [receipt.times for receipt in receipts] == [1, 1]


def test_a_message_of_a_threaded_actor_that_is_killed_is_over(runtime: ManualRuntime) -> None:
    held: Future[None] = Future()
    ref = Threaded.start()
    receipt = send(ref, lambda _: held.get())
    runtime.settle()
    assert receipt.times == 0
    ref.kill()
    runtime.settle()
    assert receipt.times == 1
    held.set()
    runtime.settle()
    assert receipt.times == 1


def test_no_tool_shows_the_sender_as_a_caller(runtime: ManualRuntime) -> None:
    ref = Caller.start()
    events: list[Any] = []
    sys.install(ref, events.append)
    receipt = send(ref, HANDLERS["a value"])
    runtime.settle()
    debug = ref.process.debug
    assert debug is not None
    recorded = list(debug.record or ())
    assert [type(each) for each in recorded] == [Recorded]
    assert not recorded[0].asked
    assert receipt.times == 1
    assert not any(isinstance(value, Receipt) for event in events for value in vars_of(event))


def vars_of(event: Any) -> list[object]:
    return [getattr(event, name) for name in event.__struct_fields__]


def test_what_waits_is_shown_as_the_message_itself(runtime: ManualRuntime) -> None:
    ref = Caller.start()
    handler = HANDLERS["none"]
    send(ref, handler)
    assert ref.process.next_message is handler
    assert ref.process.waiting == 1


def test_a_simulation_says_that_the_message_is_handled_not_asked() -> None:
    with Simulation(1) as simulation:
        send(Caller.start(), HANDLERS["none"])
        simulation.settle()
        assert "is asked" not in "\n".join(simulation.trace)


def test_a_pykka_actor_is_told(runtime: ManualRuntime) -> None:
    heard, told = list[object](), threading.Event()

    class Listener(pykka.ThreadingActor):
        def on_receive(self, message: object) -> None:
            heard.append(message)
            told.set()

    stand_in = actor_class_of(Listener)
    assert stand_in is not None
    ref = stand_in.start()
    receipt = send(ref, "message")
    runtime.settle()
    assert receipt.times == 1
    assert told.wait(10)
    assert heard == ["message"]


def test_a_message_with_a_receipt_closes_no_cycle_of_asks(runtime: ManualRuntime) -> None:
    answers: list[object] = []

    async def ask_back(actor: Any) -> None:
        answers.append(await second.call(lambda _: "answer"))

    def send_on(actor: Any) -> str:
        receipts.append(send(first, ask_back))
        return "sent"

    receipts: list[Counted] = []
    first, second = Caller.start(), Caller.start()
    assert second.ask(send_on) == "sent"
    runtime.settle()
    assert answers == ["answer"]
    assert receipts[0].times == 1
