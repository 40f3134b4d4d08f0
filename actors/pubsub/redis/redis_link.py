"""The actor of a `RedisPubSub`: it keeps a shard for each server, and finds those of a cluster again when they change."""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from actors.actor import Actor
from actors.log import Log
from actors.pubsub.redis.redis_address import SLOTS, RedisAddress, Span, read_slots
from actors.pubsub.redis.redis_shard import LOST, Lost, RedisShard, Settings, cause_of, hang_up, writer_of
from actors.runtime.coroutine import next_round
from actors.task.task import Task
from actors.time_bound import TimeBound, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis.asyncio.connection import AbstractConnection

    from actors.exits import ExitReason

    _Place = tuple[str, int]
    _Connection = Callable[[Mapping[str, Any], Span], AbstractConnection]

__all__ = ["RedisLink"]

_log = Log("ashtree.pubsub")

_FLUSH = 1.0
"""Seconds that the last messages may take to leave."""
_BETWEEN_LOOKS = 0.5
"""Seconds between two looks at the servers of a cluster."""
_AT_ONCE = 500
"""Channels that are taken to other servers at once."""


class Linked(Settings, Protocol):
    """The adapter, as far as its actor uses it."""

    address: RedisAddress
    prefix: str
    client_name: str
    wanted: Mapping[str, bytes]

    def linked(self, link: RedisLink | None) -> None:
        """Use this actor from now on, or none."""

    def receive(self, topic: str, data: bytes) -> None:
        """Deliver a message."""

    def lost(self, messages: int) -> None:
        """Count messages that were lost."""

    def changed(self, serves: Callable[[bytes], bool]) -> None:
        """Report that it has connected, or lost a connection, to the server of some channels."""


