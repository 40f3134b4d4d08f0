"""The spec of a child: how to start it, when to restart it, how long it may take to stop."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from actors.redaction import safe_repr
from actors.threads.pykka_actor import ActorClass, actor_class_of
from actors.validation import check_count, check_seconds
from actors.via import Via
from supervisors.backoff import Backoff

if TYPE_CHECKING:
    from actors.actor import Actor

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "BrutalKill",
    "ChildKind",
    "ChildSpec",
    "Restart",
    "Served",
    "Supervised",
    "SupportsChildSpec",
    "another_id",
    "check_record",
    "child_spec",
    "child_specs",
]


class Restart(enum.StrEnum):
    """When a child that has ended is restarted (OTP)."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """Unless it ended with NORMAL or a shutdown."""
    TEMPORARY = "temporary"
    """Never."""


class ChildKind(enum.StrEnum):
    """Whether a child is a worker or a supervisor, for readers of the tree (OTP's `type`)."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


# The same as string literals, for type checkers.
RestartName = Literal["permanent", "transient", "temporary"]
ChildKindName = Literal["worker", "supervisor"]


class BrutalKill(enum.Enum):
    """The type of `BRUTAL_KILL`."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL = BrutalKill.BRUTAL_KILL
"""As `shutdown` of a child spec: kill the child at once."""

INFINITY = math.inf
"""As `shutdown` of a child spec: wait for the child as long as it takes."""

E = TypeVar("E", bound=enum.StrEnum)

# An option that was not given, where None would be an invalid value.
_FROM_CLASS: Any = object()


class ChildSpec(Struct, frozen=True):
    """One child of a supervisor.

    - `actor`: its class, an `Actor` or a `pykka.ThreadingActor` (see `PykkaActor`); `args` and `kwargs` are passed to its
      `__init__` at each start.
    - `id`: unique among its siblings, by default the name of the class.
    - `restart`: a `Restart` or its name; by default the attribute `restart` of the class, else PERMANENT.
    - `shutdown`: the seconds that it may take to stop before it is killed, `INFINITY`, or `BRUTAL_KILL`; by default the
      attribute `shutdown` of the class (`INFINITY` for supervisors), else 5.
    - `name`: the name to register it under, which can be used in place of its ref; `Via(registry, key)` for a registry of
      your own.
    - `significant`: whether its exit can shut down its supervisor, see `AutoShutdown`; not for a PERMANENT child.
    - `backoff`: how long it waits before it is restarted; by default it is restarted at once. These restarts do not count for
      `max_restarts`. Meanwhile the supervisor goes on, but siblings that are restarted together with the child are stopped at
      once, and wait too.
    - `kind`: a `ChildKind` or its name; by default SUPERVISOR for the supervisors of this package, else WORKER.
    - `record`: how many of its latest messages it keeps for crash reports; 0 for none. By default the attribute `record` of the
      class, else the value of its supervisor.

    Raises:
        TypeError, ValueError: naming the invalid option, with its value.
    """

    actor: type[Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    id: Hashable = None
    restart: Restart = _FROM_CLASS
    shutdown: float | BrutalKill = _FROM_CLASS
    name: str | Via | None = None
    significant: bool = False
    backoff: Backoff | None = None
    kind: ChildKind = _FROM_CLASS
    record: int | None = None

    if TYPE_CHECKING:
        # What may be given; what is read is always of the enums.
        def __init__(  # noqa: PLR0917  # the fields in their order
            self,
            actor: type[Any],
            args: tuple[Any, ...] = ...,
            kwargs: Mapping[str, Any] = ...,
            id: Hashable = ...,  # noqa: A002  # OTP's word
            restart: Restart | RestartName = ...,
            shutdown: float | BrutalKill = ...,
            name: str | Via | None = ...,
            significant: bool = ...,  # noqa: FBT001  # as above
            backoff: Backoff | None = ...,
            kind: ChildKind | ChildKindName = ...,
            record: int | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        actor = _actor_class(self.actor)
        if actor is not self.actor:
            force_setattr(self, "actor", actor)
        _check_arguments(self.args, self.kwargs)
        _check_names(self.id, self.name)
        if self.id is None:
            force_setattr(self, "id", self.actor.__name__)
        if self.restart is _FROM_CLASS:
            force_setattr(self, "restart", getattr(self.actor, "restart", Restart.PERMANENT))
        if type(self.restart) is not Restart:
            force_setattr(self, "restart", _one_of(Restart, "restart", self.restart))
        if self.shutdown is _FROM_CLASS:
            force_setattr(self, "shutdown", getattr(self.actor, "shutdown", 5.0))
        _check_shutdown(self.shutdown)
        if type(self.kind) is not ChildKind:
            force_setattr(self, "kind", _kind(self.kind, self.actor))
        _check_significant(self.significant, self.restart)
        _check_backoff(self.backoff)
        check_record(self.record)

    def having(self, **changes: Any) -> ChildSpec:
        """Return the same spec with some options changed."""
        spec: ChildSpec = replace(self, **changes)
        return spec

    def of_another(self, args: tuple[Any, ...], child_id: Hashable) -> ChildSpec:
        """Return the same spec for a child with other arguments, without checking its options again."""
        spec = copy(self)
        force_setattr(spec, "args", args)
        force_setattr(spec, "id", child_id)
        return spec


class SupportsChildSpec(Protocol):
    """An object that provides its own child spec."""

    def child_spec(self) -> ChildSpec:
        """Return the spec."""


class Served(Protocol):
    """An object of `actors` that has an actor: a PubSub, a Presence.

    It may have `companions`, other such objects whose actors are started after its own.
    """

    name: str

    @property
    def actor(self) -> type[Actor]:
        """The class of the actor, which is started with the object and has its name as its id."""


# What a supervisor accepts as a child.
Supervised = ChildSpec | ActorClass | SupportsChildSpec | Served


def child_spec(child: Supervised) -> ChildSpec:
    """Return the spec of whatever a supervisor accepts as a child; an actor class is a child without arguments.

    Raises:
        TypeError: if `child` is none of these, or has companions, which only the list of a `Supervisor` can start.
    """
    if isinstance(child, ChildSpec):
        return child
    specs = child_specs(child)
    if len(specs) > 1:
        others = ", ".join(str(spec.id) for spec in specs[1:])
        raise TypeError(
            f"{safe_repr(child)} is started together with {others}: put it in the list of a System or a Supervisor"
        )
    return specs[0]


def child_specs(child: Supervised) -> list[ChildSpec]:
    """Return the specs for one item in the list of a supervisor: its own, and those of its companions."""
    return [_spec_of(child), *map(_spec_of, getattr(child, "companions", ()))]


def another_id(child: Supervised, spec: ChildSpec) -> str:
    """Return the code that gives a child another id than that of its spec."""
    kind = spec.actor.__name__ if isinstance(child, ChildSpec | type) else type(child).__name__
    own_name = getattr(child, "name", None) == spec.id and not isinstance(child, ChildSpec | type)
    return f'{kind}(…, name="other")' if own_name else f'ChildSpec({kind}, id="other")'


def _spec_of(child: Supervised) -> ChildSpec:
    if isinstance(child, ChildSpec):
        return child
    if isinstance(child, type) and actor_class_of(child) is not None:
        return ChildSpec(child)
    if not isinstance(child, type) and hasattr(child, "child_spec"):
        return child.child_spec()
    if not isinstance(child, type) and hasattr(child, "actor"):
        # The actor registers the name, with the object as its value.
        return ChildSpec(child.actor, (child,), id=child.name)
    advice = f"; write {child.__name__}(…)" if isinstance(child, type) and _makes_children(child) else ""
    raise TypeError(
        f"a child must be a ChildSpec, an Actor class or an object with child_spec(), got {safe_repr(child)}{advice}"
    )


def _makes_children(cls: type) -> bool:
    return hasattr(cls, "child_spec") or hasattr(cls, "actor")


def check_children(children: object) -> None:
    """Raise unless `children` is a list, and not for example a single child."""
    if isinstance(children, str) or not isinstance(children, Iterable):
        raise TypeError(f"children must be a list, such as [Worker, ChildSpec(…)], got {safe_repr(children)}")


def _actor_class(value: object) -> type[Actor]:
    actor = actor_class_of(value)
    if actor is None:
        raise TypeError(f"actor must be a subclass of actors.Actor, got {safe_repr(value)}")
    return actor


def _check_arguments(args: object, kwargs: object) -> None:
    if not isinstance(args, tuple):
        raise TypeError(f"args must be a tuple, got {safe_repr(args)}")
    if not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs must be a mapping, got {safe_repr(kwargs)}")


def _check_names(child_id: object, name: object) -> None:
    try:
        hash(child_id)  # a tuple that holds a list is an instance of Hashable too
    except Exception as error:
        raise TypeError(f"id must be hashable, got {safe_repr(child_id)}") from error
    if name is not None and not isinstance(name, str | Via):
        raise TypeError(f"name must be a str, Via(registry, key) or None, got {safe_repr(name)}")


def _one_of(names: type[E], option: str, value: str) -> E:
    try:
        return names(value)
    except ValueError:
        raise ValueError(f"{option} must be one of {', '.join(names)}, got {safe_repr(value)}") from None


def _kind(value: str, actor: type[Actor]) -> ChildKind:
    if value is not _FROM_CLASS:
        return _one_of(ChildKind, "kind", value)
    # Unlike `restart` and `shutdown`, `kind` is a likely name for an attribute of an actor's own.
    kind = getattr(actor, "kind", None)
    return kind if isinstance(kind, ChildKind) else ChildKind.WORKER


def _check_shutdown(value: object) -> None:
    if value is not BRUTAL_KILL:
        check_seconds("shutdown", value, others=", INFINITY or BRUTAL_KILL")


def _check_significant(value: object, restart: Restart) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"significant must be a bool, got {safe_repr(value)}")
    if value and restart is Restart.PERMANENT:
        raise ValueError("a significant child must be transient or temporary, got restart 'permanent'")


def _check_backoff(value: object) -> None:
    if value is not None and not isinstance(value, Backoff):
        raise TypeError(f"backoff must be a Backoff or None, got {safe_repr(value)}")


def check_record(value: object) -> None:
    """Raise unless `value` is a number of messages to keep, or None."""
    if value is not None:
        check_count("record", value, unit="a number of messages", others=" or None")
