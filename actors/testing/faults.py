"""What goes wrong in a simulation: when, how often, and with whom."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.ref import ActorRef

if TYPE_CHECKING:
    from actors.runtime.process import Process

__all__ = ["Fault", "Who", "check_who", "is_chosen_by"]

Who = type[Actor] | ActorRef[Any] | Callable[[ActorRef[Any]], bool]
"""Which actors: a class, one by its ref, or those for which a function is true."""


class Fault:
    """Something that goes wrong at a step with a probability, at most `limit` times.

    `action()` does it; if there was nothing to do it to, it returns False, and it does not count.
    """

    def __init__(self, action: Callable[[], object], probability: float, limit: int) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be from 0 to 1, got {probability!r}")
        if limit < 1:
            raise ValueError(f"limit must be >= 1, got {limit!r}")
        self._action, self._probability, self._left = action, probability, limit

    def strike(self, random: Random) -> None:
        """Draw whether it goes wrong now, and let it."""
        if self._left and random.random() < self._probability and self._action() is not False:
            self._left -= 1


def check_who(who: object) -> None:
    """Refuse what can choose no actor."""
    if isinstance(who, ActorRef) or (isinstance(who, type) and issubclass(who, Actor)):
        return
    if isinstance(who, type) or not callable(who):
        raise TypeError(f"who must be an Actor class, a ref or a function of a ref, got {who!r}")


def is_chosen_by(who: Who, process: Process) -> bool:
    """Tell whether an actor is one of those that are meant."""
    if isinstance(who, ActorRef):
        return process is who.process
    if isinstance(who, type):
        return issubclass(process.actor_class, who)
    return bool(who(process.ref))
