"""What pykka's documentation shows works with our actors; where OTP's rules win, the test says how.

The tests run like a pykka program: plain code in the main thread, the actors on a loop in another one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import types
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any
from unittest import mock

import pykka
import pykka.debug
import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError, BlockingCallError, StartError, Timeout
from actors.exits import NORMAL, Crash
from actors.future import Future
from actors.registry import ActorRegistry
from actors.testing import WAIT

if TYPE_CHECKING:
    from actors.runtime.scheduler import in_thread

pytestmark = pytest.mark.usefixtures("background")


class Archive(Actor):
    """Keeps what it is told, answers what it is asked, and writes down which hooks pykka's life cycle has called."""

    def __init__(self, greeting: str = "hello", hooks: list[str] | None = None) -> None:
        super().__init__()
        self.greeting = greeting
        self.kept: list[Any] = []
        self.hooks = [] if hooks is None else hooks

    def on_start(self) -> None:
        self.hooks.append("on_start")

    def on_receive(self, message: Any) -> Any:
        match message:
            case BaseException():
                raise message
            case "greet":
                return self.greeting
            case "twice":
                self.actor_ref.tell("last words")
                self.stop()
                self.stop()
            case _:
                self.kept.append(message)
        return None

    def on_stop(self) -> None:
        self.hooks.append("on_stop")

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.hooks.append(f"on_failure {exception_value!r}")


# Actors and messages


def test_an_actor_gets_the_arguments_of_start() -> None:
    ref = Archive.start(greeting="good morning")
    assert ref.ask("greet") == "good morning"
    assert ref.stop() is True


def test_tell_returns_nothing_and_ask_what_on_receive_returned() -> None:
    ref = Archive.start()
    assert ref.tell({"no": "Norway"}) is None  # type: ignore[func-returns-value]  # what pykka's page says
    assert ref.ask({"se": "Sweden"}) is None
    assert ref.ask("greet", timeout=WAIT) == "hello"
    future = ref.ask("greet", block=False)
    assert future.get(timeout=WAIT) == "hello"
    assert ref.proxy().kept.get() == [{"no": "Norway"}, {"se": "Sweden"}]
    ref.stop()


def test_an_ask_that_is_not_answered_in_time_raises_timeout() -> None:
    released = threading.Event()

    class Slow(Actor):
        def on_receive(self, message: Any) -> str:
            released.wait(WAIT)
            return "late"

    ref = Slow.start()
    with pytest.raises(pykka.Timeout):
        ref.ask("question", timeout=0)
    future = ref.ask("question", block=False)
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)
    released.set()
    assert future.get(timeout=WAIT) == "late"
    ref.stop()


def test_stop_tells_whether_there_was_an_actor_to_stop() -> None:
    ref = Archive.start()
    assert (ref.stop(), ref.stop()) == (True, False)
    assert not ref.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        ref.tell("too late")
    assert isinstance(ref.ask("too late", block=False).exception, ActorDeadError)


def test_actor_stopped_can_be_waited_for() -> None:
    ref = Archive.start()
    assert (ref.actor_stopped.is_set(), ref.actor_stopped.wait(0)) == (False, False)
    ref.tell(ValueError("oops"))
    assert ref.actor_stopped.wait(WAIT)
    assert ref.actor_stopped.is_set()


def test_an_actor_that_stops_itself_handles_what_it_was_sent_before() -> None:
    hooks: list[str] = []
    ref = Archive.start(hooks=hooks)
    actor = ref._actor_weakref()
    ref.ask("twice")
    ref.down().get(timeout=WAIT)
    assert ref.exit_reason == NORMAL
    assert actor is not None
    assert (actor.kept, hooks) == (["last words"], ["on_start", "on_stop"])


def test_on_start_is_done_when_start_returns() -> None:
    hooks: list[str] = []
    ref = Archive.start(hooks=hooks)
    assert hooks == ["on_start"]
    ref.stop()


def test_who_asks_gets_the_exception_and_unlike_in_pykka_the_actor_ends() -> None:
    hooks: list[str] = []
    error = ValueError("oops")
    ref = Archive.start(hooks=hooks)
    with pytest.raises(ValueError, match="oops"):
        ref.ask(error)
    assert (ref.is_alive(), ref.exit_reason) == (False, Crash(error))
    assert hooks == ["on_start", "on_failure ValueError('oops')"]


