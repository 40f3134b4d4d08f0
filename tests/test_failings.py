"""What actor libraries for Python are known to get wrong, each shown to be right here; all its cases are with the modules."""

from __future__ import annotations

import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exceptions import ActorDeadError
from actors.exits import KILL, KILLED, NORMAL, SHUTDOWN, Crash, ExitReason, Shutdown
from tests.supervisors.workers import BoomError, child, running, start, stop, worker

if TYPE_CHECKING:
    from actors.testing.manual_runtime import ManualRuntime


@pytest.mark.parametrize(
    ("restart", "message", "runs"),
    [
        ("permanent", NORMAL, True),
        ("permanent", BoomError(), True),
        ("transient", NORMAL, False),
        ("transient", BoomError(), True),
        ("temporary", NORMAL, False),
        ("temporary", BoomError(), False),
    ],
)
def test_restart_types_are_obeyed(
    restart: str, message: Any, runtime: ManualRuntime, journal: list[str], *, runs: bool
) -> None:
    supervisor = start(runtime, [worker("a", journal, restart=restart)])
    child(supervisor, "a").send(message)
    runtime.settle()
    assert running(supervisor) == (["a"] if runs else [])


@pytest.mark.parametrize("signal", [KILL, BoomError(), Shutdown("moved")], ids=str)
def test_a_child_that_an_exit_signal_ends_is_restarted(
    signal: object, runtime: ManualRuntime, journal: list[str]
) -> None:
    supervisor = start(runtime, [worker("a", journal)])
    before = child(supervisor, "a")
    before.exit(signal)
    runtime.settle()
    assert not before.is_alive()
    assert child(supervisor, "a") != before


class Caller(Actor):
    """Asks, and keeps what came of it and when."""

    async def on_receive(self, question: tuple[Any, Any]) -> None:
        ref, message = question
        try:
            await ref.call(message)
        except Exception as error:  # noqa: BLE001  # it is what the test is about
            self.came = self.clock.now(), error


@pytest.mark.parametrize(
    ("message", "error"), [(BoomError(), BoomError), (3600.0, ActorDeadError)], ids=["raises", "is killed"]
)
def test_a_call_to_an_actor_that_dies_at_it_does_not_wait_for_its_time_out(
    message: Any, error: type[Exception], runtime: ManualRuntime, journal: list[str]
) -> None:
    asked, caller = child(start(runtime, [worker("a", journal)]), "a"), Caller.start()
    caller.send((asked, message))
    runtime.settle()
    asked.kill()
    runtime.settle()
    at, came = caller.proxy().came.get()
    assert (at, type(came)) == (0.0, error)


@pytest.mark.parametrize(("seconds", "lives"), [(1.0, False), (5.0, True)], ids=["quickly", "slowly"])
def test_restarts_are_limited_and_their_times_are_monotonic(
    seconds: float, runtime: ManualRuntime, journal: list[str], monkeypatch: pytest.MonkeyPatch, *, lives: bool
) -> None:
    supervisor = start(runtime, [worker("a", journal)], max_restarts=3, max_seconds=10)
    for crash in range(4):
        # Somebody sets the clock on the wall, to and fro.
        monkeypatch.setattr("time.time", lambda crash=crash: 1e9 * (crash % 2))
        child(supervisor, "a").send(BoomError())
        runtime.advance(seconds)
    assert supervisor.is_alive() is lives


def test_a_shutdown_waits_for_each_child_and_goes_backwards(runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker(label, journal, end_takes=1.0) for label in "abc"])
    down = stop(runtime, supervisor)
    runtime.advance(2)
    assert not down.done
    runtime.advance(1)
    assert down.result() == SHUTDOWN
    ends = [f"{label} {what}" for label in "cba" for what in ("is ending", "ends: shutdown")]
    assert journal[3:] == ends


@pytest.mark.parametrize("text", ["normal", "shutdown", "shutdown: moved", "Shutdown(detail=None)", "killed"])
def test_exit_reasons_are_values_and_not_texts(text: str, runtime: ManualRuntime, journal: list[str]) -> None:
    supervisor = start(runtime, [worker("a", journal, restart="transient")])
    before = child(supervisor, "a")
    before.send(BoomError(text))
    runtime.settle()
    reason: ExitReason | None = before.exit_reason
    assert isinstance(reason, Crash)
    assert reason not in {NORMAL, SHUTDOWN, KILLED, Shutdown(text)}
    assert running(supervisor) == ["a"]


# No operation looks through the mailbox


class Letter:
    """A message that notes when it is compared with another."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("the mailbox is searched")

    __hash__ = None  # type: ignore[assignment]  # as is usual with __eq__


class Busy(Actor):
    """Does all that might make somebody search a mailbox."""

    async def on_receive(self, message: Any) -> Any:
        if isinstance(message, Letter):
            return None
        echo, dead = message
        gone = self.monitor(dead)  # its Down goes to the end of the mailbox
        self.demonitor(gone, flush=True)
        timer = self.send_after(1, "never")
        self.cancel(timer)
        await echo.call("hello")
        later = self.reply_later()
        later.reply("done")
        return None


class Echo(Actor):
    def on_receive(self, message: Any) -> Any:
        return message


def lines_to_answer(runtime: ManualRuntime, waiting: int) -> int:
    """Count the lines that are run until a busy actor has answered, with so many messages behind the one it is at."""
    busy, echo, dead = Busy.start(), Echo.start(), Echo.start()
    dead.kill()
    runtime.settle()
    lines = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return None if answer.done else trace

    answer = busy.ask((echo, dead), block=False)
    for _ in range(waiting):
        busy.send(Letter())
    answer.add_done_callback(lambda _: sys.settrace(before))
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        runtime.settle()
    finally:
        sys.settrace(before)
    assert answer.result() == "done"
    busy.kill()
    runtime.settle()
    return lines


def test_a_full_mailbox_makes_nothing_slower(runtime: ManualRuntime) -> None:
    lines_to_answer(runtime, 0)
    assert lines_to_answer(runtime, 10) == lines_to_answer(runtime, 10_000) > 100
