"""The pushes with a key of one channel: which of them it handles, and how their copies are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actors.channels.message import Reply, SocketRef, error, ok
from actors.exits import Stop, exit_reason
from actors.idempotency.claim import FAILED, Claim, send_answer
from actors.idempotency.idempotency import KeyedPush, read_key
from actors.idempotency.push_logs import Claimant

if TYPE_CHECKING:
    from actors.channels.channel_socket import ChannelSocket
    from actors.channels.message import Message
    from actors.idempotency.idempotency import Idempotency
    from actors.runtime.process import Process

__all__ = ["KeyedPushes"]

_INVALID = error({"reason": "invalid key"})
_USED = error({"reason": "key used for another push"})


class KeyedPushes:
    """Takes the pushes that have a key, and handles each at most once.

    A copy of a push that is being handled, perhaps by the channel of an earlier connection, waits for its answer. If the
    handler does not return, as it raises or is killed, the answer is an error: it may have done a part of its work.
    """

    __slots__ = ("_claim", "_options", "_process", "_socket")

    def __init__(self, socket: ChannelSocket, options: Idempotency, process: Process) -> None:
        self._socket, self._options, self._process = socket, options, process
        # Of the push that is being handled.
        self._claim: Claim | None = None
        process.own(self._abandon)

    def take(self, message: Message) -> Message | None:
        """Return a push without its key, to be handled; None if it is a copy, which is answered here, now or later."""
        self._claim = None
        keyed = read_key(message.payload) if self._options.covers(message.event) else None
        if keyed is None:
            return message
        socket = self._socket
        copy = SocketRef(socket.transport, socket.serializer, socket.topic, message.ref, socket.join_ref)
        if keyed.key is None:
            send_answer(copy, _INVALID)
            return None
        return self._find(message, keyed, keyed.key, copy)

    def _find(self, message: Message, keyed: KeyedPush, key: str, copy: SocketRef) -> Message | None:
        logs, claimant = self._socket.pubsub.pushes, Claimant(self._socket.topic, self._socket.id)
        now, digest = self._process.scheduler.clock.now(), keyed.digest(message.event)
        claim = logs.find(claimant, key, now)
        if claim is None:
            self._claim = logs.claim(claimant, key, digest, self._options, now)
            return msgspec.structs.replace(message, payload=keyed.payload)
        if claim.digest != digest:
            send_answer(copy, _USED)
        else:
            logs.repeated += 1
            claim.answer(copy)
        return None

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
        """Answer the copies of a push whose handler has not returned."""
        if self._claim is not None:
            self._claim.settle(FAILED)


def _with_reply(result: object) -> object:
    """Return what a handler has returned, with a reply, unless it is an error."""
    if result is None:
        return ok()
    if isinstance(result, Stop) and result.reply is None and exit_reason(result.reason).is_graceful:
        return Stop(result.reason, reply=ok())
    return result
