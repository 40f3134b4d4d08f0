"""The channel between a worker and its parent."""

from __future__ import annotations

import select
from collections.abc import Iterator
from typing import Any

import pytest

from supervisors.workers.control_channel import ControlChannel, ControlMessage, pair
from tests.live import WAIT


class End:
    """One end, and what has happened to it."""

    def __init__(self, end: Any) -> None:
        self.is_full = False
        self.channel = ControlChannel(end, self._on_full)

    def _on_full(self, *, writable: bool) -> None:
        self.is_full = writable

    def hears(self) -> list[ControlMessage]:
        """Return what has arrived, once something has."""
        assert select.select([self.channel], [], [], WAIT)[0]
        return list(self.channel.receive())


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    one, other = map(End, pair())
    yield one, other
    one.channel.close()
    other.channel.close()


def test_messages_arrive_in_order(ends: tuple[End, End]) -> None:
    one, other = ends
    one.channel.tell("stop")
    one.channel.tell("down", "node é")
    assert other.hears() == [ControlMessage("stop"), ControlMessage("down", "node é")]


def test_a_question_is_answered_once(ends: tuple[End, End]) -> None:
    one, other = ends
    answers: list[Any] = []
    one.channel.ask("metrics", {"of": "all"}, answers.append)
    (question,) = other.hears()
    assert (question.kind, question.body) == ("metrics", {"of": "all"})
    other.channel.answer(question, [1, None])
    other.channel.answer(question, [2])
    assert one.hears() == []
    assert answers == [[1, None]]


def test_an_answer_to_a_question_that_was_forgotten_is_dropped(ends: tuple[End, End]) -> None:
    one, other = ends
    answers: list[Any] = []
    one.channel.forget(one.channel.ask("ready", None, answers.append))
    other.channel.answer(other.hears()[0], body=True)
    assert one.hears() == []
    assert answers == []


def test_what_the_other_end_does_not_take_yet_is_kept_and_sent_later(ends: tuple[End, End]) -> None:
    one, other = ends
    bodies = [f"{number}" * 100_000 for number in range(10)] * 3
    for body in bodies:
        one.channel.tell("large", body)
    assert one.is_full
    heard: list[ControlMessage] = []
    while len(heard) < len(bodies):
        heard += other.hears()
        one.channel.flush()
    assert [message.body for message in heard] == bodies
    assert not one.is_full


def test_a_message_may_come_in_parts(ends: tuple[End, End]) -> None:
    sender, other = pair()
    receiving = End(other)
    data = b"\0\0\0\x0f" + b'{"kind":"stop"}'
    for byte in data[:-1]:
        sender.send(bytes([byte]))
        assert receiving.hears() == []
    sender.send(data[-1:])
    assert receiving.hears() == [ControlMessage("stop")]
    sender.close()
    receiving.channel.close()


def test_what_was_sent_before_the_other_end_was_closed_arrives(ends: tuple[End, End]) -> None:
    one, other = ends
    one.channel.tell("failed", "why")
    one.channel.close()
    assert other.hears() == [ControlMessage("failed", "why")]
    assert not other.channel.is_open
    other.channel.tell("stop")  # nothing happens
    assert not other.is_full
