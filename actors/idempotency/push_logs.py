"""The pushes with a key of all clients of a process, bounded in total. Time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from actors.idempotency.claim import Claim
from actors.idempotency.push_log import PushLog

if TYPE_CHECKING:
    from actors.idempotency.idempotency import Idempotency

__all__ = ["Claimant", "PushLogs"]

_LOG = 512
"""Bytes of a log without claims, with its place in the table."""


class Claimant(NamedTuple):
    """Whose key it is: a topic, and the `id` of the client's socket, which may be None."""

    topic: str
    client: str | None


class PushLogs:
    """The logs by claimant, the one that was used last at the end.

    They are plain data that outlives channels, connections and the actor of PubSub. `max_bytes` bounds all together: above it
    the logs are dropped that have not been used for longest, but for the pushes that are still being handled.

    - `claimed` counts the pushes that were handled, `repeated` their copies that got the first reply, `refused` pushes that may
      be sent again later, `unknown` copies whose process had ended; `dropped` the logs for which there was no room.
    """

    def __init__(self, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._logs: OrderedDict[Claimant, PushLog] = OrderedDict()
        self.bytes = self.claimed = self.repeated = self.refused = self.unknown = self.dropped = 0

    def __len__(self) -> int:
        return len(self._logs)

    @property
    def are_used(self) -> bool:
        """Whether a push with a key has come to this process."""
        return self.claimed + self.repeated + self.refused + self.unknown > 0

    def find(self, claimant: Claimant, key: str, now: float) -> Claim | None:
        """Return the claim of a key."""
        log = self._logs.get(claimant)
        if log is None:
            return None
        self._logs.move_to_end(claimant)
        self._expire(log, now)
        return log.get(key)

    def _expire(self, log: PushLog, now: float) -> None:
        before = log.bytes
        log.expire(now)
        self.bytes += log.bytes - before

    def claim(self, claimant: Claimant, key: str, digest: bytes, options: Idempotency, now: float) -> Claim:
        """Claim a key that `find` has not found."""
        log = self._logs.get(claimant)
        if log is None:
            self._forget_expired(now)
            log = self._logs[claimant] = PushLog(options)
            self.bytes += _LOG
        self._logs.move_to_end(claimant)
        claim, before = Claim(key, digest, now, partial(self._grew, claimant, log)), log.bytes
        log.add(claim)
        self._count(log.bytes - before)
        self.claimed += 1
        return claim

    def _grew(self, claimant: Claimant, log: PushLog, claim: Claim, size: int) -> None:
        if self._logs.get(claimant) is log:
            before = log.bytes
            log.grow(claim, size)
            self._count(log.bytes - before)

    def _count(self, grown: int) -> None:
        self.bytes += grown
        if self.bytes > self._max_bytes:
            # The last one is the one that has grown.
            for claimant in list(self._logs)[:-1]:
                self._shed(claimant)
                if self.bytes <= self._max_bytes:
                    break

    def _shed(self, claimant: Claimant) -> None:
        """Drop a log, but for the pushes that are still being handled."""
        log = self._logs[claimant]
        before = log.bytes
        log.forget_answered()
        self.bytes += log.bytes - before
        self.dropped += log.bytes < before
        if not len(log):
            self._drop(claimant)

    def _drop(self, claimant: Claimant) -> None:
        self.bytes -= self._logs.pop(claimant).bytes + _LOG

    def _forget_expired(self, now: float) -> None:
        """Look at the two logs that were not used for longest; as this is done for each new one, what has expired goes."""
        for _ in range(2):
            claimant = next(iter(self._logs), None)
            if claimant is None:
                return
            self._expire(self._logs[claimant], now)
            if len(self._logs[claimant]):
                return
            self._drop(claimant)
