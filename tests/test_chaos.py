"""A part of `benchmarks/chaos.py` and `benchmarks/soak.py`, in processes of their own, and the rules by which these judge.

A ledger that finds nothing would make both worthless, so what it must find is played to it here.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.live import ROOT, WAIT

sys.path.insert(0, str(ROOT / "benchmarks"))

from havoc.census import differences
from havoc.curve import Panel, Point, drawn, rise, trend
from havoc.ledger import Ledger, Stay

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="files and memory are read from /proc")


def play(script: str, *options: str) -> str:
    """Play one of the programs; return what it has printed."""
    done = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, str(ROOT / "benchmarks" / script), *options],
        capture_output=True,
        text=True,
        timeout=14 * WAIT,
        check=False,
    )
    assert done.stdout.endswith("\n0 faults\n"), done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_proc
@pytest.mark.parametrize(("loop", "seconds"), [("uvloop", "15"), ("asyncio", "6")])
def test_clients_lose_nothing_without_notice_and_the_server_keeps_nothing(loop: str, seconds: str) -> None:
    printed = play("chaos.py", "--seconds", seconds, "--clients", "18", "--loop", loop, "--seed", "1")
    assert " kill" in printed
    assert "x joins" in printed


@needs_proc
def test_deploys_refuse_no_client() -> None:
    assert "x closed with 1012" in play(
        "chaos.py", "--only", "deploy", "--seconds", "8", "--clients", "12", "--seed", "3"
    )


@needs_proc
def test_a_server_does_not_grow_with_its_sessions() -> None:
    assert "sessions in" in play("soak.py", "--seconds", "20", "--round", "2")


# What the ledger finds


def in_loop(check: Callable[[Ledger], None]) -> list[str]:
    """Fill a ledger; return its faults."""

    async def fill() -> list[str]:
        ledger = Ledger()
        check(ledger)
        return ledger.check()

    return asyncio.run(fill())


def said(ledger: Ledger, stay: Stay | None = None, *, acknowledged: bool = True) -> int:
    """Let ann send a message, which she hears herself."""
    sent = ledger.sends("ann", "room:1", stay)
    if stay is not None:
        hear(ledger, stay, sent.number)
    if acknowledged:
        ledger.acknowledged(sent)
    return sent.number


def hear(ledger: Ledger, stay: Stay, *numbers: int) -> None:
    for number in numbers:
        ledger.heard(stay, "ann", number)


def all_is_well(ledger: Ledger) -> None:
    said(ledger)
    ben = ledger.joined("ben", "room:1")
    hear(ledger, ben, said(ledger), said(ledger))
    said(ledger, acknowledged=False)
    cleo = ledger.joined("cleo", "room:1")
    said_last = said(ledger)
    hear(ledger, ben, said_last)
    cleo.end()
    ledger.not_answered("cleo", "room:1", "echo", cleo)


def a_message_is_missing(ledger: Ledger) -> None:
    ledger.joined("ben", "room:1")
    said(ledger)


def a_message_is_missing_before_another(ledger: Ledger) -> None:
    ben = ledger.joined("ben", "room:1")
    said(ledger)
    hear(ledger, ben, said(ledger))
    ben.end()


def a_message_is_sent_to_the_old_server(ledger: Ledger) -> None:
    ann = ledger.joined("ann", "room:1")
    with ledger.deploy():
        ben = ledger.joined("ben", "room:1")
        said(ledger, ann)
        ann.end()
        hear(ledger, ben, said(ledger, ledger.joined("ann", "room:1")))
    ben.end()


def a_message_to_the_new_server_is_missing(ledger: Ledger) -> None:
    with ledger.deploy():
        ben = ledger.joined("ben", "room:1")
        ann = ledger.joined("ann", "room:1")
        said(ledger, ann)
        hear(ledger, ben, said(ledger, ann))
    ben.end()


def a_message_comes_twice(ledger: Ledger) -> None:
    ben = ledger.joined("ben", "room:1")
    hear(ledger, ben, *[said(ledger)] * 2)


def messages_change_places(ledger: Ledger) -> None:
    ben = ledger.joined("ben", "room:1")
    hear(ledger, ben, *[said(ledger), said(ledger)][::-1])


def a_sender_does_not_hear_itself(ledger: Ledger) -> None:
    ann = ledger.joined("ann", "room:1")
    ledger.acknowledged(ledger.sends("ann", "room:1", ann))
    ann.end()


def a_reply_is_lost(ledger: Ledger) -> None:
    ledger.not_answered("ben", "room:1", "echo", ledger.joined("ben", "room:1"))


@pytest.mark.parametrize("fine", [all_is_well, a_message_is_sent_to_the_old_server], ids=lambda each: each.__name__)
def test_what_may_be_is_no_fault(fine: Callable[[Ledger], None]) -> None:
    assert in_loop(fine) == []


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        (a_message_is_missing, "has not heard [1] of ann"),
        (a_message_is_missing_before_another, "has not heard [1] of ann (1 in all), only up to 2"),
        (a_message_to_the_new_server_is_missing, "has not heard [1] of ann (1 in all), only up to 2"),
        (a_message_comes_twice, "ann 1 was heard after 1"),
        (messages_change_places, "ann 1 was heard after 2"),
        (a_sender_does_not_hear_itself, "before its sender has heard it"),
        (a_reply_is_lost, "the reply to echo of ben in room:1 was lost without notice"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_what_must_not_be_is_a_fault(wrong: Callable[[Ledger], None], found: str) -> None:
    [fault] = in_loop(wrong)
    assert found in fault


def test_what_is_left_is_named_and_sizes_are_not_compared() -> None:
    before = {"timers": 1, "files": 9, "rss": 100}
    assert differences(before, {"timers": 2, "files": 9, "rss": 300}) == ["timers: 1 at the start, 2 at the end"]


# What counts as growth


def curve(*sizes: float) -> list[Point]:
    return [Point(1000 * n, size) for n, size in enumerate(sizes, 1)]


def test_a_trend_is_that_of_the_last_half() -> None:
    assert trend(curve(0, 50, 90, 100, 100, 100, 100, 100)) == 0
    assert trend(curve(*range(0, 800, 100))) == 100
    assert rise(curve(*range(0, 800, 100))) == 400


def test_a_point_that_is_far_off_does_not_make_a_trend() -> None:
    assert trend(curve(5, 5, 5, 5, 5, 900, 5, 5, 5, 5)) == 0
    assert trend(curve(5, 5, 5, 5, 5, 5, 5, 5, 5, 900)) == 0


def test_a_curve_is_drawn_with_each_of_its_points() -> None:
    svg = drawn([Panel("memory", curve(1, 2, 3)), Panel("objects", curve(0, 0))], "sessions")
    assert svg.count("<polyline") == 2
    assert svg.split('points="')[1].split('"')[0].count(",") == 3
