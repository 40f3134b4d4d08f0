"""Where Redis is: the URL, and the connections that it leads to.

| | |
|---|---|
| `redis://[[user]:password@]host[:port][/db]` | one server; with `rediss://` by TLS |
| `unix://[[user]:password@]/path/to/socket` | one server of this machine |
| `redis+sentinel://host[:port],host[:port]/name[/db]` | the master that Sentinels know by that name; or `rediss+sentinel://` |
| `redis+cluster://host[:port],host[:port]` | a Redis Cluster, some of whose nodes are named; or `rediss+cluster://` |

What follows a `?` are options of redis-py's connections, such as `ssl_ca_certs=…` and `protocol=3`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from actors.redaction import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redis.asyncio.connection import AbstractConnection

__all__ = ["SLOTS", "RedisAddress", "Span"]

_FORMS = (
    "redis://host:6379, rediss://…, unix:///path/to/socket, redis+sentinel://host:26379,host:26379/name "
    "or redis+cluster://host:6379,host:6379"
)
_SCHEMES = {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
_PORTS = {"sentinel": 26379}

SLOTS = 16384
"""The hash slots of a cluster."""


@dataclass(frozen=True, slots=True)
class Span:
    """One server, and the hash slots that it serves: all of them if it is no cluster."""

    host: str
    port: int
    slots: tuple[range, ...] = (range(SLOTS),)

    @property
    def place(self) -> tuple[str, int]:
        """The host and the port."""
        return self.host, self.port

    def has(self, slot: int) -> bool:
        """Return whether it serves a slot."""
        return any(slot in each for each in self.slots)


class RedisAddress:
    """A URL that has been read; its text does not have the password.

    Raises:
        ValueError: if it is no URL of Redis.
    """

    def __init__(self, url: str) -> None:
        try:
            self._read(url)
        except ValueError as error:
            # Of a port, or of brackets around an address.
            why = f" ({error})" if str(error) else ""
            raise ValueError(f"the URL of Redis must be like {_FORMS}, got {_shown(url)}{why}") from None

    def _read(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ValueError
        scheme, _, self.kind = parts.scheme.partition("+")
        credentials, at, hosts = parts.netloc.rpartition("@")
        self.hosts = [_host(each, _PORTS.get(self.kind, 6379)) for each in hosts.split(",")] if hosts else []
        path = parts.path
        if self.kind == "sentinel":
            self.service, _, database = path.strip("/").partition("/")
            path = f"/{database}"
        if (self.kind and not self.hosts) or (self.kind == "sentinel" and not self.service):
            raise ValueError
        if scheme == "unix" and not path.strip("/"):
            raise ValueError("it has no path of a socket")
        if self.is_cluster and path.strip("/0"):
            raise ValueError("a cluster has no other database than 0")
        first = hosts.split(",")[0]
        self.url = url
        """The whole URL, with the password."""
        query = f"?{parts.query}" if parts.query else ""
        self._plain = f"{scheme}://{credentials}{at}{first}{path}{query}"
        self._text = f"{parts.scheme}://{hosts}{parts.path}"

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<RedisAddress {self._text}>"

    @property
    def is_cluster(self) -> bool:
        """Whether channels are spread over several servers."""
        return self.kind == "cluster"

    def options(self) -> dict[str, Any]:
        """Return the options of redis-py's connections."""
        from redis.asyncio.connection import parse_url  # noqa: PLC0415  # its library is an extra

        return dict(parse_url(self._plain))

    def check(self) -> None:
        """Make a connection, without connecting.

        Raises:
            ValueError: if redis-py does not know an option of the URL, or does not take its value.
        """
        nowhere = Span("", 0)
        try:
            self.connection({}, nowhere if self.kind else None)
            if self.kind == "sentinel":
                self.to_sentinel({}, nowhere)
        except Exception as error:  # noqa: BLE001  # it raises errors of several kinds
            # Their values may be passwords.
            given = ", ".join(parse_qs(urlsplit(self._plain).query))
            raise ValueError(f"the URL of Redis must have options that redis-py takes, got {given} ({error})") from None

    def connection(self, ours: Mapping[str, Any], span: Span | None = None) -> AbstractConnection:
        """Return a new connection, not yet connected: to the only server, or to one of several."""
        from redis.asyncio.connection import ConnectionPool  # noqa: PLC0415  # an extra

        options = {name: value for name, value in self.options().items() if not name.startswith("sentinel_")}
        if span is not None:
            options |= {"host": span.host, "port": span.port}
        connection: AbstractConnection = ConnectionPool(**options, **ours).make_connection()
        return connection

    def to_sentinel(self, ours: Mapping[str, Any], span: Span) -> AbstractConnection:
        """Return a new connection to a Sentinel, with the credentials that the URL has for Sentinels."""
        from redis.asyncio.connection import ConnectionPool  # noqa: PLC0415  # an extra

        left_out = {"username", "password", "db"}
        options = {name: value for name, value in self.options().items() if name not in left_out}
        own = {name.removeprefix("sentinel_"): value for name, value in options.items() if name.startswith("sentinel_")}
        options = {name: value for name, value in options.items() if not name.startswith("sentinel_")}
        connection: AbstractConnection = ConnectionPool(
            **options | own | {"host": span.host, "port": span.port}, **ours
        ).make_connection()
        return connection

    def sender(self, timeout: float) -> Callable[[bytes, bytes], int]:
        """Return what publishes a message on a channel, in programs without an event loop."""
        import redis  # noqa: PLC0415  # an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415  # an extra
        from redis.retry import Retry  # noqa: PLC0415  # an extra
        from redis.sentinel import Sentinel  # noqa: PLC0415  # an extra

        # A message that was not answered may have been published: to send it again could publish it twice.
        ours = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 0)}
        options = dict(redis.connection.parse_url(self._plain)) | ours
        if self.kind == "sentinel":
            own = {name[9:]: options.pop(name) for name in list(options) if name.startswith("sentinel_")}
            secured = options.pop("connection_class", None) is not None
            del options["host"]
            options.pop("port", None)
            sentinel = Sentinel(self.hosts, sentinel_kwargs=ours | own | {"ssl": secured}, ssl=secured, **options)
            master: redis.Redis = sentinel.master_for(self.service)
            return master.publish
        if self.is_cluster:
            cluster = redis.RedisCluster.from_url(self._plain, **ours)
            return cluster.spublish
        return redis.Redis(connection_pool=redis.ConnectionPool(**options)).publish


def read_slots(reply: Sequence[Any], host: str) -> list[Span]:
    """Return the servers of a cluster by its reply to CLUSTER SLOTS; one without an address is where the reply is from."""
    slots: dict[tuple[str, int], list[range]] = {}
    for first, last, (address, port, *_), *_ in reply:
        name = address.decode() if isinstance(address, bytes) else address
        slots.setdefault((name or host, port), []).append(range(first, last + 1))
    return [Span(host, port, tuple(ranges)) for (host, port), ranges in slots.items()]


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or port


def _shown(url: str) -> str:
    """Return a URL without its password and its options, for an error."""
    before, slashes, rest = url.partition("://")
    hosts, slash, path = rest.partition("/")
    return safe_repr(f"{before}{slashes}{hosts.rpartition('@')[2]}{slash}{path}".partition("?")[0])
