"""Whom a person means: by a ref, an actor, a name, a pid as text or number, a label of the tree, or a topic."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any

from actors.via import Via, resolve
from supervisors.branches import name_of
from supervisors.exceptions import AmbiguousActorError, UnknownActorError

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from supervisors.observer.scope import Scope

__all__ = ["find", "nearest"]

_PID = re.compile(r"<?0\.(\d+)\.0>?")

# Names that are looked through for one that is written almost so; among more, a person would not wait for the answer.
_LOOKED_THROUGH = 10_000


def find(target: Any, scope: Scope) -> ActorRef[Any]:
    """Return the one actor that is meant.

    A name goes before a pid, a pid before a label of the tree, a label before a topic that somebody has subscribed to. A row
    of a table stands for its actor. A ref, a row or an actor may be of the dead; all others are found among the living.

    Raises:
        UnknownActorError: if it is nobody.
        AmbiguousActorError: if several actors have that label or topic.
        AmbiguousNameError: if several event loops have that name.
        TypeError: if it is None, or nothing that could be a name.
    """
    target = getattr(target, "ref", target) if isinstance(target, tuple) else target
    if target is None or not isinstance(target, Hashable):
        raise TypeError(f"an actor is given by its ref, name, pid such as '<0.41.0>' or 41, or topic; got {target!r}")
    for way in (_by_name, _by_pid, _by_label, _by_topic):
        found = way(target, scope)
        if found:
            return _the_one(target, found)
    raise UnknownActorError(target, [] if isinstance(target, Via) else nearest(str(target), _known(scope)))


def _the_one(target: Any, found: Sequence[ActorRef[Any]]) -> ActorRef[Any]:
    if len(found) > 1:
        raise AmbiguousActorError(target, found)
    return found[0]


def _by_name(target: Any, scope: Scope) -> Sequence[ActorRef[Any]]:
    whereis: Callable[[Hashable], ActorRef[Any] | None] = scope.whereis
    found = resolve(target, whereis)
    return () if found is None else (found,)


def _by_pid(target: Any, scope: Scope) -> Sequence[ActorRef[Any]]:
    number = target if isinstance(target, int) else None
    if isinstance(target, str) and (pid := _PID.fullmatch(target.strip())):
        number = int(pid[1])
    process = None if number is None else scope.by_number(number)
    return () if process is None else (process.ref,)


def _by_label(target: Any, scope: Scope) -> Sequence[ActorRef[Any]]:
    return [process.ref for process in scope.processes() if name_of(process) == target]


def _by_topic(target: Any, scope: Scope) -> Sequence[ActorRef[Any]]:
    if not isinstance(target, str):
        return ()
    found = (ref for pubsub in scope.pubsubs() for ref in pubsub.subscribers(target))
    return [ref for ref in dict.fromkeys(found) if ref.is_alive()]


def nearest(text: str, names: Iterable[str]) -> list[str]:
    """Return those names that are written almost as `text`, the nearest first."""
    return get_close_matches(text, list(islice(names, _LOOKED_THROUGH)), n=3, cutoff=0.6)


def _known(scope: Scope) -> Iterable[str]:
    known = [str(name) for names in scope.registries() for name in names.names()]
    known += [topic for pubsub in scope.pubsubs() for topic in pubsub.topics()]
    return dict.fromkeys([*known, *(name_of(process) for process in scope.processes())])
