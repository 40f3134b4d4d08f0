"""A channel of a client, as its user sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.channels.message import Message
from transport.client.client_push import Push
from transport.client.client_serializer import written_payload
from transport.client.exceptions import ClosedError
from transport.client.receive_queue import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from transport.client.client_socket import Socket
    from transport.client.protocol.push_protocol import PushProtocol

__all__ = ["Channel"]


class Channel:
    """One topic of a socket, made by `socket.channel(topic)`.

    What the server sends can be had in two ways at once: callbacks (`on`), and messages in their order
    (`async for message in channel`). At most `max_queue` messages are kept for the latter; then the oldest is dropped and
    counted in `dropped`.
    """

    def __init__(self, socket: Socket, topic: str, params: Any, max_queue: int) -> None:
        _checked_name("a topic", topic)
        written = params if callable(params) else written_payload(params)
        socket.check(Message(None, None, topic, "phx_join", written))
        self._socket = socket
        self._inbox = Inbox(topic, max_queue, self._is_over)
        self._protocol = socket.protocol.channel(
            topic,
            written,
            deliver=self._inbox.put,
            ended=self._inbox.end,
        )

    def __repr__(self) -> str:
        return f"<Channel {self.topic} {self.state}>"

    @property
    def topic(self) -> str:
        """The topic."""
        return self._protocol.topic

    @property
    def state(self) -> str:
        """One of "closed" (as it begins), "joining", "joined", "errored" (it joins again) and "leaving"."""
        return self._protocol.state.value

    @property
    def join_ref(self) -> str | None:
        """The ref of the last join."""
        return self._protocol.join_ref

    @property
    def dropped(self) -> int:
        """How many messages were dropped, as nobody took them in time."""
        return self._inbox.dropped

    # What is said

    def join(self, timeout: float | None = None) -> Push:
        """Join, and join again by itself whenever the channel or the connection is lost; await it for the response.

        `timeout` is for each try, in seconds, and for pushes that have none of their own. After a JoinError the channel
        goes on trying, with back-off, as phoenix.js does; `leave()` stops it.

        Raises:
            AlreadyJoinedError: if it was joined before.
        """
        return self._pushed(self._protocol.join(timeout))

    def push(self, event: str, payload: Any = None, timeout: float | None = None) -> Push:
        """Send an event; await it if it has a reply. `payload` is what JSON can hold, `{}` if None, or bytes.

        If the channel is not joined, or the socket not connected, the event is kept until it is, for at most its time-out.

        Raises:
            NotJoinedError: if join() was not called.
            ClosedError: if the channel is closed, or leaving.
            BufferFullError: if the socket's `max_buffered` events of this channel are kept already.
            TypeError: if JSON has no form for the payload, or the event is no str.
            UnencodableError: if the protocol's version has none.
            ValueError: if the time-out is no time.
        """
        _checked_name("an event", event)
        written = written_payload({} if payload is None else payload)
        self._socket.check(Message(None, None, self.topic, event, written))
        return self._pushed(self._protocol.push(event, written, timeout))

    def leave(self, timeout: float | None = None) -> Push:
        """Leave for good; await it to know that the server knows. Iteration ends with the messages that are there."""
        return self._pushed(self._protocol.leave(timeout))

    def _pushed(self, protocol: PushProtocol) -> Push:
        self._socket.carry()
        return Push(self.topic, protocol, self._socket.carry)

    # What is heard

    def on(self, event: str, callback: Callable[[Any], object]) -> int:
        """Have `callback(payload)` called for each event of that name; return a ref for `off`.

        It is called on the event loop, and may be a coroutine function, which then runs as a task. What it raises is logged.
        """
        return self._protocol.on(_checked_name("an event", event), callback)

    def off(self, event: str, ref: int | None = None) -> None:
        """Take back the callback that `on` has returned the ref for, or all of that event."""
        self._protocol.off(event, ref)

    def on_error(self, callback: Callable[[Any], object]) -> int:
        """Have `callback(reason)` called when the channel is lost: it crashed, or the connection is gone. It joins again."""
        return self.on("phx_error", callback)

    def on_close(self, callback: Callable[[Any], object]) -> int:
        """Have `callback(reason)` called when the channel is closed for good, by leave() or by the server."""
        return self.on("phx_close", callback)

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Call a function of the user's, such as one of a Presence, as those are that `on` was given."""
        self._socket.call(callback, *args)

    async def recv(self, timeout: float | None = None) -> Message:  # noqa: ASYNC109  # measured by the socket's clock
        """Return the next message: its `event`, `payload`, `topic`, `ref` and `join_ref`.

        Raises:
            TimeoutError: if none has come after `timeout` seconds.
            ClosedError: if none can come any more: the channel is closed, or the socket and not about to reconnect.
        """
        return await self._inbox.get(self._socket.clock, timeout)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                message = await self.recv()
            except ClosedError:
                return
            yield message

    def _is_over(self) -> bool:
        return self._socket.protocol.is_over or self._protocol not in self._socket.protocol.channels


def _checked_name(what: str, name: str) -> str:
    """Return the name of a topic or of an event; a server has no answer to what is none.

    Raises:
        TypeError: if it is no str.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {name!r}")
    return name
