"""Checks of the values that callers pass: seconds, counts, shares, exceptions.

    >>> check_seconds("timeout", 0, "> 0")
    Traceback (most recent call last):
    ...
    ValueError: timeout must be seconds > 0, got 0

Booleans are not numbers here, and NaN is below every bound: one NaN among the timers would keep all others from firing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeGuard

from actors.redaction import safe_repr

__all__ = [
    "Bound",
    "check_count",
    "check_events",
    "check_number",
    "check_refusal",
    "check_seconds",
    "check_share",
    "is_count",
    "is_number",
    "is_within",
]

Bound = Literal[">= 0", "> 0"]


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is an int or a float; a bool is neither."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_count(value: object, least: int = 0) -> TypeGuard[int]:
    """Return whether `value` is a whole number that is not below `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_within(value: object, bound: Bound) -> TypeGuard[int | float]:
    """Return whether `value` is a number above (`"> 0"`) or not below (`">= 0"`) zero."""
    return is_number(value) and (value > 0 if bound == "> 0" else value >= 0)


def check_seconds(name: str, value: object, bound: Bound = ">= 0", *, others: str = "") -> None:
    """Raise unless `value` is a duration in seconds; infinity is one.

    `others` names, for the message, the other values that the caller accepts and has handled before: `" or None"`.

    Raises:
        ValueError: with the name, the bound and the value.
    """
    check_number(name, value, bound, unit="seconds", others=others)


def check_number(name: str, value: object, bound: Bound = ">= 0", *, unit: str = "a number", others: str = "") -> None:
    """Raise unless `value` is a number within `bound`; `unit` says what it measures.

    Raises:
        ValueError: with the name, the bound and the value.
    """
    if not is_within(value, bound):
        raise ValueError(f"{name} must be {unit} {bound}{others}, got {safe_repr(value)}")


def check_count(name: str, value: object, *, least: int = 0, unit: str = "a whole number", others: str = "") -> None:
    """Raise unless `value` is a whole number that is not below `least`; `unit` says what it counts.

    Raises:
        ValueError: with the name, the bound and the value.
    """
    if not is_count(value, least):
        raise ValueError(f"{name} must be {unit} >= {least}{others}, got {safe_repr(value)}")


def check_share(name: str, value: object, *, meaning: str = "") -> None:
    """Raise unless `value` is a number from 0 to 1; `meaning` explains the share: `", the part that …"`.

    Raises:
        ValueError: with the name and the value.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1{meaning}, got {safe_repr(value)}")


def check_refusal(error: object) -> None:
    """Raise unless `error` is an exception, with which a request can be refused.

    Raises:
        TypeError: with the value, and how to write it.
    """
    if not isinstance(error, BaseException):
        raise TypeError(f"a question is refused with an exception, got {safe_repr(error)}; write Refuse(ValueError(…))")


def check_events(name: str, value: object) -> None:
    """Raise unless `value` is a collection of events, or None.

    Raises:
        TypeError: naming the value.
    """
    if value is None:
        return
    if isinstance(value, str | bytes) or not isinstance(value, Collection) or not all(map(_is_event, value)):
        raise TypeError(f'{name} must be a collection of events such as ("new_msg",), or None, got {safe_repr(value)}')


def _is_event(value: object) -> bool:
    return isinstance(value, str)
