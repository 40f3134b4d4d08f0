"""A client's socket: the public class, one connection for many channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, TypeVar

from actors.validation import check_count
from transport.client.address import checked_params, checked_proxy, checked_token, checked_url, connect_url
from transport.client.client_channel import Channel
from transport.client.client_serializer import CLIENT_SERIALIZERS, check_utf8
from transport.client.connection_options import ConnectionOptions, Target
from transport.client.driver import Driver, resolved
from transport.client.exceptions import ClosedError, ConnectError, ParamsError
from transport.client.protocol.options import Options
from transport.client.protocol.reconnection import Delay, reconnect_after, rejoin_after
from transport.client.protocol.socket_protocol import NORMAL, SocketProtocol

if TYPE_CHECKING:
    from ssl import SSLContext
    from types import TracebackType

    from actors.channels.message import Message
    from actors.clock import Clock
    from transport.client.protocol.effects import TransportName

__all__ = ["Socket", "SocketOptions"]

Params = Mapping[str, Any]
Checked = TypeVar("Checked")

_MAX_REASON = 123
"""Bytes; a control frame has at most 125, two of which are the code (RFC 6455, section 5.5)."""


class SocketOptions(TypedDict, total=False):
    """The options of a `Socket`, for functions that pass them on."""

    params: Params | Callable[[], Any] | None
    auth_token: str | Callable[[], Any] | None
    vsn: str
    heartbeat_interval: float
    timeout: float
    reconnect_after: Delay
    rejoin_after: Delay
    min_uptime: float
    jitter: float
    max_buffered: int
    headers: Mapping[str, str] | None
    origin: str | None
    ssl: SSLContext | None
    proxy: str | Literal[True] | None
    max_size: int | None
    compress: bool
    transport: TransportName
    longpoll_fallback: float | None
    longpoll_timeout: float
    clock: Clock | None


class Socket:
    """A client of a Phoenix server, or of an Ashtree endpoint, that behaves as phoenix.js does.

        async with Socket("ws://localhost:4000/socket", params={"user": "ann"}) as socket:
            room = socket.channel("room:lobby")
            await room.join()
            await room.push("new_msg", {"body": "hello"})

    `url` is the URL of the socket, without "/websocket". `params` and `auth_token` may be functions or coroutine functions,
    which are called for each connection, `auth_token` also when the server warns that the token expires ("token_expires"): then
    what it returns is sent. All times are seconds. A socket belongs to the event loop that it connects on and
    must not be used from other threads (for code without an event loop see `transport.client.sync`).

    A heartbeat is sent every `heartbeat_interval`; if no byte was received when the next is due, or the connection is lost, the
    socket reconnects after `reconnect_after(tries)`, and its channels rejoin. The tries are counted from the last connection
    that lasted `min_uptime`, as those of `rejoin_after(tries)` are from the last join that did. `jitter` is the share of each
    such delay that may be taken off at random. `timeout` is for pushes, joins and connecting. `max_buffered` bounds the pushes
    that each channel buffers while it is not joined.

    `longpoll_fallback` is the time after which long polling is tried, if until then the WebSocket is not open, or nothing was
    received over it; if it cannot be opened, long polling is tried at once. If no WebSocket ever worked, this is remembered
    until reconnect(). None never falls back; `transport="longpoll"` uses no WebSocket. A request of long polling fails after
    `longpoll_timeout` without a byte.

    `proxy` is the URL of a proxy, None for none, or True for that of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY,
    NO_PROXY), which is never used for a host on this machine.

    `compress` is whether the WebSocket offers to compress messages, as browsers do; the server decides.

    In a process that is forked while it is connected it raises ForkedError, and a new one works.

    A failure of `params` or `auth_token` is logged, and retried like a connection that could not be established.

    Raises:
        ValueError: naming the invalid option.
        TypeError: if `params`, `auth_token` or a delay has the wrong type.
        UnencodableError: if one of them, or the URL, has a lone surrogate; of `params` it names the part at fault. It is a
            TypeError and a ValueError too.
    """

    def __init__(
        self,
        url: str,
        *,
        params: Params | Callable[[], Any] | None = None,
        auth_token: str | Callable[[], Any] | None = None,
        vsn: str = "2.0.0",
        heartbeat_interval: float = 30.0,
        timeout: float = 10.0,
        reconnect_after: Delay = reconnect_after,
        rejoin_after: Delay = rejoin_after,
        min_uptime: float = 5.0,
        jitter: float = 0.5,
        max_buffered: int = 1000,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        ssl: SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        max_size: int | None = 2**24,
        compress: bool = True,
        transport: TransportName = "websocket",
        longpoll_fallback: float | None = None,
        longpoll_timeout: float = 20.0,
        clock: Clock | None = None,
    ) -> None:
        if vsn not in CLIENT_SERIALIZERS:
            raise ValueError(f"vsn must be one of {', '.join(CLIENT_SERIALIZERS)}, got {vsn!r}")
        if not callable(params):
            checked_params(params)
        if not callable(auth_token):
            checked_token(auth_token)
        self.url = checked_url(url)
        self._params, self._auth_token, self._vsn = params, auth_token, vsn
        self.protocol = SocketProtocol(
            Options(
                heartbeat_interval=heartbeat_interval,
                timeout=timeout,
                reconnect_after=reconnect_after,
                rejoin_after=rejoin_after,
                min_uptime=min_uptime,
                jitter=jitter,
                max_buffered=max_buffered,
                transport=transport,
                longpoll_fallback=longpoll_fallback,
            ),
            self._another_token if callable(auth_token) else None,
        )
        options = ConnectionOptions(
            headers={} if headers is None else headers,
            origin=origin,
            ssl=ssl,
            proxy=checked_proxy(proxy),
            max_size=max_size,
            compress=compress,
            longpoll_timeout=longpoll_timeout,
        )
        self._driver = Driver(self.protocol, CLIENT_SERIALIZERS[vsn], self._target, options, clock)

    def __repr__(self) -> str:
        return f"<Socket {self.url} {self.protocol.state.value}>"

    @property
    def state(self) -> str:
        """One of "closed" (between two attempts too), "connecting" and "open"."""
        self._driver.check_process()
        return self.protocol.state.value

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        self._driver.check_process()
        return self.protocol.is_open

    @property
    def transport(self) -> TransportName:
        """What carries the connection, or has carried the last one: "websocket" or "longpoll"."""
        return self.protocol.transport

    @property
    def will_reconnect(self) -> bool:
        """Whether the connection is lost and will be re-established."""
        return self.protocol.reconnecting

    @property
    def clock(self) -> Clock:
        """The clock that measures the times of this socket: that of the event loop, unless another was given."""
        return self._driver.clock

    # Connecting and closing

    async def __aenter__(self) -> Self:
        """Connect, unless it is connected already.

        Raises:
            ConnectError: if the first attempt fails.
        """
        try:
            await self._connected()
        except BaseException:
            await self.close()
            raise
        return self

    async def _connected(self) -> None:
        if self.is_open:
            return
        tried: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

        def settle(error: Exception | None = None) -> None:
            if not tried.done():
                tried.set_result(error)

        def gave_up(*_: object) -> None:
            # Not if reconnect() has replaced the connection.
            if self.protocol.is_over:
                settle(ClosedError("the socket was closed while it connected"))

        refs = [self.on_open(settle), self.on_error(settle), self.on_close(gave_up)]
        self.connect()
        error = await tried
        for ref in refs:
            self.off(ref)
        if error is not None:
            raise ConnectError(self.url, error) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; a process that was forked inside the block leaves the socket to its parent."""
        if self._driver.is_here:
            await self.close()

    def connect(self) -> None:
        """Start to connect, without waiting; retry with back-off until disconnect() or close()."""
        self.protocol.connect()
        self._driver.carry()

    def reconnect(self) -> None:
        """Connect again at once, without waiting: after a sleep of the machine, or a change of its network.

        A connection that there is, and may be dead, is closed. The delays start from the shortest again. After disconnect() it
        does the same as connect().
        """
        self.protocol.reconnect()
        self._driver.carry()

    def send_token(self, token: str) -> None:
        """Send the server another token for this connection, without waiting; nothing happens while there is none.

        An `auth_token` that is a function makes this unnecessary, unless the new token should count before the server asks. If
        the server refuses it, the callbacks of `on_error` are called with a ReplyError.

        Raises:
            TypeError: if it is not a str; an UnencodableError, which is a TypeError too, if it has a lone surrogate.
        """
        if checked_token(token) is None:
            raise TypeError("a token must be a str, got None")
        self._driver.check_process()
        self.protocol.send_token({"access_token": token})
        self._driver.carry()

    async def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Channels stay and rejoin after connect(); buffered pushes are kept.

        Raises:
            ValueError: if a client may not close with that code or reason (WebSockets standard, `close(code, reason)`).
        """
        _check_close(code, reason)
        self.protocol.disconnect(code, reason)
        self._driver.carry()
        await self._driver.connections_ended()

    async def close(self) -> None:
        """Leave all channels, close the connection with code 1000, and end the tasks of this socket.

        Pending pushes raise ClosedError. Callbacks that are coroutines and still running are cancelled.
        """
        self.protocol.close_channels()
        self.protocol.disconnect()
        self._driver.carry()
        await self._driver.end()

    # Channels

    def channel(self, topic: str, params: object = None, *, max_queue: int = 1000, recover: bool = False) -> Channel:
        """Create a channel for a topic, to be joined with `join()`.

        `params` is the payload of the join, `{}` if None, or a function or coroutine function that returns it, which is
        called for each join. `max_queue` bounds the messages kept for `async for`; 0 keeps none. With `recover` it gets what it
        has missed while it was not connected, or is told that it cannot: see `Channel.on_recovery`, and docs/recovery.md.

        Raises:
            TypeError: if the params cannot be encoded as JSON, or, with `recover`, are no dict.
            UnencodableError: if the protocol's version cannot encode them.
            ValueError: if `max_queue` is not a whole number >= 0.
        """
        check_count("max_queue", max_queue)
        self._driver.check_process()
        return Channel(self._driver, topic, {} if params is None else params, max_queue, recover=recover)

    # Connection events

    def on_open(self, callback: Callable[[], object]) -> int:
        """Call `callback()` whenever the connection is established; return a ref for `off`."""
        return self._on("open", callback)

    def on_close(self, callback: Callable[[int, str], object]) -> int:
        """Call `callback(code, reason)` whenever the connection has ended or could not be established (1006)."""
        return self._on("close", callback)

    def on_error(self, callback: Callable[[Exception], object]) -> int:
        """Call `callback(error)` for a connection that could not be established, a malformed message, or a refused token."""
        return self._on("error", callback)

    def on_message(self, callback: Callable[[Message], object]) -> int:
        """Call `callback(message)` for each message of any topic."""
        return self._on("message", callback)

    def _on(self, event: str, callback: Callable[..., object]) -> int:
        self._driver.check_process()
        return self.protocol.on(event, callback)

    def off(self, ref: int) -> None:
        """Remove the callback with that ref."""
        self.protocol.off(ref)

    async def _target(self) -> Target:
        params = await _current("params", self._params, checked_params)
        return Target(connect_url(self.url, params, self._vsn), await self._token())

    async def _token(self) -> str | None:
        return await _current("auth_token", self._auth_token, checked_token)

    async def _another_token(self) -> dict[str, str]:
        token = await self._token()
        if token is None:
            raise ParamsError("auth_token returned None, and the server asks for another token")
        return {"access_token": token}


async def _current(name: str, source: object, checked: Callable[[object], Checked]) -> Checked:
    """Return the value of an option, or what its function returns.

    Raises:
        ParamsError: if the value is invalid, or the function raises.
    """
    try:
        value = await resolved(source)
    except Exception as error:
        raise ParamsError(f"{name} raised {type(error).__name__}: {error}") from error
    try:
        return checked(value)
    except TypeError as error:
        raise ParamsError(str(error)) from error


def _check_close(code: int, reason: str) -> None:
    if code != NORMAL and not 3000 <= code <= 4999:  # noqa: PLR2004  # RFC 6455, section 7.4.2: of libraries and applications
        raise ValueError(f"code must be 1000, or from 3000 to 4999, got {code!r}")
    check_utf8("reason", reason)
    if len(reason.encode()) > _MAX_REASON:
        raise ValueError(f"reason must have at most {_MAX_REASON} bytes, got {len(reason.encode())}")
