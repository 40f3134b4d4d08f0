"""The payload of a push that has an idempotency key (docs/recovery.md)."""

from __future__ import annotations

import secrets
from base64 import b64encode

import msgspec

from actors.channels.encoding import as_json
from actors.history.backlog import BINARY
from actors.idempotency.idempotency import KEY, is_key

__all__ = ["keyed_payload"]


def keyed_payload(written: msgspec.Raw | bytes, key: str | None, what: str) -> msgspec.Raw:
    """Return a payload with its key, one drawn at random if it is None; `what` names it in errors.

    Raises:
        TypeError: if the payload is neither an object nor binary.
        ValueError: if the key is not valid.
    """
    if key is not None and not is_key(key):
        raise ValueError(f"key must be a text of 1 to 128 characters, or None, got {key!r}")
    own: object = {BINARY: b64encode(written).decode()} if type(written) is bytes else msgspec.json.decode(written)
    if not isinstance(own, dict):
        raise TypeError(f"{what} must be an object or bytes, so that a key can be added, got {own!r}")
    return msgspec.Raw(as_json(what, {**own, KEY: secrets.token_urlsafe(12) if key is None else key}))
