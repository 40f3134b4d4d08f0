"""Presence: track, untrack, update, list; and the actor that watches those that are tracked.

As with PubSub, the table belongs to the `Presence` object. It changes at once, in the turn of the caller, and the diff is
broadcast in that turn: what a channel tracks and then pushes arrives in that order. The actor of Presence monitors the tracked
actors and removes those that exit. The table outlives it, so no presence is lost when it crashes.

The table has the presences of this process. If PubSub reaches others, a `PresenceExchange` tells them of each change, and keeps
replicas of theirs; what changes there is told to the clients here in the same way.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from actors.actor import Actor
from actors.callbacks import check_callbacks
from actors.channel import Channel
from actors.channels.encoding import as_json
from actors.channels.message import Broadcast
from actors.exceptions import AlreadyTrackedError, NotTrackedError
from actors.future import run_on
from actors.log import Log
from actors.presence.presence_exchange import PresenceExchange
from actors.presence.presences import Diff, Meta, Metas, Presences
from actors.pubsub.adapter import LocalAdapter
from actors.pubsub.pubsub import nearest_pubsub
from actors.redaction import safe_repr
from actors.ref import ASK_TIMEOUT, ActorRef
from actors.validation import check_seconds
from actors.watcher import WatchedTable, Watcher

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.pubsub.pubsub import PubSub
    from actors.runtime.process import Process

__all__ = ["Presence", "PresenceServer"]

_log = Log("ashtree.presence")

T = TypeVar("T")

# What is listed under one key: {"metas": [meta, …]}, and what `fetch` adds.
Entry = dict[str, Any]
# What clients get: {key: entry}.
Listing = dict[str, Entry]
# A dict or a msgspec.Struct.
NewMeta = Any
Tracked = Actor | ActorRef


class Presence(WatchedTable):
    """The users on each topic, listed and reported to its clients; safe to use from any actor and thread once it has started.

    Create one for your application as a child of its `System`. A channel tracks its client and sends it the list:

        presence = Presence()

        class RoomChannel(Channel):
            def join(self, topic, payload):
                self.send(self, "after_join")
                return ok()

            def handle_info(self, message):
                presence.track(self, self.assigns["user"], {"status": "here"})
                self.push("presence_state", presence.list(self.topic))

        System([presence, Endpoint(…)])

    A presence is an actor under a key on a topic, with a meta; several actors may share a key, as a user's tabs do. Each change
    is broadcast on the topic, in this process and in order, as the event "presence_diff". The presences of an actor end when it
    exits.

    It uses the PubSub of its own tree: a child of its supervisor, or of one above. If that reaches other processes, what is
    tracked there by the Presence of the same name is listed and reported here too, until their process ends.

    - `name`: the name that its actor is registered under; two presences on one event loop need two names.
    - `broadcast_period`: seconds between two signs of life to other processes.
    - `down_period`: seconds without one after which the presences of a process leave, at least twice the former. The options
      are those of Phoenix.Tracker, and are to be the same in all processes.

    Subclass it to override `fetch` or `handle_metas`.

    Raises:
        ValueError: naming the invalid option, with its value.
    """

    another_name = 'each Presence on an event loop needs its own name: Presence(name="other")'

    server: PresenceServer | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Raise TypeError if a callback cannot be called as one."""
        super().__init_subclass__(**kwargs)
        check_callbacks(cls, ("fetch",), plain=True, instead="load what it needs beforehand, in an actor")
        check_callbacks(cls, ("handle_metas",))

    def __init__(self, name: str = "presence", *, broadcast_period: float = 1.5, down_period: float = 30.0) -> None:
        super().__init__(name)
        check_seconds("broadcast_period", broadcast_period, "> 0")
        check_seconds("down_period", down_period)
        if down_period < 2 * broadcast_period:
            at_least = f"at least 2 * broadcast_period, which is {broadcast_period:g}"
            raise ValueError(f"down_period must be {at_least}, got {down_period:g}")
        self.presences: Presences[Process] = Presences()
        self.exchange: PresenceExchange | None = None
        self._periods = broadcast_period, down_period
        self._pubsub: PubSub | None = None

    # Callbacks, to be overridden

    def fetch(self, topic: str, presences: Listing) -> Listing:
        """Return the presences with additional data for the clients: `{key: {"metas": […], "user": …}}`.

        It is called for every list and every diff, in the thread of the event loop, and must not block. Metas must keep their
        `phx_ref`, by which clients identify them. If it raises, `list` raises that error, and a diff is sent as it was before
        `fetch`.
        """
        return presences

    def handle_metas(self, topic: str, diff: dict[str, Listing], presences: Metas) -> Any | None:
        """Handle a change: `diff` as it was broadcast, `presences` the metas of each key after it; may be `async`.

        It is called by the Presence actor, in the order of the diffs. An exception ends that actor, which is restarted; changes
        that waited in its mailbox are lost to this method.
        """

    # What applications call

    @overload
    def track(self, channel: Channel, key: object, meta: NewMeta, /) -> str: ...

    @overload
    def track(self, actor: Tracked, topic: str, key: object, meta: NewMeta, /) -> str: ...

    def track(self, actor: Tracked, /, *args: object) -> str:
        """Add a presence: a channel on its own topic, or any actor on the topic named; return its `phx_ref`.

        Clients see the key as text, and the meta as JSON with its `phx_ref`.

        Raises:
            AlreadyTrackedError: if the actor is on the topic under that key.
            ActorDeadError: if the actor has exited.
            TypeError: if the meta is not an object, or cannot be sent as JSON; the UnencodableError names the part at fault.
        """
        process, topic, key, meta = _arguments("track", actor, args, "key", "meta")
        return self._in_loop(self._track, process, topic, str(key), _plain(topic, key, meta))

    def _track(self, process: Process, topic: str, key: str, meta: Meta) -> str:
        if not process.alive:
            raise process.dead(" and cannot be tracked")
        if self.presences.get(process, topic, key) is not None:
            raise AlreadyTrackedError(process.ref, topic, key)
        watched = self.presences.tracks(process)
        meta["phx_ref"] = ref = _new_ref()
        diff = self.presences.track(process, topic, key, meta)
        if not watched and self.server is not None:
            self.server.watch(process)
        self._changed(diff)
        return ref

    @overload
    def update(self, channel: Channel, key: object, meta: NewMeta | Callable[[Meta], NewMeta], /) -> str: ...

    @overload
    def update(self, actor: Tracked, topic: str, key: object, meta: NewMeta | Callable[[Meta], NewMeta], /) -> str: ...

    def update(self, actor: Tracked, /, *args: object) -> str:
        """Replace the meta of a presence, by another one or by what a function returns for it; return its new `phx_ref`.

        The new meta has the previous `phx_ref` as `phx_ref_prev`.

        Raises:
            NotTrackedError: if the actor is not on the topic under that key.
            TypeError: if the meta is not an object, or cannot be sent as JSON; the UnencodableError names the part at fault.
        """
        process, topic, key, meta = _arguments("update", actor, args, "key", "meta")
        change = meta if callable(meta) else lambda _: meta
        return self._in_loop(self._update, process, topic, str(key), change)

    def _update(self, process: Process, topic: str, key: str, change: Callable[[Meta], NewMeta]) -> str:
        before = self.presences.get(process, topic, key)
        if before is None:
            raise NotTrackedError(process.ref, topic, key)
        meta = _plain(topic, key, change(deepcopy(before)))
        meta["phx_ref"] = ref = _new_ref()
        meta["phx_ref_prev"] = before["phx_ref"]
        self._changed(self.presences.update(process, topic, key, meta))
        return ref

    @overload
    def untrack(self, channel: Channel, key: object, /) -> None: ...

    @overload
    def untrack(self, actor: Tracked, topic: str, key: object, /) -> None: ...

    def untrack(self, actor: Tracked, /, *args: object) -> None:
        """Remove a presence; do nothing if there is none."""
        process, topic, key = _arguments("untrack", actor, args, "key")
        self._in_loop(self._untrack, process, topic, str(key))

    def _untrack(self, process: Process, topic: str, key: str) -> None:
        diff = self.presences.untrack(process, topic, key)
        if diff is None:
            return
        if self.server is not None and not self.presences.tracks(process):
            self.server.unwatch(process)
        self._changed(diff)

    def get_by_key(self, topic: str | Channel, key: object) -> Entry | None:
        """Return the entry of one key in `list`, or None."""
        return self._in_loop(self._get_by_key, _topic(topic), str(key))

    def _get_by_key(self, topic: str, key: str) -> Entry | None:
        metas = self.presences.of_key(topic, key)
        if self.exchange is not None:
            metas += self.exchange.replicas.of_key(topic, key)
        return self._fetched(topic, {key: metas}).get(key) if metas else None

    def list(self, topic: str | Channel) -> Listing:
        """Return the presences on a topic: `{key: {"metas": [meta, …]}}`, metas in the order of their last change.

        Those of this process come first, then those of each other one. It is the payload of "presence_state", the event that
        clients expect first.
        """
        return self._in_loop(self._list, _topic(topic))

    def _list(self, topic: str) -> Listing:
        return self._fetched(topic, self._metas(topic))

    def _metas(self, topic: str) -> Metas:
        """Return the metas of each key of a topic, in all processes."""
        metas = self.presences.of(topic)
        if self.exchange is not None:
            self.exchange.replicas.add_to(topic, metas)
        return metas

    # Diffs

    def _changed(self, diff: Diff) -> None:
        """Tell of a change of the presences of this process."""
        self._tell(diff)
        if self.exchange is not None:
            self.exchange.changed(diff)

    def changed_elsewhere(self, diffs: Iterable[Diff]) -> None:
        """Tell the clients of this process of changes in other ones."""
        assert self._pubsub is not None
        for diff in diffs:
            if self._handles_metas or self._pubsub.is_subscribed(diff.topic):
                self._tell(diff)

    @property
    def _handles_metas(self) -> bool:
        return type(self).handle_metas is not Presence.handle_metas

    def _tell(self, diff: Diff) -> None:
        """Broadcast a change on its topic even if `fetch` raises: a presence that has ended must leave the clients' lists."""
        try:
            payload = {"joins": self._fetched(diff.topic, diff.joins), "leaves": self._fetched(diff.topic, diff.leaves)}
            self._broadcast(diff.topic, payload)
        except Exception:  # noqa: BLE001  # an error of the author's, who reads the log
            _log.exception("a diff of %s is sent without what %s.fetch() adds", diff.topic, type(self).__name__)
            payload = {"joins": _listing(diff.joins), "leaves": _listing(diff.leaves)}
            self._broadcast(diff.topic, payload)
        if self.server is not None and self._handles_metas:
            self.server.changed(diff.topic, payload, self._metas(diff.topic))

    def _fetched(self, topic: str, metas: Metas) -> Listing:
        if not metas:
            return {}
        fetched = self.fetch(topic, _listing(metas))
        if not isinstance(fetched, dict):
            raise TypeError(f'fetch() must return a dict such as {{key: {{"metas": […]}}}}, got {safe_repr(fetched)}')
        return fetched

    def _broadcast(self, topic: str, payload: dict[str, Listing]) -> None:
        # Each process tells its own clients.
        assert self._pubsub is not None
        self._pubsub.local_broadcast(topic, Broadcast(topic, "presence_diff", payload))

    # What its supervisor and its watcher call

    @property
    def actor(self) -> type[PresenceServer]:
        """The actor that a supervisor starts with it, under its name."""
        return PresenceServer

    def attach(self, server: Watcher, process: Process) -> None:
        """Register the watcher that runs from now on, and find the PubSub of its tree; called by the watcher."""
        super().attach(server, process)
        self._pubsub = nearest_pubsub(process, self._pubsub)
        if self._pubsub is None:
            raise RuntimeError("a Presence needs a PubSub that runs before it; make it a child of a System")

    def exchange_by(self, server: PresenceServer) -> Coroutine[Any, Any, None] | None:
        """Return what begins to exchange presences with other processes, None if PubSub reaches none."""
        pubsub = self._pubsub
        assert pubsub is not None
        if isinstance(pubsub.adapter, LocalAdapter):
            self.exchange = None
            return None
        if self.exchange is None:
            self.exchange = PresenceExchange(self.name, self.presences.entries, self._periods, server, pubsub)
        return self.exchange.start(server, pubsub)

    def watched(self) -> Iterable[Process]:
        """Return all tracked processes."""
        return self.presences.actors()

    def drop(self, process: Process) -> None:
        """Remove all presences of an actor that has exited."""
        for diff in self.presences.drop(process):
            self._changed(diff)

    def _in_loop(self, callback: Callable[..., T], *args: object) -> T:
        return run_on(self.scheduler, callback, *args, timeout=ASK_TIMEOUT).get()