def test_an_exception_in_a_told_message_ends_the_actor_as_in_pykka() -> None:
    hooks: list[str] = []
    ref = Archive.start(hooks=hooks)
    down = ref.down()
    ref.tell(ValueError("oops"))
    assert isinstance(down.get(timeout=WAIT), Crash)
    assert hooks == ["on_start", "on_failure ValueError('oops')"]


@pytest.mark.parametrize("error", [BaseException("mine"), GeneratorExit()], ids=repr)
def test_unlike_in_pykka_a_base_exception_ends_its_own_actor_only(error: BaseException) -> None:
    bystander, ref = Archive.start(), Archive.start()
    with pytest.raises(pykka.ActorDeadError) as raised:
        ref.ask(error)
    assert raised.value.__cause__ is error
    assert not ref.is_alive()
    assert bystander.ask("greet") == "hello"
    bystander.stop()


def test_unlike_in_pykka_the_starter_gets_the_exception_of_on_start() -> None:
    class Stillborn(Actor):
        def on_start(self) -> None:
            raise RuntimeError("no disk")

    with pytest.raises(StartError, match="no disk") as caught:
        Stillborn.start()
    assert isinstance(caught.value.cause, RuntimeError)
    assert ActorRegistry.get_by_class(Stillborn) == []


# Futures


Derive = Callable[[Future[Any]], pykka.Future[Any]]


@pytest.mark.parametrize(
    ("derive", "answer", "expected"),
    [
        (lambda future: future.map(lambda n: n + 10), 30, 40),
        (lambda future: future.map(lambda d: d["foo"]), {"foo": "bar"}, "bar"),
        (lambda future: future.filter(lambda n: n > 10), range(5, 15), [11, 12, 13, 14]),
        (lambda future: future.reduce(lambda a, b: a + b), ["a", "b", "c"], "abc"),
        (lambda future: future.reduce(lambda a, b: a + b, 5), [1, 2, 3], 11),
        (lambda future: future.reduce(lambda a, b: a + b, 5), [], 5),
        (lambda future: future.join(future), "twin", ["twin", "twin"]),
        (lambda future: future.filter(bool).map(len), [0, 1, 2], 2),
    ],
    ids=["map", "map-dict", "filter", "reduce", "reduce-initial", "reduce-empty", "join", "chain"],
)
def test_a_future_derived_from_another_one(derive: Derive, answer: Any, expected: Any) -> None:
    future: Future[Any] = Future()
    derived = derive(future)
    with pytest.raises(Timeout):
        derived.get(timeout=0)
    future.set(answer)
    assert [derived.get(), derived.get(timeout=0)] == [expected, expected]
    assert future.get() == answer


@pytest.mark.parametrize(
    "derive",
    [
        lambda future: future.map(lambda n: n + 10),
        lambda future: future.filter(lambda n: n > 10),
        lambda future: future.reduce(lambda a, b: a + b),
    ],
    ids=["map", "filter", "reduce"],
)
def test_a_function_that_does_not_fit_the_answer_raises_from_get(derive: Derive) -> None:
    future: Future[Any] = Future()
    derived = derive(future)
    future.set(object())
    with pytest.raises(TypeError):
        derived.get()


def test_the_function_of_map_is_called_once() -> None:
    future, function = Future[int](), mock.Mock(side_effect=[10, ValueError])
    mapped = future.map(function)
    future.set(30)
    assert [mapped.get(), mapped.get()] == [10, 10]
    function.assert_called_once_with(30)


def test_get_all_waits_for_each() -> None:
    futures = [Future[int]() for _ in range(3)]
    for number, future in enumerate(futures[:2]):
        future.set(number)
    with pytest.raises(pykka.Timeout):
        pykka.get_all(futures, timeout=0)
    futures[2].set(2)
    assert pykka.get_all(futures) == pykka.get_all(futures, timeout=0) == [0, 1, 2]


