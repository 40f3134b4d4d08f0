"""The channel behind the live page: it pushes changes of the supervision tree, and carries out the page's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from actors.channel import Channel
from actors.channels.message import Payload, Reply, ok
from actors.redaction import STATE_SECRETS
from transport.observer.scene import Scene

if TYPE_CHECKING:
    from actors.clock import Interval

__all__ = ["INTERVAL", "SAMPLE", "ObserverChannel", "ViewingChannel"]

INTERVAL = 0.5
"""Seconds between two samples of the tree."""

SAMPLE = object()
_SEARCH = object()


class ViewingChannel(Channel):
    """What the channels of this node and of others have in common: samples, and the names of all nodes."""

    _no_dead_letters: ClassVar[tuple[type, ...]] = (object,)
    log_join: ClassVar[str | None] = "debug"
    log_handle_in: ClassVar[str | None] = None

    def begin(self) -> None:
        """Start sampling."""
        self._interval: Interval | None = None
        self._nodes: list[list[str]] = []
        self.send(self, SAMPLE)
        self.go_on()

    def go_on(self) -> None:
        """Sample again."""
        if self._interval is None:
            self._interval = self.send_interval(INTERVAL, SAMPLE)

    def pause(self) -> None:
        """Take no samples while the page is hidden."""
        if self._interval is not None:
            self._interval.cancel()
            self._interval = None

    def push_nodes(self) -> None:
        """Push the topics and names of all nodes, this one first, when they have changed."""
        peers = self.pubsub.peers
        others = [[f"observer:{peer.run}", peer.node] for peer in peers.all()] if peers.are_possible else []
        nodes = [["observer", self.pubsub.node], *others]
        if nodes != self._nodes:
            self._nodes = nodes
            self.push("nodes", {"nodes": nodes})

    def push_difference(self, difference: dict[str, Any]) -> None:
        """Push a difference, unless it is empty."""
        if difference:
            self.push("difference", difference)


class ObserverChannel(ViewingChannel):
    """The tree as its client has unfolded it: a "difference" twice a second, unless it is empty.

    The client pushes "unfold" and "fold" (`{"id": "41"}`), "page" (`{"id", "first"}`), "search" (`{"text"}`), "select"
    (`{"id"}`, null for none), "rest" and "watch" (sampling pauses while the page is hidden), and "suspend", "resume" and "kill"
    (`{"id"}`), which are answered. A "difference" may have `rows`, `order` (the ids of all rows), `ended`, `totals`, and
    `actor` (the selected one). "nodes" has the topic and the name of each node (`NodeChannel`).
    """

    def join(self, topic: str, payload: Payload) -> Reply:
        """Start sampling; the first difference is the whole tree."""
        own = [self.actor_ref.process, self.socket.transport.process]
        secrets = tuple({*STATE_SECRETS, *self.socket.filter_parameters})
        self._scene = Scene(self, own, secrets)
        self.own(self._scene.end)
        self.begin()
        numbers = [str(process.number) for process in own]
        return ok({"interval": INTERVAL, "own": numbers, "links": self.assigns.get("links", [])})

    def handle_info(self, message: object) -> None:
        """Sample the tree, or continue a search."""
        if message is SAMPLE:
            self.push_nodes()
            self.push_difference(self._scene.sample())
        elif message is _SEARCH:
            self._search_on()
        else:
            super().handle_info(message)

    def _search_on(self) -> None:
        """Search some more actors, then give other actors a turn."""
        if self._scene.search_on():
            self.push_difference(self._scene.difference())
        else:
            self.send(self, _SEARCH)

    def handle_in(self, event: str, payload: Payload) -> object:
        """Carry out a command."""
        if event == "rest":
            self.pause()
            return None
        if event == "watch":
            self.go_on()
            self.push_difference(self._scene.sample())
            return None
        if not self._scene.takes(event):
            return super().handle_in(event, payload)
        reply, difference = self._scene.do(event, payload)
        if event == "search":
            self.send(self, _SEARCH)
        self.push_difference(difference)
        return reply
