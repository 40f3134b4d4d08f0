"""Messages on their way to Redis: those that wait to be written, and the number of those that it has not answered."""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Outgoing"]


class Outgoing:
    """Messages for one connection, at most `most` of them and `most_bytes` in total."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._commands: deque[bytes] = deque()
        self._bytes = 0
        self._unanswered = 0
        self.put_in_total = self.answered_in_total = 0
        self.wake = asyncio.Event()
        """Set while something waits."""
        self.empty = asyncio.Event()
        """Set while nothing waits or is unanswered."""
        self.empty.set()

    def has_room(self, size: int) -> bool:
        """Return whether there is room for one more command, of `size` bytes."""
        waiting = len(self._commands) + self._unanswered
        return waiting < self._most and self._bytes + size <= self._most_bytes

    def put(self, command: bytes) -> None:
        """Add a command."""
        self._commands.append(command)
        self._bytes += len(command)
        self.wake.set()
        self.empty.clear()
        self.put_in_total += 1

    def take(self, most_bytes: int) -> bytes:
        """Return the next commands, as many as fit into `most_bytes` but at least one; they are unanswered from now on."""
        taken: list[bytes] = []
        size = 0
        while self._commands and (not taken or size + len(self._commands[0]) <= most_bytes):
            command = self._commands.popleft()
            taken.append(command)
            size += len(command)
        self._bytes -= size
        self._unanswered += len(taken)
        if not self._commands:
            self.wake.clear()
        return b"".join(taken)

    def answered(self) -> None:
        """Store the answer to one command."""
        self._unanswered -= 1
        self.answered_in_total += 1
        if not self._unanswered and not self._commands:
            self.empty.set()

    def clear(self) -> int:
        """Forget all, as the connection is lost; return the number of messages that have not left, or may not have."""
        lost = len(self._commands) + self._unanswered
        self.answered_in_total += lost
        self._commands.clear()
        self._bytes = self._unanswered = 0
        self.wake.clear()
        self.empty.set()
        return lost