def test_a_future_is_answered_once() -> None:
    future: Future[str] = Future()
    future.set("first")
    with pytest.raises(RuntimeError, match="already answered"):
        future.set("second")
    assert future.get() == "first"


def test_set_exception_takes_the_one_that_is_being_handled() -> None:
    future: Future[str] = Future()
    try:
        int("seven")
    except ValueError:
        future.set_exception()
    with pytest.raises(ValueError, match="seven"):
        future.get()


def test_set_exception_takes_pykkas_triple_with_its_traceback() -> None:
    future: Future[str] = Future()
    error = ValueError("elsewhere")
    try:
        int("seven")
    except ValueError as other:
        trace = other.__traceback__
    future.set_exception((ValueError, error, trace))
    assert future.exception is error
    assert error.__traceback__ is trace


def test_an_answered_future_takes_no_get_hook() -> None:
    future: Future[int] = Future()
    future.set(123)
    with pytest.raises(RuntimeError, match="already answered"):
        future.set_get_hook(lambda _timeout: 456)
    assert future.get() == 123


def test_unlike_in_pykka_a_blocking_get_on_a_loop_raises_whoever_is_to_answer() -> None:
    async def main() -> None:
        future: Future[int] = Future()
        with pytest.raises(BlockingCallError, match=r"get\(\) would block.*await future.* a ThreadedActor$"):
            future.get()
        future.set(1)
        assert future.get() == 1

    asyncio.run(main())


def test_a_get_hook_makes_the_answer_when_it_is_asked_for() -> None:
    hook = mock.Mock(return_value=None)
    future: Future[Any] = Future()
    future.set_get_hook(hook)
    assert (future.get(timeout=3), future.get()) == (None, None)
    hook.assert_called_once_with(3)
    for answer in (future.set, future.set_exception):
        with pytest.raises(RuntimeError):
            answer(None)


def test_a_future_may_be_the_answer_of_a_future() -> None:
    inner, outer = Future[str](), Future[Future[str]]()
    inner.set("foo")
    outer.set(inner)
    assert outer.get().get() == "foo"


def test_a_future_answers_to_await_and_to_yield_from() -> None:
    future: Future[int] = Future()
    future.set(1)

    @types.coroutine
    def old_style() -> Generator[Any, None, int]:
        return (yield from future)

    async def main() -> list[int]:
        return [await future, await old_style()]

    assert asyncio.run(main()) == [1, 1]


# The registry


class Other(Archive):
    """A subclass, to be found as one."""


def test_the_registry_finds_actors() -> None:
    first, second = Archive.start(), Other.start()
    assert ActorRegistry.get_all()[-2:] == [first, second]
    assert ActorRegistry.get_by_class(Archive) == [first, second]
    assert ActorRegistry.get_by_class_name("Other") == [second]
    assert ActorRegistry.get_by_urn(first.actor_urn) == first
    assert ActorRegistry.get_by_urn("urn:foo:bar") is None
    first.stop()
    assert ActorRegistry.get_by_class(Archive) == [second]
    second.stop()


@pytest.mark.parametrize(
    ("target", "reached"),
    [(None, (True, True)), (Other, (False, True)), (Archive, (True, True)), ("Archive", (True, False))],
    ids=["all", "class", "superclass", "class name"],
)
def test_a_broadcast_reaches_its_targets(target: Any, reached: tuple[bool, bool]) -> None:
    refs = Archive.start(), Other.start()
    ActorRegistry.broadcast({"command": "foo"}, target_class=target)
    assert tuple({"command": "foo"} in ref.proxy().kept.get() for ref in refs) == reached
    ActorRegistry.stop_all()


def test_stop_all_stops_the_last_started_first() -> None:
    stopped: list[str] = []

    class Named(Actor):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_stop(self) -> None:
            stopped.append(self.name)

    for name in ("first", "second", "third"):
        Named.start(name)
    assert ActorRegistry.stop_all(block=True, timeout=WAIT) == [True, True, True]
    assert stopped == ["third", "second", "first"]


def test_pykkas_own_registry_keeps_to_pykkas_own_actors() -> None:
    class Threaded(pykka.ThreadingActor):
        pass

    ours, theirs = Archive.start(), Threaded.start()
    assert pykka.ActorRegistry.get_all() == [theirs]
    assert theirs.actor_urn not in [ref.actor_urn for ref in ActorRegistry.get_all()]
    assert [ours.stop(), theirs.stop()] == [True, True]


