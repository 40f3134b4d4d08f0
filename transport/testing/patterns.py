"""Patterns for payloads: literals, parts of dictionaries, types, conditions, and values to be captured.

| pattern | matches |
|---|---|
| `ANY` | everything |
| a dict | a dict with at least these keys, whose values match |
| a list or a tuple | a list of the same length, whose items match |
| a class | its instances; `int` does not match `True` |
| a compiled regular expression | a str in which it is found |
| a function | what it returns true for |
| `Capture()` | everything, or its own pattern; stores the value |
| anything else | what is equal to it; `1` does not match `True` |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard, get_origin

import msgspec

from actors.redaction import safe_repr

__all__ = ["ANY", "Capture", "differences", "take_captures"]


class _Any:
    """Equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


ANY: Any = _Any()
"""Matches everything."""

_NOTHING = object()


class Capture:
    """Matches what `pattern` matches, and stores it for the test: `who = Capture()`, `{"user": who}`, then `who.value`."""

    def __init__(self, pattern: object = ANY) -> None:
        self.pattern = pattern
        self._value: object = _NOTHING

    def __repr__(self) -> str:
        return f"Capture({'' if self.pattern is ANY else repr(self.pattern)})"

    @property
    def value(self) -> Any:
        """The value captured last.

        Raises:
            LookupError: if nothing was captured.
        """
        if self._value is _NOTHING:
            raise LookupError("nothing has been captured; give the Capture to an assertion first")
        return self._value

    def keep(self, value: object) -> None:
        """Store a value that matches."""
        self._value = value


def differences(expected: object, actual: object, where: str = "") -> Iterator[str]:
    """Yield descriptions of where `actual` does not match the pattern `expected`; nothing if it matches."""
    actual = _plain(actual)
    if isinstance(expected, Capture):
        yield from differences(expected.pattern, actual, where)
    elif isinstance(expected, dict):
        yield from _different_dict(expected, actual, where)
    elif isinstance(expected, list | tuple):
        yield from _different_list(expected, actual, where)
    elif not _matches(expected, actual):
        yield _different(expected, actual, where)


def _plain(value: object) -> object:
    """Return a Struct as the object that it becomes on the wire."""
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def _different_dict(expected: Mapping[object, object], actual: object, where: str) -> Iterator[str]:
    if not isinstance(actual, Mapping):
        yield _different(expected, actual, where)
        return
    for key, value in expected.items():
        path = f"{where}.{key}" if where else str(key)
        if key in actual:
            yield from differences(value, actual[key], path)
        else:
            yield f"{path}: expected {_shown(value)}, but there is no such key"


def _different_list(expected: Sequence[object], actual: object, where: str) -> Iterator[str]:
    if not isinstance(actual, list | tuple) or len(actual) != len(expected):
        yield _different(expected, actual, where)
        return
    for index, (value, item) in enumerate(zip(expected, actual, strict=True)):
        yield from differences(value, item, f"{where}[{index}]")


def _matches(expected: object, actual: object) -> bool:
    _check_pattern(expected)
    if isinstance(expected, type):
        return isinstance(actual, expected) and not (expected is int and isinstance(actual, bool))
    if isinstance(expected, re.Pattern):
        return isinstance(actual, str) and expected.search(actual) is not None
    if _is_condition(expected):
        return bool(expected(actual))
    if isinstance(expected, int | float) and isinstance(expected, bool) != isinstance(actual, bool):
        return False
    return bool(expected == actual)


def _is_condition(expected: object) -> TypeGuard[Callable[[object], object]]:
    return callable(expected)


def _check_pattern(expected: object) -> None:
    """Raise if the pattern is an annotation: `list[int]` is callable, makes a list of any iterable, and so would match it.

    Raises:
        TypeError: saying what to write instead.
    """
    if expected is Any:
        raise TypeError("typing.Any is not a pattern; write ANY")
    if get_origin(expected) is not None:
        raise TypeError(f"{expected!r} is not a pattern; write a type, such as list, or a function of the value")


def _different(expected: object, actual: object, where: str) -> str:
    return f"{where or 'payload'}: expected {_shown(expected)}, got {safe_repr(actual)}"


def _shown(expected: object) -> str:
    """Describe a pattern in the words of its author."""
    if isinstance(expected, type):
        return f"a value of type {expected.__name__}"
    if isinstance(expected, re.Pattern):
        return f"a text that matches {expected.pattern!r}"
    if callable(expected):
        return f"a value for which {getattr(expected, '__name__', repr(expected))} is true"
    return repr(expected)


def take_captures(expected: object, actual: object) -> None:
    """Store in each `Capture` of a pattern its part of a value that matches."""
    actual = _plain(actual)
    if isinstance(expected, Capture):
        take_captures(expected.pattern, actual)
        expected.keep(actual)
    elif isinstance(expected, dict) and isinstance(actual, Mapping):
        for key, value in expected.items():
            take_captures(value, actual[key])
    elif isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        for value, item in zip(expected, actual, strict=True):
            take_captures(value, item)
