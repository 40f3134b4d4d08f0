"""What clients and actors send, made fit for logs: without secrets (Phoenix's `filter_parameters`)."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

__all__ = [
    "DEEPER",
    "FILTERED",
    "MAX_DEPTH",
    "SECRETS",
    "STATE_SECRETS",
    "Shown",
    "filter_parameters",
    "is_secret",
    "repr_of",
    "shown_fields",
    "without_secrets",
]

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
    if not isinstance(name, str):
        return False
    lower = name.lower()
    return any(secret in lower for secret in secrets)


# Messages between actors, which are more than mappings


def without_secrets(value: Any, secrets: Sequence[str] = STATE_SECRETS, above: tuple[int, ...] = ()) -> Any:
    """Return something whose repr is that of `value`, but for what dicts, and fields of records, keep under secret names.

    Lists and tuples are looked into too, and so are dataclasses and Structs, unless their authors wrote the repr. `above` are
    the ids of those that hold the value.
    """
    kind, holders = type(value), (*above, id(value))
    names = shown_fields(value)
    if names is None and kind not in (dict, list, tuple):
        return value
    if id(value) in above or len(above) > MAX_DEPTH:
        return Shown(DEEPER)
    if kind is dict:
        return {key: _unless_secret(key, inner, secrets, holders) for key, inner in value.items()}
    if names is None:
        return kind(without_secrets(inner, secrets, holders) for inner in value)
    fields = [f"{name}={_unless_secret(name, getattr(value, name), secrets, holders)!r}" for name in names]
    return Shown(f"{kind.__name__}({', '.join(fields)})")


def _unless_secret(name: Any, value: Any, secrets: Sequence[str], above: tuple[int, ...]) -> Any:
    return FILTERED if is_secret(name, secrets) else without_secrets(value, secrets, above)


class Shown:
    """A text that is its own repr."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def shown_fields(value: object) -> Sequence[str] | None:
    """Return the names of the fields that the repr of a value shows, secrets included; None if its author wrote the repr."""
    kind = type(value)
    if isinstance(value, msgspec.Struct) and repr_of(kind) is repr_of(msgspec.Struct):
        return value.__struct_fields__
    # The one that `dataclass` makes is wrapped, to stop at rings.
    if dataclasses.is_dataclass(value) and hasattr(repr_of(kind), "__wrapped__"):
        return [field.name for field in dataclasses.fields(value) if field.repr]
    return None


def repr_of(kind: type) -> object:
    """Return what makes the repr of a class."""
    return inspect.getattr_static(kind, "__repr__")
