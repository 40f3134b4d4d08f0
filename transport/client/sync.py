"""The client for code without an event loop: the same nouns, whose methods block instead of being awaited.

    with connect("ws://localhost:4000/socket", params={"user": "ann"}) as socket:
        room = socket.channel("room:lobby")
        room.join()
        room.push("new_msg", {"body": "hello"}).reply()
        for message in room.messages(timeout=5):
            print(message.event, message.payload)

The connection lives on an event loop in a thread of its own, so heartbeats and reconnects go on whatever this one does.
Callbacks are called one after the other in another thread, named "phoenix callbacks", where they may block, and may use the
socket. So may `params` and `auth_token`, if they are functions. All methods may be called from any thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from transport.client.client_presence import Presence as AsyncPresence
from transport.client.client_socket import Socket as AsyncSocket
from transport.client.exceptions import ClosedError
from transport.client.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from actors.channels.message import Message
    from transport.client.client_channel import Channel as AsyncChannel
    from transport.client.client_presence import Joined, Left, State
    from transport.client.client_push import Push as AsyncPush

__all__ = ["Channel", "Presence", "Push", "Socket", "connect"]


def connect(url: str, **options: Any) -> Socket:
    """Return a socket that is connected; the options are those of `transport.client.Socket`.

    Raises:
        ConnectError: if the first try fails.
    """
    made = Socket(url, **options)
    made.open()
    return made


class Push:
    """An event on its way to the server, and the answer to it."""

    def __init__(self, threads: Threads, pushed: AsyncPush) -> None:
        self._threads, self._pushed = threads, pushed

    def __repr__(self) -> str:
        return repr(self._pushed)

    def reply(self) -> Any:
        """Wait for the answer, for at most the time-out of the push, and return its response.

        Raises:
            ReplyError: if its status is not "ok".
            ReplyTimeoutError: if there is none in time.
            ClosedError: if the channel is closed before there is one.
        """
        return self._threads.run(self._wait())

    async def _wait(self) -> Any:
        return await self._pushed

    def receive(self, status: str, callback: Callable[[Any], object]) -> Self:
        """Have `callback(response)` called for an answer of that status; return the push."""
        self._threads.call(self._pushed.receive, status, self._threads.in_order(callback))
        return self


class Channel:
    """One topic of a socket, made by `socket.channel(topic)`; see `transport.client.Channel`."""

    def __init__(self, threads: Threads, channel: AsyncChannel) -> None:
        self._threads, self.asynchronous = threads, channel

    def __repr__(self) -> str:
        return repr(self.asynchronous)

    @property
    def topic(self) -> str:
        """The topic."""
        return self.asynchronous.topic

    @property
    def state(self) -> str:
        """One of "closed" (as it begins), "joining", "joined", "errored" (it joins again) and "leaving"."""
        return self.asynchronous.state

    @property
    def dropped(self) -> int:
        """How many messages were dropped, as nobody took them in time."""
        return self.asynchronous.dropped

    def join(self, timeout: float | None = None) -> Any:
        """Join, wait for the answer, and return its response; from now on it joins again by itself.

        Raises:
            JoinError: if the join is refused; the channel goes on trying until `leave()`.
            ReplyTimeoutError: if there is no answer in time.
            AlreadyJoinedError: if it was joined before.
        """
        return self._pushed(self.asynchronous.join, timeout).reply()

    def push(self, event: str, payload: Any = None, timeout: float | None = None) -> Push:
        """Send an event, without waiting; `.reply()` waits for the answer, if it has one.

        Raises:
            NotJoinedError: if join() was not called.
            ClosedError: if the channel is closed, or leaving.
            BufferFullError: if too many events wait for the channel to be joined.
            TypeError: if JSON has no form for the payload.
        """
        return self._pushed(self.asynchronous.push, event, payload, timeout)

    def leave(self, timeout: float | None = None) -> Any:
        """Leave for good, and wait until the server knows."""
        return self._pushed(self.asynchronous.leave, timeout).reply()

    def _pushed(self, action: Callable[..., AsyncPush], *args: Any) -> Push:
        return Push(self._threads, self._threads.call(action, *args))

    def on(self, event: str, callback: Callable[[Any], object]) -> int:
        """Have `callback(payload)` called for each event of that name; return a ref for `off`."""
        return self._threads.call(self.asynchronous.on, event, self._threads.in_order(callback))

    def off(self, event: str, ref: int | None = None) -> None:
        """Take back the callback that `on` has returned the ref for, or all of that event."""
        self._threads.call(self.asynchronous.off, event, ref)

    def on_error(self, callback: Callable[[Any], object]) -> int:
        """Have `callback(reason)` called when the channel is lost; it joins again."""
        return self.on("phx_error", callback)

    def on_close(self, callback: Callable[[Any], object]) -> int:
        """Have `callback(reason)` called when the channel is closed for good."""
        return self.on("phx_close", callback)

    def recv(self, timeout: float | None = None) -> Message:
        """Wait for the next message, and return it.

        Raises:
            TimeoutError: if none has come after `timeout` seconds.
            ClosedError: if none can come any more.
        """
        return self._threads.run(self.asynchronous.recv(timeout))

    def messages(self, timeout: float | None = None) -> Iterator[Message]:
        """Yield messages as they come, until the channel is closed, or none has come for `timeout` seconds."""
        while True:
            try:
                message = self.recv(timeout)
            except (TimeoutError, ClosedError):
                return
            yield message

    def __iter__(self) -> Iterator[Message]:
        return self.messages()


class Socket:
    """A client of a Phoenix server; `connect` makes one that is connected. See `transport.client.Socket`."""

    def __init__(self, url: str, **options: Any) -> None:
        self._threads = Threads()
        for name in ("params", "auth_token"):
            if callable(options.get(name)):
                options[name] = self._threads.elsewhere(options[name])
        self._socket = AsyncSocket(url, **options)

    def __repr__(self) -> str:
        return repr(self._socket)

    @property
    def state(self) -> str:
        """One of "closed" (between two tries too), "connecting" and "open"."""
        return self._socket.state

    @property
    def is_open(self) -> bool:
        """Tell whether it is connected."""
        return self._socket.is_open

    def open(self) -> None:
        """Connect, and wait until it is; ConnectError if the first try fails, RuntimeError if it is open."""
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
        """Close."""
        self.close()

    def close(self) -> None:
        """Leave all channels, close the connection with code 1000, and end both threads.

        Of several threads that close it, one waits for that; the others return at once.
        """
        self._threads.stop(self._socket.close())

    def channel(self, topic: str, params: Any = None, *, max_queue: int = 1000) -> Channel:
        """Make a channel for a topic, which is then to be joined."""
        if callable(params):
            params = self._threads.elsewhere(params)
        made = self._threads.call(lambda: self._socket.channel(topic, params, max_queue=max_queue))
        return Channel(self._threads, made)

    def on_open(self, callback: Callable[[], object]) -> int:
        """Have `callback()` called whenever the connection is made again; return a ref for `off`."""
        return self._threads.call(self._socket.on_open, self._threads.in_order(callback))

    def on_close(self, callback: Callable[[int, str], object]) -> int:
        """Have `callback(code, reason)` called whenever the connection has ended, or could not be made (1006)."""
        return self._threads.call(self._socket.on_close, self._threads.in_order(callback))

    def on_error(self, callback: Callable[[Exception], object]) -> int:
        """Have `callback(error)` called whenever the connection could not be made, or something came that is no message."""
        return self._threads.call(self._socket.on_error, self._threads.in_order(callback))

    def on_message(self, callback: Callable[[Message], object]) -> int:
        """Have `callback(message)` called for each message of any topic."""
        return self._threads.call(self._socket.on_message, self._threads.in_order(callback))

    def off(self, ref: int) -> None:
        """Take back a callback, by the ref that was returned for it."""
        self._threads.call(self._socket.off, ref)


class Presence:
    """The presences on a channel's topic; make it before the channel is joined. See `transport.client.Presence`."""

    def __init__(
        self, channel: Channel, *, state_event: str = "presence_state", diff_event: str = "presence_diff"
    ) -> None:
        self._threads = channel._threads  # noqa: SLF001  # of the same module
        self._presence: AsyncPresence = self._threads.call(
            lambda: AsyncPresence(channel.asynchronous, state_event=state_event, diff_event=diff_event)
        )

    @property
    def state(self) -> State:
        """What is known of each key; it is not changed, but replaced by another."""
        return self._presence.state

    def on_join(self, callback: Joined) -> None:
        """Have `callback(key, current, new)` called when somebody comes."""
        self._threads.call(self._presence.on_join, self._threads.in_order(callback))

    def on_leave(self, callback: Left) -> None:
        """Have `callback(key, current, left)` called when somebody goes."""
        self._threads.call(self._presence.on_leave, self._threads.in_order(callback))

    def on_sync(self, callback: Callable[[], object]) -> None:
        """Have `callback()` called after each change."""
        self._threads.call(self._presence.on_sync, self._threads.in_order(callback))

    def list(self, by: Callable[[str, Any], Any] | None = None) -> list[Any]:
        """Return what is known of each key, or what `by(key, entry)` makes of it."""
        return self._presence.list(by)
