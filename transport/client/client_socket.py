"""A client's socket, as its user sees it: one connection for many channels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from actors.clock import Clock, LoopClock
from transport.client.address import checked_params, checked_token, checked_url, connect_url, subprotocols
from transport.client.client_channel import Channel
from transport.client.client_connection import Door, WebSocketOptions
from transport.client.client_serializer import CLIENT_SERIALIZERS
from transport.client.driver import Carrier, resolved
from transport.client.exceptions import ClosedError, ConnectError, ParamsError
from transport.client.protocol.reconnection import Delay, reconnect_after, rejoin_after
from transport.client.protocol.socket_protocol import NORMAL, Options, SocketProtocol

if TYPE_CHECKING:
    from ssl import SSLContext
    from types import TracebackType

    from actors.channels.message import Message

__all__ = ["Socket"]

Params = Mapping[str, Any]
Checked = TypeVar("Checked")

_MAX_REASON = 123
"""Bytes; a control frame has 125 at most, two of which are the code (RFC 6455, section 5.5)."""


class Socket:
    """A client of a Phoenix server, or of an Ashtree endpoint, that behaves as phoenix.js does.

        async with Socket("ws://localhost:4000/socket", params={"user": "ann"}) as socket:
            room = socket.channel("room:lobby")
            await room.join()
            await room.push("new_msg", {"body": "hello"})

    `url` is that of the socket, without "/websocket". `params` and `auth_token` may be functions or coroutine functions,
    which are asked anew at each connect. All times are seconds. It belongs to the event loop that it is connected on;
    no other thread may touch it (for code without a loop there is `transport.client.sync`).

    A heartbeat is sent each `heartbeat_interval`; if it is not answered by the next, or the connection is lost, the socket
    connects again after `reconnect_after(tries)`, and its channels join again. `jitter` is the share of each such delay,
    and of `rejoin_after(tries)`, that may be taken off at random. `timeout` is for pushes, joins and connecting.
    `max_buffered` bounds the pushes that each channel keeps while it is not joined.

    If `params` or `auth_token` fail, that is logged, and tried again as any connection that cannot be made.

    Raises:
        ValueError: naming what is wrong with an option.
        TypeError: if `params`, `auth_token` or a delay are not what they should be.
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
        jitter: float = 0.5,
        max_buffered: int = 1000,
        headers: Mapping[str, str] | None = None,
        origin: str | None = None,
        ssl: SSLContext | None = None,
        proxy: str | Literal[True] | None = True,
        max_size: int | None = 2**24,
        clock: Clock | None = None,
    ) -> None:
        if vsn not in CLIENT_SERIALIZERS:
            raise ValueError(f"vsn must be one of {', '.join(CLIENT_SERIALIZERS)}, got {vsn!r}")
        if not callable(params):
            checked_params(params)
        if not callable(auth_token):
            checked_token(auth_token)
        self.url = checked_url(url)
        self.protocol = SocketProtocol(
            Options(
                heartbeat_interval=heartbeat_interval,
                timeout=timeout,
                reconnect_after=reconnect_after,
                rejoin_after=rejoin_after,
                jitter=jitter,
                max_buffered=max_buffered,
            )
        )
        self._params, self._auth_token, self._vsn = params, auth_token, vsn
        self._websocket_options = WebSocketOptions(
            headers={} if headers is None else headers, origin=origin, ssl=ssl, proxy=proxy, max_size=max_size
        )
        self._clock = clock
        self._carrier: Carrier | None = None

    def __repr__(self) -> str:
        return f"<Socket {self.url} {self.state}>"

    @property
    def state(self) -> str:
        """One of "closed" (between two tries too), "connecting" and "open"."""
        return self.protocol.state.value

    @property
    def is_open(self) -> bool:
        """Tell whether it is connected."""
        return self.protocol.is_open

    @property
    def will_reconnect(self) -> bool:
        """Tell whether the connection is lost and will be made again."""
        return self.protocol.reconnecting

    @property
    def clock(self) -> Clock:
        """What measures time for this socket: the event loop's clock, unless it was given another."""
        if self._clock is None:
            self._clock = LoopClock(asyncio.get_running_loop())
        return self._clock

    # Its life

    async def __aenter__(self) -> Self:
        """Connect, unless it is connected already.

        Raises:
            ConnectError: if the first try fails.
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

        def given_up(*_: object) -> None:
            settle(ClosedError("the socket was closed while it connected"))

        refs = [self.on_open(settle), self.on_error(settle), self.on_close(given_up)]
        self.connect()
        error = await tried
        for ref in refs:
            self.off(ref)
        if error is not None:
            raise ConnectError(self.url, error) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def connect(self) -> None:
        """Begin to connect, and go on trying until disconnect() or close(), with back-off; without waiting."""
        self.protocol.connect()
        self.carry()

    async def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Channels stay, and join again after connect(); so do pushes that are kept.

        Raises:
            ValueError: if no client may close with that code or reason (WebSockets standard, `close(code, reason)`).
        """
        _check_close(code, reason)
        self.protocol.disconnect(code, reason)
        self.carry()
        await self._running().connections_ended()

    async def close(self) -> None:
        """Leave all channels, close the connection with code 1000, and end all that runs for this socket.

        Whoever waits for an answer gets ClosedError. A callback that is a coroutine and still runs is cancelled.
        """
        self.protocol.close_channels()
        self.protocol.disconnect()
        self.carry()
        await self._running().end()

    # Channels

    def channel(self, topic: str, params: Any = None, *, max_queue: int = 1000) -> Channel:
        """Make a channel for a topic, which is then to be joined.

        `params` is the payload of the join, `{}` if None, or a function or coroutine function that returns it, which is
        asked anew at each join. `max_queue` bounds the messages kept for `async for`; 0 keeps none.

        Raises:
            TypeError: if JSON has no form for the params.
            UnencodableError: if the protocol's version has none.
        """
        if max_queue < 0:
            raise ValueError(f"max_queue must be >= 0, got {max_queue!r}")
        return Channel(self, topic, {} if params is None else params, max_queue)

    # What happens to the connection

    def on_open(self, callback: Callable[[], object]) -> int:
        """Have `callback()` called whenever the connection is made; return a ref for `off`."""
        return self.protocol.on("open", callback)

    def on_close(self, callback: Callable[[int, str], object]) -> int:
        """Have `callback(code, reason)` called whenever the connection has ended, or could not be made (1006)."""
        return self.protocol.on("close", callback)

    def on_error(self, callback: Callable[[Exception], object]) -> int:
        """Have `callback(error)` called whenever the connection could not be made, or something came that is no message."""
        return self.protocol.on("error", callback)

    def on_message(self, callback: Callable[[Message], object]) -> int:
        """Have `callback(message)` called for each message of any topic."""
        return self.protocol.on("message", callback)

    def off(self, ref: int) -> None:
        """Take back a callback, by the ref that was returned for it."""
        self.protocol.off(ref)

    # What its channels use

    def check(self, message: Message) -> None:
        """Raise UnencodableError if the version of the protocol has no form for this binary message."""
        if isinstance(message.payload, bytes):
            CLIENT_SERIALIZERS[self._vsn].encode(message)

    def carry(self) -> None:
        """Do what the protocol wants done."""
        self._running().carry()

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Call a function of the user's."""
        self._running().call(callback, *args)

    def _running(self) -> Carrier:
        if self._carrier is None:
            serializer = CLIENT_SERIALIZERS[self._vsn]
            self._carrier = Carrier(self.protocol, serializer, self._door, self._websocket_options, self.clock)
        return self._carrier

    async def _door(self) -> Door:
        params = await _asked("params", self._params, checked_params)
        token = await _asked("auth_token", self._auth_token, checked_token)
        return Door(connect_url(self.url, params, self._vsn), subprotocols(token))


async def _asked(name: str, source: Any, checked: Callable[[Any], Checked]) -> Checked:
    """Return what a function of the user's says, if it is fit.

    Raises:
        ParamsError: if it is not, or the function raises.
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
    if len(reason.encode()) > _MAX_REASON:
        raise ValueError(f"reason must have at most {_MAX_REASON} bytes, got {len(reason.encode())}")
