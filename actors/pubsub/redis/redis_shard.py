"""The two connections to one Redis server: one publishes, one is subscribed; and the heartbeat through both.

A connection that is lost is noticed by its error. One that is silent, or a subscription that a server has forgotten, is noticed
by the heartbeat: a message on a channel of this process, published by the one connection, that must come back by the other.
Whatever fails, both connections are given up and opened again, with all subscriptions. What waits then is lost, and counted: it
is not known whether the server has passed on what it has not answered, and to send it twice would be worse than not at all.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from contextlib import AsyncExitStack, suppress
from random import random
from typing import TYPE_CHECKING, Any, Protocol

from actors.log import Log
from actors.log_limit import LogLimit
from actors.pubsub.redis.interests import Interests, Subscribing
from actors.pubsub.redis.outgoing import Outgoing
from actors.redaction import safe_repr, safe_str
from actors.runtime.coroutine import next_round
from actors.time_bound import TimeBound, sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio.connection import AbstractConnection

    from actors.clock import Clock

__all__ = [
    "LOST",
    "Lost",
    "Reconnects",
    "RedisShard",
    "Settings",
    "cause_of",
    "hang_up",
    "has_moved",
    "read_server",
    "writer_of",
]

_log = Log("ashtree.pubsub")

_BATCH = 1_000
"""Subscriptions that are asked for in one write."""
_WRITE_BYTES = 256 * 1024
"""Bytes in one write."""
_TURN = 0.002
"""Seconds for which messages are delivered before others get their turns."""

_LOOKS = 4
"""Looks, within the timeout of the heartbeat, at whether anything goes or comes."""

_REASONS = 5
"""Reasons that are logged of one outage: it may begin with a closed connection, and last because of a new password."""
_SHOWN = 100
"""Characters of a channel in the log."""

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
    - `beat_channel()` returns the channel of this process's heartbeat there, for a new connection.
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
        beat_channel: Callable[[], bytes],
        receive: Callable[[str, bytes], object],
        on_lost: Callable[[int], object],
        on_change: Callable[[RedisShard], object],
        on_moved: Callable[[], object],
    ) -> None:
        self.name, self._open_connection, self._settings, self._clock = name, open_connection, settings, clock
        self.sharded = sharded
        """Whether messages are published by SPUBLISH."""
        self._publish = b"SPUBLISH" if sharded else b"PUBLISH"
        self._subscribe = (b"SSUBSCRIBE", b"SUNSUBSCRIBE") if sharded else (b"SUBSCRIBE", b"UNSUBSCRIBE")
        self._new_beat_channel, self._beat_channel = beat_channel, b""
        self._receive, self._on_lost, self._on_change, self._on_moved = receive, on_lost, on_change, on_moved
        self.interests = Interests()
        self.outgoing = Outgoing(settings.max_queue, settings.max_queue_bytes)
        self.connected = False
        """Whether messages go there and come from there."""
        self.error: str = "connecting"
        """Why it is not connected."""
        self.server_run = b""
        """The run of the server, another one after each restart; empty while it is not known."""
        self.ahead: float | None = None
        """Seconds by which its clock, in Unix time, was ahead of ours at most when it connected; None if it has not told."""
        self.is_silent = False
        """Whether it was given up as too slow, and has not answered since."""
        self._asked: deque[tuple[int, Callable[[Any], object]]] = deque()
        # By what comes back on the channel of the heartbeat.
        self._echoes: dict[bytes, Callable[[], object]] = {}
        self._echoed = 0
        self._writes = False
        self._beat = self._beat_number = self._beat_receivers = self._received = 0
        self._beat_is_back: asyncio.Future[None] | None = None
        self._reconnects = Reconnects()
        self._errors: LogLimit[str] = LogLimit(1, 10.0)
        self._lost_at: float | None = None
        self._told: set[str] = set()

    # What the adapter calls

    def publish(self, channel: bytes, data: bytes) -> None:
        """Send a message, or count it as lost if the server is out of reach, or too slow."""
        command = _command(self._publish, channel, data)
        if self._writes and self.outgoing.has_room(len(command)):
            self.outgoing.put(command)
            return
        self._on_lost(1)
        most = self._settings.max_queue_bytes
        if len(command) > most and self._errors.admit("too large", self._clock.now()) is not None:
            where = safe_repr(channel, _SHOWN)
            _log.error("a message of %d bytes on %s is lost: max_queue_bytes is %d", len(data), where, most)

    def takes(self, size: int) -> bool:
        """Return whether a question of `size` bytes would be sent."""
        return self.connected and self.server_run != b"" and self.outgoing.has_room(size)

    def can_ask(self, size: int) -> bool:
        """Return whether a question of `size` bytes would be sent, and is likely to be answered."""
        return not self.is_silent and self.takes(size)

    def ask(self, command: tuple[bytes, ...], on_answer: Callable[[Any], object]) -> None:
        """Send a command; `on_answer` gets the answer of the server, or the error: a `Lost` if there is none."""
        self.outgoing.put(_command(*command))
        self._asked.append((self.outgoing.put_in_total, on_answer))

    def after_arrivals(self, call: Callable[[], object]) -> None:
        """Call a function when all that was published there until now has arrived here, or will not arrive any more."""
        self._echoed += 1
        echo = b"after %d" % self._echoed
        self._echoes[echo] = call
        self.ask((self._publish, self._beat_channel, echo), lambda answer: self._not_echoed(echo, answer))

    def _not_echoed(self, echo: bytes, answer: Any) -> None:
        if isinstance(answer, Exception):
            self._echo(echo)

    def _echo(self, echo: bytes) -> None:
        call = self._echoes.pop(echo, None)
        if call is not None:
            call()

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
            await sleep(self._clock, max(0.05, began + self._reconnects.next(random()) - self._clock.now()))  # noqa: S311  # no secret

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            with TimeBound(self._clock, self._settings.connect_timeout):
                publishing, subscribed = [await self._opened(stack) for _ in range(2)]
                await self._meet(publishing)
            self.interests.give_up(self._beat_channel)
            self._beat_channel = self._new_beat_channel()
            self.interests.start_again(self._beat_channel)
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

    async def _meet(self, connection: AbstractConnection) -> None:
        """Find out which run of the server it is, and what its time is."""
        began = self._clock.now()
        self.server_run, time = read_server(await _about_server(connection))
        self.ahead = None if time is None else time - began

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
        asked, self._asked = self._asked, deque()
        lost += self.outgoing.clear() - len(asked)
        self.connected, self.is_silent = False, False
        if lost > 0:
            self._on_lost(lost)
        for _, on_answer in asked:
            on_answer(Lost("the connection is lost"))
        for echo in list(self._echoes):
            self._echo(echo)

    def _disconnected(self, error: Exception) -> None:
        self.error = f"{type(error).__name__}: {safe_str(error)}" if str(error) else type(error).__name__
        if is_bug(error) and self._errors.admit(self.error, self._clock.now()) is not None:
            _log.error("the connections to %s are opened again after an error", self.name, exc_info=error)
        if self.connected or self._lost_at is None:
            self._lost_at = self._clock.now()
        if self.error not in self._told and len(self._told) < _REASONS:
            self._told.add(self.error)
            _log.warning(LOST, self.name, self.error)
        self.connected = False
        self._on_change(self)
        self._on_moved()

    def _connected(self) -> None:
        self._reconnects.succeeded()
        self._told.clear()
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
        from redis.exceptions import ResponseError  # noqa: PLC0415  # its library is an extra

        async for _ in self._turns():
            answer: Any
            try:
                answer = await connection.read_response(disconnect_on_error=False)
            except ResponseError as error:
                answer = error
                if has_moved(error):
                    self._on_moved()
            self.outgoing.answered()
            self._on_answer(answer)

    def _on_answer(self, answer: Any) -> None:
        number = self.outgoing.answered_in_total
        if self.is_silent:
            self.is_silent = False
            self._on_change(self)
        if self._asked and self._asked[0][0] == number:
            self._asked.popleft()[1](answer)
        elif isinstance(answer, Exception):
            self._refused(answer, is_beat=number == self._beat_number)
        elif number == self._beat_number:
            self._beat_receivers = answer

    def _refused(self, error: Exception, *, is_beat: bool) -> None:
        """Count a message that the server did not take: its slot has moved, or the user may not publish on that channel."""
        if is_beat:
            raise Lost(f"it refuses the heartbeat: {error}")
        self._on_lost(1)
        self.log_refusal("a message", error)

    def log_refusal(self, what: str, error: Exception) -> None:
        """Log what the server has refused, once in a while; that a slot has moved is no fault."""
        if has_moved(error):
            return
        if self._errors.admit(f"{what[:16]}{error}"[:60], self._clock.now()) is not None:
            _log.error("%s refuses %s: %s", self.name, what, safe_str(error))

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
        async for _ in self._turns():
            await self.interests.wake.wait()
            taken = self.interests.take(_BATCH)
            # Each channel is a command of its own, so that the server may refuse one and no other.
            commands = b"".join(_command(self._subscribe[not each.subscribes], each.channel) for each in taken)
            await connection.send_packed_command(commands, check_health=False)

    async def _listen(self, connection: AbstractConnection) -> None:
        from redis.exceptions import ResponseError  # noqa: PLC0415  # its library is an extra

        async for _ in self._turns():
            try:
                response: Any = await connection.read_response(disconnect_on_error=False, push_request=True)
            except ResponseError as error:
                self._not_subscribed(error)
                continue
            finally:
                self._received += 1
            kind, channel = response[0], response[1]
            if kind in _MESSAGES:
                self._on_message(channel, response[2])
            elif kind in _ANSWERS and not self.interests.answered(Subscribing(kind in _SUBSCRIBED, channel)):
                self._on_end(channel)

    def _not_subscribed(self, error: Exception) -> None:
        """Do without a channel that the user may not subscribe to; in a cluster it may have moved to another server."""
        from redis.exceptions import NoPermissionError  # noqa: PLC0415  # an extra

        command = self.interests.refused()
        if command is None or command.channel == self._beat_channel:
            raise Lost(f"it refuses the heartbeat: {error}")
        if isinstance(error, NoPermissionError):
            self.log_refusal(f"the subscription to {safe_repr(command.channel, _SHOWN)}", error)
        elif self.sharded:
            self._end(command.channel)
        else:
            raise error

    def _on_end(self, channel: bytes) -> None:
        """Look for the server that has a channel now, whose subscription has been ended."""
        if not self.sharded or channel == self._beat_channel:
            raise Lost(f"the server has ended the subscription to {safe_repr(channel, _SHOWN)}")
        self._end(channel)

    def _end(self, channel: bytes) -> None:
        self.interests.end(channel)
        self._on_moved()

    def _on_message(self, channel: bytes, data: bytes) -> None:
        if channel == self._beat_channel:
            if data == b"%d" % self._beat and self._beat_is_back is not None and not self._beat_is_back.done():
                self._beat_is_back.set_result(None)
            self._echo(data)
            return
        topic = self.interests.topic(channel)
        if topic is not None:
            self._receive(topic, data)

    # The heartbeat

    async def _beat_on(self) -> None:
        """Publish to oneself, and expect it back, for as long as the connections are served."""
        confirmed = self.interests.effect(self._beat_channel)
        assert confirmed is not None  # the connection is new
        await self._expect(confirmed, lambda: self._received, "it does not confirm subscriptions")
        while True:
            self._beat += 1
            self._beat_is_back, self._beat_receivers = asyncio.get_running_loop().create_future(), 0
            self.outgoing.put(_command(self._publish, self._beat_channel, b"%d" % self._beat))
            self._beat_number = self.outgoing.put_in_total
            await self._expect(self._beat_is_back, self._progress, "no heartbeat came back")
            if not self.connected:
                self._connected()
            await sleep(self._clock, self._settings.heartbeat)

    def _progress(self) -> tuple[int, int]:
        """Return what changes while the heartbeat waits behind other messages: those that go, and then those that come.

        It does not wait for others to come if the server has no receiver for it, as when it has forgotten the subscription.
        """
        goes = min(self.outgoing.answered_in_total, self._beat_number)
        return goes, self._received if self._beat_receivers else 0

    async def _expect(self, done: asyncio.Future[None], progress: Callable[[], object], otherwise: str) -> None:
        """Wait until something is done, for as long as there is progress; raise Lost if there is none for too long.

        Looks are counted and not seconds: a process that was frozen finds what has arrived meanwhile.
        """
        seconds, before, silent = self._settings.heartbeat_timeout, progress(), 0
        while silent < _LOOKS:
            with suppress(TimeoutError), TimeBound(self._clock, seconds / _LOOKS):
                return await asyncio.shield(done)
            now = progress()
            silent = silent + 1 if now == before else 0
            before = now
        raise Lost(f"{otherwise} within {seconds:g} s")


_MESSAGES = (b"message", b"smessage")
_SUBSCRIBED = (b"subscribe", b"ssubscribe")
_ANSWERS = (*_SUBSCRIBED, b"unsubscribe", b"sunsubscribe")


async def _about_server(connection: AbstractConnection) -> bytes:
    """Return what a server says of itself; nothing if the user may not ask, who can have no histories then."""
    from redis.exceptions import ResponseError  # noqa: PLC0415  # its library is an extra

    await connection.send_command("INFO", "server")
    try:
        about: bytes = await connection.read_response(disconnect_on_error=False)
    except ResponseError as error:
        _log.warning("no history can be kept there: %s", safe_str(error))
        return b""
    return about


def read_server(about: bytes) -> tuple[bytes, float | None]:
    """Return the run of a server, empty if it has not said it, and its Unix time, None for one before Redis 6.2."""
    run = re.search(rb"run_id:(\w+)", about)
    time = re.search(rb"server_time_usec:(\d+)", about)
    return run[1] if run else b"", int(time[1]) / 1e6 if time else None


def _command(*parts: bytes) -> bytes:
    """Return a command as it is written."""
    return b"*%d\r\n%b" % (len(parts), b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts))


def has_moved(answer: object) -> bool:
    """Return whether an answer of a server says that it does not have the slot any more, so it has done nothing."""
    from redis.exceptions import MovedError  # noqa: PLC0415  # its library is an extra

    return isinstance(answer, MovedError)
