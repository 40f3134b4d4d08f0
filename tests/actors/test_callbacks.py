"""The shapes of callbacks: refused where they are written or when they have run, or awaited; never ignored."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import pykka
import pytest

from actors import (
    NORMAL,
    SHUTDOWN,
    Actor,
    Adapter,
    Channel,
    Crash,
    Future,
    Presence,
    Refuse,
    Registry,
    Stop,
    Task,
    ThreadedActor,
    sys,
    telemetry,
)
from actors.callbacks import check_function, is_async, yields
from actors.caller import From
from actors.testing import ManualRuntime, explore
from supervisors.supervisor import Supervisor
from supervisors.system import System
from transport.client import Presence as ClientPresence
from transport.client import Socket as Client
from transport.endpoint import Endpoint
from transport.exceptions import SocketError
from transport.extension import Extension
from transport.socket import Socket


async def coroutine(*_args: Any) -> Any:
    """Return at once."""


def generator(*_args: Any) -> Any:
    yield 1


async def async_generator(*_args: Any) -> Any:
    yield 1


class Callback:
    """An object that is called."""

    async def __call__(self, *_args: Any) -> None:
        """Return at once."""


# Declared

HOOKS = [
    *((base, hook) for base in (Actor, ThreadedActor, Supervisor) for hook in ("on_start", "on_receive", "terminate")),
    *((Actor, hook) for hook in ("on_stop", "on_failure")),
    *((Channel, hook) for hook in ("join", "handle_in", "handle_out", "handle_info", "terminate", "on_start")),
    *((Presence, hook) for hook in ("fetch", "handle_metas")),
    *((Socket, hook) for hook in ("connect", "id")),
    *((Adapter, hook) for hook in ("publish", "subscribed", "unsubscribed")),
    *((Extension, hook) for hook in ("bind", "routes", "handlers", "sockets", "mount", "attach", "detach")),
]
PLAIN = [
    *((ThreadedActor, hook) for hook in ("on_start", "on_receive", "terminate", "on_stop", "on_failure")),
    (Presence, "fetch"),
    (Socket, "id"),
    *(pair for pair in HOOKS if pair[0] in {Adapter, Extension}),
]


@pytest.mark.parametrize("function", [generator, async_generator])
@pytest.mark.parametrize(("base", "hook"), HOOKS)
def test_a_callback_with_a_yield_is_refused_with_its_class(base: type, hook: str, function: object) -> None:
    with pytest.raises(TypeError) as raised:
        type("Worker", (base,), {hook: function})
    assert str(raised.value) == (
        f"Worker.{hook} has a `yield` in it, so that calling it runs nothing; "
        "return the whole result, a list for example, or send() each item as a message"
    )


@pytest.mark.parametrize("value", ["text", property(lambda _: "text"), 5], ids=["str", "property", "int"])
@pytest.mark.parametrize(("base", "hook"), HOOKS)
def test_a_callback_that_cannot_be_called_is_refused_with_its_class(base: type, hook: str, value: object) -> None:
    with pytest.raises(TypeError, match=rf"^Worker\.{hook} must be a function, as it is called, got "):
        type("Worker", (base,), {hook: value})


@pytest.mark.parametrize("base", [Actor, Channel, ThreadedActor, Supervisor])
@pytest.mark.parametrize(("name", "value"), [("trap_exit", True), ("idle_timeout", 60)])
def test_a_setting_of_each_actor_is_refused_in_its_class(base: type, name: str, value: object) -> None:
    with pytest.raises(TypeError) as raised:
        type("Worker", (base,), {name: value})
    assert str(raised.value) == (
        f"Worker.{name} = {value} in the class has no effect; write `self.{name} = {value}` in `__init__` or `on_start`"
    )
    type("Worker", (base,), {name: getattr(base, name)})


@pytest.mark.parametrize(("base", "hook"), PLAIN)
def test_a_callback_that_must_be_plain_is_refused_with_its_class(base: type, hook: str) -> None:
    with pytest.raises(TypeError, match=rf"^Worker\.{hook} must be a plain `def`, got `async def`; "):
        type("Worker", (base,), {hook: coroutine})


@pytest.mark.parametrize(("base", "hook"), [pair for pair in HOOKS if pair not in PLAIN])
def test_a_callback_that_may_be_async_is_accepted(base: type, hook: str) -> None:
    assert getattr(type("Worker", (base,), {hook: coroutine}), hook) is coroutine


def own(function: Any) -> None:
    class Worker(Actor):
        def on_receive(self, close: Any) -> None:
            self.own(close)

    Worker.start().ask(function)


GIVEN: dict[str, Callable[[Any], object]] = {
    "System.run": lambda function: System().run(function),
    "telemetry.attach": lambda function: telemetry.attach("handler", [("a",)], function),
    "sys.install": lambda function: sys.install(Actor.start(), function),
    "update_value": lambda function: Registry().update_value("a", Actor.start(), function),
    "unregister_match": lambda function: Registry().unregister_match("a", Actor.start(), function),
    "Task.add_done_callback": lambda function: Task.start(print).add_done_callback(function),
    "Future.add_done_callback": lambda function: Future().add_done_callback(function),
    "check_origin": lambda function: Endpoint({}, check_origin=function),
    "own": own,
}


@pytest.mark.parametrize(
    "function", [coroutine, Callback(), partial(coroutine, 1)], ids=["function", "object", "partial"]
)
@pytest.mark.parametrize("give", GIVEN.values(), ids=GIVEN)
def test_an_async_function_is_refused_where_a_plain_one_is_called(give: Callable[[Any], object], function: Any) -> None:
    with ManualRuntime(), pytest.raises(TypeError, match=r"must be a plain `def`, got `async def`"):
        give(function)


@pytest.mark.parametrize("function", [generator, async_generator, partial(generator, 1)])
@pytest.mark.parametrize("give", GIVEN.values(), ids=GIVEN)
def test_a_generator_function_is_refused_where_a_function_is_called(
    give: Callable[[Any], object], function: Any
) -> None:
    with ManualRuntime(), pytest.raises(TypeError, match=r"has a `yield` in it, so that calling it runs nothing"):
        give(function)


@pytest.mark.parametrize("function", [generator, async_generator])
def test_a_task_and_a_page_may_be_async_but_not_a_generator(function: Any) -> None:
    with pytest.raises(TypeError, match=r"^the function of a task has a `yield` in it"):
        Task.start(function)
    with pytest.raises(SocketError, match=r"^the page at '/' has a `yield` in it"):
        Endpoint({}, routes={"/": function})


@pytest.mark.parametrize("function", [generator, async_generator])
@pytest.mark.parametrize(
    "give",
    [
        lambda function: Client("ws://localhost/socket").on_open(function),
        lambda function: Client("ws://localhost/socket").channel("room:1").on("new", function),
        lambda function: ClientPresence(Client("ws://localhost/socket").channel("room:1")).on_join(function),
        lambda function: ClientPresence(Client("ws://localhost/socket").channel("room:1")).on_leave(function),
        lambda function: ClientPresence(Client("ws://localhost/socket").channel("room:1")).on_sync(function),
        lambda function: explore(function, seeds=[1]),
    ],
    ids=["on_open", "on", "on_join", "on_leave", "on_sync", "explore"],
)
def test_a_callback_of_a_client_and_a_scenario_may_be_async_but_not_a_generator(
    give: Callable[[Any], object], function: Any
) -> None:
    give(coroutine)
    with pytest.raises(TypeError, match=r"^a (callback of the client|scenario) has a `yield` in it"):
        give(function)
    with pytest.raises(
        TypeError, match=r"^a (callback of the client|scenario) must be a function, as it is called, got 5"
    ):
        give(5)


def test_functions_are_told_apart() -> None:
    assert [is_async(function) for function in (coroutine, Callback(), print, generator, async_generator)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert [yields(function) for function in (generator, async_generator, coroutine, print)] == [
        True,
        True,
        False,
        False,
    ]
    check_function("a function", print)
    check_function("a function", coroutine, plain=False)


# Returned


def test_what_an_actor_owns_and_is_closed_by_a_coroutine_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Owner(Actor):
        def on_start(self) -> None:
            self.own(lambda: coroutine(1))

        def on_receive(self, message: Any) -> None:
            self.own(lambda: closed.append(message))

    closed: list[Any] = []
    with ManualRuntime():
        ref = Owner.start()
        ref.ask("other")
        ref.stop()
    assert closed == ["other"]
    assert "what own() takes is called at once, but returned <coroutine object coroutine" in caplog.text
    assert "which nothing awaits; await it in an `async` terminate()" in caplog.text


class Later:
    """An awaitable of an application's own."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __await__(self) -> Generator[None, None, object]:
        yield
        return self.value


