"""What becomes of a push with a key that another process handles: that process is asked for its first answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from actors.channels.message import Reply
from actors.idempotency.claim import IN_PROGRESS, UNKNOWN
from actors.idempotency.push_logs import Claimant
from actors.idempotency.push_store import StoreUnavailableError
from actors.pubsub.requests import PeerAnswer, PeerError, UnreachableError
from actors.time_bound import TimeBound

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from actors.idempotency.claim import Claim
    from actors.idempotency.push_logs import PushLogs
    from actors.idempotency.push_store import PushStore, SharedPush
    from actors.pubsub.adapter import Adapter
    from actors.pubsub.peers import Peers
    from actors.runtime.scheduler import Scheduler

__all__ = ["PushInquiry"]

_SERVICE = "keyed push"

_RUNNING: dict[str, Any] = {"running": True}

_WITHIN = 5.0
"""Seconds that the other process waits for its handler: less than the ten that clients wait for a reply."""
_ON_THE_WAY = 2.0
"""Seconds that its answer may take beside that."""


class Handling(Protocol):
    """The PubSub, as far as it is asked for answers."""

    @property
    def adapter(self) -> Adapter:
        """The adapter, which may have a store for keys."""

    @property
    def peers(self) -> Peers:
        """The other processes."""

    @property
    def pushes(self) -> PushLogs:
        """The pushes with a key that were handled here."""

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of its event loop."""


class PushInquiry:
    """Asks other processes for first answers, and answers theirs, over whatever adapter a PubSub has."""

    def __init__(self, pubsub: Handling) -> None:
        self._pubsub = pubsub
        pubsub.peers.serve(_SERVICE, self._serve)

    async def first_answer(self, store: PushStore, push: SharedPush) -> Reply:
        """Return the first answer to a push, encoded; or IN_PROGRESS, or UNKNOWN if nothing more will come of it."""
        try:
            answer = await self._ask(push)
        except UnreachableError:
            # What it has answered last may be in the store.
            answer = IN_PROGRESS if self._pubsub.peers.may_be_alive(push.run) else None
        except PeerError:
            answer = IN_PROGRESS
        return await _last_answer(store, push) if answer is None else answer

    async def _ask(self, push: SharedPush) -> Reply | None:
        """Return what the process says that handles a push, None if it knows nothing of it."""
        topic, client = push.claimant
        about = {"topic": topic, "client": client, "key": push.key}
        said, body = await self._pubsub.peers.ask(push.run, _SERVICE, about, seconds=_WITHIN + _ON_THE_WAY)
        if said.get("running"):
            return IN_PROGRESS
        status = said.get("status")
        return Reply(status, body if said.get("binary") else msgspec.Raw(body)) if isinstance(status, str) else None

    # What others ask

    def _serve(self, about: dict[str, Any], _body: bytes) -> PeerAnswer | Awaitable[PeerAnswer]:
        """Answer another process, at once if that is possible."""
        match about:
            case {"topic": str(topic), "client": None | str() as client, "key": str(key)}:
                return self._answer(Claimant(topic, client), key)
        return PeerAnswer({})

    def _answer(self, claimant: Claimant, key: str) -> PeerAnswer | Awaitable[PeerAnswer]:
        claim = self._pubsub.pushes.find(claimant, key, self._pubsub.scheduler.clock.now())
        if claim is not None:
            return self._wait(claim) if claim.reply is None else _packed(claim.reply)
        store = self._pubsub.adapter.pushes
        return PeerAnswer(_RUNNING if store is not None and store.is_unsettled(claimant, key) else {})

    async def _wait(self, claim: Claim) -> PeerAnswer:
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        claim.then(lambda reply: None if answered.done() else answered.set_result(reply))
        try:
            with TimeBound(self._pubsub.scheduler.clock, _WITHIN):
                answer = await answered
        except TimeoutError:
            answer = IN_PROGRESS
        return PeerAnswer(_RUNNING) if answer is IN_PROGRESS else _packed(answer)


async def _last_answer(store: PushStore, push: SharedPush) -> Reply:
    try:
        found = await store.find(push)
    except StoreUnavailableError:
        return IN_PROGRESS
    if found is None or found.run != push.run:
        # The claim was undone, as its push was not handled. The client may send that again.
        return IN_PROGRESS
    return UNKNOWN if found.answer is None else found.answer


def _packed(kept: Reply) -> PeerAnswer:
    payload = kept.payload
    is_binary = isinstance(payload, bytes)
    return PeerAnswer({"status": kept.status, "binary": is_binary}, payload if is_binary else bytes(payload))
