"""Values as they may be shown: without secrets, and never raising.

The rules are here: which names are secret (`is_secret`), which fields a record shows (`shown_fields`), what stands for a value
that cannot be shown (`safe_repr`). Four walks over a value use them, each with a result of its own: `filter_parameters` makes
JSON for logs (Phoenix), `without_secrets` something with the usual repr for log lines, `supervisors.observer.opened` values cut
short for a prompt, `transport.observer.pretty` text for a page.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

__all__ = [
    "DEEPER",
    "FILTERED",
    "LINE",
    "MAX_DEPTH",
    "SECRETS",
    "STATE_SECRETS",
    "Shown",
    "filter_parameters",
    "is_secret",
    "repr_of",
    "safe_repr",
    "shortened",
    "shown",
    "shown_fields",
    "unshowable",
    "without_secrets",
]

SECRETS = ("password", "token", "secret")
"""A parameter is filtered by default if its name contains one of these."""

STATE_SECRETS = (*SECRETS, "passwd", "authorization", "cookie", "csrf", "api_key", "apikey", "private", "credential")
"""The words for the state of actors, which holds more kinds of secrets than parameters do."""

LINE = 2_000
"""The characters of what a client sent that one line of the log has by default."""

FILTERED = "[FILTERED]"

MAX_DEPTH = 50
"""The levels that are shown: a client can nest its parameters deeper than Python can recurse."""

DEEPER = "[DEEPER]"


def filter_parameters(value: object, secrets: Sequence[str] = SECRETS, depth: int = MAX_DEPTH) -> Any:
    """Return a copy in which the value of each secret parameter, at any depth, is "[FILTERED]".

    Binary data is replaced by its size, and everything below `depth` levels by "[DEEPER]".
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


def _filter(key: object, value: object, secrets: Sequence[str], depth: int) -> Any:
    return FILTERED if is_secret(key, secrets) else filter_parameters(value, secrets, depth)


def is_secret(name: object, secrets: Iterable[str]) -> bool:
    """Return whether the value of a name must not be shown, because the name contains one of `secrets`."""
    if not isinstance(name, str):
        return False
    lower = name.lower()
    return any(secret in lower for secret in secrets)


def shown(value: object, secrets: Sequence[str] = SECRETS, most: int = LINE) -> str:
    """Return the repr of what `filter_parameters` returns, cut after `most` characters; no more than these are looked at."""
    pieces, size = [], 0
    for piece in _pieces(value, secrets, most, MAX_DEPTH):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            break
    return shortened("".join(pieces), most)


def _pieces(value: object, secrets: Sequence[str], most: int, depth: int) -> Iterator[str]:
    if depth < 0:
        yield repr(DEEPER)
    elif isinstance(value, Mapping):
        yield from _between("{", "}", (_entry(*entry, secrets, most, depth - 1) for entry in value.items()))
    elif isinstance(value, list | tuple):
        yield from _between("[", "]", (_pieces(inner, secrets, most, depth - 1) for inner in value))
    elif isinstance(value, bytes):
        yield repr(f"<{len(value)} bytes>")
    else:
        yield repr(value[: most + 1] if isinstance(value, str) else value)


def _entry(key: object, value: object, secrets: Sequence[str], most: int, depth: int) -> Iterator[str]:
    yield f"{key[: most + 1] if isinstance(key, str) else key!r}: "
    if is_secret(key, secrets):
        yield repr(FILTERED)
    else:
        yield from _pieces(value, secrets, most, depth)


def _between(opening: str, closing: str, parts: Iterable[Iterator[str]]) -> Iterator[str]:
    yield opening
    for number, part in enumerate(parts):
        if number:
            yield ", "
        yield from part
    yield closing


# Messages between actors: not only mappings


def without_secrets(value: Any, secrets: Sequence[str] = STATE_SECRETS, above: tuple[int, ...] = ()) -> Any:
    """Return something with the repr of `value`, except that values of secret names are "[FILTERED]".

    It goes through dicts, lists, tuples, dataclasses and Structs, unless their authors wrote the repr. `above` are the ids of
    the containers around the value.
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


def _unless_secret(name: object, value: object, secrets: Sequence[str], above: tuple[int, ...]) -> Any:
    return FILTERED if is_secret(name, secrets) else without_secrets(value, secrets, above)


class Shown:
    """A text that is its own repr."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def shown_fields(value: object) -> Sequence[str] | None:
    """Return the names of the fields in the repr of a record, secrets included; None if the author wrote the repr."""
    kind = type(value)
    if isinstance(value, msgspec.Struct) and repr_of(kind) is repr_of(msgspec.Struct):
        return value.__struct_fields__
    # A generated one is wrapped, to stop at cycles.
    if dataclasses.is_dataclass(value) and hasattr(repr_of(kind), "__wrapped__"):
        return [field.name for field in dataclasses.fields(value) if field.repr]
    return None


def repr_of(kind: type) -> object:
    """Return the function that makes the repr of the instances of a class."""
    return inspect.getattr_static(kind, "__repr__")


def safe_repr(value: object) -> str:
    """Return the repr of a value, or a text in its place if the author's `__repr__` raises."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # whatever an author's __repr__ raises; showing the others goes on
        return unshowable(value)


def unshowable(value: object) -> str:
    """Return the text in place of a value that cannot be shown."""
    return f"<{type(value).__name__} that cannot be shown>"


def shortened(text: str, most: int) -> str:
    """Return the text, cut after `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…"
