"""The client for code without an event loop: the same nouns, whose methods block instead of being awaited.

    with connect("ws://localhost:4000/socket", params={"user": "ann"}) as socket:
        room = socket.channel("room:lobby")
        room.join()
        room.push("new_msg", {"body": "hello"}).reply()
        for message in room.messages(timeout=5):
            print(message.event, message.payload)

The connection runs on an event loop in its own thread, so heartbeats and reconnects do not depend on the calling thread.
A process that is forked meanwhile has none of these threads: there a connected socket raises ForkedError, and a new one works.
Callbacks are called one after the other in another thread, named "phoenix callbacks"; they may block and use the socket. So may
`params` and `auth_token` if they are functions. All methods may be called from any thread. Both threads are daemons, which do
not keep the program from ending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack, overload

from transport.client.client_presence import Presence as AsyncPresence
from transport.client.client_socket import Socket as AsyncSocket
from transport.client.exceptions import ClosedError
from transport.client.protocol.channel_protocol import RECOVERY
from transport.client.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from actors.channels.message import Message
    from transport.client.client_channel import Channel as AsyncChannel
    from transport.client.client_presence import Entry, Joined, Left, State
    from transport.client.client_push import Push as AsyncPush
    from transport.client.client_socket import SocketOptions
    from transport.client.protocol.effects import Callback, TransportName

__all__ = ["Channel", "Presence", "Push", "Socket", "connect"]

P = ParamSpec("P")
Item = TypeVar("Item")


def connect(url: str, **options: Unpack[SocketOptions]) -> Socket:
    """Return a connected socket; the options are those of `transport.client.Socket`.

    Raises:
        ConnectError: if the first attempt fails.
    """
    made = Socket(url, **options)
    made.open()
    return made


class Push:
    """An event sent to the server, and its reply."""

    def __init__(self, threads: Threads, pushed: AsyncPush) -> None:
        self._threads, self._pushed = threads, pushed

    def __repr__(self) -> str:
        return repr(self._pushed)

    def reply(self) -> Any:
        """Wait for the reply, for at most the timeout of the push, and return its response.

        Raises:
            ReplyError: if its status is not "ok".
            ReplyTimeoutError: if there is none in time.
            ClosedError: if the channel is closed before there is one.
        """
        return self._threads.run(self._wait())

    async def _wait(self) -> Any:
        return await self._pushed

    def receive(self, status: str, callback: Callback) -> Self:
        """Call `callback(response)` for a reply with that status, at once if it has been received; return the push."""
        self._threads.call(self._pushed.receive, status, self._threads.in_callback_thread(callback))
        return self


class Channel:
    """One topic of a socket, created by `socket.channel(topic)`; see `transport.client.Channel`."""

    def __init__(self, threads: Threads, channel: AsyncChannel) -> None:
        self.threads, self.asynchronous = threads, channel

    def __repr__(self) -> str:
        return repr(self.asynchronous)

    @property
    def topic(self) -> str:
        """The topic."""
        return self.asynchronous.topic

    @property
    def state(self) -> str:
        """One of "closed" (initially too), "joining", "joined", "errored" (it will rejoin) and "leaving"."""
        return self.asynchronous.state

    @property
    def dropped(self) -> int:
        """How many messages were dropped because the queue was full."""
        return self.asynchronous.dropped

    def join(self, timeout: float | None = None) -> Any:
        """Join, wait for the reply, and return its response; from now on it rejoins on its own.

        Raises:
            JoinError: if the join is refused; the channel keeps trying until `leave()`.
            ReplyTimeoutError: if there is no reply in time.
            AlreadyJoinedError: if it was joined before.
        """
        return self._pushed(self.asynchronous.join, timeout).reply()

    def push(self, event: str, payload: object = None, timeout: float | None = None) -> Push:
        """Send an event, without waiting; `.reply()` waits for the reply, if it has one.

        Raises:
            NotJoinedError: if join() was not called.
            ClosedError: if the channel is closed or leaving.
            BufferFullError: if `max_buffered` events of this channel are buffered already.
            TypeError: if the payload cannot be encoded as JSON.
        """
        return self._pushed(self.asynchronous.push, event, payload, timeout)

    def push_once(
        self, event: str, payload: object = None, timeout: float | None = None, *, key: str | None = None
    ) -> Push:
        """Send an event that is sent again after each reconnect, until it is answered, and is handled once.

        Raises:
            TypeError: if the payload is neither an object nor bytes.
            ValueError: if the key is not a text of 1 to 128 characters.
        """
        return self._pushed(self.asynchronous.push_once, event, payload, timeout, key=key)

    def leave(self, timeout: float | None = None) -> Any:
        """Leave the topic, and wait for the server's confirmation."""
        return self._pushed(self.asynchronous.leave, timeout).reply()

    def _pushed(self, action: Callable[P, AsyncPush], *args: P.args, **kwargs: P.kwargs) -> Push:
        return Push(self.threads, self.threads.call(action, *args, **kwargs))

    def on(self, event: str, callback: Callback) -> int:
        """Call `callback(payload)` for each event of that name; return a ref for `off`."""
        return self.threads.call(self.asynchronous.on, event, self.threads.in_callback_thread(callback))

    def off(self, event: str, ref: int | None = None) -> None:
        """Remove the callback with that ref, or all callbacks of the event."""
        self.threads.call(self.asynchronous.off, event, ref)

    def on_error(self, callback: Callback) -> int:
        """Call `callback(reason)` when the channel is lost; it will rejoin."""
        return self.on("phx_error", callback)

    def on_close(self, callback: Callback) -> int:
        """Call `callback(reason)` when the channel is closed; it will not rejoin."""
        return self.on("phx_close", callback)

    @property
    def recovery(self) -> dict[str, Any] | None:
        """What the server has said of the last join; None if it keeps no history."""
        return self.asynchronous.recovery

    def on_recovery(self, callback: Callback) -> int:
        """Call `callback(recovery)` after each join of a channel that recovers: if not "recovered", load its state again."""
        return self.on(RECOVERY, callback)

    def is_recovered(self, message: Message) -> bool:
        """Return whether a message was missed, and has followed the last join."""
        return self.asynchronous.is_recovered(message)

    def recv(self, timeout: float | None = None) -> Message:
        """Wait for the next message, and return it.

        Raises:
            TimeoutError: if none was received within `timeout` seconds.
            ClosedError: if no more can arrive.
        """
        return self.threads.run(self.asynchronous.recv(timeout))

    def messages(self, timeout: float | None = None) -> Iterator[Message]:
        """Yield messages until the channel is closed, or none was received for `timeout` seconds."""
        while True:
            try:
                message = self.recv(timeout)
            except (TimeoutError, ClosedError):
                return
            yield message

    def __iter__(self) -> Iterator[Message]:
        return self.messages()


