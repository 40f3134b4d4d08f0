"""The socket: it accepts or refuses clients, and maps topics to channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, isnan
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec

from actors.callbacks import check_callbacks, check_parameters
from actors.channel import Channel
from actors.channels.channel_events import LEVELS
from actors.channels.message import Reply, ok
from actors.channels.payloads import check_payloads
from actors.exceptions import ChannelError
from actors.pubsub.peer_message import RESERVED
from actors.redaction import safe_repr
from actors.validation import Bound, check_seconds, is_number
from supervisors.child_spec import ChildSpec, Restart
from transport.carriers.outbox import OutboxPolicy
from transport.exceptions import SocketError

if TYPE_CHECKING:
    from actors.history.history import History
    from transport.endpoint_api import EndpointAPI

__all__ = ["ConnectInfo", "Route", "Routes", "Socket", "Uri"]


_MOST_SHOWN = 10
"""Topics of a socket class that an error or the log shows."""


class Uri(NamedTuple):
    """The URI that a client requested. The values of secret parameters are "[FILTERED]" in the query."""

    scheme: str
    host: str | None
    port: int | None
    path: str
    query: str


class ConnectInfo(msgspec.Struct, frozen=True):
    """What is known of a connection besides its parameters: all of Phoenix's `connect_info`.

    - `peer`: the address and port of the client, or of its proxy.
    - `path`, `headers`: of the request; header names are in lower case, and of several headers with one name the last counts.
      With `auth_token`, the subprotocol that carries the token is left out.
    - `uri`: scheme, host, port, path and query.
    - `x_headers`: all headers whose names begin with "x-", as pairs.
    - `session`: the session, if the endpoint reads sessions, the client has one, and its `_csrf_token` is valid.
    - `auth_token`: the client's auth token, if the socket class accepts one.
    - `scope`: the connection scope of the ASGI server, with what middleware has added to it, such as "user" and "session"; None
      under the listener.
    """

    peer: tuple[str, int] | None
    path: str
    headers: Mapping[str, str]
    uri: Uri | None = None
    x_headers: Sequence[tuple[str, str]] = ()
    session: Mapping[str, Any] | None = None
    auth_token: str | None = None
    scope: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        # Headers, session, auth token and scope may hold secrets, and a repr may go to a log.
        return f"ConnectInfo(peer={self.peer!r}, path={self.path!r}, …)"

    @property
    def user_agent(self) -> str | None:
        """The User-Agent header."""
        return self.headers.get("user-agent")


@dataclass(frozen=True)
class Route:
    """A channel class with additional assigns, for one entry of a socket's `channels`.

    channels = {"room:*": RoomChannel, "admin:*": Route(RoomChannel, assigns={"admin": True})}
    """  # the colon leads to the example

    channel: type[Channel]
    assigns: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def child_spec(self) -> ChildSpec:
        """How a channel is supervised: not restarted by its supervisor, as the transport actor decides about that."""
        return ChildSpec(self.channel, restart=Restart.TEMPORARY)


class Socket:
    """One client's connection, as the application sees it. Subclass it:

        class UserSocket(Socket):
            channels = {"room:*": RoomChannel, "system": SystemChannel}

            def connect(self, params, connect_info):
                self.assigns["user"] = params.get("user", "anonymous")
                return ok()

            def id(self):
                return f"users_socket:{self.assigns['user']}"

    `channels` maps topics, or prefixes that end with `*`, to channel classes; the first match counts. A `Route` instead of a
    class adds assigns. Topics that begin with NUL are reserved, and match none. `auth_token` says whether clients may send a
    token when they connect (phoenix.js' `authToken`), which is then in `connect_info`. `log` is the level at which accepted and
    refused connections are logged; None for never. `outbox` is the policy for clients that read too slowly; None for the
    endpoint's.

    A connection ends with close code 1008 at the Unix time `expires_at`, which `connect` sets, such as the claim `exp` of a
    token; None for never. A class with a `handle_token` lets its clients prolong that: `expiry_warning` seconds before, the
    client is sent the event "token_expires" on the topic "phoenix". The connection is closed `expiry_leeway` seconds after it.
    """  # noqa: D415  # the colon leads to the example

    channels: ClassVar[Mapping[str, type[Channel] | Route]] = {}
    auth_token: ClassVar[bool] = False
    log: ClassVar[str | None] = "info"
    outbox: ClassVar[OutboxPolicy | None] = None
    expiry_warning: ClassVar[float] = 30.0
    expiry_leeway: ClassVar[float] = 10.0

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a callback cannot be called as one."""
        super().__init_subclass__(**kwargs)
        check_callbacks(cls, ("connect", "handle_token"))
        check_parameters(
            cls, __init__=("endpoint",), connect=("params", "connect_info"), handle_token=("token",), id=()
        )
        check_callbacks(cls, ("id",), plain=True, instead="find out in connect(), and keep it in assigns")

    def __init__(self, endpoint: EndpointAPI) -> None:
        self.endpoint = endpoint
        self.assigns: dict[str, Any] = {}
        self.expires_at: float | None = None

    def connect(self, params: Mapping[str, Any], connect_info: ConnectInfo) -> Reply | Any:
        """Return `ok()` to accept the client, or `error()` to refuse it with HTTP status 403; may be `async`.

        The values of `params` are texts, and lists of texts: `tags[]=a&tags[]=b` is `{"tags": ["a", "b"]}`.
        """
        return ok()

    def expire_in(self, seconds: float) -> None:
        """Set `expires_at` to the time in so many seconds; in a channel test, of the test's own time.

        Raises:
            ValueError: if they are not a number >= 0.
        """
        check_seconds("seconds", seconds)
        self.expires_at = self.endpoint.unix_time() + seconds

    def handle_token(self, token: str) -> Reply | Any:
        """Accept another token of a connected client with `ok()`, or refuse it with `error()`; may be `async`.

        A client sends it with the event "access_token" and the payload `{"access_token": token}`, on the topic "phoenix" or any
        that it has joined, and gets what is returned as the reply. Set `expires_at` again if the token is good; refused tokens
        change nothing. What it changes in `assigns`, the channels get too, and their `handle_token` is called.

        Without this method in a class the event is one of the channels'.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a handle_token(self, token) that returns ok() or error()"
        )

    def id(self) -> str | None:
        """Return the topic that identifies the user, or None.

        A broadcast of the event "disconnect" on it closes all connections of the user.
        """
        return None


class Routes:
    """The channels of a socket class, validated; as text, its name and topics.

    Raises:
        SocketError: naming the class, the entry and the invalid value.
    """

    def __init__(self, socket: type[Socket]) -> None:
        _check_subclass("a socket", socket, Socket)
        _check_options(socket)
        self._routes: list[tuple[str, bool, Route]] = []
        self._socket = socket.__name__
        for pattern, channel in _checked_channels(socket).items():
            self._add(f"{socket.__name__}.channels[{pattern!r}]", pattern, channel)

    def _add(self, where: str, pattern: object, channel: type[Channel] | Route) -> None:
        if not isinstance(pattern, str):
            raise SocketError(f'{where}: a topic must be a str such as "room:*", got {safe_repr(pattern)}')
        if "*" in pattern[:-1]:
            raise SocketError(f'{where}: a topic may have one "*", at its end, such as "room:*"')
        route = channel if isinstance(channel, Route) else Route(channel)
        _check_channel(where, route.channel)
        if not isinstance(route.assigns, Mapping):
            raise SocketError(f"{where}: assigns must be a mapping, got {safe_repr(route.assigns)}")
        _check_child_spec(route)
        self._routes.append((pattern.removesuffix("*"), pattern.endswith("*"), route))

    def match(self, topic: str) -> Route | None:
        """Return the first route that matches a topic, as in Phoenix, or None; none does for topics between processes."""
        if topic.startswith(RESERVED):
            return None
        for pattern, is_prefix, route in self._routes:
            if topic == pattern or (is_prefix and topic.startswith(pattern)):
                return route
        return None

    @property
    def has_histories(self) -> bool:
        """Whether one of the channels has a history."""
        return any(route.channel.history is not None for _, _, route in self._routes)

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic; None if it has no channel, or that has no history."""
        route = self.match(topic)
        return None if route is None else route.channel.history

    def __str__(self) -> str:
        topics = [repr(pattern + "*" * is_prefix) for pattern, is_prefix, _ in self._routes[:_MOST_SHOWN]]
        more = ["…"] if len(self._routes) > _MOST_SHOWN else []
        return f"{self._socket}, whose channels are {', '.join(topics + more) or 'none'}"

    def sends(self, topic: str, event: str) -> bool:
        """Return whether clients may join a topic, and are sent the broadcasts of an event as they are."""
        route = self.match(topic)
        return route is not None and event not in route.channel.intercept


def _checked_channels(socket: type[Socket]) -> Mapping[Any, Any]:
    channels: object = socket.channels
    if not isinstance(channels, Mapping):
        raise SocketError(
            f'{socket.__name__}.channels must be a dict such as {{"room:*": RoomChannel}}, got {safe_repr(channels)}'
        )
    return channels


def _check_options(socket: type[Socket]) -> None:
    _check_level(f"{socket.__name__}.log", socket.log)
    if not isinstance(socket.auth_token, bool):
        raise SocketError(f"{socket.__name__}.auth_token must be True or False, got {safe_repr(socket.auth_token)}")
    _check_seconds(f"{socket.__name__}.expiry_warning", socket.expiry_warning, ">= 0")
    _check_seconds(f"{socket.__name__}.expiry_leeway", socket.expiry_leeway, ">= 0")
    if socket.outbox is not None and not isinstance(socket.outbox, OutboxPolicy):
        raise SocketError(f"{socket.__name__}.outbox must be an OutboxPolicy or None, got {safe_repr(socket.outbox)}")


def _check_level(where: str, level: str | None) -> None:
    if level is not None and level not in LEVELS:
        raise SocketError(f"{where} must be one of {', '.join(LEVELS)}, or None, got {safe_repr(level)}")


def _check_channel(where: str, channel: type[Channel]) -> None:
    _check_subclass(where, channel, Channel)
    if channel.restart not in set(Restart):
        raise SocketError(
            f"{channel.__name__}.restart must be one of {', '.join(Restart)}, got {safe_repr(channel.restart)}"
        )
    _check_seconds(f"{channel.__name__}.join_timeout", channel.join_timeout)
    _check_level(f"{channel.__name__}.log_join", channel.log_join)
    _check_level(f"{channel.__name__}.log_handle_in", channel.log_handle_in)
    try:
        check_payloads(channel.__name__, channel.payloads)
    except ChannelError as wrong:
        raise SocketError(str(wrong)) from wrong


def _check_child_spec(route: Route) -> None:
    try:
        route.child_spec  # noqa: B018  # made here, so that an option is not found wrong at the first join
    except (TypeError, ValueError) as wrong:
        raise SocketError(f"{route.channel.__name__}: {wrong}") from None


def _check_seconds(what: str, value: object, bound: Bound = "> 0") -> None:
    try:
        check_seconds(what, value, bound)
    except ValueError as wrong:
        raise SocketError(str(wrong)) from None


def _check_subclass(what: str, value: object, base: type) -> None:
    if not (isinstance(value, type) and issubclass(value, base)):
        raise SocketError(
            f"{what} must be a subclass of {base.__module__.split('.')[0]}.{base.__name__}, got {safe_repr(value)}"
        )


def accepted(result: object, callback: str = "connect") -> bool:
    """Return whether a callback, `connect` or `handle_token`, accepted the client.

    Raises:
        SocketError: if it returned neither `ok()` nor `error()`.
    """
    if not isinstance(result, Reply):
        raise SocketError(f"{callback}() must return ok() or error(), got {safe_repr(result)}")
    return result.status == "ok"


def takes_tokens(socket: type[Socket]) -> bool:
    """Return whether connected clients may send another token."""
    return socket.handle_token is not Socket.handle_token


def expiry_of(socket: Socket) -> float:
    """Return the Unix time at which a connection expires, infinity if it does not.

    Raises:
        SocketError: if `expires_at` is not one.
    """
    at: object = socket.expires_at
    if at is None:
        return inf
    if is_number(at) and not isnan(at):
        return at
    instead = ".timestamp()" if hasattr(at, "timestamp") else ""
    raise SocketError(
        f"{type(socket).__name__}.expires_at must be a Unix time in seconds, such as time.time() + 3600, or None, got "
        f"{safe_repr(at)}" + (f"; write {instead} behind it" if instead else "")
    )


def has_expired(socket: Socket, now: float) -> bool:
    """Return whether a connection has to end at the Unix time `now`."""
    return now >= expiry_of(socket) + socket.expiry_leeway
