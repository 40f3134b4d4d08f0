"""What connects the PubSub of this process with those of other processes: a contract, and the adapter that connects nothing.

    broadcast ──> subscribers here
              └─> adapter.publish ──> (other processes) ──> their adapters ──> pubsub.receive ──> subscribers there

Local delivery comes first and never waits for an adapter. An adapter carries bytes and need not know what is in them: PubSub
has numbered them, and so drops what comes back or comes twice, and sees what is missing (`actors/pubsub/relay.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from actors.callbacks import check_callbacks

if TYPE_CHECKING:
    import asyncio

    from actors.actor import Actor
    from actors.history.history_store import HistoryStore
    from actors.idempotency.push_store import PushStore

__all__ = ["Adapter", "LocalAdapter", "RemotePubSub"]


class RemotePubSub(Protocol):
    """What an adapter uses of its PubSub; safe from any thread while the PubSub runs."""

    @property
    def name(self) -> str:
        """The name of the PubSub."""

    @property
    def node(self) -> str:
        """The name of this process for the others."""

    def receive(self, topic: str, data: bytes) -> None:
        """Deliver what the PubSub of another process has published; what this one has published is ignored."""

    def lost(self, messages: int) -> None:
        """Count messages that were published here and have not left, or may not have."""

    def topics(self) -> list[str]:
        """Return the topics that have local subscribers."""


class Adapter(ABC):
    """Connects one PubSub with those of other processes (the counterpart of Phoenix.PubSub's adapters).

    Subclass it and pass an instance to `PubSub(adapter=…)`. What an adapter must do:

    - `publish` hands the bytes of a message on to all other processes, or to those that have subscribers of its topic. Delivery
      is at most once. What one process publishes on one topic is delivered in that order.
    - What other processes publish it delivers by `self.pubsub.receive(topic, data)`, from any thread. What comes back to where
      it was published, or comes twice, does no harm.
    - `subscribed` and `unsubscribed` report which topics have local subscribers; use them to receive only those.
    - What it could not hand on, or may not have handed on, it counts by `self.pubsub.lost(messages)`.

    These methods are called in the thread of the PubSub's event loop, in the turn of the actor that broadcasts, subscribes or
    exits: they must return at once. An adapter that connects, waits or receives does so in an actor of its own, `actor`.

    What `publish` raises reaches the caller of `broadcast`, after local delivery. What `subscribed` raises reaches the caller
    of `subscribe`, and nothing is subscribed. What `unsubscribed` raises reaches the caller of `unsubscribe`, after it took
    effect; it is logged if the subscriber has exited.

    Run `ashtree.testing.AdapterContract` against your adapter.
    """

    pubsub: RemotePubSub

    actor: type[Actor] | None = None
    """The class of the adapter's own actor, None if it has none.

    It is started with the adapter as its only argument, by the supervisor of the PubSub and after it, and restarted on its own,
    as its class attributes `restart` and `shutdown` say. Whenever it starts, topics may have subscribers already: see
    `self.pubsub.topics()`. While it is down the methods are called as always; `publish` may drop the messages.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a method cannot be called by the PubSub."""
        super().__init_subclass__(**kwargs)
        methods = ("connect", "publish", "subscribed", "unsubscribed", "in_effect", "trouble")
        check_callbacks(cls, methods, plain=True, instead="let the adapter's own `actor` do what takes time")

    history: HistoryStore | None = None
    """Where all processes keep the histories of topics together; None if they cannot, and then there are none."""

    pushes: PushStore | None = None
    """Where all processes keep the keys of pushes together (see `Idempotency`); None if each keeps its own."""

    @property
    def name(self) -> str:
        """The name of its actor."""
        return f"{self.pubsub.name} adapter"

    def connect(self, pubsub: RemotePubSub) -> None:
        """Remember the PubSub that this adapter connects; called once, when the PubSub is made.

        Raises:
            ValueError: if the adapter belongs to another PubSub already.
        """
        if getattr(self, "pubsub", pubsub) is not pubsub:
            raise ValueError(f"{self!r} connects PubSub {self.pubsub.name!r} already; give each PubSub its own adapter")
        self.pubsub = pubsub

    @abstractmethod
    def publish(self, topic: str, data: bytes) -> None:
        """Hand a message that was broadcast here on to other processes."""

    @abstractmethod
    def subscribed(self, topic: str) -> None:
        """Begin to receive the messages on a topic, which has its first local subscriber."""

    @abstractmethod
    def unsubscribed(self, topic: str) -> None:
        """Stop receiving the messages on a topic, which has no local subscribers any more."""

    def in_effect(self, topic: str) -> asyncio.Future[None] | None:
        """Return a future that is done when the messages on a topic that `subscribed` was called for arrive.

        None, the default, says that they do, or that they do not arrive soon. A client's join is answered when the future is
        done or cancelled, and after at most a second, so that a client that has joined misses no broadcast from elsewhere.
        """
        return None

    def trouble(self) -> str | None:
        """Return why other processes are out of reach now, None (the default) if they are not; it is part of the readiness."""
        return None


class LocalAdapter(Adapter):
    """The adapter of a PubSub that is alone: every subscriber is in this process."""

    def publish(self, topic: str, data: bytes) -> None:
        """Do nothing: all subscribers have the message."""

    def subscribed(self, topic: str) -> None:
        """Do nothing."""

    def unsubscribed(self, topic: str) -> None:
        """Do nothing."""
