"""The outbox: what waits for a client that reads too slowly, and what happens above the bound."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.channels.message import Broadcast, Frame, Opcode
from actors.history.backlog import Backlog
from actors.history.history import History, Position
from actors.history.topic_log import KeptBroadcast, TopicLog
from transport.carriers.intake import UNREAD, Intake
from transport.carriers.outbox import OVERFLOWED, Outbox, OutboxPolicy
from transport.limits import Limits
from transport.protocol.serializer import V2JSONSerializer

Overflow = Literal["disconnect", "drop_oldest", "conflate"]


def by_event(broadcast: Broadcast) -> Hashable | None:
    """Conflate by the event, except the event "each"."""
    return None if broadcast.event == "each" else broadcast.event


def policy(overflow: Overflow, max_bytes: int = 10, max_messages: int = 4) -> OutboxPolicy:
    key = by_event if overflow == "conflate" else None
    return OutboxPolicy(max_bytes=max_bytes, max_messages=max_messages, overflow=overflow, key=key)


def reply(name: str) -> Frame:
    return Frame(Opcode.TEXT, name.encode())


def broadcast(name: str, event: str = "each") -> Frame:
    frame = Frame(Opcode.TEXT, name.encode())
    frame.broadcast = Broadcast("room:1", event, {})
    return frame


class Filled:
    """An outbox with the sizes of what it has dropped."""

    def __init__(self, policy: OutboxPolicy, room: int = 0) -> None:
        self.dropped: list[int] = []
        self.changes: list[int] = []
        self.intake = Intake(Limits(), lambda: self.changes.append(self.intake.held))
        self.outbox = Outbox(policy, self.dropped.append, room=room, intake=self.intake)

    def put(self, *frames: Frame) -> list[bool]:
        return [self.outbox.put(frame, len(frame.data)) for frame in frames]

    def names(self) -> list[str]:
        """Take everything out."""
        names = []
        while (frame := self.outbox.pop()) is not None:
            names.append(frame.data.decode())
        return names


@pytest.mark.parametrize("overflow", ["disconnect", "drop_oldest", "conflate"])
def test_frames_leave_in_the_order_in_which_they_were_put(overflow: Overflow) -> None:
    filled = Filled(policy(overflow))
    assert filled.put(reply("a"), broadcast("b"), reply("c")) == [True, True, True]
    assert (filled.outbox.bytes, filled.outbox.own_bytes, filled.outbox.messages) == (3, 2, 3)
    assert filled.names() == ["a", "b", "c"]
    assert (filled.outbox.bytes, filled.outbox.own_bytes, filled.outbox.messages) == (0, 0, 0)


def test_the_frames_themselves_wait_and_not_copies() -> None:
    filled, frame = Filled(policy("disconnect")), broadcast("shared")
    filled.put(frame)
    assert filled.outbox.pop() is frame


@pytest.mark.parametrize("overflow", ["disconnect", "drop_oldest", "conflate"])
def test_one_message_may_be_larger_than_the_bound_if_nothing_else_waits(overflow: Overflow) -> None:
    filled = Filled(policy(overflow))
    assert filled.put(broadcast("a" * 1000)) == [True]
    filled.outbox.clear()
    assert filled.put(reply("a" * 1000)) == [True]
    assert filled.dropped == []


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [([5, 5], True), ([5, 6], False), ([1, 1, 1, 1], True), ([1, 1, 1, 1, 1], False)],
    ids=str,
)
@pytest.mark.parametrize("make", [reply, broadcast])
def test_above_either_bound_the_connection_is_to_be_closed(make: Any, sizes: list[int], *, fits: bool) -> None:
    filled = Filled(policy("disconnect"))
    assert filled.put(*(make("a" * size) for size in sizes))[-1] is fits
    assert filled.dropped == []


def test_the_oldest_broadcasts_are_dropped_until_the_rest_fits() -> None:
    filled = Filled(policy("drop_oldest"))
    assert all(filled.put(broadcast("aaa"), reply("r"), broadcast("bbb"), broadcast("cccccc")))
    assert filled.dropped == [3]
    assert filled.names() == ["r", "bbb", "cccccc"]


def test_a_broadcast_that_does_not_fit_beside_the_replies_is_dropped_itself() -> None:
    filled = Filled(policy("drop_oldest"))
    assert all(filled.put(broadcast("a"), reply("rr"), broadcast("b" * 9)))
    assert filled.dropped == [1, 9]
    assert filled.names() == ["rr"]


@pytest.mark.parametrize("overflow", ["drop_oldest", "conflate"])
def test_replies_are_never_dropped(overflow: Overflow) -> None:
    filled = Filled(policy(overflow))
    assert filled.put(*(reply("aaa") for _ in range(4))) == [True, True, True, False]
    assert filled.dropped == []
    assert filled.outbox.messages == 4


def test_a_newer_broadcast_of_the_same_key_replaces_the_one_that_waits() -> None:
    filled = Filled(policy("conflate"))
    frames = [broadcast("p1", "price"), broadcast("q1", "quote"), broadcast("p2", "price"), broadcast("p3", "price")]
    assert all(filled.put(*frames))
    assert filled.dropped == [2, 2]
    assert filled.names() == ["q1", "p3"]


def test_a_broadcast_that_has_left_is_not_replaced() -> None:
    filled = Filled(policy("conflate"))
    filled.put(broadcast("p1", "price"))
    assert filled.names() == ["p1"]
    filled.put(broadcast("p2", "price"))
    assert filled.dropped == []
    assert filled.names() == ["p2"]


def test_broadcasts_without_a_key_are_all_kept_and_the_bound_holds_for_them_too() -> None:
    filled = Filled(policy("conflate"))
    assert filled.put(*(broadcast("aaa") for _ in range(4))) == [True, True, True, False]
    assert filled.dropped == []


@pytest.mark.parametrize("overflow", ["disconnect", "drop_oldest", "conflate"])
def test_after_clear_it_is_as_new(overflow: Overflow) -> None:
    filled = Filled(policy(overflow))
    filled.put(broadcast("aaa", "price"), reply("bbb"))
    filled.outbox.clear()
    assert (filled.outbox.bytes, filled.outbox.own_bytes, filled.outbox.messages) == (0, 0, 0)
    assert filled.outbox.pop() is None
    assert filled.put(broadcast("ccc", "price")) == [True]
    assert filled.dropped == []
    assert filled.names() == ["ccc"]


# The client's own work


def test_replies_have_room_beside_the_bound_for_broadcasts() -> None:
    filled = Filled(policy("disconnect"), room=20)
    assert all(filled.put(reply("a" * 20), broadcast("b" * 10)))
    assert filled.put(reply("a")) == [False]


def test_replies_do_not_take_the_room_of_broadcasts() -> None:
    filled = Filled(policy("drop_oldest"), room=20)
    assert all(filled.put(broadcast("b" * 10), reply("a" * 20)))
    assert filled.dropped == []


def test_a_client_is_not_read_while_its_replies_wait_and_read_on_when_half_of_them_are_left() -> None:
    filled = Filled(OutboxPolicy())
    filled.put(*(reply("a" * 1024) for _ in range(64)))
    assert filled.changes == []
    filled.put(reply("a"))
    assert filled.intake.held == UNREAD
    for _ in range(32):
        filled.outbox.pop()
    assert filled.intake.held == UNREAD
    filled.outbox.pop()
    assert filled.changes == [UNREAD, 0]


def test_a_client_that_is_cleared_away_is_read_on() -> None:
    filled = Filled(OutboxPolicy())
    filled.put(reply("a" * 100_000))
    filled.outbox.clear()
    assert filled.changes == [UNREAD, 0]


def test_broadcasts_that_wait_do_not_stop_the_reading() -> None:
    filled = Filled(OutboxPolicy())
    filled.put(*(broadcast("a" * 1024) for _ in range(200)))
    assert filled.changes == []


class Model:
    """What an outbox does, in lists, from the documentation of `OutboxPolicy`."""

    def __init__(self, policy: OutboxPolicy, room: int) -> None:
        self.policy, self.room = policy, room
        self.waiting: list[Frame] = []
        self.dropped: list[int] = []

    def put(self, frame: Frame) -> bool:
        for older in list(self.waiting):
            if self._replaces(frame, older):
                self._drop(older)
        self.waiting.append(frame)
        for older in list(self.waiting):
            if self.policy.overflow == "drop_oldest" and not self._fits() and older.broadcast is not None:
                self._drop(older)
        return self._fits()

    def _replaces(self, frame: Frame, older: Frame) -> bool:
        if self.policy.key is None or frame.broadcast is None or older.broadcast is None:
            return False
        key = self.policy.key(frame.broadcast)
        return key is not None and key == self.policy.key(older.broadcast)

    def _drop(self, frame: Frame) -> None:
        self.waiting.remove(frame)
        self.dropped.append(len(frame.data))

    def _fits(self) -> bool:
        own, others = self.sizes()
        counted = others + max(0, own - self.room)
        return len(self.waiting) < 2 or (
            counted <= self.policy.max_bytes and len(self.waiting) <= self.policy.max_messages
        )

    def sizes(self) -> tuple[int, int]:
        """Return the bytes of the replies that wait, and of the broadcasts."""
        own = sum(len(frame.data) for frame in self.waiting if frame.broadcast is None)
        return own, sum(len(frame.data) for frame in self.waiting) - own


NAMES = st.text("abc", min_size=1, max_size=12)
STEPS = st.lists(
    st.one_of(NAMES.map(reply), st.builds(broadcast, NAMES, st.sampled_from(["each", "x", "y"])), st.none())
)


@given(st.sampled_from(["disconnect", "drop_oldest", "conflate"]), st.sampled_from([0, 15]), STEPS)
def test_it_does_what_the_policy_says(overflow: Overflow, room: int, steps: list[Frame | None]) -> None:
    model, filled = Model(policy(overflow), room), Filled(policy(overflow), room)
    for step in steps:
        if step is None:
            assert filled.outbox.pop() is (model.waiting.pop(0) if model.waiting else None)
        else:
            assert filled.put(step) == [model.put(step)]
        own, others = model.sizes()
        assert (filled.outbox.bytes, filled.outbox.own_bytes) == (own + others, own)
        assert filled.outbox.messages == len(model.waiting)
        assert filled.dropped == model.dropped
    assert filled.outbox.dropped == len(model.dropped)
    assert filled.names() == [frame.data.decode() for frame in model.waiting]


# Policies


def test_the_default_is_one_mebibyte_and_ends_the_connection() -> None:
    assert OutboxPolicy() == OutboxPolicy(max_bytes=1024 * 1024, max_messages=10_000, overflow="disconnect", key=None)


def test_the_close_code_is_one_after_which_clients_reconnect() -> None:
    """phoenix.js reconnects after every code but 1000; 1013 is "try again later"."""
    assert OVERFLOWED == 1013


@pytest.mark.parametrize("name", ["max_bytes", "max_messages"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "1", True, None])
def test_a_bound_must_be_a_count(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        OutboxPolicy(**{name: value})


@pytest.mark.parametrize("overflow", ["drop", "", None, 1])
def test_what_happens_above_the_bound_must_be_one_of_three(overflow: Any) -> None:
    with pytest.raises(ValueError, match='overflow must be "disconnect", "drop_oldest" or "conflate", got'):
        OutboxPolicy(overflow=overflow)


@pytest.mark.parametrize(
    "options",
    [{"overflow": "conflate"}, {"key": by_event}, {"overflow": "conflate", "key": "event"}],
    ids=["no key", "only a key", "a key that is no function"],
)
def test_conflating_and_a_key_go_together(options: Any) -> None:
    with pytest.raises(ValueError, match='overflow="conflate" goes with key='):
        OutboxPolicy(**options)


# What a client has missed waits without a size


class Missing:
    """The outbox of a client that has missed something, and the log of what it has missed."""

    def __init__(self, number: int, overflow: Overflow = "disconnect", **bounds: int) -> None:
        self.filled, self.log = Filled(policy(overflow, **bounds)), TopicLog("e", 0.0, History())
        for _ in range(number):
            self.keep()
        missed = self.log.missed(Position("e", 0))
        assert missed is not None
        self.filled.outbox.put_backlog(Backlog("room", V2JSONSerializer(), 7, self.log, self.log.last, missed))

    def keep(self) -> None:
        self.log.append(KeptBroadcast(self.log.last + 1, 0.0, "said", b"{}"))

    def say(self) -> bool:
        """Broadcast the next one, which is then put into the outbox."""
        self.keep()
        frame = broadcast("live")
        frame.log, frame.offset = self.log, self.log.last
        return self.filled.outbox.put(frame, 4)

    def taken(self) -> list[str]:
        """Take everything out: refs of what has one, and the text of the rest."""
        return [read(frame) for frame in iter(self.filled.outbox.pop, None)]


def read(frame: Frame) -> str:
    return str(json.loads(frame.data)[1]) if frame.data.startswith(b"[") else frame.data.decode()


def test_a_backlog_has_no_size_and_is_one_message() -> None:
    missing = Missing(3)
    outbox = missing.filled.outbox
    assert (outbox.bytes, outbox.own_bytes, outbox.messages, outbox.has_backlog) == (0, 0, 1, True)
    assert missing.taken() == ["@1", "@2", "@3"]
    assert (outbox.messages, outbox.has_backlog) == (0, False)


def test_what_is_broadcast_on_its_topic_joins_a_backlog_and_takes_no_room() -> None:
    missing = Missing(2, max_bytes=10, max_messages=4)
    assert all(missing.say() for _ in range(50))
    assert (missing.filled.outbox.bytes, missing.filled.outbox.messages) == (0, 1)
    assert missing.taken() == [f"@{number}" for number in range(1, 53)]


def test_the_order_is_that_in_which_all_was_put() -> None:
    missing = Missing(1)
    missing.filled.put(reply("a"))
    missing.say()
    missing.say()
    missing.filled.put(reply("b"))
    missing.say()
    assert missing.filled.outbox.messages == 5
    assert missing.taken() == ["@1", "a", "@2", "@3", "b", "@4"]


def test_behind_the_backlog_broadcasts_wait_as_ever() -> None:
    missing = Missing(1)
    assert missing.taken() == ["@1"]
    missing.say()
    assert missing.filled.outbox.bytes == 4
    assert missing.taken() == ["live"]


def test_broadcasts_of_another_log_wait_as_ever() -> None:
    missing, other = Missing(1), Missing(0)
    frame = broadcast("other")
    frame.log, frame.offset = other.log, 2
    missing.filled.put(frame)
    assert missing.filled.outbox.bytes == 5
    assert missing.taken() == ["@1", "other"]


def test_broadcasts_that_wait_are_dropped_for_what_joins_a_backlog_too() -> None:
    missing = Missing(1, "drop_oldest", max_bytes=100, max_messages=3)
    assert all(missing.filled.put(broadcast("a"), broadcast("b")))
    assert missing.say()
    assert missing.filled.dropped == [1]
    assert missing.taken() == ["@1", "b", "@2"]


def test_of_what_was_missed_only_that_of_the_last_joins_is_held() -> None:
    missing = Missing(3)
    missing.log.history = History(size=3)
    expected = ["@4"]
    for _ in range(4):
        for _ in range(3):
            missing.log.append(KeptBroadcast(missing.log.last + 1, 0.0, "said", b"{}"))
        kept = list(missing.log.after(0))
        missing.filled.outbox.put_backlog(Backlog("room", V2JSONSerializer(), 7, missing.log, missing.log.last, kept))
        expected += [f"@{each.offset}" for each in kept]
    assert missing.taken() == expected


def test_what_was_missed_is_held_whatever_is_said_meanwhile() -> None:
    missing = Missing(3)
    missing.filled.put(reply("a"))
    missing.say()
    missing.log.expire(1000.0)
    assert missing.taken() == ["@1", "@2", "@3", "a", "@5"]


def test_what_waits_for_all_to_be_taken_is_told_of_it() -> None:
    filled, told = Filled(policy("drop_oldest", max_messages=2)), list[str]()
    filled.outbox.when_taken(lambda: told.append("nothing waits"))
    filled.put(reply("a"), broadcast("b"))
    for name in ("first", "second"):
        filled.outbox.when_taken(lambda name=name: told.append(name))  # type: ignore[misc]  # its type is that of a default
    filled.outbox.pop()
    assert told == ["nothing waits"]
    filled.outbox.pop()
    assert told == ["nothing waits", "first", "second"]
    filled.put(broadcast("c"))
    filled.outbox.when_taken(lambda: told.append("dropped"))
    filled.put(reply("d"), reply("e"))
    filled.outbox.when_taken(lambda: told.append("cleared"))
    filled.outbox.clear()
    assert told[3:] == ["dropped", "cleared"]


def test_a_part_of_a_backlog_is_taken_at_a_time() -> None:
    missing = Missing(10)
    size = len(b'[null,"@1","room","said",{}]')
    parts = [[read(frame) for frame in missing.filled.outbox.take(3 * size - 1)] for _ in range(3)]
    assert parts == [["@1", "@2", "@3"], ["@4", "@5", "@6"], ["@7", "@8", "@9"]]
    assert missing.taken() == ["@10"]


def test_a_cleared_outbox_has_no_backlog() -> None:
    missing = Missing(3)
    missing.filled.outbox.clear()
    assert (missing.filled.outbox.has_backlog, missing.taken()) == (False, [])
    missing.say()
    assert missing.taken() == ["live"]
