"""Questions that are kept, to be answered later and by anyone."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError
from actors.exits import KILL, Stop
from actors.runtime.scheduler import in_thread
from actors.testing import WAIT, ManualRuntime

if TYPE_CHECKING:
    from actors.caller import From


class Desk(Actor):
    """Keeps all questions; answers one when it is told to."""

    def __init__(self) -> None:
        self.kept: list[From] = []

    def on_receive(self, message: Any) -> Any:
        match message:
            case ("answer", value):
                self.kept.pop(0).reply(value)
                return None
            case "answer at once":
                self.reply_later().reply("at once")
                return "what the handler returns"
            case "crash":
                self.kept.append(self.reply_later())
                raise ValueError("boom")
            case "stop":
                self.kept.append(self.reply_later())
                return Stop(reply="too late")
        self.kept.append(self.reply_later())
        return "what the handler returns"


def kept_by(ref: Any) -> list[From]:
    kept: list[From] = ref.process.actor.kept
    return kept


def test_a_question_is_answered_when_its_actor_wants(runtime: ManualRuntime) -> None:
    ref = Desk.start()
    first, second = ref.ask("a", block=False), ref.ask("b", block=False)
    runtime.settle()
    assert not first.done
    assert not second.done
    ref.tell(("answer", 1))
    runtime.settle()
    assert first.get() == 1
    assert not second.done


def test_what_the_handler_returns_is_no_answer_then(runtime: ManualRuntime) -> None:
    assert Desk.start().ask("answer at once") == "at once"


def test_another_actor_answers(runtime: ManualRuntime) -> None:
    class Colleague(Actor):
        def on_receive(self, message: From) -> None:
            message.reply(f"from {self}")

    ref, colleague = Desk.start(), Colleague.start()
    asked = ref.ask("a", block=False)
    runtime.settle()
    colleague.tell(kept_by(ref)[0])
    runtime.settle()
    assert asked.get() == f"from {colleague}"


def test_another_thread_answers() -> None:
    thread = in_thread("desk")
    try:
        started: list[Any] = []
        thread.scheduler.post(lambda: started.append(Desk.start()))
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), thread.scheduler.loop).result(WAIT)
        ref = started[0]
        asked = ref.ask("a", block=False)
        assert ref.proxy().pid.get(timeout=WAIT)  # a barrier
        answerer = threading.Thread(target=kept_by(ref)[0].reply, args=("from a thread",))
        answerer.start()
        assert asked.get(timeout=WAIT) == "from a thread"
        answerer.join(WAIT)
    finally:
        thread.stop()


def test_a_question_is_refused_with_an_exception(runtime: ManualRuntime) -> None:
    ref = Desk.start()
    asked = ref.ask("a", block=False)
    runtime.settle()
    kept_by(ref)[0].refuse(KeyError("no such thing"))
    with pytest.raises(KeyError, match="no such thing"):
        asked.get()
    assert ref.is_alive()


def test_the_first_answer_counts(runtime: ManualRuntime) -> None:
    ref = Desk.start()
    asked = ref.ask("a", block=False)
    runtime.settle()
    [caller] = kept_by(ref)
    before = caller.is_waiting
    caller.reply(1)
    caller.reply(2)
    caller.refuse(ValueError())
    assert (before, caller.is_waiting) == (True, False)
    assert asked.get() == 1


def test_an_answer_to_what_was_only_told_is_dropped(runtime: ManualRuntime) -> None:
    ref = Desk.start()
    ref.tell("a")
    runtime.settle()
    [caller] = kept_by(ref)
    assert not caller.is_waiting
    caller.reply("nobody hears it")
    runtime.settle()
    assert ref.is_alive()


def test_an_answer_after_the_time_out_is_dropped(runtime: ManualRuntime) -> None:
    class Asker(Actor):
        async def on_receive(self, other: Any) -> str:
            try:
                return str(await other.call("a", timeout=3))
            except pykka.Timeout:
                return "time is over"

    ref = Desk.start()
    asked = Asker.start().ask(ref, block=False)
    runtime.advance(3)
    assert asked.get() == "time is over"
    kept_by(ref)[0].reply("late")
    runtime.settle()
    assert asked.get() == "time is over"


@pytest.mark.parametrize("end", ["crash", "stop", "kill"])
def test_whoever_asked_learns_at_once_that_the_actor_ended(runtime: ManualRuntime, end: str) -> None:
    ref = Desk.start()
    asked = ref.ask("a", block=False)
    if end == "kill":
        ref.exit(KILL)
    else:
        ref.tell(end)
    runtime.settle()
    with pytest.raises(ActorDeadError, match="is dead"):
        asked.get()


@pytest.mark.parametrize("end", ["crash", "stop"])
def test_the_question_that_ended_the_actor_was_kept_too(runtime: ManualRuntime, end: str) -> None:
    asked = Desk.start().ask(end, block=False)
    runtime.settle()
    with pytest.raises(ActorDeadError):
        asked.get()


def test_an_answer_after_the_end_is_dropped(runtime: ManualRuntime) -> None:
    ref = Desk.start()
    asked = ref.ask("a", block=False)
    runtime.settle()
    [caller] = kept_by(ref)
    ref.kill()
    runtime.settle()
    caller.reply("late")
    with pytest.raises(ActorDeadError):
        asked.get()


def test_an_async_handler_keeps_its_question_too(runtime: ManualRuntime) -> None:
    class Slow(Actor):
        async def on_receive(self, message: float) -> str:
            caller = self.reply_later()
            self.clock.call_after(message, lambda: caller.reply("in time"))
            return "not this"

    asked = Slow.start().ask(2.0, block=False)
    runtime.advance(1.999)
    assert not asked.done
    runtime.advance(0.001)
    assert asked.get() == "in time"


def test_it_shows_whose_question_it_is(runtime: ManualRuntime) -> None:
    ref = Desk.start()
    asked = ref.ask("a", block=False)
    runtime.settle()
    [caller] = kept_by(ref)
    assert repr(caller) == f"<From, a question to {ref}>"
    caller.reply()
    assert asked.get() is None
    assert repr(caller) == f"<From, a question to {ref}, over>"
