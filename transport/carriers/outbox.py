"""The outbox policy: how much may wait for a client that reads too slowly, and what happens above that."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_WAITING", "OVERFLOWED", "OutboxPolicy"]

MAX_WAITING = 64 * 1024 * 1024
"""The bytes that may wait for one client by default."""

OVERFLOWED = 1006
"""The close code of a connection that was cut because its outbox overflowed: no close frame was sent."""


@dataclass(frozen=True, slots=True)
class OutboxPolicy:
    """The policy of all carriers of an endpoint.

    A carrier counts the bytes that wait for its client (`get_write_buffer_size`), in the form in which it keeps them, and after
    each write checks whether they overflow. If so, it cuts the connection without a close frame, which would only wait behind
    the other bytes, drops these, and sends its transport actor `Disconnected(OVERFLOWED)`. So one slow client costs no more
    memory than `max_bytes` and the message that exceeded it.
    """

    max_bytes: int = MAX_WAITING

    def overflows(self, waiting: int) -> bool:
        """Return whether that number of waiting bytes is above the limit."""
        return waiting > self.max_bytes
