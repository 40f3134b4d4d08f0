"""A client's socket: when it connects, its heartbeat, which channel gets which message (phoenix.js' Socket), without I/O."""

from __future__ import annotations

import enum
import random
from itertools import count
from typing import TYPE_CHECKING, Any, TypeGuard

import msgspec

from actors.channels.message import Message
from transport.client.protocol.channel_protocol import ChannelProtocol
from transport.client.protocol.effects import (
    Call,
    CloseConnection,
    Effect,
    OpenConnection,
    Send,
    StartTimer,
    StopTimer,
    Timer,
)
from transport.client.protocol.reconnection import Backoff, Delay, reconnect_after, rejoin_after

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Options", "SocketProtocol", "SocketState"]

NORMAL = 1000
ABNORMAL = 1006
"""The code of a connection that ended without a close frame, or was never made (RFC 6455, section 7.1.5)."""


class SocketState(enum.StrEnum):
    """How a socket stands, in phoenix.js' words."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPEN = "open"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a socket is told at its making; times are seconds.

    Raises:
        ValueError: naming the option that is out of its range.
        TypeError: naming the one that is no function.
    """

    heartbeat_interval: float = 30.0
    timeout: float = 10.0
    reconnect_after: Delay = reconnect_after
    rejoin_after: Delay = rejoin_after
    jitter: float = 0.5
    max_buffered: int = 1000
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        for name in ("heartbeat_interval", "timeout"):
            _check_seconds(name, getattr(self, name))
        for name in ("reconnect_after", "rejoin_after"):
            if not callable(getattr(self, name)):
                raise TypeError(
                    f"{name} must be a function of the number of the try, such as lambda tries: 5.0, "
                    f"got {getattr(self, name)!r}"
                )
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise ValueError(
                f"jitter must be from 0 to 1, the share of a delay that may be taken off, got {self.jitter!r}"
            )
        if not _is_number(self.max_buffered) or not self.max_buffered >= 0:
            raise ValueError(f"max_buffered must be a number >= 0, got {self.max_buffered!r}")


def _check_seconds(name: str, seconds: object) -> None:
    if not _is_number(seconds) or not seconds > 0:
        raise ValueError(f"{name} must be seconds > 0, got {seconds!r}")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


