"""A limit to the time of each phase of a test: a wait that has no end fails, and the report shows where it is."""

from __future__ import annotations

import asyncio
import io
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.live import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 20 * WAIT
"""Seconds for the set-up, the call and the tear-down of a test; it is longer than any timeout inside a test."""


def heed_signals() -> None:
    """Undo that SIGINT is ignored, as in a background job of a script, or SIGHUP, as under nohup; children inherit that."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail in the main thread after so many seconds, and again each tenth of them, in case a handler swallows it."""

    def fail(*_: object) -> None:
        __tracebackhide__ = True
        pytest.fail(f"more than {seconds} s: {waiting_tasks()}")

    before = signal.signal(signal.SIGALRM, fail)
    left = signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
        signal.signal(signal.SIGALRM, before)


def waiting_tasks() -> str:
    """Return where the tasks of the event loop in this thread wait."""
    stacks = io.StringIO()
    with suppress(RuntimeError):  # no loop runs here
        for task in asyncio.all_tasks():
            task.print_stack(file=stacks)
    return stacks.getvalue()
