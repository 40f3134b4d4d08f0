"""The algorithm of phoenix.js's `Presence`, with which every client keeps its list."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

State = dict[str, dict[str, Any]]


class PresenceClient:
    """A client that is sent `presence_state` and `presence_diff`; what comes before the first state waits for it."""

    def __init__(self) -> None:
        self.state: State = {}
        self._pending: list[dict[str, State]] | None = []

    def receive(self, event: str, payload: Any) -> None:
        if event == "presence_diff" and self._pending is not None:
            self._pending.append(payload)
        elif event == "presence_diff":
            sync_diff(self.state, payload)
        elif event == "presence_state":
            sync_state(self.state, payload)
            waiting, self._pending = self._pending or [], None
            for diff in waiting:
                sync_diff(self.state, diff)

    def rejoin(self) -> None:
        """Join anew, as after a crash of the channel: the list stays until the next state."""
        self._pending = []


def refs(presence: dict[str, Any]) -> set[str]:
    return {meta["phx_ref"] for meta in presence["metas"]}


def without(presence: dict[str, Any], gone: set[str]) -> list[dict[str, Any]]:
    return [meta for meta in presence["metas"] if meta["phx_ref"] not in gone]


def sync_state(state: State, new: State) -> None:
    joins, leaves = {}, {key: presence for key, presence in state.items() if key not in new}
    for key, presence in new.items():
        current = state.get(key, {"metas": []})
        if joined := without(presence, refs(current)):
            joins[key] = {**presence, "metas": joined}
        if left := without(current, refs(presence)):
            leaves[key] = {**current, "metas": left}
    sync_diff(state, {"joins": joins, "leaves": leaves})


def sync_diff(state: State, diff: dict[str, State]) -> None:
    diff = deepcopy(diff)
    for key, presence in diff["joins"].items():
        current = state.get(key, {"metas": []})
        state[key] = {**presence, "metas": without(current, refs(presence)) + presence["metas"]}
    for key, presence in diff["leaves"].items():
        if key in state:
            state[key]["metas"] = without(state[key], refs(presence))
            if not state[key]["metas"]:
                del state[key]
