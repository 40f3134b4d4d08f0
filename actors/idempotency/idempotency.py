"""Which pushes of a channel's clients are handled at most once, for how long; and the key that a push has for that."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import msgspec

from actors.channels.encoding import as_plain
from actors.history.backlog import BINARY
from actors.validation import check_count, check_events, check_seconds

if TYPE_CHECKING:
    from collections.abc import Collection

    from actors.channels.message import Payload

__all__ = ["KEY", "RETRY", "RETRY_SECONDS", "Idempotency", "KeyedPush", "is_key", "read_key"]

KEY = "@key"
"""The key of a push's payload that has the idempotency key. To servers that do not know it, it is one more field."""

RETRY = "@retry"
"""The key of an error that says that the push was not handled now, and in how many seconds it may be sent again."""

RETRY_SECONDS = 1.0
"""As many as the server says."""

_LONGEST = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """Handles each push that has an idempotency key at most once, although the client sends it again after a reconnect.

        class RoomChannel(Channel):
            idempotency = Idempotency(ttl=300.0, events=("new_msg",))

    The first reply is repeated. Keys belong to a topic and to the `id` of a client's socket; sockets without one share them.

    - `ttl`: seconds that each key is remembered, with its reply.
    - `size`: the keys that are remembered of one client on one topic; `max_bytes`: their bytes, with about 300 for each.
    - `events`: those that may have a key, by default all. For others it is a part of the payload as any.

    See docs/recovery.md.

    Raises:
        ValueError: naming the option and its value.
        TypeError: if `events` is not a collection of events.
    """  # the colon leads to the example

    ttl: float = 300.0
    size: int = 1000
    events: Collection[str] | None = None
    max_bytes: int = 1024 * 1024

    def __post_init__(self) -> None:
        check_seconds("ttl", self.ttl, "> 0")
        check_count("size", self.size, least=1)
        check_count("max_bytes", self.max_bytes, least=1)
        check_events("events", self.events)

    def covers(self, event: object) -> bool:
        """Return whether pushes of an event may have a key."""
        return self.events is None or event in self.events


class KeyedPush(NamedTuple):
    """A push that has a key, None if that is not valid; and its payload without it."""

    key: str | None
    payload: Payload

    def digest(self, event: object) -> bytes:
        """Return what tells a copy of this push from another push with the same key."""
        payload = self.payload
        if not isinstance(payload, bytes):
            return blake2b(_encode([event, payload]), digest_size=16).digest()
        # A text in JSON ends with its quotation mark.
        return blake2b(_encode(event) + payload, digest_size=16, person=b"bytes").digest()


def _encode(value: object) -> bytes:
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        # It has a lone surrogate, which JSON can escape.
        return json.dumps(value, default=as_plain, sort_keys=True).encode()


_encoder = msgspec.json.Encoder(enc_hook=as_plain, order="sorted")


def is_key(value: object) -> TypeGuard[str]:
    """Return whether a value is valid as a key."""
    return isinstance(value, str) and 1 <= len(value) <= _LONGEST


def read_key(payload: Payload) -> KeyedPush | None:
    """Return a push's key and its payload; None if it has none.

    A binary payload is the text `{"@binary": "<Base64>", "@key": …}`.
    """
    if not isinstance(payload, dict) or KEY not in payload:
        return None
    own = {name: value for name, value in payload.items() if name != KEY}
    key = payload[KEY]
    if not is_key(key):
        return KeyedPush(None, own)
    return KeyedPush(key, own) if own.keys() != {BINARY} else _binary(key, own[BINARY])


def _binary(key: str, text: object) -> KeyedPush:
    try:
        return KeyedPush(key, b64decode(text, validate=True))  # type: ignore[arg-type]  # raises TypeError
    except (TypeError, ValueError, binascii.Error):
        return KeyedPush(None, {BINARY: text})
