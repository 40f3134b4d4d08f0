"""Values as they may be shown: without secrets, printable, bounded, and never raising.

The rules are here: which names are secret (`is_secret`), which fields a record shows (`shown_fields`), what stands for a value
that cannot be shown (`safe_repr`, `safe_str`, `error_text`): every text of an author's in an error, a report or a log line
is made by one of these three. What a client has chosen, such as a topic, could forge a line of the log or command a terminal:
texts become `printable` on their way to the log (`actors.log`), to reports, to tables, and to the names of actors.

Four walks over a value use the rules, each with a result of its own: `filter_parameters` makes JSON for logs (Phoenix),
`without_secrets` something with the usual repr for log lines, `supervisors.observer.opened` values cut short for a prompt,
`transport.observer.pretty` text for a page.
"""

from __future__ import annotations

import collections
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

import msgspec

from actors.runtime.program_exit import leave

__all__ = [
    "DEEPER",
    "FILTERED",
    "LINE",
    "LONGEST",
    "MAX_DEPTH",
    "SECRETS",
    "STATE_SECRETS",
    "Lines",
    "Parameters",
    "Shown",
    "class_name",
    "error_text",
    "filter_parameters",
    "function_name",
    "is_secret",
    "is_secret_pair",
    "printable",
    "repr_of",
    "safe_repr",
    "safe_str",
    "shortened",
    "shown",
    "shown_fields",
    "text_of",
    "unshowable",
    "without_secret_parameters",
    "without_secrets",
]

SECRETS = (
    "password",
    "passwd",
    "token",
    "secret",
    "authorization",
    "cookie",
    "csrf",
    "api_key",
    "apikey",
    "credential",
)
"""A parameter is filtered by default if its name contains one of these; "-" in a name counts as "_"."""

STATE_SECRETS = (*SECRETS, "private")
"""The words for the state of actors, which holds more kinds of secrets than parameters do."""

LINE = 2_000
"""The characters of what a client sent that one line of the log has by default."""