def answered(value: object) -> Future[object]:
    future: Future[object] = Future()
    future.set(value)
    return future


async def echo(value: object) -> object:
    await asyncio.sleep(0)
    return value


class Echo(Actor):
    """It answers with the message."""

    def on_receive(self, message: object) -> object:
        return message


def resolved(value: object) -> asyncio.Future[object]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


AWAITABLES: dict[str, Callable[[object], Awaitable[object]]] = {
    "coroutine": echo,
    "task": lambda value: asyncio.ensure_future(echo(value)),
    "asyncio future": resolved,
    "future": answered,
    "ask": lambda value: Echo.start().ask(value, block=False),
    "proxy": lambda value: Echo.start().proxy().on_receive(value),
    "Task": lambda value: Task.start(echo, value),
    "awaitable": Later,
    "awaitable of an awaitable": lambda value: Later(Later(value)),
}


class Plain(Actor):
    """Its plain handler returns what the message makes."""

    def on_receive(self, make: Callable[[], object]) -> object:
        return make()

    def call(self, make: Callable[[], object]) -> object:
        return make()


class Asynchronous(Plain):
    """Its handler is `async`, and returns something that is to be awaited once more."""

    async def on_receive(self, make: Callable[[], object]) -> object:
        return make()


@pytest.mark.parametrize("make", AWAITABLES.values(), ids=AWAITABLES)
@pytest.mark.asyncio
@pytest.mark.parametrize("kind", [Plain, Asynchronous])
async def test_what_a_handler_returns_is_awaited(kind: type[Actor], make: Callable[[object], object]) -> None:
    ref = kind.start()
    assert await ref.call(partial(make, "value")) == "value"
    assert await ref.proxy().call(partial(make, ["value"])) == ["value"]
    assert ref.is_alive()


