"""The flight recorder: what an actor keeps of its last messages, and what is kept of the last crashes."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actors import sys
from actors.actor import Actor
from actors.exits import Crash
from actors.future import Future
from actors.recorder import Recorded
from actors.redaction import Shown
from actors.runtime.report import KEPT, last_crash, last_crashes
from actors.runtime.spawn import spawn
from actors.testing import WAIT, ManualRuntime
from actors.threads.threaded_actor import ThreadedActor

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.runtime.behaviour import FormatStatus
    from actors.runtime.report import CrashReport
    from actors.runtime.scheduler import in_thread


class Account(Actor):
    """Its messages are amounts; it waits ("wait", seconds), and crashes at what is none."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, tuple):
            return self.wait(message[1])
        self.balance += message
        return self.balance

    async def wait(self, seconds: float) -> None:
        over: Future[None] = Future(self._process.scheduler)
        self.clock.call_after(seconds, over.set)
        await over


class Recording(Account):
    record = 3


class Discreet(Recording):
    def format_status(self, status: FormatStatus) -> FormatStatus:
        status.message = Shown("<amount>")
        return status


def crash(runtime: ManualRuntime, ref: ActorRef[Any], message: Any = "ten") -> CrashReport:
    """Let an actor crash at a message, and return the report."""
    ref.tell(message)
    runtime.settle()
    report = last_crash()
    assert report is not None
    assert report.pid == ref.process.pid
    return report


