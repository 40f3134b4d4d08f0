"""The busiest actors, again and again."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from tests.supervisors.systems import its, out, system

if TYPE_CHECKING:
    from actors.testing import ManualRuntime
    from supervisors.observer.commands import Commands

__all__ = ["its", "out", "system"]


def test_the_busiest_are_shown_again_and_again(its: Commands, out: StringIO, runtime: ManualRuntime) -> None:
    shown = its.top(most=1, every=2.0, times=2)
    assert shown is not None
    task = runtime._scheduler.loop.create_task(shown)
    runtime.settle()
    for _ in range(10):
        its.send("other", "x")
    runtime.advance(2)
    its.send("counter", "x")
    runtime.advance(2)
    assert task.done()
    pages = [line.split() for line in out.getvalue().splitlines() if "<0." in line]
    assert [page[1:] for page in pages] == [
        ["other", "Counter", "5.0", "0", "10"],
        ["counter", "Counter", "0.5", "0", "1"],
    ]
    assert "actors: 5  waiting: 0  messages/s: 5.0" in out.getvalue()
