"""The end by force, apart from the programs that test_signals.py ends."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from supervisors import exit_guard
from supervisors.exit_guard import ExitGuard

if TYPE_CHECKING:
    import pytest


def test_an_interrupt_that_finds_the_program_waiting_for_threads_leaves_its_end_to_the_guard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard, expected = ExitGuard(), list[float]()
    monkeypatch.setattr(exit_guard, "_waits_for_threads", lambda: True)
    monkeypatch.setattr(guard, "expect_end", expected.append)
    # It may interrupt code that is writing the output, which atexit's functions could not do then.
    guard.on_interrupt(signal.SIGINT, None)
    assert expected == [0.0]
    assert guard.status == 1
    guard.dismiss()
