"""A client's protocol without a network: time is a ManualClock, and its effects are recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.channels.message import Message
from actors.testing import ManualClock
from transport.client.protocol.effects import (
    Call,
    CloseConnection,
    Effect,
    OpenConnection,
    ProtocolTimer,
    Resolve,
    SendMessage,
    StartTimer,
    StopTimer,
)
from transport.client.protocol.options import Options
from transport.client.protocol.socket_protocol import SocketProtocol

if TYPE_CHECKING:
    from actors.clock import Timer
    from transport.client.protocol.channel_protocol import ChannelProtocol
    from transport.client.protocol.push_protocol import PushProtocol


class World:
    """A socket's protocol; records what it sends, opens and closes, and plays the server."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        # No jitter unless a test sets it.
        token = options.pop("token", None)
        self.socket = SocketProtocol(Options(**{"jitter": 0.0, **options}), token)
        self.sent: list[Message] = []
        self.opened: list[int] = []
        self.transports: list[str] = []
        self.closed: list[tuple[int, int, str]] = []
        self.resolving: list[Resolve] = []
        self.timers: dict[ProtocolTimer, Timer] = {}

    def settle(self) -> None:
        while effects := self.socket.take():
            for effect in effects:
                self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SendMessage(number, message):
                assert number == self.socket.connection
                self.sent.append(message)
            case Call(callback, args):
                callback(*args)
            case StartTimer(timer, seconds):
                self._stop(timer)
                self.timers[timer] = self.clock.call_after(seconds, lambda: self._fire(timer))
            case StopTimer(timer):
                self._stop(timer)
            case OpenConnection(number, transport):
                self.opened.append(number)
                self.transports.append(transport)
            case CloseConnection(number, code, reason):
                self.closed.append((number, code, reason))
            case Resolve():
                self.resolving.append(effect)

    def _stop(self, timer: ProtocolTimer) -> None:
        if running := self.timers.pop(timer, None):
            running.cancel()

    def _fire(self, timer: ProtocolTimer) -> None:
        del self.timers[timer]
        timer.fire()
        self.settle()

    def advance(self, seconds: float) -> None:
        self.settle()
        end = self.clock.now() + seconds
        while self.clock.step(end):
            pass

    def running(self) -> list[str]:
        """Return the timers that are running, without those that wait for a success to have lasted."""
        return sorted(timer.name for timer in self.timers if "min_uptime" not in timer.name)

    # The server

    def open(self) -> None:
        """Connect, or let the pending connection succeed."""
        self.socket.connect()
        self.settle()
        self.socket.opened(self.socket.connection)
        self.settle()

    def drop(self, code: int = 1006) -> None:
        self.socket.closed(self.socket.connection, code, "")
        self.settle()

    def refuse(self) -> None:
        self.socket.failed(self.socket.connection, OSError("refused"))
        self.settle()

    def begin_to_say(self) -> None:
        """Deliver bytes that are no whole message yet."""
        self.socket.heard(self.socket.connection)
        self.settle()

    def say(self, join_ref: object, ref: object, topic: str, event: str, payload: Any) -> None:
        self.begin_to_say()
        self.socket.received(self.socket.connection, Message(join_ref, ref, topic, event, payload))
        self.settle()

    def answer(self, message: Message, status: str = "ok", response: Any = None) -> None:
        reply = {"status": status, "response": {} if response is None else response}
        self.say(message.join_ref, message.ref, message.topic, "phx_reply", reply)

    # The user

    def channel(self, topic: str = "room:1", params: Any = None) -> Member:
        return Member(self, topic, {} if params is None else params)

    def joined(self, topic: str = "room:1") -> Member:
        """Return a channel that has joined; `sent` is empty then."""
        if not self.socket.is_open:
            self.open()
        member = self.channel(topic)
        member.join()
        self.answer(self.sent[-1])
        self.sent.clear()
        return member

    def events(self) -> list[str]:
        return [message.event for message in self.sent]


class Member:
    """A channel; records `delivered` messages, `ends`, and `heard` for each event with a callback."""

    def __init__(self, world: World, topic: str, params: Any) -> None:
        self.world = world
        self.delivered: list[Message] = []
        self.ends = 0
        self.heard: list[tuple[str, Any]] = []
        self.channel: ChannelProtocol = world.socket.channel(
            topic, params, deliver=self.delivered.append, ended=self._ended
        )
        for event in ("phx_error", "phx_close"):
            self.listen(event)

    def _ended(self) -> None:
        self.ends += 1

    @property
    def state(self) -> str:
        return self.channel.state.value

    def listen(self, event: str) -> int:
        return self.channel.on(event, lambda payload: self.heard.append((event, payload)))

    def join(self, timeout: float | None = None) -> Answers:
        return self._follow(self.channel.join(timeout))

    def push(self, event: str, payload: Any = None, timeout: float | None = None, *, again: bool = False) -> Answers:
        return self._follow(self.channel.push(event, {} if payload is None else payload, timeout, again=again))

    def leave(self, timeout: float | None = None) -> Answers:
        return self._follow(self.channel.leave(timeout))

    def _follow(self, push: PushProtocol) -> Answers:
        answers = Answers(push)
        self.world.settle()
        return answers


class Answers(list[tuple[str, Any]]):
    """The status and the response of each reply to a push."""

    def __init__(self, push: PushProtocol) -> None:
        super().__init__()
        self.push = push
        push.watch(lambda reply: self.append((reply.status, reply.payload)))
