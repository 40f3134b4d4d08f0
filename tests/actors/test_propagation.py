"""The trace context of a sender goes with its messages, shown with OpenTelemetry itself."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pykka
import pytest
from opentelemetry import context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from actors import Actor, ActorRef, Channel, PubSub, Stop, ThreadedActor, ok, sys
from actors.clock import Clock
from actors.exits import NORMAL
from actors.propagation import Propagation, propagate
from actors.runtime.message_queue import MessageQueue
from actors.testing import WAIT, ManualRuntime
from supervisors import ChildSpec, DynamicSupervisor, start_child
from tests.transport.wire import on_loop, serving
from transport import Socket

if TYPE_CHECKING:
    from actors.channels.message import Reply
    from actors.lowlevel import in_thread


class Spans:
    """The spans that have ended, by their names."""

    def __init__(self) -> None:
        self._exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = provider.get_tracer("test")

    def span(self, name: str) -> Any:
        return self._tracer.start_as_current_span(name)

    def parents(self, name: str) -> list[str | None]:
        """Return the names of the parents of the spans of this name, in the order of their ends."""
        spans = self._exporter.get_finished_spans()
        names = {span.context.span_id: span.name for span in spans if span.context is not None}
        return [None if each.parent is None else names[each.parent.span_id] for each in spans if each.name == name]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def on(spans: Spans) -> Iterator[Propagation]:
    with propagate(context.get_current, context.attach, context.detach) as propagation:
        yield propagation


class Handler(Actor):
    """Makes a span for each message."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def on_receive(self, message: Any) -> Any:
        with self.spans.span("handler"):
            return message


class AsyncHandler(Handler):
    async def on_receive(self, message: Any) -> Any:
        await asyncio.sleep(0)
        with self.spans.span("handler"):
            await asyncio.sleep(0)
            return message


class ThreadedHandler(ThreadedActor):
    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def on_receive(self, message: Any) -> Any:
        with self.spans.span("handler"):
            return message


every_kind = pytest.mark.parametrize("kind", [Handler, AsyncHandler, ThreadedHandler])

WAYS: dict[str, Callable[[ActorRef[Any]], object]] = {
    "tell": lambda ref: ref.tell("x"),
    "send": lambda ref: ref.send("x"),
    "ask": lambda ref: ref.ask("x", block=False),
}


@every_kind
@pytest.mark.parametrize("way", WAYS)
def test_the_span_of_a_handler_is_a_child_of_the_senders(
    runtime: ManualRuntime, spans: Spans, on: Propagation, kind: Any, way: str
) -> None:
    ref = kind.start(spans)
    for name in ("first", "second"):
        with spans.span(name):
            WAYS[way](ref)
    WAYS[way](ref)
    runtime.settle()
    assert spans.parents("handler") == ["first", "second", None]


@pytest.mark.parametrize("way", WAYS)
def test_messages_of_other_threads(background: in_thread, spans: Spans, on: Propagation, way: str) -> None:
    ref = Handler.start(spans)
    with spans.span("sender"):
        WAYS[way](ref)
    ref.ask("the last")
    assert spans.parents("handler") == ["sender", None]


def test_it_goes_on_from_actor_to_actor(runtime: ManualRuntime, spans: Spans, on: Propagation) -> None:
    class Middle(Actor):
        async def on_receive(self, message: Any) -> Any:
            with spans.span("middle"):
                return await Handler.start(spans).call(message)

    with spans.span("sender"):
        assert Middle.start().ask("x") == "x"
    assert (spans.parents("handler"), spans.parents("middle")) == (["middle"], ["sender"])


def test_timers_have_what_was_current_when_they_were_set(runtime: ManualRuntime, spans: Spans, on: Propagation) -> None:
    class Timed(Handler):
        def on_start(self) -> None:
            self.register("timed")
            with spans.span("after"):
                self.send_after(1, "x")
            with spans.span("after, by name"):
                self.send_after(2, "x", "timed")
            with spans.span("interval"):
                self.send_interval(2.5, "x")
            with spans.span("continued"):
                self.continue_with("x")

    Timed.start(spans)
    runtime.advance(5)
    assert spans.parents("handler") == ["continued", "after", "after, by name", "interval", "interval"]


