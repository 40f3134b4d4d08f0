"""The table of subscriptions: plain data, no actor. It outlives the actor that watches the subscribers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from actors.pubsub.lanes import MANY, Lanes

if TYPE_CHECKING:
    from actors.channels.fastlane import Fastlane
    from actors.runtime.process import Process

__all__ = ["First", "Last", "Subscription", "Subscriptions"]


class Subscription:
    """One subscriber on one topic.

    The subscription of a channel has a fastlane, on which broadcasts go to the client's transport already encoded; only the
    events that the channel intercepts go to the channel itself. `offsets` says that it gets recorded broadcasts with theirs;
    `connection` is the number of the connection of its client, 0 if it has none.
    """

    __slots__ = ("connection", "fastlane", "intercepts", "offsets", "subscriber", "topic")

    def __init__(
        self,
        topic: str,
        subscriber: Process,
        fastlane: Fastlane | None,
        intercepts: Collection[str] = (),
        *,
        offsets: bool = False,
        connection: int = 0,
    ) -> None:
        self.topic, self.subscriber, self.fastlane, self.offsets = topic, subscriber, fastlane, offsets
        self.intercepts = frozenset(intercepts)
        self.connection = connection


class First(NamedTuple):
    """Whether a subscription that was added is the first of its subscriber, and the first of its topic."""

    of_subscriber: bool
    of_topic: bool


class Last(NamedTuple):
    """Whether, after a removal, the subscriber has no subscription left, and whether the topic has just lost its last one."""

    of_subscriber: bool
    of_topic: bool


class Subscriptions:
    """Topics with their subscribers, in the order of subscription. Subscribing twice counts twice."""

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[Subscription, None]] = {}
        # Most subscribers are channels, and have one. Those of others are found by topic: they may have very many.
        self._by_subscriber: dict[Process, Subscription | dict[str, list[Subscription]]] = {}
        # Only for topics with many subscribers that have not changed since the last broadcast; None: the topic has no lanes.
        self._lanes: dict[str, Lanes | None] = {}
        self._unchanged: set[str] = set()

    def add(self, subscription: Subscription) -> First:
        """Add a subscription."""
        topic, subscriber = subscription.topic, subscription.subscriber
        of_topic = self._by_topic.setdefault(topic, {})
        of_topic[subscription] = None
        self._forget_lanes(topic)
        found = self._by_subscriber.get(subscriber)
        if found is None:
            self._by_subscriber[subscriber] = subscription
        else:
            if isinstance(found, Subscription):
                found = self._by_subscriber[subscriber] = {found.topic: [found]}
            found.setdefault(topic, []).append(subscription)
        return First(found is None, len(of_topic) == 1)

    def remove(self, topic: str, subscriber: Process) -> Last:
        """Remove all subscriptions of a subscriber to a topic."""
        removed = self.by(subscriber, topic)
        found = self._by_subscriber.get(subscriber)
        if isinstance(found, dict):
            found.pop(topic, None)
        if removed and (not found or isinstance(found, Subscription)):
            del self._by_subscriber[subscriber]
        ended = [self._remove_from_topic(subscription) for subscription in removed]
        return Last(subscriber not in self._by_subscriber, any(ended))

    def by(self, subscriber: Process, topic: str) -> Sequence[Subscription]:
        """Return the subscriptions of a subscriber to a topic."""
        found = self._by_subscriber.get(subscriber, {})
        if isinstance(found, dict):
            return found.get(topic, ())
        return (found,) if found.topic == topic else ()

    def drop(self, subscriber: Process) -> list[str]:
        """Remove all subscriptions of a subscriber; return the topics that have no subscribers any more."""
        found = self._by_subscriber.pop(subscriber, {})
        subscriptions = chain.from_iterable(found.values()) if isinstance(found, dict) else (found,)
        return [each.topic for each in subscriptions if self._remove_from_topic(each)]

    def _remove_from_topic(self, subscription: Subscription) -> bool:
        """Remove a subscription, which is in the table; return whether it was the last one of its topic."""
        of_topic = self._by_topic[subscription.topic]
        del of_topic[subscription]
        self._forget_lanes(subscription.topic)
        if not of_topic:
            del self._by_topic[subscription.topic]
        return not of_topic

    def of(self, topic: str) -> Collection[Subscription]:
        """Return the subscriptions to a topic."""
        return self._by_topic.get(topic, ())

    def lanes(self, topic: str) -> Lanes | None:
        """Return the fastlanes of a topic if it has many subscribers, all of which have one.

        They are collected at the second call without a change in between, so that a crowd that joins does not cost a collection
        for each join.
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
        return next((each.fastlane for each in self.by(subscriber, topic)), None)

    def subscribers(self) -> list[Process]:
        """Return all processes that have a subscription."""
        return list(self._by_subscriber)

    def topics(self) -> list[str]:
        """Return all topics that have subscribers."""
        return list(self._by_topic)
