"""Messages on their way: bounded, and counted when they are lost."""

from __future__ import annotations

from actors.pubsub.redis.outgoing import Outgoing


def test_commands_are_taken_in_order_up_to_a_size_but_at_least_one() -> None:
    outgoing = Outgoing(10, 100)
    for command in (b"aaaa", b"bb", b"c"):
        outgoing.put(command)
    assert outgoing.wake.is_set()
    assert [outgoing.take(3), outgoing.take(3)] == [b"aaaa", b"bbc"]
    assert not outgoing.wake.is_set()


def test_there_is_room_for_so_many_until_they_are_answered() -> None:
    outgoing = Outgoing(2, 100)
    outgoing.put(b"a")
    outgoing.put(b"b")
    assert not outgoing.has_room(len(b"c"))
    outgoing.take(100)
    assert not outgoing.has_room(len(b"c"))
    outgoing.answered()
    assert outgoing.has_room(len(b"c"))


def test_there_is_room_for_so_many_bytes() -> None:
    outgoing = Outgoing(10, 4)
    assert not outgoing.has_room(len(b"too long"))
    outgoing.put(b"aaa")
    assert outgoing.has_room(len(b"b"))
    assert not outgoing.has_room(len(b"bb"))


def test_it_is_empty_when_all_are_answered_and_says_how_many_are_lost() -> None:
    outgoing = Outgoing(10, 100)
    outgoing.put(b"a")
    outgoing.put(b"b")
    outgoing.take(1)
    assert not outgoing.empty.is_set()
    assert (outgoing.clear(), outgoing.clear()) == (2, 0)
    assert outgoing.empty.is_set()
    outgoing.put(b"c")
    outgoing.take(1)
    outgoing.answered()
    assert outgoing.empty.is_set()
    assert (outgoing.put_in_total, outgoing.answered_in_total) == (3, 3)
