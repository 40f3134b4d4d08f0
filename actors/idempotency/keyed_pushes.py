"""The pushes with a key of one channel: which of them it handles, and how their copies are answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from actors.channels.message import Reply, SocketRef, error, ok
from actors.exits import Stop, exit_reason
from actors.idempotency.claim import FAILED, IN_PROGRESS, UNAVAILABLE, UNKNOWN, repeat, send_answer
from actors.idempotency.idempotency import read_key
from actors.idempotency.push_logs import Claimant
from actors.idempotency.push_store import SharedPush, StoreUnavailableError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from actors.channels.channel_socket import ChannelSocket
    from actors.channels.message import Message
    from actors.idempotency.claim import Claim
    from actors.idempotency.idempotency import Idempotency
    from actors.idempotency.push_store import PushStore
    from actors.runtime.process import Process

__all__ = ["KeyedPushes"]

_INVALID = error({"reason": "invalid key"})
_USED = error({"reason": "key used for another push"})


class KeyedPushes:
    """Takes the pushes that have a key, and handles each at most once.

    A copy of a push that is being handled, perhaps by the channel of an earlier connection, waits for its answer. If the
    handler does not return, as it raises or is killed, the answer is an error: it may have done a part of its work.
    """

    __slots__ = ("_claim", "_inquiries", "_options", "_process", "_socket")

    def __init__(self, socket: ChannelSocket, options: Idempotency, process: Process) -> None:
        self._socket, self._options, self._process = socket, options, process
        # Of the push that is being handled.
        self._claim: Claim | None = None
        # Of copies of pushes that other processes are handling.
        self._inquiries: set[asyncio.Task[Reply]] = set()
        process.own(self._abandon)

    def take(self, message: Message) -> Message | Coroutine[object, object, Message | None] | None:
        """Return a push without its key, to be handled; None if it is a copy, which is answered here, now or later.

        If other processes may have handled it, return what to await for that.
        """
        self._claim = None
        keyed = read_key(message.payload) if self._options.covers(message.event) else None
        if keyed is None:
            return message
        socket = self._socket
        copy = SocketRef(socket.transport, socket.serializer, socket.topic, message.ref, socket.join_ref)
        if keyed.key is None:
            send_answer(copy, _INVALID)
            return None
        digest = keyed.digest(message.event)
        push = SharedPush(Claimant(socket.topic, socket.id), keyed.key, digest, socket.pubsub.relay.run)
        return self._find(msgspec.structs.replace(message, payload=keyed.payload), push, copy)

    def _find(
        self, message: Message, push: SharedPush, copy: SocketRef
    ) -> Message | Coroutine[object, object, Message | None] | None:
        pubsub, claim = self._socket.pubsub, self._claim_of(push)
        if claim is not None:
            self._join(claim, push, copy)
            return None
        store = pubsub.adapter.pushes
        if store is not None:
            return self._find_elsewhere(store, message, push, copy)
        self._claim = self._new_claim(push)
        return message

    def _claim_of(self, push: SharedPush) -> Claim | None:
        return self._socket.pubsub.pushes.find(push.claimant, push.key, self._process.scheduler.clock.now())

    def _new_claim(self, push: SharedPush) -> Claim:
        now = self._process.scheduler.clock.now()
        return self._socket.pubsub.pushes.claim(push.claimant, push.key, push.digest, self._options, now)

    def _join(self, claim: Claim, push: SharedPush, copy: SocketRef) -> None:
        """Answer a copy of a push that is, or was, handled in this process."""
        if claim.digest != push.digest:
            send_answer(copy, _USED)
        else:
            claim.then(partial(self._repeat, copy))

    async def _find_elsewhere(
        self, store: PushStore, message: Message, push: SharedPush, copy: SocketRef
    ) -> Message | None:
        """Return a push that is to be handled; what the client pushes meanwhile waits behind it."""
        try:
            found = await store.claim(push, self._options)
        except StoreUnavailableError:
            self._repeat(copy, UNAVAILABLE)
            return None
        if isinstance(found, SharedPush):
            self._join_elsewhere(store, found, push, copy)
            return None
        self._claim = self._new_claim(push)
        self._claim.share = found
        return message

    def _join_elsewhere(self, store: PushStore, found: SharedPush, push: SharedPush, copy: SocketRef) -> None:
        """Answer a copy of a push that is, or was, handled in another process; what follows it need not wait for that."""
        claim = self._claim_of(push) if found.run == push.run else None
        if claim is not None:
            self._join(claim, push, copy)
        elif found.digest != push.digest:
            send_answer(copy, _USED)
        elif found.answer is not None:
            self._repeat(copy, found.answer)
        else:
            self._inquire(store, found, copy)

    def _inquire(self, store: PushStore, push: SharedPush, copy: SocketRef) -> None:
        """Answer a copy when that is known."""
        inquiry = self._process.scheduler.loop.create_task(self._socket.pubsub.inquiry.first_answer(store, push))
        self._inquiries.add(inquiry)
        inquiry.add_done_callback(partial(self._inquired, copy))

    def _inquired(self, copy: SocketRef, inquiry: asyncio.Task[Reply]) -> None:
        self._inquiries.discard(inquiry)
        if not inquiry.cancelled():
            self._repeat(copy, inquiry.result())

    def _repeat(self, copy: SocketRef, answer: Reply) -> None:
        """Answer a copy, and count how."""
        logs = self._socket.pubsub.pushes
        if answer is IN_PROGRESS or answer is UNAVAILABLE:
            logs.refused += 1
        elif answer is UNKNOWN:
            logs.unknown += 1
        else:
            logs.repeated += 1
        repeat(copy, answer)

    def defer(self) -> Claim | None:
        """Return the claim of the push that is being handled: the handler takes a reference to answer it later."""
        if self._claim is not None:
            self._claim.is_deferred = True
        return self._claim

    def answered(self, result: object) -> object:
        """Keep what `handle_in` has returned, and return it: with ok(), if that has no reply and none is to come later."""
        claim, self._claim = self._claim, None
        if claim is None:
            return result
        result = result if claim.is_deferred else _with_reply(result)
        answer = result.reply if isinstance(result, Stop) else result
        if isinstance(answer, Reply):
            claim.settle(answer)
        elif result is not None:
            claim.settle(FAILED)
        return result

    def _abandon(self) -> None:
        """Answer the copies of a push whose handler has not returned, and ask for no others: their client has gone."""
        for inquiry in self._inquiries:
            inquiry.cancel()
        if self._claim is not None:
            self._claim.settle(FAILED)


def _with_reply(result: object) -> object:
    """Return what a handler has returned, with a reply, unless it is an error."""
    if result is None:
        return ok()
    if isinstance(result, Stop) and result.reply is None and exit_reason(result.reason).is_graceful:
        return Stop(result.reason, reply=ok())
    return result