def _arguments(verb: str, actor: Tracked, args: tuple[Any, ...], *names: str) -> tuple[Any, ...]:
    """Return process, topic and the rest of a call that may leave out the topic of a channel."""
    if isinstance(actor, Channel) and len(args) == len(names):
        args = (actor.topic, *args)
    if len(args) != len(names) + 1 or not isinstance(args[0], str) or not isinstance(actor, Actor | ActorRef):
        rest = ", ".join(names)
        raise TypeError(f"{verb}() takes (channel, {rest}) or (actor, topic, {rest}), got {safe_repr((actor, *args))}")
    return (actor.actor_ref.process if isinstance(actor, Actor) else actor.process, *args)


def _topic(topic: str | Channel) -> str:
    return topic.topic if isinstance(topic, Channel) else topic


def _plain(topic: str, key: object, meta: NewMeta) -> Meta:
    """Return a meta as clients see it: a copy in JSON's types that the caller cannot change.

    A meta that cannot be encoded raises here, in the turn of its author, and not later, when its leave is broadcast.
    """
    what = f"meta of {safe_repr(key)} on {safe_repr(topic)}"
    as_json(what + ", the key,", str(key))
    plain = msgspec.json.decode(as_json(what, meta))
    if not isinstance(plain, dict):
        raise TypeError(f'a meta must be a dict or a msgspec.Struct, got {safe_repr(meta)}; write {{"value": …}}')
    return plain


