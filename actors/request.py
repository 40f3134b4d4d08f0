"""Messages that say what their answer is."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Request"]

Answer = TypeVar("Answer")

# Covariant, as a request is where an answer comes from: one that is answered by a bool is one that is answered by an int.
Answer_co = TypeVar("Answer_co", covariant=True)


class Request(Generic[Answer_co]):
    """Base of a message class that says, for type checkers, of which type its answer is.

        @dataclass(frozen=True, slots=True)
        class Price(Request[int]):
            item: str

        cents = await till.call(Price("tea"))  # an int for mypy and pyright

    `ask` and `call`, of a ref and by name, return that type; the answer to any other message is `Any`. The class may be a plain
    one, a dataclass, a `msgspec.Struct` or an `enum.Enum`; a `NamedTuple` can have no other base, a class derived from it can.
    Nothing is added to a message at run time, and no answer is checked.
    """

    __slots__ = ()
