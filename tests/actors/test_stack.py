"""Where an actor is: from the author's handler to what it waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Reply, ok
from actors.future import Future
from actors.stack import blocked_at, waits_at
from actors.testing import WAIT, ManualRuntime, sync
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from actors.runtime.scheduler import in_thread


class Doing(Actor):
    """Does what it is told: its messages are functions without arguments."""

    def on_receive(self, message: Callable[[], Any]) -> Any:
        return message()


class Bent:
    """An awaitable that is no coroutine, and stands for one."""

    def __init__(self, inner: Awaitable[Any]) -> None:
        self._inner = inner

    def __await__(self) -> Generator[Any, None, Any]:
        return self._inner.__await__()


async def waiting() -> None:
    await Future()


async def through_a_coroutine() -> None:
    await waiting()


async def through_an_awaitable() -> None:
    await Bent(waiting())


async def generated() -> AsyncIterator[int]:
    await waiting()
    yield 1


async def through_a_generator() -> None:
    async for _ in generated():
        pass


async def for_a_task() -> None:
    task = asyncio.get_running_loop().create_task(asyncio.Event().wait())
    try:
        await task
    finally:
        task.cancel()


def names(stack: str) -> list[str]:
    """Return the functions of a stack, the outermost first."""
    return [line.rpartition(", in ")[2] for line in stack.splitlines() if line.startswith("  File ")]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (waiting, ["waiting"]),
        (through_a_coroutine, ["through_a_coroutine", "waiting"]),
        (through_an_awaitable, ["through_an_awaitable", "waiting"]),
        (through_a_generator, ["through_a_generator", "generated", "waiting"]),
        (for_a_task, ["for_a_task"]),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
@pytest.mark.parametrize("record", [None, 5], ids=["", "recorded"])
def test_a_handler_that_waits_is_followed_to_what_it_waits_for(
    runtime: ManualRuntime, function: Callable[[], Any], expected: list[str], record: int | None
) -> None:
    class Keeping(Doing):
        pass

    Keeping.record = record
    ref = Keeping.start()
    ref.tell(function)
    runtime.settle()
    assert names(waits_at(ref.process)) == expected


def test_an_actor_that_does_not_wait_is_nowhere(runtime: ManualRuntime) -> None:
    ref = Doing.start()
    assert waits_at(ref.process) == ""
    ref.stop()
    assert waits_at(ref.process) == ""


def test_where_no_author_waits_the_frames_are_ours(runtime: ManualRuntime) -> None:
    ref, silent = Doing.start(), Doing.start()
    ref.tell(lambda: silent.call(waiting))
    runtime.settle()
    assert names(waits_at(ref.process))[0] == "call"


def test_the_callback_of_a_channel_is_seen_through_the_channel() -> None:
    class Room(Channel):
        async def handle_info(self, message: Any) -> None:
            await waiting()

        def join(self, topic: str, payload: Any) -> Reply:
            return ok()

    with ManualRuntime() as runtime:
        ref = Doing.start()
        room = Room.__new__(Room)
        ref.tell(lambda: room._then(room.handle_info("x"), lambda _: None))
        runtime.settle()
        assert names(waits_at(ref.process)) == ["handle_info", "waiting"]


def test_a_threaded_actor_is_where_its_thread_is(runtime: ManualRuntime) -> None:
    class Digging(ThreadedActor):
        def on_receive(self, message: Future[None]) -> None:
            self.dig(message)

        def dig(self, message: Future[None]) -> None:
            message.get()

    gate: Future[None] = Future()
    ref = Digging.start()
    ref.tell(gate)
    runtime.settle()
    assert names(waits_at(ref.process))[:2] == ["on_receive", "dig"]
    gate.set()


def test_a_loop_is_where_its_actor_is(background: in_thread) -> None:
    blocked, gate = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        assert gate.wait(WAIT)

    ref = Doing.start()
    ref.tell(block)
    assert blocked.wait(WAIT)
    try:
        assert names(blocked_at(background.scheduler))[:2] == ["on_receive", "block"]
    finally:
        gate.set()
    sync(ref)