@pytest.mark.parametrize("apart", [False, True], ids=["on the loop", "in another thread"])
def test_broadcasts(background: in_thread, spans: Spans, on: Propagation, apart: bool) -> None:  # noqa: FBT001  # a parameter of pytest
    pubsub = PubSub()

    class Broadcasts(Actor):
        def on_receive(self, _message: Any) -> None:
            with spans.span("broadcast"):
                pubsub.broadcast("topic", "x")

    supervisor = DynamicSupervisor.start()
    start_child(supervisor, pubsub).get()
    ref = Handler.start(spans)
    pubsub.subscribe("topic", ref)
    if apart:
        with spans.span("broadcast"):
            pubsub.broadcast("topic", "x")
    else:
        Broadcasts.start().ask("x")
    ref.ask("the last")
    assert spans.parents("handler") == ["broadcast", None]
    supervisor.stop()


class Room(Channel):
    """Makes a span for what others broadcast and send, and for what its client does."""

    intercept = ("shout",)
    spans: Spans

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def handle_in(self, event: str, payload: Any) -> Reply:
        with self.spans.span("handle_in"):
            self.broadcast_from("shout", {})
            return ok()

    def handle_out(self, event: str, payload: Any) -> None:
        with self.spans.span("handle_out"):
            self.push(event, payload)


class RoomSocket(Socket):
    channels = {"room:*": Room}  # noqa: RUF012  # as an author writes it


@on_loop
async def test_channels(spans: Spans) -> None:
    Room.spans = spans
    with propagate(context.get_current, context.attach, context.detach):
        async with serving(RoomSocket) as server:
            alice, bob = await server.connect(), await server.connect()
            ref = await alice.join("room:1")
            await bob.join("room:1")
            assert await alice.ask(ref, "room:1", "shout") == {}
            assert (await bob.recv())[3] == "shout"
            with spans.span("endpoint"):
                server.endpoint.broadcast("room:1", "shout", {})
            assert (await bob.recv())[3] == "shout"
    assert spans.parents("handle_in") == [None]
    assert spans.parents("handle_out") == ["handle_in", "endpoint", "endpoint"]


def test_an_actors_own_span_is_not_in_the_way(runtime: ManualRuntime, spans: Spans, on: Propagation) -> None:
    with spans.span("the start"):
        ref = Handler.start(spans)
    ref.tell("x")
    with spans.span("sender"):
        ref.tell("x")
    runtime.settle()
    assert spans.parents("handler") == [None, "sender"]


def test_what_a_handler_attaches_does_not_last(runtime: ManualRuntime, spans: Spans, on: Propagation) -> None:
    ref = AsyncHandler.start(spans)
    with spans.span("sender"):
        ref.tell("x")
    runtime.settle()
    on.stop()
    ref.tell("x")
    runtime.settle()
    assert spans.parents("handler") == ["sender", None]


def test_pykka_actors(background: in_thread, spans: Spans, on: Propagation) -> None:
    class Plain(pykka.ThreadingActor):
        def on_receive(self, message: Any) -> Any:
            with spans.span("handler"):
                return message

    supervisor = DynamicSupervisor.start()
    ref = start_child(supervisor, ChildSpec(Plain)).get()
    with spans.span("sender"):
        assert ref.ask("x") == "x"
    assert spans.parents("handler") == ["sender"]
    supervisor.stop()


def test_proxies_and_stops(runtime: ManualRuntime, spans: Spans, on: Propagation) -> None:
    class Attributes(Actor):
        def method(self) -> str:
            with spans.span("handler"):
                return "called"

        def on_receive(self, message: Any) -> Any:
            return Stop(NORMAL, reply=message)

    ref = Attributes.start()
    with spans.span("sender"):
        assert ref.proxy().method().get() == "called"
        assert ref.ask("bye") == "bye"
    assert spans.parents("handler") == ["sender"]
    assert Attributes.start().stop() is True


