"""The other processes that are known: plain data, no actor, no time but as an argument."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FORGOTTEN_AFTER", "KnownPeers", "Peer"]

FORGOTTEN_AFTER = 30.0
"""Seconds after which a process that says nothing is forgotten (Phoenix.Tracker's `down_period`)."""

_MOST = 10_000
"""Processes that are known, and as many of which it is known that they have ended."""


class Peer(NamedTuple):
    """Another process: the run that it is addressed by, and its name for people."""

    run: str
    node: str


class KnownPeers:
    """The processes that have spoken, in the order in which they have first, until they end or are silent for too long."""

    def __init__(self) -> None:
        self._heard: dict[Peer, float] = {}
        self._runs: dict[str, Peer] = {}
        self._ended: dict[str, None] = {}

    def __contains__(self, run: str) -> bool:
        return run in self._runs

    def heard(self, run: str, node: str, now: float) -> None:
        """Know a process, which has spoken."""
        if run not in self._runs:
            if run in self._ended or len(self._runs) >= _MOST:
                return
            self._runs[run] = Peer(run, node)
        self._heard[self._runs[run]] = now

    def ended(self, run: str) -> None:
        """Forget a process that has ended; its run never speaks again."""
        self._forget(run)
        self._ended[run] = None
        if len(self._ended) > _MOST:
            del self._ended[next(iter(self._ended))]

    def has_ended(self, run: str) -> bool:
        """Return whether a process is known to have ended."""
        return run in self._ended

    def of_node(self, node: str) -> list[str]:
        """Return the runs of the processes with a name."""
        return [peer.run for peer in self._heard if peer.node == node]

    def all(self, now: float) -> list[Peer]:
        """Return the processes that may be alive."""
        for peer in [peer for peer, at in self._heard.items() if now - at > FORGOTTEN_AFTER]:
            self._forget(peer.run)
        return list(self._heard)

    def _forget(self, run: str) -> None:
        peer = self._runs.pop(run, None)
        if peer is not None:
            del self._heard[peer]
