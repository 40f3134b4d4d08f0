"""What clients send, made fit for logs: without secrets (Phoenix's `filter_parameters`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["DEEPER", "FILTERED", "MAX_DEPTH", "SECRETS", "STATE_SECRETS", "filter_parameters", "is_secret"]

SECRETS = ("password", "token", "secret")
"""A parameter is filtered by default if its name contains one of these."""

STATE_SECRETS = (*SECRETS, "passwd", "authorization", "cookie", "csrf", "api_key", "apikey", "private", "credential")
"""State is filtered by these where people look into actors: it holds more kinds of secrets than parameters do."""

FILTERED = "[FILTERED]"

MAX_DEPTH = 50
"""The levels that are shown; a client may nest its parameters deeper than Python can recurse."""

DEEPER = "[DEEPER]"


def filter_parameters(value: Any, secrets: Sequence[str] = SECRETS, depth: int = MAX_DEPTH) -> Any:
    """Return a copy in which the value of each secret parameter, however deep, is "[FILTERED]".

    Binary data is shortened to its size; what lies deeper than `depth` levels is "[DEEPER]".
    """
    if depth < 0:
        return DEEPER
    if isinstance(value, Mapping):
        return {key: _filter(key, inner, secrets, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filter_parameters(inner, secrets, depth - 1) for inner in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value


def _filter(key: Any, value: Any, secrets: Sequence[str], depth: int) -> Any:
    return FILTERED if is_secret(key, secrets) else filter_parameters(value, secrets, depth)


def is_secret(name: object, secrets: Iterable[str]) -> bool:
    """Tell whether what is kept under a name must not be shown, because the name contains one of `secrets`."""
    return isinstance(name, str) and any(secret in name.lower() for secret in secrets)
