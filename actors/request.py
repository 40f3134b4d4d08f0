"""Messages that say of which type their reply is."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Request"]

Answer = TypeVar("Answer")

# Covariant: a request whose reply is a bool may be used as one whose reply is an int.
Answer_co = TypeVar("Answer_co", covariant=True)


class Request(Generic[Answer_co]):
    """Base of a message class that says, for type checkers, of which type its reply is.

        @dataclass(frozen=True, slots=True)
        class Price(Request[int]):
            item: str

        cents = await till.call(Price("tea"))  # an int for mypy and pyright

    `ask` and `call`, of a ref and by name, return that type; the reply to any other message is `Any`. The class may be a plain
    one, a dataclass, a `msgspec.Struct` or an `enum.Enum`; a `NamedTuple` can have no other base, a class derived from it can.
    Nothing is added to a message at run time, and no reply is checked.
    """

    __slots__ = ()
