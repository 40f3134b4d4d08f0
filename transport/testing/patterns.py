"""What a payload is to look like: literals, parts of dictionaries, types, conditions, and values to be captured.

| pattern | fits |
|---|---|
| `ANY` | everything |
| a dict | a dict with at least these keys, whose values fit |
| a list or a tuple | a list of the same length, whose items fit |
| a class | its instances; `int` does not fit `True` |
| a compiled regular expression | a str in which it is found |
| a function | what it returns true for |
| `Capture()` | everything, or its own pattern; keeps the value |
| anything else | what is equal to it; `1` does not fit `True` |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_origin

import msgspec

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
"""Fits everything."""

_NOTHING: Any = object()


class Capture:
    """Fits what `pattern` fits, and keeps it for the test: `who = Capture()`, `{"user": who}`, then `who.value`."""

    def __init__(self, pattern: Any = ANY) -> None:
        self.pattern = pattern
        self._value: Any = _NOTHING

    def __repr__(self) -> str:
        return f"Capture({'' if self.pattern is ANY else repr(self.pattern)})"

    @property
    def value(self) -> Any:
        """What was captured last.

        Raises:
            LookupError: if nothing was.
        """
        if self._value is _NOTHING:
            raise LookupError("nothing has been captured; give the Capture to an assertion first")
        return self._value

    def keep(self, value: Any) -> None:
        """Keep a value that fits."""
        self._value = value


def differences(expected: Any, actual: Any, where: str = "") -> Iterator[str]:
    """Yield in words where `actual` does not fit the pattern `expected`; nothing if it fits."""
    actual = _plain(actual)
    if isinstance(expected, Capture):
        yield from differences(expected.pattern, actual, where)
    elif isinstance(expected, dict):
        yield from _different_dict(expected, actual, where)
    elif isinstance(expected, list | tuple):
        yield from _different_list(expected, actual, where)
    elif not _fits(expected, actual):
        yield _different(expected, actual, where)


def _plain(value: Any) -> Any:
    """Return a Struct as the object that it becomes on the wire."""
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def _different_dict(expected: dict[Any, Any], actual: Any, where: str) -> Iterator[str]:
    if not isinstance(actual, Mapping):
        yield _different(expected, actual, where)
        return
    for key, value in expected.items():
        path = f"{where}.{key}" if where else str(key)
        if key in actual:
            yield from differences(value, actual[key], path)
        else:
            yield f"{path}: expected {_shown(value)}, but there is no such key"


def _different_list(expected: list[Any] | tuple[Any, ...], actual: Any, where: str) -> Iterator[str]:
    if not isinstance(actual, list | tuple) or len(actual) != len(expected):
        yield _different(expected, actual, where)
        return
    for index, (value, item) in enumerate(zip(expected, actual, strict=True)):
        yield from differences(value, item, f"{where}[{index}]")


def _fits(expected: Any, actual: Any) -> bool:
    _check_pattern(expected)
    if isinstance(expected, type):
        return isinstance(actual, expected) and not (expected is int and isinstance(actual, bool))
    if isinstance(expected, re.Pattern):
        return isinstance(actual, str) and expected.search(actual) is not None
    if callable(expected):
        return bool(expected(actual))
    if isinstance(expected, int | float) and isinstance(expected, bool) != isinstance(actual, bool):
        return False
    return bool(expected == actual)


def _check_pattern(expected: Any) -> None:
    """Refuse what is written as an annotation: called, `list[int]` makes a list of anything, and would fit anything.

    Raises:
        TypeError: saying what to write instead.
    """
    if expected is Any:
        raise TypeError("typing.Any is no pattern; write ANY")
    if get_origin(expected) is not None:
        raise TypeError(f"{expected!r} is no pattern; write a type, such as list, or a function of the value")


def _different(expected: Any, actual: Any, where: str) -> str:
    return f"{where or 'payload'}: expected {_shown(expected)}, got {actual!r}"


def _shown(expected: Any) -> str:
    """Write a pattern as its author would say it."""
    if isinstance(expected, type):
        return f"a value of type {expected.__name__}"
    if isinstance(expected, re.Pattern):
        return f"a text that matches {expected.pattern!r}"
    if callable(expected):
        return f"a value for which {getattr(expected, '__name__', repr(expected))} is true"
    return repr(expected)


def take_captures(expected: Any, actual: Any) -> None:
    """Give each `Capture` in a pattern its part of a value that fits."""
    actual = _plain(actual)
    if isinstance(expected, Capture):
        take_captures(expected.pattern, actual)
        expected.keep(actual)
    elif isinstance(expected, dict):
        for key, value in expected.items():
            take_captures(value, actual[key])
    elif isinstance(expected, list | tuple):
        for value, item in zip(expected, actual, strict=True):
            take_captures(value, item)
