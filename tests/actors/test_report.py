"""The reports of crashes: what is kept of the last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.runtime import report

if TYPE_CHECKING:
    from actors.testing import ManualRuntime

LENGTH = 5 * report.KEPT


class Last(Actor):
    def on_receive(self, message: Any) -> Any:
        raise ValueError("at the end")


class PassingOn(Actor):
    def __init__(self, asked: Any) -> None:
        self.asked = asked

    async def on_receive(self, message: Any) -> Any:
        return await self.asked.call(message)


class Wrapping(PassingOn):
    async def on_receive(self, message: Any) -> Any:
        try:
            return await super().on_receive(message)
        except Exception as error:
            raise RuntimeError("passed on") from error


@pytest.mark.parametrize("actor", [PassingOn, Wrapping])
def test_an_exception_that_is_passed_on_is_cleared_when_its_last_report_is_dropped(
    runtime: ManualRuntime, actor: type[PassingOn], monkeypatch: pytest.MonkeyPatch
) -> None:
    report._crashes.clear()
    cleared: list[BaseException] = []
    monkeypatch.setattr(report, "drop_locals", cleared.append)
    ref: Any = Last.start()
    for _ in range(LENGTH):
        ref = actor.start(ref)
    asked = ref.ask("any", block=False)
    runtime.settle()
    assert asked.exception is not None
    assert len(report.last_crashes()) == report.KEPT
    assert asked.exception not in cleared
    for _ in range(report.KEPT):
        Last.start().tell("any")
    runtime.settle()
    assert asked.exception in cleared
