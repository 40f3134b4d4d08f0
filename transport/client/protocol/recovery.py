"""How a client's channel gets what it has missed, without I/O: where it is in the history of its topic (docs/recovery.md)."""

from __future__ import annotations

from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from actors.history.backlog import BINARY, SKIP
from actors.history.history import Position
from actors.history.rejoin import RECOVER

if TYPE_CHECKING:
    from actors.channels.message import Message

__all__ = ["ClientRecovery", "MissedError", "offset_of"]


class MissedError(Exception):
    """An offset was left out: something was lost on the way."""


class ClientRecovery:
    """Where a client is: what it asks for at each join, and which messages it has not had.

    `answer` is what the server has said of the last join; None before it, or if it keeps no history.
    """

    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = None
        self._position: Position | None = None
        self._asked: Position | None = None
        # The offset that comes next; None while none does, as a join is needed.
        self._next: int | None = None

    def asking(self, payload: object) -> object:
        """Return the payload of a join, an object as JSON, with where the client is.

        Raises:
            TypeError: if the payload is not an object.
        """
        own = msgspec.json.decode(payload) if isinstance(payload, msgspec.Raw) else payload
        if not isinstance(own, dict):
            raise TypeError(f"with recover=True params must be a dict, got {type(own).__name__}")
        self._asked = self._position
        return {**own, RECOVER: True if self._asked is None else self._asked._asdict()}

    def answered(self, response: object) -> bool:
        """Go on from the answer to a join; return False if the server keeps no history."""
        match response:
            case {"recover": {"epoch": str(epoch), "offset": int(offset), "recovered": bool(recovered)} as answer}:
                self.answer = answer
                if not recovered or self._asked is None:
                    self._asked = self._position = Position(epoch, offset)
                self._next = self._asked.offset + 1
                return True
        return False

    def take(self, message: Message) -> Message | None:
        """Return a message as it is to be delivered; None if it is not.

        Raises:
            MissedError: if an offset is left out.
        """
        offset = offset_of(message)
        if offset is None:
            return message
        if self._next is None or self._position is None:
            return None
        if offset != self._next:
            expected, self._next = self._next, None
            raise MissedError(f"expected @{expected}, got {message.ref}")
        self._next += 1
        if offset <= self._position.offset:
            # It came before the answer to the join.
            return None
        self._position = self._position._replace(offset=offset)
        return None if message.event == SKIP else _with_bytes(message)

    def has_recovered(self, message: Message) -> bool:
        """Return whether a message was missed, and has followed the last join."""
        offset = offset_of(message)
        return (
            offset is not None
            and self.answer is not None
            and self.answer["recovered"]
            and offset <= self.answer["offset"]
        )


def offset_of(message: Message) -> int | None:
    """Return the offset of a message in the history of its topic, if it has one."""
    ref = message.ref
    return int(ref[1:]) if isinstance(ref, str) and ref.startswith("@") and ref[1:].isdecimal() else None


def _with_bytes(message: Message) -> Message:
    payload = message.payload
    if isinstance(payload, dict) and payload.keys() == {BINARY} and isinstance(payload[BINARY], str):
        with suppress(ValueError):  # it is the application's own
            return msgspec.structs.replace(message, payload=b64decode(payload[BINARY], validate=True))
    return message