@pytest.mark.asyncio
async def test_what_a_handler_returns_is_awaited_while_the_actor_is_traced() -> None:
    ref = Plain.start()
    await sys.statistics(ref)
    assert await ref.call(partial(Later, 1)) == 1
    await sys.no_debug(ref)


@pytest.mark.asyncio
async def test_an_actor_handles_its_next_message_when_what_it_returned_is_done() -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    ref = Plain.start()
    first, second = ref.ask(lambda: gate, block=False), ref.ask(lambda: "second", block=False)
    await Echo.start().call(1)
    assert not second.done
    gate.set_result("first")
    assert [await first, await second] == ["first", "second"]


@pytest.mark.asyncio
async def test_an_awaited_result_may_be_a_stop_or_a_refusal() -> None:
    ref = Plain.start()
    with pytest.raises(ValueError, match="no"):
        await ref.call(partial(Later, Refuse(ValueError("no"))))
    assert await ref.call(partial(Later, Stop(SHUTDOWN, "bye"))) == "bye"
    assert ref.exit_reason == SHUTDOWN


@pytest.mark.asyncio
@pytest.mark.parametrize("base", [Actor, Supervisor])
async def test_what_on_start_and_terminate_return_is_awaited(base: type[Actor]) -> None:
    done: list[str] = []

    async def note(name: str) -> None:
        await asyncio.sleep(0)
        done.append(name)

    class Worker(Actor):
        def on_start(self) -> object:
            return asyncio.ensure_future(note("started"))

        def terminate(self, reason: object) -> object:
            return asyncio.ensure_future(note("terminated"))

    ref = Worker.start()
    await ref.started()
    assert done == ["started"]
    await ref.stop(block=False)
    assert done == ["started", "terminated"]


