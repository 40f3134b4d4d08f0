"""What is read of histories: one reading of a topic at a time, and one more for those who came later."""

from __future__ import annotations

import asyncio

from actors.history.history import History
from actors.pubsub.redis.history_commands import Arrival
from actors.pubsub.redis.readings import Reading, Readings
from actors.pubsub.remote_message import Header

HISTORY = History()


def opened(readings: Readings, *, everything: bool = False) -> Reading:
    return readings.open("room:1", HISTORY, everything=everything)


def arrival(offset: int) -> Arrival:
    return Arrival("e", offset, Header(event="said"), b"{}")


def test_those_who_come_while_it_is_read_share_the_next_reading() -> None:
    readings = Readings()
    first = opened(readings)
    second, third = opened(readings), opened(readings, everything=True)
    assert second is third is not first
    assert (first.everything, second.everything) == (False, True)
    assert readings.get("room:1") is first
    assert readings.close("room:1", first) is second
    assert readings.get("room:1") is second
    assert readings.close("room:1", second) is None
    assert readings.topics() == []


def test_a_reading_that_was_given_up_is_not_followed() -> None:
    readings = Readings()
    first = opened(readings)
    readings.fail("room:1")
    assert opened(readings) is not first
    assert readings.close("room:1", first) is None
    assert readings.get("room:1") is not None


def test_all_go_on_when_it_is_there_or_has_failed() -> None:
    async def wait() -> None:
        readings = Readings()
        first, second = opened(readings), opened(readings)
        waiting = [asyncio.create_task(each.wait()) for each in (first, first, second)]
        await asyncio.sleep(0)
        readings.fail("room:1")
        await asyncio.gather(*waiting)
        await first.wait()

    asyncio.run(wait())


def test_what_arrives_waits_only_if_a_gap_is_filled_and_not_without_a_bound() -> None:
    reading = opened(Readings())
    assert not reading.holds(arrival(1))
    reading.hold(arrival(2))
    assert all(reading.holds(arrival(offset)) for offset in range(3, 1_002))
    assert not reading.holds(arrival(1_002))
    assert [each.offset for each in reading.held] == list(range(2, 1_002))
