"""A client's channel without I/O (phoenix.js' Channel): when it joins, what it sends, which messages belong to it."""

from __future__ import annotations

import enum
from functools import partial
from typing import TYPE_CHECKING, Protocol

from actors.callbacks import check_function
from actors.channels.message import Message, Reply
from actors.idempotency.idempotency import RETRY
from transport.client.exceptions import AlreadyJoinedError, BufferFullError, ClosedError, NotJoinedError
from transport.client.protocol.effects import Call, Callback, Effect, ProtocolTimer, Resolve, StartTimer
from transport.client.protocol.push_protocol import CLOSED, TIMEOUT, PushProtocol, checked_timeout
from transport.client.protocol.reconnection import RetryTimer, rejoin_after
from transport.client.protocol.recovery import ClientRecovery, MissedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.client.protocol.options import Options

__all__ = ["RECOVERY", "ChannelProtocol", "ChannelState", "HostSocket"]

RECOVERY = "phx_recovery"
"""The event of what the server says of recovery in its answer to a join; not one of the server's own."""

JOIN, LEAVE, ERROR, CLOSE = "phx_join", "phx_leave", "phx_error", "phx_close"

_OK = Reply("ok", {})
_TIMED_OUT = Reply(TIMEOUT, {})
_CLOSED = Reply(CLOSED, {})
_UNMATCHED = Reply("error", {"reason": "unmatched topic"})


class ChannelState(enum.StrEnum):
    """The states of a channel, named as in phoenix.js."""

    CLOSED = "closed"
    ERRORED = "errored"
    JOINED = "joined"
    JOINING = "joining"
    LEAVING = "leaving"


class HostSocket(Protocol):
    """The part of a socket that its channels use; `SocketProtocol` is one."""

    @property
    def options(self) -> Options:
        """The options of the socket."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent now."""

    def emit(self, effect: Effect) -> None:
        """Add an effect to be carried out."""

    def send(self, message: Message) -> None:
        """Write a message to the open connection."""

    def make_ref(self) -> str:
        """Return the next ref."""

    def next_binding(self) -> int:
        """Return a number that identifies a callback."""

    def leave_open_topic(self, joining: ChannelProtocol) -> None:
        """Leave any other channel that is joined to the same topic."""

    def remove(self, channel: ChannelProtocol) -> None:
        """Forget a channel."""


