"""The local variables that a traceback keeps alive."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

import pytest

from actors.traceback_locals import drop_locals


class Large:
    pass


def caught(function: Callable[..., Any], *args: Any) -> BaseException:
    with pytest.raises(ValueError, match="boom") as info:
        function(*args)
    return info.value


def fail() -> None:
    large = Large()
    raise ValueError(f"boom {large}")


def variables(error: BaseException) -> list[object]:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return [value for frame in frames for value in frame.f_locals.values() if isinstance(value, Large)]


def test_variables_are_dropped_and_lines_stay() -> None:
    error = caught(fail)
    assert variables(error)
    lines = traceback.format_exception(error)
    drop_locals(error)
    assert not variables(error)
    assert traceback.format_exception(error) == lines


def test_causes_are_included() -> None:
    def chained() -> None:
        try:
            fail()
        except ValueError as error:
            raise ValueError("boom again") from error

    error = caught(chained)
    assert error.__cause__ is not None
    drop_locals(error)
    assert not variables(error.__cause__)


def test_an_exception_may_be_its_own_cause_after_all() -> None:
    one, other = caught(fail), caught(fail)
    one.__cause__, other.__context__ = other, one
    drop_locals(one)
    assert not variables(other)


@coroutine
def pause() -> Generator[None, None, None]:
    yield


def test_a_function_that_goes_on_keeps_its_variables() -> None:
    large = Large()
    try:
        fail()
    except ValueError as error:
        drop_locals(error)
    assert isinstance(large, Large)


def test_a_coroutine_that_waits_goes_on() -> None:
    """Clearing its frame would close it."""
    errors: list[BaseException] = []

    async def handles() -> str:
        try:
            fail()
        except ValueError as error:
            errors.append(error)
            await pause()
        return "at its end"

    waiting: Coroutine[Any, Any, str] = handles()
    waiting.send(None)
    drop_locals(errors[0])
    with pytest.raises(StopIteration) as stopped:
        waiting.send(None)
    assert stopped.value.value == "at its end"