def text_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines of the report in the log."""
    [text] = [record.getMessage() for record in caplog.records if " crashed: " in record.getMessage()]
    return text.splitlines()


# The messages


def test_a_crash_report_has_the_last_messages_with_their_times(runtime: ManualRuntime) -> None:
    ref = Recording.start()
    for message in [1, 2, ("wait", 2.0)]:
        ref.tell(message)
        runtime.advance(0.5)
    runtime.advance(5.0)
    ref.ask("ten", block=False)
    report = crash(runtime, ref, "never handled")
    assert [(recorded.at, recorded.message, recorded.seconds) for recorded in report.messages] == [
        (0.5, 2, 0.0),
        (1.0, ("wait", 2.0), 2.0),
        (6.5, "ten", 0.0),
    ]
    assert [recorded.asked for recorded in report.messages] == [False, False, True]
    assert [recorded.error for recorded in report.messages] == [None, None, report.error]
    assert report.handled == 4


def test_a_handler_that_raises_after_it_waited_is_recorded_with_its_time(runtime: ManualRuntime) -> None:
    class Late(Recording):
        async def wait(self, seconds: float) -> None:
            await super().wait(seconds)
            raise ValueError

    ref = Late.start()
    ref.tell(("wait", 2.0))
    runtime.advance(2.0)
    report = last_crash()
    assert report is not None
    [recorded] = report.messages
    assert (recorded.seconds, recorded.error) == (2.0, report.error)


def test_the_log_shows_the_last_messages(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    ref = Recording.start()
    for message in [1, 2, ("wait", 2.0)]:
        ref.tell(message)
        runtime.advance(2.0)
    crash(runtime, ref)
    assert text_of(caplog)[1:] == [
        "  last message: 'ten'",
        "  ancestors: none",
        "  last 3 of 4 messages:",
        "        4.000 s before, took     0.000 ms: 2",
        "        2.000 s before, took  2000.000 ms: ('wait', 2.0)",
        "        0.000 s before, took     0.000 ms: 'ten'",
    ]


def test_the_log_shows_messages_as_the_actor_describes_them_and_no_secrets(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    ref = Discreet.start()
    ref.tell(4711)
    report = crash(runtime, ref, "secret")
    lines = text_of(caplog)
    assert [line.rpartition(": ")[2] for line in lines[-2:]] == ["<amount>", "<amount>"]
    assert "4711" not in "".join(lines[1:])
    assert "4711" not in repr(report)


def test_the_log_shows_no_secrets_of_any_actors_messages(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    crash(runtime, Recording.start(), {"password": "hunter2", "n": [1, {"api_key": "k3y"}]})
    lines = text_of(caplog)
    shown = "{'password': '[FILTERED]', 'n': [1, {'api_key': '[FILTERED]'}]}"
    assert [line.partition(": ")[2] for line in (lines[1], lines[-1])] == [shown, shown]


def test_a_long_message_is_cut_in_the_list(runtime: ManualRuntime, caplog: pytest.LogCaptureFixture) -> None:
    crash(runtime, Recording.start(), "x" * 1000)
    *_, last = text_of(caplog)
    assert last.endswith("xxx…")
    assert len(last) < 250


def test_what_is_asked_of_the_runtime_is_not_recorded(runtime: ManualRuntime) -> None:
    ref = Recording.start()
    sys.get_state(ref).get()
    assert [recorded.message for recorded in crash(runtime, ref).messages] == ["ten"]


def test_an_actor_that_keeps_none_has_none_in_its_report(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    ref = Account.start()
    assert ref.process.debug is None
    assert crash(runtime, ref).messages == []
    assert len(text_of(caplog)) == 3


def test_a_threaded_actor_keeps_its_messages_too(runtime: ManualRuntime) -> None:
    class Blocking(ThreadedActor):
        record = 2

        def on_receive(self, message: Any) -> None:
            assert isinstance(message, int)

    ref = Blocking.start()
    for message in [1, 2]:
        ref.tell(message)
    assert [recorded.message for recorded in crash(runtime, ref).messages] == [2, "ten"]


def test_sys_does_not_end_what_a_recorder_keeps(runtime: ManualRuntime) -> None:
    ref = Recording.start()
    sys.log(ref, None).get()
    sys.no_debug(ref).get()
    sys.resume(ref).get()
    assert [recorded.message for recorded in crash(runtime, ref).messages] == ["ten"]


# Who keeps them


def record_of(ref: ActorRef[Any]) -> int | None:
    debug = ref.process.debug
    return None if debug is None or debug.record is None else debug.record.maxlen


@pytest.mark.parametrize(
    ("actor", "spec", "parent", "expected"),
    [
        (Account, None, None, None),
        (Recording, None, None, 3),
        (Recording, 7, 5, 7),
        (Recording, 0, 5, None),
        (Recording, None, 5, 3),
        (Account, None, 5, 5),
        (Account, 7, None, 7),
        (Account, 0, 5, None),
    ],
    ids=[
        "nobody says so",
        "its class",
        "its spec before its class",
        "none, says its spec",
        "its class before its parent",
        "its parent",
        "its spec",
        "none, though its parent does",
    ],
)
def test_how_many_an_actor_keeps(
    runtime: ManualRuntime, actor: type[Actor], spec: int | None, parent: int | None, expected: int | None
) -> None:
    above = spawn(Account, record=parent)
    assert record_of(spawn(actor, parent=above.process, record=spec)) == expected


def test_all_below_keep_as_many(runtime: ManualRuntime) -> None:
    top = spawn(Account, record=5)
    middle = spawn(Account, parent=top.process)
    assert record_of(spawn(Account, parent=middle.process)) == 5


def test_a_method_that_is_called_record_is_no_number_of_messages(runtime: ManualRuntime) -> None:
    class Journal(Actor):
        def record(self, entry: str) -> str:  # type: ignore[override]  # what this is about
            return entry

    ref = Journal.start()
    assert record_of(ref) is None
    assert ref.proxy().record("entry").get() == "entry"


def test_an_actor_started_from_another_thread_keeps_as_many_as_it_is_told(background: in_thread) -> None:
    ref = spawn(Account, record=5)
    assert record_of(ref) == 5


# The crashes


def test_the_report_of_a_crash_is_an_object(runtime: ManualRuntime) -> None:
    parent = spawn(Account, label="bank")
    ref = spawn(Recording, (100,), parent=parent.process, label="alice")
    runtime.advance(3.0)
    report = crash(runtime, ref)
    assert (report.name, report.pid) == (f"alice {ref.process.pid}", ref.process.pid)
    assert report.actor_class is Recording
    assert report.ancestors == [f"bank {parent.process.pid}"]
    assert isinstance(report.error, TypeError)
    assert report.reason == ref.exit_reason == Crash(report.error)
    assert report.message == "ten"
    assert report.at == 3.0
    assert report.time > 1_700_000_000
    assert repr(report) == f"<CrashReport of {report.name}: TypeError: {report.error}>"


def test_the_state_is_that_of_the_crash_and_not_of_what_terminate_made_of_it(runtime: ManualRuntime) -> None:
    class Orderly(Account):
        def terminate(self, reason: Any) -> None:
            self.balance = 0

    assert crash(runtime, Orderly.start(100)).state == {"balance": 100}


def test_the_error_leads_to_where_it_was_raised(runtime: ManualRuntime) -> None:
    traceback = crash(runtime, Account.start()).error.__traceback__
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-1] == "on_receive"


def test_the_last_crashes_are_kept_the_latest_first(runtime: ManualRuntime) -> None:
    pids = [crash(runtime, Account.start()).pid for _ in range(KEPT + 2)]
    assert [report.pid for report in last_crashes()] == pids[:1:-1]


def test_a_crash_in_terminate_has_a_report_too(runtime: ManualRuntime) -> None:
    class Clumsy(Recording):
        def terminate(self, reason: Any) -> None:
            raise KeyError("clumsy")

    ref = Clumsy.start()
    ref.tell(1)
    ref.stop()
    report = last_crash()
    assert report is not None
    assert isinstance(report.error, KeyError)
    assert report.messages[0].message == 1


def test_last_crash_can_be_asked_in_any_thread(background: in_thread) -> None:
    ref = Account.start()
    down = ref.down()
    ref.tell("ten")
    down.get(timeout=WAIT)
    found: list[CrashReport | None] = []
    thread = threading.Thread(target=lambda: found.append(last_crash()))
    thread.start()
    thread.join(WAIT)
    [report] = found
    assert report is not None
    assert report.pid == ref.process.pid


def test_what_is_recorded_can_be_pickled(runtime: ManualRuntime) -> None:
    ref = Recording.start()
    ref.tell(1)
    first, second = pickle.loads(pickle.dumps(crash(runtime, ref).messages))  # noqa: S301  # our own
    assert isinstance(first, Recorded)
    assert (first.at, first.message, first.asked, first.seconds, first.error) == (0.0, 1, False, 0.0, None)
    assert isinstance(second.error, TypeError)
