"""Values as they may be shown: without secrets, and never raising.

The rules are here: which names are secret (`is_secret`), which fields a record shows (`shown_fields`), what stands for a value
that cannot be shown (`safe_repr`, `safe_str`, `error_text`): every text of an author's in an error, a report or a log line
is made by one of these three. Four walks over a value use them, each with a result of its own: `filter_parameters` makes
JSON for logs (Phoenix), `without_secrets` something with the usual repr for log lines, `supervisors.observer.opened` values cut
short for a prompt, `transport.observer.pretty` text for a page.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from actors.runtime.program_exit import leave

__all__ = [
    "DEEPER",
    "FILTERED",
    "LINE",
    "MAX_DEPTH",
    "SECRETS",
    "STATE_SECRETS",
    "Shown",
    "class_name",
    "error_text",
    "filter_parameters",
    "function_name",
    "is_secret",
    "repr_of",
    "safe_repr",
    "safe_str",
    "shortened",
    "shown",
    "shown_fields",
    "text_of",
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
    # The common classes first: to ask an abstract one costs as much as all the rest.
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, Mapping)):
        return {key: _filter(key, inner, secrets, depth - 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
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
    for secret in secrets:  # noqa: SIM110  # with `any` it would cost three times as much, for each parameter of each client
        if secret in lower:
            return True
    return False


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
        yield repr(value[: most + 1]) if isinstance(value, str) else safe_repr(value, most)


def _entry(key: object, value: object, secrets: Sequence[str], most: int, depth: int) -> Iterator[str]:
    yield f"{safe_repr(key[: most + 1] if isinstance(key, str) else key, most)}: "
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


def safe_repr(value: object, most: int = LINE) -> str:
    """Return the repr of a value, cut after `most` characters; a text in its place if the author's `__repr__` fails."""
    return text_of(repr, value, most)


def safe_str(value: object, most: int = LINE) -> str:
    """Return the str of a value, cut after `most` characters; a text in its place if the author's `__str__` fails."""
    if type(value) is str and len(value) <= most:
        return value
    return text_of(str, value, most)


def error_text(error: BaseException, most: int = LINE) -> str:
    """Return the class of an exception and what it says, as the last line of a traceback does."""
    text = _text(str, error, most)
    return f"{class_name(error)} (what it says cannot be shown)" if text is None else f"{class_name(error)}: {text}"


def text_of(convert: Callable[[Any], object], value: object, most: int = LINE) -> str:
    """Return the text that `convert` makes of a value, cut after `most` characters; another one if that fails."""
    text = _text(convert, value, most)
    return unshowable(value) if text is None else text


def _text(convert: Callable[[Any], Any], value: object, most: int) -> str | None:
    """Convert a value to a plain str, or return None: authors' code runs here, which may raise and return anything."""
    try:
        return shortened(str.__str__(convert(value)), most)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it must not harm the code that reports
        leave(error, of_report=True)
        return None


def class_name(value: object) -> str:
    """Return the name of the class of a value, which its metaclass cannot change."""
    return _NAME(type(value))


def function_name(function: object, attribute: str = "__name__") -> str:
    """Return the name of a function for people; a callable object may have none."""
    try:
        return str.__str__(getattr(function, attribute))
    except BaseException as error:  # noqa: BLE001  # its `__getattr__` may raise anything
        leave(error, of_report=True)
        return class_name(function)


def unshowable(value: object) -> str:
    """Return the text in place of a value that cannot be shown."""
    return f"<{class_name(value)} that cannot be shown>"


def shortened(text: str, most: int = LINE) -> str:
    """Return the text, cut after `most` characters."""
    return text if len(text) <= most else f"{text[:most]}…"


_NAME: Callable[[type], str] = vars(type)["__name__"].__get__
