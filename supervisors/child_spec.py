"""What a supervisor must know of a child: how to start it, when to start it again, how long it may take to end."""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from actors.actor import Actor

__all__ = ["BRUTAL_KILL", "INFINITY", "BrutalKill", "ChildSpec", "Restart", "SupportsChildSpec", "child_spec"]


class Restart(enum.StrEnum):
    """When a child that has ended is started again (OTP)."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """When it ended otherwise than by NORMAL or a shutdown."""
    TEMPORARY = "temporary"
    """Never."""


class BrutalKill(enum.Enum):
    """The type of `BRUTAL_KILL`."""

    BRUTAL_KILL = "brutal_kill"


BRUTAL_KILL = BrutalKill.BRUTAL_KILL
INFINITY = math.inf


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child of a supervisor.

    - `actor`: its class; `args` and `kwargs` are for its `__init__`, at each start anew.
    - `id`: unique among its siblings, by default the name of the class.
    - `restart`: a `Restart`, or its name.
    - `shutdown`: the seconds that it may take to end before it is killed, `INFINITY`, or `BRUTAL_KILL`.
    - `name`: a name to register it under, for `whereis` and `send`.

    Raises:
        TypeError, ValueError: naming the option that is wrong, with its value.
    """

    actor: type[Actor]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    id: Hashable = None
    restart: Restart = Restart.PERMANENT
    shutdown: float | BrutalKill = 5.0
    name: str | None = None

    def __post_init__(self) -> None:
        _check_actor(self.actor)
        if self.id is None:
            object.__setattr__(self, "id", self.actor.__name__)
        if type(self.restart) is not Restart:
            object.__setattr__(self, "restart", _restart(self.restart))
        _check_shutdown(self.shutdown)

    def having(self, **changes: Any) -> ChildSpec:
        """Return the same spec with some options changed."""
        return replace(self, **changes)


class SupportsChildSpec(Protocol):
    """Anything that knows how it is to be supervised."""

    def child_spec(self) -> ChildSpec:
        """Return the spec."""


def child_spec(child: ChildSpec | type[Actor] | SupportsChildSpec) -> ChildSpec:
    """Make a spec of what a supervisor is given as a child.

    An actor class stands for a child without arguments; its attributes `restart` and `shutdown`, if it has them, count.
    """
    if isinstance(child, ChildSpec):
        return child
    if isinstance(child, type) and issubclass(child, Actor):
        return ChildSpec(
            child, restart=getattr(child, "restart", Restart.PERMANENT), shutdown=getattr(child, "shutdown", 5.0)
        )
    if not isinstance(child, type) and hasattr(child, "child_spec"):
        return child.child_spec()
    raise TypeError(f"a child must be a ChildSpec, an Actor class or an object with child_spec(), got {child!r}")


def _check_actor(value: object) -> None:
    if not (isinstance(value, type) and issubclass(value, Actor)):
        raise TypeError(f"actor must be a subclass of actors.Actor, got {value!r}")


def _restart(value: str) -> Restart:
    try:
        return Restart(value)
    except ValueError:
        raise ValueError(f"restart must be one of {', '.join(Restart)}, got {value!r}") from None


def _check_shutdown(value: object) -> None:
    if value is BRUTAL_KILL:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"shutdown must be seconds >= 0, INFINITY or BRUTAL_KILL, got {value!r}")
