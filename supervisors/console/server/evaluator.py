"""Evaluates what is typed: in a thread of the session, or on the event loop if it awaits."""

from __future__ import annotations

import ast
import inspect
import traceback
from codeop import CommandCompiler
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from actors.threads.threaded_actor import ThreadedActor
from supervisors.console.protocol import Complete, Completions, Evaluate
from supervisors.console.server.completion import completions

if TYPE_CHECKING:
    from types import TracebackType

    from actors.ref import ActorRef
    from supervisors.console.server.interruption import Interruption
    from supervisors.console.server.screen import Screen

__all__ = ["Evaluated", "Evaluator", "Leave"]

T = TypeVar("T")

_FILE = "<console>"


class Evaluated(msgspec.Struct, frozen=True):
    """Reports to the session that an Evaluate is done."""

    number: int
    needs_more: bool


class Leave(msgspec.Struct, frozen=True):
    """Reports to the session that the client wants to leave: `exit()`."""


class Evaluator(ThreadedActor):
    """Evaluates one statement after another.

    It is an actor, so that actors started at the prompt run on the server's loop, and it has a thread, so that a statement may
    block. Code with a top-level `await` runs as a task of the loop instead, and must not block.
    """

    def __init__(
        self, session: ActorRef[Any], namespace: dict[str, Any], screen: Screen, interruption: Interruption
    ) -> None:
        self._session, self._namespace = session, namespace
        self._screen, self._interruption = screen, interruption
        self._compile = CommandCompiler()
        # As in `python -m asyncio`.
        self._compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def on_start(self) -> None:
        """Redirect the output of this thread to the client."""
        self._interruption.begin()
        self._screen.take()
        # All statements run in it, those that await too, so that each sees the variables that earlier ones have set.
        self._context = copy_context()

    def on_receive(self, message: object) -> None:
        """Evaluate or complete, and send the result to the session."""
        match message:
            case Evaluate(number=number, source=source):
                self._session.send(Evaluated(number, self._run(source)))
            case Complete(number=number, text=text):
                self._session.send(Completions(number, self._complete(text)))

    def _complete(self, text: str) -> list[str]:
        try:
            return self._exposed(lambda: completions(text, self._namespace)) or []
        except KeyboardInterrupt:
            return []

    def _run(self, source: str) -> bool:
        """Evaluate; return whether the statement needs more lines."""
        try:
            return bool(self._exposed(lambda: self._evaluate(source)))
        except KeyboardInterrupt:
            self._print("\nKeyboardInterrupt\n")
        except SystemExit:
            self._session.send(Leave())
        except BaseException as error:  # noqa: BLE001  # it is shown to the user
            self._print(_harmless(_report(error)))
        return False

    def _print(self, text: str) -> None:
        with suppress(BrokenPipeError):  # the client has disconnected
            self._screen.write(text)

    def _exposed(self, function: Callable[[], T]) -> T:
        """Return the result of `function()`; Ctrl-C can interrupt it, but nothing after it."""
        try:
            try:
                self._interruption.expose()
                return function()
            finally:
                self._interruption.cover()
        except KeyboardInterrupt:
            # It may have been raised before cover() did anything; there is at most one.
            self._interruption.cover()
            raise

    def _evaluate(self, source: str) -> bool:
        code = self._compile(source, _FILE, "single")
        if code is None:
            return True
        function = FunctionType(code, self._namespace)
        if _awaits(code):
            self._await(function)
        else:
            self._context.run(function)
        return False

    def _await(self, function: FunctionType) -> None:
        self._interruption.cover()
        error = self._interruption.run_on_loop(function, self._context)
        self._interruption.expose()
        self._screen.display_kept()
        if error is not None:
            raise error


def _awaits(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)


def _report(error: BaseException) -> str:
    """Return a traceback as text, from the first typed line on."""
    found: TracebackType | None = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename != _FILE:
        found = found.tb_next
    return "".join(traceback.format_exception(type(error), error, found))


def _harmless(text: str) -> str:
    """Escape control characters: the text of an error may contain an attacker's message."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)
