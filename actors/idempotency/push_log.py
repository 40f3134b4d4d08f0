"""The pushes with a key of one client on one topic. Plain data, without actors; time is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.idempotency.claim import Claim
    from actors.idempotency.idempotency import Idempotency

__all__ = ["PushLog"]


class PushLog:
    """The claims by key, the oldest first; `bytes` is what they take.

    The bounds are for those whose handlers have returned. Of the others there is one at most for each channel.
    """

    __slots__ = ("_claims", "_options", "_running", "bytes")

    def __init__(self, options: Idempotency) -> None:
        self._options = options
        self._claims: dict[str, Claim] = {}
        # Perhaps with some whose handlers have returned meanwhile.
        self._running: set[Claim] = set()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._claims)

    def get(self, key: str) -> Claim | None:
        """Return the claim of a key."""
        return self._claims.get(key)

    def add(self, claim: Claim) -> None:
        """Add a claim, and forget the oldest ones beyond the bounds."""
        self._claims[claim.key] = claim
        self._running.add(claim)
        self.bytes += claim.size
        self._trim()

    def grow(self, claim: Claim, size: int) -> None:
        """Count the reply of a claim; one that is too large is forgotten, so that its push is not handled again."""
        if self._claims.get(claim.key) is not claim:
            return
        self.bytes += size
        if claim.size > self._options.max_bytes:
            self.bytes -= size
            claim.forget_reply()
        self._trim()

    def _trim(self) -> None:
        options = self._options
        if len(self._claims) <= options.size and self.bytes <= options.max_bytes:
            return
        self._running = {claim for claim in self._running if claim.is_running}
        most = options.size + len(self._running)
        most_bytes = options.max_bytes + sum(claim.size for claim in self._running)
        # One at least is kept, although it is larger by itself.
        while len(self._claims) > len(self._running) + 1 and (len(self._claims) > most or self.bytes > most_bytes):
            self._forget(next(claim for claim in self._claims.values() if claim not in self._running))

    def forget_answered(self) -> None:
        """Forget all but what is still being handled."""
        for claim in list(self._claims.values()):
            if not claim.is_running:
                self._forget(claim)

    def _forget(self, claim: Claim) -> None:
        del self._claims[claim.key]
        self._running.discard(claim)
        self.bytes -= claim.size

    def expire(self, now: float) -> None:
        """Forget what was claimed `ttl` seconds ago, but not what is still being handled."""
        while self._claims:
            oldest = next(iter(self._claims.values()))
            if oldest.is_running or oldest.time + self._options.ttl > now:
                return
            self._forget(oldest)