class Socket:
    """A client of a Phoenix server; `connect` returns a connected one. See `transport.client.Socket`."""

    def __init__(self, url: str, **options: Unpack[SocketOptions]) -> None:
        self._threads = Threads()
        if callable(params := options.get("params")):
            options["params"] = self._threads.in_own_thread(params)
        if callable(token := options.get("auth_token")):
            options["auth_token"] = self._threads.in_own_thread(token)
        self._socket = AsyncSocket(url, **options)

    def __repr__(self) -> str:
        return repr(self._socket)

    @property
    def state(self) -> str:
        """One of "closed" (between two attempts too), "connecting" and "open"."""
        self._threads.check_process()
        return self._socket.state

    @property
    def transport(self) -> TransportName:
        """What carries the connection, or has carried the last one: "websocket" or "longpoll"."""
        return self._socket.transport

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        self._threads.check_process()
        return self._socket.is_open

    def open(self) -> None:
        """Connect, and wait for the connection.

        Raises:
            ConnectError: if the first attempt fails.
            RuntimeError: if the socket is open already.
        """
        self._threads.start()
        try:
            self._threads.run(self._socket.__aenter__())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself; it is connected already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; a process that was forked inside the block leaves the socket to its parent."""
        if self._threads.is_here:
            self.close()

    def close(self) -> None:
        """Leave all channels, close the connection with code 1000, and end both threads.

        The callbacks that are due are called before. One that has not returned after `timeout` seconds is left behind, and
        named in a warning.

        If several threads call it, the first waits for that, and the others return at once.
        """
        self._threads.stop(self._socket.close(), self._socket.protocol.options.timeout)

    def reconnect(self) -> None:
        """Connect again at once, without waiting: after a sleep of the machine, or a change of its network.

        A connection that there is, and may be dead, is closed; the delays start from the shortest again.
        """
        self._threads.call(self._socket.reconnect)

    def send_token(self, token: str) -> None:
        """Send the server another token for this connection, without waiting; see `transport.client.Socket.send_token`."""
        self._threads.call(self._socket.send_token, token)

    def channel(self, topic: str, params: object = None, *, max_queue: int = 1000, recover: bool = False) -> Channel:
        """Create a channel for a topic, to be joined with `join()`."""
        if callable(params):
            params = self._threads.in_own_thread(params)
        made = self._threads.call(self._socket.channel, topic, params, max_queue=max_queue, recover=recover)
        return Channel(self._threads, made)

    def on_open(self, callback: Callable[[], object]) -> int:
        """Call `callback()` whenever the connection is re-established; return a ref for `off`."""
        return self._threads.call(self._socket.on_open, self._threads.in_callback_thread(callback))

    def on_close(self, callback: Callable[[int, str], object]) -> int:
        """Call `callback(code, reason)` whenever the connection has ended or could not be established (1006)."""
        return self._threads.call(self._socket.on_close, self._threads.in_callback_thread(callback))

    def on_error(self, callback: Callable[[Exception], object]) -> int:
        """Call `callback(error)` for a connection that could not be established, a malformed message, or a refused token."""
        return self._threads.call(self._socket.on_error, self._threads.in_callback_thread(callback))

    def on_message(self, callback: Callable[[Message], object]) -> int:
        """Call `callback(message)` for each message of any topic."""
        return self._threads.call(self._socket.on_message, self._threads.in_callback_thread(callback))

    def off(self, ref: int) -> None:
        """Remove the callback with that ref."""
        self._threads.call(self._socket.off, ref)


class Presence:
    """The presences on a channel's topic; create it before the channel is joined. See `transport.client.Presence`."""

    def __init__(
        self, channel: Channel, *, state_event: str = "presence_state", diff_event: str = "presence_diff"
    ) -> None:
        self._threads = channel.threads
        self._presence = self._threads.call(
            AsyncPresence, channel.asynchronous, state_event=state_event, diff_event=diff_event
        )

    @property
    def state(self) -> State:
        """The entry of each key; each change replaces this mapping by another."""
        return self._presence.state

    def on_join(self, callback: Joined) -> None:
        """Call `callback(key, current, new)` for each join; `current` is None if the key was not present before."""
        self._threads.call(self._presence.on_join, self._threads.in_callback_thread(callback))

    def on_leave(self, callback: Left) -> None:
        """Call `callback(key, current, left)` for each leave; `current` has no metas if the key is no longer present."""
        self._threads.call(self._presence.on_leave, self._threads.in_callback_thread(callback))

    def on_sync(self, callback: Callable[[], object]) -> None:
        """Call `callback()` after each change."""
        self._threads.call(self._presence.on_sync, self._threads.in_callback_thread(callback))

    @overload
    def list(self) -> list[Entry]: ...

    @overload
    def list(self, by: Callable[[str, Any], Item]) -> list[Item]: ...

    def list(self, by: Callable[[str, Any], Item] | None = None) -> list[Entry] | list[Item]:
        """Return the entry of each key, or what `by(key, entry)` returns for it."""
        return self._presence.list() if by is None else self._presence.list(by)
