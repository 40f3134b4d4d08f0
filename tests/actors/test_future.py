"""The answer to an ask: got, awaited, derived."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import BlockingCallError, Timeout
from actors.exits import KILLED, Refuse
from actors.future import Future, run_on
from actors.ref import ActorRef
from actors.testing import WAIT, ManualRuntime

if TYPE_CHECKING:
    from actors.caller import From
    from actors.runtime.scheduler import in_thread

ERROR = ValueError("boom")


def answered(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set(value)
    return future


def failed(error: BaseException = ERROR) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def set_later(runtime: ManualRuntime, future: Future[Any], value: Any) -> None:
    """Answer when whoever is about to wait does wait: two rounds of the loop from now, and one more to be sure."""
    loop = runtime._scheduler.loop
    loop.call_soon(loop.call_soon, loop.call_soon, future.set, value)


# Set and get


@pytest.mark.parametrize("value", [1, None, "x", ERROR], ids=repr)
def test_what_is_set_is_got_again_and_again(value: Any) -> None:
    future = answered(value)
    assert (future.get(), future.get(timeout=0), future.result()) == (value, value, value)
    assert (future.done, future.exception) == (True, None)


def test_an_exception_is_raised_by_whoever_gets_it() -> None:
    future = failed()
    for get in (future.get, future.result):
        with pytest.raises(ValueError, match="boom") as caught:
            get()
        assert caught.value is ERROR
    assert (future.done, future.exception) == (True, ERROR)


def test_set_exception_takes_an_instance() -> None:
    assert failed(ERROR).exception is ERROR


def test_set_exception_takes_pykkas_triple() -> None:
    future: Future[Any] = Future()
    future.set_exception((ValueError, ERROR, None))
    assert future.exception is ERROR


def test_set_exception_takes_the_one_being_handled() -> None:
    future: Future[Any] = Future()
    try:
        raise ERROR
    except ValueError:
        future.set_exception()
    assert future.exception is ERROR


def test_set_exception_takes_a_class() -> None:
    future: Future[Any] = Future()
    future.set_exception((KeyError, None, None))
    assert isinstance(future.exception, KeyError)


def test_set_exception_without_an_exception_is_still_one() -> None:
    future: Future[Any] = Future()
    future.set_exception()
    assert isinstance(future.exception, RuntimeError)


ANSWERS = pytest.mark.parametrize(
    "answer", [lambda future: future.set(2), lambda future: future.set_exception(ERROR)], ids=["set", "set_exception"]
)


@ANSWERS
@pytest.mark.parametrize(
    "make", [lambda: answered(1), failed, lambda: answered(1).map(str)], ids=["value", "error", "hook"]
)
def test_there_is_one_answer(make: Callable[[], Future[Any]], answer: Callable[[Future[Any]], None]) -> None:
    with pytest.raises(RuntimeError, match="already answered"):
        answer(make())


def test_there_is_no_result_before_the_answer() -> None:
    future: Future[Any] = Future()
    assert (future.done, future.exception) == (False, None)
    with pytest.raises(RuntimeError, match="no answer yet"):
        future.result()


def test_repr_tells_whether_there_is_an_answer() -> None:
    assert (repr(Future()), repr(answered(1))) == ("<Future pending>", "<Future done>")


# Waiting in a thread


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_get_gives_up_after_its_time_out(timeout: float) -> None:
    with pytest.raises(pykka.Timeout, match=f"no answer in {timeout} seconds"):
        Future[Any]().get(timeout=timeout)


def test_get_has_the_time_out_it_was_made_with_or_given() -> None:
    future: Future[Any] = Future(timeout=0)
    with pytest.raises(Timeout):
        future.get()
    other: Future[Any] = Future()
    other.expire(0)
    with pytest.raises(Timeout):
        other.get()


def test_every_waiting_thread_gets_the_answer() -> None:
    future: Future[str] = Future()
    got: list[str] = []
    about_to_wait = threading.Barrier(4)

    def wait() -> None:
        about_to_wait.wait(WAIT)
        got.append(future.get(timeout=WAIT))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    about_to_wait.wait(WAIT)
    future.set("answer")
    for thread in threads:
        thread.join(WAIT)
    assert got == ["answer"] * 3


def test_get_on_the_thread_that_must_answer_raises(background: in_thread) -> None:
    scheduler, raised, done = background.scheduler, list[BaseException](), threading.Event()

    def get() -> None:
        try:
            Future[Any](scheduler).get()
        except BlockingCallError as error:
            raised.append(error)
        done.set()

    scheduler.post(get)
    assert done.wait(WAIT)
    assert [type(error) for error in raised] == [BlockingCallError]


# Callbacks


@ANSWERS
def test_callbacks_are_called_once_in_their_order(answer: Callable[[Future[Any]], None]) -> None:
    future: Future[Any] = Future()
    calls: list[tuple[str, Future[Any]]] = []

    def call(name: str, done: Future[Any]) -> None:
        calls.append((name, done))

    for name in "abc":
        future.add_done_callback(partial(call, name))
    assert calls == []
    answer(future)
    assert calls == [("a", future), ("b", future), ("c", future)]


def test_a_callback_that_comes_late_is_called_at_once() -> None:
    calls: list[Any] = []
    answered(1).add_done_callback(lambda future: calls.append(future.result()))
    assert calls == [1]


def test_a_callback_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    future: Future[Any] = Future()
    calls: list[Any] = []

    def bad(_: Future[Any]) -> None:
        raise ERROR

    future.add_done_callback(bad)
    future.add_done_callback(lambda _: calls.append("good"))
    future.set(1)
    assert calls == ["good"]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [ERROR]


# Derived futures


def add(one: Any, other: Any) -> Any:
    return one + other


DERIVED = pytest.mark.parametrize(
    ("derive", "value"),
    [
        pytest.param(lambda numbers: numbers.map(sum), 6, id="map"),
        pytest.param(lambda numbers: numbers.filter(lambda n: n % 2), [1, 3], id="filter"),
        pytest.param(lambda numbers: numbers.reduce(add), 6, id="reduce"),
        pytest.param(lambda numbers: numbers.reduce(add, 10), 16, id="reduce with a start"),
        pytest.param(lambda numbers: numbers.join(answered("x"), answered("y")), [[1, 2, 3], "x", "y"], id="join"),
        pytest.param(lambda numbers: numbers.map(sum).map(str), "6", id="map twice"),
        pytest.param(lambda numbers: numbers.map(len).join(numbers.map(max)), [3, 3], id="join of maps"),
    ],
)


@DERIVED
def test_derived_futures_are_pykkas(derive: Callable[[Any], Any], value: Any) -> None:
    numbers: Future[Any] = Future()
    derived = derive(numbers)
    numbers.set([1, 2, 3])
    assert derived.get() == value
    assert isinstance(derived, Future)


@DERIVED
def test_derived_futures_can_be_awaited(runtime: ManualRuntime, derive: Callable[[Any], Any], value: Any) -> None:
    numbers: Future[Any] = Future()
    derived = derive(numbers)
    set_later(runtime, numbers, [1, 2, 3])
    assert runtime.run(derived) == value


def test_a_derived_future_computes_once() -> None:
    calls: list[int] = []
    derived = answered(1).map(calls.append)
    assert (derived.get(), derived.get()) == (None, None)
    assert calls == [1]


def test_a_derived_future_hands_on_the_exception() -> None:
    with pytest.raises(ValueError, match="boom"):
        failed().map(str).get()


def test_a_derived_future_waits_no_longer_than_told() -> None:
    with pytest.raises(pykka.Timeout):
        Future[Any]().map(str).get(timeout=0)


def test_pykkas_get_all_takes_them() -> None:
    assert list(pykka.get_all([answered(1), answered(2)], timeout=WAIT)) == [1, 2]


# Awaiting


def test_an_answer_that_is_there_is_awaited_without_a_pause() -> None:
    async def main() -> Any:
        return await answered("x")

    with pytest.raises(StopIteration) as stopped:
        main().send(None)
    assert stopped.value.value == "x"


def test_yield_from_works_as_await(runtime: ManualRuntime) -> None:
    assert list(answered("x").__await__()) == []


def test_an_exception_is_raised_where_it_is_awaited() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="boom"):
            await failed()

    asyncio.run(main())


def test_an_answer_from_another_thread_wakes_the_loop() -> None:
    async def main() -> Any:
        future: Future[str] = Future()
        thread = threading.Thread(target=future.set, args=("from afar",))
        asyncio.get_running_loop().call_soon(thread.start)
        async with asyncio.timeout(WAIT):
            answer = await future
        thread.join(WAIT)
        return answer

    assert asyncio.run(main()) == "from afar"


def test_many_may_await_one_future(runtime: ManualRuntime) -> None:
    future: Future[str] = Future()

    async def main() -> list[str]:
        return list(await asyncio.gather(wait(), wait(), wait()))

    async def wait() -> str:
        return await future

    set_later(runtime, future, "x")
    assert runtime.run(main()) == ["x"] * 3


def test_whoever_awaits_too_long_gets_a_time_out() -> None:
    async def main() -> None:
        with pytest.raises(pykka.Timeout, match="no answer in 0 seconds"):
            await Future[Any](timeout=0)

    asyncio.run(main())


def test_a_cancelled_wait_does_not_disturb_the_others(runtime: ManualRuntime) -> None:
    future: Future[str] = Future()

    async def wait() -> str:
        return await future

    async def main() -> str:
        loop = asyncio.get_running_loop()
        first, second = loop.create_task(wait()), loop.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        future.set("x")
        assert first.cancelled()
        return await second

    assert runtime.run(main()) == "x"


def test_a_wait_that_is_over_leaves_no_timer(runtime: ManualRuntime) -> None:
    future: Future[str] = Future(runtime._scheduler, timeout=60)

    async def wait() -> str:
        return await future

    set_later(runtime, future, "x")
    assert runtime.run(wait()) == "x"
    assert runtime.clock.pending() == 0


def test_a_wait_may_be_infinite(background: in_thread) -> None:
    ref = Actor.start()
    assert ref.ask(pykka.messages.ProxyGetAttr(attr_path=("pid",)), timeout=math.inf) == ref.pid

    async def elsewhere() -> object:
        return await ref.call(pykka.messages.ProxyGetAttr(attr_path=("pid",)), timeout=math.inf)

    assert asyncio.run(elsewhere()) == ref.pid


@pytest.mark.parametrize("timeout", ["5", math.nan, True], ids=str)
def test_what_is_no_time_out_is_named(timeout: Any, background: in_thread) -> None:
    future: Future[str] = Future(background.scheduler, timeout=timeout)

    async def wait() -> str:
        return await future

    with pytest.raises(TypeError, match=f"^timeout must be seconds or None, got {timeout!r}$"):
        future.get()
    with pytest.raises(TypeError, match=f"^timeout must be seconds or None, got {timeout!r}$"):
        asyncio.run(wait())


def test_a_deadline_that_has_passed_is_a_time_out(background: in_thread) -> None:
    with pytest.raises(pykka.Timeout):
        Future(background.scheduler).get(timeout=-1)


# Those that stop waiting


class Keeper(Actor):
    """Keeps every request, and never replies."""

    def __init__(self) -> None:
        self.kept: list[From] = []

    def on_receive(self, _message: Any) -> None:
        self.kept.append(self.reply_later())


ROUNDS = 100

Wait = Callable[[ActorRef[Keeper]], Awaitable[object]]

WAITS: dict[str, Wait] = {
    "await ref.down()": lambda ref: ref.down(),
    "await ref.call()": lambda ref: ref.call("keep", timeout=None),
    "await ref.ask(block=False)": lambda ref: ref.ask("keep", block=False),
    "await a derived future": lambda ref: ref.down().map(str),
}

# The tables of an actor that knows who waits.
TABLES: list[Callable[[ActorRef[Keeper]], object]] = [
    lambda ref: ref.process.watchers or {},
    lambda ref: ref.process.deferred or {},
]


@pytest.mark.parametrize("wait", WAITS.values(), ids=list(WAITS))
def test_who_is_cancelled_while_it_waits_is_forgotten(runtime: ManualRuntime, wait: Wait) -> None:
    ref = Keeper.start()

    async def waits() -> object:
        return await wait(ref)

    for _ in range(ROUNDS):
        task = runtime._scheduler.loop.create_task(waits())
        runtime.settle()
        assert any(table(ref) for table in TABLES)
        task.cancel()
        runtime.settle()
    assert [table(ref) for table in TABLES] == [{}, {}]
    assert not any(caller.is_waiting for caller in kept_by(ref))


def kept_by(ref: ActorRef[Keeper]) -> list[From]:
    actor = ref.process.actor
    assert isinstance(actor, Keeper)
    return actor.kept


@pytest.mark.parametrize(
    "wait",
    [
        pytest.param(lambda ref: ref.down().get(timeout=0), id="down"),
        pytest.param(lambda ref: ref.ask("keep", timeout=0), id="ask"),
        pytest.param(lambda ref: ref.ask("keep", block=False).map(str).get(timeout=0), id="derived"),
    ],
)
def test_a_thread_whose_time_is_over_is_forgotten(background: in_thread, wait: Callable[[Any], object]) -> None:
    ref = Keeper.start()
    for _ in range(ROUNDS):
        with pytest.raises(pykka.Timeout):
            wait(ref)
    assert run_on(background.scheduler, lambda: [table(ref) for table in TABLES]).get(timeout=WAIT) == [{}, {}]


def test_a_thread_that_waits_for_an_end_in_vain_is_forgotten(background: in_thread) -> None:
    ref = Keeper.start()
    for _ in range(ROUNDS):
        assert not ref.actor_stopped.wait(0)
    assert run_on(background.scheduler, lambda: ref.process.watchers).get(timeout=WAIT) == {}


def test_who_waits_again_is_answered(runtime: ManualRuntime) -> None:
    ref = Keeper.start()
    down, reply = ref.down(), ref.ask("keep", block=False)
    for future in (down, reply):
        future.expire(0)
        with pytest.raises(pykka.Timeout):
            runtime.run(future)
    [caller] = kept_by(ref)
    assert caller.is_waiting
    caller.reply("late")
    ref.kill()
    assert (reply.get(), down.get()) == ("late", KILLED)


def test_a_callback_is_called_though_the_future_is_not_kept(runtime: ManualRuntime) -> None:
    ref, answers = Keeper.start(), list[object]()
    ref.down().add_done_callback(lambda future: answers.append(future.result()))
    ref.ask("keep", block=False).add_done_callback(lambda future: answers.append(future.result()))
    runtime.settle()
    gc.collect()
    kept_by(ref)[0].reply("reply")
    ref.kill()
    runtime.settle()
    assert answers == ["reply", KILLED]


def test_a_task_that_nothing_refers_to_is_answered(runtime: ManualRuntime) -> None:
    """asyncio keeps a task only weakly, so what it waits for must keep it."""
    ref, answers = Keeper.start(), list[object]()

    async def wait(future: Future[Any]) -> None:
        answers.append(await future)

    runtime._scheduler.loop.create_task(wait(ref.down()))
    runtime._scheduler.loop.create_task(wait(ref.ask("keep", block=False)))
    runtime.settle()
    gc.collect()
    kept_by(ref)[0].reply("reply")
    runtime.settle()
    ref.kill()
    runtime.settle()
    assert answers == ["reply", KILLED]


def test_those_that_wait_for_one_future_do_not_pile_up(runtime: ManualRuntime) -> None:
    future: Future[object] = Future(timeout=0)
    for _ in range(ROUNDS):
        with pytest.raises(pykka.Timeout):
            runtime.run(future)
    assert not future._waiters
    assert not future._callbacks


# Answers that are passed on


def test_an_answer_is_passed_on_by_any_number_of_actors(runtime: ManualRuntime) -> None:
    class Relay(Actor):
        def on_receive(self, message: int) -> int | None:
            if not message:
                return 0
            caller, asked = self.reply_later(), Relay.start().ask(message - 1, block=False)
            asked.add_done_callback(lambda reply: caller.reply(reply.result() + 1))
            return None

    assert Relay.start().ask(10_000) == 10_000


def test_a_refusal_is_passed_on_by_any_number_of_actors(runtime: ManualRuntime) -> None:
    class Relay(Actor):
        def on_receive(self, message: int) -> Refuse | None:
            if not message:
                return Refuse(ERROR)
            caller, asked = self.reply_later(), Relay.start().ask(message - 1, block=False)
            asked.add_done_callback(lambda reply: caller.refuse(reply.exception or KeyError()))
            return None

    with pytest.raises(ValueError, match="boom"):
        Relay.start().ask(10_000)


def test_callbacks_of_what_a_callback_answers_come_after_it() -> None:
    futures: list[Future[int]] = [Future() for _ in range(3)]
    calls: list[str] = []

    def pass_on(_: object) -> None:
        calls.append("begins")
        for future in futures[1:]:
            future.set(1)
        calls.append("ends")

    futures[0].add_done_callback(pass_on)
    futures[0].add_done_callback(lambda _: calls.append("its second"))
    futures[1].add_done_callback(lambda _: calls.append("a"))
    futures[2].add_done_callback(lambda _: calls.append("b"))
    futures[0].set(0)
    assert calls == ["begins", "ends", "its second", "a", "b"]


def test_futures_may_be_derived_from_each_other_any_number_of_times(runtime: ManualRuntime) -> None:
    first: Future[Any] = Future()
    got = awaited = first
    for _ in range(10_000):
        got, awaited = got.map(lambda n: n + 1), awaited.map(lambda n: n + 1)
    set_later(runtime, first, 0)
    assert (runtime.run(awaited), got.get()) == (10_000, 10_000)


# Exceptions, and what they keep


RAISES: dict[str, Callable[[Future[Any]], object]] = {
    "result": lambda future: future.result(),
    "get": lambda future: future.get(),
    "await": lambda future: asyncio.run(awaits(future)),
    "derived": lambda future: future.map(str).get(),
}


async def awaits(future: Future[Any]) -> object:
    return await future


@pytest.mark.parametrize("read", RAISES.values(), ids=list(RAISES))
def test_an_exception_that_is_raised_again_and_again_has_one_traceback(read: Callable[[Any], object]) -> None:
    future, lengths = failed(KeyError("again")), set[int]()
    for _ in range(3):
        with pytest.raises(KeyError) as caught:
            read(future)
        lengths.add(len(list(traceback.walk_tb(caught.value.__traceback__))))
    assert len(lengths) == 1