def test_tools_show_the_message_itself(
    runtime: ManualRuntime, on: Propagation, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Actor):
        record = 5

        def on_receive(self, message: Any) -> None:
            raise ValueError

    seen: list[Any] = []
    ref = Fails.start()
    sys.install(ref, seen.append)
    runtime.settle()
    sys.suspend(ref)
    runtime.settle()
    ref.tell("a message")
    runtime.settle()
    assert ref.process.next_message == "a message"
    sys.resume(ref)
    runtime.settle()
    assert [event.message for event in seen] == ["a message"] * 2
    assert "'a message'" in caplog.text
    assert "Carried" not in caplog.text


# On and off


def test_it_is_off_by_default_and_after_its_end(runtime: ManualRuntime, spans: Spans) -> None:
    plain = [MessageQueue.put, MessageQueue.deliver, MessageQueue.continue_with, Clock.send_after, Clock.send_interval]
    ref = Handler.start(spans)
    with propagate(context.get_current, context.attach, context.detach), spans.span("on"):
        ref.tell("x")
    with spans.span("off"):
        ref.tell("x")
    runtime.settle()
    assert spans.parents("handler") == ["on", None]
    assert [
        MessageQueue.put,
        MessageQueue.deliver,
        MessageQueue.continue_with,
        Clock.send_after,
        Clock.send_interval,
    ] == plain


def test_it_is_switched_on_once(on: Propagation) -> None:
    with pytest.raises(RuntimeError, match=r"stop\(\) what propagate\(\) returned"):
        propagate(context.get_current, context.attach, context.detach)
    on.stop()
    on.stop()
    propagate(context.get_current, context.attach, context.detach).stop()


def test_what_is_not_a_function_is_refused() -> None:
    wrong: Any = None
    with pytest.raises(TypeError, match=r"takes attach as a function, such as opentelemetry.context's, got None"):
        propagate(context.get_current, wrong, context.detach)


async def capture_later() -> None:
    """Return what is never awaited."""


def test_what_nothing_would_await_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes as capture must be a plain `def`, got `async def`"):
        propagate(capture_later, context.attach, context.detach)


variable: ContextVar[str] = ContextVar("variable")


def fail(*_args: object) -> Any:
    raise ValueError


def test_nothing_goes_with_a_message_where_capture_returns_none(runtime: ManualRuntime) -> None:
    attached: list[object] = []
    with propagate(lambda: variable.get(None), attached.append, attached.append):
        ref = Handler.start(Spans())
        ref.ask("x")
        variable.set("y")
        ref.ask("x")
    assert attached == ["y", None]


def test_a_capture_that_fails_is_logged_and_switched_off(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    propagate(fail, fail, fail)
    ref = Handler.start(Spans())
    assert [ref.ask("x"), ref.ask("y")] == ["x", "y"]
    assert [record.message[:16] for record in caplog.records if record.levelno == logging.ERROR] == ["capture() failed"]
    propagate(context.get_current, context.attach, context.detach).stop()


@pytest.mark.parametrize("kind", [Handler, AsyncHandler])
def test_an_attach_or_detach_that_fails_does_not_harm_the_actor(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    ref = kind.start(Spans())
    with propagate(lambda: 1, fail, fail):
        assert ref.ask("x") == "x"
    with propagate(lambda: 1, lambda value: value, fail):
        assert ref.ask("y") == "y"
    assert {record.message for record in caplog.records} == {
        "the trace context of a message could not be attached",
        "the trace context of a message could not be detached",
    }


def test_many_threads(background: in_thread, spans: Spans, on: Propagation) -> None:
    ref = Handler.start(spans)

    def send(name: str) -> None:
        with spans.span(name):
            for _ in range(20):
                ref.tell("x")

    threads = [threading.Thread(target=send, args=(f"thread {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    ref.ask("the last")
    found = spans.parents("handler")
    assert sorted(name for name in found if name) == sorted(
        f"thread {number}" for number in range(4) for _ in range(20)
    )
