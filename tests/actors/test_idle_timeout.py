"""Actors to which nobody speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.runtime.idle_timeout import IdleTimeout

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


class Sleeper(Actor):
    """Notes when it gets what."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.log: list[tuple[float, Any]] = []

    def on_start(self) -> Any:
        self.idle_timeout = self.seconds

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.log.append((self.clock.now(), message))
        return None


def log_of(ref: Any) -> list[tuple[float, Any]]:
    log: list[tuple[float, Any]] = ref.process.actor.log
    return log


def test_an_actor_is_told_after_that_many_seconds_without_a_message(runtime: ManualRuntime) -> None:
    ref = Sleeper.start(10)
    runtime.advance(9.999)
    assert log_of(ref) == []
    runtime.advance(0.001)
    assert log_of(ref) == [(10.0, IdleTimeout(10))]


def test_it_is_told_again_after_as_many(runtime: ManualRuntime) -> None:
    ref = Sleeper.start(10)
    runtime.advance(35)
    assert [at for at, _ in log_of(ref)] == [10.0, 20.0, 30.0]


def test_each_message_puts_it_off(runtime: ManualRuntime) -> None:
    ref = Sleeper.start(10)
    for _ in range(3):
        runtime.advance(7)
        ref.tell("hello")
    runtime.advance(9.999)
    assert [message for _, message in log_of(ref)] == ["hello"] * 3
    runtime.advance(0.001)
    assert log_of(ref)[-1] == (31.0, IdleTimeout(10))


def test_it_takes_one_timer_however_many_messages_come(runtime: ManualRuntime) -> None:
    ref = Sleeper.start(10)
    for _ in range(1000):
        ref.ask("hello")
    assert runtime.clock.pending() == 1


def test_an_actor_that_waits_in_a_handler_is_not_idle(runtime: ManualRuntime) -> None:
    async def wait(actor: Sleeper) -> None:
        woken = actor._process.scheduler.loop.create_future()
        actor.clock.call_after(25, lambda: woken.set_result(None))
        await woken

    ref = Sleeper.start(10)
    ref.tell(wait)
    runtime.advance(34.999)
    assert log_of(ref) == []
    runtime.advance(0.001)
    assert log_of(ref) == [(35.0, IdleTimeout(10))]


def test_it_can_be_changed_and_ended(runtime: ManualRuntime) -> None:
    def change(seconds: float | None) -> Any:
        return lambda actor: setattr(actor, "idle_timeout", seconds)

    ref = Sleeper.start(10)
    ref.tell(change(3))
    runtime.advance(3)
    assert log_of(ref) == [(3.0, IdleTimeout(3))]
    ref.tell(change(None))
    runtime.advance(100)
    assert len(log_of(ref)) == 1
    assert ref.proxy().idle_timeout.get() is None
    assert runtime.clock.pending() == 0


def test_without_one_nothing_is_measured(runtime: ManualRuntime) -> None:
    ref = Sleeper.start(None)
    runtime.advance(1e6)
    assert log_of(ref) == []


def test_an_async_on_start_sets_it_too(runtime: ManualRuntime) -> None:
    class Late(Sleeper):
        async def on_start(self) -> None:
            self.idle_timeout = 5

    ref = Late.start(None)
    runtime.advance(5)
    assert log_of(ref) == [(5.0, IdleTimeout(5))]


def test_its_timer_ends_with_the_actor(runtime: ManualRuntime) -> None:
    ref = Sleeper.start(10)
    assert runtime.clock.pending() == 1
    ref.kill()
    runtime.settle()
    assert runtime.clock.pending() == 0


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_wrong_time_names_itself(runtime: ManualRuntime, seconds: float) -> None:
    ref = Sleeper.start(None)
    with pytest.raises(ValueError, match=f"idle_timeout must be seconds > 0 or None, got {seconds}"):
        ref.ask(lambda actor: setattr(actor, "idle_timeout", seconds))
