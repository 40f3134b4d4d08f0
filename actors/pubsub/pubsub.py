"""PubSub: subscribe, broadcast; and the actor that watches the subscribers.

A broadcast is delivered by whoever makes it, straight from the table of subscriptions into the mailboxes: what one actor
broadcasts and sends arrives in the order it did so. The actor's part is to watch: it monitors each subscriber and takes the
dead out of the table. The table belongs to the `PubSub` object and outlives the actor, which therefore can crash and be
restarted while broadcasts go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import telemetry
from actors.actor import Actor
from actors.channels import channel_events
from actors.channels.message import Broadcast
from actors.exits import Down
from actors.pubsub.subscriptions import Subscription, Subscriptions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from actors.channels.fastlane import Fastlane
    from actors.channels.message import Frame
    from actors.exits import MonitorRef
    from actors.ref import ActorRef
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler

__all__ = ["PubSub", "PubSubServer"]


class PubSub:
    """Topics for the actors of one system. Safe to use from any actor and any thread once it has started."""

    def __init__(self, name: str = "pubsub") -> None:
        self.name = name
        self.subscriptions = Subscriptions()
        self.server: PubSubServer | None = None
        self._scheduler: Scheduler | None = None

    @property
    def actor(self) -> type[PubSubServer]:
        """The actor that a supervisor starts with it, under its name."""
        return PubSubServer

    def attach(self, server: PubSubServer, scheduler: Scheduler) -> None:
        """Take note of the actor that watches from now on; for that actor."""
        self.server, self._scheduler = server, scheduler

    def subscribe(
        self,
        topic: str,
        subscriber: ActorRef[Any],
        fastlane: Fastlane | None = None,
        intercepts: Collection[str] = (),
    ) -> None:
        """Send all broadcasts on `topic` to `subscriber`, until it unsubscribes or ends.

        Whoever subscribes twice is sent everything twice. With a fastlane they go there, but for the events `intercepts`.
        """
        self._in_loop(self._subscribe, Subscription(topic, subscriber.process, fastlane, intercepts))

    def _subscribe(self, subscription: Subscription) -> None:
        if subscription.subscriber.alive and self.subscriptions.add(subscription) and self.server is not None:
            self.server.watch(subscription.subscriber)

    def unsubscribe(self, topic: str, subscriber: ActorRef[Any]) -> None:
        """End all of `subscriber`'s subscriptions to `topic`."""
        self._in_loop(self._unsubscribe, topic, subscriber.process)

    def _unsubscribe(self, topic: str, subscriber: Process) -> None:
        if self.subscriptions.remove(topic, subscriber) and self.server is not None:
            self.server.unwatch(subscriber)

    def broadcast(self, topic: str, message: Any) -> None:
        """Send a message to all subscribers of `topic`.

        A `Broadcast` reaches the clients of channels as an event; anything else reaches the subscribing actors as it is.
        Delivery is at most once; what one sender broadcasts arrives in order.
        """
        self._in_loop(self._dispatch, topic, message, None)

    def broadcast_from(self, sender: ActorRef[Any], topic: str, message: Any) -> None:
        """Send a message to all subscribers of `topic` but `sender`."""
        self._in_loop(self._dispatch, topic, message, sender.process)

    def subscribers(self, topic: str) -> list[ActorRef[Any]]:
        """Return the actors that have subscribed to `topic`."""
        return [subscription.subscriber.ref for subscription in list(self.subscriptions.of(topic))]

    def topics(self) -> list[str]:
        """Return all topics that have subscribers."""
        return self.subscriptions.topics()

    def _in_loop(self, callback: Callable[..., None], *args: Any) -> None:
        scheduler = self._scheduler
        if scheduler is None:
            raise RuntimeError(f"PubSub {self.name!r} is not running; start it as a child of a System")
        scheduler.run_or_post(callback, *args)

    def _dispatch(self, topic: str, message: Any, sender: Process | None) -> None:
        if channel_events.BROADCAST not in telemetry.attached:
            self._deliver(topic, message, sender)
            return
        assert self._scheduler is not None
        clock, deliveries = self._scheduler.clock, len(self.subscriptions.of(topic))
        began = clock.now()
        self._deliver(topic, message, sender)
        channel_events.broadcast(self, topic, message, deliveries, clock.now() - began)

    def _deliver(self, topic: str, message: Any, sender: Process | None) -> None:
        lanes = self.subscriptions.lanes(topic) if type(message) is Broadcast and self._knows_the_dead() else None
        if lanes is None or not lanes.may_carry(message.event):
            _deliver(self.subscriptions.of(topic), message, sender)
        else:
            lanes.write(message, None if sender is None else self.subscriptions.fastlane_of(topic, sender))

    def _knows_the_dead(self) -> bool:
        """Tell whether nobody in the table is dead: whoever watches it has no news."""
        server = None if self.server is None else self.server._process
        return server is not None and server.alive and not server.scheduled and server.debug is None


def _deliver(subscriptions: Iterable[Subscription], message: Any, sender: Process | None) -> None:
    encoded: dict[Any, Frame | None] = {}
    for subscription in subscriptions:
        subscriber, fastlane = subscription.subscriber, subscription.fastlane
        # A subscriber that died this very moment is still in the table; its transport may well be alive.
        if subscriber is sender or not subscriber.alive:
            continue
        if fastlane is None or type(message) is not Broadcast or message.event in subscription.intercepts:
            # It may be an actor of another event loop.
            subscriber.ref.send(message)
            continue
        serializer = fastlane.serializer
        try:
            frame = encoded[serializer]
        except KeyError:
            frame = encoded[serializer] = serializer.encode_broadcast(message)
        if frame is not None:
            fastlane.push(frame)


class PubSubServer(Actor):
    """Watches the subscribers of a `PubSub`: an entry ends with its actor."""

    def __init__(self, pubsub: PubSub) -> None:
        self.pubsub = pubsub
        self._monitors: dict[Process, MonitorRef] = {}

    def on_start(self) -> None:
        """Watch everybody that the table names; after a restart, that is everybody who was subscribed before."""
        self.pubsub.attach(self, self._process.scheduler)
        self._process.scheduler.names.register(self.pubsub.name, self.actor_ref, self.pubsub)
        for subscriber in self.pubsub.subscriptions.subscribers():
            self.watch(subscriber)

    def watch(self, subscriber: Process) -> None:
        """Monitor a subscriber; one that is dead already tells so by its `Down`."""
        if self._process.alive:
            self._monitors[subscriber] = self._process.monitor(subscriber)

    def unwatch(self, subscriber: Process) -> None:
        """End the monitor of somebody who has unsubscribed from everything."""
        monitor = self._monitors.pop(subscriber, None)
        if monitor is not None:
            self._process.demonitor(monitor, flush=False)

    def on_receive(self, message: Any) -> None:
        """Take the dead out of the table."""
        if isinstance(message, Down):
            process = message.actor.process
            if self._monitors.pop(process, None) is not None:
                self.pubsub.subscriptions.drop(process)
        else:
            super().on_receive(message)
