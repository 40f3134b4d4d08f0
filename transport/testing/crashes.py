"""Crashes of the actors under test: each fails the test, unless the test expects it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from actors.exits import Crash
from actors.message import Message
from transport.testing.exceptions import UnexpectedCrashError
from transport.testing.leftovers import name_of

if TYPE_CHECKING:
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler

__all__ = ["Crashes", "ExpectedCrash", "Kinds"]

Kinds = type[BaseException] | tuple[type[BaseException], ...]

_OURS = ("actors.", "supervisors.", "transport.")


class ExpectedCrash:
    """A crash that a test expects, and, when it has happened, the exception and the name of the actor."""

    def __init__(self, kind: Kinds, match: str | None) -> None:
        self._kind, self._match = kind, match
        self.actor: str | None = None
        self._exception: BaseException | None = None

    @property
    def exception(self) -> BaseException:
        """What the actor raised.

        Raises:
            LookupError: if it has not crashed yet.
        """
        if self._exception is None:
            raise LookupError("no actor has crashed yet; look after the block")
        return self._exception

    def accepts(self, actor: str, error: BaseException) -> bool:
        """Tell whether this is the crash, and take note of it."""
        if not isinstance(error, self._kind) or (self._match is not None and not re.search(self._match, str(error))):
            return False
        if self._exception is None:
            self.actor, self._exception = actor, error
        return True

    def check(self) -> None:
        """Fail if it did not happen."""
        __tracebackhide__ = True
        if self._exception is None:
            kinds = self._kind if isinstance(self._kind, tuple) else (self._kind,)
            names = " or ".join(kind.__name__ for kind in kinds)
            matching = "" if self._match is None else f" that matches {self._match!r}"
            raise AssertionError(f"no actor crashed with {names}{matching}")


class Crashes:
    """What has crashed in a runtime, and what may; `expected` may at any time."""

    def __init__(self, expected: Kinds = ()) -> None:
        self._always, self._expected = expected, list[ExpectedCrash]()
        self._unexpected: list[UnexpectedCrashError] = []

    def watch(self, scheduler: Scheduler) -> None:
        """Take note of every actor of that scheduler that crashes from now on."""
        scheduler.watch_ends(self._on_end)

    def _on_end(self, process: Process) -> None:
        reason = process.reason
        if not isinstance(reason, Crash):
            return
        error = reason.exception
        # What nobody raised was the reason of an exit signal or of a Stop.
        if error.__traceback__ is None:
            return
        if isinstance(error, self._always) or any(crash.accepts(name_of(process), error) for crash in self._expected):
            return
        failure = UnexpectedCrashError(name_of(process), error, _shown(process.current))
        failure.__cause__ = error.with_traceback(_authors_part(error.__traceback__))
        self._unexpected.append(failure)

    def check(self) -> None:
        """Fail the test with the first crash that it did not expect."""
        __tracebackhide__ = True
        if self._unexpected:
            first, self._unexpected = self._unexpected[0], []
            raise first

    @contextmanager
    def expecting(self, kind: Kinds, match: str | None) -> Iterator[ExpectedCrash]:
        """Expect a crash inside the block."""
        expected = ExpectedCrash(kind, match)
        self._expected.append(expected)
        try:
            yield expected
        finally:
            self._expected.remove(expected)


def _shown(message: Any) -> str:
    if isinstance(message, Message):
        return f"{message.event!r} with {message.payload!r}"
    return "none" if message is None else repr(message)


def _authors_part(traceback: TracebackType | None) -> TracebackType | None:
    """Leave out the frames of the runtime that come before the author's own."""
    part = traceback
    while part is not None and str(part.tb_frame.f_globals.get("__name__", "")).startswith(_OURS):
        part = part.tb_next
    return part or traceback
