"""What is told of a process's presences: changes that cancel out, and messages of bounded size."""

from __future__ import annotations

from typing import Any

import pytest

from actors.presence.announcer import Announcer
from actors.presence.presences import Diff, Meta
from actors.presence.replica_messages import PresenceDiff, pack_message, read_meta

LIMIT = 128 * 1024


def meta(ref: str, **more: Any) -> Meta:
    return {"phx_ref": ref, **more}


def told(message: PresenceDiff) -> tuple[dict[str, Any], dict[str, Any]]:
    joins = {
        topic: {key: [read_meta(bytes(each)) for each in metas] for key, metas in of_topic.items()}
        for topic, of_topic in message.joins.items()
    }
    return joins, message.leaves


def announcer(entries: list[tuple[str, str, Meta]] | None = None) -> Announcer:
    return Announcer("web-1", "run", lambda: entries or [])


def test_changes_of_one_time_are_one_diff_with_the_next_number() -> None:
    own = announcer()
    own.add(Diff("room", joins={"ann": [meta("1")]}))
    own.add(Diff("room", joins={"ben": [meta("2")]}, leaves={"ben": [meta("0")]}))
    (diff,) = own.take_diffs()
    assert (diff.node, diff.run, diff.clock) == ("web-1", "run", 1)
    assert told(diff) == ({"room": {"ann": [meta("1")], "ben": [meta("2")]}}, {"room": {"ben": ["0"]}})
    assert (own.has_changes, list(own.take_diffs()), own.clock) == (False, [], 1)


def test_what_has_come_and_gone_is_not_told() -> None:
    own = announcer()
    own.add(Diff("room", joins={"ann": [meta("1")]}))
    own.add(Diff("room", joins={"ann": [meta("2")]}, leaves={"ann": [meta("1")]}))
    own.add(Diff("room", leaves={"ann": [meta("2")]}))
    assert not own.has_changes


def test_messages_have_at_most_so_many_bytes_unless_one_meta_has_more() -> None:
    own = announcer()
    for number in range(3_000):
        own.add(Diff(f"room:{number % 7}", joins={f"user{number}": [meta(str(number), text="x" * 80)]}))
    own.add(Diff("room", joins={"large": [meta("large", text="x" * 2 * LIMIT)]}, leaves={"gone": [meta("gone")]}))
    diffs = list(own.take_diffs())
    sizes = [len(pack_message(diff)) for diff in diffs]
    assert len(sizes) > 3
    assert sum(size > LIMIT * 1.1 for size in sizes) == 1
    assert [diff.clock for diff in diffs] == list(range(1, len(diffs) + 1))
    found = [key for diff in diffs for of_topic in diff.joins.values() for key in of_topic]
    assert sorted(found) == sorted([*(f"user{number}" for number in range(3_000)), "large"])
    assert diffs[-1].leaves == {"room": {"gone": ["gone"]}}


def test_all_presences_are_sent_part_by_part_by_turns() -> None:
    entries = [("room", f"user{number}", meta(str(number), text="x" * 1_000)) for number in range(300)]
    own = announcer(entries)
    own.answer("one", 5)
    own.answer("two", 6)
    # What changes meanwhile is for the diffs.
    entries.clear()
    runs, keys = [], []
    while own.has_answers:
        run, part = own.take_part()
        runs.append((run, part.number, part.part, part.is_last))
        assert len(pack_message(part)) < LIMIT * 1.1
        keys += [key for key in part.joins["room"] if run == "one"]
    assert runs == [(run, number, part, part == 2) for part in range(3) for run, number in (("one", 5), ("two", 6))]
    assert keys == [f"user{number}" for number in range(300)]


def test_no_presences_are_an_answer_too() -> None:
    own = announcer()
    own.answer("one", 5)
    run, part = own.take_part()
    assert (run, part.is_last, part.joins, own.has_answers) == ("one", True, {}, False)


def test_a_request_takes_the_place_of_the_one_before() -> None:
    own = announcer([("room", "ann", meta("1"))])
    own.answer("one", 5)
    own.answer("one", 6)
    assert own.take_part()[1].number == 6
    assert not own.has_answers


@pytest.mark.parametrize("text", ["é", "\0", '"', "\u2028", "x" * 100])
def test_any_text_may_be_a_topic_a_key_and_a_value(text: str) -> None:
    own = announcer()
    own.add(Diff(text, joins={text: [meta(text, value=text)]}))
    (diff,) = own.take_diffs()
    assert told(diff)[0] == {text: {text: [meta(text, value=text)]}}