# The testing guide


class Producer(Actor):
    """What pykka's guide calls the actor under test: it hands what it makes to a consumer that the test replaces."""

    _stock = 3

    def __init__(self, consumer: Any) -> None:
        super().__init__()
        self.consumer = consumer

    @property
    def stock(self) -> int:
        return self._stock

    def produce(self) -> None:
        self.consumer.consume({"item": 1, "new": True})


@pytest.fixture
def consumer() -> mock.Mock:
    return mock.Mock()


@pytest.fixture
def producer(consumer: mock.Mock) -> Iterator[pykka.ActorProxy[Any]]:
    proxy = Producer.start(consumer).proxy()
    yield proxy
    proxy.stop().get()
    assert proxy.actor_ref.stop(timeout=WAIT) in {True, False}


def test_a_mock_stands_for_the_actor_on_the_other_side(consumer: mock.Mock, producer: pykka.ActorProxy[Any]) -> None:
    producer.produce().get()
    consumer.consume.assert_called_once_with({"item": 1, "new": True})


def test_a_method_of_an_actor_can_be_mocked(consumer: mock.Mock, producer: pykka.ActorProxy[Any]) -> None:
    with mock.patch.object(Producer, "produce", new=mock.MagicMock(return_value="mocked")) as produce:
        assert producer.produce().get() == "mocked"
    produce.assert_called_once_with()
    consumer.consume.assert_not_called()


def test_a_property_is_mocked_by_what_cannot_be_called(producer: pykka.ActorProxy[Any]) -> None:
    with mock.patch.object(Producer, "stock", new=mock.NonCallableMock()) as stock:
        stock.__get__ = mock.Mock(return_value=99)
        assert producer.actor_ref.proxy().stock.get() == 99
    with mock.patch.object(Producer, "stock", new=mock.Mock()):
        assert isinstance(producer.actor_ref.proxy().stock, pykka.CallableProxy)


# Logging and debugging


def test_an_unexpected_message_is_a_warning_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ref = Producer.start(None)
    assert ref.ask({"unhandled": "message"}) is None
    ref.stop()
    assert [(record.name, record.levelname) for record in caplog.records] == [("ashtree.actors", "WARNING")]
    assert "got an unexpected message: {'unhandled': 'message'}" in caplog.text


def test_the_tracebacks_of_pykka_debug_show_the_thread_of_the_actors(
    background: in_thread, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL, logger="pykka"):
        pykka.debug.log_thread_tracebacks()
    assert any(background.thread.name in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("end", ["on_stop", "on_failure"])
def test_unlike_in_pykka_an_actor_is_alive_and_registered_until_its_hooks_have_run(end: str) -> None:
    seen: list[Any] = []

    class Ending(Actor):
        def on_receive(self, message: Any) -> None:
            raise ValueError("oops")

        def on_stop(self) -> None:
            seen.append(
                ("on_stop", self.actor_ref.is_alive(), ActorRegistry.get_by_urn(self.actor_urn) == self.actor_ref)
            )

        def on_failure(self, *_exc: Any) -> None:
            seen.append(("on_failure", self.actor_ref.is_alive(), self.actor_ref in ActorRegistry.get_all()))

    ref = Ending.start()
    if end == "on_stop":
        ref.stop()
    else:
        with pytest.raises(ValueError, match="oops"):
            ref.ask("crash")
    assert seen == [(end, True, True)]
    assert not ref.is_alive()
    assert ref not in ActorRegistry.get_all()


def test_unlike_in_pykka_entries_of_the_registry_are_not_made_by_hand() -> None:
    assert not hasattr(ActorRegistry, "register")
    assert not hasattr(ActorRegistry, "unregister")


def test_unlike_in_pykka_the_error_says_that_an_actor_is_dead() -> None:
    ref = Actor.start()
    ref.stop()
    for ask in (ref.tell, ref.ask):
        with pytest.raises(ActorDeadError) as raised:
            ask("message")
        assert str(raised.value) == f"{ref} is dead"
