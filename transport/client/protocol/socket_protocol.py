"""A client's socket without I/O (phoenix.js' Socket): when it connects, its heartbeat, which channel gets which message."""

from __future__ import annotations

import enum
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from actors.callbacks import check_function
from actors.channels.message import Message
from actors.log import Log
from transport.client.exceptions import ParamsError, ReplyError
from transport.client.protocol.channel_protocol import ChannelProtocol
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
    TransportName,
)
from transport.client.protocol.options import Options
from transport.client.protocol.reconnection import RetryTimer, reconnect_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.client.protocol.recovery import ClientRecovery

__all__ = ["ABNORMAL", "NORMAL", "SocketProtocol", "SocketState"]

_log = Log("ashtree.client")

SOCKET_TOPIC = "phoenix"
ACCESS_TOKEN = "access_token"  # noqa: S105  # an event

NORMAL = 1000
ABNORMAL = 1006
"""The code of a connection that ended without a close frame or was never established (RFC 6455, section 7.1.5)."""


class SocketState(enum.StrEnum):
    """The states of a socket, named as in phoenix.js."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"


class SocketProtocol:
    """A client's connection, re-established whenever it is lost, and the channels on it.

    Call its methods to report what happened; `take()` returns what to do. `token` is a function that returns the payload with
    another token, for a server that says that the one of the connection expires.
    """

    def __init__(self, options: Options | None = None, token: Callable[[], object] | None = None) -> None:
        self.options = Options() if options is None else options
        self.state = SocketState.CLOSED
        self.channels: list[ChannelProtocol] = []
        self.connection = 0
        # That of this connection, or of the last one; and the one that the next begins with.
        self.transport: TransportName = self.options.transport
        self._preferred: TransportName = self.options.transport
        self._effects: list[Effect] = []
        self._ref = 0
        self._token = token
        self._token_ref: str | None = None
        self._binding_refs = count(1)
        self._callbacks: dict[str, dict[int, Callable[..., object]]] = {}
        self._connecting = ProtocolTimer("connect", self._connect_timed_out)
        self._heartbeat = ProtocolTimer("heartbeat", self._beat)
        # True from a heartbeat until something is received.
        self._is_silent = False
        self._fallback = ProtocolTimer("long-poll fallback", self._fall_back_if_silent)
        # Whether something was received over this WebSocket, and over any.
        self._is_proven = self._websocket_works = False
        self._reconnect = RetryTimer(
            "reconnect",
            self.connect,
            self.options.reconnect_after,
            otherwise=reconnect_after,
            min_uptime=self.options.min_uptime,
            jitter=self.options.jitter,
            random=self.options.random,
            emit=self.emit,
        )
        # True between the loss of a connection and the next attempt.
        self.reconnecting = False

    def __repr__(self) -> str:
        return f"<Socket {self.state} {[channel.topic for channel in self.channels]}>"

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""
        return self.state is SocketState.OPEN

    @property
    def is_over(self) -> bool:
        """Whether there is no connection and none will be made without connect()."""
        return self.state is SocketState.CLOSED and not self.reconnecting

    def take(self) -> list[Effect]:
        """Return the effects since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # What the user does

    def connect(self) -> None:
        """Connect unless connected or connecting; retry until it succeeds."""
        if self.state is not SocketState.CLOSED:
            return
        self.reconnecting = False
        self._reconnect.cancel()
        self._open(self._preferred)

    def _open(self, transport: TransportName) -> None:
        self.connection += 1
        self.transport, self.state, self._is_proven = transport, SocketState.CONNECTING, False
        self.emit(OpenConnection(self.connection, transport))
        self.emit(StartTimer(self._connecting, self.options.timeout))
        self._expect_websocket()

    def reconnect(self) -> None:
        """Replace the connection, if there is one, by a new one at once; the delays start from the shortest again.

        The network may be another one: a WebSocket may work now.
        """
        self._preferred = self.options.transport
        self._reconnect.reset()
        if self.state is not SocketState.CLOSED:
            self._drop(NORMAL, "reconnect", "connection_closed")
        self.connect()

    def disconnect(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection and do not reconnect. Channels stay and rejoin after connect()."""
        self.reconnecting = False
        self._reconnect.reset()
        if self.state is not SocketState.CLOSED:
            self._drop(code, reason, "connection_closed")
        self._end()

    def channel(
        self,
        topic: str,
        params: object,
        *,
        deliver: Callable[[Message], object],
        ended: Callable[[], object],
        recovery: ClientRecovery | None = None,
    ) -> ChannelProtocol:
        """Create a channel for a topic, without joining it."""
        channel = ChannelProtocol(self, topic, params, deliver=deliver, ended=ended, recovery=recovery)
        self.channels.append(channel)
        return channel

    def on(self, kind: str, callback: Callable[..., object]) -> int:
        """Call a callback at each "open", "close", "error" or "message"; return a ref for `off`."""
        check_function("a callback of the client", callback, plain=False)
        ref = self.next_binding()
        self._callbacks.setdefault(kind, {})[ref] = callback
        return ref

    def off(self, ref: int) -> None:
        """Remove a callback."""
        for callbacks in self._callbacks.values():
            callbacks.pop(ref, None)

    # What the connection reports

    def opened(self, connection: int) -> None:
        """Handle an established connection."""
        if connection != self.connection or self.state is not SocketState.CONNECTING:
            return
        self.state = SocketState.OPEN
        self.emit(StopTimer(self._connecting))
        self._reconnect.succeeded()
        self._greet()
        for channel in list(self.channels):
            channel.opened()
        self._call("open")

    def _greet(self) -> None:
        """Begin with the heartbeats; there are none with long polling, whose requests are answered anyway (phoenix.js)."""
        self._is_silent = False
        if self.transport == "longpoll":
            # Remembered, if no WebSocket ever worked.
            self._preferred = self.options.transport if self._websocket_works else "longpoll"
        elif self._expect_websocket():
            # The first one at once: a proxy may let the handshake pass, and nothing else.
            self._beat()
        else:
            self.emit(StartTimer(self._heartbeat, self.options.heartbeat_interval))

    def failed(self, connection: int, error: Exception) -> None:
        """Handle a connection that could not be established."""
        if connection != self.connection or self.state is not SocketState.CONNECTING:
            return
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._may_fall_back and not isinstance(error, ParamsError):
            self._fall_back(error)
            return
        self._call("error", error)
        self._lost(ABNORMAL, "", "connection_error")
        self._schedule_reconnect()

    def closed(self, connection: int, code: int, reason: str) -> None:
        """Handle the end of the connection: the server asks not to reconnect with code 1000; otherwise reconnect."""
        if connection != self.connection or self.state is not SocketState.OPEN:
            return
        self._lost(code, reason, "connection_closed")
        if code == NORMAL:
            self._end()
        else:
            self._schedule_reconnect()

    def heard(self, connection: int) -> None:
        """Note that the server lives: bytes were received, of whatever message, and perhaps not yet all of it."""
        if connection == self.connection and self.state is SocketState.OPEN:
            self._is_silent = False
            self._is_proven = True
            self._websocket_works |= self.transport == "websocket"

    def received(self, connection: int, message: Message) -> None:
        """Pass a received message to the channels that it is for."""
        if connection != self.connection or self.state is not SocketState.OPEN:
            return
        if message.topic == SOCKET_TOPIC:
            self._received_of_socket(message)
        for channel in list(self.channels):
            if channel.is_member(message):
                channel.receive(message)
        self._call("message", message)

    def malformed(self, connection: int, error: Exception) -> None:
        """Report a malformed message; the connection stays open, as in phoenix.js."""
        if connection == self.connection and self.state is SocketState.OPEN:
            self._call("error", error)

    # The token of the connection

    def _received_of_socket(self, message: Message) -> None:
        """Answer the warning that the token expires, and report a token that was refused."""
        match message:
            case Message(event="token_expires") if self._token is not None:
                send = partial(self._send_token_over, self.connection)
                self.emit(Resolve(SOCKET_TOPIC, self._token, send, partial(self._call, "error")))
            case Message(event="phx_reply", ref=str(ref), payload={"status": str(status), "response": response}):
                if ref == self._token_ref and status != "ok":
                    refusal = ReplyError(SOCKET_TOPIC, ACCESS_TOKEN, status, response)
                    _log.warning("the server refused another token: %s", refusal)
                    self._call("error", refusal)

    def _send_token_over(self, connection: int, payload: object) -> None:
        if connection == self.connection:
            self.send_token(payload)

    def send_token(self, payload: object) -> None:
        """Send another token, in a payload, if there is a connection; the next one begins with its own."""
        if self.is_open:
            self._token_ref = self.make_ref()
            self.send(Message(None, self._token_ref, SOCKET_TOPIC, ACCESS_TOKEN, payload))

    # Falling back to long polling (phoenix.js' longPollFallbackMs)

    @property
    def _may_fall_back(self) -> bool:
        return self.transport == "websocket" and self.options.longpoll_fallback is not None

    def _expect_websocket(self) -> bool:
        """Limit the time until the WebSocket is open, or works, if there is a fallback; return whether there is one."""
        if self.transport == "longpoll" or self.options.longpoll_fallback is None:
            self.emit(StopTimer(self._fallback))
            return False
        self.emit(StartTimer(self._fallback, self.options.longpoll_fallback))
        return True

    def _fall_back_if_silent(self) -> None:
        if self.state is SocketState.CLOSED or self._is_proven:
            return
        silence = TimeoutError(f"nothing was received within {self.options.longpoll_fallback:g} s")
        if self.state is SocketState.OPEN:
            self._drop(NORMAL, "fallback", "connection_error")
        else:
            self.emit(CloseConnection(self.connection, NORMAL, ""))
        self._fall_back(silence)

    def _fall_back(self, error: Exception) -> None:
        _log.info("falling back to long polling, as a WebSocket does not work: %s", error)
        self._open("longpoll")

    # Losing the connection

    def _connect_timed_out(self) -> None:
        if self.state is SocketState.CONNECTING:
            self.emit(CloseConnection(self.connection, NORMAL, ""))
            self._fail(TimeoutError(f"no connection within {self.options.timeout:g} s"))

    def _drop(self, code: int, reason: str, why: str) -> None:
        """Close the connection from this side."""
        self.emit(CloseConnection(self.connection, code, reason))
        self._lost(code, reason, why)

    def _lost(self, code: int, reason: str, why: str) -> None:
        self.state = SocketState.CLOSED
        for timer in (self._connecting, self._heartbeat, self._fallback):
            self.emit(StopTimer(timer))
        self._reconnect.cancel()
        for channel in list(self.channels):
            channel.connection_lost(why)
        self._call("close", code, reason)

    def _schedule_reconnect(self) -> None:
        self.reconnecting = True
        self._reconnect.schedule()

    def _end(self) -> None:
        for channel in self.channels:
            channel.end()

    def _beat(self) -> None:
        """Send a heartbeat; drop the connection if nothing was received since the last one (phoenix.js' heartbeatTimeout).

        Its reply comes after what the server has sent before, which may take longer than the interval.
        """
        if self._is_silent and self._may_fall_back and not self._is_proven:
            self._fall_back_if_silent()
            return
        if self._is_silent:
            self._drop(NORMAL, "heartbeat timeout", "heartbeat_timeout")
            self._schedule_reconnect()
            return
        self._is_silent = True
        self.send(Message(None, self.make_ref(), SOCKET_TOPIC, "heartbeat", {}))
        self.emit(StartTimer(self._heartbeat, self.options.heartbeat_interval))

    # What its channels use (HostSocket)

    def emit(self, effect: Effect) -> None:
        """Add an effect to be carried out."""
        self._effects.append(effect)

    def send(self, message: Message) -> None:
        """Write a message to the open connection."""
        self.emit(SendMessage(self.connection, message))

    def make_ref(self) -> str:
        """Return the next ref."""
        self._ref += 1
        return str(self._ref)

    def next_binding(self) -> int:
        """Return a number that identifies a callback."""
        return next(self._binding_refs)

    def leave_open_topic(self, joining: ChannelProtocol) -> None:
        """Leave any other channel that is joined to the same topic: the server keeps one per topic."""
        for channel in list(self.channels):
            if channel is not joining and channel.topic == joining.topic and channel.is_active:
                channel.leave()

    def remove(self, channel: ChannelProtocol) -> None:
        """Forget a channel."""
        if channel in self.channels:
            self.channels.remove(channel)

    def close_channels(self) -> None:
        """Leave all channels at once, without waiting for replies."""
        for channel in list(self.channels):
            channel.leave()

    def _call(self, kind: str, *args: object) -> None:
        for callback in self._callbacks.get(kind, {}).values():
            self.emit(Call(callback, args))