class ChannelProtocol:
    """One topic of a socket.

    `params` is the payload of the join, or a function that returns it, called again for each join. `deliver` is called with
    each message of this channel, `ended` when no more will arrive. With a `recovery` it gets what it has missed while it was
    away.
    """

    def __init__(
        self,
        socket: HostSocket,
        topic: str,
        params: object,
        *,
        deliver: Callable[[Message], object],
        ended: Callable[[], object],
        recovery: ClientRecovery | None = None,
    ) -> None:
        self.topic, self.params, self.recovery = topic, params, recovery
        self.state = ChannelState.CLOSED
        self.timeout = socket.options.timeout
        self.buffer: list[PushProtocol] = []
        self._socket, self._deliver, self._ended = socket, deliver, ended
        self._joined_once = False
        self._join_push = self._make_push(JOIN, None, self.timeout)
        self._leave_push: PushProtocol | None = None
        self._waiting: dict[str, PushProtocol] = {}
        self._bindings: list[tuple[int, str, Callback]] = []
        self._rejoin = RetryTimer(
            f"rejoin {topic}",
            self._rejoin_now,
            socket.options.rejoin_after,
            otherwise=rejoin_after,
            min_uptime=socket.options.min_uptime,
            jitter=socket.options.jitter,
            random=socket.options.random,
            emit=socket.emit,
        )

    def __repr__(self) -> str:
        return f"<Channel {self.topic} {self.state} ({self.join_ref})>"

    @property
    def join_ref(self) -> str | None:
        """The ref of the last join; messages with another join_ref are no longer for this channel."""
        return self._join_push.ref

    @property
    def can_push(self) -> bool:
        """Whether a push would be sent now instead of being buffered."""
        return self._socket.is_open and self.state is ChannelState.JOINED

    @property
    def is_active(self) -> bool:
        """Whether it has joined or is joining."""
        return self.state in {ChannelState.JOINED, ChannelState.JOINING}

    # What the user does

    def on(self, event: str, callback: Callback) -> int:
        """Call `callback(payload)` for each event of that name; return a ref for `off`."""
        check_function("a callback of the client", callback, plain=False)
        ref = self._socket.next_binding()
        self._bindings.append((ref, event, callback))
        return ref

    def off(self, event: str, ref: int | None = None) -> None:
        """Remove one callback of an event, or all of them."""
        self._bindings = [
            binding for binding in self._bindings if binding[1] != event or (ref is not None and binding[0] != ref)
        ]

    def join(self, timeout: float | None = None) -> PushProtocol:
        """Join, and from now on rejoin whenever the channel or the connection is lost.

        Raises:
            AlreadyJoinedError: if it was joined before.
            ClosedError: if it was left before.
            ValueError: if the timeout is not a number >= 0.
        """
        seconds = checked_timeout(timeout, self.timeout)
        if self._joined_once:
            raise AlreadyJoinedError(self.topic)
        if self._leave_push is not None:
            raise ClosedError(f"{self.topic!r} was left; make another channel with socket.channel({self.topic!r})")
        self._joined_once = True
        self.timeout = self._join_push.timeout = seconds
        self._rejoin_now()
        return self._join_push

    def push(self, event: str, payload: object, timeout: float | None = None, *, again: bool = False) -> PushProtocol:
        """Send an event, or buffer it in order until the channel is joined; its timeout starts now.

        With `again` it is sent again at each rejoin until it is answered: a server does not handle it twice.

        Raises:
            NotJoinedError: if join() was not called.
            ClosedError: if the channel is closed or leaving.
            BufferFullError: if `max_buffered` events are buffered.
            ValueError: if the timeout is not a number >= 0.
        """
        seconds = checked_timeout(timeout, self.timeout)
        self._check_push(event)
        push = self._make_push(event, payload, seconds)
        push.again = again
        self._start(push)
        if self.can_push:
            self._send(push)
        else:
            self.buffer.append(push)
        return push

    def _check_push(self, event: str) -> None:
        if not self._joined_once:
            raise NotJoinedError(self.topic, event)
        if self.state in {ChannelState.CLOSED, ChannelState.LEAVING}:
            raise ClosedError(f"{event!r} cannot be pushed to {self.topic!r}: the channel is {self.state}")
        limit = self._socket.options.max_buffered
        if not self.can_push and len(self.buffer) >= limit:
            raise BufferFullError(self.topic, event, limit)

    def leave(self, timeout: float | None = None) -> PushProtocol:
        """Leave; events are no longer delivered. It is closed by the server's reply, or at once if the server need not know."""
        seconds = checked_timeout(timeout, self.timeout)
        if self._leave_push is not None:
            return self._leave_push
        push = self._leave_push = self._make_push(LEAVE, {}, seconds)
        if self.state is ChannelState.CLOSED and self._joined_once:
            # The server closed it first.
            push.settle(_OK)
            return push
        joined, is_known = self.can_push, self._socket.is_open and self.is_active
        self._rejoin.reset()
        self.state = ChannelState.LEAVING
        if is_known:
            self._start(push)
            self._send(push)
        if not joined:
            self._left(_OK)
        return push

    # What the socket reports

    def is_member(self, message: Message) -> bool:
        """Return whether a message is for this channel, and not for an earlier one that joined the same topic."""
        return message.topic == self.topic and (not message.join_ref or message.join_ref == self.join_ref)

    def receive(self, message: Message) -> None:
        """Handle a message of this channel."""
        match message.event:
            case "phx_reply":
                self._replied(message)
            case "phx_error":
                self.fail(message.payload)
            case "phx_close":
                self._close(message.payload)
            case _ if self.state is not ChannelState.LEAVING:
                self._received(message)

    def _received(self, message: Message) -> None:
        try:
            taken = message if self.recovery is None else self.recovery.take(message)
        except MissedError as missed:
            self.fail({"reason": "missed", "message": str(missed)})
            return
        if taken is not None:
            self._trigger(taken.event, taken.payload)
            self._socket.emit(Call(self._deliver, (taken,)))

    def opened(self) -> None:
        """Join over the new connection if a join is due."""
        self._rejoin.reset()
        if self.state in {ChannelState.ERRORED, ChannelState.JOINING}:
            self._rejoin_now()

    def fail(self, reason: object) -> None:
        """Handle the loss of the server's channel: rejoin after a delay."""
        if self.state is ChannelState.LEAVING:
            self._left(_OK)
        elif self.state is not ChannelState.CLOSED:
            self._errored()
            self._trigger(ERROR, reason)

    def connection_lost(self, reason: str) -> None:
        """Handle the loss of the connection: do not rejoin without one, and notify the user unless that was done."""
        self._rejoin.reset()
        if self.state is not ChannelState.ERRORED:
            self.fail({"source": "transport", "reason": reason})

    def end(self) -> None:
        """Report that no more messages will arrive unless the socket is connected again."""
        self._socket.emit(Call(self._ended, ()))

    # Joins

    def _rejoin_now(self) -> None:
        self._socket.leave_open_topic(self)
        self.state = ChannelState.JOINING
        self._forget(self._join_push)
        self._start(self._join_push)
        # Without a connection the join waits for one: it is sent when the socket opens.
        if self._socket.is_open:
            self._send_join()

    def _send_join(self) -> None:
        if not callable(self.params):
            self._join_with(self.params)
            return
        ref = self.join_ref

        def done(payload: object) -> None:
            if self.join_ref == ref and self.state is ChannelState.JOINING and self._socket.is_open:
                try:
                    self._join_with(payload)
                except TypeError as error:
                    failed(error)

        def failed(error: Exception) -> None:
            if self.join_ref == ref and self.state is ChannelState.JOINING:
                self._forget(self._join_push)
                self._join_push.cause = error
                self._settle(self._join_push, Reply("error", {"reason": f"the params failed: {error!r}"}))

        self._socket.emit(Resolve(self.topic, self.params, done, failed))

    def _join_with(self, payload: object) -> None:
        self._join_push.payload = payload if self.recovery is None else self.recovery.asking(payload)
        self._send(self._join_push)

    def _join_answered(self, status: str) -> None:
        if status == "ok":
            self.state = ChannelState.JOINED
            self._rejoin.succeeded()
            buffered, self.buffer = self.buffer, []
            not_sent = set(buffered)
            sent_before = [push for push in self._waiting.values() if push.again and push not in not_sent]
            for push in [*sent_before, *buffered]:
                self._send(push)
        else:
            self._errored()

    def _errored(self) -> None:
        if self.state is ChannelState.JOINING:
            self._forget(self._join_push)
            self._join_push.reset()
        self.state = ChannelState.ERRORED
        if self._socket.is_open:
            self._rejoin.schedule()

    # Pushes

    def _make_push(self, event: str, payload: object, timeout: float) -> PushProtocol:
        return PushProtocol(event, payload, timeout, emit=self._socket.emit, timed_out=self._timed_out)

    def _start(self, push: PushProtocol) -> None:
        ref = self._socket.make_ref()
        push.start(ref)
        self._waiting[ref] = push

    def _send(self, push: PushProtocol) -> None:
        self._socket.send(Message(self.join_ref, push.ref, self.topic, push.event, push.payload))

    def _forget(self, push: PushProtocol) -> None:
        if push.ref is not None:
            self._waiting.pop(push.ref, None)

    def _replied(self, message: Message) -> None:
        """Settle the push that this is the reply to; a late reply is dropped.

        One that is sent `again` is not settled if it was not handled: if it found no channel, as that had just crashed, it is
        sent after the rejoin; if it is not known whether another process has handled it, in as many seconds as the server says.
        """
        match message:
            case Message(ref=str(ref), payload={"status": str(status), "response": response}) if ref in self._waiting:
                push, reply = self._waiting[ref], Reply(status, response)
                if not push.again or not self._comes_again(push, reply):
                    del self._waiting[ref]
                    self._settle(push, reply)

    def _comes_again(self, push: PushProtocol, reply: Reply) -> bool:
        seconds = _seconds_to_retry(reply)
        if seconds is not None:
            self._socket.emit(StartTimer(ProtocolTimer(f"retry {push.event}", partial(self._retry, push)), seconds))
        return seconds is not None or reply == _UNMATCHED

    def _retry(self, push: PushProtocol) -> None:
        """Send a push again, unless it is answered by now, or the rejoin does so."""
        if push.ref in self._waiting and self.can_push:
            self._send(push)

    def _settle(self, push: PushProtocol, reply: Reply) -> None:
        if push is self._leave_push:
            self._left(reply)
            return
        if push is self._join_push and self.state is ChannelState.JOINING:
            self._join_answered(reply.status)
            if self.recovery is not None and reply.status == "ok" and self.recovery.answered(reply.payload):
                self._trigger(RECOVERY, self.recovery.answer)
        push.settle(reply)

    def _timed_out(self, push: PushProtocol) -> None:
        self._forget(push)
        if push in self.buffer:
            self.buffer.remove(push)
        if push is self._join_push and self.state is ChannelState.JOINING and self._socket.is_open:
            # The server may have accepted the join, only too late.
            leave = self._make_push(LEAVE, {}, self.timeout)
            leave.ref = self._socket.make_ref()
            self._send(leave)
        self._settle(push, _TIMED_OUT)

    # Closing

    def _left(self, reply: Reply) -> None:
        """Settle the leave and close."""
        assert self._leave_push is not None
        self._forget(self._leave_push)
        self._leave_push.settle(reply)
        self._close("leave")

    def _close(self, reason: object) -> None:
        """Close for good; pushes without a reply are settled as closed."""
        self._rejoin.reset()
        self.state = ChannelState.CLOSED
        self._socket.remove(self)
        self._trigger(CLOSE, reason)
        unanswered = [*self._waiting.values(), self._join_push]
        self._waiting, self.buffer = {}, []
        for push in unanswered:
            if push.received is None:
                push.settle(_OK if push is self._leave_push else _CLOSED)
        self.end()

    def _trigger(self, event: str, payload: object) -> None:
        for _ref, bound, callback in self._bindings:
            if bound == event:
                self._socket.emit(Call(callback, (payload,)))


def _seconds_to_retry(reply: Reply) -> float | None:
    response = reply.payload
    seconds = response.get(RETRY) if reply.status == "error" and isinstance(response, dict) else None
    return seconds if isinstance(seconds, int | float) and seconds >= 0 else None
