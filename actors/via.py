"""Targets of messages: an actor, its ref, a name, or a name in a registry of your own."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

import pykka

from actors.exceptions import NotRegisteredError
from actors.redaction import safe_repr

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.registry import Registry

__all__ = ["Target", "Via", "check_name", "checked_ref", "resolve"]


@dataclass(frozen=True, slots=True)
class Via:
    """A name in a `Registry` of your own, usable wherever a name is (OTP's `{via, Registry, {registry, key, value}}`).

        ChildSpec(Room, name=Via(rooms, "lobby"))
        send(Via(rooms, "lobby"), "hello")

    `value` is registered with an actor that takes the name.
    """

    registry: Registry
    key: Hashable
    value: object = None

    def __post_init__(self) -> None:
        """Raise unless `registry` has names; a common mistake is to give the key first."""
        if not hasattr(self.registry, "whereis"):
            raise TypeError(f"registry must be a Registry, got {safe_repr(self.registry)}; write Via(registry, key)")

    @classmethod
    def of(cls, name: Hashable | Via, names: Registry) -> Via:
        """Return a name as a Via: a plain one is a key of `names`."""
        return name if isinstance(name, cls) else cls(names, name)

    def __str__(self) -> str:
        return str(self.key)

    @overload
    def whereis(self, *, required: Literal[True]) -> ActorRef: ...

    @overload
    def whereis(self, *, required: bool = ...) -> ActorRef | None: ...

    def whereis(self, *, required: bool = False) -> ActorRef | None:
        """Return the actor that has the name now, or None.

        Raises:
            NotRegisteredError: if no actor has it, and one is `required`.
        """
        return self.registry.whereis(self.key, required=True) if required else self.registry.whereis(self.key)

    def register(self, ref: ActorRef) -> None:
        """Give the name to an actor.

        Raises:
            NameTakenError, ActorDeadError: as `Registry.register`.
        """
        self.registry.register(self.key, ref, self.value)

    def unregister(self, ref: ActorRef) -> None:
        """Take the name from an actor.

        Raises:
            NotRegisteredError: if it does not have the name.
        """
        if not self.registry.unregister(self.key, ref):
            raise NotRegisteredError(self.key, ref)


Target: TypeAlias = "ActorRef | Via | Hashable"
"""The receiver of a message: an actor, a ref, a `Via` or a name.

A name is looked up at each use, so that it finds an actor that was restarted.
"""


def resolve(target: Target, whereis: Callable[[Hashable], ActorRef | None]) -> ActorRef | None:
    """Return the ref of a target now; None if it is a name that no actor has.

    Raises:
        TypeError: if it is None, which `whereis` returns for a name that no actor has, or cannot be a name.
    """
    if isinstance(target, pykka.ActorRef):
        return target  # type: ignore[return-value]  # as an `ActorRef` is a pykka.ActorRef
    if isinstance(target, pykka.Actor):
        return target.actor_ref  # type: ignore[return-value]  # an `Actor` is a pykka.Actor, except for mypy
    if isinstance(target, Via):
        return target.whereis()
    if target is None:
        raise TypeError(
            "a target must be an actor, a ref, a name or Via(registry, key), got None; did whereis() find no actor?"
        )
    try:
        return whereis(target)
    except TypeError:
        _must_be_hashable(target)
        raise


def _must_be_hashable(target: object) -> None:
    try:
        hash(target)
    except TypeError:
        raise TypeError(
            f"a target must be an actor, a ref, a name or Via(registry, key), got {safe_repr(target)}; "
            "it comes before the message"
        ) from None


def check_name(name: object) -> None:
    """Raise unless an actor can be found by this name.

    Raises:
        TypeError: if it is None, an actor or a ref, or not hashable.
    """
    if name is None or isinstance(name, pykka.ActorRef | pykka.Actor) or not _is_hashable(name):
        raise TypeError(f"a name must be a str, another hashable value or Via(registry, key), got {safe_repr(name)}")


def _is_hashable(name: object) -> bool:
    try:
        hash(name.key if isinstance(name, Via) else name)  # a tuple that holds a list is an instance of Hashable too
    except TypeError:
        return False
    return True


def checked_ref(ref: object, usage: str) -> ActorRef:
    """Return a ref that was passed to a method; `usage` is how to call that.

    Raises:
        TypeError: if it is no ref.
    """
    if not isinstance(ref, pykka.ActorRef):
        its_own = ", and `self.actor_ref` in an actor" if isinstance(ref, pykka.Actor) else ""
        raise TypeError(f"expected the ref of an actor, got {safe_repr(ref)}; write {usage}{its_own}")
    return ref  # type: ignore[return-value]  # as in `resolve`
