"""Values made fit to be shown: short, without secrets, and with the insides of objects that would not show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import islice
from textwrap import fill
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from actors.actor import Actor
from actors.channel import Channel
from actors.redaction import FILTERED, STATE_SECRETS, Shown, is_secret
from actors.ref import ActorRef

if TYPE_CHECKING:
    from actors.lowlevel import Behaviour

__all__ = ["Opened", "pretty", "redacted", "secrets_of"]

# Beyond these a value is cut short: a prompt is for people.
_DEPTH = 4
_ITEMS = 50
_CHARACTERS = 400

_MORE = "…"


class Opened(Shown):
    """An object, by the name of its class and its attributes."""

    __slots__ = ("attributes", "name")

    def __init__(self, name: str, attributes: Mapping[str, Any]) -> None:
        self.name, self.attributes = name, attributes
        super().__init__(f"{name}({', '.join(f'{key}={value!r}' for key, value in attributes.items())})")


def secrets_of(actor: Behaviour | None) -> Sequence[str]:
    """Return the words that mark what must not be shown of an actor: also its endpoint's if it is a channel."""
    return (*STATE_SECRETS, *actor.socket.filter_parameters) if isinstance(actor, Channel) else STATE_SECRETS


def pretty(state: Mapping[str, Any], secrets: Sequence[str] = STATE_SECRETS, width: int = 100) -> str:
    """Write attributes without secrets, each on as many lines as it takes."""
    return "\n".join(_lay_out(f"{name} = ", value, "", width) for name, value in redacted(state, secrets).items())


def _lay_out(before: str, value: Any, indent: str, width: int, after: str = "") -> str:
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


def _inner(value: Any) -> tuple[str, list[tuple[str, Any]], str] | None:
    """Return what stands around the parts of a value, and the parts with what stands before each."""
    if isinstance(value, Opened):
        return f"{value.name}(", [(f"{name}=", part) for name, part in value.attributes.items()], ")"
    if isinstance(value, dict):
        return "{", [(f"{key!r}: ", part) for key, part in value.items()], "}"
    if isinstance(value, list):
        return "[", [("", part) for part in value], "]"
    return ("(", [("", part) for part in value], ")") if isinstance(value, tuple) else None


def redacted(value: Any, secrets: Sequence[str] = STATE_SECRETS, depth: int = _DEPTH) -> Any:
    """Return a copy to be shown.

    Whatever is kept under a name with one of `secrets` in it, by a key or an attribute, however deep, is "[FILTERED]". Binary
    data is shown by its size, an actor by its name, an object without a repr of its own by its attributes. What is long or
    lies deeper than `depth` levels is cut short. It consists of dicts, lists, tuples, numbers, strings,
    `Shown` texts and `Opened` objects.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if len(value) <= _CHARACTERS else value[:_CHARACTERS] + _MORE
    if isinstance(value, bytes | bytearray | memoryview):
        return Shown(f"<{len(value)} bytes>")
    if isinstance(value, Actor | ActorRef):
        return Shown(f"<{value}>")
    if isinstance(value, Mapping):
        return _mapping(value, secrets, depth)
    attributes = _attributes(value)
    if attributes is not None:
        return _object(value, attributes, secrets, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return _items(value, secrets, depth)
    return Shown(_repr(value))


def _mapping(value: Mapping[Any, Any], secrets: Sequence[str], depth: int) -> Any:
    if value and depth <= 0:
        return Shown("{…}")
    shown: dict[Any, Any] = {
        _key(key, secrets): _named(key, inner, secrets, depth) for key, inner in islice(_pairs(value), _ITEMS)
    }
    if len(value) > _ITEMS:
        shown[Shown(_MORE)] = Shown(f"{len(value) - _ITEMS} more")
    return shown


def _pairs(value: Mapping[Any, Any]) -> Iterable[tuple[Any, Any]]:
    # A copy: its actor may go on meanwhile.
    return list(value.items()) if isinstance(value, dict) else value.items()


def _key(key: Any, secrets: Sequence[str]) -> Any:
    if isinstance(key, str):
        return key
    shown = redacted(key, secrets, 1)
    return shown if isinstance(shown, int | float) else Shown(repr(shown))


def _named(name: Any, value: Any, secrets: Sequence[str], depth: int) -> Any:
    return Shown(FILTERED) if is_secret(name, secrets) else redacted(value, secrets, depth - 1)


def _items(value: Any, secrets: Sequence[str], depth: int) -> Any:
    if value and depth <= 0:
        return Shown("(…)" if isinstance(value, tuple) else "[…]" if isinstance(value, list) else "{…}")
    shown = [redacted(inner, secrets, depth - 1) for inner in islice(list(value), _ITEMS)]
    if len(value) > _ITEMS:
        shown.append(Shown(f"{_MORE} {len(value) - _ITEMS} more"))
    if isinstance(value, set | frozenset):
        return Shown("{" + ", ".join(map(repr, shown)) + "}") if shown else Shown("set()")
    return tuple(shown) if isinstance(value, tuple) else shown


# Objects


def _attributes(value: Any) -> Mapping[str, Any] | None:
    """Return the attributes that show what an object is; None if it shows itself, as its author wants it."""
    names = _fields(value, type(value))
    return None if names is None else {name: getattr(value, name, None) for name in names}


def _fields(value: Any, kind: Any) -> Iterable[str] | None:
    if issubclass(kind, msgspec.Struct):
        structs = kind.__mro__[: kind.__mro__.index(msgspec.Struct)]
        return None if any("__repr__" in vars(struct) for struct in structs) else kind.__struct_fields__
    if is_dataclass(kind) and getattr(kind, "__dataclass_params__").repr:  # noqa: B009  # mypy does not know the name
        return [field.name for field in fields(kind)]
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    if kind.__repr__ is not object.__repr__ or issubclass(kind, type | ModuleType):
        return None
    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
    return [name for name in dict.fromkeys([*getattr(value, "__dict__", ()), *slots]) if not name.startswith("_")]


def _object(value: Any, attributes: Mapping[str, Any], secrets: Sequence[str], depth: int) -> Shown:
    name = type(value).__name__
    if attributes and depth <= 1:
        return Shown(f"<{name}>")
    return Opened(name, {key: _named(key, inner, secrets, depth - 1) for key, inner in attributes.items()})


def _repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  # the author's __repr__
        return f"<{type(value).__name__} that cannot be shown>"
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + _MORE
