"""Presence: track, untrack, update, list; and the actor that watches whom it tracks.

As with PubSub, the table belongs to the `Presence` object and changes at once, in the turn of whoever changes it, and the diff
goes out in that turn: what a channel tracks and then pushes arrives in that order. The actor's part is to watch: it monitors
whoever is tracked and takes the dead out of the table. The table outlives it, so that its crash loses nobody.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from actors.actor import Actor
from actors.channel import Channel
from actors.channels.message import Broadcast
from actors.exceptions import ActorDeadError, AlreadyTrackedError, NotTrackedError
from actors.exits import Down
from actors.future import run_on
from actors.presence.presences import Diff, Meta, Metas, Presences
from actors.ref import ASK_TIMEOUT, ActorRef

if TYPE_CHECKING:
    from actors.exits import MonitorRef
    from actors.pubsub.pubsub import PubSub
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler

__all__ = ["Presence", "PresenceServer"]

_log = logging.getLogger("ashtree.presence")

T = TypeVar("T")

# What clients get, and `fetch` may add to: {key: {"metas": [meta, …]}}.
Listing = dict[str, dict[str, Any]]
# A dict or a msgspec.Struct.
NewMeta = Any


class Presence:
    """Who is on which topic, told to all who are there. Safe to use from any actor and any thread once it has started.

    Make one for your application, and a child of its `System`. A channel tracks its client and gives it the list:

        presence = Presence()

        class RoomChannel(Channel):
            def join(self, topic, payload):
                self.send(self, "after_join")
                return ok()

            def handle_info(self, message):
                presence.track(self, self.assigns["user"], {"status": "here"})
                self.push("presence_state", presence.list(self.topic))

        System([presence, Endpoint(…)])

    A presence is an actor under a key on a topic, with a meta; several actors may have the same key, as a user's tabs do. Each
    change is broadcast on the topic, in order, as the event "presence_diff". When the actor ends, so do its presences.

    Subclass it to write `fetch` or `handle_metas`.
    """

    def __init__(self, name: str = "presence") -> None:
        self.name = name
        self.presences: Presences[Process] = Presences()
        self.server: PresenceServer | None = None
        self._scheduler: Scheduler | None = None
        self._pubsub: PubSub | None = None

    # What the author writes

    def fetch(self, topic: str, presences: Listing) -> Listing:
        """Return the presences with what clients should know besides: `{key: {"metas": […], "user": …}}`.

        It is called for lists and for diffs, wherever they are made, and must not block. Metas keep their `phx_ref`, by which
        clients know them. If it fails, a list raises the error, and a diff goes out without what `fetch` would have added.
        """
        return presences

    def handle_metas(self, topic: str, diff: dict[str, Listing], presences: Metas) -> Any:
        """Act on a change: `diff` as it was broadcast, `presences` the metas of each key after it; may be `async`.

        It is called in the turn of the Presence actor, in the order of the diffs. An exception ends that actor, which is
        restarted; the changes that it was still to be told of are lost to it.
        """

    # What the author calls

    @overload
    def track(self, channel: Channel, key: object, meta: NewMeta, /) -> str: ...

    @overload
    def track(self, actor: Actor | ActorRef[Any], topic: str, key: object, meta: NewMeta, /) -> str: ...

    def track(self, actor: Actor | ActorRef[Any], /, *args: Any) -> str:
        """Add a presence: a channel on its own topic, or any actor on the topic named; return its `phx_ref`.

        Clients see the key as text, and the meta as JSON with its `phx_ref`.

        Raises:
            AlreadyTrackedError: if the actor is on the topic under that key.
            ActorDeadError: if the actor is dead.
            TypeError: if the meta is no object, or cannot be sent.
        """
        process, topic, key, meta = _arguments("track", actor, args, "key", "meta")
        return self._in_loop(self._track, process, topic, *_plain(key, meta))

    def _track(self, process: Process, topic: str, key: str, meta: Meta) -> str:
        if not process.alive:
            raise ActorDeadError(f"{process.name} is dead and cannot be tracked")
        if self.presences.get(process, topic, key) is not None:
            raise AlreadyTrackedError(process.ref, topic, key)
        watched = self.presences.tracks(process)
        meta["phx_ref"] = ref = _new_ref()
        diff = self.presences.track(process, topic, key, meta)
        if not watched and self.server is not None:
            self.server.watch(process)
        self._tell(diff)
        return ref

    @overload
    def update(self, channel: Channel, key: object, meta: NewMeta | Callable[[Meta], NewMeta], /) -> str: ...

    @overload
    def update(
        self, actor: Actor | ActorRef[Any], topic: str, key: object, meta: NewMeta | Callable[[Meta], NewMeta], /
    ) -> str: ...

    def update(self, actor: Actor | ActorRef[Any], /, *args: Any) -> str:
        """Give a presence another meta, or what a function makes of its meta; return its new `phx_ref`.

        The meta carries the one it had before as `phx_ref_prev`.

        Raises:
            NotTrackedError: if the actor is not on the topic under that key.
            TypeError: if the meta is no object, or cannot be sent.
        """
        process, topic, key, meta = _arguments("update", actor, args, "key", "meta")
        change = meta if callable(meta) else lambda _: meta
        return self._in_loop(self._update, process, topic, str(key), change)

    def _update(self, process: Process, topic: str, key: str, change: Callable[[Meta], NewMeta]) -> str:
        before = self.presences.get(process, topic, key)
        if before is None:
            raise NotTrackedError(process.ref, topic, key)
        _, meta = _plain(key, change(deepcopy(before)))
        meta["phx_ref"] = ref = _new_ref()
        meta["phx_ref_prev"] = before["phx_ref"]
        self._tell(self.presences.update(process, topic, key, meta))
        return ref

    @overload
    def untrack(self, channel: Channel, key: object, /) -> None: ...

    @overload
    def untrack(self, actor: Actor | ActorRef[Any], topic: str, key: object, /) -> None: ...

    def untrack(self, actor: Actor | ActorRef[Any], /, *args: Any) -> None:
        """End a presence; nothing happens if there is none."""
        process, topic, key = _arguments("untrack", actor, args, "key")
        self._in_loop(self._untrack, process, topic, str(key))

    def _untrack(self, process: Process, topic: str, key: str) -> None:
        diff = self.presences.untrack(process, topic, key)
        if diff is None:
            return
        if self.server is not None and not self.presences.tracks(process):
            self.server.unwatch(process)
        self._tell(diff)

    def get_by_key(self, topic: str | Channel, key: object) -> dict[str, Any] | None:
        """Return what `list` has for one key, or None."""
        return self._in_loop(self._get_by_key, _topic(topic), str(key))

    def _get_by_key(self, topic: str, key: str) -> dict[str, Any] | None:
        metas = self.presences.of_key(topic, key)
        return self._fetched(topic, {key: metas}).get(key) if metas else None

    def list(self, topic: str | Channel) -> Listing:
        """Return who is on a topic: `{key: {"metas": [meta, …]}}`, metas in the order they were tracked or updated.

        It is the payload of "presence_state", the event that clients expect to begin with.
        """
        return self._in_loop(self._list, _topic(topic))

    def _list(self, topic: str) -> Listing:
        return self._fetched(topic, self.presences.of(topic))

    # Diffs

    def _tell(self, diff: Diff) -> None:
        """Broadcast a change on its topic, whatever `fetch` may do: who has gone must not stay on the clients' lists."""
        try:
            payload = {"joins": self._fetched(diff.topic, diff.joins), "leaves": self._fetched(diff.topic, diff.leaves)}
            self._broadcast(diff.topic, payload)
        except Exception:  # noqa: BLE001  # what it does is its author's, who reads the log
            _log.exception("a diff of %s goes out without what %s.fetch() adds", diff.topic, type(self).__name__)
            payload = {"joins": _listing(diff.joins), "leaves": _listing(diff.leaves)}
            self._broadcast(diff.topic, payload)
        if self.server is not None and type(self).handle_metas is not Presence.handle_metas:
            self.server.changed(diff.topic, payload, self.presences.of(diff.topic))

    def _fetched(self, topic: str, metas: Metas) -> Listing:
        if not metas:
            return {}
        fetched = self.fetch(topic, _listing(metas))
        if not isinstance(fetched, dict):
            raise TypeError(f'fetch() must return a dict such as {{key: {{"metas": […]}}}}, got {fetched!r}')
        return fetched

    def _broadcast(self, topic: str, payload: dict[str, Listing]) -> None:
        assert self._pubsub is not None
        self._pubsub.broadcast(topic, Broadcast(topic, "presence_diff", payload))

    # What its supervisor and its actor call

    @property
    def actor(self) -> type[PresenceServer]:
        """The actor that a supervisor starts with it, under its name."""
        return PresenceServer

    def attach(self, server: PresenceServer, scheduler: Scheduler) -> None:
        """Take note of the actor that watches from now on, and of the PubSub of its system."""
        if self.server is not None and self.server.actor_ref.is_alive():
            raise RuntimeError(f"Presence {self.name!r} is running already; each System needs one of its own")
        found = scheduler.names.lookup("pubsub")
        # If both have crashed, PubSub may be back only after us; its table, and so its object, is the one we know.
        pubsub = found[0][1] if found else self._pubsub
        if pubsub is None:
            raise RuntimeError("a Presence needs a PubSub that runs before it; make it a child of a System")
        self.server, self._scheduler, self._pubsub = server, scheduler, pubsub

    def drop(self, process: Process) -> None:
        """End all presences of an actor that has ended."""
        for diff in self.presences.drop(process):
            self._tell(diff)

    def _in_loop(self, callback: Callable[..., T], *args: Any) -> T:
        scheduler = self._scheduler
        if scheduler is None or scheduler.loop.is_closed():
            raise RuntimeError(f"Presence {self.name!r} is not running; make it a child of a System")
        return run_on(scheduler, callback, *args, timeout=ASK_TIMEOUT).get()


