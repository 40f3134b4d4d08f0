"""Tests of channels without a network (Phoenix.ChannelTest): the test is the client, one step from the transport actor.

    with ChannelTest(UserSocket, {"user": "alice"}) as client:
        room = client.join("room:lobby")
        room.push("ping").assert_reply("ok", {"response": "pong"})

Everything else is the real thing: the transport actor, the channels and their supervisor, PubSub. Payloads stay Python objects;
there is no serializer. Time is the test's: `client.advance(5)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from actors.message import Broadcast, Frame, Message, Opcode, Payload, Reply
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.runtime.spawn import spawn
from actors.testing import ManualRuntime
from supervisors.supervisor import Supervisor
from transport.socket import ConnectInfo, Routes, Socket, accepted
from transport.transport import Disconnected, Transport

if TYPE_CHECKING:
    from actors.channel import Channel
    from actors.ref import ActorRef
    from actors.runtime.process import Process
    from supervisors.child_spec import Supervised

__all__ = ["ChannelTest", "JoinRefusedError", "JoinedChannel", "NoopSerializer", "Pushed", "TestClient"]


class JoinRefusedError(AssertionError):
    """A join that was to succeed did not."""

    def __init__(self, topic: str, reply: Reply | None) -> None:
        self.topic, self.reply = topic, reply
        super().__init__(f"could not join {topic!r}: {'there was no reply' if reply is None else reply}")


class NoopSerializer:
    """Keeps messages as they are."""

    def decode(self, data: Any) -> Message:
        """Return the message."""
        message: Message = data
        return message

    def encode_reply(self, join_ref: Any, ref: Any, topic: Any, reply: Reply) -> Frame:
        """Wrap an answer."""
        return Frame(Opcode.TEXT, Message(join_ref, ref, topic, "phx_reply", reply))

    def encode_push(self, join_ref: Any, ref: Any, topic: str, event: str, payload: Payload) -> Frame:
        """Wrap an event."""
        return Frame(Opcode.TEXT, Message(join_ref, ref, topic, event, payload))

    def encode_broadcast(self, broadcast: Broadcast) -> Frame:
        """Wrap an event for all."""
        return Frame(Opcode.TEXT, Message(None, None, broadcast.topic, broadcast.event, broadcast.payload))


class _Carrier:
    """The client's end of the wire: it keeps what comes."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.close_code: int | None = None
        self.process: Process | None = None

    def attach(self, transport: Process) -> None:
        self.process = transport

    def send(self, frame: Frame) -> None:
        self.received.append(frame.data)

    def close(self, code: int) -> None:
        self.close_code = code

    def abort(self) -> None:
        if self.close_code is None:
            self.close_code = 1006


class ChannelTest:
    """A runtime for one test, with a PubSub and a first client; use it as a context manager.

    `children` are those that the channels need of their `System`, such as a Presence.

    Raises:
        AssertionError: if `connect` refuses the client.
    """

    def __init__(
        self,
        socket: type[Socket],
        params: Mapping[str, str] | None = None,
        *,
        endpoint: Any = None,
        children: Iterable[Supervised] = (),
    ) -> None:
        self._socket, self._params, self._endpoint = socket, dict(params or {}), endpoint
        self._children = list(children)
        self.runtime = ManualRuntime()
        self.pubsub = PubSub()

    def __enter__(self) -> TestClient:
        self.runtime.__enter__()
        spawn(PubSubServer, (self.pubsub,), name="pubsub")
        try:
            self._start_children()
            return TestClient(self, self._socket, self._params, self._endpoint)
        except BaseException:
            self.runtime.__exit__()
            raise

    def _start_children(self) -> None:
        if self._children:
            started = spawn(Supervisor, (self._children,), label="children").process.started
            assert started is not None  # a supervisor starts its children in a coroutine
            started.get()

    def __exit__(self, *_exc: object) -> None:
        self.runtime.__exit__()


