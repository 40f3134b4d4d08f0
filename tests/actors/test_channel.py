"""The channel: every callback, every shape it may return, and what the client sees of it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from actors.actor import Actor
from actors.channel import Channel, reply
from actors.channels.channel_socket import ChannelSocket
from actors.channels.join_reply import JoinReply
from actors.channels.message import (
    Broadcast,
    Frame,
    Message,
    Opcode,
    Reply,
    SocketClose,
    SocketRef,
    error,
    ok,
)
from actors.exceptions import BadReturnError, ChannelError, NotJoinedError, UnhandledEventError
from actors.exits import KILLED, NORMAL, SHUTDOWN, Crash, Down, ExitReason, Shutdown, Stop
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.runtime.behaviour import FormatStatus, described
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime, Probe

if TYPE_CHECKING:
    from actors.ref import ActorRef

TOPIC = "room:lobby"
BOOM = ValueError("boom")


class Noop:
    """A serializer that keeps messages as they are."""

    def decode(self, data: Any) -> Message:
        message: Message = data
        return message

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        return Frame(Opcode.TEXT, ("reply", join_ref, ref, topic, reply))

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Any) -> Frame:
        return Frame(Opcode.TEXT, ("push", join_ref, ref, topic, event, payload))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        return Frame(Opcode.TEXT, ("broadcast", broadcast.topic, broadcast.event, broadcast.payload))


def shown(message: Any) -> Any:
    """Return what a transport got in a form that is easy to compare."""
    match message:
        case JoinReply(topic=topic, joined=joined, reply=frame):
            return ("join", topic, joined, frame.data[-1])
        case SocketClose(reason=reason):
            return ("close", reason)
        case Frame(data=data):
            return data
        case _:
            return message


def replied(answer: Reply, ref: str = "2") -> Any:
    return ("reply", "1", ref, TOPIC, answer)


def pushed(event: str, payload: Any) -> Any:
    return ("push", "1", None, TOPIC, event, payload)


def broadcasted(event: str, payload: Any) -> Any:
    return ("broadcast", TOPIC, event, payload)


class Client:
    """A probe posing as the transport of one client, who has joined one topic."""

    def __init__(self, stage: Stage, transport: ActorRef[Any] | None = None) -> None:
        self.stage, self.probe = stage, Probe()
        self.transport = self.probe.ref if transport is None else transport
        self.channel: ActorRef[Any]

    def try_join(
        self, room: type[Channel], payload: Any = None, assigns: dict[str, Any] | None = None
    ) -> ActorRef[Any]:
        socket = ChannelSocket(
            transport=self.transport,
            serializer=Noop(),
            pubsub=self.stage.pubsub,
            topic=TOPIC,
            join_ref="1",
            assigns={} if assigns is None else assigns,
        )
        self.channel = spawn(room, (socket, Message("1", "1", TOPIC, "phx_join", payload)))
        self.stage.runtime.settle()
        return self.channel

    def join(self, room: type[Channel], payload: Any = None, assigns: dict[str, Any] | None = None) -> ActorRef[Any]:
        channel = self.try_join(room, payload, assigns)
        assert self.take()[0][:3] == ("join", TOPIC, True)
        return channel

    def push(self, event: str, payload: Any = None, ref: Any = "2") -> None:
        self.channel.tell(Message("1", ref, TOPIC, event, payload))
        self.stage.runtime.settle()

    def info(self, message: Any) -> None:
        self.channel.tell(message)
        self.stage.runtime.settle()

    def take(self) -> list[Any]:
        """Return what came to the transport since the last time."""
        self.stage.runtime.settle()
        messages = [shown(message) for message in self.probe.messages]
        self.probe.messages.clear()
        return messages


class Stage:
    """A PubSub and any number of clients."""

    def __init__(self, runtime: ManualRuntime) -> None:
        self.runtime, self.pubsub = runtime, PubSub()
        spawn(PubSubServer, (self.pubsub,))

    def client(self, transport: ActorRef[Any] | None = None) -> Client:
        return Client(self, transport)


@pytest.fixture
def stage(runtime: ManualRuntime) -> Stage:
    return Stage(runtime)


@pytest.fixture
def client(stage: Stage) -> Client:
    return stage.client()


Make = Callable[..., type[Channel]]


@pytest.fixture(params=["def", "async def"])
def make(request: pytest.FixtureRequest) -> Make:
    """Return a maker of channels whose callbacks are the functions given, plain or as coroutines."""

    def later(function: Callable[..., Any]) -> Any:
        async def callback(self: Any, *args: Any) -> Any:
            await asyncio.sleep(0)
            return function(self, *args)

        return callback

    def made(**callbacks: Any) -> type[Channel]:
        functions = {"join": lambda *_: ok(), **callbacks}
        wrap = later if request.param == "async def" else lambda function: function
        return type("Room", (Channel,), {name: wrap(f) if callable(f) else f for name, f in functions.items()})

    return made


def reason_of(client: Client) -> BaseException:
    reason = client.channel.exit_reason
    assert isinstance(reason, Crash)
    return reason.exception


# Join


def test_join_lets_the_client_in_and_subscribes_it(stage: Stage, client: Client, make: Make) -> None:
    calls: list[Any] = []

    def join(self: Channel, topic: str, payload: Any) -> Reply:
        calls.append((topic, payload, self.join_payload, self.topic, self.join_ref))
        return ok({"welcome": True})

    channel = client.try_join(make(join=join), {"name": "zoe"})
    assert calls == [(TOPIC, {"name": "zoe"}, {"name": "zoe"}, TOPIC, "1")]
    assert client.take() == [("join", TOPIC, True, ok({"welcome": True}))]
    assert stage.pubsub.subscribers(TOPIC) == [channel]


def test_a_channel_is_joined_once_its_client_was_accepted(client: Client, make: Make) -> None:
    seen: list[bool] = []

    def look(channel: Channel, *_: object) -> Any:
        seen.append(channel.is_joined)
        return ok()

    client.join(make(join=look, handle_in=look))
    client.push("look")
    client.try_join(make(join=lambda *_: error(), terminate=look))
    assert seen == [False, True, False]


def test_the_join_reply_names_its_channel(client: Client, make: Make) -> None:
    channel = client.try_join(make())
    assert client.probe.assert_receive(JoinReply).channel is channel


def test_join_may_refuse_the_client(stage: Stage, client: Client, make: Make) -> None:
    channel = client.try_join(make(join=lambda *_: error({"reason": "unauthorized"})))
    assert client.take() == [("join", TOPIC, False, error({"reason": "unauthorized"}))]
    assert channel.exit_reason == SHUTDOWN
    assert stage.pubsub.topics() == []


def test_a_join_that_raises_is_a_crash_without_an_answer(
    stage: Stage, client: Client, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def join(*_: Any) -> Reply:
        raise BOOM

    client.try_join(make(join=join, terminate=lambda *_: pytest.fail("it never joined")))
    assert reason_of(client) is BOOM
    assert client.take() == []
    assert stage.pubsub.topics() == []
    assert sum(" crashed: " in message for message in caplog.messages) == 1


def test_a_channel_without_a_join_says_what_to_write(client: Client) -> None:
    class Unfinished(Channel):
        """Nothing."""

    client.try_join(Unfinished)
    assert str(reason_of(client)) == "Unfinished needs a join(self, topic, payload) that returns ok() or error()"


@pytest.mark.parametrize("value", [None, True, {}, "ok", ("ok", {}), Stop()], ids=repr)
def test_what_else_join_returns_is_a_crash_that_lists_the_shapes(client: Client, make: Make, value: Any) -> None:
    client.try_join(make(join=lambda *_: value))
    caught = reason_of(client)
    assert isinstance(caught, BadReturnError)
    assert (caught.callback, caught.got) == ("join", value)
    assert str(caught) == (
        'join() must return a Reply such as ok({"some": "payload"}) or error({"reason": "…"}), got ' + repr(value)
    )
    assert client.take() == []


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("push()", lambda self: self.push("x")),
        ("broadcast()", lambda self: self.broadcast("x")),
        ("broadcast_from()", lambda self: self.broadcast_from("x")),
        ("socket_ref()", lambda self: self.socket_ref()),
    ],
    ids=["push", "broadcast", "broadcast_from", "socket_ref"],
)
def test_before_the_join_is_answered_nothing_can_be_sent(
    client: Client, make: Make, verb: str, call: Callable[[Channel], Any]
) -> None:
    client.try_join(make(join=lambda self, *_: call(self)))
    caught = reason_of(client)
    assert isinstance(caught, NotJoinedError)
    assert caught.verb == verb
    assert str(caught) == (
        f"{verb} can only be called after the socket has finished joining; in join() write "
        'self.send(self, "after_join") and do it in handle_info()'
    )


def test_what_join_sends_to_itself_comes_after_the_reply(client: Client, make: Make) -> None:
    def join(self: Channel, *_: Any) -> Reply:
        self.send(self, "after_join")
        return ok()

    client.try_join(make(join=join, handle_info=lambda self, message: self.push(message)))
    assert client.take() == [("join", TOPIC, True, ok()), pushed("after_join", {})]


def test_messages_wait_for_an_async_join(stage: Stage, client: Client) -> None:
    gate: asyncio.Future[None] = stage.runtime._scheduler.loop.create_future()

    class Slow(Channel):
        async def join(self, topic: str, payload: Any) -> Reply:
            await gate
            return ok()

        def handle_in(self, event: str, payload: Any) -> Reply:
            return ok({"event": event})

    client.try_join(Slow)
    client.push("early")
    assert client.take() == []
    assert stage.pubsub.topics() == []
    gate.set_result(None)
    assert client.take() == [("join", TOPIC, True, ok()), replied(ok({"event": "early"}))]


@pytest.mark.parametrize("message", [Message("1", "2", TOPIC, "x", {}), "x"], ids=["handle_in", "handle_info"])
def test_a_channel_that_is_killed_before_its_coroutine_begins_says_nothing_of_it(
    client: Client, message: Any, recwarn: pytest.WarningsRecorder
) -> None:
    class Late(Channel):
        def join(self, topic: str, payload: Any) -> Reply:
            return ok()

        async def handle_in(self, event: str, payload: Any) -> Any:
            pytest.fail("the channel is dead")

        async def handle_info(self, message: Any) -> Any:
            pytest.fail("the channel is dead")

    channel = client.join(Late)
    channel.tell(message)
    # Its turn, but not the task that this makes: as when somebody kills it before the loop comes to that.
    channel.process.turn()
    channel.kill()
    client.take()
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("end", [lambda ref: ref.exit(SHUTDOWN), lambda ref: ref.kill()], ids=["exit", "kill"])
def test_a_channel_that_is_ended_while_it_joins_neither_answers_nor_terminates(
    stage: Stage, client: Client, end: Callable[[ActorRef[Any]], None]
) -> None:
    class Endless(Channel):
        async def join(self, topic: str, payload: Any) -> Reply:
            await asyncio.get_running_loop().create_future()
            return ok()

        def terminate(self, reason: ExitReason) -> None:
            pytest.fail("it never joined")

    channel = client.try_join(Endless)
    end(channel)
    assert client.take() == []
    assert channel.exit_reason in (SHUTDOWN, KILLED)


def test_a_join_that_takes_too_long_is_refused_and_the_channel_ends(stage: Stage, client: Client) -> None:
    class Endless(Channel):
        join_timeout = 3.0

        async def join(self, topic: str, payload: Any) -> Reply:
            await asyncio.get_running_loop().create_future()
            return ok()

        def terminate(self, reason: ExitReason) -> None:
            pytest.fail("it never joined")

    channel = client.try_join(Endless)
    stage.runtime.advance(2.999)
    assert client.take() == []
    stage.runtime.advance(0.001)
    assert client.take() == [("join", TOPIC, False, error({"reason": "join timeout"}))]
    assert channel.exit_reason == Shutdown("join timeout")


def test_a_join_in_time_leaves_no_timer(stage: Stage, client: Client, make: Make) -> None:
    client.join(make())
    assert stage.runtime.clock.pending() == 0


# Assigns


def test_assigns_begin_as_the_sockets_and_are_the_channels_own(client: Client, make: Make) -> None:
    def join(self: Channel, *_: Any) -> Reply:
        seen.append(dict(self.assigns))
        self.assigns["user"] = "changed"
        self.assigns["room"] = "lobby"
        return ok()

    seen: list[dict[str, Any]] = []
    of_socket = {"user": "zoe"}
    channel = client.join(make(join=join), assigns=of_socket)
    assert seen == [{"user": "zoe"}]
    assert of_socket == {"user": "zoe"}
    assert channel.proxy().assigns.get() == {"user": "changed", "room": "lobby"}


# What comes in


@pytest.mark.parametrize(
    ("value", "sent", "reason"),
    [
        (None, [], None),
        (ok(), [replied(ok())], None),
        (ok([1, 2]), [replied(ok([1, 2]))], None),
        (error({"reason": "no"}), [replied(error({"reason": "no"}))], None),
        (Reply("later", {"in": 5}), [replied(Reply("later", {"in": 5}))], None),
        (Stop(), [("close", NORMAL)], NORMAL),
        (Stop(SHUTDOWN), [("close", SHUTDOWN)], SHUTDOWN),
        (
            Stop(Shutdown("full"), reply=ok({"bye": 1})),
            [replied(ok({"bye": 1})), ("close", Shutdown("full"))],
            Shutdown("full"),
        ),
        (Stop(BOOM), [], Crash(BOOM)),
        (Stop(BOOM, reply=error()), [replied(error())], Crash(BOOM)),
    ],
    ids=repr,
)
def test_what_handle_in_returns_answers_or_ends(
    client: Client, make: Make, value: Any, sent: list[Any], reason: ExitReason | None
) -> None:
    calls: list[Any] = []

    def handle_in(_: Channel, event: str, payload: Any) -> Any:
        calls.append((event, payload))
        return value

    channel = client.join(make(handle_in=handle_in))
    client.push("shout", {"text": "hi"})
    assert calls == [("shout", {"text": "hi"})]
    assert client.take() == sent
    assert channel.exit_reason == reason


BAD_IN = 'handle_in() must return None, a Reply such as ok({"some": "payload"}) or error({"reason": "…"}), '
BAD_REPLY = BAD_IN.replace("None, a Reply", "with a Stop, as its reply, a Reply")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, BAD_IN + "or Stop(reason, reply=…), got True"),
        ({"a": 1}, BAD_IN + "or Stop(reason, reply=…), got {'a': 1}"),
        ("noreply", BAD_IN + "or Stop(reason, reply=…), got 'noreply'"),
        (
            Stop(reply={"a": 1}),
            BAD_REPLY + "got {'a': 1}",
        ),
    ],
    ids=repr,
)
def test_what_else_handle_in_returns_is_a_crash_that_lists_the_shapes(
    client: Client, make: Make, value: Any, text: str
) -> None:
    client.join(make(handle_in=lambda *_: value))
    client.push("shout")
    caught = reason_of(client)
    assert isinstance(caught, BadReturnError)
    assert isinstance(caught, TypeError)
    assert str(caught) == text
    assert client.take() == []


def test_a_stop_with_what_is_no_reason_is_a_crash(client: Client, make: Make) -> None:
    client.join(make(handle_in=lambda *_: Stop("done", reply=ok())))
    client.push("shout")
    assert isinstance(reason_of(client), TypeError)
    assert client.take() == [replied(ok())]


def test_an_event_without_a_clause_is_a_crash_that_names_it(client: Client, make: Make) -> None:
    client.join(make())
    client.push("nope")
    caught = reason_of(client)
    assert isinstance(caught, UnhandledEventError)
    assert str(caught) == "Room.handle_in() has no clause for event 'nope'"


def test_an_exception_ends_the_channel_without_a_close(stage: Stage, client: Client, make: Make) -> None:
    def handle_in(*_: Any) -> None:
        raise BOOM

    bystander = stage.client()
    bystander.join(make())
    client.join(make(handle_in=handle_in))
    client.push("shout")
    assert reason_of(client) is BOOM
    assert client.take() == []
    assert stage.pubsub.subscribers(TOPIC) == [bystander.channel]
    assert client.transport.is_alive()


def test_pushes_are_handled_one_after_the_other(client: Client, make: Make) -> None:
    client.join(make(handle_in=lambda _, event, payload: ok(event)))
    for number in range(5):
        client.channel.tell(Message("1", str(number), TOPIC, f"event {number}", {}))
    assert client.take() == [replied(ok(f"event {number}"), str(number)) for number in range(5)]


# Leave


def test_a_leave_is_answered_and_closed_with_the_reason_left(stage: Stage, client: Client, make: Make) -> None:
    reasons: list[ExitReason] = []
    channel = client.join(make(terminate=lambda _, reason: reasons.append(reason)))
    client.push("phx_leave", {}, "7")
    assert client.take() == [replied(ok(), "7"), ("close", Shutdown("left"))]
    assert reasons == [Shutdown("left")]
    assert channel.exit_reason == Shutdown("left")
    assert stage.pubsub.topics() == []


# Info


@pytest.mark.parametrize(
    ("value", "sent", "reason"),
    [
        (None, [], None),
        (Stop(), [("close", NORMAL)], NORMAL),
        (Stop(Shutdown("tired")), [("close", Shutdown("tired"))], Shutdown("tired")),
        (Stop(BOOM), [], Crash(BOOM)),
    ],
    ids=repr,
)
def test_handle_info_gets_everything_else_and_may_end(
    client: Client, make: Make, value: Any, sent: list[Any], reason: ExitReason | None
) -> None:
    got: list[Any] = []

    def handle_info(_: Channel, message: Any) -> Any:
        got.append(message)
        return value

    channel = client.join(make(handle_info=handle_info))
    client.info(("any", "thing"))
    assert got == [("any", "thing")]
    assert (client.take(), channel.exit_reason) == (sent, reason)


@pytest.mark.parametrize("callback", ["handle_info", "handle_out"])
@pytest.mark.parametrize("value", [ok(), True, "x"], ids=repr)
def test_what_else_they_return_is_a_crash_that_lists_the_shapes(
    client: Client, make: Make, callback: str, value: Any
) -> None:
    client.join(make(**{callback: lambda *_: value}, intercept=["shout"]))
    client.info(Broadcast(TOPIC, "shout", {}) if callback == "handle_out" else "x")
    caught = reason_of(client)
    assert isinstance(caught, BadReturnError)
    assert str(caught) == f"{callback}() must return None or Stop(reason), got {value!r}"


def test_info_that_nobody_handles_is_logged_and_the_channel_lives(
    client: Client, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    channel = client.join(make())
    client.info({"what": "is this"})
    [record] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.name == "ashtree.channels"
    assert record.getMessage() == f"{channel} got an unexpected message: {{'what': 'is this'}}"
    assert channel.is_alive()


def test_timers_and_downs_come_as_info(stage: Stage, client: Client, make: Make) -> None:
    got: list[Any] = []

    def join(self: Channel, *_: Any) -> Reply:
        self.monitor(other)
        self.send_after(5, "tick")
        return ok()

    other = Actor.start()
    client.join(make(join=join, handle_info=lambda _, message: got.append(message)))
    stage.runtime.advance(5)
    other.stop()
    stage.runtime.settle()
    assert got[0] == "tick"
    assert isinstance(got[1], Down)
    assert got[1].actor is other


def test_a_broadcast_on_another_topic_comes_as_info(stage: Stage, client: Client, make: Make) -> None:
    got: list[Any] = []

    def join(self: Channel, *_: Any) -> Reply:
        self.pubsub.subscribe("news", self.actor_ref)
        return ok()

    client.join(make(join=join, handle_info=lambda _, message: got.append(message)))
    stage.pubsub.broadcast("news", Broadcast("news", "extra", {}))
    stage.pubsub.broadcast("news", "anything")
    assert client.take() == []
    assert got == [Broadcast("news", "extra", {}), "anything"]


# What goes out


class Point(msgspec.Struct):
    x: int


@pytest.mark.parametrize("payload", [{}, {"a": 1}, b"raw", Point(1)], ids=repr)
def test_push_broadcast_and_broadcast_from_reach_whom_they_should(
    stage: Stage, client: Client, make: Make, payload: Any
) -> None:
    def handle_in(self: Channel, event: str, payload: Any) -> None:
        getattr(self, event)("news", payload)

    other = stage.client()
    room = make(handle_in=handle_in)
    client.join(room)
    other.join(room)
    client.push("push", payload)
    assert (client.take(), other.take()) == ([pushed("news", payload)], [])
    client.push("broadcast", payload)
    assert (client.take(), other.take()) == ([broadcasted("news", payload)], [broadcasted("news", payload)])
    client.push("broadcast_from", payload)
    assert (client.take(), other.take()) == ([], [broadcasted("news", payload)])


@pytest.mark.parametrize("verb", ["push", "broadcast", "broadcast_from"])
def test_the_payload_is_an_empty_object_unless_given(stage: Stage, client: Client, make: Make, verb: str) -> None:
    other = stage.client()
    for each in (client, other):
        each.join(make(handle_in=lambda self, event, payload: getattr(self, event)("news")))
    client.push(verb)
    heard = [*client.take(), *other.take()]
    assert heard
    assert all(message[-2:] == ("news", {}) for message in heard)


@pytest.mark.parametrize("verb", ["push", "broadcast", "broadcast_from"])
@pytest.mark.parametrize("event", [None, 1, {"body": "hi"}], ids=repr)
def test_an_event_is_a_str(client: Client, make: Make, verb: str, event: Any) -> None:
    client.join(make(handle_in=lambda self, name, payload: getattr(self, name)(payload)))
    client.push(verb, event)
    caught = reason_of(client)
    assert isinstance(caught, TypeError)
    assert f'an event must be a str, such as "new_msg", got {event!r}' in str(caught)


def test_a_broadcast_comes_before_the_reply_of_the_same_handler(client: Client, make: Make) -> None:
    def handle_in(self: Channel, event: str, payload: Any) -> Reply:
        self.push("first")
        self.broadcast("second")
        return ok({"third": True})

    client.join(make(handle_in=handle_in))
    client.push("shout")
    assert client.take() == [pushed("first", {}), broadcasted("second", {}), replied(ok({"third": True}))]


def test_intercepted_broadcasts_go_through_handle_out_and_others_past_it(
    stage: Stage, client: Client, make: Make
) -> None:
    def handle_out(self: Channel, event: str, payload: Any) -> None:
        if payload.get("for") != "others":
            self.push(event, {**payload, "seen": True})

    client.join(make(handle_out=handle_out, intercept=["news"]))
    for payload in ({"n": 1}, {"for": "others"}):
        stage.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "news", payload))
    stage.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "weather", {}))
    assert sorted(client.take()) == [broadcasted("weather", {}), pushed("news", {"n": 1, "seen": True})]


def test_an_intercepted_broadcast_is_pushed_as_it_is_by_default(stage: Stage, client: Client, make: Make) -> None:
    client.join(make(intercept=["news"]))
    stage.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "news", {"n": 1}))
    assert client.take() == [pushed("news", {"n": 1})]


def test_handle_out_may_end_the_channel(stage: Stage, client: Client, make: Make) -> None:
    channel = client.join(make(handle_out=lambda *_: Stop(Shutdown("seen enough")), intercept=["news"]))
    stage.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "news", {}))
    assert client.take() == [("close", Shutdown("seen enough"))]
    assert channel.exit_reason == Shutdown("seen enough")


# Replies later


def test_a_socket_ref_answers_later_and_as_often_as_wanted(stage: Stage, client: Client, make: Make) -> None:
    def handle_in(self: Channel, event: str, payload: Any) -> None:
        self.send_after(2, self.socket_ref())

    client.join(make(handle_in=handle_in, handle_info=lambda self, ref: self.reply(ref, ok({"late": True}))))
    client.push("slow", ref="42")
    assert client.take() == []
    stage.runtime.advance(2)
    assert client.take() == [replied(ok({"late": True}), "42")]


def test_another_actor_may_reply(client: Client, make: Make) -> None:
    class Worker(Actor):
        def on_receive(self, message: Any) -> None:
            reply(message, ok({"from": "worker"}))
            reply(message, error())

    worker = Worker.start()
    client.join(make(handle_in=lambda self, *_: self.send(worker, self.socket_ref())))
    client.push("work", ref="9")
    assert client.take() == [replied(ok({"from": "worker"}), "9"), replied(error(), "9")]


def test_another_thread_may_reply(stage: Stage, client: Client, make: Make) -> None:
    refs: list[SocketRef] = []
    client.join(make(handle_in=lambda self, *_: refs.append(self.socket_ref())))
    client.push("work", ref="9")
    thread = threading.Thread(target=lambda: reply(refs[0], ok({"from": "thread"})))
    thread.start()
    thread.join(WAIT)
    assert client.take() == [replied(ok({"from": "thread"}), "9")]


def test_a_reply_after_the_channel_has_ended_still_reaches_the_client(client: Client, make: Make) -> None:
    refs: list[SocketRef] = []
    client.join(make(handle_in=lambda self, *_: refs.append(self.socket_ref())))
    client.push("work", ref="9")
    client.channel.kill()
    reply(refs[0], ok())
    assert client.take() == [replied(ok(), "9")]


def test_a_reply_to_a_client_that_is_gone_is_dropped(client: Client, make: Make) -> None:
    refs: list[SocketRef] = []
    client.join(make(handle_in=lambda self, *_: refs.append(self.socket_ref())))
    client.push("work")
    client.transport.stop()
    reply(refs[0], ok())
    assert client.take() == []


@pytest.mark.parametrize("answer", [None, {"a": 1}, "ok"], ids=repr)
def test_a_reply_is_a_reply(client: Client, make: Make, answer: Any) -> None:
    client.join(make(handle_in=lambda self, *_: self.reply(self.socket_ref(), answer)))
    client.push("work")
    caught = reason_of(client)
    assert isinstance(caught, TypeError)
    assert str(caught).startswith('reply() takes a Reply such as ok({"some": "payload"})')
    assert str(caught).endswith(f"got {answer!r}")


def test_there_is_no_socket_ref_for_a_message_without_a_ref(client: Client, make: Make) -> None:
    client.join(make(handle_in=lambda self, *_: self.socket_ref() and None))
    client.push("work", ref=None)
    caught = reason_of(client)
    assert isinstance(caught, ChannelError)
    assert str(caught) == "socket_ref() can only be called in handle_in(), for a message that has a ref"


def test_there_is_no_socket_ref_outside_of_handle_in(client: Client, make: Make) -> None:
    client.join(make(handle_in=lambda *_: None, handle_info=lambda self, _: self.socket_ref() and None))
    client.push("before")
    client.info("x")
    assert "can only be called in handle_in()" in str(reason_of(client))


def test_a_reply_of_another_status_goes_out_as_it_is(client: Client, make: Make) -> None:
    client.join(make(handle_in=lambda self, *_: self.reply(self.socket_ref(), Reply("queued", {"place": 3}))))
    client.push("work")
    assert client.take() == [replied(Reply("queued", {"place": 3}))]


# How it is shown


class Discreet(Channel):
    """Formats its state, and forgets what its base class does with messages."""

    def join(self, topic: str, payload: Any) -> Reply:
        return ok()

    def format_status(self, status: FormatStatus) -> FormatStatus:
        if status.state is not None:
            status.state = {"topic": self.socket.topic}
        return status


class WellBehaved(Discreet):
    def format_status(self, status: FormatStatus) -> FormatStatus:
        return super(Discreet, self).format_status(status)


@pytest.mark.parametrize("channel", [Discreet, WellBehaved])
def test_the_parameters_that_an_endpoint_filters_are_filtered_whatever_its_author_formats(
    client: Client, channel: type[Channel]
) -> None:
    client.join(channel)
    actor: Any = client.channel.process.actor
    actor.socket.endpoint = SimpleNamespace(filter_parameters=("pin",))
    said = Message("1", "2", TOPIC, "say", {"pin": 5, "n": 1})
    assert "payload={'pin': '[FILTERED]', 'n': 1}" in described(actor, said)


# The end


def end_normally(ref: ActorRef[Any]) -> None:
    ref.stop()


@pytest.mark.parametrize(
    ("end", "signal", "reason"),
    [
        pytest.param(None, SHUTDOWN, SHUTDOWN, id="the transport lives"),
        pytest.param(end_normally, SHUTDOWN, Shutdown("closed"), id="the client closed"),
        pytest.param(lambda ref: ref.exit(SHUTDOWN), SHUTDOWN, Shutdown("draining"), id="the server drains"),
        pytest.param(
            lambda ref: ref.exit(Shutdown("x")), SHUTDOWN, Shutdown("x"), id="the transport shut down for a reason"
        ),
        pytest.param(lambda ref: ref.exit(BOOM), SHUTDOWN, Crash(BOOM), id="the transport crashed"),
        pytest.param(lambda ref: ref.kill(), SHUTDOWN, KILLED, id="the transport was killed"),
        pytest.param(end_normally, Shutdown("kick"), Shutdown("kick"), id="a signal with a reason of its own"),
    ],
)
def test_terminate_gets_the_reason_that_matters(
    client: Client,
    make: Make,
    end: Callable[[ActorRef[Any]], None] | None,
    signal: ExitReason,
    reason: ExitReason,
) -> None:
    reasons: list[ExitReason] = []
    client.join(make(terminate=lambda _, reason: reasons.append(reason)))
    if end is not None:
        end(client.transport)
        client.stage.runtime.settle()
    client.channel.exit(signal)
    client.stage.runtime.settle()
    assert reasons == [reason]
    assert client.channel.exit_reason == reason


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("kick"), Crash(BOOM)], ids=repr)
def test_a_channel_that_is_stopped_with_a_reason_handles_the_earlier_messages(
    client: Client, make: Make, reason: ExitReason
) -> None:
    seen: list[Any] = []
    client.join(
        make(handle_info=lambda _, message: seen.append(message), terminate=lambda _, reason: seen.append(reason))
    )
    client.channel.tell("earlier")
    assert client.channel.stop(reason=reason) is True
    assert (seen, client.channel.exit_reason) == (["earlier", reason], reason)


def test_terminate_gets_the_reason_of_a_transport_that_is_still_ending(stage: Stage, make: Make) -> None:
    reasons: list[ExitReason] = []

    class Transport(Actor):
        def on_receive(self, message: Any) -> None:
            """Take what the channel sends."""

        async def terminate(self, reason: ExitReason) -> None:
            down = ours.channel.down()
            ours.channel.exit(SHUTDOWN)
            await down

    ours = stage.client(Transport.start())
    ours.try_join(make(terminate=lambda _, reason: reasons.append(reason)))
    ours.transport.stop()
    assert reasons == [Shutdown("closed")]


def test_terminate_after_a_crash_gets_the_exception(client: Client, make: Make) -> None:
    reasons: list[ExitReason] = []

    def handle_in(*_: Any) -> None:
        raise BOOM

    client.join(make(handle_in=handle_in, terminate=lambda _, reason: reasons.append(reason)))
    client.push("shout")
    assert reasons == [Crash(BOOM)]


def test_a_killed_channel_does_not_terminate_and_leaves_no_subscription(
    stage: Stage, client: Client, make: Make
) -> None:
    channel = client.join(make(terminate=lambda *_: pytest.fail("it was killed")))
    channel.kill()
    stage.runtime.settle()
    assert channel.exit_reason == KILLED
    assert stage.pubsub.topics() == []


def test_a_channel_hears_no_broadcast_while_it_terminates(stage: Stage, client: Client, make: Make) -> None:
    def terminate(self: Channel, reason: ExitReason) -> None:
        assert stage.pubsub.subscribers(TOPIC) == []
        stage.pubsub.broadcast(TOPIC, Broadcast(TOPIC, "late", {}))

    channel = client.join(make(terminate=terminate))
    channel.exit(SHUTDOWN)
    assert client.take() == []
    assert channel.exit_reason == SHUTDOWN


def test_a_refused_channel_may_clean_up(client: Client, make: Make) -> None:
    reasons: list[ExitReason] = []
    client.try_join(make(join=lambda *_: error(), terminate=lambda _, reason: reasons.append(reason)))
    assert reasons == [SHUTDOWN]


# First mistakes


@pytest.mark.parametrize("events", ["new_msg", b"new_msg", 5, ["new_msg", 5]], ids=repr)
def test_intercept_is_a_collection_of_events(events: Any) -> None:
    with pytest.raises(
        TypeError, match=r"Wrong\.intercept must be a collection of events such as \(\"new_msg\",\), got "
    ):
        type("Wrong", (Channel,), {"intercept": events})


@pytest.mark.parametrize("events", [("new_msg",), ["new_msg"], {"new_msg"}, {"new_msg": 1}, ()], ids=repr)
def test_intercept_may_be_any_collection(events: Any) -> None:
    assert type("Right", (Channel,), {"intercept": events}).intercept == events  # type: ignore[attr-defined]  # made of a name


@pytest.mark.parametrize(
    ("name", "callback", "declared"),
    [
        ("join", lambda self: ok(), "join(self, topic, payload)"),
        ("join", lambda self, topic, payload, socket: ok(), "join(self, topic, payload)"),
        ("handle_in", lambda self, payload: None, "handle_in(self, event, payload)"),
        ("handle_in", lambda self, event, *, payload: None, "handle_in(self, event, payload)"),
        ("handle_out", lambda self, event, payload, socket: None, "handle_out(self, event, payload)"),
        ("handle_info", lambda self: None, "handle_info(self, message)"),
        ("terminate", lambda self: None, "terminate(self, reason)"),
        ("__init__", lambda self: None, "__init__(self, socket, message)"),
    ],
)
def test_callbacks_take_what_they_are_called_with(name: str, callback: Any, declared: str) -> None:
    with pytest.raises(TypeError) as wrong:
        type("Wrong", (Channel,), {name: callback})
    assert f"Wrong.{name} must be declared as `def {declared}`, got `def <lambda>(self" in str(wrong.value)
    assert str(wrong.value).endswith(f"{Path(__file__).name}:{callback.__code__.co_firstlineno})")


@pytest.mark.parametrize(
    "callback",
    [
        lambda self, topic, payload: ok(),
        lambda self, *args: ok(),
        lambda self, topic, payload, more=None, *, other=None: ok(),
        lambda self, a=1, b=2: ok(),
        staticmethod(lambda *args: ok()),
        partial(ok, {}),
    ],
)
def test_callbacks_may_take_more(callback: Any) -> None:
    assert type("Right", (Channel,), {"join": callback}).__name__ == "Right"


def test_a_channel_knows_its_endpoint() -> None:
    endpoint: Any = object()
    socket = ChannelSocket(endpoint, Noop(), endpoint, TOPIC, "1", {}, endpoint=endpoint)
    assert Channel(socket, Message("1", "1", TOPIC, "phx_join", {})).endpoint is endpoint
