"""The outbox policy: how much may wait for a client that reads too slowly, and what happens above that."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MAX_WAITING", "OVERFLOWED", "OutboxPolicy"]

MAX_WAITING = 64 * 1024 * 1024
"""The bytes that may wait for one client by default."""

OVERFLOWED = 1006
"""The close code with which a connection counts that was cut because its outbox overflowed: no close frame was sent."""


@dataclass(frozen=True, slots=True)
class OutboxPolicy:
    """The policy of all carriers of an endpoint.

    A carrier counts the bytes that wait for its client (`get_write_buffer_size`), in the form in which it keeps them, and asks
    after each write whether they are too many. If so, it cuts the connection without a close frame, which would wait behind all
    the others, drops what waits, and sends its transport actor `Disconnected(OVERFLOWED)`. One slow client then costs
    no more memory than `max_bytes` and the message that went over it.
    """

    max_bytes: int = MAX_WAITING

    def overflows(self, waiting: int) -> bool:
        """Return whether so many waiting bytes are too many."""
        return waiting > self.max_bytes
