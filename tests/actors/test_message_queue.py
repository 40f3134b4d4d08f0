"""The message queue when it is interrupted: a signal's handler or a `__del__` may run between any two calls, and may send.

Such code runs where a function is entered or a function of C returns, which is where a profile function is called too: so a
test can interrupt the runtime at each of these points, one after the other.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

import actors
from actors.actor import Actor
from actors.exits import KILL
from actors.runtime import message_queue
from actors.runtime.coroutine import next_round
from actors.testing import ManualRuntime

if TYPE_CHECKING:
    from types import FrameType

    from actors.ref import ActorRef

OURS = str(Path(actors.__file__).parent)
SENT = ["plain", "async", "continue", "continued", "own", "sent to itself", "asked", "last"]


class Interruption:
    """Calls `action()` at the point with this number at which the runtime can be interrupted."""

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        self._left, self._action = number, action

    @property
    def has_happened(self) -> bool:
        return self._left == 0

    def __enter__(self) -> Self:
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_exc: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _of: object) -> None:
        if event in {"call", "c_call", "c_return"} and frame.f_code.co_filename.startswith(OURS):
            self._left -= 1
            if not self._left:
                sys.setprofile(None)
                self._action()


class Worker(Actor):
    """Handles one message at a time, or the test fails."""

    def __init__(self, log: list[Any]) -> None:
        self.log, self.is_busy = log, False
        self.idle_timeout = 5

    def on_receive(self, message: Any) -> Any:
        assert not self.is_busy
        self.log.append(message)
        if message == "continue":
            self.continue_with("continued")
        elif message == "own":
            self.send(self, "sent to itself")
        return self.wait() if message == "async" else None

    async def wait(self) -> None:
        self.is_busy = True
        await next_round()
        await next_round()
        self.is_busy = False


def work(ref: ActorRef[Worker], runtime: ManualRuntime) -> None:
    ref.send("plain")
    ref.send("async")
    runtime.settle()
    ref.send("continue")
    ref.send("own")
    runtime.settle()
    if ref.is_alive():
        ref.ask("asked", block=False)
        runtime.settle()
    ref.send("last")
    runtime.settle()


def interrupted(number: int, action: Callable[[ActorRef[Worker]], object]) -> tuple[ActorRef[Worker], list[Any], bool]:
    """Work with one interruption; return the actor, what it has handled, and whether there was that point."""
    log: list[Any] = []
    with ManualRuntime() as runtime:
        ref = Worker.start(log)
        with Interruption(number, lambda: action(ref)) as interruption:
            work(ref, runtime)
        runtime.settle()
        assert not runtime._scheduler._ready
        is_alive, process = ref.is_alive(), ref.process
        assert (process.scheduled and is_alive, process.queue) == (False, None)
        assert is_alive == (action in SENDING or not interruption.has_happened)
    return ref, log, interruption.has_happened


def tell(ref: ActorRef[Any]) -> None:
    ref.tell("from a signal")


def ask(ref: ActorRef[Any]) -> None:
    ref.ask("from a signal", block=False)


def stop(ref: ActorRef[Any]) -> None:
    ref.stop(block=False)


def kill(ref: ActorRef[Any]) -> None:
    ref.exit(KILL)


def crash(ref: ActorRef[Any]) -> None:
    ref.exit(ValueError("boom"))


SENDING = (tell, ask)


@pytest.mark.parametrize("action", SENDING)
def test_no_message_is_lost_or_handled_twice_wherever_the_interruption_sends(
    action: Callable[[ActorRef[Worker]], object],
) -> None:
    number = 1
    while True:
        _, log, has_happened = interrupted(number, action)
        if not has_happened:
            break
        assert sorted(log) == sorted([*SENT, "from a signal"]), f"at point {number}"
        assert [message for message in log if message in SENT] == SENT
        number += 1
    assert number > 100


@pytest.mark.parametrize("action", [stop, kill, crash])
def test_an_actor_ends_wherever_the_interruption_ends_it(action: Callable[[ActorRef[Worker]], object]) -> None:
    number = 1
    while interrupted(number, action)[2]:
        number += 1
    assert number > 100


def test_the_first_message_is_not_lost_when_making_the_queue_is_interrupted(
    runtime: ManualRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects are made there, which may run the garbage collector, and that a `__del__`."""

    def interrupted_deque(items: tuple[Any, ...] = ()) -> deque[Any]:
        monkeypatch.setattr(message_queue, "deque", deque)
        ref.tell("from a __del__")
        return deque(items)

    log: list[Any] = []
    ref = Worker.start(log)
    monkeypatch.setattr(message_queue, "deque", interrupted_deque)
    ref.tell("plain")
    runtime.settle()
    assert log == ["from a __del__", "plain"]


def test_what_a_message_sends_when_it_is_freed_is_handled(runtime: ManualRuntime) -> None:
    class Farewell:
        def __del__(self) -> None:
            ref.tell("from a __del__")

    handled: list[str] = []

    class Forgetful(Actor):
        def on_receive(self, message: Any) -> None:
            handled.append(type(message).__name__)

    ref = Forgetful.start()
    for _ in range(3):
        ref.tell(Farewell())
        runtime.settle()
    assert handled == ["Farewell", "str"] * 3
