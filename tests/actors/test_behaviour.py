"""What is shown of an actor: `format_status`, where it is called, and what happens when it fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pykka
import pytest

from actors import sys
from actors.actor import Actor
from actors.exits import Crash
from actors.future import Future
from actors.redaction import Shown
from actors.runtime.behaviour import FormatStatus, described, shown_message, shown_state
from actors.runtime.report import last_crash
from actors.testing import WAIT, ManualRuntime
from actors.threads.pykka_actor import actor_class_of
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.ref import ActorRef

BOOM = ValueError("boom 4929")


class Pay(msgspec.Struct):
    amount: int
    card: str


def hidden(status: FormatStatus) -> FormatStatus:
    """Hide the number of a card, in the state and in messages."""
    if status.state is not None:
        status.state["card"] = "…"
    if isinstance(status.message, Pay):
        status.message = Pay(status.message.amount, "…")
    return status


class Cashier(Actor):
    """Keeps the number of a card, which nobody is to see."""

    record = 5

    def __init__(self, card: str = "4929") -> None:
        self.card, self.password, self.total = card, "hunter2", 0

    def on_receive(self, message: Any) -> Any:
        if message == "crash":
            raise BOOM
        if isinstance(message, Pay):
            self.card = message.card
            self.total += message.amount

    def format_status(self, status: FormatStatus) -> FormatStatus:
        return hidden(status)


class ThreadedCashier(ThreadedActor):
    record = 5

    def __init__(self, card: str = "4929") -> None:
        self.card, self.password, self.total = card, "hunter2", 0

    def on_receive(self, message: Any) -> Any:
        return Cashier.on_receive(self, message)  # type: ignore[arg-type]  # it has the same attributes

    def format_status(self, status: FormatStatus) -> FormatStatus:
        return hidden(status)


KINDS = [Cashier, ThreadedCashier]


@pytest.fixture(params=KINDS, ids=[kind.__name__ for kind in KINDS])
def cashier(request: pytest.FixtureRequest, runtime: ManualRuntime) -> ActorRef[Any]:
    ref: ActorRef[Any] = request.param.start()
    ref.tell(Pay(5, "4929 1"))
    runtime.settle()
    return ref


def test_the_status_has_the_state_that_the_hook_returns(cashier: ActorRef[Any]) -> None:
    status = sys.get_status(cashier).get()
    assert status.state == {"card": "…", "password": "hunter2", "total": 5}
    assert "4929" not in f"{status} {status!r}"


def test_the_status_is_shown_without_secrets(cashier: ActorRef[Any]) -> None:
    status = sys.get_status(cashier).get()
    for text in (str(status), repr(status)):
        assert "hunter2" not in text
        assert "'password': '[FILTERED]'" in text


def test_get_state_returns_the_values_themselves(cashier: ActorRef[Any]) -> None:
    assert sys.get_state(cashier).get() == {"card": "4929 1", "password": "hunter2", "total": 5}


def test_the_hook_does_not_change_the_actor(cashier: ActorRef[Any]) -> None:
    sys.get_status(cashier).get()
    assert sys.get_state(cashier).get()["card"] == "4929 1"


def test_a_trace_has_the_messages_that_the_hook_returns(cashier: ActorRef[Any], runtime: ManualRuntime) -> None:
    lines: list[str] = []
    sys.trace(cashier, lines.append).get()
    cashier.tell(Pay(7, "4929"))
    runtime.settle()
    assert lines[0] == f"*DBG* {cashier} got Pay(amount=7, card='…')"
    assert "4929" not in str(lines)


def test_the_log_in_a_status_has_the_messages_that_the_hook_returns(
    cashier: ActorRef[Any], runtime: ManualRuntime
) -> None:
    sys.log(cashier, 1).get()
    cashier.tell(Pay(7, "4929"))
    runtime.settle()
    (event,) = sys.get_status(cashier).get().log
    (kept,) = sys.get_log(cashier).get()
    assert (event.message, kept.message) == (Pay(7, "…"), Pay(7, "4929"))


def test_a_crash_report_has_what_the_hook_returns(
    cashier: ActorRef[Any], runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    cashier.tell("crash")
    runtime.settle()
    report = last_crash()
    assert report is not None
    assert report.state == {"card": "…", "password": "hunter2", "total": 5}
    assert "Pay(amount=5, card='…')" in str(report)
    assert "4929 1" not in caplog.text + str(report)


def test_a_peek_at_a_waiting_actor_shows_its_message(runtime: ManualRuntime) -> None:
    class Waiting(Cashier):
        async def on_receive(self, message: Any) -> None:
            await Future(self._process.scheduler)

    ref = Waiting.start()
    ref.tell(Pay(5, "4929"))
    runtime.settle()
    assert sys.peek(ref).get().message == "Pay(amount=5, card='…')"


def test_without_a_hook_secrets_are_filtered(runtime: ManualRuntime) -> None:
    ref = Actor.start()
    actor = ref.process.actor
    assert described(actor, {"password": "hunter2", "n": 1}) == "{'password': '[FILTERED]', 'n': 1}"
    assert shown_state(actor) == {}


def test_what_the_hook_returns_is_shown_without_secrets_too(runtime: ManualRuntime) -> None:
    class Careless(Actor):
        def format_status(self, status: FormatStatus) -> FormatStatus:
            status.message = {"token": "hunter2", "was": status.message}
            return status

    assert described(Careless.start().process.actor, 1) == "{'token': '[FILTERED]', 'was': 1}"


def test_a_text_of_the_authors_is_shown_as_it_is(runtime: ManualRuntime) -> None:
    class Brief(Actor):
        def format_status(self, status: FormatStatus) -> FormatStatus:
            status.message = Shown("a message")
            return status

    assert described(Brief.start().process.actor, {"n": 1}) == "a message"


# A hook that fails


def fails(status: FormatStatus) -> Any:
    raise ValueError(f"4929: {status}")


def exits(status: FormatStatus) -> Any:
    raise GeneratorExit("4929")


def forgets(status: FormatStatus) -> Any:
    hidden(status)


def empties(status: FormatStatus) -> Any:
    return FormatStatus(state=status.state and "4929", message=status.message and "…")  # type: ignore[arg-type]  # wrong


RETURNED = ("format_status() must return the status, got NoneType",) * 2
FAILURES: list[tuple[Callable[[FormatStatus], Any], str, str]] = [
    (fails, "format_status() raised ValueError ({place})", "format_status() raised ValueError ({place})"),
    (exits, "format_status() raised GeneratorExit ({place})", "format_status() raised GeneratorExit ({place})"),
    (forgets, *RETURNED),
    (empties, "", "format_status() must leave a mapping as the state, got str"),
]


@pytest.mark.parametrize(("hook", "of_message", "of_state"), FAILURES, ids=[row[0].__name__ for row in FAILURES])
def test_a_hook_that_fails_is_contained_and_shows_no_value(
    runtime: ManualRuntime,
    caplog: pytest.LogCaptureFixture,
    hook: Callable[[FormatStatus], Any],
    of_message: str,
    of_state: str,
) -> None:
    class Failing(Cashier):
        def format_status(self, status: FormatStatus) -> FormatStatus:
            returned: FormatStatus = hook(status)
            return returned

    ref = Failing.start()
    place = f"{__file__}:{Failing.format_status.__code__.co_firstlineno + 1}"
    of_message, of_state = of_message.format(place=place), of_state.format(place=place)
    expected = f"<Pay that cannot be shown: {of_message}>" if of_message else "'…'"
    assert described(ref.process.actor, Pay(1, "4929")) == expected
    assert repr(shown_state(ref.process.actor)) == f"{{'format_status': <the state cannot be shown: {of_state}>}}"
    assert sys.get_status(ref).get().state.keys() == {"format_status"}
    ref.tell(Pay(1, "4929 1"))
    ref.tell("crash")
    runtime.settle()
    assert ref.exit_reason == Crash(BOOM)
    assert f"{ref} crashed: ValueError: boom" in caplog.text
    assert "4929 1" not in caplog.text


def test_a_hook_may_be_called_in_any_thread(runtime: ManualRuntime) -> None:
    actor, texts = Cashier.start().process.actor, list[str]()
    thread = threading.Thread(target=lambda: texts.append(described(actor, Pay(1, "4929"))))
    thread.start()
    thread.join(WAIT)
    assert texts == ["Pay(amount=1, card='…')"]


def test_a_hook_that_is_no_plain_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"format_status must be a plain `def`, got `async def`; it is called where"):

        class Later(Actor):
            async def format_status(self, status: FormatStatus) -> FormatStatus:  # type: ignore[override]  # a mistake
                return status


def test_a_hook_without_the_parameter_is_refused() -> None:
    declared = r"format_status must be declared as `def format_status\(self, status\)`, got `def format_status\(self\)`"
    with pytest.raises(TypeError, match=declared):

        class Bare(Actor):
            def format_status(self) -> FormatStatus:  # type: ignore[override]  # a mistake
                return FormatStatus()


# pykka's own actors


class Clerk(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.card = "4929"

    def on_receive(self, message: Any) -> Any:
        raise message

    def format_status(self, status: FormatStatus) -> FormatStatus:
        return hidden(status)


class PlainClerk(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.card = "4929"


@pytest.mark.usefixtures("background")
def test_a_pykka_actor_may_have_the_hook() -> None:
    started = actor_class_of(Clerk)
    assert started is not None
    ref = started.start()
    assert sys.get_status(ref).get(timeout=WAIT).state == {"card": "…"}
    assert shown_message(ref.process.actor, Pay(1, "4929")) == Pay(1, "…")
    assert sys.get_state(ref).get(timeout=WAIT) == {"card": "4929"}
    ref.stop(timeout=WAIT)


class BareClerk(pykka.ThreadingActor):
    def format_status(self) -> FormatStatus:
        return FormatStatus()


def test_a_hook_of_a_pykka_actor_without_the_parameter_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"BareClerk\.format_status must be declared as `def format_status\(self, status\)`"
    ):
        actor_class_of(BareClerk)


@pytest.mark.usefixtures("background")
def test_a_pykka_actor_needs_no_hook() -> None:
    started = actor_class_of(PlainClerk)
    assert started is not None
    ref = started.start()
    assert sys.get_status(ref).get(timeout=WAIT).state == {"card": "4929"}
    ref.stop(timeout=WAIT)
