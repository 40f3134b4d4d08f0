"""One push that has a key: it is being handled, or is answered; and the copies of it that wait for the answer."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from pykka import ActorDeadError

from actors.channels.encoding import ENCODING_ERRORS, encode
from actors.channels.fastlane import send_frame
from actors.channels.message import Reply, error
from actors.idempotency.idempotency import RETRY, RETRY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.channels.message import SocketRef

__all__ = ["FAILED", "IN_PROGRESS", "NOT_KEPT", "UNAVAILABLE", "UNKNOWN", "Claim", "repeat", "send_answer"]

FAILED = error({"reason": "handling failed"})
"""The answer to a copy of a push whose handler has not returned: it may have done a part of its work."""

NOT_KEPT = error({"reason": "handled, reply not kept"})
"""The answer to a copy of a push whose first reply is too large to be kept, or cannot be encoded for this client."""

UNKNOWN = error({"reason": "outcome unknown"})
"""The answer to a copy of a push whose process has ended before it was answered: it may have been handled."""

IN_PROGRESS = error({"reason": "in progress", RETRY: RETRY_SECONDS})
"""The answer to a copy of a push that another process is still handling: the client may send it again."""

UNAVAILABLE = error({"reason": "key store unavailable", RETRY: RETRY_SECONDS})
"""The answer to a push that is not handled now, as another process may have done it: the client may send it again."""

_OVERHEAD = 300
"""Bytes of a claim beside its key and its reply."""

_MOST_WAITING = 8
"""Copies that wait for one answer; of more, those that came first have probably lost their connection."""


class Claim:
    """The right to handle one push with a key, which only its first copy gets.

    - `digest` tells its copies from another push with the same key; `time` is when it was claimed.
    - `is_deferred`: the handler has taken its `socket_ref`, so any actor may answer it later.
    - `reply` is its answer, as JSON text or bytes; None until it has one.
    - `share`, if it is set, is called with the reply, for other processes.
    - `grew` is called with the number of bytes when that is known.
    """

    __slots__ = ("_grew", "_waiting", "digest", "is_deferred", "key", "reply", "share", "size", "time")

    def __init__(self, key: str, digest: bytes, time: float, grew: Callable[[Claim, int], object]) -> None:
        self.key, self.digest, self.time, self._grew = key, digest, time, grew
        self.is_deferred = False
        self.reply: Reply | None = None
        self.share: Callable[[Reply], object] | None = None
        self.size = _OVERHEAD + len(key)
        self._waiting: deque[Callable[[Reply], object]] = deque(maxlen=_MOST_WAITING)

    @property
    def is_running(self) -> bool:
        """Whether its handler has not returned yet."""
        return self.reply is None and not self.is_deferred

    def settle(self, answer: Reply) -> None:
        """Keep the first answer, and give it to the copies that wait."""
        self._settle(_kept(answer))

    def settle_from_any_thread(self, answer: Reply, ref: SocketRef) -> None:
        """Do the same in the thread of the event loop; what is changed in the payload later does not count."""
        with suppress(ActorDeadError):  # the loop is closed, and all clients have gone
            ref.transport.process.scheduler.run_or_post(self._settle, _kept(answer))

    def _settle(self, kept: Reply) -> None:
        if self.reply is not None:
            return
        self.reply = kept
        grown = len(kept.payload)
        self.size += grown
        self._grew(self, grown)
        if self.share is not None:
            self.share(self.reply)
        while self._waiting:
            self._waiting.popleft()(self.reply)

    def forget_reply(self) -> None:
        """Keep no more than that it was handled."""
        assert self.reply is not None
        self.size -= len(self.reply.payload)
        self.reply = Reply(NOT_KEPT.status, msgspec.Raw())

    def then(self, take: Callable[[Reply], object]) -> None:
        """Call `take` with the reply, now or when there is one."""
        if self.reply is None:
            if len(self._waiting) == _MOST_WAITING:
                self._waiting.popleft()(IN_PROGRESS)
            self._waiting.append(take)
        else:
            take(self.reply)


def repeat(copy: SocketRef, kept: Reply) -> None:
    """Answer a copy of a push with the reply that a claim has kept."""
    try:
        send_answer(copy, _readable(kept))
    except ENCODING_ERRORS:
        send_answer(copy, NOT_KEPT)


def send_answer(ref: SocketRef, answer: Reply) -> None:
    """Answer a message, from any thread."""
    send_frame(ref.transport, ref.serializer.encode_reply(ref.join_ref, ref.ref, ref.topic, answer))


def _kept(answer: Reply) -> Reply:
    """Return a reply that is encoded; without a text if that is not possible."""
    if isinstance(answer.payload, bytes):
        return answer
    try:
        return Reply(answer.status, msgspec.Raw(encode(answer.payload)))
    except ENCODING_ERRORS:
        return Reply(NOT_KEPT.status, msgspec.Raw())


def _readable(kept: Reply) -> Reply:
    if not isinstance(kept.payload, msgspec.Raw):  # bytes, or an error of ours
        return kept
    return Reply(kept.status, msgspec.json.decode(kept.payload)) if len(kept.payload) else NOT_KEPT
