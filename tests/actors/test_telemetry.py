from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from actors import telemetry

JOINED, LEFT = ("phoenix", "channel_joined"), ("phoenix", "channel_left")


@pytest.fixture
def seen() -> Iterator[list[tuple[Any, ...]]]:
    events: list[tuple[Any, ...]] = []
    telemetry.attach("seen", [JOINED, LEFT], lambda *event: events.append(event))
    yield events
    telemetry.detach("seen")
    telemetry.detach("failing")


def test_a_handler_gets_the_events_it_is_attached_to(seen: list[tuple[Any, ...]]) -> None:
    telemetry.execute(JOINED, {"duration": 0.5}, {"topic": "room:1"})
    telemetry.execute(("phoenix", "other"), {}, {})
    assert seen == [(JOINED, {"duration": 0.5}, {"topic": "room:1"})]


def test_a_detached_handler_gets_nothing_more(seen: list[tuple[Any, ...]]) -> None:
    telemetry.detach("seen")
    telemetry.execute(LEFT, {}, {})
    assert seen == []
    assert JOINED not in telemetry.attached


def test_whether_somebody_is_attached_can_be_asked(seen: list[tuple[Any, ...]]) -> None:
    assert JOINED in telemetry.attached
    assert ("phoenix",) not in telemetry.attached


def test_two_handlers_cannot_have_one_name(seen: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ValueError, match="called 'seen' already"):
        telemetry.attach("seen", [("other",)], print)


@pytest.mark.parametrize(
    ("events", "advice"),
    [
        (("test", "tick"), r"got \('test', 'tick'\); write `\[\('test', 'tick'\)\]`$"),
        ("test.tick", "got 'test.tick'$"),
        ([["test", "tick"]], r"got \[\['test', 'tick'\]\]$"),
        ([("test", 1)], r"got \[\('test', 1\)\]$"),
    ],
)
def test_events_that_would_never_come_are_an_error_where_they_are_written(events: Any, advice: str) -> None:
    with pytest.raises(TypeError, match="events must be a list of tuples of str, .*" + advice):
        telemetry.attach("wrong", events, print)
    assert not any(name == "wrong" for pairs in telemetry.attached.values() for name, _ in pairs)


def test_a_handler_that_raises_is_logged_and_detached_and_harms_nobody(
    seen: list[tuple[Any, ...]], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Any, measurements: Mapping[str, float], metadata: Mapping[str, Any]) -> None:
        raise ZeroDivisionError

    telemetry.attach("failing", [LEFT], fail)
    telemetry.execute(LEFT, {}, {})
    telemetry.execute(LEFT, {}, {})
    assert len(seen) == 2
    assert [record.getMessage() for record in caplog.records] == [
        "the telemetry handler 'failing' failed at phoenix.channel_left and is detached"
    ]
