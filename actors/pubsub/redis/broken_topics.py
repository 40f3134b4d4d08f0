"""Topics whose histories in Redis lack something: their epochs have to end, so that no client believes to have it all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from actors.pubsub.redis.history_commands import about_keys, forget_command, scan_command
from actors.pubsub.redis.redis_shard import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from actors.pubsub.redis.history_commands import TopicKeys
    from actors.pubsub.redis.redis_shard import RedisShard

__all__ = ["BrokenTopics"]

_MOST = 200_000
"""Topics that are remembered, of some 200 bytes each; with more the epochs of all topics end."""

_ROOM = 2048
"""Bytes of a command."""


class Servers(Protocol):
    """The servers that have the topics."""

    @property
    def shards(self) -> Collection[RedisShard]:
        """All of them."""

    def shard_of(self, channel: bytes) -> RedisShard | None:
        """Return the one that has a channel."""


class _Break(NamedTuple):
    """The last broadcast of a topic that is not in its history: its number among all of these, and its time.

    `server_time` is the latest time that it may have been for the server, by what that said when it was connected to last; None
    if it is not known.
    """

    number: int
    time: float
    server_time: float | None


class BrokenTopics:
    """Topics with broadcasts that were delivered without an offset, until the epochs in which they are missing have ended.

    The command for this is sent when the server takes it, also if it does not answer: so it is done even if this process ends
    before. `now()` is the time, `keys_of(topic)` returns the keys of a topic. If there are more topics than can be remembered,
    the epochs of all topics end; `on_all_ended()` is called when they have.
    """

    def __init__(
        self,
        prefix: str,
        keys_of: Callable[[str], TopicKeys],
        now: Callable[[], float],
        on_all_ended: Callable[[], object],
    ) -> None:
        self._prefix, self._keys_of, self._now, self._on_all_ended = prefix, keys_of, now, on_all_ended
        self._servers: Servers | None = None
        self._last: dict[str, _Break] = {}
        self._count = 0
        # By topic, the number up to which the epoch was asked to end.
        self._asked: dict[str, int] = {}
        # Which time it is that all topics have to end, 0 if they need not; the servers where they have, or are about to.
        self._all = self._times = 0
        self._begun: set[RedisShard] = set()
        self._ended: set[RedisShard] = set()

    def use(self, servers: Servers | None) -> None:
        """Ask these servers from now on, or none; what others were asked is asked again."""
        self._servers = servers
        self._asked.clear()
        self._begun.clear()

    def __contains__(self, topic: str) -> bool:
        return bool(self._all) or topic in self._last

    def topics(self) -> list[str]:
        """Return the topics that are known one by one."""
        return list(self._last)

    def add(self, topic: str) -> None:
        """Remember that a broadcast on a topic is not in its history."""
        if topic not in self._last and len(self._last) >= _MOST:
            self._end_all()
        self._count += 1
        self._last[topic] = _Break(self._count, self._now(), self._server_time(topic))
        self.end(topic)

    def _server_time(self, topic: str) -> float | None:
        shard = None if self._servers is None else self._servers.shard_of(self._keys_of(topic).channel)
        before = self._last[topic].server_time if topic in self._last else None
        known = [] if before is None else [before]
        if shard is not None and shard.ahead is not None:
            known.append(self._now() + shard.ahead)
        return max(known, default=None)

    def end(self, topic: str) -> None:
        """End the epoch of a topic, if that is broken and its server takes commands."""
        last = self._last.get(topic)
        if last is None or topic in self._asked or self._servers is None:
            return
        keys = self._keys_of(topic)
        shard = self._servers.shard_of(keys.channel)
        if shard is not None and shard.takes(_ROOM):
            self._asked[topic] = last.number
            command = forget_command(keys, self._now() - last.time, last.server_time)
            shard.ask(command, partial(self._has_ended, topic, last.number))

    def _has_ended(self, topic: str, number: int, answer: Any) -> None:
        if self._asked.get(topic) != number:
            return
        del self._asked[topic]
        if isinstance(answer, Exception):
            return
        if self._last[topic].number == number:
            del self._last[topic]
        else:
            self.end(topic)

    # All topics

    def _end_all(self) -> None:
        self._last.clear()
        self._asked.clear()
        self._begun.clear()
        self._ended.clear()
        self._times += 1
        self._all = self._times
        self.go_on()

    def go_on(self) -> None:
        """End the epochs of all topics of the servers that take commands now, if that is needed."""
        if not self._all or self._servers is None:
            return
        for shard in self._servers.shards:
            if shard not in self._begun and shard.takes(_ROOM):
                self._begun.add(shard)
                self._scan(shard, self._all, b"0")

    def _scan(self, shard: RedisShard, time: int, cursor: bytes) -> None:
        shard.ask(scan_command(self._prefix, cursor), partial(self._has_scanned, shard, time))

    def _has_scanned(self, shard: RedisShard, time: int, answer: Any) -> None:
        if isinstance(answer, Exception):
            self._failed(shard, time, answer)
        elif time == self._all:
            cursor, found = answer
            for key in about_keys(self._prefix, found):
                shard.ask((b"DEL", key), lambda _: None)
            # It is answered after the keys are deleted.
            shard.ask((b"PING",), partial(self._has_deleted, shard, time, cursor))

    def _has_deleted(self, shard: RedisShard, time: int, cursor: bytes, answer: Any) -> None:
        if isinstance(answer, Exception):
            self._failed(shard, time, answer)
        elif time == self._all and cursor != b"0":
            self._scan(shard, time, cursor)
        elif time == self._all:
            self._ended.add(shard)
            if self._servers is not None and self._ended.issuperset(self._servers.shards):
                self._all = 0
                self._on_all_ended()

    def _failed(self, shard: RedisShard, time: int, error: Exception) -> None:
        """Begin again when the server is back."""
        if time == self._all:
            self._begun.discard(shard)
        if not isinstance(error, Lost):
            shard.log_refusal("the end of all histories", error)
