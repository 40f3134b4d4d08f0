"""The HTTP connections of an endpoint, and which of them may be closed for new ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from transport.http.http_connections import AT_ONCE, HttpConnections


class Closable:
    """A connection that remembers whether it was closed."""

    def __init__(self, connections: HttpConnections) -> None:
        self.closed = self.told = False
        self.is_new = self.is_busy = False
        connections.opened(self)

    def close(self) -> None:
        self.closed = True

    def end(self) -> None:
        self.told = True


def test_the_connection_that_waits_longest_is_closed_first() -> None:
    connections = HttpConnections()
    first, second, third = (Closable(connections) for _ in range(3))
    connections.works(first)
    connections.waits(first)
    connections.works(third)
    assert [connections.close_longest_waiting() for _ in range(3)] == [True, True, False]
    assert (first.closed, second.closed, third.closed) == (True, True, False)
    assert list(connections) == [third]


def test_order_of_waiting() -> None:
    connections = HttpConnections()
    first, second = (Closable(connections) for _ in range(2))
    connections.works(first)
    connections.waits(first)
    connections.close_longest_waiting()
    assert (first.closed, second.closed) == (False, True)


def test_a_connection_that_has_ended_waits_for_nothing() -> None:
    connections = HttpConnections()
    ended = Closable(connections)
    connections.closed(ended)
    connections.waits(ended)
    assert not connections.close_longest_waiting()
    assert len(connections) == 0


def test_a_connection_counts_from_when_it_is_accepted() -> None:
    connections, closable = HttpConnections(), Closable(HttpConnections())
    connections.accepted(closable)
    assert (len(connections), connections.waiting, list(connections)) == (1, 0, [])
    connections.opened(closable)
    assert (len(connections), connections.waiting, list(connections)) == (1, 1, [closable])
    connections.closed(closable)
    connections.accepted(closable)
    connections.closed(closable)
    assert len(connections) == 0


def test_all_connections_are_told_to_end() -> None:
    connections = HttpConnections()
    new, busy, closed = (Closable(connections) for _ in range(3))
    connections.closed(closed)
    connections.end()
    assert (new.told, busy.told, closed.told, connections.are_ending) == (True, True, False, True)


def test_what_an_end_waits_for() -> None:
    connections = HttpConnections()
    first, second = (Closable(connections) for _ in range(2))
    assert (connections.new, connections.busy) == (False, False)
    first.is_new = True
    assert (connections.new, connections.busy) == (True, True)
    connections.works(first)
    first.is_new, second.is_busy = False, True
    assert (connections.new, connections.busy) == (False, True)
    connections.closed(second)
    assert (connections.new, connections.busy) == (False, False)
    connections.accepted(second)
    assert (connections.new, connections.busy) == (True, True)


def test_many_connections_are_given_up_a_few_at_a_time() -> None:
    connections, ended = HttpConnections(), list[int]()
    calls: list[Callable[[], object]] = []
    for number in range(2 * AT_ONCE + 1):
        connections.give_up(partial(ended.append, number), calls.append)
    counts = []
    while calls:
        assert len(calls) == 1
        calls.pop()()
        counts.append(len(ended))
    assert counts == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1]
    assert ended == list(range(2 * AT_ONCE + 1))