class RedisLink(Actor):
    """Publishes and receives for its adapter, which calls it in the turn of the actor that broadcasts or subscribes."""

    _no_dead_letters = (object,)

    def __init__(self, adapter: Linked) -> None:
        self._adapter = adapter
        self._spans: dict[_Place, Span] = {}
        self._shards: dict[_Place, RedisShard] = {}
        self._tasks: dict[_Place, asyncio.Task[None]] = {}
        # By the slot of a channel, in a cluster.
        self._owners: list[RedisShard | None] = [None] * SLOTS
        self._moved = asyncio.Event()
        self._is_up = asyncio.Event()
        self._error = "connecting"
        self._beat = f"{adapter.prefix}!{secrets.token_urlsafe(9)}"

    async def on_start(self) -> None:
        """Connect; go on without after a while, as local delivery needs no Redis."""
        self._adapter.linked(self)
        self.own(lambda: self._adapter.linked(None))
        Task.start_link(self, self.serve)
        with suppress(TimeoutError), TimeBound(self.clock, self._adapter.connect_timeout):
            await self._is_up.wait()

    async def terminate(self, reason: ExitReason) -> None:
        """Let the last messages leave."""
        with suppress(TimeoutError), TimeBound(self.clock, _FLUSH):
            for shard in self._shards.values():
                await shard.outgoing.empty.wait()

    # What the adapter calls

    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message."""
        shard = self.shard_of(channel)
        if shard is None:
            self._adapter.lost(1)
        else:
            shard.publish(channel, data)

    def want(self, channel: bytes, topic: str) -> None:
        """Subscribe to a channel."""
        shard = self.shard_of(channel)
        if shard is not None:
            shard.interests.want(channel, topic)

    def give_up(self, channel: bytes) -> None:
        """Unsubscribe from a channel."""
        shard = self.shard_of(channel)
        if shard is not None:
            shard.interests.give_up(channel)

    def effect(self, channel: bytes) -> asyncio.Future[None] | None:
        """Return what to wait for until a channel is in effect."""
        shard = self.shard_of(channel)
        return None if shard is None else shard.effect(channel)

    @property
    def shards(self) -> list[RedisShard]:
        """The servers that are known."""
        return list(self._shards.values())

    def shard_of(self, channel: bytes) -> RedisShard | None:
        """Return the server that has a channel, None if it is not known."""
        if not self._adapter.address.is_cluster:
            return next(iter(self._shards.values()), None)
        return self._owners[_slot(channel)]

    def trouble(self) -> str | None:
        """Return which servers are out of reach, and why; None if none is."""
        if not self._shards:
            return f"{self._adapter.address}: {self._error}"
        troubles = [f"{shard.name}: {shard.error}" for shard in self._shards.values() if not shard.connected]
        return "; ".join(troubles) or None

    # The servers

    async def serve(self) -> None:
        """Keep a shard for each server."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._lay_out(group, await self._look())
                except Exception as error:  # noqa: BLE001  # whatever it is: local delivery goes on
                    self._unknown(cause_of(error))
                await sleep(self.clock, _BETWEEN_LOOKS)
                await self._moved.wait()
                self._moved.clear()

    def _unknown(self, error: Exception) -> None:
        """Look for the servers of the cluster again, as none has answered."""
        if not self._shards and self._error == "connecting":
            _log.warning(LOST, self._adapter.address, error)
        self._error = str(error)
        self._moved.set()

    async def _look(self) -> list[Span]:
        address = self._adapter.address
        if not address.is_cluster:
            return [Span(*(address.hosts or [("", 0)])[0])]
        nodes = [Span(*each) for each in dict.fromkeys((*self._shards, *address.hosts))]
        reply = await self._ask_one_of(nodes, address.connection, "CLUSTER", "SLOTS")
        return read_slots(reply, address.hosts[0][0])

    async def _ask_one_of(self, nodes: list[Span], connection: _Connection, *command: str) -> Any:
        """Return the reply of the first node that gives one."""
        failures: list[Exception] = []
        for node in nodes:
            try:
                with TimeBound(self.clock, self._adapter.connect_timeout):
                    return await _reply_to(connection(self._options(), node), *command)
            except Exception as error:  # noqa: BLE001  # the next one may answer
                failures.append(error)
        raise failures[0]

    async def _open(self, place: _Place) -> AbstractConnection:
        """Return a connection to a server, or to the one that is the master now."""
        address = self._adapter.address
        span = await self._master() if address.kind == "sentinel" else Span(*place)
        connection = address.connection(self._options(), span if address.kind else None)
        try:
            await connection.connect()
            if not address.is_cluster:
                await _refuse_replica(connection)
        except BaseException:
            # It may be the time limit that has cut it short.
            await hang_up(connection, writer_of(connection))
            raise
        return connection

    async def _master(self) -> Span:
        address = self._adapter.address
        nodes = [Span(*each) for each in address.hosts]
        reply = await self._ask_one_of(
            nodes, address.to_sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service
        )
        if reply is None:
            raise Lost(f"no Sentinel knows {address.service!r}")
        host, port = reply
        return Span(host.decode(), int(port))

    def _options(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry  # noqa: PLC0415  # its library is an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415  # an extra

        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": None,
            "socket_connect_timeout": self._adapter.connect_timeout,
            "health_check_interval": 0,
            "decode_responses": False,
            "client_name": re.sub(r"[^!-~]", "_", self._adapter.client_name),
        }
        return options if str(self._adapter.address).startswith("unix") else {**options, "socket_keepalive": True}

    async def _lay_out(self, group: asyncio.TaskGroup, spans: list[Span]) -> None:
        """Start a shard for each new server, end those that are gone, and take channels to the servers that have them now."""
        found = {span.place: span for span in spans}
        if found != self._spans:
            self._spans = found
            for place in self._shards.keys() - found:
                self._tasks.pop(place).cancel()
                del self._shards[place]
            for place in found.keys() - self._shards:
                self._shards[place] = self._shard(place)
            await self._spread()
        for place, shard in self._shards.items():
            shard.interests.ask_again()
            if place not in self._tasks:
                self._tasks[place] = group.create_task(shard.run())

    async def _spread(self) -> None:
        """Ask for each channel where it is, and nowhere else."""
        self._owners = [None] * SLOTS
        for place, span in self._spans.items():
            for slots in span.slots:
                self._owners[slots.start : slots.stop] = [self._shards[place]] * len(slots)
        wanted = self._adapter.wanted
        for number, (topic, channel) in enumerate(list(wanted.items())):
            if number % _AT_ONCE == 0:
                await next_round()
            if topic in wanted:
                self._place(topic, channel)

    def _place(self, topic: str, channel: bytes) -> None:
        owner = self.shard_of(channel)
        for shard in self._shards.values():
            if shard is owner:
                shard.interests.want(channel, topic)
            else:
                shard.interests.give_up(channel)

    def _shard(self, place: _Place) -> RedisShard:
        address, is_cluster = self._adapter.address, self._adapter.address.is_cluster
        host, port = place
        return RedisShard(
            f"{host}:{port} of {address}" if is_cluster else str(address),
            partial(self._open, place),
            self._adapter,
            self.clock,
            sharded=is_cluster,
            beat_channel=partial(self._beat_channel, place),
            receive=self._adapter.receive,
            on_lost=self._adapter.lost,
            on_change=self._changed,
            on_moved=self._moved.set if is_cluster else lambda: None,
        )

    def _beat_channel(self, place: _Place) -> bytes:
        return _channel_in(self._spans[place], self._beat) if self._adapter.address.is_cluster else self._beat.encode()

    def _changed(self, shard: RedisShard) -> None:
        if self.trouble() is None:
            self._is_up.set()
        self._adapter.changed(lambda channel: self.shard_of(channel) is shard)


async def _refuse_replica(connection: AbstractConnection) -> None:
    """Raise Lost if the server is a replica: what is published there reaches no subscriber of its master."""
    from redis.exceptions import ResponseError  # noqa: PLC0415  # its library is an extra

    await connection.send_command("HELLO")
    try:
        reply = await connection.read_response(disconnect_on_error=False)
    except ResponseError:
        # Of a server that is older than Redis 6.
        return
    about = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    if about.get(b"role") == b"replica":
        raise Lost("it is a replica, from which nothing reaches its master: connect to the master")


async def _reply_to(connection: AbstractConnection, *command: str) -> Any:
    try:
        await connection.connect()
        await connection.send_command(*command)
        return await connection.read_response(disconnect_on_error=False)
    finally:
        await hang_up(connection, writer_of(connection))


def _slot(channel: bytes) -> int:
    from redis.crc import key_slot  # noqa: PLC0415  # its library is an extra

    return int(key_slot(channel))


def _channel_in(span: Span, name: str) -> bytes:
    """Return a channel that begins with a name, in one of the slots of a server."""
    number = 0
    while not span.has(_slot(channel := f"{name}:{number}".encode())):
        number += 1
    return channel
