"""PubSub: subscribe and broadcast; and the actor that watches the subscribers.

A broadcast is delivered in the turn of its caller, straight from the table of subscriptions into the mailboxes: what one actor
broadcasts and sends arrives in that order. It is then given to the adapter, for the subscribers in other processes. The actor
of PubSub takes no part in this. It monitors the subscribers and removes those that exit from the table, which belongs to the
`PubSub` object: when the actor crashes and is restarted, broadcasts go on.
"""

from __future__ import annotations

import os
from contextvars import copy_context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, NamedTuple, Protocol

from actors import telemetry
from actors.channels.encoding import decoded
from actors.channels.frozen import frozen
from actors.channels.message import Broadcast, NumberedBroadcast
from actors.history.backlog import SKIP, skip_at
from actors.history.history_store import HistoryStore, NoHistory
from actors.history.memory_history import MemoryHistory
from actors.idempotency.push_logs import PushLogs
from actors.log import Log
from actors.pubsub.adapter import Adapter, LocalAdapter
from actors.pubsub.disconnects import DISCONNECT, Disconnects
from actors.pubsub.fanout import Fanout, Fanouts
from actors.pubsub.peer_message import NODES, PEERS
from actors.pubsub.peers import Peers
from actors.pubsub.push_inquiry import PushInquiry
from actors.pubsub.relay import Relay, this_node
from actors.pubsub.share import encode_shares
from actors.pubsub.subscriptions import Subscription, Subscriptions
from actors.redaction import safe_repr
from actors.runtime.current import actor_of_thread
from actors.runtime.program_exit import leave
from actors.via import checked_ref
from actors.watcher import WatchedTable, Watcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from actors.channels.fastlane import Fastlane, Outlet
    from actors.channels.message import Serializer
    from actors.history.history import History
    from actors.history.history_store import Recording
    from actors.pubsub.remote_message import Header
    from actors.pubsub.share import Share
    from actors.ref import ActorRef
    from actors.runtime.bonds import Bonds
    from actors.runtime.process import Process

__all__ = ["BROADCAST", "PUBSUB", "PubSub", "PubSubServer", "nearest_pubsub"]

_log = Log("ashtree.actors")

_LIKE_A_MESSAGE = 32

_MOST_REMEMBERED = 1024

PUBSUB = "pubsub"
"""The usual name of a PubSub."""

BROADCAST = ("ashtree", "broadcast")
"""The telemetry event of a broadcast that was delivered to the local subscribers."""


