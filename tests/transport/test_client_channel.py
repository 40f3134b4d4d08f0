"""A client's channel: the behaviours that phoenix.js' own tests name, in virtual time."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest

from actors.channels.message import Message
from tests.transport.client_world import World
from transport.client.exceptions import AlreadyJoinedError, BufferFullError, ClosedError, NotJoinedError


@pytest.fixture
def world() -> World:
    return World()


# Joining


def test_a_join_is_sent_with_its_params_and_its_own_ref_as_join_ref(world: World) -> None:
    world.open()
    member = world.channel("room:1", {"one": "two"})
    assert member.state == "closed"
    member.join()
    assert member.state == "joining"
    (join,) = world.sent
    assert (join.topic, join.event, join.payload) == ("room:1", "phx_join", {"one": "two"})
    assert join.join_ref == join.ref is not None


def test_a_join_that_is_answered_is_joined_and_its_timer_is_over(world: World) -> None:
    world.open()
    member = world.channel()
    answers = member.join()
    world.answer(world.sent[0], "ok", {"here": 1})
    assert member.state == "joined"
    assert answers == [("ok", {"here": 1})]
    assert world.running() == ["heartbeat"]


def test_a_channel_is_joined_once(world: World) -> None:
    member = world.joined()
    with pytest.raises(AlreadyJoinedError, match="'room:1' was joined before"):
        member.channel.join()


def test_a_channel_that_was_left_is_not_joined(world: World) -> None:
    member = world.channel()
    member.leave()
    with pytest.raises(ClosedError, match="was left"):
        member.channel.join()


def test_a_join_without_a_connection_waits_for_one_and_is_sent_once(world: World) -> None:
    member = world.channel()
    member.join()
    assert (member.state, world.sent) == ("joining", [])
    never_sent = member.channel.join_ref
    world.open()
    assert world.events() == ["phx_join"]
    world.say(None, never_sent, "room:1", "phx_reply", {"status": "ok", "response": {}})
    assert member.state == "joining"
    world.answer(world.sent[0])
    assert member.state == "joined"


def test_a_join_without_a_connection_times_out_for_who_waits_and_is_made_all_the_same(world: World) -> None:
    world.socket.connect()
    member = world.channel()
    answers = member.join(timeout=5)
    world.advance(5)
    assert answers == [("timeout", {})]
    assert member.state == "errored"
    world.open()
    world.answer(world.sent[-1])
    assert answers == [("timeout", {}), ("ok", {})]


def test_a_join_whose_connection_is_lost_still_times_out(world: World) -> None:
    world.open()
    member = world.channel()
    answers = member.join(timeout=5)
    world.drop()
    assert (member.state, answers) == ("errored", [])
    world.refuse()
    world.advance(5)
    assert answers == [("timeout", {})]


def test_a_refused_join_is_tried_again_with_back_off(world: World) -> None:
    world.open()
    member = world.channel()
    answers = member.join()
    world.answer(world.sent[0], "error", {"reason": "full"})
    assert (member.state, answers) == ("errored", [("error", {"reason": "full"})])
    for wait, count in [(1, 2), (2, 3), (5, 4), (10, 5), (10, 6)]:
        world.advance(wait - 0.1)
        assert len(world.sent) == count - 1
        world.advance(0.1)
        assert world.events() == ["phx_join"] * count
        world.answer(world.sent[-1], "error", {"reason": "full"})
    assert answers == [("error", {"reason": "full"})] * 6


def test_the_back_off_begins_anew_after_a_join(world: World) -> None:
    world.open()
    member = world.channel()
    member.join()
    world.answer(world.sent[-1], "error")
    world.advance(1)
    world.answer(world.sent[-1])
    world.advance(5)
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    world.sent.clear()
    world.advance(1)
    assert world.events() == ["phx_join"]


def test_a_channel_that_crashes_after_each_join_joins_ever_more_rarely(world: World) -> None:
    member = world.joined()
    for wait in [1, 2, 5, 10, 10]:
        world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
        world.advance(wait * 0.9)
        assert world.events() == []
        world.advance(wait * 0.1)
        assert world.events() == ["phx_join"]
        world.answer(world.sent.pop())


def test_each_join_has_another_ref(world: World) -> None:
    world.open()
    world.channel().join()
    for _ in range(3):
        world.answer(world.sent[-1], "error")
        world.advance(5)
    assert len({message.ref for message in world.sent}) == 4


def test_a_join_that_is_not_answered_leaves_and_tries_again(world: World) -> None:
    world.open()
    member = world.channel()
    answers = member.join()
    first = world.sent[0]
    world.advance(10)
    assert (member.state, answers) == ("errored", [("timeout", {})])
    assert world.events() == ["phx_join", "phx_leave"]
    assert world.sent[1].join_ref == first.ref
    world.advance(1)
    assert world.events() == ["phx_join", "phx_leave", "phx_join"]
    world.answer(first)
    assert member.state == "joining", "the answer to the first join comes too late"
    world.answer(world.sent[-1])
    assert member.state == "joined"


def test_a_second_channel_of_a_topic_makes_the_first_leave(world: World) -> None:
    first = world.joined()
    ref = first.channel.join_ref
    second = world.channel()
    second.join()
    assert world.events() == ["phx_leave", "phx_join"]
    assert world.sent[0].join_ref == ref
    world.answer(world.sent[0])
    world.answer(world.sent[1])
    assert (first.state, second.state) == ("closed", "joined")
    assert world.socket.channels == [second.channel]


def test_params_may_be_a_function_that_is_asked_for_each_join(world: World) -> None:
    world.open()
    member = world.channel("room:1", lambda: {"never": "called here"})
    member.join()
    assert world.sent == []
    world.resolving[0].done({"token": "first"})
    world.settle()
    assert [message.payload for message in world.sent] == [{"token": "first"}]
    world.answer(world.sent[0])
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    world.advance(1)
    world.resolving[1].done({"token": "second"})
    world.settle()
    assert [message.payload for message in world.sent] == [{"token": "first"}, {"token": "second"}]


def test_params_that_come_too_late_are_not_sent(world: World) -> None:
    world.open()
    member = world.channel("room:1", dict)
    member.join()
    world.drop()
    world.open()
    world.resolving[0].done({"token": "first"})
    world.settle()
    assert world.sent == []
    world.resolving[1].done({"token": "second"})
    world.settle()
    assert [message.payload for message in world.sent] == [{"token": "second"}]


def test_params_that_fail_are_told_to_who_waits_and_tried_again(world: World) -> None:
    world.open()
    member = world.channel("room:1", dict)
    answers = member.join()
    world.resolving[0].failed(KeyError("token"))
    world.settle()
    assert (member.state, answers) == ("errored", [("error", {"reason": "the params failed: KeyError('token')"})])
    causes = [answers.push.cause]
    world.advance(1)
    assert len(world.resolving) == 2
    # The server's refusal has no cause here.
    world.resolving[1].done({})
    world.settle()
    world.answer(world.sent[-1], "error", {})
    causes.append(answers.push.cause)
    assert answers[1] == ("error", {})
    assert [type(cause) for cause in causes] == [KeyError, type(None)]


# Errors


def test_a_channel_that_crashed_joins_again_and_says_so(world: World) -> None:
    member = world.joined()
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {"reason": "crash"})
    assert (member.state, member.heard) == ("errored", [("phx_error", {"reason": "crash"})])
    world.advance(1)
    world.answer(world.sent[-1])
    assert (member.state, member.ends) == ("joined", 0)


@pytest.mark.parametrize("state", ["joining", "joined"])
def test_a_lost_connection_is_an_error_of_its_channels(world: World, state: str) -> None:
    world.open()
    member = world.channel()
    member.join()
    if state == "joined":
        world.answer(world.sent[-1])
    world.drop()
    assert member.state == "errored"
    assert member.heard == [("phx_error", {"source": "transport", "reason": "connection_closed"})]


def test_tries_to_connect_that_fail_are_no_further_errors_of_a_channel(world: World) -> None:
    member = world.joined()
    world.drop()
    for _ in range(3):
        world.advance(10)
        world.refuse()
    assert len(member.heard) == 1


def test_a_channel_does_not_try_to_join_without_a_connection(world: World) -> None:
    member = world.joined()
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    assert world.running() == ["heartbeat", "rejoin room:1"]
    world.drop()
    world.advance(5)
    assert (member.state, world.running(), world.sent) == ("errored", ["connect"], [])


def test_a_channel_joins_again_at_once_with_the_next_connection(world: World) -> None:
    member = world.joined()
    world.drop()
    world.open()
    assert world.events() == ["phx_join"]
    world.answer(world.sent[0])
    assert member.state == "joined"


# Pushes


def test_a_push_has_a_ref_of_its_own_and_is_answered_once(world: World) -> None:
    member = world.joined()
    answers = member.push("new_msg", {"body": "hi"})
    (push,) = world.sent
    assert (push.topic, push.event, push.payload) == ("room:1", "new_msg", {"body": "hi"})
    assert push.join_ref == member.channel.join_ref != push.ref
    world.answer(push, "ok", {"id": 1})
    world.answer(push, "ok", {"id": 2})
    assert answers == [("ok", {"id": 1})]
    assert world.running() == ["heartbeat"]


def test_receive_hears_only_its_status_and_also_late(world: World) -> None:
    member = world.joined()
    push = member.channel.push("save", {})
    heard: list[tuple[str, Any]] = []
    push.receive("ok", lambda response: heard.append(("ok", response)))
    push.receive("error", lambda response: heard.append(("error", response)))
    world.settle()
    world.answer(world.sent[0], "error", {"reason": "no"})
    push.receive("error", lambda response: heard.append(("late", response)))
    push.receive("ok", lambda response: heard.append(("never", response)))
    world.settle()
    assert heard == [("error", {"reason": "no"}), ("late", {"reason": "no"})]


@pytest.mark.parametrize("wrong", [-1, math.nan, "10", True])
def test_a_time_out_that_is_no_time_is_refused_and_changes_nothing(world: World, wrong: Any) -> None:
    member, other = world.joined(), world.channel("room:2")
    for ask in (partial(member.push, "event", {}), member.leave, other.join):
        with pytest.raises(ValueError, match=rf"^timeout must be seconds >= 0, got {wrong!r}$"):
            ask(timeout=wrong)
    assert (world.sent, member.state, other.state) == ([], "joined", "closed")


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 10), (2, 2), (0, 0)], ids=["default", "own", "none at all"])
def test_a_push_times_out_and_its_late_answer_is_dropped(world: World, timeout: float | None, seconds: float) -> None:
    member = world.joined()
    answers = member.push("slow", {}, timeout)
    push = world.sent[0]
    if seconds:
        world.advance(seconds - 0.1)
        assert answers == []
    world.advance(0.1)
    assert answers == [("timeout", {})]
    world.answer(push, "ok", {"late": True})
    assert answers == [("timeout", {})]


def test_a_join_with_a_time_out_sets_that_of_its_pushes(world: World) -> None:
    world.open()
    member = world.channel()
    member.join(timeout=3)
    world.answer(world.sent[-1])
    answers = member.push("slow")
    world.advance(3)
    assert answers == [("timeout", {})]


def test_pushes_wait_for_the_join_in_their_order(world: World) -> None:
    world.open()
    member = world.channel()
    member.join()
    answers = [member.push(f"event{number}") for number in range(3)]
    assert world.events() == ["phx_join"]
    world.answer(world.sent[0])
    assert world.events() == ["phx_join", "event0", "event1", "event2"]
    for message in world.sent[1:]:
        assert message.join_ref == member.channel.join_ref
        world.answer(message, "ok", message.event)
    assert answers == [[("ok", "event0")], [("ok", "event1")], [("ok", "event2")]]


def test_pushes_wait_for_the_connection_too(world: World) -> None:
    member = world.joined()
    world.drop()
    answers = member.push("later", {"n": 1}, timeout=100)
    world.advance(60)
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join", "later"]
    world.answer(world.sent[-1])
    assert answers == [("ok", {})]


def test_a_push_that_timed_out_while_it_waited_is_not_sent(world: World) -> None:
    member = world.joined()
    world.drop()
    answers = member.push("stale")
    world.advance(10)
    assert (answers, member.channel.buffer) == ([("timeout", {})], [])
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join"]


def test_pushes_that_wait_are_bounded() -> None:
    world = World(max_buffered=2)
    member = world.joined()
    world.drop()
    member.push("one")
    member.push("two")
    with pytest.raises(BufferFullError, match="2 pushes are waiting") as full:
        member.push("three")
    assert (full.value.topic, full.value.event, full.value.limit) == ("room:1", "three", 2)
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join", "one", "two"]
    member.push("three")


def test_a_push_before_the_join_says_what_to_do(world: World) -> None:
    with pytest.raises(NotJoinedError, match=r"call channel\.join\(\) first"):
        world.channel().channel.push("early", {})


def test_a_push_that_a_crash_has_swallowed_times_out(world: World) -> None:
    member = world.joined()
    answers = member.push("crash")
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    world.advance(1)
    world.answer(world.sent[-1])
    assert answers == []
    world.advance(9)
    assert answers == [("timeout", {})]


@pytest.mark.parametrize(
    ("ref", "payload"),
    [(None, {"status": "ok", "response": {}}), (5, {"status": "ok", "response": {}}), ([], {}), ("1", []), ("1", None)],
    ids=["no ref", "a number", "a list", "no object", "null"],
)
def test_a_reply_that_is_none_is_dropped(world: World, ref: Any, payload: Any) -> None:
    member = world.joined()
    answers = member.push("event")
    world.socket.received(world.socket.connection, Message(None, ref, "room:1", "phx_reply", payload))
    world.settle()
    assert (member.state, answers) == ("joined", [])


# Events


def test_callbacks_hear_their_event_and_messages_are_delivered(world: World) -> None:
    member = world.joined()
    member.listen("new_msg")
    member.listen("new_msg")
    world.say(None, None, "room:1", "new_msg", {"n": 1})
    world.say(member.channel.join_ref, None, "room:1", "other", {"n": 2})
    assert member.heard == [("new_msg", {"n": 1})] * 2
    assert [message.event for message in member.delivered] == ["new_msg", "other"]


def test_replies_errors_and_closes_are_no_messages(world: World) -> None:
    member = world.joined()
    member.push("event")
    world.answer(world.sent[0])
    world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    world.say(member.channel.join_ref, None, "room:1", "phx_close", {})
    assert member.delivered == []


@pytest.mark.parametrize(
    ("which", "left"), [("first", ["second"]), (None, [])], ids=["one by its ref", "all of the event"]
)
def test_callbacks_are_taken_back(world: World, which: str | None, left: list[str]) -> None:
    member = world.joined()
    heard: list[str] = []
    first = member.channel.on("event", lambda _: heard.append("first"))
    member.channel.on("event", lambda _: heard.append("second"))
    member.channel.on("other", lambda _: heard.append("other"))
    member.channel.off("event", first if which else None)
    world.say(None, None, "room:1", "event", {})
    world.say(None, None, "room:1", "other", {})
    assert heard == [*left, "other"]


def test_messages_of_an_earlier_join_are_dropped(world: World) -> None:
    member = world.joined()
    stale = member.channel.join_ref
    world.drop()
    world.open()
    world.answer(world.sent[-1])
    world.say(stale, None, "room:1", "new_msg", {"stale": True})
    world.say(stale, None, "room:1", "phx_close", {})
    world.say(stale, None, "room:1", "phx_error", {})
    assert (member.state, member.delivered) == ("joined", [])


def test_messages_of_other_topics_are_not_heard(world: World) -> None:
    member, other = world.joined("room:1"), world.joined("room:2")
    world.say(None, None, "room:2", "new_msg", {})
    assert (len(member.delivered), len(other.delivered)) == (0, 1)


# Closing


def test_leaving_is_over_when_the_server_says_so(world: World) -> None:
    member = world.joined()
    answers = member.leave()
    assert (member.state, world.events(), answers) == ("leaving", ["phx_leave"], [])
    world.answer(world.sent[0])
    assert (member.state, answers, member.ends) == ("closed", [("ok", {})], 1)
    assert member.heard == [("phx_close", "leave")]
    assert (world.socket.channels, world.running()) == ([], ["heartbeat"])


def test_nothing_is_heard_while_leaving_but_answers(world: World) -> None:
    member = world.joined()
    asked = member.push("question")
    member.leave()
    world.say(None, None, "room:1", "new_msg", {})
    world.answer(world.sent[0], "ok", "answer")
    assert (member.delivered, asked) == ([], [("ok", "answer")])


@pytest.mark.parametrize("how", ["answer", "close", "error", "timeout", "drop"])
def test_however_leaving_ends_the_channel_is_closed_once(world: World, how: str) -> None:
    member = world.joined()
    answers = member.leave()
    ref = member.channel.join_ref
    match how:
        case "answer":
            world.answer(world.sent[0])
            world.say(ref, None, "room:1", "phx_close", {})
        case "close" | "error":
            world.say(ref, None, "room:1", f"phx_{how}", {})
        case "timeout":
            world.advance(10)
        case "drop":
            world.drop()
    assert (member.state, member.ends, world.socket.channels) == ("closed", 1, [])
    assert answers == [("timeout" if how == "timeout" else "ok", {})]
    assert [event for event, _ in member.heard] == ["phx_close"]
    world.advance(100)
    assert "phx_join" not in world.events()


def test_who_leaves_while_joining_is_closed_at_once_and_the_server_is_told(world: World) -> None:
    world.open()
    member = world.channel()
    joining = member.join()
    left = member.leave()
    assert (member.state, left, joining) == ("closed", [("ok", {})], [("closed", {})])
    assert world.events() == ["phx_join", "phx_leave"]


@pytest.mark.parametrize("case", ["never joined", "errored", "not connected"])
def test_who_leaves_what_the_server_does_not_have_is_closed_without_a_word(world: World, case: str) -> None:
    member = world.channel() if case == "never joined" else world.joined()
    if case == "errored":
        world.say(member.channel.join_ref, None, "room:1", "phx_error", {})
    if case == "not connected":
        world.drop()
    assert member.leave() == [("ok", {})]
    assert (member.state, world.sent, world.socket.channels) == ("closed", [], [])
    world.advance(100)
    assert "phx_join" not in world.events()


def test_leaving_twice_is_leaving_once(world: World) -> None:
    member = world.joined()
    first, second = member.leave(), member.leave()
    assert first.push is second.push
    assert world.events() == ["phx_leave"]


def test_a_channel_that_the_server_closes_does_not_join_again(world: World) -> None:
    member = world.joined()
    waiting = member.push("question")
    world.say(member.channel.join_ref, None, "room:1", "phx_close", {})
    assert (member.state, member.ends, waiting) == ("closed", 1, [("closed", {})])
    world.sent.clear()
    world.advance(29)
    assert world.sent == []
    with pytest.raises(ClosedError, match="the channel is closed"):
        member.push("too late")
    assert member.leave() == [("ok", {})]
    assert (member.state, member.ends, [event for event, _ in member.heard]) == ("closed", 1, ["phx_close"])


def test_a_push_to_a_channel_that_is_leaving_is_refused(world: World) -> None:
    member = world.joined()
    member.leave()
    with pytest.raises(ClosedError, match="the channel is leaving"):
        member.push("too late")


# Pushes that are handled once


def test_a_push_that_is_made_again_is_sent_until_it_is_answered(world: World) -> None:
    member = world.joined()
    answers = member.push("say", {"n": 1}, again=True)
    member.push("typing")
    sent = world.sent[0]
    for _ in range(2):
        world.drop()
        world.sent.clear()
        member.push("say", {"n": 2})  # waits for the join
        world.open()
        world.answer(world.sent[-1])
        join, again, *buffered = world.sent
        assert (again.ref, again.event, again.payload) == (sent.ref, "say", {"n": 1})
        assert again.join_ref == join.ref
        assert [message.payload for message in buffered] == [{"n": 2}]
    world.answer(again, "ok", {"done": 1})
    assert answers == [("ok", {"done": 1})]
    world.drop()
    world.sent.clear()
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join"]


def test_a_push_that_is_made_again_waits_for_a_connection_once(world: World) -> None:
    member = world.joined()
    world.drop()
    world.sent.clear()
    member.push("say", again=True)
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join", "say"]


def test_a_push_that_is_made_again_is_given_up_in_time(world: World) -> None:
    member = world.joined()
    answers = member.push("say", timeout=5, again=True)
    world.drop()
    world.sent.clear()
    world.socket.disconnect()
    world.advance(5)
    assert answers == [("timeout", {})]
    world.open()
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join"]


def test_a_push_that_is_made_again_and_finds_no_channel_is_sent_after_the_rejoin(world: World) -> None:
    member = world.joined()
    once, again = member.push("say"), member.push("say", again=True)
    pushes = list(world.sent)
    # Both crossed the end of their channel on the wire.
    world.say(member.channel.join_ref, member.channel.join_ref, "room:1", "phx_error", {"reason": "channel_crash"})
    for push in pushes:
        world.say(None, push.ref, "room:1", "phx_reply", {"status": "error", "response": {"reason": "unmatched topic"}})
    assert (once, again) == ([("error", {"reason": "unmatched topic"})], [])
    world.sent.clear()
    world.advance(1)
    world.answer(world.sent[-1])
    assert world.events() == ["phx_join", "say"]
    world.answer(world.sent[-1])
    assert again == [("ok", {})]


NOT_NOW = {"status": "error", "response": {"reason": "in progress", "@retry": 2.0}}


def test_a_push_that_is_made_again_is_sent_when_the_server_says_so(world: World) -> None:
    member = world.joined()
    once, again = member.push("say"), member.push("say", again=True)
    for push in list(world.sent):
        world.say(None, push.ref, "room:1", "phx_reply", NOT_NOW)
    assert (once, again) == ([("error", NOT_NOW["response"])], [])
    world.sent.clear()
    world.advance(1.5)
    assert world.events() == []
    world.advance(0.5)
    assert world.events() == ["say"]
    world.answer(world.sent[-1])
    assert again == [("ok", {})]


def test_a_push_that_is_made_again_is_not_sent_when_it_is_answered_or_while_the_channel_rejoins(world: World) -> None:
    member = world.joined()
    answers = member.push("say", again=True)
    sent = world.sent[-1]
    world.say(None, sent.ref, "room:1", "phx_reply", NOT_NOW)
    world.drop()
    world.sent.clear()
    world.open()
    world.advance(2)
    assert world.events() == ["phx_join"]
    world.answer(world.sent[-1])
    world.answer(world.sent[-1])
    assert answers == [("ok", {})]
    world.sent.clear()
    world.advance(5)
    assert "say" not in world.events()


@pytest.mark.parametrize("seconds", [-1, "1", None, [1]])
def test_an_error_that_says_no_time_is_the_answer(world: World, seconds: object) -> None:
    member = world.joined()
    answers = member.push("say", again=True)
    response = {"reason": "in progress", "@retry": seconds}
    world.say(None, world.sent[-1].ref, "room:1", "phx_reply", {"status": "error", "response": response})
    assert answers == [("error", response)]
