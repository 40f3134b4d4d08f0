"""Find an actor by whatever a person types: a ref, an actor, a name, a pid, a label of the tree, or a topic."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from actors.redaction import safe_repr
from actors.registry import nearest
from actors.via import Via, resolve
from supervisors.branches import name_of
from supervisors.exceptions import AmbiguousActorError, RemoteActorError, UnknownActorError

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from supervisors.observer.scope import Scope

__all__ = ["find"]

_PID = re.compile(r"<?0\.(\d+)\.0>?")


def find(target: object, scope: Scope) -> ActorRef[Any]:
    """Return the one actor that matches.

    Names are tried first, then pids, labels of the tree, and topics with subscribers. A row of a table stands for its actor.
    A ref, a row or an actor may be dead; everything else finds living actors only.

    Raises:
        UnknownActorError: if no actor matches; it has the closest matches.
        AmbiguousActorError: if several actors have that label or topic.
        AmbiguousNameError: if several event loops have that name.
        RemoteActorError: if it is a row of another node.
        TypeError: if it is None, or cannot be a name.
    """
    target = _of_row(target) if isinstance(target, tuple) else target
    if target is None or not isinstance(target, Hashable):
        raise TypeError(
            f"an actor is given by its ref, name, pid such as '<0.41.0>' or 41, or topic; got {safe_repr(target)}"
        )
    for way in (_by_name, _by_pid, _by_label, _by_topic):
        found = way(target, scope)
        if found:
            return _the_one(target, found)
    raise UnknownActorError(target, [] if isinstance(target, Via) else nearest(str(target), _known(scope)))


def _of_row(row: tuple[object, ...]) -> object:
    """Return the actor of a row; what is no row is returned as it is."""
    ref = getattr(row, "ref", row)
    if ref is None:
        node = getattr(row, "node", "another node")
        raise RemoteActorError(f"this actor is one of {node}: open a prompt there, or its tree at /observer")
    return ref


def _the_one(target: object, found: Sequence[ActorRef[Any]]) -> ActorRef[Any]:
    if len(found) > 1:
        raise AmbiguousActorError(target, found)
    return found[0]


def _by_name(target: Hashable, scope: Scope) -> Sequence[ActorRef[Any]]:
    whereis: Callable[[Hashable], ActorRef[Any] | None] = scope.whereis
    found = resolve(target, whereis)
    return () if found is None else (found,)


def _by_pid(target: Hashable, scope: Scope) -> Sequence[ActorRef[Any]]:
    number = target if isinstance(target, int) else None
    if isinstance(target, str) and (pid := _PID.fullmatch(target.strip())):
        number = int(pid[1])
    process = None if number is None else scope.by_number(number)
    return () if process is None else (process.ref,)


def _by_label(target: Hashable, scope: Scope) -> Sequence[ActorRef[Any]]:
    return [process.ref for process in scope.processes() if name_of(process) == target]


def _by_topic(target: Hashable, scope: Scope) -> Sequence[ActorRef[Any]]:
    if not isinstance(target, str):
        return ()
    found = (ref for pubsub in scope.pubsubs() for ref in pubsub.subscribers(target))
    return [ref for ref in dict.fromkeys(found) if ref.is_alive()]


def _known(scope: Scope) -> Iterable[str]:
    known = [str(name) for names in scope.registries() for name in names.names()]
    known += [topic for pubsub in scope.pubsubs() for topic in pubsub.topics()]
    return dict.fromkeys([*known, *(name_of(process) for process in scope.processes())])
