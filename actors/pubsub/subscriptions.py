"""The table of subscriptions: pure data, no actor. It outlives the actor that watches the subscribers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from actors.pubsub.lanes import MANY, Lanes

if TYPE_CHECKING:
    from actors.channels.fastlane import Fastlane
    from actors.runtime.process import Process

__all__ = ["Subscription", "Subscriptions"]


class Subscription:
    """One subscriber's interest in one topic.

    A client's channel has a fastlane, on which broadcasts go to its transport already encoded, but for those it intercepts.
    """

    __slots__ = ("fastlane", "intercepts", "subscriber", "topic")

    def __init__(
        self, topic: str, subscriber: Process, fastlane: Fastlane | None, intercepts: Collection[str] = ()
    ) -> None:
        self.topic, self.subscriber, self.fastlane = topic, subscriber, fastlane
        self.intercepts = frozenset(intercepts)


class Subscriptions:
    """Topics with their subscribers, in the order they came. Subscribing twice counts twice."""

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[Subscription, None]] = {}
        self._by_subscriber: dict[Process, list[Subscription]] = {}
        # Of topics with many subscribers that have not changed since they were asked for; None: it has no lanes.
        self._lanes: dict[str, Lanes | None] = {}
        self._unchanged: set[str] = set()

    def add(self, subscription: Subscription) -> bool:
        """Add a subscription; tell whether it is its subscriber's first."""
        self._by_topic.setdefault(subscription.topic, {})[subscription] = None
        self._forget_lanes(subscription.topic)
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
            self._forget_lanes(subscription.topic)
            if not of_topic:
                del self._by_topic[subscription.topic]

    def of(self, topic: str) -> Collection[Subscription]:
        """Return the subscriptions to a topic."""
        return self._by_topic.get(topic, ())

    def lanes(self, topic: str) -> Lanes | None:
        """Return the fastlanes of a topic, if it has many, and only such, subscribers.

        They are collected when a topic is asked for twice without a change between, and so not at each join of a crowd.
        """
        if topic in self._lanes:
            return self._lanes[topic]
        subscriptions = self._by_topic.get(topic, ())
        if len(subscriptions) < MANY:
            return None
        if topic not in self._unchanged:
            self._unchanged.add(topic)
            return None
        lanes = self._lanes[topic] = Lanes.of(subscriptions)
        return lanes

    def _forget_lanes(self, topic: str) -> None:
        self._lanes.pop(topic, None)
        self._unchanged.discard(topic)

    def fastlane_of(self, topic: str, subscriber: Process) -> Fastlane | None:
        """Return the fastlane of a subscriber to a topic, if it has one."""
        of_subscriber = self._by_subscriber.get(subscriber, ())
        return next((each.fastlane for each in of_subscriber if each.topic == topic), None)

    def subscribers(self) -> list[Process]:
        """Return everybody who has subscribed to anything."""
        return list(self._by_subscriber)

    def topics(self) -> list[str]:
        """Return all topics that have subscribers."""
        return list(self._by_topic)
