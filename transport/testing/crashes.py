"""Crashes of the actors under test: each one fails the test unless the test expects it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from actors.channel import Channel, as_sent
from actors.channels.message import Message
from actors.exits import Crash
from actors.lowlevel import is_program_exit
from actors.redaction import safe_repr, safe_str
from transport.testing.exceptions import UnexpectedCrashError
from transport.testing.leftovers import name_of

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler

__all__ = ["AsyncCrashBlock", "CrashBlock", "Crashes", "ExpectedCrash", "Kinds"]

Kinds = type[BaseException] | tuple[type[BaseException], ...]

_OURS = ("actors.", "supervisors.", "transport.")
_NOTED = 5


class ExpectedCrash:
    """A crash that a test expects; once it has happened, the exception and the name of the actor."""

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
            raise LookupError("no actor has crashed yet; read it after the block")
        return self._exception

    def accepts(self, actor: str, error: BaseException) -> bool:
        """Return whether this is the expected crash; record it if so."""
        if not isinstance(error, self._kind) or (
            self._match is not None and not re.search(self._match, safe_str(error))
        ):
            return False
        if self._exception is None:
            self.actor, self._exception = actor, error
        return True

    def check(self) -> None:
        """Fail if it did not happen.

        Raises:
            AssertionError: naming the exceptions that were expected.
        """
        __tracebackhide__ = True
        if self._exception is None:
            kinds = self._kind if isinstance(self._kind, tuple) else (self._kind,)
            names = " or ".join(kind.__name__ for kind in kinds)
            matching = "" if self._match is None else f" that matches {self._match!r}"
            raise AssertionError(f"no actor crashed with {names}{matching}")


class Crashes:
    """The crashes in a runtime; exceptions of the kinds `expected` never fail the test.

    `block` is the code that precedes `.expect_crash(…)` in the hint of an UnexpectedCrashError.
    """

    def __init__(self, expected: Kinds = (), block: str = "with client") -> None:
        self.block = block
        self._always, self._expected = expected, list[ExpectedCrash]()
        self._unexpected: list[UnexpectedCrashError] = []

    def watch(self, scheduler: Scheduler) -> None:
        """Record every crash of an actor of this scheduler from now on."""
        scheduler.watch_ends(self._on_end)

    def _on_end(self, process: Process) -> None:
        reason = process.reason
        if not isinstance(reason, Crash):
            return
        error = reason.exception
        # Without a traceback it was not raised, but the reason of an exit signal or of a Stop.
        if error.__traceback__ is None:
            return
        # It is raised in the test itself.
        if is_program_exit(error):
            return
        if isinstance(error, self._always) or any(crash.accepts(name_of(process), error) for crash in self._expected):
            return
        if not any(failure.error is error for failure in self._unexpected):
            failure = UnexpectedCrashError(name_of(process), error, _last_message(process), self.block)
            failure.__cause__ = error.with_traceback(_authors_part(error.__traceback__))
            self._unexpected.append(failure)

    @property
    def first(self) -> UnexpectedCrashError | None:
        """The first unexpected crash, or None."""
        return self._unexpected[0] if self._unexpected else None

    def check(self) -> None:
        """Fail the test with the first unexpected crash; the others are notes of it.

        Raises:
            UnexpectedCrashError: if there was one.
        """
        __tracebackhide__ = True
        if self._unexpected:
            (first, *others), self._unexpected = self._unexpected, []
            for other in others[:_NOTED]:
                first.add_note(f"and {other.summary}")
            if len(others) > _NOTED:
                first.add_note(f"and {len(others) - _NOTED} more")
            raise first

    def note_on(self, failure: BaseException) -> None:
        """Add the crashes so far to another failure of the test, as they may be its cause."""
        for crash in self._unexpected[:_NOTED]:
            failure.add_note(crash.summary)

    @contextmanager
    def expecting(self, kind: Kinds, match: str | None) -> Iterator[ExpectedCrash]:
        """Expect a crash inside the block."""
        expected = ExpectedCrash(kind, match)
        self._expected.append(expected)
        try:
            yield expected
        finally:
            self._expected.remove(expected)


# Classes instead of generators with @contextmanager: pytest would show the frames of contextlib in the failure of a test.


class CrashBlock(AbstractContextManager[ExpectedCrash]):
    """The block of `expect_crash`; `settle` lets the actors run until they are idle."""

    def __init__(self, crashes: Crashes, kind: Kinds, match: str | None, settle: Callable[[], object]) -> None:
        self._expecting, self._settle = crashes.expecting(kind, match), settle

    def __enter__(self) -> ExpectedCrash:
        __tracebackhide__ = True
        self._settle()
        self._expected = self._expecting.__enter__()
        return self._expected

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        __tracebackhide__ = True
        try:
            if kind is None:
                self._settle()
        finally:
            self._expecting.__exit__(None, None, None)
        if kind is None:
            self._expected.check()


class AsyncCrashBlock(AbstractAsyncContextManager[ExpectedCrash]):
    """The same for `async with`."""

    def __init__(
        self, crashes: Crashes, kind: Kinds, match: str | None, settle: Callable[[], Awaitable[object]]
    ) -> None:
        self._expecting, self._settle = crashes.expecting(kind, match), settle

    async def __aenter__(self) -> ExpectedCrash:
        __tracebackhide__ = True
        await self._settle()
        self._expected = self._expecting.__enter__()
        return self._expected

    async def __aexit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        __tracebackhide__ = True
        try:
            if kind is None:
                await self._settle()
        finally:
            self._expecting.__exit__(None, None, None)
        if kind is None:
            self._expected.check()


def _last_message(process: Process) -> str:
    actor, message = process.actor, process.current
    if isinstance(actor, Channel):
        message = as_sent(actor, message)
    if isinstance(message, Message):
        return f"{message.event!r} with {safe_repr(message.payload)}"
    return "none" if message is None else safe_repr(message)


def _authors_part(traceback: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of the runtime that come before the author's own."""
    part = traceback
    while part is not None and str(part.tb_frame.f_globals.get("__name__", "")).startswith(_OURS):
        part = part.tb_next
    return part or traceback
