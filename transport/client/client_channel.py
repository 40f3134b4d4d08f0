"""A channel of a client: the public class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actors.channels.encoding import payload_of
from actors.channels.message import Message
from transport.client.client_push import Push
from transport.client.client_serializer import check_utf8, written_payload
from transport.client.exceptions import ClosedError
from transport.client.keyed_payload import keyed_payload
from transport.client.protocol.channel_protocol import RECOVERY
from transport.client.protocol.recovery import ClientRecovery
from transport.client.receive_queue import ReceiveQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from transport.client.driver import Driver
    from transport.client.protocol.effects import Callback
    from transport.client.protocol.push_protocol import PushProtocol

__all__ = ["Channel"]


class Channel:
    """One topic of a socket, created by `socket.channel(topic)`.

    Receive the server's messages by callbacks (`on`), in order by `async for message in channel`, or both. At most `max_queue`
    messages are kept for iteration; then the oldest is dropped and counted in `dropped`.
    """

    def __init__(self, driver: Driver, topic: str, params: object, max_queue: int, *, recover: bool = False) -> None:
        _checked_name("a topic", topic)
        if recover and not callable(params) and not isinstance(params, Mapping):
            raise TypeError(
                f"with recover=True params must be a dict or a function returning one, got {type(params).__name__}"
            )
        written = params if callable(params) else written_payload(params, payload_of("phx_join", topic))
        driver.check(Message(None, None, topic, "phx_join", written))
        self._driver = driver
        self._queue = ReceiveQueue(topic, max_queue, self._is_over)
        recovery = ClientRecovery() if recover else None
        self._protocol = driver.protocol.channel(
            topic, written, deliver=self._queue.put, ended=self._queue.end, recovery=recovery
        )

    def __repr__(self) -> str:
        return f"<Channel {self.topic} {self.state}>"

    @property
    def topic(self) -> str:
        """The topic."""
        return self._protocol.topic

    @property
    def state(self) -> str:
        """One of "closed" (initially too), "joining", "joined", "errored" (it will rejoin) and "leaving"."""
        return self._protocol.state.value

    @property
    def join_ref(self) -> str | None:
        """The ref of the last join."""
        return self._protocol.join_ref

    @property
    def dropped(self) -> int:
        """How many messages were dropped because the queue was full."""
        return self._queue.dropped

    # Sending

    def join(self, timeout: float | None = None) -> Push:
        """Join, and rejoin whenever the channel or the connection is lost; await it for the response.

        `timeout` is for each attempt, in seconds, and the default for pushes. After a JoinError the channel keeps trying with
        back-off, as phoenix.js does; `leave()` stops it.

        Raises:
            AlreadyJoinedError: if it was joined before.
        """
        return self._pushed(self._protocol.join(timeout))

    def push(self, event: str, payload: object = None, timeout: float | None = None) -> Push:
        """Send an event; await it for the reply. `payload` is a JSON value, `{}` if None, or bytes.

        If the channel is not joined or the socket not connected, the event is buffered until it is, for at most its timeout.

        Raises:
            NotJoinedError: if join() was not called.
            ClosedError: if the channel is closed or leaving.
            BufferFullError: if `max_buffered` events of this channel are buffered already.
            TypeError: if the event is not a str.
            UnencodableError: if the payload cannot be encoded, in the protocol's version; it names the part at fault, and is a
                TypeError too.
            ValueError: if the timeout is not a number >= 0.
        """
        _checked_name("an event", event)
        written = written_payload({} if payload is None else payload, payload_of(event, self.topic))
        self._driver.check(Message(None, None, self.topic, event, written))
        return self._pushed(self._protocol.push(event, written, timeout))

    def push_once(
        self, event: str, payload: object = None, timeout: float | None = None, *, key: str | None = None
    ) -> Push:
        """Send an event that is sent again after each reconnect, until it is answered, and is handled once.

        The channel on the server needs an `idempotency` (docs/recovery.md), by which it knows the `key` again: a text drawn at
        random, unless it is given, as for a push that was not answered in time, or by an earlier run of the program. The
        payload is an object or bytes; the rest is as in `push`.

        Raises:
            TypeError: if the payload is neither.
            ValueError: if the key is not a text of 1 to 128 characters.
        """
        _checked_name("an event", event)
        what = payload_of(event, self.topic)
        written = keyed_payload(written_payload({} if payload is None else payload, what), key, what)
        self._driver.check(Message(None, None, self.topic, event, written))
        return self._pushed(self._protocol.push(event, written, timeout, again=True))

    def leave(self, timeout: float | None = None) -> Push:
        """Leave the topic; await it for the server's confirmation. Iteration ends after the messages already received."""
        return self._pushed(self._protocol.leave(timeout))

    def _pushed(self, protocol: PushProtocol) -> Push:
        self._driver.carry()
        return Push(self.topic, protocol, self._driver.carry)

    # Receiving

    def on(self, event: str, callback: Callback) -> int:
        """Call `callback(payload)` for each event of that name; return a ref for `off`.

        It is called on the event loop. A coroutine function runs as a task. Exceptions are logged.
        """
        self._driver.check_process()
        return self._protocol.on(_checked_name("an event", event), callback)

    def off(self, event: str, ref: int | None = None) -> None:
        """Remove the callback with that ref, or all callbacks of the event."""
        self._protocol.off(event, ref)

    def on_error(self, callback: Callback) -> int:
        """Call `callback(reason)` when the channel is lost: it crashed, or the connection ended. It will rejoin."""
        return self.on("phx_error", callback)

    def on_close(self, callback: Callback) -> int:
        """Call `callback(reason)` when the channel is closed, by leave() or by the server. It will not rejoin."""
        return self.on("phx_close", callback)

    # What was missed

    @property
    def recovery(self) -> dict[str, Any] | None:
        """What the server has said of the last join: {"epoch", "offset", "recovered", "count"}; None if it keeps no history."""
        recovery = self._protocol.recovery
        return None if recovery is None else recovery.answer

    def on_recovery(self, callback: Callback) -> int:
        """Call `callback(recovery)` after each join of a channel that recovers: if not "recovered", load its state again."""
        return self.on(RECOVERY, callback)

    def is_recovered(self, message: Message) -> bool:
        """Return whether a message was missed, and has followed the last join."""
        recovery = self._protocol.recovery
        return recovery is not None and recovery.has_recovered(message)

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Call a user's function, such as a callback of a Presence, as callbacks of `on` are called."""
        self._driver.call(callback, *args)

    async def recv(self, timeout: float | None = None) -> Message:  # noqa: ASYNC109  # measured by the socket's clock
        """Return the next message: its `event`, `payload`, `topic`, `ref` and `join_ref`.

        Raises:
            TimeoutError: if none was received within `timeout` seconds.
            ClosedError: if no more can arrive: the channel is closed, or the socket is and will not reconnect.
        """
        return await self._queue.get(self._driver.clock, timeout)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                message = await self.recv()
            except ClosedError:
                return
            yield message

    def _is_over(self) -> bool:
        return self._driver.protocol.is_over or self._protocol not in self._driver.protocol.channels


def _checked_name(what: str, name: str) -> str:
    """Return the name of a topic or an event; a server would not reply to any other value.

    Raises:
        TypeError: if it is not a str; an UnencodableError, which is a TypeError too, if it has a lone surrogate.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {name!r}")
    check_utf8(what, name)
    return name