def _arguments(verb: str, actor: Actor | ActorRef[Any], args: tuple[Any, ...], *names: str) -> tuple[Any, ...]:
    """Return process, topic and the rest of a call that may leave out the topic of a channel."""
    if isinstance(actor, Channel) and len(args) == len(names):
        args = (actor.topic, *args)
    if len(args) != len(names) + 1 or not isinstance(args[0], str) or not isinstance(actor, Actor | ActorRef):
        rest = ", ".join(names)
        raise TypeError(f"{verb}() takes (channel, {rest}) or (actor, topic, {rest}), got {(actor, *args)!r}")
    return (actor.actor_ref.process if isinstance(actor, Actor) else actor.process, *args)


def _topic(topic: str | Channel) -> str:
    return topic.topic if isinstance(topic, Channel) else topic


def _plain(key: object, meta: NewMeta) -> tuple[str, Meta]:
    """Return key and meta as clients see them: text, and a copy in JSON's types that nobody else can change.

    What cannot be sent is refused here, where its author is told, and not when its end must be told to others.
    """
    [(text, plain)] = msgspec.json.decode(msgspec.json.encode({str(key): meta})).items()
    if not isinstance(plain, dict):
        raise TypeError(f'a meta must be a dict or a msgspec.Struct, got {meta!r}; write {{"value": …}}')
    return text, plain


