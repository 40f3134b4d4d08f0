"""Broadcasts to many clients, past their transport actors and carriers.

What one delivery costs is the memory that it touches: with a thousand clients hardly any of it is in the processor's cache. The
general way looks at the subscription, the subscriber, its transport, its carrier and what these refer to; this one at the
fastlane alone, and writes. So it takes from a delivery what is above the price of the system call.

It is for topics all of whose subscribers are clients with a fastlane to the wire, and for events that none of them intercepts.
`tests/actors/test_lanes.py` holds it against the general way, `benchmarks/messages.py` measures both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.channels.fastlane import Fastlane, Outlet
    from actors.channels.message import Broadcast, Frame, Serializer
    from actors.pubsub.subscriptions import Subscription

__all__ = ["MANY", "Lanes"]

MANY = 16
"""The subscribers from which on it pays to remember the lanes of a topic."""


class Lanes:
    """The fastlanes of a topic's subscribers as they are now, with those together that get the same bytes."""

    __slots__ = ("groups", "intercepts")

    def __init__(self) -> None:
        self.groups: dict[tuple[Serializer, Outlet], list[Fastlane]] = {}
        self.intercepts: set[str] = set()

    @classmethod
    def of(cls, subscriptions: Collection[Subscription]) -> Lanes | None:
        """Collect the lanes of a topic; None if some subscriber has none, or the same one twice."""
        lanes = cls()
        for subscription in subscriptions:
            fastlane = subscription.fastlane
            if fastlane is None or fastlane.outlet is None:
                return None
            lanes.groups.setdefault((fastlane.serializer, fastlane.outlet), []).append(fastlane)
            lanes.intercepts |= subscription.intercepts
        one_each = len({subscription.fastlane for subscription in subscriptions}) == len(subscriptions)
        return lanes if one_each else None

    def write(self, broadcast: Broadcast, without: Fastlane | None) -> None:
        """Write a broadcast to all clients but that of one fastlane."""
        for (serializer, outlet), lanes in self.groups.items():
            frame = serializer.encode_broadcast(broadcast)
            if frame is None:
                continue
            data = outlet.wire(frame)
            outlet.wrote(data, len(lanes) - _write(lanes, frame, data, without))


def _write(lanes: Iterable[Fastlane], frame: Frame, data: bytes, without: Fastlane | None) -> int:
    """Write to all lanes but one; return to how many it was not written here."""
    others = 0
    for lane in lanes:
        if not lane.held and lane is not without:
            try:
                lane.write(data)  # type: ignore[misc]  # a lane with an outlet has it
            except Exception as error:  # noqa: BLE001  # it ends the actor whose wire it is
                lane.process.fail(frame, error)
            else:
                continue
        elif lane is not without:
            lane.push(frame)
        others += 1
    return others
