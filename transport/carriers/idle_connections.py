"""Connections that have been silent for too long are closed, by one timer for all of them."""

from __future__ import annotations

from typing import Protocol

__all__ = ["IDLE_TIMEOUT", "IdleConnections"]

IDLE_TIMEOUT = 60.0
"""Seconds without a byte from the client after which a connection is closed (Phoenix's); phoenix.js sends one each 30."""

# Looks at all connections in one timeout: a connection is closed up to a twelfth of the timeout late.
_SWEEPS = 12


class Silent(Protocol):
    """A connection as this module sees it: it sets `sweeps` to 0 when something comes in."""

    sweeps: int

    def expire(self) -> None:
        """Close, because nothing has come for too long."""


class IdleConnections:
    """All connections of an endpoint that are to be closed when they are idle.

    Telling that a connection is not idle costs one assignment, so that no timer is set for each message.
    """

    def __init__(self, timeout: float = IDLE_TIMEOUT) -> None:
        if not timeout > 0:
            raise ValueError(f"idle_timeout must be > 0 seconds, got {timeout!r}")
        self.interval = timeout / _SWEEPS
        self._connections: set[Silent] = set()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Silent) -> None:
        """Mind a connection from now on."""
        connection.sweeps = 0
        self._connections.add(connection)

    def discard(self, connection: Silent) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def sweep(self) -> None:
        """Expire those from which nothing has come since the timeout; to be called each `interval` seconds."""
        expired = []
        for connection in self._connections:
            connection.sweeps += 1
            # One more than fits: the first sweep may come right after the last byte.
            if connection.sweeps > _SWEEPS:
                expired.append(connection)
        for connection in expired:
            connection.expire()
