"""The table of presences and its changes: plain data, no actor. It outlives the actor that watches the tracked actors."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

__all__ = ["Diff", "Meta", "Metas", "Presences"]

A = TypeVar("A", bound=Hashable)

# The data of one presence: a JSON object with its `phx_ref`.
Meta = dict[str, Any]
# The metas of each key.
Metas = dict[str, list[Meta]]


@dataclass(frozen=True, slots=True)
class Diff:
    """One change of a topic: the metas that joined and those that left; an update has both."""

    topic: str
    joins: Metas = field(default_factory=dict)
    leaves: Metas = field(default_factory=dict)


class Presences(Generic[A]):
    """Topics with their keys, keys with their metas in the order of their last change, one for each actor."""

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[str, dict[A, Meta]]] = {}
        self._by_actor: dict[A, dict[tuple[str, str], None]] = {}

    # Changes

    def track(self, actor: A, topic: str, key: str, meta: Meta) -> Diff:
        """Add a presence, which must be new: `get` found none."""
        self._by_topic.setdefault(topic, {}).setdefault(key, {})[actor] = meta
        self._by_actor.setdefault(actor, {})[topic, key] = None
        return Diff(topic, joins={key: [meta]})

    def update(self, actor: A, topic: str, key: str, meta: Meta) -> Diff:
        """Replace the meta of a presence, which must exist; it becomes the last of its key, as in the clients' lists."""
        of_key = self._by_topic[topic][key]
        replaced = of_key.pop(actor)
        of_key[actor] = meta
        return Diff(topic, joins={key: [meta]}, leaves={key: [replaced]})

    def untrack(self, actor: A, topic: str, key: str) -> Diff | None:
        """Remove a presence; None if there is none."""
        of_actor = self._by_actor.get(actor, {})
        if (topic, key) not in of_actor:
            return None
        del of_actor[topic, key]
        if not of_actor:
            del self._by_actor[actor]
        return Diff(topic, leaves={key: [self._remove_from_topic(actor, topic, key)]})

    def drop(self, actor: A) -> list[Diff]:
        """Remove all presences of an actor; return one diff for each topic."""
        leaves: dict[str, Metas] = {}
        for topic, key in self._by_actor.pop(actor, ()):
            leaves.setdefault(topic, {})[key] = [self._remove_from_topic(actor, topic, key)]
        return [Diff(topic, leaves=metas) for topic, metas in leaves.items()]

    def _remove_from_topic(self, actor: A, topic: str, key: str) -> Meta:
        of_topic = self._by_topic[topic]
        of_key = of_topic[key]
        meta = of_key.pop(actor)
        if not of_key:
            del of_topic[key]
        if not of_topic:
            del self._by_topic[topic]
        return meta

    # Queries

    def get(self, actor: A, topic: str, key: str) -> Meta | None:
        """Return the meta of one actor under a key, or None."""
        return self._by_topic.get(topic, {}).get(key, {}).get(actor)

    def of(self, topic: str) -> Metas:
        """Return all keys of a topic with their metas."""
        return {key: list(of_key.values()) for key, of_key in self._by_topic.get(topic, {}).items()}

    def of_key(self, topic: str, key: str) -> list[Meta]:
        """Return the metas of one key."""
        return list(self._by_topic.get(topic, {}).get(key, {}).values())

    def actors(self) -> list[A]:
        """Return all actors that are tracked on any topic."""
        return list(self._by_actor)

    def tracks(self, actor: A) -> bool:
        """Return whether an actor is tracked on any topic."""
        return actor in self._by_actor

    def entries(self) -> Iterator[tuple[str, str, Meta]]:
        """Return the topic, key and meta of each presence."""
        for topic, of_topic in self._by_topic.items():
            for key, of_key in of_topic.items():
                for meta in of_key.values():
                    yield topic, key, meta

    def topics(self) -> list[str]:
        """Return all topics that have presences."""
        return list(self._by_topic)
