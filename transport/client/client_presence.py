"""Who is here: the list that a server's Presence keeps, followed by a client (phoenix.js' Presence)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

__all__ = ["Entry", "Joined", "Left", "Presence", "State", "sync_diff", "sync_state"]

Entry = Mapping[str, Any]
"""What is known of a key: its `metas`, one for each time that it is present, and what the server's `fetch` has added."""

State = Mapping[str, Entry]

Joined = Callable[[str, Entry | None, Entry], object]
"""Called with the key, its entry before (None if it was not here at all), and what has come."""

Left = Callable[[str, Entry, Entry], object]
"""Called with the key, its entry after (without metas if it is gone), and what has gone."""

Item = TypeVar("Item")


class Followed(Protocol):
    """The part of a channel that a presence needs."""

    @property
    def join_ref(self) -> str | None:
        """The ref of the last join."""

    def on(self, event: str, callback: Callable[[Any], object]) -> int:
        """Have a callback called for an event."""

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Call a function of the user's; what it raises is logged, and a coroutine that it returns runs as a task."""


class Presence:
    """The presences on a channel's topic, kept up to date by the events `presence_state` and `presence_diff`.

    Make it before the channel is joined. After a rejoin, diffs wait until the new state has come, as they belong to it.
    """

    def __init__(
        self, channel: Followed, *, state_event: str = "presence_state", diff_event: str = "presence_diff"
    ) -> None:
        self.state: State = {}
        self._channel = channel
        self._join_ref: str | None = None
        self._pending: list[Any] = []
        self._joined: Joined = _ignore
        self._left: Left = _ignore
        self._synced: Callable[[], object] = _ignore
        channel.on(state_event, self._on_state)
        channel.on(diff_event, self._on_diff)

    def on_join(self, callback: Joined) -> None:
        """Have `callback(key, current, new)` called when somebody comes; `current` is None if they were not here at all."""
        self._joined = partial(self._channel.call, callback)

    def on_leave(self, callback: Left) -> None:
        """Have `callback(key, current, left)` called when somebody goes; `current` has no metas if they are gone."""
        self._left = partial(self._channel.call, callback)

    def on_sync(self, callback: Callable[[], object]) -> None:
        """Have `callback()` called after each change."""
        self._synced = partial(self._channel.call, callback)

    def list(self, by: Callable[[str, Any], Item] | None = None) -> list[Any]:
        """Return what is known of each key, or what `by(key, entry)` makes of it."""
        return [entry if by is None else by(key, entry) for key, entry in self.state.items()]

    @property
    def is_pending(self) -> bool:
        """Tell whether the state of the last join has not come yet."""
        return self._join_ref is None or self._join_ref != self._channel.join_ref

    def _on_state(self, new: State) -> None:
        self._join_ref = self._channel.join_ref
        self.state = sync_state(self.state, new, self._joined, self._left)
        pending, self._pending = self._pending, []
        for diff in pending:
            self.state = sync_diff(self.state, diff, self._joined, self._left)
        self._synced()

    def _on_diff(self, diff: Any) -> None:
        if self.is_pending:
            self._pending.append(diff)
        else:
            self.state = sync_diff(self.state, diff, self._joined, self._left)
            self._synced()


def _ignore(*_args: object) -> None:
    pass


def sync_state(state: State, new: State, on_join: Joined = _ignore, on_leave: Left = _ignore) -> State:
    """Return the state after the server has sent the whole; tell what has changed. Neither argument is changed."""
    joins, leaves = {}, {key: entry for key, entry in state.items() if key not in new}
    for key, entry in new.items():
        current = state.get(key)
        if current is None:
            joins[key] = entry
            continue
        if joined := _without(entry, _refs(current)):
            joins[key] = {**entry, "metas": joined}
        if left := _without(current, _refs(entry)):
            leaves[key] = {**current, "metas": left}
    return sync_diff(state, {"joins": joins, "leaves": leaves}, on_join, on_leave)


def sync_diff(state: State, diff: Mapping[str, Any], on_join: Joined = _ignore, on_leave: Left = _ignore) -> State:
    """Return the state after a diff of the server: its `joins`, then its `leaves`. Neither argument is changed."""
    synced = dict(state)
    for key, joined in diff["joins"].items():
        current = synced.get(key)
        kept = [] if current is None else _without(current, _refs(joined))
        synced[key] = {**joined, "metas": [*kept, *joined["metas"]]}
        on_join(key, current, joined)
    for key, left in diff["leaves"].items():
        current = synced.get(key)
        if current is None:
            continue
        remaining = {**current, "metas": _without(current, _refs(left))}
        if remaining["metas"]:
            synced[key] = remaining
        else:
            del synced[key]
        on_leave(key, remaining, left)
    return synced


def _refs(entry: Entry) -> set[str]:
    return {meta["phx_ref"] for meta in entry["metas"]}


def _without(entry: Entry, refs: set[str]) -> list[Any]:
    """Return the metas that have none of these refs."""
    return [meta for meta in entry["metas"] if meta["phx_ref"] not in refs]
