"""The effects of a client's message, as values (Phoenix.Socket; differences: docs/conformance.md)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors import Channel, error, ok
from actors.channels.join_reply import JoinReply
from actors.channels.message import Message
from actors.exits import KILLED, NORMAL, Crash, ExitReason, Shutdown
from transport.exceptions import MalformedMessageError
from transport.limits import Limits
from transport.protocol import connection as connection_module
from transport.protocol.connection import (
    Connection,
    Deliver,
    Effect,
    Effects,
    EndChannel,
    Monitor,
    Reached,
    Resume,
    SendFrame,
    StartChannel,
    TopicStatus,
    Wait,
)
from transport.protocol.serializer import V2JSONSerializer
from transport.socket import Routes, Socket


class Temporary(Channel):
    """Restarted by nobody but the client."""


class Transient(Channel):
    restart = "transient"


class Permanent(Channel):
    restart = "permanent"


class UserSocket(Socket):
    channels = {"room:*": Temporary, "transient:*": Transient, "permanent:*": Permanent}  # noqa: RUF012  # as an author writes it


class EverySocket(Socket):
    channels = {"*": Temporary}  # noqa: RUF012  # as above


SERIALIZER = V2JSONSerializer()
CRASH = Crash(RuntimeError("on purpose"))
OK = {"status": "ok", "response": {}}
UNMATCHED = {"status": "error", "response": {"reason": "unmatched topic"}}
JOIN_CRASHED = {"status": "error", "response": {"reason": "join crashed"}}
TOO_MANY = {"status": "error", "response": {"reason": "too many channels joined"}}
CHANNEL_CRASH = {"reason": "channel_crash"}


SIZE = 10
"""The bytes of every message here."""


def receive(connection: Connection, message: Message) -> list[Effect]:
    """Have a message received, by the short way too: where that says for whom it is, nothing else follows from it."""
    channel = connection.addressee(message)
    effects = list(connection.receive(message, SIZE))
    assert channel is None or effects == [Deliver(channel, message, SIZE)]
    return effects


class WaitingCount:
    """The messages that wait for joins, by the effects: never fewer than none."""

    def __init__(self) -> None:
        self.messages = self.bytes = 0

    def add(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Wait(size=size):
                    self.messages, self.bytes = self.messages + 1, self.bytes + size
                case Resume(size=size):
                    self.messages, self.bytes = self.messages - 1, self.bytes - size
            assert self.messages >= 0
            assert self.bytes == SIZE * self.messages

    def is_of(self, connection: Connection) -> bool:
        return self.messages == sum(len(joined.pending or ()) for joined in connection.topics.values())


class Peer:
    """A connection, with names for its channels and effects that can be read.

    A frame that is sent stands for itself, as a list; the other effects are tuples, except for what waits, which is counted.
    """

    def __init__(self, socket: type[Socket] = UserSocket, max_channels: int = 100) -> None:
        self.connection = Connection(Routes(socket), SERIALIZER, max_channels)
        self.count = WaitingCount()

    def receive(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any = None) -> list[Any]:
        message = Message(join_ref, ref, topic, event, {} if payload is None else payload)
        return self.seen(receive(self.connection, message))

    def start(self, topic: str, channel: Any) -> list[Any]:
        """The channel of a topic has been started."""
        return self.seen(self.connection.started(self.connection.topics[topic], channel))

    def not_started(self, topic: str) -> list[Any]:
        return self.seen(self.connection.not_started(self.connection.topics[topic]))

    def reply(self, channel: Any, join_ref: Any = "1", ref: Any = "1", *, refuse: bool = False) -> list[Any]:
        """The channel answers the join."""
        answer = error({"reason": "no"}) if refuse else ok()
        frame = SERIALIZER.encode_reply(join_ref, ref, "t", answer)
        return self.seen(self.connection.join_replied(JoinReply(channel, "t", not refuse, frame)))

    def closed(self, channel: Any, reason: ExitReason = NORMAL, now: float = 0.0) -> list[Any]:
        return self.seen(self.connection.closed(channel, reason, now))

    def down(self, channel: Any, reason: ExitReason = CRASH, now: float = 0.0) -> list[Any]:
        return self.seen(self.connection.down(channel, reason, now))

    def join(self, topic: str, channel: Any, join_ref: Any = "1", ref: Any = "1") -> None:
        """Join with success."""
        self.receive(join_ref, ref, topic, "phx_join")
        self.start(topic, channel)
        self.reply(channel, join_ref, ref)

    @property
    def topics(self) -> list[str]:
        return list(self.connection.topics)

    def seen(self, effects: Effects) -> list[Any]:
        effects = list(effects)
        self.count.add(effects)
        assert self.count.is_of(self.connection)
        return [described(effect) for effect in effects if not isinstance(effect, Wait | Resume)]


def described(effect: Any) -> Any:
    match effect:
        case SendFrame(frame=frame):
            return json.loads(frame.data)
        case Deliver(channel=channel, message=message):
            return ("deliver", channel, message.event, message.ref)
        case StartChannel(joined=joined):
            return ("start", joined.route.channel, joined.topic, joined.join_ref, joined.message.payload)
        case Monitor(channel=channel):
            return ("monitor", channel)
        case EndChannel(channel=channel, reason=reason):
            return ("end", channel, reason)
        case Reached(limit=limit):
            return ("reached", limit)
    raise AssertionError(effect)


# Section 2, row by row: a topic that is not joined


@pytest.mark.parametrize("join_ref", [None, "1", 7], ids=repr)
def test_a_heartbeat_is_answered_without_a_join_ref(join_ref: Any) -> None:
    assert Peer().receive(join_ref, "5", "phoenix", "heartbeat") == [[None, "5", "phoenix", "phx_reply", OK]]


def test_a_heartbeat_is_answered_even_where_a_channel_has_its_topic() -> None:
    peer = Peer(EverySocket)
    peer.join("phoenix", "channel")
    assert peer.receive(None, "5", "phoenix", "heartbeat") == [[None, "5", "phoenix", "phx_reply", OK]]
    assert peer.receive("1", "6", "phoenix", "echo") == [("deliver", "channel", "echo", "6")]


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        ("nowhere", "phx_join"),
        ("room:1", "echo"),
        ("room:1", "heartbeat"),
        ("room:1", "phx_close"),
        ("phoenix", "echo"),
        ("phoenix", "phx_join"),
        ({"not": "a string"}, "echo"),
        (None, "heartbeat"),
        (7, None),
    ],
    ids=repr,
)
def test_what_has_no_channel_is_answered_unmatched_topic_without_a_join_ref(topic: Any, event: Any) -> None:
    peer = Peer()
    assert peer.receive("1", "2", topic, event) == [[None, "2", topic, "phx_reply", UNMATCHED]]
    assert peer.topics == []


@pytest.mark.parametrize(
    ("join_ref", "event", "addressee"),
    [
        ("1", "echo", "channel"),
        (None, "echo", "channel"),
        (None, None, "channel"),
        ("2", "echo", None),
        ("", "echo", None),
        (1, "echo", None),
        ("1", "phx_leave", None),
        ("1", "phx_join", None),
        ("1", {"any": "thing"}, "channel"),
    ],
    ids=repr,
)
def test_most_messages_are_simply_for_a_channel(join_ref: Any, event: Any, addressee: Any) -> None:
    peer = Peer()
    message = Message(join_ref, "2", "room:1", event, {})
    peer.receive("1", "1", "room:1", "phx_join")
    assert peer.connection.addressee(message) is None
    peer.start("room:1", "channel")
    assert peer.connection.addressee(message) is None
    peer.reply("channel")
    assert peer.connection.addressee(message) == addressee


@pytest.mark.parametrize("join_ref", [None, "3"], ids=repr)
def test_a_leave_of_a_topic_not_joined_is_answered_ok_with_its_join_ref(join_ref: Any) -> None:
    assert Peer().receive(join_ref, "4", "room:1", "phx_leave") == [[join_ref, "4", "room:1", "phx_reply", OK]]


@pytest.mark.parametrize("ref", ["9", 9, 9.5, True, None, [1, {"a": []}], {"b": None}, ""], ids=repr)
def test_a_ref_of_any_json_type_is_mirrored(ref: Any) -> None:
    [frame] = Peer().receive(None, ref, "room:1", "echo")
    assert json.dumps(frame[1]) == json.dumps(ref)


# Section 3: joins


def test_a_join_starts_the_channel_watches_it_and_answers_what_it_says() -> None:
    peer = Peer()
    assert peer.receive("1", "2", "room:1", "phx_join", {"a": 1}) == [("start", Temporary, "room:1", "1", {"a": 1})]
    assert peer.start("room:1", "channel") == [("monitor", "channel")]
    assert peer.reply("channel", "1", "2") == [["1", "2", "t", "phx_reply", OK]]
    assert peer.receive("1", "3", "room:1", "echo") == [("deliver", "channel", "echo", "3")]


def test_a_refused_join_is_answered_and_leaves_nothing() -> None:
    peer = Peer()
    peer.receive("1", "1", "room:1", "phx_join")
    peer.start("room:1", "channel")
    [answer] = peer.reply("channel", refuse=True)
    assert answer[3:] == ["phx_reply", {"status": "error", "response": {"reason": "no"}}]
    assert peer.topics == []
    assert peer.down("channel", Shutdown()) == []


def test_a_crash_in_join_is_answered_join_crashed() -> None:
    peer = Peer()
    peer.receive("1", "2", "room:1", "phx_join")
    peer.start("room:1", "channel")
    assert peer.down("channel") == [["1", "2", "room:1", "phx_reply", JOIN_CRASHED]]
    assert peer.topics == []


@pytest.mark.parametrize("topic", ["room:1", "transient:1", "permanent:1"])
def test_a_channel_that_cannot_be_started_is_answered_join_crashed(topic: str) -> None:
    peer = Peer()
    peer.receive("1", "2", topic, "phx_join")
    assert peer.not_started(topic) == [["1", "2", topic, "phx_reply", JOIN_CRASHED]]
    assert peer.topics == []


@pytest.mark.parametrize(
    "topic",
    [5, -7, 1.5, 10**30, None, True, False, [], ["a"], [97, "b"], [[], ["a", [0x10FFFF]]], ["room:1", ""]],
    ids=repr,
)
def test_a_join_whose_topic_is_no_string_is_unmatched(topic: Any) -> None:
    peer = Peer()
    assert peer.receive("1", "2", topic, "phx_join") == [[None, "2", topic, "phx_reply", UNMATCHED]]
    assert peer.topics == []


NO_TEXT = [{}, {"a": 1}, [{}], ["a", {"a": 1}], [-1], [1.5], [True], [None], [0xD800], [0x110000], [["a", [-1]]]]


@pytest.mark.parametrize("topic", NO_TEXT, ids=repr)
def test_a_join_whose_topic_has_no_text_is_malformed(topic: Any) -> None:
    with pytest.raises(MalformedMessageError, match="a topic must be a string, got"):
        Peer(EverySocket).receive("1", "1", topic, "phx_join")


def test_an_answer_of_a_channel_nobody_knows_is_ignored() -> None:
    peer = Peer()
    assert peer.reply("stranger") == []
    assert peer.closed("stranger") == []
    assert peer.down("stranger") == []


# Messages while a join runs


def test_messages_while_joining_wait_for_the_answer_and_follow_it_in_order() -> None:
    peer = Peer()
    peer.receive("1", "1", "room:1", "phx_join")
    assert peer.receive("1", "2", "room:1", "one") == []
    peer.start("room:1", "channel")
    assert peer.receive(None, "3", "room:1", "two") == []
    assert peer.receive("old", "4", "room:1", "stale") == []
    assert peer.reply("channel") == [
        ["1", "1", "t", "phx_reply", OK],
        ("deliver", "channel", "one", "2"),
        ("deliver", "channel", "two", "3"),
    ]


def test_other_topics_and_heartbeats_do_not_wait_for_a_join() -> None:
    peer = Peer()
    peer.receive("1", "1", "room:1", "phx_join")
    peer.join("room:2", "other", "2", "2")
    assert peer.receive("2", "3", "room:2", "echo") == [("deliver", "other", "echo", "3")]
    assert peer.receive(None, "4", "phoenix", "heartbeat") == [[None, "4", "phoenix", "phx_reply", OK]]


@pytest.mark.parametrize("how", ["refused", "crashed", "not started"])
def test_messages_that_waited_for_a_join_that_failed_meet_a_topic_not_joined(how: str) -> None:
    peer = Peer()
    peer.receive("1", "1", "room:1", "phx_join")
    if how != "not started":
        peer.start("room:1", "channel")
    peer.receive("1", "2", "room:1", "echo")
    peer.receive("1", "3", "room:1", "phx_leave")
    peer.receive("4", "4", "room:1", "phx_join")
    peer.receive("4", "5", "room:1", "late")
    match how:
        case "refused":
            answer, *rest = peer.reply("channel", refuse=True)
        case "crashed":
            answer, *rest = peer.down("channel")
        case _:
            answer, *rest = peer.not_started("room:1")
    assert answer[4]["status"] == "error"
    assert rest == [
        [None, "2", "room:1", "phx_reply", UNMATCHED],
        ["1", "3", "room:1", "phx_reply", OK],
        ("start", Temporary, "room:1", "4", {}),
    ]
    peer.start("room:1", "next")
    assert peer.reply("next", "4", "4")[1:] == [("deliver", "next", "late", "5")]


def test_a_join_while_joining_waits_and_then_is_a_duplicate() -> None:
    peer = Peer()
    peer.receive("1", "1", "room:1", "phx_join")
    peer.start("room:1", "first")
    assert peer.receive("2", "2", "room:1", "phx_join") == []
    assert peer.receive("2", "3", "room:1", "echo") == []
    assert peer.reply("first") == [
        ["1", "1", "t", "phx_reply", OK],
        ("end", "first", Shutdown("duplicate_join")),
        ("start", Temporary, "room:1", "2", {}),
    ]
    peer.start("room:1", "second")
    assert peer.reply("second", "2", "2") == [
        ["2", "2", "t", "phx_reply", OK],
        ("deliver", "second", "echo", "3"),
        ["1", "1", "room:1", "phx_close", {}],
    ]


def test_what_waits_is_counted_and_the_count_ends_before_the_message_is_passed_on() -> None:
    connection = Connection(Routes(UserSocket), SERIALIZER)
    channel: Any = "channel"
    connection.receive(Message("1", "1", "room:1", "phx_join", {}), 100)
    one, two = Message("1", "2", "room:1", "one", {}), Message("old", "3", "room:1", "stale", {})
    assert list(connection.receive(one, 7)) == [Wait(7)]
    assert list(connection.receive(two, 8)) == [Wait(8)]
    connection.started(connection.topics["room:1"], channel)
    frame = SERIALIZER.encode_reply("1", "1", "t", ok())
    replied = connection.join_replied(JoinReply(channel, "room:1", joined=True, reply=frame))
    assert list(replied)[1:] == [Resume(7), Deliver(channel, one, 7), Resume(8)]


# The work is linear in the messages


class StepCount:
    """Calls and line events of connection.py while it is entered."""

    def __init__(self) -> None:
        self.count = 0
        self._before = sys.gettrace()

    def __enter__(self) -> Self:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, _event: str, _arg: object) -> Any:
        return self._step if frame.f_code.co_filename == connection_module.__file__ else None

    def _step(self, _frame: FrameType, _event: str, _arg: object) -> Any:
        self.count += 1
        return self._step


def run_to_the_end(peer: Peer, *, joined: bool) -> None:
    """Start each channel that is to be started, and answer each join, until there is nothing to do."""
    number = 0
    while waiting := [found for found in peer.connection.topics.values() if found.is_waiting]:
        for found in waiting:
            number += 1
            channel: Any = number
            peer.seen(peer.connection.started(found, channel))
            peer.reply(channel, refuse=not joined)
            if found.status is TopicStatus.LEAVING:
                peer.closed(channel, Shutdown("left"))


def joins_of_one_topic(peer: Peer, number: int) -> None:
    for n in range(number):
        peer.receive(str(n), str(n), "room:1", "phx_join")


def joins_and_leaves(peer: Peer, number: int) -> None:
    for n in range(number // 2):
        peer.receive(str(n), str(n), "room:1", "phx_join")
        peer.receive(str(n), str(n), "room:1", "phx_leave")


def messages_behind_a_join(peer: Peer, number: int) -> None:
    peer.receive("1", "1", "room:1", "phx_join")
    for n in range(number):
        peer.receive("1", str(n), "room:1", "echo")


def messages_behind_a_restart(peer: Peer, number: int) -> None:
    peer.join("permanent:1", "first")
    peer.down("first")
    for n in range(number):
        peer.receive("1", str(n), "permanent:1", "echo")


def joins_of_many_topics(peer: Peer, number: int) -> None:
    for n in range(number):
        peer.receive(str(n), str(n), f"room:{n % 100}", "phx_join")


def messages_and_joins(peer: Peer, number: int) -> None:
    for n in range(number // 2):
        peer.receive(str(n), str(n), "room:1", "phx_join")
        peer.receive(str(n), str(n), "room:1", "echo")


@pytest.mark.parametrize("joined", [True, False], ids=["accepted", "refused"])
@pytest.mark.parametrize(
    "flood",
    [
        joins_of_one_topic,
        joins_and_leaves,
        messages_behind_a_join,
        messages_behind_a_restart,
        joins_of_many_topics,
        messages_and_joins,
    ],
)
def test_twice_the_messages_take_twice_the_steps(flood: Callable[[Peer, int], None], *, joined: bool) -> None:
    steps = []
    for number in (400, 800):
        peer = Peer()
        with StepCount() as taken:
            flood(peer, number)
            run_to_the_end(peer, joined=joined)
        steps.append(taken.count)
        assert peer.count.messages == 0
    assert steps[1] < 2.2 * steps[0]


# Section 4: duplicate joins


def test_a_duplicate_join_replaces_the_channel_and_answers_before_it_closes_the_old_one() -> None:
    peer = Peer()
    peer.join("room:1", "old", "1", "1")
    assert peer.receive("2", "2", "room:1", "phx_join", {"again": 1}) == [
        ("end", "old", Shutdown("duplicate_join")),
        ("start", Temporary, "room:1", "2", {"again": 1}),
    ]
    assert peer.down("old", Shutdown("duplicate_join")) == []
    peer.start("room:1", "new")
    assert peer.reply("new", "2", "2") == [["2", "2", "t", "phx_reply", OK], ["1", "1", "room:1", "phx_close", {}]]
    assert peer.receive("1", "3", "room:1", "echo") == []
    assert peer.receive("2", "4", "room:1", "echo") == [("deliver", "new", "echo", "4")]


@pytest.mark.parametrize("how", ["refused", "crashed", "not started"])
def test_a_duplicate_join_that_fails_closes_the_old_one_all_the_same(how: str) -> None:
    peer = Peer()
    peer.join("room:1", "old", "1", "1")
    peer.receive("2", "2", "room:1", "phx_join")
    if how == "not started":
        answer, close = peer.not_started("room:1")
    else:
        peer.start("room:1", "new")
        answer, close = peer.down("new") if how == "crashed" else peer.reply("new", "2", "2", refuse=True)
    assert answer[:2] == ["2", "2"]
    assert answer[4]["status"] == "error"
    assert close == ["1", "1", "room:1", "phx_close", {}]
    assert peer.topics == []


@pytest.mark.parametrize("how", ["refused", "crashed", "not started"])
def test_what_came_with_a_duplicate_join_that_fails_is_answered_before_the_old_one_is_closed(how: str) -> None:
    """In Phoenix the close is a message of the socket to itself, behind what it has read."""
    peer = Peer()
    peer.join("room:1", "old", "1", "1")
    peer.receive("2", "2", "room:1", "phx_join")
    peer.receive("2", "3", "room:1", "echo")
    peer.receive("2", "4", "room:1", "phx_leave")
    if how == "not started":
        seen = peer.not_started("room:1")
    else:
        peer.start("room:1", "new")
        seen = peer.down("new") if how == "crashed" else peer.reply("new", "2", "2", refuse=True)
    assert [(frame[1], frame[3]) for frame in seen] == [
        ("2", "phx_reply"),
        ("3", "phx_reply"),
        ("4", "phx_reply"),
        ("1", "phx_close"),
    ]
    assert peer.topics == []


@pytest.mark.parametrize("refuse", [False, True], ids=["accepted", "refused"])
def test_joins_in_a_row_are_all_answered_before_those_before_them_are_closed(*, refuse: bool) -> None:
    peer = Peer()
    peer.join("room:1", "first", "1", "1")
    for ref in "234":
        peer.receive(ref, ref, "room:1", "phx_join")
    frames = []
    for ref, channel in (("2", "second"), ("3", "third"), ("4", "fourth")):
        peer.start("room:1", channel)
        frames += [each for each in peer.reply(channel, ref, ref, refuse=refuse) if isinstance(each, list)]
    assert [(frame[1], frame[3]) for frame in frames] == [
        *[(ref, "phx_reply") for ref in "234"],
        *[(ref, "phx_close") for ref in ("1" if refuse else "123")],
    ]


def test_what_the_replaced_channel_still_tells_is_ignored() -> None:
    peer = Peer()
    peer.join("transient:1", "old", "1", "1")
    peer.receive("2", "2", "transient:1", "phx_join")
    assert peer.closed("old") == []
    assert peer.down("old") == []
    peer.start("transient:1", "new")
    assert len(peer.reply("new", "2", "2")) == 2


def test_a_topic_that_is_being_left_can_be_joined_again() -> None:
    peer = Peer()
    peer.join("room:1", "old", "1", "1")
    peer.receive("1", "2", "room:1", "phx_leave")
    assert peer.receive("3", "3", "room:1", "phx_join") == [
        ("end", "old", Shutdown("duplicate_join")),
        ("start", Temporary, "room:1", "3", {}),
    ]
    peer.start("room:1", "new")
    assert peer.reply("new", "3", "3")[1] == ["1", "1", "room:1", "phx_close", {}]
    assert peer.connection.topics["room:1"].status is TopicStatus.JOINED


# join_ref: the same JSON value, or null


@pytest.mark.parametrize(
    ("mine", "theirs", "taken"),
    [
        ("1", "1", True),
        ("1", None, True),
        ("1", "2", False),
        ("1", 1, False),
        (1, "1", False),
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        (0, False, False),
        (1.0, 1.0, True),
        ("", "", True),
        ("1", "", False),
        (None, None, True),
        (None, "1", False),
        (False, False, True),
        ([1], [1], True),
        ([1], [1.0], False),
        ([1], [1, 2], False),
        ([[True]], [[1]], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
    ],
    ids=repr,
)
@pytest.mark.parametrize("event", ["echo", "phx_leave"])
def test_a_join_ref_must_be_null_or_the_same_json_value(event: str, mine: Any, theirs: Any, *, taken: bool) -> None:
    peer = Peer()
    peer.join("room:1", "channel", mine, "1")
    assert peer.receive(theirs, "2", "room:1", event) == ([("deliver", "channel", event, "2")] if taken else [])


def test_a_stale_leave_changes_nothing() -> None:
    peer = Peer()
    peer.join("room:1", "channel", "1", "1")
    peer.receive("0", "2", "room:1", "phx_leave")
    assert peer.connection.topics["room:1"].status is TopicStatus.JOINED


def test_a_join_with_a_null_join_ref_closes_with_null() -> None:
    peer = Peer()
    peer.join("room:1", "channel", None, "1")
    assert peer.closed("channel") == [[None, None, "room:1", "phx_close", {}]]


# Limits


def test_one_join_more_than_allowed_is_refused() -> None:
    peer = Peer(max_channels=2)
    peer.join("room:1", "one")
    peer.join("room:2", "two")
    assert peer.receive("3", "3", "room:3", "phx_join") == [
        ("reached", "max_channels"),
        ["3", "3", "room:3", "phx_reply", TOO_MANY],
    ]
    assert peer.topics == ["room:1", "room:2"]


def test_a_topic_without_a_route_is_unmatched_even_at_the_limit() -> None:
    peer = Peer(max_channels=0)
    assert peer.receive("3", "3", "nowhere", "phx_join") == [[None, "3", "nowhere", "phx_reply", UNMATCHED]]


def test_a_join_that_is_not_answered_yet_counts() -> None:
    peer = Peer(max_channels=1)
    peer.receive("1", "1", "room:1", "phx_join")
    assert peer.receive("2", "2", "room:2", "phx_join")[1:] == [["2", "2", "room:2", "phx_reply", TOO_MANY]]


def test_a_duplicate_join_at_the_limit_works() -> None:
    peer = Peer(max_channels=1)
    peer.join("room:1", "one")
    assert [effect[0] for effect in peer.receive("2", "2", "room:1", "phx_join")] == ["end", "start"]


@pytest.mark.parametrize("end", ["left", "crashed", "refused"])
def test_a_channel_that_has_ended_frees_its_slot(end: str) -> None:
    peer = Peer(max_channels=1)
    peer.receive("1", "1", "room:1", "phx_join")
    peer.start("room:1", "one")
    if end == "refused":
        peer.reply("one", refuse=True)
    else:
        peer.reply("one")
        peer.receive("1", "2", "room:1", "phx_leave")
        assert peer.closed("one", Shutdown("left")) if end == "left" else peer.down("one")
    assert peer.receive("3", "3", "room:2", "phx_join") == [("start", Temporary, "room:2", "3", {})]


LONG = [
    pytest.param("x" * 1025, id="ASCII"),
    pytest.param("é" * 513, id="two bytes"),
    pytest.param("😀" * 257, id="four"),
]
JUST = [
    pytest.param("x" * 1024, id="ASCII"),
    pytest.param("é" * 512, id="two bytes"),
    pytest.param("😀" * 256, id="four"),
]


def said_at_length(peer: Peer, topic: Any, event: Any) -> list[Any]:
    """Have a message received whose size is that of its text."""
    message = Message("1", "2", topic, event, {})
    size = len(json.dumps(["1", "2", topic, event, {}], ensure_ascii=False))
    channel = peer.connection.addressee(message, size)
    effects = list(peer.connection.receive(message, size))
    assert channel is None or effects == [Deliver(channel, message, size)]
    return [described(effect) for effect in effects]


@pytest.mark.parametrize("event", ["phx_join", "phx_leave", "echo"])
@pytest.mark.parametrize("topic", LONG)
def test_a_topic_that_is_too_long_is_an_error(topic: str, event: str) -> None:
    peer = Peer(EverySocket)
    answer = {"status": "error", "response": {"reason": "topic too long"}}
    assert said_at_length(peer, topic, event) == [
        ("reached", "topic_length"),
        ["1", "2", topic, "phx_reply", answer],
    ]
    assert peer.topics == []


@pytest.mark.parametrize("event", LONG)
def test_an_event_that_is_too_long_is_an_error_and_does_not_reach_the_channel(event: str) -> None:
    peer = Peer(EverySocket)
    answer = [
        ("reached", "topic_length"),
        ["1", "2", "room:1", "phx_reply", {"status": "error", "response": {"reason": "event too long"}}],
    ]
    assert said_at_length(peer, "room:1", event) == answer
    peer.join("room:1", "channel")
    assert said_at_length(peer, "room:1", event) == answer
    assert said_at_length(peer, "room:1", "echo") == [("deliver", "channel", "echo", "2")]


@pytest.mark.parametrize("name", JUST)
def test_a_topic_and_an_event_may_have_1024_bytes(name: str) -> None:
    peer = Peer(EverySocket)
    assert said_at_length(peer, name, "phx_join") == [("start", Temporary, name, "1", {})]
    peer.start(name, "channel")
    peer.reply("channel")
    assert said_at_length(peer, name, name) == [("deliver", "channel", name, "2")]


def test_an_event_that_is_too_long_waits_for_the_join_as_others_do() -> None:
    connection = Connection(Routes(EverySocket), SERIALIZER, limits=Limits(topic_length=4))
    channel: Any = "channel"
    connection.receive(Message("1", "1", "room", "phx_join", {}), 1)
    assert list(connection.receive(Message("1", "2", "room", "shout", {}), 20)) == [Wait(20)]
    connection.started(connection.topics["room"], channel)
    frame = SERIALIZER.encode_reply("1", "1", "room", ok())
    replied = list(connection.join_replied(JoinReply(channel, "room", joined=True, reply=frame)))
    assert replied[1:3] == [Resume(20), Reached("topic_length")]


JOINS_TOO_LARGE = {"status": "error", "response": {"reason": "joins too large"}}


class Large:
    """A connection whose joins have sizes: 1,000 bytes may be held."""

    def __init__(self) -> None:
        self.connection = Connection(Routes(UserSocket), SERIALIZER, limits=Limits(waiting_bytes=1_000))

    def join(self, topic: str, size: int, join_ref: str = "1") -> list[Any]:
        message = Message(join_ref, join_ref, topic, "phx_join", {})
        effects = [described(effect) for effect in self.connection.receive(message, size)]
        if effects[-1][0] == "start":
            channel: Any = topic + join_ref
            self.connection.started(self.connection.topics[topic], channel)
            frame = SERIALIZER.encode_reply("1", "1", topic, ok())
            self.connection.join_replied(JoinReply(channel, topic, joined=True, reply=frame))
        return effects


def test_the_joins_of_a_connection_may_hold_so_much_together() -> None:
    large = Large()
    assert large.join("room:1", 600)[0][0] == "start"
    assert large.join("room:2", 401) == [
        ("reached", "waiting_bytes"),
        ["1", "1", "room:2", "phx_reply", JOINS_TOO_LARGE],
    ]
    assert large.join("room:2", 400)[0][0] == "start"
    assert large.join("room:3", 300)[0] == ("reached", "waiting_bytes")
    gone: Any = "room:11"
    large.connection.down(gone, CRASH, 0.0)
    assert large.join("room:3", 600)[0][0] == "start"


def test_the_first_join_may_be_as_large_as_a_message() -> None:
    large = Large()
    assert large.join("room:1", 5_000_000)[0][0] == "start"
    assert large.join("room:2", 300)[0] == ("reached", "waiting_bytes")
    assert large.join("room:1", 5_000_000, "2")[0][0] == "end"


def test_a_second_join_of_a_topic_takes_the_place_of_the_first() -> None:
    large = Large()
    large.join("room:1", 500)
    large.join("room:2", 500)
    assert large.join("room:1", 500, "2")[0][0] == "end"
    assert large.join("room:1", 501, "3")[0] == ("reached", "waiting_bytes")
    assert large.connection.topics["room:1"].join_ref == "2"
    for gone in ("room:12", "room:21"):
        channel: Any = gone
        large.connection.down(channel, CRASH, 0.0)
    assert large.connection._held == 0


@pytest.mark.parametrize(
    "refs", [("x" * 1030, "1"), (None, "x" * 1030), (["x" * 1030], "1")], ids=["join_ref", "ref", "list"]
)
def test_a_join_ref_that_every_push_would_repeat_is_not_longer_than_a_topic(refs: tuple[Any, Any]) -> None:
    message = Message(*refs, "room:1", "phx_join", {})
    connection = Connection(Routes(UserSocket), SERIALIZER)
    reached, answer = (described(effect) for effect in connection.receive(message, 1100))
    assert reached == ("reached", "topic_length")
    assert answer == [*refs, "room:1", "phx_reply", {"status": "error", "response": {"reason": "join_ref too long"}}]
    assert connection.topics == {}


@pytest.mark.parametrize(
    "name", [None, 7, ["x" * 2000], {"x" * 2000: 1}], ids=["null", "a number", "a list", "an object"]
)
def test_what_is_no_string_has_no_length(name: Any) -> None:
    peer = Peer()
    peer.join("room:1", "channel")
    assert said_at_length(peer, "room:1", name) == [("deliver", "channel", name, "2")]
    assert said_at_length(peer, name, "x")[0][4] == UNMATCHED


# Section 5: how it ends


def test_a_leave_is_the_channels_to_answer_and_then_the_topic_is_closed() -> None:
    peer = Peer()
    peer.join("room:1", "channel", "1", "1")
    assert peer.receive("1", "2", "room:1", "phx_leave") == [("deliver", "channel", "phx_leave", "2")]
    assert peer.connection.topics["room:1"].status is TopicStatus.LEAVING
    assert peer.closed("channel", Shutdown("left")) == [["1", "1", "room:1", "phx_close", {}]]
    assert peer.down("channel", Shutdown("left")) == []
    assert peer.topics == []


def test_messages_while_leaving_still_go_to_the_channel() -> None:
    peer = Peer()
    peer.join("room:1", "channel", "1", "1")
    peer.receive("1", "2", "room:1", "phx_leave")
    assert peer.receive("1", "3", "room:1", "echo") == [("deliver", "channel", "echo", "3")]
    assert peer.receive("1", "4", "room:1", "phx_leave") == [("deliver", "channel", "phx_leave", "4")]


@pytest.mark.parametrize("topic", ["room:1", "transient:1", "permanent:1"])
def test_a_channel_that_crashes_while_leaving_is_an_error_and_not_restarted(topic: str) -> None:
    peer = Peer()
    peer.join(topic, "channel", "1", "1")
    peer.receive("1", "2", topic, "phx_leave")
    assert peer.down("channel") == [["1", "1", topic, "phx_error", CHANNEL_CRASH]]
    assert peer.topics == []


@pytest.mark.parametrize("reason", [NORMAL, Shutdown(), Shutdown("left"), CRASH, KILLED], ids=str)
def test_every_end_that_was_not_announced_is_an_error(reason: ExitReason) -> None:
    peer = Peer()
    peer.join("room:1", "channel", "1", "1")
    assert peer.down("channel", reason) == [["1", "1", "room:1", "phx_error", CHANNEL_CRASH]]
    assert peer.topics == []


@pytest.mark.parametrize("topic", ["room:1", "transient:1"])
@pytest.mark.parametrize("reason", [NORMAL, Shutdown(), Shutdown("done")], ids=str)
def test_an_end_on_purpose_is_a_close(topic: str, reason: ExitReason) -> None:
    peer = Peer()
    peer.join(topic, "channel", "1", "1")
    assert peer.closed("channel", reason) == [["1", "1", topic, "phx_close", {}]]
    assert peer.down("channel", reason) == []
    assert peer.receive("1", "2", topic, "echo") == [[None, "2", topic, "phx_reply", UNMATCHED]]


# Channels that the server restarts


def test_a_transient_channel_that_crashes_is_joined_again_without_a_word() -> None:
    peer = Peer()
    peer.receive("1", "1", "transient:1", "phx_join", {"user": "alice"})
    peer.start("transient:1", "first")
    peer.reply("first")
    assert peer.down("first") == [("start", Transient, "transient:1", "1", {"user": "alice"})]
    assert peer.start("transient:1", "second") == [("monitor", "second")]
    assert peer.reply("second") == []
    assert peer.receive("1", "2", "transient:1", "echo") == [("deliver", "second", "echo", "2")]
    assert peer.down("first") == []


@pytest.mark.parametrize("reason", [NORMAL, Shutdown(), Shutdown("x")], ids=str)
def test_a_transient_channel_is_not_restarted_after_an_orderly_end(reason: ExitReason) -> None:
    peer = Peer()
    peer.join("transient:1", "channel", "1", "1")
    assert peer.down("channel", reason) == [["1", "1", "transient:1", "phx_error", CHANNEL_CRASH]]


@pytest.mark.parametrize("reason", [NORMAL, Shutdown(), Shutdown("x"), CRASH, KILLED], ids=str)
def test_a_permanent_channel_is_restarted_whatever_ended_it(reason: ExitReason) -> None:
    peer = Peer()
    peer.join("permanent:1", "first", "1", "1")
    assert peer.down("first", reason) == [("start", Permanent, "permanent:1", "1", {})]


def test_a_permanent_channel_that_ends_on_purpose_is_restarted_once() -> None:
    peer = Peer()
    peer.join("permanent:1", "first", "1", "1")
    assert peer.closed("first", NORMAL) == [("start", Permanent, "permanent:1", "1", {})]
    assert peer.down("first", NORMAL) == []


def test_a_permanent_channel_that_the_client_leaves_is_gone() -> None:
    peer = Peer()
    peer.join("permanent:1", "channel", "1", "1")
    peer.receive("1", "2", "permanent:1", "phx_leave")
    assert peer.closed("channel", Shutdown("left")) == [["1", "1", "permanent:1", "phx_close", {}]]
    assert peer.topics == []


def test_messages_wait_for_a_restart() -> None:
    peer = Peer()
    peer.join("transient:1", "first", "1", "1")
    peer.down("first")
    assert peer.receive("1", "2", "transient:1", "echo") == []
    peer.start("transient:1", "second")
    assert peer.receive("1", "3", "transient:1", "phx_leave") == []
    assert peer.reply("second") == [("deliver", "second", "echo", "2"), ("deliver", "second", "phx_leave", "3")]
    assert peer.connection.topics["transient:1"].status is TopicStatus.LEAVING


@pytest.mark.parametrize("how", ["refused", "crashed", "not started"])
def test_a_restart_that_fails_is_an_error_and_what_waited_meets_a_topic_not_joined(how: str) -> None:
    peer = Peer()
    peer.join("permanent:1", "first", "1", "1")
    peer.down("first")
    peer.receive("1", "2", "permanent:1", "echo")
    if how == "not started":
        seen = peer.not_started("permanent:1")
    else:
        peer.start("permanent:1", "second")
        seen = peer.down("second") if how == "crashed" else peer.reply("second", refuse=True)
    assert seen == [
        ["1", "1", "permanent:1", "phx_error", CHANNEL_CRASH],
        [None, "2", "permanent:1", "phx_reply", UNMATCHED],
    ]
    assert peer.topics == []
    assert peer.down("second") == []


def crash_and_restart(peer: Peer, number: int, now: float) -> list[Any]:
    """Let channel `number` of transient:1 crash; start the next one if that is what follows."""
    effects = peer.down(number, now=now)
    if effects[0][0] == "start":
        peer.start("transient:1", number + 1)
        peer.reply(number + 1)
    return effects


def test_more_restarts_than_the_intensity_allows_are_an_error() -> None:
    peer = Peer()
    peer.join("transient:1", 0, "1", "1")
    for number in range(3):
        assert crash_and_restart(peer, number, now=1.0)[0][0] == "start"
    assert crash_and_restart(peer, 3, now=5.9) == [["1", "1", "transient:1", "phx_error", CHANNEL_CRASH]]
    assert peer.topics == []


def test_restarts_are_forgotten_with_time() -> None:
    peer = Peer()
    peer.join("transient:1", 0, "1", "1")
    for number in range(9):
        assert crash_and_restart(peer, number, now=2.0 * number)[0][0] == "start"


def test_each_topic_has_an_intensity_of_its_own() -> None:
    peer = Peer()
    peer.join("transient:1", 0, "1", "1")
    peer.join("transient:2", "other", "2", "2")
    for number in range(4):
        crash_and_restart(peer, number, now=1.0)
    assert peer.down("other", now=1.0) == [("start", Transient, "transient:2", "2", {})]


# Anything at all

KEYS = st.sampled_from(["1", "2", 1, None, "", [1], {"a": 1}])
TOPICS = st.sampled_from(["phoenix", "room:1", "room:2", "transient:1", "permanent:1", "nowhere", None, 7])
EVENTS = st.sampled_from(["phx_join", "phx_leave", "heartbeat", "phx_close", "echo", None])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
SENSIBLE = st.tuples(KEYS, KEYS, TOPICS, EVENTS, st.just({})).map(json.dumps)
TEXTS = (
    st.text()
    | st.binary()
    | JSON.map(json.dumps)
    | st.tuples(JSON, JSON, JSON | TOPICS, JSON | EVENTS, JSON).map(json.dumps)
    | SENSIBLE
)


def receive_data(connection: Connection, data: str | bytes) -> list[Effect]:
    """Do what the transport does with what comes in."""
    try:
        return receive(connection, SERIALIZER.decode(data))
    except MalformedMessageError:
        return []


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS, max_size=15))
def test_whatever_comes_in_is_answered_or_malformed_and_is_kept_once_at_most(texts: list[str | bytes]) -> None:
    connection = Connection(Routes(UserSocket), SERIALIZER, max_channels=2)
    count = WaitingCount()
    for data in texts:
        count.add(receive_data(connection, data))
    assert len(connection.topics) <= 2
    assert count.is_of(connection)
    waiting = sum(len(joined.pending or ()) for joined in connection.topics.values())
    assert waiting + len(connection.topics) <= len(texts)


class AnyOrder(RuleBasedStateMachine):
    """Whatever the client sends and the channels do in turn: when all channels have ended, nothing is left."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = Connection(Routes(UserSocket), SERIALIZER, max_channels=3)
        self.starting: list[Any] = []
        self.running: list[Any] = []
        self.count = WaitingCount()

    def carry_out(self, effects: Effects) -> None:
        effects = list(effects)
        self.count.add(effects)
        for effect in effects:
            if isinstance(effect, StartChannel):
                self.starting.append(effect.joined)
            elif isinstance(effect, EndChannel):
                assert effect.channel in self.running

    def status(self, channel: Any) -> TopicStatus | None:
        joined = self.connection._by_channel.get(channel)
        return None if joined is None else joined.status

    @rule(text=SENSIBLE)
    def receive(self, text: str) -> None:
        self.carry_out(receive_data(self.connection, text))

    @precondition(lambda self: self.starting)
    @rule()
    def start(self) -> None:
        channel: Any = object()
        self.running.append(channel)
        self.carry_out(self.connection.started(self.starting.pop(0), channel))

    @precondition(lambda self: self.starting)
    @rule()
    def fail_to_start(self) -> None:
        self.carry_out(self.connection.not_started(self.starting.pop(0)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), joined=st.booleans())
    def answer(self, data: st.DataObject, *, joined: bool) -> None:
        channel = data.draw(st.sampled_from(self.running))
        if self.status(channel) in {TopicStatus.JOINING, TopicStatus.RESTARTING}:
            frame = SERIALIZER.encode_reply(None, None, "t", ok())
            self.carry_out(self.connection.join_replied(JoinReply(channel, "t", joined, frame)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), reason=st.sampled_from([NORMAL, Shutdown("left"), CRASH, KILLED]), announced=st.booleans())
    def end(self, data: st.DataObject, reason: ExitReason, *, announced: bool) -> None:
        channel = data.draw(st.sampled_from(self.running))
        if announced and reason.is_graceful and self.status(channel) in {TopicStatus.JOINED, TopicStatus.LEAVING}:
            self.carry_out(self.connection.closed(channel, reason, 0.0))
        self.running.remove(channel)
        self.carry_out(self.connection.down(channel, reason, 0.0))

    @invariant()
    def it_has_no_more_topics_than_allowed(self) -> None:
        assert len(self.connection.topics) <= 3

    @invariant()
    def what_waits_is_counted(self) -> None:
        assert self.count.is_of(self.connection)

    def teardown(self) -> None:
        while self.starting or self.running:
            if self.starting:
                self.fail_to_start()
            else:
                self.carry_out(self.connection.down(self.running.pop(), KILLED, 0.0))
        assert not self.connection.topics
        assert not self.connection._by_channel


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(deadline=None, max_examples=30, stateful_step_count=30)
