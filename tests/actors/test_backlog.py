"""What a client is still to get: encoded as it is taken, with offsets; what is left out is seen as a gap."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest

from actors.channels.message import Broadcast, Frame
from actors.history.backlog import Backlog, frame_at
from actors.history.history import History, Position
from actors.history.topic_log import KeptBroadcast, TopicLog
from transport.protocol.serializer import V1JSONSerializer, V2JSONSerializer

V1, V2 = V1JSONSerializer(), V2JSONSerializer()
HISTORY = History(size=5)


class Log:
    """A log, and the backlog of a client that has missed what comes after an offset."""

    def __init__(self, number: int = 0) -> None:
        self.log = TopicLog("e", 0.0, HISTORY)
        for _ in range(number):
            self.say()

    def say(self, payload: bytes | None = None, *, is_binary: bool = False, sender: int = 0) -> None:
        offset = self.log.last + 1
        data = b'{"n":%d}' % offset if payload is None else payload
        self.log.append(KeptBroadcast(offset, 0.0, "said", data, is_binary, sender))

    def backlog(self, after: int, serializer: Any = V2, client: int = 7) -> Backlog:
        missed = self.log.missed(Position("e", after))
        assert missed is not None
        return Backlog("room", serializer, client, self.log, self.log.last, missed)


def seen(frame: Frame | None) -> tuple[str, Any]:
    assert frame is not None
    _, ref, _, event, payload = json.loads(frame.data)
    return ref, payload.get("n") if event == "said" else event


def taken(backlog: Backlog) -> list[tuple[str, Any]]:
    return [seen(frame) for frame in iter(backlog.take, None)]


def test_what_was_missed_is_taken_in_order_with_its_offsets() -> None:
    backlog = Log(3).backlog(1)
    done = [backlog.is_done]
    assert taken(backlog) == [("@2", 2), ("@3", 3)]
    done.append(backlog.is_done)
    assert done == [False, True]
    assert backlog.take() is None


def test_the_frames_are_those_of_the_contract() -> None:
    frames = [Log(1).backlog(0, serializer).take() for serializer in (V1, V2)]
    assert [json.loads(frame.data) for frame in frames if frame] == [
        {"topic": "room", "event": "said", "payload": {"n": 1}, "ref": "@1"},
        [None, "@1", "room", "said", {"n": 1}],
    ]


def test_a_binary_broadcast_is_text_in_both_versions() -> None:
    log = Log()
    log.say(b"\x00\x01\xff", is_binary=True)
    for serializer in (V1, V2):
        frame = log.backlog(0, serializer).take()
        assert frame is not None
        assert b'{"@binary":"AAH/"}' in frame.data


def test_what_is_said_meanwhile_follows_by_its_offset() -> None:
    log = Log(2)
    backlog = log.backlog(0)
    log.say()
    assert backlog.extend(3)
    assert seen(backlog.take()) == ("@1", 1)
    log.say()
    assert backlog.extend(4)
    assert taken(backlog) == [("@2", 2), ("@3", 3), ("@4", 4)]


@pytest.mark.parametrize("offset", [1, 2, 4])
def test_only_the_next_offset_follows(offset: int) -> None:
    assert not Log(2).backlog(0).extend(offset)


def test_what_was_missed_is_sent_even_if_it_is_kept_no_more() -> None:
    log = Log(5)
    backlog = log.backlog(0)
    for _ in range(20):
        log.say()
    log.log.expire(1000.0)
    assert taken(backlog) == [(f"@{number}", number) for number in range(1, 6)]


def test_the_frames_that_are_kept_for_others_are_bounded() -> None:
    log = Log(1)
    backlog = log.backlog(0)
    for offset in range(2, 2500):
        log.say()
        assert backlog.extend(offset)
        assert backlog.take() is not None
    assert 0 < len(log.log.frames) <= 1000


def test_what_was_said_meanwhile_and_is_kept_no_more_is_a_gap() -> None:
    log = Log(1)
    backlog = log.backlog(0)
    for _ in range(8):
        log.say()
        assert backlog.extend(log.log.last)
    assert taken(backlog) == [("@1", 1), *[(f"@{number}", number) for number in range(5, 10)]]


@pytest.mark.parametrize("lost", [1, 2, 4])
def test_the_client_sees_a_gap_even_if_the_last_ones_are_lost(lost: int) -> None:
    log = Log(1)
    backlog = log.backlog(0)
    for _ in range(lost):
        log.say()
        assert backlog.extend(log.log.last)
    log.log.expire(1000.0)
    assert taken(backlog) == [("@1", 1), (f"@{lost + 2}", "phx_skip")]


def test_another_of_the_same_client_has_one_offset() -> None:
    log = Log(3)
    backlog = log.backlog(3)
    log.say()
    assert taken(backlog.another(4)) == [("@4", 4)]


def test_what_a_client_has_sent_to_the_others_is_an_offset_alone() -> None:
    log = Log(1)
    log.say(sender=7)
    log.say(sender=8)
    assert taken(log.backlog(0)) == [("@1", 1), ("@2", "phx_skip"), ("@3", 3)]


def test_watchers_see_what_was_missed() -> None:
    log, watched = Log(2), list[Frame]()
    backlog = log.backlog(0)
    backlog.watch(watched.append)
    log.say()
    backlog.extend(3)
    frames = list(iter(backlog.take, None))
    assert watched == frames[:2]


class Picky(V2JSONSerializer):
    """A serializer of an author's, which reads the payloads, and cannot encode some."""

    takes_json: ClassVar[bool] = False

    def encode_push(self, join_ref: object, ref: object, topic: str, event: str, payload: Any) -> Frame:
        if payload.get("n") == 2:
            raise TypeError("not 2")
        return super().encode_push(join_ref, ref, topic, event, payload)


def test_what_a_serializer_cannot_encode_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert taken(Log(3).backlog(0, Picky())) == [("@1", 1), ("@2", "phx_skip"), ("@3", 3)]
    assert "'said' on 'room' cannot be sent to a client that has missed it: not 2" in caplog.text


def test_a_frame_with_an_offset_knows_its_broadcast() -> None:
    broadcast = Broadcast("room", "said", {})
    assert frame_at(V2, broadcast, 1).broadcast == broadcast