class TestClient:
    """One connected client: it joins topics and sees what comes."""

    __test__ = False

    def __init__(self, test: ChannelTest, socket: type[Socket], params: Mapping[str, str], endpoint: Any) -> None:
        self._test, self._endpoint = test, endpoint
        self._carrier = _Carrier()
        self._refs = count(1)
        self.socket = socket(endpoint)
        info = ConnectInfo(None, "/socket/websocket", {})
        assert accepted(self.socket.connect(params, info)), f"{socket.__name__}.connect() refused {dict(params)!r}"
        args = (self._carrier, self.socket, Routes(socket), NoopSerializer(), test.pubsub)
        self.transport: ActorRef[Transport] = spawn(Transport, args)

    def connect(self, params: Mapping[str, str] | None = None) -> TestClient:
        """Connect one more client to the same socket class, in the same system."""
        return TestClient(self._test, type(self.socket), dict(params or {}), self._endpoint)

    @property
    def pubsub(self) -> PubSub:
        """The PubSub of the test."""
        return self._test.pubsub

    @property
    def runtime(self) -> ManualRuntime:
        """The runtime of the test."""
        return self._test.runtime

    @property
    def close_code(self) -> int | None:
        """The code with which the server closed the connection, 1006 if it was cut, or None while it is open."""
        self.runtime.settle()
        return self._carrier.close_code

    @property
    def received(self) -> list[Message]:
        """Everything that has come and has not been looked at yet."""
        self.runtime.settle()
        return self._carrier.received

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        self.runtime.advance(seconds)

    def send(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> None:
        """Send any message, valid or not."""
        self.transport.send(Message(join_ref, ref, topic, event, payload))

    def join(self, topic: str, payload: Any = None) -> JoinedChannel:
        """Join a topic.

        Raises:
            JoinRefusedError: with the reply, if it is not "ok".
        """
        pushed = self.try_join(topic, payload)
        reply = pushed.reply()
        if reply is None or reply.status != "ok":
            raise JoinRefusedError(topic, reply)
        return JoinedChannel(self, topic, pushed.ref, reply)

    def try_join(self, topic: str, payload: Any = None) -> Pushed:
        """Ask to join a topic, and see what the reply is."""
        ref = str(next(self._refs))
        self.send(ref, ref, topic, "phx_join", {} if payload is None else payload)
        return Pushed(self, topic, ref)

    def next_ref(self) -> str:
        """Return a reference for one more message."""
        return str(next(self._refs))

    def take(self, event: str, topic: str | None = None, ref: Any = ..., payload: Any = ...) -> Message | None:
        """Take out and return the first message that fits, or None."""
        for index, message in enumerate(self.received):
            if (
                message.event == event
                and topic in (None, message.topic)
                and ref in (..., message.ref)
                and payload in (..., message.payload)
            ):
                return self._carrier.received.pop(index)
        return None

    def close(self) -> None:
        """Go away, as a browser does whose tab is closed."""
        self.transport.send(Disconnected(1001))
        self.runtime.settle()


class JoinedChannel:
    """A topic that a client has joined."""

    def __init__(self, client: TestClient, topic: str, join_ref: str, reply: Reply) -> None:
        self.client, self.topic, self.join_ref, self.reply = client, topic, join_ref, reply

    @property
    def ref(self) -> ActorRef[Any]:
        """The channel actor that serves the topic now.

        Raises:
            LookupError: if there is none.
        """
        transport = self.client.transport.process.actor
        joined = transport.connection.topics.get(self.topic) if isinstance(transport, Transport) else None
        if joined is None or joined.channel is None:
            raise LookupError(f"there is no channel for {self.topic!r}")
        return joined.channel

    @property
    def assigns(self) -> dict[str, Any]:
        """The assigns of the channel actor, as they are now."""
        self.client.runtime.settle()
        channel: Channel = self.ref.process.actor  # type: ignore[assignment]  # what serves a topic is a channel
        return channel.assigns

    def push(self, event: str, payload: Any = None) -> Pushed:
        """Push an event to the channel."""
        ref = self.client.next_ref()
        self.client.send(self.join_ref, ref, self.topic, event, {} if payload is None else payload)
        return Pushed(self.client, self.topic, ref)

    def leave(self) -> Pushed:
        """Leave the topic."""
        return self.push("phx_leave")

    def assert_push(self, event: str, payload: Any = ...) -> Message:
        """Return the first event that fits, which has come to the client; `...` fits any payload."""
        message = self.client.take(event, self.topic, payload=payload)
        assert message is not None, _missing(f"push of {event!r} with {payload!r}", self.client)
        return message

    def refute_push(self, event: str, payload: Any = ...) -> None:
        """Make sure that no such event has come."""
        message = self.client.take(event, self.topic, payload=payload)
        assert message is None, f"expected no push of {event!r}, got {message}"


class Pushed:
    """A message that a client has sent, and that may be answered."""

    def __init__(self, client: TestClient, topic: str, ref: str) -> None:
        self._client, self.topic, self.ref = client, topic, ref

    def reply(self) -> Reply | None:
        """Take out and return the answer, or None if there is none yet."""
        message = self._client.take("phx_reply", self.topic, self.ref)
        return None if message is None else message.payload

    def assert_reply(self, status: str, payload: Any = ...) -> Reply:
        """Return the answer, which must have come, with that status and payload; `...` fits any payload."""
        reply = self.reply()
        assert reply is not None, _missing(f"reply to {self.ref!r} on {self.topic!r}", self._client)
        assert reply.status == status, f"expected a reply with status {status!r}, got {reply}"
        assert payload in (..., reply.payload), f"expected a reply with payload {payload!r}, got {reply}"
        return reply

    def refute_reply(self) -> None:
        """Make sure that there is no answer yet."""
        reply = self.reply()
        assert reply is None, f"expected no reply to {self.ref!r}, got {reply}"


def _missing(what: str, client: TestClient) -> str:
    came = "\n".join(f"  {message}" for message in client.received) or "  nothing"
    return f"expected a {what}; this came:\n{came}"
