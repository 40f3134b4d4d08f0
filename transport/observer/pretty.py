"""Values as text for people: indented, bounded in size, and without secrets."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from textwrap import indent

import msgspec

from actors.clock import Interval, Timer
from actors.exits import Crash, ExitReason, Shutdown
from actors.lowlevel import leave
from actors.redaction import (
    DEEPER,
    FILTERED,
    STATE_SECRETS,
    Parameters,
    Shown,
    is_secret,
    is_secret_pair,
    repr_of,
    safe_repr,
    safe_str,
    shortened,
    shown_fields,
    unshowable,
    without_secret_parameters,
)
from actors.ref import ActorRef
from transport.protocol.nesting import MAX_NESTING, is_nested_deeper

__all__ = ["pretty", "pretty_attribute", "reason_in_words"]

# The limits of one value: parts in total, levels, items in one container, characters in one string.
PARTS = 400
LEVELS = 6
ITEMS = 50
CHARACTERS = 300

# JSON that is longer, or nested deeper than messages may be, is not decoded, and so not shown.
JSON = 64 * 1024

# The brackets of the common sequences; the others are shown with their class.
BRACKETS: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")")}

# Values up to this length are written on one line.
LINE = 72
# Items up to this length are written side by side.
SHORT = 12


def pretty(value: object, secrets: Collection[str] = STATE_SECRETS) -> str:
    """Return a value as text, with "[FILTERED]" for the values of secret names and "…" beyond the limits; never raises."""
    try:
        return _Pretty(secrets).text(value, LEVELS)
    except BaseException as error:  # noqa: BLE001  # such as a thread that changes the value meanwhile; the page goes on
        leave(error, of_report=True)
        return unshowable(value)


def pretty_attribute(name: str, value: object, secrets: Collection[str] = STATE_SECRETS) -> str:
    """Return the value of an attribute as text, or "[FILTERED]" if its name is a secret's."""
    return FILTERED if is_secret(name, secrets) else pretty(value, secrets)


def reason_in_words(reason: ExitReason | None) -> str:
    """Return an exit reason as text: the exception, or "normal", "shutdown" with its detail, "killed"."""
    match reason:
        case Crash() | None:
            return safe_str(reason, CHARACTERS)
        case Shutdown(detail=detail) if detail is not None:
            return f"shutdown: {detail if isinstance(detail, str) else pretty(detail)}"
    return type(reason).__name__.lower()


class _Pretty:
    def __init__(self, secrets: Collection[str]) -> None:
        self._secrets, self._left = secrets, PARTS

    def text(self, value: object, levels: int) -> str:
        self._left -= 1
        if isinstance(value, str | bytes | bytearray):
            return self._string(value, levels)
        if isinstance(value, Parameters):
            return self.text(value.value, levels)
        if isinstance(value, Mapping):
            return self._in_brackets("{", self._pairs(value.items(), levels), len(value), "}", levels)
        names = shown_fields(value)
        if names is not None:
            named = (f"{name}={self._unless_secret(name, getattr(value, name), levels)}" for name in names)
            return self._in_brackets(f"{type(value).__name__}(", named, 0, ")", levels)
        if isinstance(value, list | tuple | set | frozenset | deque):
            return self._sequence(value, levels)
        return shortened(str(value) if isinstance(value, ActorRef) else _repr(value), CHARACTERS)

    def _string(self, value: str | bytes | bytearray, levels: int) -> str:
        """Return a string as text; JSON, such as a frame of a client, is decoded first, as it may contain secrets."""
        if value[:1] in ("[", "{", b"[", b"{"):
            if len(value) > JSON or is_nested_deeper(value if isinstance(value, str) else bytes(value), MAX_NESTING):
                return f"<{len(value):,} characters of JSON>"
            try:
                return f"JSON {self.text(msgspec.json.decode(value), levels)}"
            except (msgspec.DecodeError, UnicodeDecodeError):
                pass
        if isinstance(value, str):
            text = without_secret_parameters(value[: CHARACTERS + 1], self._secrets)
            return shortened(repr(text), CHARACTERS)
        return f"<{len(value)} bytes>"

    def _sequence(self, value: Collection[object], levels: int) -> str:
        if isinstance(value, list | tuple) and is_secret_pair(value, self._secrets):
            pair = (value[0], Shown(FILTERED))
            value = list(pair) if isinstance(value, list) else pair
        kind = type(value)
        opening, closing = BRACKETS.get(kind) or (f"{kind.__name__}(", ")")
        return self._in_brackets(opening, self._items(value, levels), len(value), closing, levels)

    def _items(self, values: Iterable[object], levels: int) -> Iterator[str]:
        return (self.text(value, levels - 1) for value in values)

    def _pairs(self, pairs: Iterable[tuple[object, object]], levels: int) -> Iterator[str]:
        for key, value in pairs:
            yield f"{self.text(key, levels - 1)}: {self._unless_secret(key, value, levels)}"

    def _unless_secret(self, name: object, value: object, levels: int) -> str:
        return FILTERED if is_secret(name, self._secrets) else self.text(value, levels - 1)

    def _in_brackets(self, opening: str, parts: Iterator[str], size: int, closing: str, levels: int) -> str:
        if levels <= 0:
            return f"{opening}{DEEPER}{closing}"
        texts = list(islice(self._while_allowed(parts), ITEMS))
        if len(texts) < size:
            texts.append(f"… {size - len(texts)}")
        only = "," if opening == "(" and size == 1 else ""
        line = f"{opening}{', '.join(texts)}{only}{closing}"
        if len(line) <= LINE and "\n" not in line:
            return line
        inner = indent(_filled(texts) if all(len(text) <= SHORT for text in texts) else ",\n".join(texts), "  ")
        return f"{opening}\n{inner},\n{closing}"

    def _while_allowed(self, parts: Iterator[str]) -> Iterator[str]:
        while self._left > 0 and (part := next(parts, None)) is not None:
            yield part


def _filled(texts: list[str]) -> str:
    """Join short texts into lines."""
    lines = [""]
    for text in texts:
        if len(lines[-1]) + len(text) > LINE:
            lines.append("")
        lines[-1] += f"{text}, "
    return "\n".join(line.rstrip() for line in lines).removesuffix(",")


def _repr(value: object) -> str:
    # The repr of a timer changes all the time.
    if isinstance(value, Timer | Interval) or repr_of(type(value)) is repr_of(object):
        return f"<{type(value).__name__}>"
    return safe_repr(value)
