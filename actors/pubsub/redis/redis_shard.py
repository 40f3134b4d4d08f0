"""The two connections to one Redis server: one publishes, one is subscribed; and the heartbeat through both.

A connection that is lost is noticed by its error. One that is silent, or a subscription that a server has forgotten, is noticed
by the heartbeat: a message on a channel of this process, published by the one connection, that must come back by the other.
Whatever fails, both connections are given up and opened again, with all subscriptions. What waits then is lost, and counted: it
is not known whether the server has passed on what it has not answered, and to send it twice would be worse than not at all.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from random import random
from typing import TYPE_CHECKING, Any, Protocol

from actors.log import Log
from actors.log_limit import LogLimit
from actors.pubsub.redis.interests import Interests
from actors.pubsub.redis.outgoing import Outgoing
from actors.redaction import safe_str
from actors.runtime.coroutine import next_round
from actors.time_bound import TimeBound, sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio.connection import AbstractConnection

    from actors.clock import Clock

__all__ = ["LOST", "Lost", "Reconnects", "RedisShard", "Settings", "cause_of", "hang_up", "writer_of"]

_log = Log("ashtree.pubsub")

_BATCH = 1_000
"""Channels in one command."""
_WRITE_BYTES = 256 * 1024
"""Bytes in one write."""
_TURN = 0.002
"""Seconds for which messages are delivered before others get their turns."""

_SETTLING = 10.0
"""Seconds that a server may take to confirm the subscriptions of a new connection."""
_ROUNDS = 20
"""Timeouts of the heartbeat, at most, in which it waits behind other messages that do arrive."""

LOST = "%s is out of reach (%s): broadcasts stay in this process until it is back"


class Settings(Protocol):
    """The options of a `RedisPubSub` that are about connections."""

    heartbeat: float
    heartbeat_timeout: float
    connect_timeout: float
    max_queue: int
    max_queue_bytes: int


class Reconnects:
    """The seconds between the starts of two attempts: 0.1, doubled each time up to 2, less up to half of it by chance."""

    MOST = 2.0

    def __init__(self) -> None:
        self._seconds = 0.05

    def next(self, chance: float) -> float:
        """Return the seconds until the next attempt; `chance` is from 0 to 1."""
        self._seconds = min(self.MOST, self._seconds * 2)
        return self._seconds * (1 - chance / 2)

    def succeeded(self) -> None:
        """Begin again."""
        self._seconds = 0.05


class Lost(Exception):  # noqa: N818  # it is not raised by us at authors
    """The connections are of no use any more."""


def cause_of(error: Exception) -> Exception:
    """Return why a connection is lost: of errors in a group the first one. What is no error of a connection is a bug."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def is_bug(error: Exception) -> bool:
    """Return whether this error is no error of a connection. It costs the connection too, and not the whole system."""
    from redis.exceptions import RedisError  # noqa: PLC0415  # its library is an extra

    return not isinstance(error, (Lost, RedisError, OSError, EOFError, TimeoutError))


def writer_of(connection: AbstractConnection) -> asyncio.StreamWriter | None:
    """Return what a connection writes to, if it is connected; redis-py has no public name for it."""
    writer: asyncio.StreamWriter | None = getattr(connection, "_writer", None)
    return writer


async def hang_up(connection: AbstractConnection, writer: asyncio.StreamWriter | None) -> None:
    """Close a connection at once, without the farewell of TLS: the other side may not answer any more."""
    # `disconnect` alone leaves a transport that waits for that, and an event loop that cannot be closed meanwhile.
    if writer is not None:
        writer.transport.abort()
    with suppress(Exception):
        await connection.disconnect(nowait=True)


