"""Standard streams that lead to a session for its code, and for all others where they led before."""

from __future__ import annotations

import contextvars
import io
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from actors.testing import WAIT
from supervisors.console.server.screen import Screen, divert, restore

if TYPE_CHECKING:
    from supervisors.console.server.output_queue import OutputQueue


class Kept:
    """Stands for an outbox: keeps what is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def screen(kept: Kept) -> Screen:
    return Screen(cast("OutputQueue", kept), {})


def streams() -> tuple[Any, ...]:
    return sys.stdin, sys.stdout, sys.stderr, sys.displayhook


def as_session(screen: Screen, function: Callable[[], object]) -> None:
    def run() -> None:
        screen.take()
        function()

    contextvars.Context().run(run)


def test_each_writes_where_it_belongs(screen: Screen, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    divert(screen)
    as_session(screen, lambda: sys.stdout.write("for the client\n"))
    as_session(screen, lambda: sys.stderr.write("an error for the client\n"))
    sys.stdout.write("for the server\n")
    sys.stderr.write("an error for the server\n")
    restore(screen)
    assert kept.text == "for the client\nan error for the client\n"
    assert capsys.readouterr() == ("for the server\n", "an error for the server\n")


def test_a_session_reads_nothing_and_the_server_what_there_is(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\ntwo\n"))
    divert(screen)
    read: list[str] = []
    as_session(screen, lambda: read.append(sys.stdin.readline()))
    read.extend(sys.stdin)
    restore(screen)
    assert read == ["", "one\n", "two\n"]


def test_all_is_put_back_after_the_last_session(screen: Screen, kept: Kept) -> None:
    before, other = streams(), Screen(cast("OutputQueue", kept), {})
    divert(screen)
    diverted = streams()
    divert(other)
    divert(other)
    assert streams() == diverted
    restore(other)
    assert streams() == diverted
    restore(screen)
    assert streams() == before


def test_what_others_have_put_there_stays(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    divert(screen)
    diverted, theirs = sys.stdout, io.StringIO()
    sys.stdout = theirs
    restore(screen)
    assert sys.stdout is theirs
    sys.stdout = cast("Any", diverted).before


def test_what_others_have_put_there_is_diverted_too(screen: Screen, kept: Kept) -> None:
    divert(screen)
    first, theirs = sys.stdout, io.StringIO()
    sys.stdout = theirs
    divert(screen)
    as_session(screen, lambda: sys.stdout.write("for the client\n"))
    sys.stdout.write("for them\n")
    restore(screen)
    assert (kept.text, theirs.getvalue(), sys.stdout) == ("for the client\n", "for them\n", theirs)
    sys.stdout = cast("Any", first).before


def test_a_program_without_standard_streams_stays_one(
    screen: Screen, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    divert(screen)
    sys.stdout.write("for nobody\n")
    as_session(screen, lambda: sys.stdout.write("for the client\n"))
    restore(screen)
    assert sys.stdout is None
    assert kept.text == "for the client\n"


def test_a_thread_that_is_left_behind_does_not_print_on_the_servers(screen: Screen, kept: Kept) -> None:
    before, gate = streams(), threading.Event()
    thread = threading.Thread(target=gate.wait, args=(WAIT,))
    thread.start()
    divert(screen)
    restore(screen, [thread])
    assert streams() != before
    gate.set()
    thread.join(WAIT)
    other = Screen(cast("OutputQueue", kept), {})
    divert(other)
    restore(other)
    assert streams() == before
