"""Exit reasons are values."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from actors.actor import Actor
from actors.exits import (
    KILL,
    KILLED,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    Crash,
    ExitReason,
    Killed,
    NoProcess,
    Normal,
    Refuse,
    Shutdown,
    Stop,
    exit_reason,
)

if TYPE_CHECKING:
    import msgspec

    from actors.testing import ManualRuntime

ERROR = ValueError("broken")


@pytest.mark.parametrize(
    ("reason", "graceful"),
    [
        (NORMAL, True),
        (SHUTDOWN, True),
        (Shutdown("left"), True),
        (KILLED, False),
        (NO_PROCESS, False),
        (Crash(ERROR), False),
        (ExitReason(), False),
    ],
    ids=repr,
)
def test_only_a_normal_end_and_a_shutdown_are_graceful(reason: ExitReason, graceful: bool) -> None:  # noqa: FBT001  # a column of the table
    assert reason.is_graceful is graceful


@pytest.mark.parametrize(
    ("reason", "same"),
    [
        (NORMAL, Normal()),
        (SHUTDOWN, Shutdown()),
        (Shutdown({"to": "restart"}), Shutdown({"to": "restart"})),
        (KILLED, Killed()),
        (NO_PROCESS, NoProcess()),
        (Crash(ERROR), Crash(ERROR)),
    ],
    ids=repr,
)
def test_reasons_with_the_same_content_are_equal(reason: ExitReason, same: ExitReason) -> None:
    assert reason == same
    assert reason is not same


def test_reasons_of_different_kinds_differ() -> None:
    reasons = [
        NORMAL,
        SHUTDOWN,
        Shutdown("left"),
        Shutdown("closed"),
        KILLED,
        NO_PROCESS,
        Crash(ERROR),
        Crash(ValueError()),
    ]
    assert all(one != other for one in reasons for other in reasons if one is not other)


def test_reasons_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SHUTDOWN.detail = "x"  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize("reason", [NORMAL, SHUTDOWN, Shutdown("left"), KILLED, NO_PROCESS, Crash(ERROR)], ids=repr)
def test_a_reason_is_its_own_reason(reason: ExitReason) -> None:
    assert exit_reason(reason) is reason


@pytest.mark.parametrize("error", [ERROR, KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_an_exception_as_a_reason_is_a_crash(error: BaseException) -> None:
    reason = exit_reason(error)
    assert isinstance(reason, Crash)
    assert reason.exception is error


@pytest.mark.parametrize("value", [None, "normal", 0, KILL, ValueError], ids=repr)
def test_nothing_else_is_a_reason(value: Any) -> None:
    with pytest.raises(
        TypeError, match=r"must be NORMAL, SHUTDOWN, Shutdown\(detail\) or an exception, got "
    ) as caught:
        exit_reason(value)
    assert repr(value) in str(caught.value)


def test_kill_as_a_reason_is_refused_with_the_call_that_sends_it() -> None:
    with pytest.raises(TypeError, match=r"got KILL, which is a signal: write `ref\.kill\(\)`$"):
        exit_reason(KILL)


def test_a_crash_reads_as_its_exception() -> None:
    assert str(Crash(ERROR)) == "ValueError: broken"


def test_a_crash_by_an_exception_that_cannot_be_shown_can_be_told() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert str(Crash(MuteError())) == "MuteError (what it says cannot be shown)"


def test_kill_reads_as_its_name() -> None:
    assert repr(KILL) == "KILL"


def test_reasons_are_taken_apart_by_match() -> None:
    match exit_reason(ERROR):
        case Crash(exception=ValueError() as error):
            assert error is ERROR
        case other:
            pytest.fail(f"{other!r} is no crash")
    match Shutdown("left"):
        case Shutdown(detail):
            assert detail == "left"


def test_stop_is_normal_and_without_a_reply_unless_told_otherwise() -> None:
    assert Stop() == Stop(NORMAL, reply=None)
    assert Stop(SHUTDOWN, reply=1) != Stop(SHUTDOWN)


@pytest.mark.parametrize("value", [Stop(), Refuse(ERROR)], ids=["Stop", "Refuse"])
def test_what_handlers_return_cannot_be_changed(value: msgspec.Struct) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], None)


@pytest.mark.parametrize("error", ["no", ValueError, None], ids=["text", "class", "none"])
def test_a_refusal_that_is_no_exception_ends_the_author_and_can_still_be_ended(
    runtime: ManualRuntime, error: Any
) -> None:
    class Author(Actor):
        def on_receive(self, message: Any) -> Any:
            return Refuse(error)

    author = Author.start()
    with pytest.raises(TypeError, match="refused with an exception"):
        author.ask("a question")
    assert isinstance(author.exit_reason, Crash)