class RedisShard:
    """One server, or one of a cluster's: what is published goes there, and its channels are subscribed.

    - `open_connection()` returns a new connection.
    - `beat_channel` is the channel of this process's heartbeat there.
    - `receive(topic, data)` gets the messages, `on_lost(messages)` the number of those that were lost, `on_change(shard)` is
      called when it connects or the connection is lost, and `on_moved()` if slots may have moved to other servers.
    """

    def __init__(
        self,
        name: str,
        open_connection: Callable[[], Awaitable[AbstractConnection]],
        settings: Settings,
        clock: Clock,
        *,
        sharded: bool,
        beat_channel: bytes,
        receive: Callable[[str, bytes], object],
        on_lost: Callable[[int], object],
        on_change: Callable[[RedisShard], object],
        on_moved: Callable[[], object],
    ) -> None:
        self.name, self._open_connection, self._settings, self._clock = name, open_connection, settings, clock
        self._sharded = sharded
        self._publish = b"SPUBLISH" if sharded else b"PUBLISH"
        self._subscribe = ("SSUBSCRIBE", "SUNSUBSCRIBE") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE")
        self._beat_channel = beat_channel
        self._receive, self._on_lost, self._on_change, self._on_moved = receive, on_lost, on_change, on_moved
        self.interests = Interests()
        self.outgoing = Outgoing(settings.max_queue, settings.max_queue_bytes)
        self.connected = False
        """Whether messages go there and come from there."""
        self.error: str = "connecting"
        """Why it is not connected."""
        self._writes = False
        self._beat = self._beat_number = self._received = 0
        self._beat_is_back: asyncio.Future[None] | None = None
        self._reconnects = Reconnects()
        self._errors: LogLimit[str] = LogLimit(1, 10.0)
        self._lost_at: float | None = None

    # What the adapter calls

    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message, or count it as lost if the server is out of reach, or too slow."""
        command = _command(self._publish, channel, data)
        if self._writes and self.outgoing.has_room(command):
            self.outgoing.put(command)
        else:
            self._on_lost(1)

    def effect(self, channel: bytes) -> asyncio.Future[None] | None:
        """Return what to wait for until a channel is in effect; None if it is, or the server is out of reach."""
        return self.interests.effect(channel) if self.connected else None

    # The connections

    async def run(self) -> None:
        """Connect and serve, again and again, until cancelled."""
        while True:
            began = self._clock.now()
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001  # whatever it is: local delivery goes on
                self._disconnected(cause_of(error))
            finally:
                self._give_up()
            await sleep(self._clock, max(0.05, began + self._reconnects.next(random()) - self._clock.now()))  # noqa: S311

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            with TimeBound(self._clock, self._settings.connect_timeout):
                publishing, subscribed = [await self._opened(stack) for _ in range(2)]
            self.interests.want(self._beat_channel, "")
            self.interests.start_again()
            self._writes = True
            async with asyncio.TaskGroup() as group:
                for work in (
                    self._write(publishing),
                    self._read_answers(publishing),
                    self._ask(subscribed),
                    self._listen(subscribed),
                    self._beat_on(),
                ):
                    group.create_task(work)

    async def _opened(self, stack: AsyncExitStack) -> AbstractConnection:
        connection = await self._open_connection()
        # redis-py itself closes a connection that fails, and forgets its writer.
        stack.push_async_callback(hang_up, connection, writer_of(connection))
        return connection

    def _give_up(self) -> None:
        self._writes = False
        self.interests.release()
        # The heartbeat is no message.
        lost = -1 if self.outgoing.answered_in_total < self._beat_number else 0
        lost += self.outgoing.clear()
        if lost > 0:
            self._on_lost(lost)

    def _disconnected(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {safe_str(error)}" if str(error) else type(error).__name__
        if is_bug(error) and self._errors.admit(self.error, self._clock.now()) is not None:
            _log.error("the connections to %s are opened again after an error", self.name, exc_info=error)
        if self.connected or self._lost_at is None:
            _log.warning(LOST, self.name, self.error)
            self._lost_at = self._clock.now()
        self.connected = False
        self._on_change(self)
        self._on_moved()

    def _connected(self) -> None:
        self._reconnects.succeeded()
        self.connected, self.error = True, ""
        if self._lost_at is not None:
            _log.info("connected to %s again, after %.1f s", self.name, self._clock.now() - self._lost_at)
            self._lost_at = None
        self._on_change(self)

    # Publishing

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            await self.outgoing.wake.wait()
            await connection.send_packed_command(self.outgoing.take(_WRITE_BYTES), check_health=False)

    async def _read_answers(self, connection: AbstractConnection) -> None:
        from redis.exceptions import MovedError, ResponseError  # noqa: PLC0415  # its library is an extra

        async for _ in self._turns():
            try:
                await connection.read_response(disconnect_on_error=False)
            except MovedError:
                raise
            except ResponseError as error:
                self._refused(error)
            self.outgoing.answered()

    def _refused(self, error: Exception) -> None:
        """Count a message that the server did not take, as when the user may not publish on that channel."""
        self._on_lost(1)
        if self._errors.admit(str(error)[:40], self._clock.now()) is not None:
            _log.error("%s refuses a message: %s", self.name, safe_str(error))

    async def _turns(self) -> AsyncIterator[None]:
        """Yield again and again; messages that have arrived are read at once, so others get their turns here."""
        began = self._clock.now()
        while True:
            yield
            if self._clock.now() - began > _TURN:
                await next_round()
                began = self._clock.now()

    # Subscriptions

    async def _ask(self, connection: AbstractConnection) -> None:
        subscribe, unsubscribe = self._subscribe
        while True:
            await self.interests.wake.wait()
            more, fewer = self.interests.take(_BATCH)
            for command, channels in ((subscribe, more), (unsubscribe, fewer)):
                if channels:
                    await self._ask_for(connection, command, channels)

    async def _ask_for(self, connection: AbstractConnection, command: str, channels: list[bytes]) -> None:
        # All channels of one command of a cluster must be in one slot.
        groups = [[channel] for channel in channels] if self._sharded else [channels]
        packed = [part for group in groups for part in connection.pack_command(command, *group)]
        await connection.send_packed_command(packed, check_health=False)

    async def _listen(self, connection: AbstractConnection) -> None:
        async for _ in self._turns():
            response: Any = await connection.read_response(disconnect_on_error=False, push_request=True)
            self._received += 1
            kind, channel = response[0], response[1]
            if kind in _MESSAGES:
                self._on_message(channel, response[2])
            elif kind in _ANSWERS and not self.interests.answered(channel):
                raise Lost(f"the server has ended the subscription to {channel!r}")

    def _on_message(self, channel: bytes, data: bytes) -> None:
        if channel == self._beat_channel:
            if data == b"%d" % self._beat and self._beat_is_back is not None and not self._beat_is_back.done():
                self._beat_is_back.set_result(None)
            return
        topic = self.interests.topic(channel)
        if topic is not None:
            self._receive(topic, data)

    # The heartbeat

    async def _beat_on(self) -> None:
        """Publish to oneself, and expect it back, for as long as the connections are served."""
        try:
            with TimeBound(self._clock, _SETTLING):
                await self.interests.settled.wait()
        except TimeoutError:
            raise Lost("it does not confirm subscriptions") from None
        while True:
            self._beat += 1
            self._beat_is_back = asyncio.get_running_loop().create_future()
            self.outgoing.put(_command(self._publish, self._beat_channel, b"%d" % self._beat))
            self._beat_number = self.outgoing.put_in_total
            await self._heartbeat(self._beat_is_back, self._beat_number)
            if not self.connected:
                self._connected()
            await sleep(self._clock, self._settings.heartbeat)

    async def _heartbeat(self, is_back: asyncio.Future[None], number: int) -> None:
        """Wait for a heartbeat, and longer while it waits behind other messages that do go and come."""
        seconds = self._settings.heartbeat_timeout
        for _ in range(_ROUNDS):
            answered, received = self.outgoing.answered_in_total, self._received
            with suppress(TimeoutError), TimeBound(self._clock, seconds):
                await asyncio.shield(is_back)
                return
            goes = answered < number and self.outgoing.answered_in_total > answered
            if not goes and self._received == received:
                break
        raise Lost(f"no heartbeat came back within {seconds:g} s")


_MESSAGES = (b"message", b"smessage")
_ANSWERS = (b"subscribe", b"unsubscribe", b"ssubscribe", b"sunsubscribe")


def _command(*parts: bytes) -> bytes:
    """Return a command as it is written."""
    return b"*%d\r\n%b" % (len(parts), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))
