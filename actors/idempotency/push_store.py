"""What tells several processes which pushes with a key one of them has handled: a contract, which an adapter may fulfil."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import Reply
    from actors.idempotency.idempotency import Idempotency
    from actors.idempotency.push_logs import Claimant

__all__ = ["PushStore", "SharedPush", "StoreUnavailableError"]


class StoreUnavailableError(Exception):
    """It is not known whether a push was handled, and this process must not handle it."""


class SharedPush(NamedTuple):
    """A push with a key, as all processes know it.

    - `claimant`, `key`: whose key it is. `digest` tells copies of the push from another push with the same key.
    - `run`: the process that handles it, as `Peers` address it.
    - `answer`: the first reply, encoded as a `Claim` keeps it; None until there is one.
    """

    claimant: Claimant
    key: str
    digest: bytes
    run: str
    answer: Reply | None = None


class PushStore(ABC):
    """Keeps the keys of pushes, and their first replies, for all processes of an adapter.

    Its methods are called in the thread of the PubSub's event loop.
    """

    @abstractmethod
    async def claim(self, push: SharedPush, options: Idempotency) -> SharedPush | Callable[[Reply], object]:
        """Claim the key of a push for the process `push.run`, for `options.ttl` seconds.

        Return what is to be called with the first reply, once there is one; or the push that has claimed the key before. Of all
        processes only one gets the former. If the caller is cancelled meanwhile, nothing stays claimed.

        Raises:
            StoreUnavailableError: if the store is out of reach, or refuses.
        """

    def is_unsettled(self, claimant: Claimant, key: str) -> bool:
        """Return whether this process has asked for a key and does not know yet whether it has it, or gives it back.

        Other processes, which find that it has claimed the key, are then told to ask again.
        """
        return False

    @abstractmethod
    async def find(self, push: SharedPush) -> SharedPush | None:
        """Return the push that has claimed a key, None if there is none.

        Raises:
            StoreUnavailableError: if the store is out of reach, or refuses.
        """
