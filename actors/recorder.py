"""The flight recorder: the last messages of an actor, for the report of its crash.

    class Account(Actor):
        record = 20

    >>> last_crash().messages[-1]
    Recorded(at=12.5, message=('withdraw', 'ten'), asked=True, seconds=0.0002, error=ValueError(...))

The number of messages that an actor keeps is that of its child spec, else of its class, else of its parent.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.redaction import safe_repr

__all__ = ["Recorded", "messages_kept"]


class Recorded(msgspec.Struct, eq=False):
    """A message that an actor has handled or is handling: the object itself, in its present state."""

    at: float
    """When its handler began, in seconds of the actor's clock."""
    message: Any
    asked: bool
    """Whether its sender waits for a reply."""
    seconds: float | None = None
    """How long the handler took, including what an `async` one awaited; None: it has not ended."""
    error: BaseException | None = None
    """What the handler raised."""


def messages_kept(by_spec: int | None, by_class: object, by_parent: int | None) -> int:
    """Return how many messages an actor keeps, by the first of the three that says so; 0: none.

    Raises:
        ValueError: if that is negative.
    """
    # `record` is a name that an author's class may well use for something else.
    of_class = by_class if isinstance(by_class, int) else None
    number = next((each for each in (by_spec, of_class, by_parent) if each is not None), 0)
    if number < 0:
        raise ValueError(f"record must be >= 0 or None, got {safe_repr(number)}")
    return number
