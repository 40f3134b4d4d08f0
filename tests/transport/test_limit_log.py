"""The log of limits: one line at first, then now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transport.limit_log import INTERVAL, LimitLog
from transport.limits import Limits

if TYPE_CHECKING:
    import pytest


def test_the_first_time_is_logged_with_the_value_and_how_to_change_it(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitLog(Limits(), {"max_channels": 100})
    for limit in ("topic_length", "max_channels", "files", "keep_alive", "requests", "another"):
        log.count(limit, 0.0)
    assert [record.getMessage() for record in caplog.records] == [
        "a limit was reached: topic_length is 1024; Endpoint(limits=Limits(topic_length=…)) changes it",
        "a limit was reached: max_channels is 100; Endpoint(max_channels=…) changes it",
        "a limit was reached: no file is left for another connection (ulimit -n); none is accepted until others have ended",
        "a limit was reached: another",
    ]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_flood_writes_a_line_now_and_then_with_the_count(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitLog(Limits(), {})
    for hundredths in range(2 * 100 * int(INTERVAL) + 1):
        log.count("topic_length", hundredths / 100)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert lines[1].startswith("a limit was reached 1,000 times since the last line: topic_length is 1024;")


def test_each_limit_has_lines_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    log = LimitLog(Limits(), {})
    for _ in range(100):
        log.count("topic_length", 1.0)
        log.count("messages", 1.0)
    assert len(caplog.records) == 2
