"""The next messages of an actor, printed."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest

from tests.supervisors.systems import its, out, system

if TYPE_CHECKING:
    from actors.testing import ManualRuntime
    from supervisors.observer.commands import Commands

__all__ = ["its", "out", "system"]


def test_the_next_messages_are_printed_and_no_more(its: Commands, out: StringIO, runtime: ManualRuntime) -> None:
    ref = its.whereis("counter")
    assert ref is not None
    its.trace("counter", 2)
    for message in ("a", {"token": "t"}, "c"):
        its.ask("counter", message)
    lines = out.getvalue().splitlines()
    assert lines[0] == f"{ref} got 'a'"
    assert lines[1].startswith(f"{ref} handled it in ")
    assert lines[1].endswith(" ms, with 1")
    assert lines[2] == f"{ref} got {{'token': [FILTERED]}}"
    assert lines[4:] == [f"{ref} is no longer traced"]
    runtime.settle()
    assert ref.process.debug is None


def test_a_trace_takes_the_place_of_another_and_can_be_ended(its: Commands, out: StringIO) -> None:
    ref = its.whereis("counter")
    assert ref is not None
    its.trace(ref, 100)
    its.trace(ref, 1)
    its.ask(ref, "a")
    assert len(out.getvalue().splitlines()) == 3
    its.trace(ref, 100)
    its.trace(ref, 0)
    assert ref.process.debug is None
    its.ask(ref, "b")
    assert len(out.getvalue().splitlines()) == 3


def test_a_trace_shows_what_ends_an_actor(its: Commands, out: StringIO) -> None:
    its.trace("counter")
    with pytest.raises(ValueError, match="boom"):
        its.ask("counter", "boom")
    assert "raised ValueError: boom after " in out.getvalue()
