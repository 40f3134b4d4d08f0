"""The HTTP connections of an endpoint: all of them, and those that wait for a request, which may be closed for new ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["HttpConnections"]

# Connections that are given up in one iteration of the loop; each takes about 100 microseconds.
AT_ONCE = 8


class Closable(Protocol):
    """A connection as this module sees it."""

    def close(self) -> None:
        """Close it."""


class HttpConnections:
    """The open HTTP connections, and which of them wait for a request, longest waiting first."""

    def __init__(self) -> None:
        self._accepted: set[Closable] = set()
        self._open: set[Closable] = set()
        self._waiting: dict[Closable, None] = {}
        self._given_up: deque[Callable[[], object]] = deque()

    def __len__(self) -> int:
        return len(self._open) + len(self._accepted)

    def __iter__(self) -> Iterator[Closable]:
        return iter(list(self._open))

    @property
    def waiting(self) -> int:
        """How many wait for a request."""
        return len(self._waiting)

    def accepted(self, connection: Closable) -> None:
        """Count a connection that the event loop is about to open."""
        self._accepted.add(connection)

    def opened(self, connection: Closable) -> None:
        """Add a connection, which waits for its first request."""
        self._accepted.discard(connection)
        self._open.add(connection)
        self._waiting[connection] = None

    def closed(self, connection: Closable) -> None:
        """Forget a connection: it has ended, or has become a WebSocket."""
        self._accepted.discard(connection)
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Closable) -> None:
        """Store that a connection waits for its next request."""
        if connection in self._open:
            self._waiting.setdefault(connection)

    def works(self, connection: Closable) -> None:
        """Store that a connection has received the beginning of a request."""
        self._waiting.pop(connection, None)

    def close_longest_waiting(self) -> bool:
        """Close the connection that has waited longest for a request; return whether there was one."""
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        self.closed(longest)
        longest.close()
        return True

    def give_up(self, end: Callable[[], object], call_soon: Callable[[Callable[[], object]], object]) -> None:
        """Call `end()` soon: of many connections whose time is up at once, a few end in each iteration of the loop."""
        self._given_up.append(end)
        if len(self._given_up) == 1:
            call_soon(lambda: self._end_some(call_soon))

    def _end_some(self, call_soon: Callable[[Callable[[], object]], object]) -> None:
        some = [self._given_up.popleft() for _ in range(min(AT_ONCE, len(self._given_up)))]
        if self._given_up:
            call_soon(lambda: self._end_some(call_soon))
        for end in some:
            end()
