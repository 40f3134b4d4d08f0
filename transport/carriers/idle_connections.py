"""Idle connections are closed, by one timer for all of them.

A stall is not silence. If the process was stopped, or its event loop blocked, what clients have sent waits in the kernel. But a
clock lets the loop read before it fires timers that are overdue, and an interval skips those that it missed.
"""

from __future__ import annotations

from typing import Protocol

from actors.validation import check_seconds

__all__ = ["IDLE_TIMEOUT", "IdleConnections"]

IDLE_TIMEOUT = 60.0
"""Seconds without a byte from the client after which a connection is closed (Phoenix's); phoenix.js sends one every 30."""

# Sweeps in one timeout: a connection is closed up to a twelfth of the timeout late.
_SWEEPS = 12


class Silent(Protocol):
    """A connection as this module sees it: it sets `sweeps` to 0 whenever it receives bytes."""

    sweeps: int

    def expire(self) -> None:
        """Close the connection: nothing has been received for too long."""


class IdleConnections:
    """All connections of an endpoint that are closed when they are idle.

    Marking a connection as active costs one assignment, so that no timer is set for each message. A carrier discards its
    connection while it does not read it, and adds it again when it does.

    `open` is how many connections of the endpoint's port there are, read or not. One whose client has gone counts until its
    transport actor has ended: otherwise a client could connect again and again, while the channels of its earlier connections
    are busy with what it has sent.

    Raises:
        ValueError: if the timeout is not above zero.
    """

    def __init__(self, timeout: float = IDLE_TIMEOUT) -> None:
        check_seconds("idle_timeout", timeout, "> 0")
        self.interval = timeout / _SWEEPS
        self._connections: set[Silent] = set()
        self.open = 0

    def __len__(self) -> int:
        return len(self._connections)

    def opened(self, connection: Silent) -> None:
        """Count a connection of the endpoint's port, and watch it."""
        self.open += 1
        self.add(connection)

    def closed(self) -> None:
        """Count a connection no more: it is lost, and its transport actor has ended."""
        self.open -= 1

    def add(self, connection: Silent) -> None:
        """Watch a connection from now on."""
        connection.sweeps = 0
        self._connections.add(connection)

    def discard(self, connection: Silent) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def sweep(self) -> None:
        """Expire the connections that were silent for the timeout; to be called every `interval` seconds."""
        for connection in list(self._connections):
            connection.sweeps += 1
            # One more than fit into the timeout: the first sweep may follow the last byte immediately.
            if connection.sweeps > _SWEEPS and connection in self._connections:
                connection.expire()
