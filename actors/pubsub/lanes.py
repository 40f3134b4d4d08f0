"""Broadcasts to many clients at once, past their transport actors and carriers.

Theory of operation.

What one delivery costs is the memory it touches: with a thousand clients hardly any of it is in the processor's cache. The
general path (`pubsub.py`) reads for each subscriber the subscription, the subscriber, its transport, its carrier and what
these refer to. This path reads the fastlane alone, and writes. That removes nearly everything above the price of the system
call.

1. `Subscriptions.lanes(topic)` collects the fastlanes of a topic into `Lanes` when it is broadcast to twice without a change
   of its subscribers, and drops them at the next change. So a crowd that joins one by one does not collect them at each join.
2. `Lanes.of` groups the fastlanes by serializer and outlet, and by whether their clients want offsets (`actors/history/`): one
   group gets the same bytes, which are encoded and framed once.
   A topic has no lanes if a subscriber has no fastlane to the wire (an actor, a long poll), or if two subscriptions share
   one.
3. `may_carry` decides for each broadcast: not if a channel intercepts the event, nor while each frame is reported to telemetry.
4. `Share.write` writes to every fastlane that is not held. One that is held for any reason gets the frame by `Fastlane.push`,
   which goes through the carrier or the mailbox and so keeps the order. An error ends the transport actor of that client and
   no other. For very many clients the same is done slice by slice (`fanout.py`).

The general path and this one must give each client the same: `tests/actors/test_lanes.py` compares them for random clients and
events, `benchmarks/messages.py` measures both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from actors.channels.fastlane import Fastlane, Outlet
    from actors.channels.message import Serializer

__all__ = ["MANY", "Lanes"]

MANY = 16
"""The number of subscribers from which on it pays to remember the lanes of a topic."""


class ToClient(Protocol):
    """What is read of a subscription."""

    @property
    def fastlane(self) -> Fastlane | None:
        """The path to the client, if the subscriber serves one."""

    @property
    def intercepts(self) -> frozenset[str]:
        """The events that the subscriber gets itself."""

    @property
    def offsets(self) -> bool:
        """Whether the client gets recorded broadcasts with their offsets."""


class Lanes:
    """The fastlanes of a topic's subscribers as they are now, those that get the same bytes together."""

    __slots__ = ("groups", "intercepts", "outlets")

    def __init__(self) -> None:
        # With whether they get recorded broadcasts with their offsets.
        self.groups: dict[tuple[Serializer, Outlet | None, bool], list[Fastlane]] = {}
        self.outlets: set[Outlet] = set()
        self.intercepts: set[str] = set()

    @classmethod
    def of(cls, subscriptions: Collection[ToClient]) -> Lanes | None:
        """Collect the lanes of a topic; None if a subscriber has none, or two share one."""
        lanes = cls()
        for subscription in subscriptions:
            fastlane = subscription.fastlane
            if fastlane is None or fastlane.outlet is None:
                return None
            alike = (fastlane.serializer, fastlane.outlet, subscription.offsets)
            lanes.groups.setdefault(alike, []).append(fastlane)
            lanes.outlets.add(fastlane.outlet)
            lanes.intercepts |= subscription.intercepts
        one_each = len({subscription.fastlane for subscription in subscriptions}) == len(subscriptions)
        return lanes if one_each else None

    def may_carry(self, event: str) -> bool:
        """Return whether broadcasts of this event may be written here: no channel intercepts it, no outlet is watched."""
        if event in self.intercepts:
            return False
        for outlet in self.outlets:  # noqa: SIM110  # an any() costs a generator for each broadcast
            if outlet.watched:
                return False
        return True
