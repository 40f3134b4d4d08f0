"""The next messages of an actor, printed as it handles them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TextIO

from actors import sys
from actors.lowlevel import secrets_of, shown_message
from actors.redaction import LONGEST, error_text, printable, safe_repr
from actors.sys import Got, Raised
from supervisors.observer.opened import redacted

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.sys import Event

__all__ = ["MessageTrace"]


class MessageTrace:
    """Writes a line when its actor gets a message and another when it has handled it; removes itself after `count` messages.

    It is installed by `sys.install`. All traces of an actor are equal, so that a second one replaces the first.
    """

    def __init__(self, ref: ActorRef[Any], count: int, out: TextIO) -> None:
        self.ref, self._count, self._out = ref, count, out
        self._seen = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageTrace) and self.ref == other.ref

    def __hash__(self) -> int:
        return hash((MessageTrace, self.ref))

    def __call__(self, event: Event) -> None:
        """Print an event, on the actor's thread."""
        if isinstance(event, Got):
            self._seen += 1
        if self._seen > self._count:
            return
        self._write(self._line(event))
        if self._seen == self._count and not isinstance(event, Got):
            self._write(f"{self.ref} is no longer traced")
            sys.remove(self.ref, self)

    def _line(self, event: Event) -> str:
        secrets = secrets_of(self.ref.process.actor)
        if isinstance(event, Got):
            return (
                f"{self.ref} got {safe_repr(redacted(shown_message(self.ref.process.actor, event.message), secrets))}"
            )
        after = f"{event.seconds * 1000:.3f} ms"
        if isinstance(event, Raised):
            return f"{self.ref} raised {error_text(event.error)} after {after}"
        reply = "" if event.reply is None else f", with {redacted(event.reply, secrets)!r}"
        return f"{self.ref} handled it in {after}{reply}"

    def _write(self, line: str) -> None:
        self._out.write(f"{printable(line, LONGEST)}\n")
        self._out.flush()