def _new_ref() -> str:
    return secrets.token_urlsafe(12)


def _listing(metas: Metas) -> Listing:
    """Return metas as clients get them, in copies that `fetch` may add to."""
    return {key: {"metas": [meta.copy() for meta in of_key]} for key, of_key in metas.items()}


class _Changed(msgspec.Struct, frozen=True, eq=False):
    """A change, for `handle_metas`."""

    topic: str
    diff: dict[str, Listing]
    presences: Metas


class PresenceServer(Actor):
    """Watches whom a `Presence` tracks: a presence ends with its actor."""

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        self._monitors: dict[Process, MonitorRef] = {}

    def on_start(self) -> None:
        """Watch everybody that the table names; after a restart, those who have died meanwhile tell so at once."""
        self.presence.attach(self, self._process.scheduler)
        self._process.scheduler.names.register(self.presence.name, self.actor_ref, self.presence)
        for process in self.presence.presences.actors():
            self.watch(process)

    def watch(self, process: Process) -> None:
        """Monitor somebody who is tracked."""
        if self._process.alive:
            self._monitors[process] = self._process.monitor(process)

    def unwatch(self, process: Process) -> None:
        """End the monitor of somebody who is tracked no more."""
        monitor = self._monitors.pop(process, None)
        if monitor is not None:
            self._process.demonitor(monitor, flush=False)

    def changed(self, topic: str, diff: dict[str, Listing], presences: Metas) -> None:
        """Call `handle_metas` in a turn of this actor's, after those of earlier changes."""
        self._process.put(_Changed(topic, diff, presences))

    def on_receive(self, message: Any) -> Any:
        """Take the dead out of the table; hand on changes."""
        match message:
            case Down(actor=ref):
                if self._monitors.pop(ref.process, None) is not None:
                    self.presence.drop(ref.process)
                return None
            case _Changed(topic=topic, diff=diff, presences=presences):
                return self.presence.handle_metas(topic, diff, presences)
        return super().on_receive(message)
