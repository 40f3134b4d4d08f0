"""Timers of a program without an event loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from supervisors.workers import timers as timers_module
from supervisors.workers.timers import Timers

if TYPE_CHECKING:
    import pytest


def test_functions_are_called_when_their_time_has_come_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    now, called = 100.0, list[str]()
    monkeypatch.setattr(timers_module, "monotonic_time", lambda: now)
    timers = Timers()
    assert timers.seconds_left() is None
    timers.call_after(2.0, lambda: called.append("second"))
    timers.call_after(1.0, lambda: called.append("first"))
    timers.call_at(math.inf, lambda: called.append("never"))
    assert timers.seconds_left() == 1.0
    timers.run()
    assert called == []
    now = 102.0
    timers.run()
    assert called == ["first", "second"]
    assert timers.seconds_left() is None