class Audience(Protocol):
    """What clients may join topics through: an endpoint."""

    def serializers(self, topic: str, event: str) -> Collection[Serializer]:
        """Return the serializers of clients that may join a topic, and are sent its broadcasts of an event."""

    @property
    def has_histories(self) -> bool:
        """Whether one of its topics may have a history."""

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic."""


class PubSub(WatchedTable):
    """Topics for the actors of one system. Safe to use from any actor and any thread once it has started.

    - `name`: the name that its actor is registered under. Two PubSubs on one event loop need two names.
    - `adapter`: connects it with the PubSubs of other processes (see `Adapter`); by default it is alone.
    - `history`: where the broadcasts are kept that clients recover (see `History`); by default where the adapter keeps them,
      such as Redis, and a `MemoryHistory()` without an adapter. One in memory is not used with an adapter.
    - `node`: the name of this process for the others, which people read, and which no other one may have; by default the
      machine's name and the process id. A worker adds its process id.

    Raises:
        TypeError: if the adapter is not an `Adapter`, the history not a `HistoryStore`, or the node not a str.
        ValueError: if the adapter or the history belongs to another PubSub.
    """

    another_name = (
        'another System runs on this loop: stop it, or give this one another name: System(…, name="other"); '
        'a PubSub of your own needs one too: PubSub(name="other")'
    )

    server: PubSubServer | None

    def __init__(
        self,
        name: str = PUBSUB,
        adapter: Adapter | None = None,
        *,
        node: str | None = None,
        history: HistoryStore | None = None,
    ) -> None:
        super().__init__(name)
        self.subscriptions = Subscriptions()
        if node is not None and not isinstance(node, str):
            raise TypeError(f'node must be a str, such as "web-1", or None, got {safe_repr(node)}')
        self._node, self._pid = node, os.getpid()
        self.peers = Peers(self)
        self._own_history = None if history is None else _checked_history(history)
        self.connect_by(LocalAdapter() if adapter is None else adapter)
        self.fanouts, self.disconnects = Fanouts(), Disconnects()
        self.audiences: set[Audience] = set()
        self.pushes = PushLogs()
        self.inquiry = PushInquiry(self)
        # Most have none, and pay for no more than this.
        self.has_histories = False
        # By topic: to look through all routes takes longer than to record.
        self._histories: dict[str, History | None] = {}

    def connect_by(self, adapter: Adapter) -> None:
        """Use this adapter from the next start on.

        Raises:
            TypeError: if it is not an `Adapter`.
            ValueError: if it belongs to another PubSub.
        """
        self.adapter = _checked_adapter(adapter)
        self.relay = Relay(self, adapter)
        adapter.connect(self)
        self.history = self._history_with(adapter)
        self.history.connect(self)

    def _history_with(self, adapter: Adapter) -> HistoryStore:
        """Return what keeps the histories: in memory only if this process is alone, as each would have another one."""
        own = self._own_history
        if type(adapter) is LocalAdapter:
            return MemoryHistory() if own is None else own
        if own is not None and not isinstance(own, MemoryHistory):
            return own
        return NoHistory() if adapter.history is None else adapter.history

    @property
    def actor(self) -> type[PubSubServer]:
        """The actor that a supervisor starts with it, under its name."""
        return PubSubServer

    @property
    def node(self) -> str:
        """The name of this process for the others."""
        if self._node is None:
            return this_node()
        # Workers are forked, and each is a process of its own.
        return self._node if os.getpid() == self._pid else f"{self._node}:{os.getpid()}"

    @property
    def companions(self) -> list[Adapter]:
        """The objects whose actors a supervisor starts after its own: the adapter, if it has an actor."""
        return [] if self.adapter.actor is None else [self.adapter]

    def attach_audience(self, audience: Audience, process: Process) -> None:
        """Register what clients join topics through, until a process ends."""
        self.audiences.add(audience)
        self.has_histories = self.has_histories or audience.has_histories
        self._histories.clear()
        process.own(partial(self.audiences.discard, audience))

    # Subscribe

    def subscribe(
        self,
        topic: str,
        subscriber: ActorRef,
        fastlane: Fastlane | None = None,
        intercepts: Collection[str] = (),
        *,
        offsets: bool = False,
        connection: int = 0,
    ) -> None:
        """Send all broadcasts on `topic` to `subscriber`, until it unsubscribes or exits.

        An actor that subscribes twice gets every message twice. With a fastlane, broadcasts are written there, except for the
        events in `intercepts`. With `offsets`, those that are recorded come with theirs. `connection` is the number of the
        connection of its client: in a history, what it has made by `broadcast_from` is not for that one.
        """
        process = checked_ref(subscriber, "pubsub.subscribe(topic, ref)").process
        if not process.alive:
            process.must_have_started()
        subscription = Subscription(topic, process, fastlane, intercepts, offsets=offsets, connection=connection)
        self.scheduler.run_or_post(self._subscribe, subscription)

    def _subscribe(self, subscription: Subscription) -> None:
        if not subscription.subscriber.alive:
            return
        first = self.subscriptions.add(subscription)
        if first.of_topic:
            try:
                self.relay.subscribed(subscription.topic)
            except BaseException:
                # Without it the next subscriber would not be the first, and the adapter would never receive the topic.
                self.subscriptions.remove(subscription.topic, subscription.subscriber)
                raise
        if first.of_subscriber and self.server is not None:
            self.server.watch(subscription.subscriber)

    def unsubscribe(self, topic: str, subscriber: ActorRef) -> None:
        """Remove all subscriptions of `subscriber` to `topic`."""
        process = checked_ref(subscriber, "pubsub.unsubscribe(topic, ref)").process
        self.scheduler.run_or_post(self._unsubscribe, topic, process)

    def _unsubscribe(self, topic: str, subscriber: Process) -> None:
        last = self.subscriptions.remove(topic, subscriber)
        if last.of_subscriber and self.server is not None:
            self.server.unwatch(subscriber)
        if last.of_topic:
            self.relay.unsubscribed(topic)

    def is_in_effect(self, topic: str) -> bool:
        """Return whether a client may be told at once that it has joined `topic`; else await `held` first."""
        return type(self.adapter) is LocalAdapter or self.relay.is_in_effect(topic)

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        """Return a future that is done when broadcasts on a subscribed topic arrive from other processes; None if they do."""
        return self.adapter.in_effect(topic)

    def held(self, topic: str) -> AbstractAsyncContextManager[None]:
        """Wait until broadcasts on `topic` arrive from other processes, at most a second; subscribe in the block."""
        return self.relay.held(topic)

    # Broadcast

    def broadcast(self, topic: str, message: object) -> None:
        """Send a message to all subscribers of `topic`, here and wherever the adapter reaches.

        A `Broadcast` reaches the clients of channels as an event: what is changed in its payload later does not reach them. Any
        other message reaches the subscribed actors as it is.
        Delivery is at most once. What one sender broadcasts, and what it sends to a client afterwards, arrives in that order.
        To very many clients it is written in slices, between which the event loop does its other work; until that is done an
        actor that broadcasts gets no further message.

        Raises:
            UnencodableError: if the payload of a `Broadcast` cannot be encoded for the clients that receive it, or, if there is
                none, for those that could join the topic; then it is sent to no subscriber.
        """
        self._in_thread(self._broadcast, topic, message, None)

    def broadcast_from(self, sender: ActorRef, topic: str, message: object) -> None:
        """Send a message to all subscribers of `topic` except `sender`."""
        process = checked_ref(sender, "broadcast_from(ref, topic, …)").process
        self._in_thread(self._broadcast, topic, message, process)

    def local_broadcast(self, topic: str, message: object) -> None:
        """Send a message to the subscribers of `topic` in this process only; the adapter is not asked."""
        self._in_thread(self.deliver_here, topic, message, None)

    def node_down(self, node: str) -> None:
        """Tell all processes that the one of that name (`pubsub.node`) has ended, so that its presences leave at once.

        For a program that watches over others. Without it they leave when that process has been silent for so long.
        """
        self.broadcast(NODES, {"down": node})

    # What the adapter calls

    def receive(self, topic: str, data: bytes) -> None:
        """Deliver what the PubSub of another process has published, from any thread."""
        self.scheduler.run_or_post(self.relay.receive, topic, data)

    def lost(self, messages: int) -> None:
        """Count messages for other processes that have not left this one, or may not have; from any thread."""
        self.scheduler.run_or_post(self.relay.lost, messages)

    def deliver(self, topic: str, message: object) -> None:
        """Deliver a message that was received; called by the relay, in the thread of the event loop."""
        self.deliver_here(topic, message, None, self.scheduler.current)

    def is_shared(self, topic: str, header: Header, payload: bytes) -> bool:
        """Return whether a message is of a history that processes share, which delivers it then; called by the relay."""
        return self.history.received(topic, header, payload)

    def is_subscribed(self, topic: str) -> bool:
        """Return whether a topic has subscribers in this process."""
        return bool(self.subscriptions.of(topic))

    # Delivery

    def _in_thread(self, deliver: Callable[..., None], topic: str, message: object, sender: Process | None) -> None:
        """Call `deliver` in the thread of the event loop, with the actor that is to be paced if there is much to deliver."""
        scheduler = self.scheduler
        if scheduler.thread_id == get_ident():
            deliver(topic, message, sender, scheduler.current)
        else:
            message = self._checked(topic, message)
            # The adapter, and the handlers of the telemetry event, see the variables of the sender there too.
            scheduler.post(copy_context().run, deliver, topic, message, sender, actor_of_thread())
            self._slow_down(topic)

    def _slow_down(self, topic: str) -> None:
        """Delay a thread that broadcasts faster than the subscribers handle; it is not delayed for its own actor."""
        own, subscribers = actor_of_thread(), [each.subscriber for each in list(self.subscriptions.of(topic))]
        waiting = max((subscriber.waiting for subscriber in subscribers if subscriber is not own), default=0)
        if waiting > self.scheduler.crowd:
            self.scheduler.slow(waiting)

    def _broadcast(self, topic: str, message: object, sender: Process | None, cause: Process | None) -> None:
        history = self.history_of(topic) if self.has_histories else None
        if history is None:
            self.deliver_here(topic, message, sender, cause)
        elif (
            type(message) is Broadcast
            and history.records(message.event)
            and message.topic == topic
            and self.history.record(message, history, sender, cause)
        ):
            return
        else:
            self._deliver_behind(topic, message, sender, cause)
        if type(self.adapter) is not LocalAdapter:
            if type(message) is Broadcast and message.event == DISCONNECT:
                # First, and to all processes: a client may be connecting there that has not subscribed yet.
                self.relay.publish(PEERS, {DISCONNECT: topic})
            self.relay.publish(topic, message)

    def deliver_here(
        self,
        topic: str,
        message: object,
        sender: Process | None,
        cause: Process | None,
        recording: Recording | None = None,
    ) -> None:
        """Deliver a message to all subscribers in this process but the sender; called by the history too."""
        report = self._begin_report(topic, message) if BROADCAST in telemetry.attached else None
        scheduler, number = self._scheduler, len(self.subscriptions.of(topic))
        assert scheduler is not None  # it is running: see `_in_thread`
        # To write to so many clients takes as long as to handle a message, or longer.
        scheduler.work -= number // _LIKE_A_MESSAGE
        shares = without = None
        if type(message) is Broadcast:
            if message.event == DISCONNECT:
                self.disconnects.add(topic)
            shares = self._by_lanes(topic, message, recording)
        if shares is None:
            shares = self._send_to_each(topic, message, sender, recording)
        elif sender is not None:
            without = self.subscriptions.fastlane_of(topic, sender)
        if recording is not None:
            recording.commit()
            if sender is not None:
                # It does not get the broadcast itself, and has to see no gap.
                _push_offset(self.subscriptions.by(sender, topic), topic, recording.kept.offset)
        fanouts = self.fanouts
        if shares and (number > fanouts.slice or number * shares[0].size > fanouts.slice_bytes):
            fanouts.begin(scheduler, Fanout(shares, cause, report), without)
            return
        for share in shares:
            share.write(without)
        if report is not None:
            report()

    def _send_to_each(
        self, topic: str, message: object, sender: Process | None, recording: Recording | None
    ) -> list[Share]:
        """Send a message to the subscribers that get it themselves; return what is to be written to the clients of others."""
        recipients = _recipients(self.subscriptions.of(topic), message, sender)
        shares: list[Share] = []
        if type(message) is Broadcast:
            shares = encode_shares(message, recipients.clients, recording)
            if not shares:
                self._check(message, self._possible(message))
        if recipients.actors or recipients.numbered:
            message = frozen(decoded(message)) if type(message) is Broadcast else message
        for subscriber in recipients.actors:
            # It may be an actor of another event loop.
            subscriber.ref.send(message)
        if recording is not None and type(message) is Broadcast:
            message = NumberedBroadcast(message, recording.kept.offset)
        for subscriber in recipients.numbered:
            subscriber.ref.send(message)
        return shares

    # What cannot be encoded is refused whether or not a client receives it

    def _possible(self, broadcast: Broadcast) -> set[Serializer]:
        """Return the serializers of the clients that could receive a broadcast."""
        return {each for audience in self.audiences for each in audience.serializers(broadcast.topic, broadcast.event)}

    def _check(self, broadcast: Broadcast, serializers: Iterable[Serializer]) -> None:
        """Raise UnencodableError if one of the serializers cannot encode a broadcast; bytes need not be encoded."""
        if not isinstance(broadcast.payload, bytes):
            for serializer in serializers:
                encode_shares(broadcast, {(serializer, None, False): ()})

    def _checked(self, topic: str, message: object) -> object:
        """Return a message of another thread as it is now, once it is known that it can be encoded."""
        if type(message) is Broadcast:
            self.check(message)
        return frozen(message)

    # Histories

    def _deliver_behind(self, topic: str, message: object, sender: Process | None, cause: Process | None) -> None:
        """Deliver a message behind what was recorded before on its topic."""
        behind = self.history.behind(topic)
        if behind is None:
            self.deliver_here(topic, message, sender, cause)
        else:
            behind.append(partial(self.deliver_here, topic, self._checked(topic, message), sender, cause))

    def history_of(self, topic: str) -> History | None:
        """Return what is kept of the broadcasts on a topic."""
        known = self._histories
        if topic not in known:
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            each = (audience.history_of(topic) for audience in self.audiences)
            known[topic] = next((history for history in each if history is not None), None)
        return known[topic]

    def check(self, broadcast: Broadcast) -> None:
        """Raise UnencodableError if a broadcast cannot be encoded for its clients; called by the history."""
        lanes = self.subscriptions.lanes(broadcast.topic)
        if lanes is not None and lanes.may_carry(broadcast.event):
            groups: Iterable[tuple[Serializer, Outlet | None, bool]] = lanes.groups
        else:
            groups = _recipients(list(self.subscriptions.of(broadcast.topic)), broadcast, None).clients
        self._check(broadcast, {serializer for serializer, *_ in groups} or self._possible(broadcast))

    def show_gap(self, topic: str, offset: int) -> None:
        """Give an offset alone to all clients that want offsets; called by the history."""
        _push_offset(list(self.subscriptions.of(topic)), topic, offset)

    def connection_of(self, topic: str, sender: Process | None) -> int:
        """Return the number of the connection of a channel that has joined a topic, 0 if it is none."""
        by_sender = () if sender is None else self.subscriptions.by(sender, topic)
        return next((each.connection for each in by_sender), 0)

    # Reports

    def _begin_report(self, topic: str, message: object) -> Callable[[], None]:
        """Return what reports a delivery that begins now, when it is done."""
        clock, deliveries = self.scheduler.clock, len(self.subscriptions.of(topic))
        began = clock.now()

        def report() -> None:
            measurements = {"deliveries": deliveries, "duration": clock.now() - began}
            readable = decoded(message) if type(message) is Broadcast else message
            telemetry.execute(BROADCAST, measurements, {"pubsub": self, "topic": topic, "message": readable})

        return report

    def _by_lanes(self, topic: str, broadcast: Broadcast, recording: Recording | None) -> list[Share] | None:
        """Return a broadcast for the lanes of a topic, if it may go there without checking each subscriber."""
        if self.server is None or not self.server.is_up_to_date:
            return None
        lanes = self.subscriptions.lanes(topic)
        if lanes is None or not lanes.may_carry(broadcast.event):
            return None
        return encode_shares(broadcast, lanes.groups, recording)

    # Inspect

    def subscribers(self, topic: str) -> list[ActorRef]:
        """Return the actors that are subscribed to `topic` in this process."""
        self._check_here()
        return [subscription.subscriber.ref for subscription in list(self.subscriptions.of(topic))]

    def topics(self) -> list[str]:
        """Return all topics that have subscribers in this process."""
        self._check_here()
        return self.subscriptions.topics()

    def _check_here(self) -> None:
        if self.server is not None:
            self.server.check_here()

    # What its watcher calls

    def attach(self, server: Watcher, process: Process) -> None:
        """Register the watcher that runs from now on; called by the watcher."""
        super().attach(server, process)
        self.relay.open(process.clock)
        self.history.start(process)

    def watched(self) -> list[Process]:
        """Return all subscribers."""
        return self.subscriptions.subscribers()

    def drop(self, process: Process) -> None:
        """Remove all subscriptions of an actor that has exited."""
        for topic in self.subscriptions.drop(process):
            try:
                self.relay.unsubscribed(topic)
            except BaseException as error:  # noqa: BLE001  # the adapter's code may raise anything
                # No caller to raise it to; the other topics are reported, and the watcher goes on.
                _log.exception("%r raised in unsubscribed(%r)", self.adapter, topic)
                leave(error)


class _Recipients(NamedTuple):
    """The subscribers that get a message themselves, and the paths to the clients of the others."""

    actors: list[Process]
    numbered: list[Process]
    clients: dict[tuple[Serializer, Outlet | None, bool], list[Fastlane]]


def _recipients(subscriptions: Iterable[Subscription], message: object, sender: Process | None) -> _Recipients:
    recipients = _Recipients([], [], {})
    for subscription in subscriptions:
        subscriber, fastlane = subscription.subscriber, subscription.fastlane
        # A subscriber that has just exited is still in the table, and its transport may well be alive.
        if subscriber is sender or not subscriber.alive:
            continue
        if fastlane is None or type(message) is not Broadcast or message.event in subscription.intercepts:
            (recipients.numbered if subscription.offsets else recipients.actors).append(subscriber)
        else:
            alike = (fastlane.serializer, None, subscription.offsets)
            recipients.clients.setdefault(alike, []).append(fastlane)
    return recipients


def _push_offset(subscriptions: Iterable[Subscription], topic: str, offset: int) -> None:
    """Give an offset without a broadcast to those clients that want offsets."""
    for each in subscriptions:
        if each.offsets and each.fastlane is not None:
            each.fastlane.push(skip_at(each.fastlane.serializer, topic, offset))
        elif each.offsets:
            each.subscriber.ref.send(NumberedBroadcast(Broadcast(topic, SKIP, {}), offset, is_own=True))


def _checked_adapter(adapter: object) -> Adapter:
    if isinstance(adapter, Adapter):
        return adapter
    raise TypeError(f"adapter must be an Adapter, such as PubSub(adapter=LocalAdapter()), got {safe_repr(adapter)}")


def _checked_history(history: object) -> HistoryStore:
    if isinstance(history, HistoryStore):
        return history
    raise TypeError(f"history must be a HistoryStore, such as MemoryHistory(), got {safe_repr(history)}")


class PubSubServer(Watcher):
    """The actor of a `PubSub`: it removes subscribers that exit."""

    def __init__(self, pubsub: PubSub) -> None:
        super().__init__()
        self.pubsub = pubsub

    @property
    def table(self) -> PubSub:
        """The PubSub."""
        return self.pubsub


def nearest_pubsub(process: Process, known: PubSub | None = None) -> PubSub | None:
    """Return the PubSub in the tree of a process: a child of its supervisor, else of that one's supervisor, and so on.

    A PubSub that was started without a supervisor comes last, for all actors of its event loop. `known` is the PubSub that was
    found the last time: it is found again while its actor is down, about to be restarted.
    """
    scheduler = process.scheduler
    servers = [each.actor for each in scheduler.processes.values() if isinstance(each.actor, PubSubServer)]
    if known is not None and known.server is not None and known.server.runs_on(scheduler):
        servers.insert(0, known.server)
    for supervisor in _supervisors(process):
        for server in servers:
            if server.supervisor is supervisor:
                return server.pubsub
    return None


def _supervisors(process: Process) -> Iterator[Bonds | None]:
    above = process.parent
    while above is not None:
        yield above
        above = above.parent
    yield None