def _new_ref() -> str:
    return secrets.token_urlsafe(12)


def _listing(metas: Metas) -> Listing:
    """Return metas as clients get them, copied so that `fetch` may add to them."""
    return {key: {"metas": [meta.copy() for meta in of_key]} for key, of_key in metas.items()}


class _Changed(msgspec.Struct, frozen=True, eq=False):
    """A change, for `handle_metas`."""

    topic: str
    diff: dict[str, Listing]
    presences: Metas


class PresenceServer(Watcher):
    """The actor of a `Presence`: it removes the presences of actors that exit, and calls `handle_metas`."""

    def __init__(self, presence: Presence) -> None:
        super().__init__()
        self.presence = presence

    @property
    def table(self) -> Presence:
        """The Presence."""
        return self.presence

    def on_start(self) -> Any:
        """Watch, and begin to exchange presences with other processes, if there are any."""
        super().on_start()
        return self.presence.exchange_by(self)

    def changed(self, topic: str, diff: dict[str, Listing], presences: Metas) -> None:
        """Call `handle_metas` later, after the calls for earlier changes."""
        self._process.put(_Changed(topic, diff, presences))

    def on_receive(self, message: object) -> object:
        """Call `handle_metas` for a change; exchange presences; remove an actor that has exited."""
        if isinstance(message, _Changed):
            return self.presence.handle_metas(message.topic, message.diff, message.presences)
        exchange = self.presence.exchange
        diffs = None if exchange is None else exchange.handle(message)
        if diffs is not None:
            self.presence.changed_elsewhere(diffs)
            return None
        return super().on_receive(message)

    def terminate(self, reason: ExitReason) -> object:
        """Tell other processes of an orderly end; after a crash the presences are still there."""
        if reason.is_graceful and self.presence.exchange is not None:
            self.presence.exchange.end()
        return super().terminate(reason)
