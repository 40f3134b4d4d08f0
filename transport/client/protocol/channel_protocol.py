"""A channel of a client: when it joins, what it sends, which messages are its own (phoenix.js' Channel), without I/O."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from actors.channels.message import Message, Reply
from transport.client.exceptions import AlreadyJoinedError, BufferFullError, ClosedError, NotJoinedError
from transport.client.protocol.effects import Call, Resolve
from transport.client.protocol.push_protocol import CLOSED, TIMEOUT, PushProtocol, checked_timeout
from transport.client.protocol.reconnection import Backoff, rejoin_after

if TYPE_CHECKING:
    from collections.abc import Callable

    from transport.client.protocol.socket_protocol import SocketProtocol

__all__ = ["ChannelProtocol", "ChannelState"]

JOIN, LEAVE, ERROR, CLOSE = "phx_join", "phx_leave", "phx_error", "phx_close"

_OK = Reply("ok", {})
_TIMED_OUT = Reply(TIMEOUT, {})
_CLOSED = Reply(CLOSED, {})


class ChannelState(enum.StrEnum):
    """How a channel stands, in phoenix.js' words."""

    CLOSED = "closed"
    ERRORED = "errored"
    JOINED = "joined"
    JOINING = "joining"
    LEAVING = "leaving"


class ChannelProtocol:
    """One topic of a socket.

    `params` is the payload of the join, or a function that returns it, asked anew for each join. `deliver` is called with
    each message of the channel's own, `ended` when no more will come.
    """

    def __init__(
        self,
        socket: SocketProtocol,
        topic: str,
        params: Any,
        *,
        deliver: Callable[[Message], object],
        ended: Callable[[], object],
    ) -> None:
        self.topic, self.params = topic, params
        self.state = ChannelState.CLOSED
        self.timeout = socket.options.timeout
        self.buffer: list[PushProtocol] = []
        self._socket, self._deliver, self._ended = socket, deliver, ended
        self._joined_once = False
        self._join_push = self._make_push(JOIN, None, self.timeout)
        self._leave_push: PushProtocol | None = None
        self._waiting: dict[str, PushProtocol] = {}
        self._bindings: list[tuple[int, str, Callable[[Any], object]]] = []
        self._rejoin = Backoff(
            f"rejoin {topic}",
            self._rejoin_now,
            socket.options.rejoin_after,
            otherwise=rejoin_after,
            jitter=socket.options.jitter,
            random=socket.options.random,
            emit=socket.emit,
        )

    def __repr__(self) -> str:
        return f"<Channel {self.topic} {self.state} ({self.join_ref})>"

    @property
    def join_ref(self) -> str | None:
        """The ref of the last join; messages with another one are not for this channel any more."""
        return self._join_push.ref

    @property
    def can_push(self) -> bool:
        """Tell whether a push would be sent now, and not kept."""
        return self._socket.is_open and self.state is ChannelState.JOINED

    @property
    def is_active(self) -> bool:
        """Tell whether it has joined, or is about to."""
        return self.state in {ChannelState.JOINED, ChannelState.JOINING}

    # What the user does

    def on(self, event: str, callback: Callable[[Any], object]) -> int:
        """Have `callback(payload)` called for each event of that name; return a ref to take it back with."""
        ref = self._socket.next_binding()
        self._bindings.append((ref, event, callback))
        return ref

    def off(self, event: str, ref: int | None = None) -> None:
        """Take back one callback for an event, or all."""
        self._bindings = [
            binding for binding in self._bindings if binding[1] != event or (ref is not None and binding[0] != ref)
        ]

    def join(self, timeout: float | None = None) -> PushProtocol:
        """Join, and from now on join again whenever that is needed.

        Raises:
            AlreadyJoinedError: if it was joined before.
            ClosedError: if it was left before.
            ValueError: if the time-out is no time.
        """
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        if self._joined_once:
            raise AlreadyJoinedError(self.topic)
        if self._leave_push is not None:
            raise ClosedError(f"{self.topic!r} was left; make another channel with socket.channel({self.topic!r})")
        self._joined_once = True
        self.timeout = self._join_push.timeout = seconds
        self._rejoin_now()
        return self._join_push

    def push(self, event: str, payload: Any, timeout: float | None = None) -> PushProtocol:
        """Send an event, or keep it until the channel is joined, in order; its time-out runs from now.

        Raises:
            NotJoinedError: if join() was not called.
            ClosedError: if the channel is closed, or leaving.
            BufferFullError: if too many are kept.
            ValueError: if the time-out is no time.
        """
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        self._check_push(event)
        push = self._make_push(event, payload, seconds)
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
        """Leave for good: nothing but the answer is heard any more. It is closed when the server has answered, or need not."""
        seconds = self.timeout if timeout is None else checked_timeout(timeout)
        if self._leave_push is not None:
            return self._leave_push
        push = self._leave_push = self._make_push(LEAVE, {}, seconds)
        if self.state is ChannelState.CLOSED and self._joined_once:
            # The server was first.
            push.settle(_OK)
            return push
        joined, told = self.can_push, self._socket.is_open and self.is_active
        self._rejoin.reset()
        self.state = ChannelState.LEAVING
        if told:
            self._start(push)
            self._send(push)
        if not joined:
            self._left(_OK)
        return push

    # What the socket tells

    def is_member(self, message: Message) -> bool:
        """Tell whether a message is for this channel, and not for one that was joined before under the same topic."""
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
                self._trigger(message.event, message.payload)
                self._socket.emit(Call(self._deliver, (message,)))

    def opened(self) -> None:
        """Join, if that is due, over the new connection."""
        self._rejoin.reset()
        if self.state in {ChannelState.ERRORED, ChannelState.JOINING}:
            self._rejoin_now()

    def fail(self, reason: Any) -> None:
        """Join again after a while, as the server's part of the channel is gone."""
        if self.state is ChannelState.LEAVING:
            self._left(_OK)
        elif self.state is not ChannelState.CLOSED:
            self._errored()
            self._trigger(ERROR, reason)

    def connection_lost(self, reason: str) -> None:
        """Do not join as long as there is no connection; a channel in error is not told again."""
        self._rejoin.reset()
        if self.state is not ChannelState.ERRORED:
            self.fail({"source": "transport", "reason": reason})

    def end(self) -> None:
        """Say that no more messages will come, unless the socket is connected again."""
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

        def done(payload: Any) -> None:
            if self.join_ref == ref and self.state is ChannelState.JOINING and self._socket.is_open:
                self._join_with(payload)

        def failed(error: Exception) -> None:
            if self.join_ref == ref and self.state is ChannelState.JOINING:
                self._forget(self._join_push)
                self._join_push.cause = error
                self._settle(self._join_push, Reply("error", {"reason": f"the params failed: {error!r}"}))

        self._socket.emit(Resolve(self.topic, self.params, done, failed))

    def _join_with(self, payload: Any) -> None:
        self._join_push.payload = payload
        self._send(self._join_push)

    def _join_answered(self, status: str) -> None:
        if status == "ok":
            self.state = ChannelState.JOINED
            self._rejoin.reset()
            buffered, self.buffer = self.buffer, []
            for push in buffered:
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

    def _make_push(self, event: str, payload: Any, timeout: float) -> PushProtocol:
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
        """Give an answer to the push that it is for; if it comes too late there is none."""
        match message:
            case Message(ref=str(ref), payload={"status": str(status), "response": response}):
                push = self._waiting.pop(ref, None)
                if push is not None:
                    self._settle(push, Reply(status, response))

    def _settle(self, push: PushProtocol, reply: Reply) -> None:
        if push is self._leave_push:
            self._left(reply)
            return
        if push is self._join_push and self.state is ChannelState.JOINING:
            self._join_answered(reply.status)
        push.settle(reply)

    def _timed_out(self, push: PushProtocol) -> None:
        self._forget(push)
        if push in self.buffer:
            self.buffer.remove(push)
        if push is self._join_push and self.state is ChannelState.JOINING and self._socket.is_open:
            # The server may have joined us all the same, and not have said so in time.
            leave = self._make_push(LEAVE, {}, self.timeout)
            leave.ref = self._socket.make_ref()
            self._send(leave)
        self._settle(push, _TIMED_OUT)

    # The end

    def _left(self, reply: Reply) -> None:
        """Be closed, and say how the leave was answered."""
        assert self._leave_push is not None
        self._forget(self._leave_push)
        self._leave_push.settle(reply)
        self._close("leave")

    def _close(self, reason: Any) -> None:
        """Be closed for good; whoever waits for an answer gets none."""
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

    def _trigger(self, event: str, payload: Any) -> None:
        for _ref, bound, callback in self._bindings:
            if bound == event:
                self._socket.emit(Call(callback, (payload,)))
