"""What a Presence exchanges with those of other processes: it carries out what `replicas.py` decides, by PubSub.

There is one reserved topic for all, and one for each run, for what is sent to it alone. So any adapter carries it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from actors.log import Log
from actors.log_limit import LogLimit
from actors.presence.announcer import Announcer
from actors.presence.replica_messages import ReplicaMessageError, pack_message, unpack_message
from actors.presence.replicas import Replicas
from actors.pubsub.peer_message import NODES
from actors.redaction import safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.actor import Actor
    from actors.clock import Timer
    from actors.presence.presences import Diff, Meta
    from actors.pubsub.pubsub import PubSub

__all__ = ["PresenceExchange"]

_log = Log("ashtree.presence")

_LOG_SECONDS = 10.0
"""Seconds in which an error of each kind is logged once."""
_SHOWN = 100
"""Characters of a node in the log."""


class _PresenceDue:
    """What the actor gets when something is due."""


class PresenceExchange:
    """The replicas of a Presence, and the actor that sends and receives for them; it outlives that actor.

    `entries()` returns the topic, key and meta of each presence of this process.
    """

    def __init__(
        self,
        name: str,
        entries: Callable[[], Iterable[tuple[str, str, Meta]]],
        periods: tuple[float, float],
        actor: Actor,
        pubsub: PubSub,
    ) -> None:
        self._topic, self._entries = f"\0presence:{name}", entries
        self._actor, self._pubsub = actor, pubsub
        self._limit: LogLimit[str] = LogLimit(1, _LOG_SECONDS)
        self._timer: Timer | None = None
        self._due = 0.0
        self._has_ended = False
        self.replicas = Replicas(self._new_run(), *periods, actor.clock.now())

    def _new_run(self) -> Announcer:
        return Announcer(self._pubsub.node, secrets.token_urlsafe(9), self._entries)

    async def start(self, actor: Actor, pubsub: PubSub) -> None:
        """Send and receive by this actor from now on; return when what others send arrives here, or not soon."""
        self._actor, self._pubsub, self._timer = actor, pubsub, None
        if self._has_ended:
            self._has_ended = False
            self.replicas.begin(self._new_run())
        # Otherwise its actor has crashed. The presences have outlived it, and so has what was told of them.
        topics = (NODES, self._topic, f"{self._topic}:{self.replicas.run}")
        await asyncio.gather(*map(self._subscribe, topics))
        self._set_timer()

    async def _subscribe(self, topic: str) -> None:
        try:
            async with self._pubsub.held(topic):
                self._pubsub.subscribe(topic, self._actor.actor_ref)
        except Exception:  # noqa: BLE001  # the adapter's code may raise anything, and presences of this process need none
            _log.exception("%r raised: presences of other processes are not known here", self._pubsub.adapter)

    def end(self) -> None:
        """Say that the presences of this process end."""
        self._has_ended = True
        self.replicas.end(self._actor.clock.now())
        self._send()

    def changed(self, diff: Diff) -> None:
        """Tell the others of a change soon, together with others."""
        self.replicas.changed(diff)
        self._set_timer()

    def handle(self, message: object) -> list[Diff] | None:
        """Handle a message that its actor has got; return what changes for the clients here, None if it is not its own."""
        match message:
            case bytes():
                diffs = self._receive(message)
            case _PresenceDue():
                diffs = self._wake()
            case {"down": str(node)}:
                diffs = self.replicas.node_down(node)
            case _:
                return None
        self._send()
        self._set_timer()
        return diffs

    def _wake(self) -> list[Diff]:
        self._timer = None
        diffs = self.replicas.wake(self._actor.clock.now())
        for node in self.replicas.silent:
            _log.warning("%s is silent: its presences leave", safe_repr(node, _SHOWN))
        self.replicas.silent.clear()
        return diffs

    def _receive(self, data: bytes) -> list[Diff]:
        try:
            return self.replicas.receive(unpack_message(data), self._actor.clock.now())
        except ReplicaMessageError as error:
            # Of a program that does not follow the form, or of another version of this one.
            if self._admits("malformed"):
                _log.warning("a message of another process about presences is ignored: %s", error)
            return []

    def _send(self) -> None:
        for run, message in self.replicas.take_outgoing():
            topic = self._topic if run is None else f"{self._topic}:{run}"
            try:
                self._pubsub.broadcast_from(self._actor.actor_ref, topic, pack_message(message))
            except Exception:  # noqa: BLE001  # the adapter's code may raise anything, and the next message may get through
                if self._admits("adapter"):
                    _log.exception("%r raised: other processes are not told of presences", self._pubsub.adapter)

    def _admits(self, kind: str) -> bool:
        return self._limit.admit(kind, self._actor.clock.now()) is not None

    def _set_timer(self) -> None:
        actor = self._actor
        if not actor.actor_ref.is_alive():
            # The next one begins with what is due.
            return
        now = actor.clock.now()
        seconds = self.replicas.due(now)
        if self._timer is not None:
            if self._due <= now + seconds:
                return
            self._timer.cancel()
        self._due = now + seconds
        self._timer = actor.send_after(seconds, _PresenceDue())
