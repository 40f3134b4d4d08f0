"""Who is present on a topic: a client's copy of the list that a server's Presence keeps (phoenix.js' Presence)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from actors.callbacks import check_function

if TYPE_CHECKING:
    from transport.client.protocol.effects import Callback

__all__ = ["Entry", "Joined", "Left", "Presence", "State", "sync_diff", "sync_state"]

Entry = Mapping[str, Any]
"""The entry of a key: its `metas`, one for each time that it is present, and what the server's `fetch` has added."""

State = Mapping[str, Entry]

Diff = Mapping[str, State]
"""The `joins` and the `leaves` of a diff."""

Joined = Callable[[str, Entry | None, Entry], object]
"""Called with the key, its previous entry (None if it was not present), and the entry with the new metas."""

Left = Callable[[str, Entry, Entry], object]
"""Called with the key, its remaining entry (without metas if it left entirely), and the entry with the removed metas."""

Item = TypeVar("Item")


class PresenceChannel(Protocol):
    """The part of a channel that a presence uses."""

    @property
    def join_ref(self) -> str | None:
        """The ref of the last join."""

    def on(self, event: str, callback: Callback) -> int:
        """Call a callback for each event of that name."""

    def call(self, callback: Callable[..., object], *args: object) -> None:
        """Call a user's function; log what it raises, and run an awaitable that it returns as a task."""


class Presence:
    """The presences on a channel's topic, kept up to date by the events `presence_state` and `presence_diff`.

    Create it before the channel is joined. After a rejoin, diffs are held back until the new state has been received.
    """

    def __init__(
        self, channel: PresenceChannel, *, state_event: str = "presence_state", diff_event: str = "presence_diff"
    ) -> None:
        self.state: State = {}
        self._channel = channel
        self._join_ref: str | None = None
        self._pending: list[Diff] = []
        self._joined: Joined = _ignore
        self._left: Left = _ignore
        self._synced: Callable[[], object] = _ignore
        channel.on(state_event, self._on_state)
        channel.on(diff_event, self._on_diff)

    def on_join(self, callback: Joined) -> None:
        """Call `callback(key, current, new)` for each join; `current` is None if the key was not present before."""
        check_function("a callback of the client", callback, plain=False)
        self._joined = partial(self._channel.call, callback)

    def on_leave(self, callback: Left) -> None:
        """Call `callback(key, current, left)` for each leave; `current` has no metas if the key is no longer present."""
        check_function("a callback of the client", callback, plain=False)
        self._left = partial(self._channel.call, callback)

    def on_sync(self, callback: Callable[[], object]) -> None:
        """Call `callback()` after each change."""
        check_function("a callback of the client", callback, plain=False)
        self._synced = partial(self._channel.call, callback)

    @overload
    def list(self) -> list[Entry]: ...

    @overload
    def list(self, by: Callable[[str, Any], Item]) -> list[Item]: ...

    def list(self, by: Callable[[str, Any], Item] | None = None) -> list[Entry] | list[Item]:
        """Return the entry of each key, or what `by(key, entry)` returns for it."""
        if by is None:
            return [*self.state.values()]
        return [by(key, entry) for key, entry in self.state.items()]

    @property
    def is_pending(self) -> bool:
        """Whether the state of the last join has not been received yet."""
        return self._join_ref is None or self._join_ref != self._channel.join_ref

    def _on_state(self, new: State) -> None:
        self._join_ref = self._channel.join_ref
        self.state = sync_state(self.state, new, self._joined, self._left)
        pending, self._pending = self._pending, []
        for diff in pending:
            self.state = sync_diff(self.state, diff, self._joined, self._left)
        self._synced()

    def _on_diff(self, diff: Diff) -> None:
        if self.is_pending:
            self._pending.append(diff)
        else:
            self.state = sync_diff(self.state, diff, self._joined, self._left)
            self._synced()


def _ignore(*_args: object) -> None:
    pass


def sync_state(state: State, new: State, on_join: Joined = _ignore, on_leave: Left = _ignore) -> State:
    """Return the state after a full state from the server; report the changes. Neither argument is modified."""
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


def sync_diff(state: State, diff: Diff, on_join: Joined = _ignore, on_leave: Left = _ignore) -> State:
    """Return the state after a diff from the server: its `joins`, then its `leaves`. Neither argument is modified."""
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
    """Return the metas whose ref is not one of these."""
    return [meta for meta in entry["metas"] if meta["phx_ref"] not in refs]
