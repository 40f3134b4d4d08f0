"""Replaying a crash: recorded messages are fed to a new actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exits import Crash
from actors.future import Future
from actors.runtime.report import last_crash
from actors.testing import ManualRuntime, sync
from actors.testing.replay import replay
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.recorder import Recorded


class Till(Actor):
    """Adds amounts, and calls the functions that it is sent. It keeps a journal with times."""

    record = 20

    def __init__(self, start: int = 0) -> None:
        self.sum = start
        self.journal: list[Any] = []

    def on_start(self) -> None:
        self.send(self, "opened")

    def on_receive(self, message: Any) -> Any:
        self.journal.append((self.clock.now(), message if not callable(message) else message.__name__))
        if callable(message):
            return message(self)
        if message == "crash":
            raise ValueError(self.sum)
        if isinstance(message, int):
            self.sum += message
        return self.sum


class Mended(Till):
    def on_receive(self, message: Any) -> Any:
        return super().on_receive("mended" if message == "crash" else message)


def noted(till: Till) -> None:
    till.send(till, 10)


def later(till: Till) -> None:
    till.send_after(2.0, 100)


def next_(till: Till) -> None:
    till.continue_with(1000)


async def slowly(till: Till) -> None:
    over: Future[None] = Future(till._process.scheduler)
    till.clock.call_after(0.7, over.set)
    await over
    till.sum += 10_000


def recorded(runtime: ManualRuntime, *messages: Any) -> list[Recorded]:
    """Crash an actor with these messages, three seconds apart, and return what it recorded."""
    ref = Till.start()
    for message in messages:
        ref.tell(message)
        runtime.advance(3.0)
    ref.tell("crash")
    runtime.settle()
    report = last_crash()
    assert report is not None
    assert report.pid == ref.process.pid
    return report.messages


def test_the_same_messages_crash_a_fresh_actor_in_the_same_way(runtime: ManualRuntime) -> None:
    messages = recorded(runtime, 1, 2)
    ref = replay(messages, runtime, Till, 40)
    assert isinstance(ref.exit_reason, Crash)
    assert str(ref.exit_reason.exception) == "43"


def test_an_actor_that_is_mended_outlives_them_and_goes_on(runtime: ManualRuntime) -> None:
    ref = replay(recorded(runtime, 1, 2), runtime, Mended)
    assert ref.is_alive()
    assert ref.ask(5) == 8


@pytest.mark.parametrize(("function", "amount"), [(noted, 10), (later, 100), (next_, 1000), (slowly, 10_000)])
def test_what_an_actor_sends_itself_is_not_handled_twice(
    runtime: ManualRuntime, function: Callable[[Till], Any], amount: int
) -> None:
    messages = recorded(runtime, 1, function)
    ref = replay(messages, runtime, Mended)
    assert ref.ask(0) == 1 + amount
    opened = [message for _, message in ref.proxy().journal.get() if message == "opened"]
    assert len(opened) == 1


def test_they_come_as_far_apart_as_they_came_then(runtime: ManualRuntime) -> None:
    messages = recorded(runtime, 1, slowly, 2)
    began = runtime.clock.now()
    journal = replay(messages, runtime, Mended).proxy().journal.get()
    assert [(at - began, message) for at, message in journal] == [
        (0.0, "opened"),
        (0.0, 1),
        (3.0, "slowly"),
        (6.0, 2),
        (9.0, "mended"),
    ]


def test_a_handler_that_waits_comes_to_its_end_though_it_was_the_last(runtime: ManualRuntime) -> None:
    ref = Till.start()
    runtime.advance(0.1)
    ref.tell(slowly)
    runtime.advance(1.0)
    debug = ref.process.debug
    assert debug is not None
    again = replay(list(debug.record or ()), runtime, Till)
    assert again.proxy().sum.get() == 10_000


def test_a_message_that_was_asked_is_asked_again(runtime: ManualRuntime) -> None:
    callers: list[bool] = []

    class Owing(Actor):
        record = 5

        def on_receive(self, message: Any) -> None:
            callers.append(self._process.reply_to is not None)
            if message == "crash":
                raise ValueError

    ref = Owing.start()
    ref.tell("told")
    ref.ask("asked", block=False)
    ref.tell("crash")
    runtime.settle()
    report = last_crash()
    assert report is not None
    replay(report.messages, runtime, Owing)
    assert callers == [False, True, False] * 2


def test_the_fresh_actor_records_what_it_is_fed(runtime: ManualRuntime) -> None:
    messages = recorded(runtime, 1, 2)
    replay(messages, runtime, Till)
    report = last_crash()
    assert report is not None
    assert report.messages is not messages
    assert [entry.message for entry in report.messages] == ["opened", 1, 2, "crash"]
    assert report.message == "crash"
    assert report.handled == 4


def test_no_messages_leave_an_ordinary_actor(runtime: ManualRuntime) -> None:
    ref = replay([], runtime, Till, 7)
    sync(ref)
    assert ref.ask(1) == 8


def test_a_threaded_actor_is_fed_too(runtime: ManualRuntime) -> None:
    class Blocking(ThreadedActor):
        record = 5

        def __init__(self) -> None:
            self.sum = 0

        def on_receive(self, message: int) -> int:
            self.sum += message
            return self.sum

    ref = Blocking.start()
    for message in [1, 2, "three"]:
        ref.tell(message)
    runtime.settle()
    report = last_crash()
    assert report is not None
    again = replay(report.messages[:-1], runtime, Blocking)
    assert again.ask(0) == 3
