"""The log of crashes has a limit; what counts them has not."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

from actors import telemetry
from actors.actor import Actor
from actors.runtime import crash_log
from actors.runtime.crash_log import MOST, SECONDS
from actors.runtime.report import KEPT, last_crash, last_crashes
from actors.runtime.scheduler import Scheduler, in_thread
from actors.testing import WAIT
from supervisors.child_spec import ChildSpec
from supervisors.restart_events import RESTARTED
from tests.supervisors.workers import child, running, start

if TYPE_CHECKING:
    import pytest

    from actors.testing import ManualRuntime


class Crashing(Actor):
    """Crashes at each message."""

    def on_receive(self, message: Any) -> None:
        raise ValueError(message)


class Other(Crashing):
    """Another class."""


class Owning(Actor):
    """Owns what it is sent."""

    def on_receive(self, message: Any) -> None:
        self.own(message)


def crashes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message.splitlines()[0] for message in caplog.messages if "crash" in message]


def crash(actor: type[Crashing], times: int) -> None:
    for number in range(times):
        actor.start().tell(number)


def test_a_class_has_so_many_reports_a_second_and_then_the_number_of_the_others(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    crash(Crashing, 2000)
    crash(Other, 3)
    runtime.settle()
    assert len(crashes(caplog)) == MOST + 3
    report = last_crash()
    assert report is not None
    assert (len(last_crashes()), report.message) == (KEPT, 2)
    assert runtime.clock.pending() == 0
    caplog.clear()
    runtime.advance(SECONDS)
    crash(Crashing, 2)
    runtime.settle()
    left_out, *others = crashes(caplog)
    assert left_out == "1,990 more crashes of Crashing in the last second were not logged"
    assert (caplog.records[0].levelno, caplog.records[0].name) == (logging.ERROR, "ashtree.actors")
    assert len(others) == 2


def test_on_a_running_loop_the_number_is_logged_though_no_other_crash_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Waiting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "more crashes" in record.getMessage():
                seen.set()

    seen, handler = threading.Event(), Waiting()
    monkeypatch.setattr(crash_log, "SECONDS", 0.5)
    thread = in_thread("of a test")
    logging.getLogger("ashtree.actors").addHandler(handler)
    try:
        thread.scheduler.post(crash, Crashing, MOST + 1)
        assert seen.wait(WAIT)
    finally:
        logging.getLogger("ashtree.actors").removeHandler(handler)
        thread.stop()


def test_a_log_that_is_off_counts_nothing(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "ashtree.actors")
    crash(Crashing, MOST + 1)
    runtime.settle()
    runtime._scheduler.crash_log.flush()
    assert caplog.messages == []


def test_the_number_is_logged_when_the_loop_ends_before(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        crash(Crashing, MOST + 5)
        await asyncio.sleep(0)
        await Scheduler.here().until_terminated(0)

    asyncio.run(main())
    assert crashes(caplog)[-1] == "5 more crashes of Crashing in the last second were not logged"


def test_restarts_have_the_limit_too_and_telemetry_has_all(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    restarts: list[float] = []
    telemetry.attach("count", [RESTARTED], lambda _event, measured, _about: restarts.append(measured["restarts"]))
    try:
        supervisor = start(runtime, [ChildSpec(Crashing, id="a")], max_restarts=1000)
        for number in range(100):
            child(supervisor, "a").tell(number)
            runtime.settle()
    finally:
        telemetry.detach("count")
    assert (len(restarts), running(supervisor)) == (100, ["a"])
    assert len(caplog.records) == 2 * MOST
    caplog.clear()
    runtime._scheduler.crash_log.flush()
    assert sorted(caplog.messages) == [
        "90 more crashes of Crashing in the last second were not logged",
        "90 more restarts of Crashing in the last second were not logged",
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR, logging.INFO}


def test_functions_that_close_and_callbacks_of_futures_have_the_limit_too(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object = None) -> None:
        raise ValueError

    for _ in range(MOST + 5):
        ref = Owning.start()
        ref.ask(fail, block=False).add_done_callback(fail)
        ref.stop(block=False)
    runtime.settle()
    assert len(caplog.records) == 2 * MOST
    caplog.clear()
    runtime._scheduler.crash_log.flush()
    assert sorted(caplog.messages) == [
        "5 more callbacks that failed of Future in the last second were not logged",
        "5 more closers that failed of Owning in the last second were not logged",
    ]
