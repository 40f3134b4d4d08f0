"""The keys of pushes that processes share, in Redis, so that each push is handled by one of them.

A claim that is not answered, as the connection breaks, may have been executed: it is undone when the server is there again.
First answers that could not be written are written then. Until then other processes ask this one for them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from itertools import chain, count
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from actors.channels.message import Reply
from actors.idempotency.claim import NOT_KEPT
from actors.idempotency.push_store import PushStore, SharedPush, StoreUnavailableError
from actors.log import Log
from actors.pubsub.redis.push_commands import PushCommands, find_command, read_push
from actors.pubsub.redis.redis_shard import Lost, has_moved
from actors.pubsub.remote_message import RemoteMessageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.idempotency.idempotency import Idempotency
    from actors.idempotency.push_logs import Claimant
    from actors.pubsub.redis.redis_link import RedisLink
    from actors.pubsub.redis.redis_shard import RedisShard

__all__ = ["RedisPushes"]

_log = Log("ashtree.pubsub")

_ROOM = 4096
"""Bytes of a command beside its answer."""

_MOST_UNWRITTEN = 10_000
_MOST_UNWRITTEN_BYTES = 16 * 1024 * 1024
"""What is to be written when a server is there again; of more, the oldest are dropped. Then copies get no answer elsewhere."""

_WHAT = "the key of a push"


class Locating(Protocol):
    """The adapter, as far as its pushes use it."""

    prefix: str

    def channel(self, topic: str) -> bytes:
        """Return the channel of a topic."""


class RedisPushes(PushStore):
    """The pushes of one PubSub whose adapter is a `RedisPubSub`; for the thread of its event loop."""

    def __init__(self, adapter: Locating) -> None:
        self._adapter = adapter
        self._link: RedisLink | None = None
        self._numbers = count(1)
        # By the number of the claim: what this process may have claimed, and does not know of yet.
        self._claiming: dict[int, SharedPush] = {}
        # By the number of the claim: an answer, or its end.
        self._unwritten: OrderedDict[int, _Unwritten] = OrderedDict()
        self._bytes = 0

    # What the adapter calls

    def linked(self, link: RedisLink | None) -> None:
        """Use this actor from now on, or none."""
        self._link = link

    def changed(self, serves: Callable[[bytes], bool]) -> None:
        """Write what was not written, as a server may be there again."""
        for number, unwritten in list(self._unwritten.items()):
            if serves(self._channel(unwritten.commands.push)):
                self._write(number)

    # What channels call

    async def claim(self, push: SharedPush, options: Idempotency) -> SharedPush | Callable[[Reply], object]:
        """Claim the key of a push; see `PushStore`."""
        channel, shard = self._channel(push), self._shard(push)
        commands = PushCommands.of(self._adapter.prefix, channel, push, options, next(self._numbers))
        known: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._claiming[commands.number] = push
        shard.ask(commands.claim, partial(self._claimed, shard, commands, known))
        try:
            found = await known
        except asyncio.CancelledError:
            if known.done() and not known.cancelled() and known.exception() is None and known.result() is None:
                self._later(commands, commands.release)
            raise
        finally:
            if not known.cancelled():
                del self._claiming[commands.number]
        return partial(self._keep, commands) if found is None else _read(push, found)

    def _claimed(
        self, shard: RedisShard, commands: PushCommands, known: asyncio.Future[bytes | None], answer: Any
    ) -> None:
        """Take the answer to a claim; if that is not waited for any more, or lost, nothing stays claimed."""
        if isinstance(answer, Lost) or (answer is None and known.done()):
            self._later(commands, commands.release)
        if known.cancelled():
            del self._claiming[commands.number]
        _take(shard, known, answer)

    def is_unsettled(self, claimant: Claimant, key: str) -> bool:
        """Return whether a claim is on its way, or something of it is not written; see `PushStore`."""
        unwritten = (each.commands.push for each in self._unwritten.values())
        return any((push.claimant, push.key) == (claimant, key) for push in chain(self._claiming.values(), unwritten))

    async def find(self, push: SharedPush) -> SharedPush | None:
        """Return what is known of a push; see `PushStore`."""
        shard, command = self._shard(push), find_command(self._adapter.prefix, self._channel(push), push)
        known: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        shard.ask(command, partial(_take, shard, known))
        found = await known
        return None if found is None else _read(push, found)

    def _channel(self, push: SharedPush) -> bytes:
        return self._adapter.channel(push.claimant.topic)

    def _shard(self, push: SharedPush) -> RedisShard:
        shard = None if self._link is None else self._link.shard_of(self._channel(push))
        if shard is None or not shard.can_ask(_ROOM):
            raise StoreUnavailableError
        return shard

    # First answers

    def _keep(self, commands: PushCommands, answer: Reply) -> None:
        """Write the first answer, unless it is too large."""
        if len(answer.payload) > commands.options.max_bytes:
            answer = Reply(NOT_KEPT.status, msgspec.Raw())
        self._later(commands, commands.answer(answer))

    def _later(self, commands: PushCommands, command: tuple[bytes, ...]) -> None:
        """Write something now, or when its server is there again."""
        unwritten = self._unwritten[commands.number] = _Unwritten(commands, command)
        self._bytes += unwritten.size
        self._write(commands.number)
        while len(self._unwritten) > _MOST_UNWRITTEN or self._bytes > _MOST_UNWRITTEN_BYTES:
            self._written(next(iter(self._unwritten)))

    def _write(self, number: int) -> None:
        commands, command = self._unwritten[number]
        with suppress(StoreUnavailableError):
            shard = self._shard(commands.push)
            shard.ask(command, partial(self._has_written, shard, number))

    def _has_written(self, shard: RedisShard, number: int, answer: Any) -> None:
        if isinstance(answer, Lost) or has_moved(answer):
            return  # until there is a server for it
        if isinstance(answer, Exception):
            shard.log_refusal(_WHAT, answer)
        self._written(number)

    def _written(self, number: int) -> None:
        unwritten = self._unwritten.pop(number, None)
        if unwritten is not None:
            self._bytes -= unwritten.size


class _Unwritten(NamedTuple):
    """What Redis has not confirmed yet: an answer, or the end of a claim."""

    commands: PushCommands
    command: tuple[bytes, ...]

    @property
    def size(self) -> int:
        return sum(map(len, self.command))


def _take(shard: RedisShard, known: asyncio.Future[bytes | None], answer: Any) -> None:
    """Hand on what the server has answered, or why there is no answer."""
    if isinstance(answer, Exception) and not isinstance(answer, Lost):
        shard.log_refusal(_WHAT, answer)
    if known.done():
        return
    if isinstance(answer, Exception):
        known.set_exception(StoreUnavailableError())
    else:
        known.set_result(answer)


def _read(push: SharedPush, data: bytes) -> SharedPush:
    try:
        return read_push(push, data)
    except RemoteMessageError as error:
        _log.error("%s", error)
        raise StoreUnavailableError from error
