"""Values as a prompt shows them: short, without secrets, and with the attributes of objects that have no repr."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from textwrap import fill
from types import ModuleType
from typing import Any

from actors.actor import Actor
from actors.redaction import (
    FILTERED,
    STATE_SECRETS,
    Parameters,
    Shown,
    is_secret,
    is_secret_pair,
    repr_of,
    safe_repr,
    shortened,
    shown_fields,
    without_secret_parameters,
)
from actors.ref import ActorRef

__all__ = ["Opened", "pretty", "redacted", "redacted_entries"]

# Beyond these a value is cut: a prompt is for people.
_DEPTH = 4
_ITEMS = 50
_CHARACTERS = 400

_MORE = "…"


class Opened(Shown):
    """An object as the name of its class and its attributes."""

    __slots__ = ("attributes", "name")

    def __init__(self, name: str, attributes: Mapping[str, object]) -> None:
        self.name, self.attributes = name, attributes
        super().__init__(f"{name}({', '.join(f'{key}={value!r}' for key, value in attributes.items())})")


def pretty(state: Mapping[str, object], secrets: Sequence[str] = STATE_SECRETS, width: int = 100) -> str:
    """Return attributes as text without secrets, each on as many lines as it needs."""
    return "\n".join(
        _lay_out(f"{name} = ", value, "", width) for name, value in redacted_entries(state, secrets).items()
    )


def _lay_out(before: str, value: object, indent: str, width: int, after: str = "") -> str:
    line = f"{indent}{before}{value!r}{after}"
    inner = _inner(value) if len(line) > width else None
    if not inner:
        return line
    opening, parts, closing = inner
    deeper = f"{indent}    "
    if any(name or _inner(part) for name, part in parts):
        lines = "\n".join(_lay_out(name, part, deeper, width, ",") for name, part in parts)
    else:
        lines = fill(", ".join(repr(part) for _, part in parts), width, initial_indent=deeper, subsequent_indent=deeper)
    return f"{indent}{before}{opening}\n{lines}\n{indent}{closing}{after}"


def _inner(value: object) -> tuple[str, list[tuple[str, object]], str] | None:
    """Return the brackets of a value, and between them its parts, each with its prefix."""
    if isinstance(value, Opened):
        return f"{value.name}(", [(f"{name}=", part) for name, part in value.attributes.items()], ")"
    if isinstance(value, dict):
        return "{", [(f"{key!r}: ", part) for key, part in value.items()], "}"
    if isinstance(value, list):
        return "[", [("", part) for part in value], "]"
    return ("(", [("", part) for part in value], ")") if isinstance(value, tuple) else None


def redacted(value: object, secrets: Sequence[str] = STATE_SECRETS, depth: int = _DEPTH) -> object:
    """Return a copy to be shown: of dicts, lists, tuples, numbers, strings, `Shown` texts and `Opened` objects.

    The value of each key or attribute whose name contains one of `secrets`, at any depth, is "[FILTERED]". Binary data is
    replaced by its size, an actor by its name, an object without a repr of its own by its attributes. Long values, and those
    below `depth` levels, are cut.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return shortened(without_secret_parameters(value[: _CHARACTERS + 1], secrets), _CHARACTERS)
    if isinstance(value, bytes | bytearray | memoryview):
        return Shown(f"<{len(value)} bytes>")
    if isinstance(value, Actor | ActorRef):
        return Shown(f"<{value}>")
    if isinstance(value, Parameters):
        return redacted(value.value, secrets, depth)
    if isinstance(value, Mapping):
        return _mapping(value, secrets, depth)
    attributes = _attributes(value)
    if attributes is not None:
        return _object(value, attributes, secrets, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _items(value, secrets, depth)
    return Shown(shortened(safe_repr(value), _CHARACTERS))


def _mapping(value: Mapping[Any, object], secrets: Sequence[str], depth: int) -> object:
    return Shown("{…}") if value and depth <= 0 else redacted_entries(value, secrets, depth)


def redacted_entries(
    value: Mapping[Any, object], secrets: Sequence[str] = STATE_SECRETS, depth: int = _DEPTH
) -> dict[Any, object]:
    """Return the entries of a mapping to be shown, as `redacted` does."""
    shown: dict[object, object] = {
        _key(key, secrets): _named(key, inner, secrets, depth) for key, inner in islice(_pairs(value), _ITEMS)
    }
    if len(value) > _ITEMS:
        shown[Shown(_MORE)] = Shown(f"{len(value) - _ITEMS} more")
    return shown


def _pairs(value: Mapping[Any, object]) -> Iterable[tuple[object, object]]:
    # A copy, as its actor may go on meanwhile.
    return list(value.items()) if isinstance(value, dict) else value.items()


def _key(key: object, secrets: Sequence[str]) -> object:
    if isinstance(key, str):
        return key
    shown = redacted(key, secrets, 1)
    return shown if isinstance(shown, int | float) else Shown(repr(shown))


def _named(name: object, value: object, secrets: Sequence[str], depth: int) -> object:
    return Shown(FILTERED) if is_secret(name, secrets) else redacted(value, secrets, depth - 1)


def _items(value: Collection[object], secrets: Sequence[str], depth: int) -> object:
    if value and depth <= 0:
        return Shown("(…)" if isinstance(value, tuple) else "[…]" if isinstance(value, list) else "{…}")
    if isinstance(value, list | tuple) and is_secret_pair(value, secrets):
        pair = (value[0], Shown(FILTERED))
        value = list(pair) if isinstance(value, list) else pair
    shown = [redacted(inner, secrets, depth - 1) for inner in islice(list(value), _ITEMS)]
    if len(value) > _ITEMS:
        shown.append(Shown(f"{_MORE} {len(value) - _ITEMS} more"))
    if isinstance(value, set | frozenset):
        return Shown("{" + ", ".join(map(repr, shown)) + "}") if shown else Shown("set()")
    return tuple(shown) if isinstance(value, tuple) else shown


# Objects


def _attributes(value: object) -> Mapping[str, object] | None:
    """Return the attributes that describe an object; None if its own repr is to be used, as its author wants."""
    names = _names(value)
    return None if names is None else {name: getattr(value, name, None) for name in names}


def _names(value: object) -> Iterable[str] | None:
    kind = type(value)
    if (names := shown_fields(value)) is not None:
        return names
    if isinstance(value, tuple):
        return getattr(kind, "_fields", None)  # of a named tuple
    if repr_of(kind) is not repr_of(object) or isinstance(value, type | ModuleType):
        return None
    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    return [name for name in dict.fromkeys([*getattr(value, "__dict__", ()), *slots]) if not name.startswith("_")]


def _object(value: object, attributes: Mapping[str, object], secrets: Sequence[str], depth: int) -> Shown:
    name = type(value).__name__
    if attributes and depth <= 1:
        return Shown(f"<{name}>")
    return Opened(name, {key: _named(key, inner, secrets, depth - 1) for key, inner in attributes.items()})
