"""The way of frames past the mailbox of a transport: it changes when they are written, never in what order."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import sys
from actors.actor import Actor
from actors.channels.fastlane import Fastlane, fastlane_of, send_frame
from actors.channels.message import Frame, Opcode
from actors.exits import Crash
from actors.future import Future
from actors.runtime.scheduler import in_thread
from actors.testing import WAIT, ManualRuntime, Probe


class Transport(Actor):
    """Writes what it gets to a log; a frame that is "bad" cannot be written."""

    def __init__(self, *, fast: bool = True) -> None:
        self.log: list[Any] = []
        self.fast = fast

    def on_start(self) -> None:
        if self.fast:
            serializer: Any = None
            Fastlane(self._process, serializer, self._send).open()

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Frame):
            self._send(message)
        else:
            self.log.append(message)

    def _send(self, frame: Frame) -> None:
        if frame.data == b"bad":
            raise ValueError("cannot be written")
        self.log.append(frame.data)


def frame(data: bytes) -> Frame:
    return Frame(Opcode.TEXT, data)


def log_of(ref: Any) -> list[Any]:
    actor = ref.process.actor
    assert isinstance(actor, Transport)
    return actor.log


def test_a_frame_for_an_actor_that_rests_is_written_at_once(runtime: ManualRuntime) -> None:
    ref = Transport.start()
    send_frame(ref, frame(b"1"))
    assert log_of(ref) == [b"1"]


def test_a_frame_waits_behind_what_was_sent_before(runtime: ManualRuntime) -> None:
    ref = Transport.start()
    ref.tell("message")
    send_frame(ref, frame(b"1"))
    assert log_of(ref) == []
    runtime.settle()
    assert log_of(ref) == ["message", b"1"]
    send_frame(ref, frame(b"2"))
    assert log_of(ref) == ["message", b"1", b"2"]


def test_a_suspended_actor_writes_nothing(runtime: ManualRuntime) -> None:
    ref = Transport.start()
    sys.suspend(ref)
    runtime.settle()
    send_frame(ref, frame(b"1"))
    runtime.settle()
    assert log_of(ref) == []
    sys.resume(ref)
    runtime.settle()
    send_frame(ref, frame(b"2"))
    assert log_of(ref) == [b"1", b"2"]


def test_frames_of_an_actor_that_is_watched_are_seen(runtime: ManualRuntime) -> None:
    ref = Transport.start()
    sys.log(ref, 10)
    runtime.settle()
    send_frame(ref, frame(b"1"))
    assert log_of(ref) == []
    assert [event.message.data for event in sys.get_log(ref).get()] == [b"1", b"1"]  # got, and handled


def test_one_that_was_watched_before_its_lane_was_opened_is_watched(runtime: ManualRuntime) -> None:
    class Recorded(Transport):
        record = 5

    ref = Recorded.start()
    send_frame(ref, frame(b"1"))
    assert log_of(ref) == []
    runtime.settle()
    assert log_of(ref) == [b"1"]


def test_a_frame_that_cannot_be_written_ends_its_actor_and_not_the_caller(
    runtime: ManualRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    ref, probe = Transport.start(), Probe()
    probe.monitor(ref)
    send_frame(ref, frame(b"bad"))
    send_frame(ref, frame(b"after"))
    down = probe.assert_receive(lambda message: message.actor == ref)
    assert isinstance(down.reason, Crash)
    assert str(down.reason.exception) == "cannot be written"
    (report,) = caplog.records
    assert "crashed: ValueError: cannot be written\n  last message: <Frame TEXT b'bad'>" in report.message


@pytest.mark.parametrize("fast", [True, False])
def test_a_frame_for_the_dead_is_dropped(runtime: ManualRuntime, *, fast: bool) -> None:
    ref = Transport.start(fast=fast)
    fastlane = fastlane_of(ref.process)
    ref.kill()
    runtime.settle()
    send_frame(ref, frame(b"1"))
    if fastlane is not None:
        fastlane.push(frame(b"2"))


def test_one_without_a_lane_gets_it_as_a_message(runtime: ManualRuntime) -> None:
    ref = Transport.start(fast=False)
    send_frame(ref, frame(b"1"))
    assert log_of(ref) == []
    runtime.settle()
    assert log_of(ref) == [b"1"]


def test_a_frame_from_another_thread_is_written_in_the_thread_of_the_actor() -> None:
    loop, written = in_thread("frames"), threading.Event()
    threads: list[str] = []

    class Far(Transport):
        def _send(self, frame: Frame) -> None:
            threads.append(threading.current_thread().name)
            written.set()

    try:
        started: Future[Any] = Future()
        loop.scheduler.post(lambda: started.set(Far.start()))
        send_frame(started.get(timeout=WAIT), frame(b"1"))
        assert written.wait(WAIT)
        assert threads == ["frames"]
    finally:
        loop.stop()


STEPS = st.lists(
    st.sampled_from(["frame", "message", "settle", "suspend", "resume", "watch", "watch no more"]), max_size=30
)


def play(steps: list[str], *, fast: bool) -> list[Any]:
    """Send frames and messages in turns, and look into the actor or not; return what it has written at last."""
    with ManualRuntime() as runtime:
        ref = Transport.start(fast=fast)
        for number, step in enumerate(steps):
            match step:
                case "frame":
                    send_frame(ref, frame(b"%d" % number))
                case "message":
                    ref.tell(number)
                case "settle":
                    runtime.settle()
                case "suspend":
                    sys.suspend(ref)
                case "resume":
                    sys.resume(ref)
                case "watch":
                    sys.log(ref, 3)
                case "watch no more":
                    sys.log(ref, None)
        sys.resume(ref)
        runtime.settle()
        return list(log_of(ref))


@given(STEPS)
def test_both_ways_write_the_same_in_the_same_order(steps: list[str]) -> None:
    assert play(steps, fast=True) == play(steps, fast=False)
