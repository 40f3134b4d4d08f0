"""The answer to an ask: got, awaited, derived."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from actors.actor import Actor
from actors.exceptions import BlockingCallError, Timeout
from actors.future import Future
from actors.testing import WAIT, ManualRuntime

if TYPE_CHECKING:
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