@pytest.mark.asyncio
async def test_a_task_awaits_what_its_plain_function_returns() -> None:
    ref = Echo.start()
    asked: Any = Task.start(lambda: ref.ask(1, block=False))
    assert await asked == 1
    assert await Task.start(lambda: echo(2)) == 2


def test_a_future_that_the_actor_itself_has_to_answer_is_a_value() -> None:
    with ManualRuntime():
        ref = Plain.start()
        inner = ref.ask(lambda: ref.ask(lambda: 1, block=False))
        assert inner.get() == 1
        inner = ref.proxy().call(lambda: ref.proxy().call(lambda: 2)).get()
        assert inner.get() == 2


def test_an_attribute_is_a_value_even_if_it_can_be_awaited() -> None:
    class Keeper(Actor):
        def __init__(self) -> None:
            self.future = answered(1)

    with ManualRuntime():
        proxy: Any = Keeper.start().proxy()
        assert proxy.future.get().get() == 1


# Returned, and refused


class Rows(Actor):
    """Its methods have a `yield` in them."""

    def rows(self) -> Any:
        yield self

    async def pages(self) -> Any:
        yield self

    def on_receive(self, message: str) -> Any:
        return getattr(self, message)()


class RowsInThread(ThreadedActor):
    """The same in a thread."""

    rows, pages, on_receive = Rows.rows, Rows.pages, Rows.on_receive


@pytest.mark.parametrize("name", ["rows", "pages"])
@pytest.mark.parametrize("ask", [lambda ref, name: ref.ask(name), lambda ref, name: getattr(ref.proxy(), name)().get()])
@pytest.mark.parametrize("kind", [Rows, RowsInThread])
def test_a_generator_of_the_actors_own_is_refused_with_the_place_of_its_function(
    kind: type[Actor], ask: Callable[[Any, str], object], name: str
) -> None:
    ref = kind.start()
    with pytest.raises(TypeError) as raised:
        ask(ref, name)
    assert str(raised.value).startswith(f"Rows.{name}() ({__file__}:")
    assert " has a `yield` in it, so that calling it runs nothing; return the whole result" in str(raised.value)
    assert ref.exit_reason == Crash(raised.value)


def test_other_generators_are_values() -> None:
    with ManualRuntime():
        ref = Plain.start()
        assert list(ref.ask(lambda: (n for n in (1, 2)))) == [1, 2]
        assert list(ref.ask(generator)) == [1]
        assert list(ref.ask(lambda: Path("a").parents)) == [Path()]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: Stop, r"^a handler returned the class Stop; write `return Stop\(NORMAL\)`$"),
        (lambda: Refuse, r"^a handler returned the class Refuse; write `return Refuse\(ValueError\(…\)\)`$"),
        (
            pykka.ThreadingFuture,
            r"^a handler returned <.*Future.*>, which cannot be awaited without blocking; ",
        ),
    ],
    ids=["Stop", "Refuse", "a future of pykka's"],
)
def test_what_cannot_be_meant_is_refused(made: Callable[[], object], text: str) -> None:
    with ManualRuntime():
        ref = Plain.start()
        with pytest.raises(TypeError, match=text):
            ref.ask(made)


def test_a_class_may_be_a_reply() -> None:
    with ManualRuntime():
        assert Plain.start().ask(lambda: Actor) is Actor


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [AWAITABLES["coroutine"], AWAITABLES["future"], Later])
async def test_a_reply_must_have_been_awaited(make: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"^a reply must be a value, got <.*>; await it first, in an `async def`$"):
        Stop(NORMAL, make(1))
    with pytest.raises(TypeError, match="await it first"):
        From(Echo.start().process, None).reply(make(1))