class SocketProtocol:
    """The one connection of a client, made again whenever it is lost, and the channels on it.

    What happens is told by calling its methods; what is to be done then is returned by `take()`.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = Options() if options is None else options
        self.state = SocketState.CLOSED
        self.channels: list[ChannelProtocol] = []
        self.connection = 0
        self._effects: list[Effect] = []
        self._ref = 0
        self._binding_refs = count(1)
        self._callbacks: dict[str, dict[int, Callable[..., object]]] = {}
        self._connecting = Timer("connect", self._connect_timed_out)
        self._heartbeat = Timer("heartbeat", self._beat)
        self._heartbeat_ref: str | None = None
        self._reconnect = Backoff(
            "reconnect",
            self.connect,
            self.options.reconnect_after,
            otherwise=reconnect_after,
            jitter=self.options.jitter,
            random=self.options.random,
            emit=self.emit,
        )
        # Between the loss of a connection and the next try.
        self.reconnecting = False

    def __repr__(self) -> str:
        return f"<Socket {self.state} {[channel.topic for channel in self.channels]}>"

    @property
    def is_open(self) -> bool:
        """Tell whether messages can be sent now."""
        return self.state is SocketState.OPEN

    @property
    def is_over(self) -> bool:
        """Tell whether there is no connection, and none will be made without connect()."""
        return self.state is SocketState.CLOSED and not self.reconnecting

    def take(self) -> list[Effect]:
        """Return what is to be done since the last time, in order."""
        effects, self._effects = self._effects, []
        return effects

    # What the user does

    def connect(self) -> None:
        """Connect, unless it is connected or connecting; try again until it succeeds."""
        if self.state is not SocketState.CLOSED:
            return
        self.reconnecting = False
        self._reconnect.cancel()
        self.connection += 1
        self.state = SocketState.CONNECTING
        self.emit(OpenConnection(self.connection))
        self.emit(StartTimer(self._connecting, self.options.timeout))

    def disconnect(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection and do not reconnect. Channels stay; they join again after connect()."""
        self.reconnecting = False
        self._reconnect.reset()
        if self.state is not SocketState.CLOSED:
            self._drop(code, reason, "connection_closed")
        self._end()

    def channel(
        self, topic: str, params: Any, *, deliver: Callable[[Message], object], ended: Callable[[], object]
    ) -> ChannelProtocol:
        """Make a channel for a topic; it is not joined yet."""
        channel = ChannelProtocol(self, topic, params, deliver=deliver, ended=ended)
        self.channels.append(channel)
        return channel

    def on(self, kind: str, callback: Callable[..., object]) -> int:
        """Have a callback called at each "open", "close", "error" or "message"; return a ref to take it back with."""
        ref = self.next_binding()
        self._callbacks.setdefault(kind, {})[ref] = callback
        return ref

    def off(self, ref: int) -> None:
        """Take a callback back."""
        for callbacks in self._callbacks.values():
            callbacks.pop(ref, None)

    # What becomes of the connection

    def opened(self, connection: int) -> None:
        """Take note that the connection is made."""
        if connection != self.connection or self.state is not SocketState.CONNECTING:
            return
        self.state = SocketState.OPEN
        self.emit(StopTimer(self._connecting))
        self._reconnect.reset()
        self._heartbeat_ref = None
        self.emit(StartTimer(self._heartbeat, self.options.heartbeat_interval))
        for channel in list(self.channels):
            channel.opened()
        self._call("open")

    def failed(self, connection: int, error: Exception) -> None:
        """Take note that the connection cannot be made."""
        if connection != self.connection or self.state is not SocketState.CONNECTING:
            return
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._call("error", error)
        self._lost(ABNORMAL, "", "connection_error")
        self._schedule_reconnect()

    def closed(self, connection: int, code: int, reason: str) -> None:
        """Take note that the connection has ended: as the server wishes for good with code 1000, or else to come back."""
        if connection != self.connection or self.state is not SocketState.OPEN:
            return
        self._lost(code, reason, "connection_closed")
        if code == NORMAL:
            self._end()
        else:
            self._schedule_reconnect()

    def received(self, connection: int, message: Message) -> None:
        """Give a message to the channels that it is for."""
        if connection != self.connection or self.state is not SocketState.OPEN:
            return
        if message.ref and message.ref == self._heartbeat_ref:
            self._heartbeat_ref = None
        for channel in list(self.channels):
            if channel.is_member(message):
                channel.receive(message)
        self._call("message", message)

    def malformed(self, connection: int, error: Exception) -> None:
        """Take note of something that is no message; the connection goes on, as phoenix.js' does."""
        if connection == self.connection and self.state is SocketState.OPEN:
            self._call("error", error)

    # Its end, and the next

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
        self.emit(StopTimer(self._connecting))
        self.emit(StopTimer(self._heartbeat))
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
        """Send a heartbeat; if the last one was not answered, the connection is dead (phoenix.js' heartbeatTimeout)."""
        if self._heartbeat_ref is not None:
            self._drop(NORMAL, "heartbeat timeout", "heartbeat_timeout")
            self._schedule_reconnect()
            return
        self._heartbeat_ref = self.make_ref()
        self.send(Message(None, self._heartbeat_ref, "phoenix", "heartbeat", {}))
        self.emit(StartTimer(self._heartbeat, self.options.heartbeat_interval))

    # What its channels use

    def emit(self, effect: Effect) -> None:
        """Have something done."""
        self._effects.append(effect)

    def send(self, message: Message) -> None:
        """Write a message to the open connection."""
        self.emit(Send(self.connection, message))

    def make_ref(self) -> str:
        """Return the next ref."""
        self._ref += 1
        return str(self._ref)

    def next_binding(self) -> int:
        """Return a number by which to take a callback back."""
        return next(self._binding_refs)

    def leave_open_topic(self, joining: ChannelProtocol) -> None:
        """Leave what is joined under the same topic: the server has one channel for it at a time."""
        for channel in list(self.channels):
            if channel is not joining and channel.topic == joining.topic and channel.is_active:
                channel.leave()

    def remove(self, channel: ChannelProtocol) -> None:
        """Forget a channel."""
        if channel in self.channels:
            self.channels.remove(channel)

    def close_channels(self) -> None:
        """Leave all channels at once, without waiting for answers."""
        for channel in list(self.channels):
            channel.leave()

    def _call(self, kind: str, *args: object) -> None:
        for callback in self._callbacks.get(kind, {}).values():
            self.emit(Call(callback, args))