LONGEST = 100_000
"""The most characters of a text of several lines, such as a report or a stack."""

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
        return without_secret_parameters(value, secrets)
    if isinstance(value, (dict, Mapping)):
        return {key: _filter(key, inner, secrets, depth - 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        if is_secret_pair(value, secrets):
            return [value[0], FILTERED]
        return [filter_parameters(inner, secrets, depth - 1) for inner in value]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value


def _filter(key: object, value: object, secrets: Sequence[str], depth: int) -> Any:
    return FILTERED if is_secret(key, secrets) else filter_parameters(value, secrets, depth)


def is_secret(name: object, secrets: Iterable[str]) -> bool:
    """Return whether the value of a name must not be shown, because the name contains one of `secrets`.

    The names of an ASGI scope's headers are bytes.
    """
    if not isinstance(name, str):
        if not isinstance(name, bytes):
            return False
        name = name.decode("latin-1")
    return _any_of(tuple(secrets)).search(name.lower()) is not None


@lru_cache(maxsize=64)
def _any_of(secrets: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds one of these words; a "_" of theirs may be a "-" in a name."""
    return re.compile("|".join(re.escape(secret).replace("_", "[_-]") for secret in secrets) or "(?!)")


def is_secret_pair(value: Sequence[object], secrets: Iterable[str]) -> bool:
    """Return whether a sequence is a name and its value, as of a header, and the name is a secret's."""
    return len(value) == 2 and is_secret(value[0], secrets)  # noqa: PLR2004  # a pair


def without_secret_parameters(text: str, secrets: Iterable[str]) -> str:
    """Return a text in which Phoenix's auth tokens and the values of secret parameters of a URI or a query are "[FILTERED]"."""
    if _AUTH_TOKEN in text:
        text = _AUTH_TOKENS.sub(f"{_AUTH_TOKEN}{FILTERED}", text)
    if "=" not in text:
        return text
    return _PARAMETER.sub(lambda found: f"{found[1]}{FILTERED}" if is_secret(found[2], secrets) else found[0], text)


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
        if is_secret_pair(value, secrets):
            value = [value[0], FILTERED]
        yield from _between("[", "]", (_pieces(inner, secrets, most, depth - 1) for inner in value))
    elif isinstance(value, bytes):
        yield repr(f"<{len(value)} bytes>")
    else:
        yield repr(_begin(value, secrets, most)) if isinstance(value, str) else safe_repr(value, most)


def _begin(text: str, secrets: Sequence[str], most: int) -> str:
    return without_secret_parameters(text[: most + 1], secrets)


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

    Its first `LINE` characters are the same: no more are looked at of a text, nor more than so many items of a container. It
    goes through mappings, lists, tuples, dataclasses and Structs, unless their authors wrote the repr. `above` are the ids of
    the containers around the value.
    """
    kind, holders = type(value), (*above, id(value))
    if kind is str:
        return without_secret_parameters(value[: LINE + 1], secrets)
    if kind is bytes:
        return value[: LINE + 1]
    names = shown_fields(value)
    if names is None and kind not in (list, tuple) and not isinstance(value, Mapping):
        return value
    if id(value) in above or len(above) > MAX_DEPTH:
        return Shown(DEEPER)
    if names is not None:
        fields = [f"{name}={_unless_secret(name, getattr(value, name), secrets, holders)!r}" for name in names]
        return Shown(f"{kind.__name__}({', '.join(fields)})")
    if isinstance(value, Mapping):
        some = islice(value.items(), LINE)
        entries = {key: _unless_secret(key, inner, secrets, holders) for key, inner in some}
        return entries if kind is dict else Shown(f"{kind.__name__}({entries!r})")
    if is_secret_pair(value, secrets):
        return kind((value[0], FILTERED))
    return kind(without_secrets(inner, secrets, holders) for inner in islice(value, LINE))


def _unless_secret(name: object, value: object, secrets: Sequence[str], above: tuple[int, ...]) -> Any:
    return FILTERED if is_secret(name, secrets) else without_secrets(value, secrets, above)


class Shown:
    """A text that is its own repr."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Parameters:
    """What a client sent, with the words of its secrets; its repr is what `shown` returns."""

    __slots__ = ("secrets", "value")

    def __init__(self, value: object, secrets: Sequence[str]) -> None:
        self.value, self.secrets = value, secrets

    def __repr__(self) -> str:
        return shown(self.value, self.secrets)


def shown_fields(value: object) -> Sequence[str] | None:
    """Return the names of the fields in the repr of a record, secrets included; None if the author wrote the repr."""
    kind = type(value)
    if isinstance(value, tuple):
        return _fields_of_tuple(kind)
    if isinstance(value, msgspec.Struct) and repr_of(kind) is repr_of(msgspec.Struct):
        return value.__struct_fields__
    # A generated one is wrapped, to stop at cycles.
    if dataclasses.is_dataclass(value) and hasattr(repr_of(kind), "__wrapped__"):
        return [field.name for field in dataclasses.fields(value) if field.repr]
    return None


def _fields_of_tuple(kind: type) -> Sequence[str] | None:
    """Return the fields of a named tuple with the repr that it was made with."""
    code = getattr(repr_of(kind), "__code__", None)
    return getattr(kind, "_fields", None) if code is not None and code.co_filename == _MADE_IN else None


def repr_of(kind: type) -> object:
    """Return the function that makes the repr of the instances of a class."""
    return inspect.getattr_static(kind, "__repr__")


def safe_repr(value: object, most: int = LINE) -> str:
    """Return the repr of a value, cut after `most` characters; a text in its place if the author's `__repr__` fails."""
    return text_of(repr, value, most)


def safe_str(value: object, most: int = LINE) -> str:
    """Return the str of a value, cut after `most` characters; a text in its place if the author's `__str__` fails."""
    if type(value) is str and len(value) <= most and value.isprintable():
        return value
    return text_of(str, value, most)


def error_text(error: BaseException, most: int = LINE) -> str:
    """Return the class of an exception and what it says, on one line."""
    text = _text(str, error, most)
    if text is None:
        return f"{class_name(error)} (what it says cannot be shown)"
    return f"{class_name(error)}: {printable(text, most)}"


def text_of(convert: Callable[[Any], object], value: object, most: int = LINE) -> str:
    """Return the text that `convert` makes of a value, cut after `most` characters; another one if that fails."""
    text = _text(convert, value, most)
    return unshowable(value) if text is None else text


def _text(convert: Callable[[Any], Any], value: object, most: int) -> str | None:
    """Convert a value to a plain str, or return None: authors' code runs here, which may raise and return anything."""
    try:
        return str(Lines(str.__str__(convert(value)), most))
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


# Texts that may hold what a client chose


def printable(text: str, most: int = LINE) -> str:
    """Return a text as one line, cut after `most` characters, with everything escaped that `repr` escapes in a str.

    That is what is not printable: control characters such as line ends and ESC, invisible ones such as those that change the
    direction of what follows, separators but the space, and lone surrogates.
    """
    if len(text) <= most and text.isprintable():
        return text
    text = shortened(text, most)
    return text if text.isprintable() else shortened("".join(map(_escaped, text)), most)


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class Lines:
    """The text of a value, of several lines each of which is printable; cut after `most` characters."""

    __slots__ = ("_most", "value")

    def __init__(self, value: object, most: int = LONGEST) -> None:
        self.value, self._most = value, most

    def __str__(self) -> str:
        if type(self.value) is not str:
            return safe_str(self.value, self._most)
        text = shortened(self.value, self._most)
        if text.isprintable():
            return text
        return shortened("\n".join(printable(line, self._most) for line in text.split("\n")), self._most)


# How a WebSocket's subprotocols carry a token (Phoenix).
_AUTH_TOKEN = "base64url.bearer.phx."  # noqa: S105  # what is before it
_AUTH_TOKENS = re.compile(re.escape(_AUTH_TOKEN) + r"[^\s,;\"']*")
# A parameter of a query, up to its value, with its name.
_PARAMETER = re.compile(r"((?:^|[?&;])([^?&;=#\s]*)=)[^&;#\s\"']*")
# Where the reprs of named tuples are made.
_MADE_IN = vars(collections)["namedtuple"].__code__.co_filename
_NAME: Callable[[type], str] = vars(type)["__name__"].__get__
