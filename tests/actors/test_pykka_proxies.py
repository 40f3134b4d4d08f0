"""Proxies of our actors: what pykka's documentation shows of them, and where OTP's rules win."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, assert_type, cast

import pykka
import pytest
from pykka.messages import ProxyCall, ProxyGetAttr, ProxySetAttr
from pykka.typing import ActorMemberMixin, proxy_field, proxy_method

from actors.actor import Actor
from actors.exceptions import ActorDeadError, AskCycleError, BlockingCallError
from actors.exits import Crash, Refuse
from actors.future import Future
from actors.registry import ActorRegistry
from actors.testing import WAIT

pytestmark = pytest.mark.usefixtures("background")


# Proxies


class Counter(Actor):
    """An actor that is used through its proxy."""

    step = 1
    _private = "secret"

    def __init__(self) -> None:
        super().__init__()
        self.total: int | None = None
        self.reads = 0
        self._later = self.actor_ref.proxy()

    def add(self, a: int, b: int | None = None) -> int:
        self.total = a + ((self.total or 0) if b is None else b)
        return self.total

    def fail(self) -> None:
        raise ValueError("boom")

    def refuse(self) -> Refuse:
        return Refuse(ValueError("not today"))

    def add_in_future(self, a: int) -> pykka.Future[int]:
        future: pykka.Future[int] = self._later.add(a)
        return future

    async def add_slowly(self, a: int) -> int:
        await asyncio.sleep(0)
        return self.add(a)

    @property
    def reading(self) -> int:
        self.reads += 1
        return self.reads

    @property
    def limit(self) -> int:
        return self._limit

    @limit.setter
    def limit(self, value: int) -> None:
        if value < 0:
            raise ValueError(f"a limit is 0 or more, got {value}")
        self._limit = value


@pytest.fixture
def proxy() -> Iterator[pykka.ActorProxy[Any]]:
    proxy = Counter.start().proxy()
    yield proxy
    proxy.actor_ref.stop()


def test_methods_and_attributes_of_a_proxy_are_futures(proxy: pykka.ActorProxy[Any]) -> None:
    future = proxy.add(1, 3)
    assert isinstance(future, Future)
    assert future.get() == 4
    assert proxy.total.get() == 4


def test_calls_through_a_proxy_keep_their_order(proxy: pykka.ActorProxy[Any]) -> None:
    proxy.add(1, 3)
    proxy.add(5)
    proxy.add(b=1, a=2)
    assert proxy.total.get() == 3


def test_an_attribute_is_assigned_through_a_proxy(proxy: pykka.ActorProxy[Any]) -> None:
    proxy.total = 17
    proxy.limit = 9
    assert pykka.get_all([proxy.total, proxy.limit]) == [17, 9]


@pytest.mark.parametrize("name", ["_private", "__init__x", "missing"])
def test_a_proxy_has_no_private_and_no_unknown_attributes(proxy: pykka.ActorProxy[Any], name: str) -> None:
    with pytest.raises(AttributeError, match=f"<ActorProxy for Counter .* has no attribute '{name}'"):
        getattr(proxy, name)
    assert proxy.actor_ref.is_alive()


def test_a_proxy_reads_no_property_until_it_is_asked_to(proxy: pykka.ActorProxy[Any]) -> None:
    assert proxy.reads.get() == 0
    assert pykka.get_all([proxy.reading, proxy.reading]) == [1, 2]


def test_unlike_in_pykka_an_assignment_that_is_refused_by_raising_ends_the_actor(proxy: pykka.ActorProxy[Any]) -> None:
    with pytest.raises(ValueError, match="a limit is 0 or more, got -1"):
        proxy.limit = -1
    assert not proxy.actor_ref.is_alive()


def test_an_exception_in_a_method_comes_out_of_its_future(proxy: pykka.ActorProxy[Any]) -> None:
    future = proxy.fail()
    with pytest.raises(ValueError, match="boom"):
        future.get()
    assert not proxy.actor_ref.is_alive()
    with pytest.raises(ActorDeadError):
        proxy.add(1).get()
    with pytest.raises(ActorDeadError):
        proxy.actor_ref.proxy()


def test_a_method_that_answers_refuse_gives_the_exception_and_its_actor_lives(proxy: pykka.ActorProxy[Any]) -> None:
    with pytest.raises(ValueError, match="not today"):
        proxy.refuse().get()
    assert proxy.add(1, 2).get() == 3


def test_defer_calls_a_method_without_a_future(proxy: pykka.ActorProxy[Any]) -> None:
    assert isinstance(proxy.add, pykka.CallableProxy)
    proxy.add.defer(1, b=1)
    assert proxy.total.get() == 2


def test_an_exception_in_a_deferred_call_ends_the_actor() -> None:
    ref = Counter.start()
    down = ref.down()
    ref.proxy().fail.defer()
    assert isinstance(down.get(timeout=WAIT), Crash)


def test_an_async_method_is_called_like_any_other(proxy: pykka.ActorProxy[Any]) -> None:
    assert [proxy.add_slowly(2).get(), proxy.add_slowly(3).get()] == [2, 5]


def test_an_actor_has_a_proxy_of_itself_for_work_to_do_later(proxy: pykka.ActorProxy[Any]) -> None:
    inner = proxy.add_in_future(2).get()
    assert inner.get() == 2


def test_attributes_that_come_later_are_found(proxy: pykka.ActorProxy[Any]) -> None:
    proxy.nickname = "abacus"
    proxy.shout = lambda: "COUNT"
    assert (proxy.nickname.get(), proxy.shout().get()) == ("abacus", "COUNT")


def test_proxies_are_equal_when_they_stand_for_the_same(proxy: pykka.ActorProxy[Any]) -> None:
    again = pykka.ActorProxy(actor_ref=proxy.actor_ref)
    other = Counter.start().proxy()
    assert proxy == again
    assert hash(proxy) == hash(again)
    assert proxy != other
    assert repr(proxy) == f"<ActorProxy for {proxy.actor_ref}, attr_path=()>"
    assert {"add", "step", "total", "actor_urn"} <= set(dir(proxy))
    assert other.stop().get() is None


def test_a_proxy_is_made_and_used_in_any_thread(proxy: pykka.ActorProxy[Any]) -> None:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(proxy.actor_ref.proxy().add(1, 2).get(timeout=WAIT)))
    thread.start()
    thread.join(WAIT)
    assert got == [3]


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (ProxyCall(attr_path=("add",), args=(1,), kwargs={"b": 2}), 3),
        (ProxyGetAttr(attr_path=("step",)), 1),
        (ProxySetAttr(attr_path=("step",), value=2), None),
    ],
    ids=["ProxyCall", "ProxyGetAttr", "ProxySetAttr"],
)
def test_pykkas_messages_need_no_proxy(proxy: pykka.ActorProxy[Any], message: Any, answer: Any) -> None:
    assert proxy.actor_ref.ask(message) == answer
    assert proxy.actor_ref.tell(message) is None  # type: ignore[func-returns-value]  # nothing comes back, as pykka says


# Traversable attributes


class Gear:
    teeth = 12

    def turn(self, times: int = 1) -> int:
        return self.teeth * times


@pykka.traversable
class MarkedByDecorator(Gear):
    pass


class MarkedByAttribute(Gear):
    pykka_traversable = True


class Slotted:
    __slots__ = ("teeth",)


class Machine(Actor):
    plain = Gear()
    by_function = pykka.traversable(Gear())
    by_decorator = MarkedByDecorator()
    by_attribute = MarkedByAttribute()

    def __init__(self) -> None:
        super().__init__()
        self.outer = pykka.traversable(Gear())
        self.outer.inner = pykka.traversable(Gear())  # type: ignore[attr-defined]  # a deep path for the proxy


@pytest.fixture
def machine() -> Iterator[pykka.ActorProxy[Any]]:
    proxy = Machine.start().proxy()
    yield proxy
    proxy.actor_ref.stop()


@pytest.mark.parametrize("name", ["by_function", "by_decorator", "by_attribute"])
def test_a_traversable_attribute_is_a_proxy_too(machine: pykka.ActorProxy[Any], name: str) -> None:
    gear = getattr(machine, name)
    assert isinstance(gear, pykka.ActorProxy)
    assert (gear.teeth.get(), gear.turn(2).get()) == (12, 24)
    assert f"attr_path=('{name}',)" in repr(gear)


def test_traversable_attributes_nest(machine: pykka.ActorProxy[Any]) -> None:
    machine.outer.inner.teeth = 5
    assert machine.outer.inner.turn(times=3).get() == 15
    assert machine.outer.turn().get() == 12


def test_an_attribute_without_the_mark_is_handed_over_as_it_is(machine: pykka.ActorProxy[Any]) -> None:
    assert machine.plain.get() is Machine.plain
    with pytest.raises(AttributeError):
        _ = machine.plain.teeth


def test_an_object_with_slots_cannot_be_marked() -> None:
    with pytest.raises(ValueError, match="using slots"):
        pykka.traversable(Slotted())


# Actors that work together


class Bookkeeper(Actor):
    def __init__(self, counter: pykka.ActorProxy[Any]) -> None:
        super().__init__()
        self.counter = counter

    async def count_to(self, target: int) -> list[int]:
        return [await self.counter.add(1) for _ in range(target)]

    def blocking_add(self) -> int:
        total: int = self.counter.add(1).get()
        return total

    def blocking_set(self) -> None:
        self.counter.step = 2


def test_an_actor_awaits_the_proxy_of_another_one(proxy: pykka.ActorProxy[Any]) -> None:
    bookkeeper = Bookkeeper.start(proxy).proxy()
    assert bookkeeper.count_to(5).get() == [1, 2, 3, 4, 5]
    bookkeeper.actor_ref.stop()


@pytest.mark.parametrize("method", ["blocking_add", "blocking_set"])
def test_unlike_in_pykka_a_blocking_wait_in_an_actor_raises_at_once(proxy: pykka.ActorProxy[Any], method: str) -> None:
    bookkeeper = Bookkeeper.start(proxy).proxy()
    with pytest.raises(BlockingCallError, match="would block the event loop"):
        getattr(bookkeeper, method)().get()
    assert proxy.step.get() == 1


def test_two_actors_that_would_deadlock_in_pykka_are_told_so() -> None:
    class Foo(Actor):
        def foo(self, bar: pykka.ActorProxy[Any]) -> Any:
            return bar.bar().get()

    class Bar(Actor):
        def __init__(self, foo: pykka.ActorProxy[Any]) -> None:
            self._foo = foo

        def bar(self) -> Any:
            return self._foo.foo(self.actor_ref.proxy()).get()

    foo = Foo.start().proxy()
    bar = Bar.start(foo).proxy()
    with pytest.raises(BlockingCallError):
        foo.foo(bar).get()
    bar.actor_ref.stop()


def test_two_actors_that_await_each_other_are_told_so() -> None:
    class Foo(Actor):
        async def foo(self, bar: pykka.ActorProxy[Any]) -> Any:
            return await bar.bar(self.actor_ref.proxy())

    class Bar(Actor):
        async def bar(self, foo: pykka.ActorProxy[Any]) -> Any:
            return await foo.foo(self.actor_ref.proxy())

    with pytest.raises(AskCycleError, match=r"Bar <.*> asks Foo <.*> asks Bar <"):
        Foo.start().proxy().foo(Bar.start().proxy()).get()


def test_proxies_are_awaited_in_an_asyncio_program() -> None:
    async def main() -> None:
        ref = Counter.start()
        proxy = ref.proxy()
        assert await proxy.add(1, 2) == 3
        assert list(await asyncio.gather(proxy.total, proxy.step)) == [3, 1]
        await ref.call(ProxySetAttr(attr_path=("step",), value=2))
        assert await proxy.step == 2
        assert await proxy.step.map(lambda step: step * 10) == 20
        assert await ref.stop(block=False) is True

    asyncio.run(main())


def test_a_pool_of_workers_shares_the_work() -> None:
    pool = [Counter.start().proxy() for _ in range(4)]
    futures = [pool[number % len(pool)].add(number, number) for number in range(10)]
    assert pykka.get_all(futures) == [2 * number for number in range(10)]
    assert ActorRegistry.stop_all() == [True] * 4


# Types


class Circle(Actor):
    pi = 3.14

    def area(self, radius: float) -> float:
        return self.pi * radius**2


class CircleProxy(ActorMemberMixin, pykka.ActorProxy[Any]):
    pi = proxy_field(Circle.pi)
    area = proxy_method(Circle.area)


def test_a_proxy_can_be_typed_with_pykkas_helpers() -> None:
    proxy = cast("CircleProxy", Circle.start().proxy())
    assert assert_type(proxy.pi, pykka.Future[float]).get() == 3.14
    assert assert_type(proxy.area(2.0), pykka.Future[float]).get() == 12.56
    assert proxy.stop().get() is None
