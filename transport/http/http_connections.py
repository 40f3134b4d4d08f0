"""The HTTP connections of an endpoint: all of them, and those that wait for a request, which may be closed for new ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["PATIENCE", "HttpConnections"]

PATIENCE = 0.25
"""Seconds that a new connection has for its first request when the port is closed: its bytes may be under way."""

# Connections that are given up in one iteration of the loop; each takes about 100 microseconds.
AT_ONCE = 8


class Closable(Protocol):
    """A connection as this module sees it."""

    @property
    def is_new(self) -> bool:
        """Whether no request has come, and there is still time for it."""

    @property
    def is_busy(self) -> bool:
        """Whether it has a request that is not answered, or an answer that is not written."""

    def close(self) -> None:
        """Close it."""

    def end(self) -> None:
        """Close it when the requests that were received are answered; at once if there are none, unless it is new."""


class HttpConnections:
    """The open HTTP connections, and which of them wait for a request, longest waiting first."""

    def __init__(self) -> None:
        self._accepted: set[Closable] = set()
        self._open: set[Closable] = set()
        self._waiting: dict[Closable, None] = {}
        self._given_up: deque[Callable[[], object]] = deque()
        self.are_ending = False

    def __len__(self) -> int:
        return len(self._open) + len(self._accepted)

    def __iter__(self) -> Iterator[Closable]:
        return iter(list(self._open))

    @property
    def waiting(self) -> int:
        """How many wait for a request."""
        return len(self._waiting)

    @property
    def new(self) -> bool:
        """Whether one of them is new."""
        return bool(self._accepted) or any(connection.is_new for connection in self._waiting)

    @property
    def busy(self) -> bool:
        """Whether one of them has a request that is not answered, or is new."""
        return bool(self._accepted) or any(each.is_busy or each.is_new for each in self._open)

    def end(self) -> None:
        """Close all when their requests are answered, also those that are opened later."""
        self.are_ending = True
        for connection in self:
            connection.end()

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
