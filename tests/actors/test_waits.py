"""Asks that go round in a circle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import AskCycleError, BlockingCallError, StartError
from actors.exits import SHUTDOWN
from actors.registry import ActorRegistry
from actors.runtime.scheduler import in_thread
from actors.task.task import Task
from actors.testing import WAIT, ManualRuntime
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from actors.ref import ActorRef


class Asker(Actor):
    """Asks the first of those named in its message, passing the rest on; answers with its pid when none are left."""

    async def on_receive(self, path: Any) -> Any:
        return await path[0].call(path[1:]) if path else self.pid


class Patient(Asker):
    """Does not fail for want of an answer."""

    async def on_receive(self, path: Any) -> Any:
        try:
            return await super().on_receive(path)
        except (AskCycleError, pykka.Timeout) as error:
            return error


def test_a_line_is_no_circle(runtime: ManualRuntime) -> None:
    one, two, three = Asker.start(), Asker.start(), Asker.start()
    assert one.ask([two, three]) == three.pid


def test_an_actor_that_asks_itself_is_told_so_at_once(runtime: ManualRuntime) -> None:
    ref = Asker.start()
    with pytest.raises(AskCycleError, match=f"{ref} asks {ref}: each waits for the next") as caught:
        ref.ask([ref])
    assert caught.value.chain == (str(ref), str(ref))
    assert runtime.clock.now() == 0


@pytest.mark.parametrize("length", [2, 3, 10])
def test_a_circle_is_reported_with_its_whole_chain(runtime: ManualRuntime, length: int) -> None:
    refs = [Asker.start() for _ in range(length)]
    with pytest.raises(AskCycleError) as caught:
        refs[0].ask([*refs[1:], refs[0]])
    last, names = refs[-1], [str(ref) for ref in refs]
    assert caught.value.chain == (str(last), *names)
    assert runtime.clock.now() == 0
    assert not any(ref.is_alive() for ref in refs)


def test_only_those_in_the_circle_are_named(runtime: ManualRuntime) -> None:
    outside, one, two = Patient.start(), Asker.start(), Asker.start()
    error = outside.ask([one, two, one])
    assert isinstance(error, AskCycleError)
    assert error.chain == (str(two), str(one), str(two))
    assert outside.is_alive()


def test_whoever_closed_the_circle_may_go_on(runtime: ManualRuntime) -> None:
    one, two = Patient.start(), Patient.start()
    error = one.ask([two, one])
    assert isinstance(error, AskCycleError)
    assert one.ask([two]) == two.pid
    assert two.ask([one]) == one.pid


def test_a_question_in_the_mailbox_of_one_who_waits_for_another_closes_no_circle(runtime: ManualRuntime) -> None:
    class Silent(Actor):
        async def on_receive(self, message: Any) -> None:
            await asyncio.get_running_loop().create_future()

    silent, one, two = Silent.start(), Patient.start(), Patient.start()
    first, second = one.ask([silent], block=False), two.ask([one, silent], block=False)
    runtime.advance(5)
    assert isinstance(first.get(), pykka.Timeout)
    assert isinstance(second.get(), pykka.Timeout)


def test_who_keeps_the_question_waits_for_nobody(runtime: ManualRuntime) -> None:
    """Its answer may come from anywhere, so that to ask back is no circle."""

    class Keeper(Actor):
        async def on_receive(self, message: Any) -> Any:
            caller = self.reply_later()
            self.clock.call_after(1, lambda: caller.reply("from elsewhere"))
            return await message.call("and you?", timeout=2)

    class Curious(Actor):
        async def on_receive(self, message: Any) -> Any:
            return "well" if isinstance(message, str) else await message.call(self.actor_ref)

    asked = Curious.start().ask(Keeper.start(), block=False)
    runtime.advance(1)
    assert asked.get() == "from elsewhere"


def test_a_time_out_ends_the_wait(runtime: ManualRuntime) -> None:
    class Silent(Actor):
        async def on_receive(self, message: Any) -> Any:
            return await (message.call("x") if message else asyncio.get_running_loop().create_future())

    one, silent = Patient.start(), Silent.start()
    assert isinstance(one.ask([silent], block=False, timeout=None), pykka.Future)
    runtime.advance(5)
    assert one.process.waits_for is None


def test_a_circle_through_two_event_loops_is_found() -> None:
    threads = [in_thread("left"), in_thread("right")]
    try:
        one, two = (start(thread) for thread in threads)
        error = one.ask([two, one, two], timeout=WAIT)
        assert isinstance(error, AskCycleError)
    finally:
        for thread in threads:
            thread.stop()


def start(thread: in_thread) -> Any:
    async def go() -> Any:
        return Patient.start()

    return asyncio.run_coroutine_threadsafe(go(), thread.scheduler.loop).result(WAIT)


# Waits that block an event loop


class Counter(Actor):
    """It has a method and an attribute."""

    count = 0

    def on_receive(self, message: object) -> object:
        return asyncio.Event().wait() if message == "wait" else message

    def add(self, number: int) -> int:
        self.count += number
        return self.count


@pytest.fixture
def elsewhere() -> Iterator[Any]:
    """Return the ref of an actor whose event loop runs in another thread."""
    thread = in_thread("elsewhere")
    ref = asyncio.run_coroutine_threadsafe(started(), thread.scheduler.loop).result(WAIT)
    yield ref
    thread.stop()


@pytest.fixture
def busy(elsewhere: Any) -> Any:
    """Return the ref of such an actor that waits in a handler, so that no answer is faster than the wait for it."""
    elsewhere.send("wait")
    return elsewhere


async def started() -> Any:
    return Counter.start()


BLOCKING: dict[str, Callable[[Any], object]] = {
    "ask()": lambda ref: ref.ask(1),
    "stop()": lambda ref: ref.stop(),
    "get()": lambda ref: ref.ask(1, block=False).get(),
    "a method of a proxy": lambda ref: ref.proxy().add(1).get(),
    "an attribute of a proxy": lambda ref: ref.proxy().count.get(),
    "an assignment by a proxy": lambda ref: setattr(ref.proxy(), "count", 1),
    "get_all()": lambda ref: pykka.get_all([ref.proxy().add(1)]),
    "map()": lambda ref: ref.proxy().add(1).map(str).get(),
    "down()": lambda ref: ref.down().get(),
    "actor_stopped.wait()": lambda ref: ref.actor_stopped.wait(1.0),
    "stop_all()": lambda _: ActorRegistry.stop_all(),
    "task.get()": lambda ref: task_of(ref).get(),
}


def task_of(owner: Any) -> Task[Any]:
    forever: Any = asyncio.Event().wait
    return Task.start_link(owner, forever)


@pytest.mark.parametrize("block", BLOCKING.values(), ids=BLOCKING)
def test_a_wait_for_another_thread_does_not_block_the_event_loop_it_is_called_on(
    busy: Any, block: Callable[[Any], object]
) -> None:
    async def main() -> None:
        with pytest.raises(BlockingCallError, match=r"would block the event loop that it is called on; write `await"):
            block(busy)

    asyncio.run(main())


@pytest.mark.parametrize("block", BLOCKING.values(), ids=BLOCKING)
def test_nor_in_the_plain_handler_of_an_actor(busy: Any, block: Callable[[Any], object]) -> None:
    class Blocker(Actor):
        def on_receive(self, _message: object) -> None:
            block(busy)

    async def main() -> None:
        with pytest.raises(BlockingCallError, match="would block the event loop"):
            await Blocker.start().call(1)

    asyncio.run(main())


def test_nothing_was_sent_by_an_ask_that_would_block(elsewhere: Any) -> None:
    async def main() -> None:
        with pytest.raises(BlockingCallError) as raised:
            elsewhere.ask(1)
        assert str(raised.value) == (
            "ask() would block the event loop that it is called on; write `await ref.call(message)`, or "
            "`await ref.ask(message, block=False)`; an actor that has to block is a ThreadedActor"
        )

    asyncio.run(main())
    assert elsewhere.process.handled == 0


def test_what_has_its_answer_does_not_block(elsewhere: Any) -> None:
    async def main() -> None:
        future = elsewhere.ask(1, block=False)
        assert await future == 1
        assert future.get() == 1

    asyncio.run(main())


def test_a_thread_without_an_event_loop_may_wait(elsewhere: Any) -> None:
    async def main() -> object:
        return await asyncio.to_thread(elsewhere.ask, 1)

    assert asyncio.run(main()) == elsewhere.ask(1) == 1


# Waits for an event loop that cannot run meanwhile

AWAITING: dict[str, Callable[[Any], Awaitable[object]]] = {
    "call": lambda ref: ref.call(1),
    "ask": lambda ref: ref.ask(1, block=False),
    "stop": lambda ref: ref.stop(block=False),
    "down": lambda ref: ref.down(),
    "proxy": lambda ref: ref.proxy().add(1),
    "task": task_of,
}


@pytest.mark.parametrize("wait", AWAITING.values(), ids=AWAITING)
def test_a_wait_for_another_event_loop_of_the_same_thread_is_refused_with_its_name(
    wait: Callable[[Any], Awaitable[object]],
) -> None:
    async def other() -> None:
        with pytest.raises(BlockingCallError) as raised:
            await wait(ref)
        text = str(raised.value)
        assert f"can never be answered: the actor is on {loop}, which does not run while " in text
        assert str(asyncio.get_running_loop()) in text

    loop = asyncio.new_event_loop()
    ref = loop.run_until_complete(started())
    asyncio.run(other())
    assert ref.process.handled == 0
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def test_an_actor_of_the_same_thread_can_be_called_when_its_event_loop_runs_again() -> None:
    loop = asyncio.new_event_loop()
    ref = loop.run_until_complete(started())
    asyncio.run(asyncio.sleep(0))
    assert loop.run_until_complete(ref.call(2)) == 2
    loop.run_until_complete(ref.stop(block=False))
    loop.close()


# What else an actor waits for


class Owner(Actor):
    """Waits for what `wait(self)` returns, which may ask it back."""

    def __init__(self, wait: Any) -> None:
        self.wait = wait

    async def on_receive(self, message: Any) -> Any:
        if message != "go":
            return message
        try:
            return await self.wait(self)
        except (AskCycleError, StartError) as error:
            return error


def waited(runtime: ManualRuntime, wait: Callable[[Any], Any]) -> Any:
    answer = Owner.start(wait).ask("go", block=False, timeout=None)
    runtime.settle()
    assert runtime.clock.now() == 0
    return answer.get()


class AsksAtStart(Actor):
    def __init__(self, asked: ActorRef[Any]) -> None:
        self.asked = asked

    async def on_start(self) -> None:
        await self.asked.call("and you?")


class AsksAtEnd(Actor):
    def __init__(self, asked: ActorRef[Any], answers: list[Any]) -> None:
        self.asked, self.answers = asked, answers

    async def terminate(self, reason: Any) -> None:
        try:
            await self.asked.call("and you?")
        except AskCycleError as error:
            self.answers.append(error)


def test_the_start_of_an_actor_that_asks_back_is_a_circle(runtime: ManualRuntime) -> None:
    error = waited(runtime, lambda owner: AsksAtStart.start(owner.actor_ref).started())
    assert isinstance(error, StartError)
    assert isinstance(error.cause, AskCycleError)


def test_the_end_of_an_actor_that_asks_back_is_a_circle(runtime: ManualRuntime) -> None:
    answers: list[Any] = []

    async def wait(owner: Actor) -> object:
        ref = AsksAtEnd.start(owner.actor_ref, answers)
        ref.exit(SHUTDOWN)
        return await ref.down()

    assert waited(runtime, wait) == SHUTDOWN
    assert [type(error) for error in answers] == [AskCycleError]


def test_an_actor_may_wait_for_its_own_end_which_a_signal_brings(runtime: ManualRuntime) -> None:
    class Waiting(Actor):
        async def on_start(self) -> None:
            await self.actor_ref.down()

    ref = Waiting.start()
    runtime.settle()
    assert ref.is_alive()
    ref.exit(SHUTDOWN)
    runtime.settle()
    assert ref.exit_reason == SHUTDOWN


def test_a_task_that_is_not_awaited_closes_no_circle(runtime: ManualRuntime) -> None:
    answers: list[Any] = []

    async def ask(ref: ActorRef[Any]) -> None:
        answers.append(await ref.call("and you?"))

    async def wait(owner: Actor) -> str:
        Task.start_link(owner, ask, owner.actor_ref)
        return "done"

    assert waited(runtime, wait) == "done"
    assert answers == ["and you?"]


def test_a_task_that_asks_another_actor_closes_no_circle(runtime: ManualRuntime) -> None:
    other = Owner.start(None)
    assert waited(runtime, lambda owner: Task.start_link(owner, other.call, "well")) == "well"


def test_the_thread_of_a_task_that_asks_back_is_in_the_circle(background: in_thread) -> None:
    ref = Owner.start(lambda owner: Task.start_link(owner, asks_in_thread, owner.actor_ref))
    assert isinstance(ref.ask("go", timeout=WAIT), AskCycleError)


def asks_in_thread(ref: ActorRef[Any]) -> Any:
    try:
        return ref.ask("and you?", timeout=WAIT)
    except AskCycleError as error:
        return error


def test_a_thread_that_waits_for_its_task_is_in_the_circle(background: in_thread) -> None:
    class Blocking(ThreadedActor):
        def on_receive(self, _message: Any) -> Any:
            return Task.start_link(self, asks, self.actor_ref).get(timeout=WAIT)

    async def asks(ref: ActorRef[Any]) -> Any:
        try:
            return await ref.call("and you?", timeout=WAIT)
        except AskCycleError as error:
            return error

    assert isinstance(Blocking.start().ask("go", timeout=WAIT), AskCycleError)


def test_a_long_line_is_no_circle(runtime: ManualRuntime) -> None:
    refs = [Asker.start() for _ in range(10_000)]
    asked = refs[0].ask(tuple(refs[1:]), block=False)
    runtime.settle()
    assert asked.get() == refs[-1].pid
