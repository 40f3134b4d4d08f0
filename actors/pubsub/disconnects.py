"""The latest broadcasts of the event "disconnect", for a connection that was accepted and has not subscribed yet.

Such a broadcast, on the topic that identifies a user, closes the connections of that user. One that is being accepted meanwhile
finds it here. Processes tell all others of theirs, which would otherwise learn only of those of connections that they have.
"""

from __future__ import annotations

__all__ = ["DISCONNECT", "Disconnects"]

DISCONNECT = "disconnect"

_MOST = 10_000
"""Topics that are remembered: far more than are used between the acceptance of a client and the start of its actor."""


class Disconnects:
    """The last broadcasts, by topic; `number` is how many there have been."""

    def __init__(self) -> None:
        self.number = 0
        self._last: dict[str, int] = {}

    def add(self, topic: str) -> None:
        """Remember a broadcast on a topic."""
        self.number += 1
        self._last.pop(topic, None)
        self._last[topic] = self.number
        if len(self._last) > _MOST:
            del self._last[next(iter(self._last))]

    def since(self, number: int, topic: str) -> bool:
        """Return whether there was a broadcast on a topic after that one."""
        return self._last.get(topic, 0) > number
