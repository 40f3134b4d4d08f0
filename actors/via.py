"""Names in registries of one's own, and whom a message is for: an actor, its ref, or a name."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pykka

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.ref import ActorRef
    from actors.registry import Registry

__all__ = ["Target", "Via", "resolve"]


@dataclass(frozen=True, slots=True)
class Via:
    """A name in a `Registry` of your own, usable wherever a name is (OTP's `{via, Registry, {registry, key, value}}`).

        ChildSpec(Room, name=Via(rooms, "lobby"))
        send(Via(rooms, "lobby"), "hello")

    `value` is what an actor that takes the name is registered with.
    """

    registry: Registry
    key: Hashable
    value: Any = None

    def __post_init__(self) -> None:
        """Refuse what has no names, such as a key where the registry belongs."""
        if not hasattr(self.registry, "whereis"):
            raise TypeError(f"registry must be a Registry, got {self.registry!r}; write Via(registry, key)")

    @classmethod
    def of(cls, name: Hashable | Via, names: Registry) -> Via:
        """Return the full form of a name: a plain one is a key of `names`."""
        return name if isinstance(name, cls) else cls(names, name)

    def __str__(self) -> str:
        return str(self.key)

    def whereis(self) -> ActorRef[Any] | None:
        """Return the actor that has the name now, or None."""
        return self.registry.whereis(self.key)

    def register(self, ref: ActorRef[Any]) -> None:
        """Give the name to an actor.

        Raises:
            NameTakenError, ActorDeadError: as `Registry.register`.
        """
        self.registry.register(self.key, ref, self.value)


# Whom a message is for. A name is looked up each time it is used, so that it finds the actor that was restarted.
Target: TypeAlias = "Actor | ActorRef[Any] | Via | Hashable"


def resolve(target: Target, whereis: Callable[[Hashable], ActorRef[Any] | None]) -> ActorRef[Any] | None:
    """Return whom a target stands for now, or None if it is a name that nobody has.

    Raises:
        TypeError: if it is None, which is what `whereis` returns for nobody.
    """
    if isinstance(target, pykka.ActorRef):
        return target  # type: ignore[return-value]  # as an `ActorRef` is a pykka.ActorRef
    if isinstance(target, pykka.Actor):
        return target.actor_ref  # type: ignore[return-value]  # an `Actor` is a pykka.Actor to everybody but mypy
    if isinstance(target, Via):
        return target.whereis()
    if target is None:
        raise TypeError(
            "a target must be an actor, a ref, a name or Via(registry, key), got None; whereis() found nobody?"
        )
    return whereis(target)
