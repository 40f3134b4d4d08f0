"""The adapter that connects PubSubs by Redis, and its options."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from actors import telemetry
from actors.pubsub.adapter import Adapter
from actors.pubsub.redis.redis_address import RedisAddress
from actors.pubsub.redis.redis_history import RedisHistory
from actors.pubsub.redis.redis_link import RedisLink
from actors.pubsub.redis.redis_pushes import RedisPushes
from actors.redaction import safe_repr
from actors.validation import check_count, check_seconds

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from actors.actor import Actor

__all__ = [
    "BROKER_CONNECTED",
    "BROKER_DISCONNECTED",
    "PREFIX",
    "REDIS_URL",
    "RedisPubSub",
    "channel_of",
    "redis_address",
]

REDIS_URL = "ASHTREE_REDIS_URL"
"""The environment variable with the URL that is used when none is given."""

BROKER_CONNECTED = ("ashtree", "broker_connected")
"""The telemetry event that messages go to other processes, and come from there, again."""

BROKER_DISCONNECTED = ("ashtree", "broker_disconnected")
"""The telemetry event that a broker is out of reach."""

PREFIX = "ashtree"
"""What the names of all channels begin with, unless another prefix is given."""

_LIBRARY = "redis"


class RedisPubSub(Adapter):
    """Connects the PubSubs of all processes that use the same Redis, or Valkey: `PubSub(adapter=RedisPubSub(url))`.

    It needs the extra `redis`. Delivery is at most once: while Redis is out of reach, what is broadcast reaches the subscribers
    of its own process only. That is logged, counted (`pubsub.relay.counts`, metrics) and part of the readiness; connections are
    opened again at most 2 s apart, with all subscriptions.

    - `url`: `redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://host,host/name`, `redis+cluster://host,host` (sharded
      pub/sub: Redis 7 or later); by default the one in the environment variable ASHTREE_REDIS_URL. Options of redis-py's
      connections may follow it: `rediss://…?ssl_ca_certs=/etc/ssl/redis.pem`.
    - `prefix`: what the names of all channels begin with; programs that share a Redis and are to have nothing to do with each
      other need two.
    - `heartbeat`: seconds between two messages that it sends to itself; `heartbeat_timeout`: seconds in which one must come
      back, else the connections are opened again.
    - `connect_timeout`: seconds that connecting may take. The start of a system waits as long for its first connection.
    - `max_queue`, `max_queue_bytes`: messages that Redis has not taken yet; more are lost, and counted.

    Raises:
        ValueError: naming the invalid option, with its value.
        ModuleNotFoundError: if redis-py is not installed.
    """

    actor: type[Actor] | None = RedisLink
    installed: ClassVar[bool] = find_spec(_LIBRARY) is not None

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str = PREFIX,
        heartbeat: float = 0.75,
        heartbeat_timeout: float = 1.5,
        connect_timeout: float = 1.5,
        max_queue: int = 10_000,
        max_queue_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self.address = redis_address(url)
        check_prefix(prefix)
        check_seconds("heartbeat", heartbeat, "> 0")
        check_seconds("heartbeat_timeout", heartbeat_timeout, "> 0")
        check_seconds("connect_timeout", connect_timeout, "> 0")
        check_count("max_queue", max_queue, least=1)
        check_count("max_queue_bytes", max_queue_bytes, least=1)
        self.prefix = prefix
        self.heartbeat, self.heartbeat_timeout, self.connect_timeout = heartbeat, heartbeat_timeout, connect_timeout
        self.max_queue, self.max_queue_bytes = max_queue, max_queue_bytes
        self.wanted: dict[str, bytes] = {}
        self.history = self._histories = RedisHistory(self)
        self.pushes = self._pushes = RedisPushes(self)
        self._link: RedisLink | None = None
        self._was_up: bool | None = None

    def __repr__(self) -> str:
        return f"RedisPubSub({str(self.address)!r})"

    # What the PubSub calls

    def publish(self, topic: str, data: bytes) -> None:
        """Send a message to Redis."""
        if self._link is None:
            self.pubsub.lost(1)
        else:
            self._link.publish(channel_of(self.prefix, topic), data)

    def subscribed(self, topic: str) -> None:
        """Subscribe to the channel of a topic."""
        self.wanted[topic] = channel = channel_of(self.prefix, topic)
        if self._link is not None:
            self._link.want(channel, topic)

    def unsubscribed(self, topic: str) -> None:
        """Unsubscribe from the channel of a topic."""
        channel = self.wanted.pop(topic, None)
        if self._link is not None and channel is not None:
            self._link.give_up(channel)
        self._histories.unsubscribed(topic)

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        """Return what to wait for until Redis has confirmed the subscription; None while it is out of reach."""
        channel = self.wanted.get(topic)
        return None if self._link is None or channel is None else self._link.effect(channel)

    def trouble(self) -> str | None:
        """Return why Redis is out of reach."""
        return f"{self.address}: restarting" if self._link is None else self._link.trouble()

    # What its actor calls

    @property
    def client_name(self) -> str:
        """The name of the connections, for those who look at Redis."""
        return f"ashtree:{self.pubsub.node}"

    def linked(self, link: RedisLink | None) -> None:
        """Use this actor from now on, or none."""
        self._link = link
        self._pushes.linked(link)
        if link is None:
            self._histories.close()
        else:
            self._histories.open(link)

    def receive(self, topic: str, data: bytes) -> None:
        """Deliver a message."""
        self.pubsub.receive(topic, data)

    def lost(self, messages: int) -> None:
        """Count messages that were lost."""
        self.pubsub.lost(messages)

    # What its histories use

    def channel(self, topic: str) -> bytes:
        """Return the channel of a topic."""
        return channel_of(self.prefix, topic)

    def changed(self, serves: Callable[[bytes], bool]) -> None:
        """Report to telemetry that it has connected, or lost a connection, to the server of some channels."""
        self._histories.changed(serves)
        self._pushes.changed(serves)
        trouble = self.trouble()
        if (trouble is None) != self._was_up:
            self._was_up = trouble is None
            event = BROKER_CONNECTED if self._was_up else BROKER_DISCONNECTED
            telemetry.execute(event, {}, {"pubsub": self.pubsub, "adapter": self, "trouble": trouble})


def check_prefix(prefix: object) -> None:
    """Raise ValueError unless the names of channels can begin with a prefix."""
    if not isinstance(prefix, str) or not prefix.isprintable():
        raise ValueError(f'prefix must be a str such as "ashtree", got {safe_repr(prefix)}')


def channel_of(prefix: str, topic: str) -> bytes:
    """Return the channel of a topic."""
    return f"{prefix}:{topic}".encode(errors="surrogatepass")


def redis_address(url: str | None) -> RedisAddress:
    """Return the address of a URL, by default of the one in the environment.

    Raises:
        ValueError: if there is none, or it is no URL of Redis.
        ModuleNotFoundError: if redis-py is not installed.
    """
    given: object = os.environ.get(REDIS_URL) if url is None else url
    if not isinstance(given, str) or not given:
        what = f'the URL of Redis must be a str such as "redis://localhost", or be in the environment as {REDIS_URL}'
        raise ValueError(f"{what}, got {safe_repr(given)}")
    if not RedisPubSub.installed:
        raise ModuleNotFoundError("Redis needs the library redis-py: pip install 'ashtree[redis]'", name=_LIBRARY)
    address = RedisAddress(given)
    address.check()
    return address
