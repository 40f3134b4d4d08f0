"""Faults of a simulation: when and how often they happen, and to which actors."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.redaction import safe_repr
from actors.ref import ActorRef
from actors.validation import check_count, check_share

if TYPE_CHECKING:
    from actors.runtime.process import Process

__all__ = ["Fault", "Who", "check_who", "is_chosen_by"]

Who = type[Actor] | ActorRef[Any] | Callable[[ActorRef[Any]], bool]
"""The actors that a fault may happen to: a class, one ref, or a condition on refs."""


class Fault:
    """A fault that happens at each step with a probability, at most `limit` times.

    `action()` makes it happen; if it returns False nothing was affected, and that does not count.
    """

    def __init__(self, action: Callable[[], object], probability: float, limit: int) -> None:
        check_share("probability", probability)
        check_count("limit", limit, least=1)
        self._action, self._probability, self._left = action, probability, limit

    def strike(self, random: Random) -> None:
        """Draw whether the fault happens now, and make it happen."""
        if self._left and random.random() < self._probability and self._action() is not False:
            self._left -= 1


def check_who(who: object) -> None:
    """Raise unless `who` is an Actor class, a ref or a function.

    Raises:
        TypeError: with the value.
    """
    if isinstance(who, ActorRef) or (isinstance(who, type) and issubclass(who, Actor)):
        return
    if isinstance(who, type) or not callable(who):
        raise TypeError(f"who must be an Actor class, a ref or a function of a ref, got {safe_repr(who)}")


def is_chosen_by(who: Who, process: Process) -> bool:
    """Return whether `who` includes an actor."""
    if isinstance(who, ActorRef):
        return process is who.process
    if isinstance(who, type):
        return issubclass(process.actor_class, who)
    return bool(who(process.ref))
