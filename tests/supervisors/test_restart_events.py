"""What supervisors tell telemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from actors import telemetry
from actors.exceptions import StartError
from actors.exits import Crash, ExitReason
from supervisors.backoff import Backoff
from supervisors.child_spec import Restart
from supervisors.restart_events import RESTARTED
from tests.supervisors.workers import BoomError, child, crash, start, worker

if TYPE_CHECKING:
    from actors.testing import ManualRuntime

Seen = list[tuple[Mapping[str, float], Mapping[str, Any]]]


@pytest.fixture
def seen() -> Iterator[Seen]:
    events: Seen = []
    telemetry.attach("restarts", [RESTARTED], lambda _, *told: events.append(told))
    yield events
    telemetry.detach("restarts")


def told(seen: Seen) -> list[tuple[Any, float, str]]:
    return [(about["id"], numbers["restarts"], cause(about["reason"])) for numbers, about in seen]


def cause(reason: ExitReason | Exception) -> str:
    error = reason.exception if isinstance(reason, Crash) else reason
    return type(error).__name__


def test_each_restart_is_told_with_the_supervisor_the_child_and_the_reason(
    runtime: ManualRuntime, journal: list[str], seen: Seen
) -> None:
    supervisor = start(runtime, [worker("a", journal), worker("b", journal, restart=Restart.TEMPORARY)])
    assert seen == []
    crash(runtime, supervisor, "a")
    crash(runtime, supervisor, "b")
    child(supervisor, "a").kill()
    runtime.settle()
    assert told(seen) == [("a", 1, "BoomError"), ("a", 2, "Killed")]
    assert all(about["supervisor"] is supervisor for _, about in seen)


def test_a_restart_that_fails_is_told_as_one_more(runtime: ManualRuntime, journal: list[str], seen: Seen) -> None:
    supervisor = start(runtime, [worker("a", journal, plan=[None, BoomError("once")])])
    crash(runtime, supervisor, "a")
    assert told(seen) == [("a", 1, "BoomError"), ("a", 2, "StartError")]
    assert isinstance(seen[1][1]["reason"], StartError)


def test_a_restart_with_a_back_off_is_told_before_it(runtime: ManualRuntime, journal: list[str], seen: Seen) -> None:
    supervisor = start(runtime, [worker("a", journal, backoff=Backoff(5.0))])
    crash(runtime, supervisor, "a")
    assert told(seen) == [("a", 1, "BoomError")]
    runtime.advance(60)
    assert len(seen) == 1


def test_the_end_that_is_one_too_many_is_no_restart(runtime: ManualRuntime, journal: list[str], seen: Seen) -> None:
    supervisor = start(runtime, [worker("a", journal)], max_restarts=0)
    crash(runtime, supervisor, "a")
    assert not supervisor.is_alive()
    assert seen == []
