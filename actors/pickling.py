"""What leaves the process by `pickle`: exceptions do, with their text and attributes; refs and other handles do not.

A `Portable` exception is rebuilt from its attributes and not by its `__init__`, whose arguments are not those of its base. What
it refers to and cannot be pickled, such as the ref of an actor, arrives as text: in a worker of a pool, for example, an error
with a text in place of an attribute is of use, and one that is lost for that attribute is not.

A `Local` object is the handle of something that exists once, in this process. A copy of it is the same handle.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar, NoReturn, Self, SupportsIndex, TypeVar

from actors.redaction import safe_repr, safe_str

__all__ = ["ForeignError", "Local", "Portable", "portable"]

E = TypeVar("E", bound=BaseException)


class Local:
    """Mixin of a handle that belongs to this process: `copy` and `deepcopy` return itself, `pickle` is refused.

    Raises:
        TypeError: when it is pickled, with `_instead`: what to send to another process.
    """

    __slots__ = ()

    _instead: ClassVar[str] = "send what identifies it, such as a name or a key, and look that up there"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled, as it belongs to this process; {self._instead}")


class Portable(Exception):  # noqa: N818  # a base, not an error of its own
    """The base of exceptions that keep type, text, attributes, notes and cause when they are pickled or copied."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        args = tuple(portable(value, protocol) for value in self.args)
        attributes = {name: portable(value, protocol) for name, value in self.__dict__.items()}
        return _without_init, (type(self), args), (attributes, portable(self.__cause__, protocol))

    def __setstate__(self, state: Any) -> None:
        attributes, cause = state
        self.__dict__.update(attributes)
        if cause is not None:
            self.__cause__ = cause

    def __copy__(self) -> Self:
        copied = _without_init(type(self), self.args)
        copied.__setstate__((self.__dict__, self.__cause__))
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = memo[id(self)] = _without_init(type(self), tuple(_deep(value, memo) for value in self.args))
        attributes = {name: _deep(value, memo) for name, value in self.__dict__.items()}
        copied.__setstate__((attributes, self.__cause__))
        return copied


class ForeignError(Exception):
    """Stands for an exception that cannot be pickled, where an unpickled one refers to it; it has the same text."""

    def __init__(self, shown: str, text: str) -> None:
        super().__init__(shown, text)

    def __repr__(self) -> str:
        return str(self.args[0])

    def __str__(self) -> str:
        return str(self.args[1])


def portable(value: Any, protocol: SupportsIndex) -> Any:
    """Return a value itself if it can be pickled, else its text; lists and dicts are taken item by item."""
    if value is None or isinstance(value, Portable | str | int | float):
        return value
    if type(value) in {tuple, list}:
        return type(value)(portable(item, protocol) for item in value)
    if type(value) is dict:
        return {key: portable(item, protocol) for key, item in value.items()}
    if _survives(value, protocol):
        return value
    text = safe_str(value)
    return ForeignError(safe_repr(value), text) if isinstance(value, BaseException) else text


def _survives(value: object, protocol: SupportsIndex) -> bool:
    """Return whether a value can be pickled and unpickled: an exception may fail in its `__init__` only then."""
    try:
        pickle.loads(pickle.dumps(value, int(protocol)))  # noqa: S301  # it was pickled here
    except Exception:  # noqa: BLE001  # each class fails in its own way
        return False
    return True


def _deep(value: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # noqa: BLE001  # as with pickle; the copy then shares it
        return value


def _without_init(kind: type[E], args: tuple[object, ...]) -> E:
    error = kind.__new__(kind, *args)
    error.args = args  # an OSError has taken none: its `__init__` would
    return error
