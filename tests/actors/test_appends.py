"""Broadcasts on their way to their offset: each topic's in order, and who waits for them."""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, cast

from actors.channels.message import Broadcast
from actors.pubsub.redis.appends import Append, Appends
from actors.pubsub.remote_message import Header

if TYPE_CHECKING:
    from actors.runtime.process import Process


def append(seq: int, topic: str = "room:1", deadline: float = 1.0, cause: object = None) -> Append:
    header = Header(event="said", run="r", seq=seq)
    context = copy_context()
    return Append(Broadcast(topic, "said", {}), None, cast("Process", cause), context, header, b"", deadline)


def appends(*added: Append) -> Appends:
    found = Appends()
    for each in added:
        found.add(each)
    return found


def test_they_are_found_by_topic_and_number_until_they_are_settled() -> None:
    one, two, other = append(1), append(2), append(1, "room:2")
    found = appends(one, two, other)
    assert (found.of("room:1"), found.last("room:1"), found.topics()) == ([one, two], two, ["room:1", "room:2"])
    assert [found.find("room:1", seq) for seq in (1, 2, 3)] == [one, two, None]
    found.settle(two)
    assert (found.last("room:1"), found.find("room:1", 2), len(found)) == (one, None, 2)
    found.settle(one)
    assert (found.last("room:1"), found.of("room:1"), found.topics()) == (None, [], ["room:2"])


def test_an_actor_waits_for_the_last_one_it_has_made() -> None:
    actor = object()
    one, two = append(1, cause=actor), append(2, cause=actor)
    found = appends(one, two)
    found.settle(one)
    assert found.of_cause(cast("Process", actor)) is two
    found.settle(two)
    assert found.of_cause(cast("Process", actor)) is None


def test_the_time_of_those_that_are_not_settled_runs_out() -> None:
    one, two, three = append(1, deadline=1.0), append(2, deadline=2.0), append(3, deadline=3.0)
    found = appends(one, two, three)
    found.settle(one)
    assert found.next_deadline() == 2.0
    assert found.overdue(1.9) == []
    assert found.overdue(2.0) == [two]
    for each in (two, three):
        found.settle(each)
    assert found.next_deadline() is None


def test_what_waits_behind_one_is_called_when_it_is_delivered() -> None:
    called: list[int] = []
    one = append(1)
    one.behind += [lambda: called.append(1), lambda: called.append(2)]
    one.settled()
    assert called == [1, 2]
