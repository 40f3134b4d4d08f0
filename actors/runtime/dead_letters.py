"""Dead letters: messages that no actor will handle (Akka's term).

An event for each, `("ashtree", "dead_letter")`, if a handler is attached; else it costs one look-up, where a message is lost.
Its metadata are `message`, `to` (the ref, or the name that no actor has) and `reason`, one of:

- "dead": the actor was dead, or ended before it handled the message.
- "not_registered": no actor has the name.
- "mailbox_full": its mailbox is bounded (`actors.Mailbox`), and had no room.

Only messages of authors are dead letters: not exits, `Down` or requests of the runtime, nor what is for a client that has gone.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, Protocol

from actors import telemetry
from actors.exits import Down, Exit
from actors.runtime.envelope import STOPS, SystemCall, bare
from actors.runtime.idle_timeout import IdleTimeout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.ref import ActorRef
    from actors.runtime.behaviour import Behaviour

__all__ = ["DEAD_LETTER", "SYSTEM_MESSAGES", "DeadLetterReason", "lost", "lost_mail", "unaddressed"]

DEAD_LETTER = ("ashtree", "dead_letter")

DeadLetterReason = Literal["dead", "not_registered", "mailbox_full"]

SYSTEM_MESSAGES = frozenset((*STOPS, Down, Exit, IdleTimeout, SystemCall))
"""The types of messages of the runtime."""


class Addressee(Protocol):
    """A process that did not get a message."""

    @property
    def actor_class(self) -> type[Behaviour]:
        """The class of its actor."""

    @property
    def ref(self) -> ActorRef:
        """The reference to it."""


class _Emitting(threading.local):
    """Whether the handlers of a dead letter are called in this thread: those that they cause themselves are not emitted."""

    now = False


_emitting = _Emitting()


def lost(item: object, process: Addressee, reason: DeadLetterReason = "dead") -> None:
    """Emit what a process did not get: a message, or an `Envelope`."""
    if DEAD_LETTER in telemetry.attached:
        message = bare(item)
        if reason != "dead" or not isinstance(message, process.actor_class._no_dead_letters):
            _emit(message, process.ref, reason)


def lost_mail(items: Iterable[object], process: Addressee) -> None:
    """Emit what was left in the mailbox of a process that has ended."""
    if DEAD_LETTER in telemetry.attached:
        for item in items:
            lost(item, process)


def unaddressed(message: object, name: object) -> None:
    """Emit a message to a name that no actor has."""
    if DEAD_LETTER in telemetry.attached:
        _emit(message, name, "not_registered")


def _emit(message: object, to: object, reason: DeadLetterReason) -> None:
    if type(message) in SYSTEM_MESSAGES or _emitting.now:
        return
    _emitting.now = True
    try:
        telemetry.execute(DEAD_LETTER, {"count": 1}, {"message": message, "to": to, "reason": reason})
    finally:
        _emitting.now = False
