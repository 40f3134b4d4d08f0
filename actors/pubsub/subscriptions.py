"""The table of subscriptions: pure data, no actor. It outlives the actor that watches the subscribers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.message import Serializer
    from actors.runtime.process import Process

__all__ = ["Fastlane", "Subscription", "Subscriptions"]


class Fastlane:
    """The way past a channel: broadcasts go to its transport already encoded, but for those it intercepts."""

    __slots__ = ("intercepts", "serializer", "transport")

    def __init__(self, transport: Process, serializer: Serializer, intercepts: frozenset[str]) -> None:
        self.transport, self.serializer, self.intercepts = transport, serializer, intercepts


class Subscription:
    """One subscriber's interest in one topic."""

    __slots__ = ("fastlane", "subscriber", "topic")

    def __init__(self, topic: str, subscriber: Process, fastlane: Fastlane | None) -> None:
        self.topic, self.subscriber, self.fastlane = topic, subscriber, fastlane


class Subscriptions:
    """Topics with their subscribers, in the order they came. Subscribing twice counts twice."""

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[Subscription, None]] = {}
        self._by_subscriber: dict[Process, list[Subscription]] = {}

    def add(self, subscription: Subscription) -> bool:
        """Add a subscription; tell whether it is its subscriber's first."""
        self._by_topic.setdefault(subscription.topic, {})[subscription] = None
        of_subscriber = self._by_subscriber.setdefault(subscription.subscriber, [])
        of_subscriber.append(subscription)
        return len(of_subscriber) == 1

    def remove(self, topic: str, subscriber: Process) -> bool:
        """Remove all of a subscriber's subscriptions to a topic; tell whether it has none left at all."""
        of_subscriber = self._by_subscriber.get(subscriber, [])
        kept = []
        for subscription in of_subscriber:
            if subscription.topic == topic:
                self._remove_from_topic(subscription)
            else:
                kept.append(subscription)
        if kept:
            self._by_subscriber[subscriber] = kept
        else:
            self._by_subscriber.pop(subscriber, None)
        return not kept

    def drop(self, subscriber: Process) -> None:
        """Remove everything of a subscriber."""
        for subscription in self._by_subscriber.pop(subscriber, ()):
            self._remove_from_topic(subscription)

    def _remove_from_topic(self, subscription: Subscription) -> None:
        of_topic = self._by_topic.get(subscription.topic)
        if of_topic is not None:
            of_topic.pop(subscription, None)
            if not of_topic:
                del self._by_topic[subscription.topic]

    def of(self, topic: str) -> Collection[Subscription]:
        """Return the subscriptions to a topic."""
        return self._by_topic.get(topic, ())

    def subscribers(self) -> list[Process]:
        """Return everybody who has subscribed to anything."""
        return list(self._by_subscriber)

    def topics(self) -> list[str]:
        """Return all topics that have subscribers."""
        return list(self._by_topic)
