"""What connects the PubSub of this process with those of other processes: a contract, and the adapter that connects nothing.

    broadcast ──> subscribers here
              └─> adapter.publish ──> (other processes) ──> their adapters ──> local_broadcast ──> subscribers there

Local delivery comes first and never waits for an adapter. What an adapter receives it delivers by `local_broadcast`, which
reaches the subscribers of this process and is not published, so no message comes back to where it was sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from actors.callbacks import check_callbacks

if TYPE_CHECKING:
    from actors.actor import Actor

__all__ = ["Adapter", "LocalAdapter", "LocalPubSub"]


class LocalPubSub(Protocol):
    """What an adapter uses of its PubSub; safe from any thread while the PubSub runs."""

    name: str

    def local_broadcast(self, topic: str, message: object) -> None:
        """Deliver a message that was received from another process."""

    def topics(self) -> list[str]:
        """Return the topics that have local subscribers."""


class Adapter(ABC):
    """Connects one PubSub with those of other processes (the counterpart of Phoenix.PubSub's adapters).

    Subclass it and pass an instance to `PubSub(adapter=…)`. What an adapter must do:

    - `publish` hands a message on to all other processes, or to those that have subscribers of its topic, but not to this one.
      Delivery is at most once. What one process publishes on one topic is delivered in that order.
    - What other processes publish it delivers by `self.pubsub.local_broadcast(topic, message)`, from any thread.
    - `subscribed` and `unsubscribed` report which topics have local subscribers; use them to receive only those.

    The three methods are called in the thread of the PubSub's event loop, in the turn of the actor that broadcasts, subscribes
    or exits: they must return at once. An adapter that connects, waits or receives does so in an actor of its own, `actor`.

    What `publish` raises reaches the caller of `broadcast`, after local delivery. What `subscribed` raises reaches the caller
    of `subscribe`, and nothing is subscribed. What `unsubscribed` raises reaches the caller of `unsubscribe`, after it took
    effect; it is logged if the subscriber has exited.
    """

    pubsub: LocalPubSub

    actor: type[Actor] | None = None
    """The class of the adapter's own actor, None if it has none.

    It is started with the adapter as its only argument, by the supervisor of the PubSub and after it, and restarted on its own,
    as its class attributes `restart` and `shutdown` say. Whenever it starts, topics may have subscribers already: see
    `self.pubsub.topics()`. While it is down the three methods are called as always; `publish` may drop the messages.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a method cannot be called by the PubSub."""
        super().__init_subclass__(**kwargs)
        methods = ("connect", "publish", "subscribed", "unsubscribed")
        check_callbacks(cls, methods, plain=True, instead="let the adapter's own `actor` do what takes time")

    @property
    def name(self) -> str:
        """The name of its actor."""
        return f"{self.pubsub.name} adapter"

    def connect(self, pubsub: LocalPubSub) -> None:
        """Remember the PubSub that this adapter connects; called once, when the PubSub is made.

        Raises:
            ValueError: if the adapter belongs to another PubSub already.
        """
        if getattr(self, "pubsub", pubsub) is not pubsub:
            raise ValueError(f"{self!r} connects PubSub {self.pubsub.name!r} already; give each PubSub its own adapter")
        self.pubsub = pubsub

    @abstractmethod
    def publish(self, topic: str, message: object) -> None:
        """Hand a message that was broadcast here on to other processes.

        It is a `Broadcast` for clients, or any other message that an application broadcasts to actors. Raise TypeError if it
        cannot leave this process; the caller of `broadcast` gets the error, after the local subscribers got the message.
        """

    @abstractmethod
    def subscribed(self, topic: str) -> None:
        """Begin to receive the messages on a topic, which has its first local subscriber."""

    @abstractmethod
    def unsubscribed(self, topic: str) -> None:
        """Stop receiving the messages on a topic, which has no local subscribers any more."""


class LocalAdapter(Adapter):
    """The adapter of a PubSub that is alone: every subscriber is in this process."""

    def publish(self, topic: str, message: object) -> None:
        """Do nothing: all subscribers have the message."""

    def subscribed(self, topic: str) -> None:
        """Do nothing."""

    def unsubscribed(self, topic: str) -> None:
        """Do nothing."""
