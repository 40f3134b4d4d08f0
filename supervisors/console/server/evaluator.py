"""What is typed, evaluated in a thread of the session, or on the loop if it awaits."""

from __future__ import annotations

import ast
import inspect
import traceback
from codeop import CommandCompiler
from contextlib import suppress
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

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

_FILE = "<console>"


class Evaluated(msgspec.Struct, frozen=True):
    """An evaluator tells its session that an Evaluate is over."""

    number: int
    needs_more: bool


class Leave(msgspec.Struct, frozen=True):
    """An evaluator tells its session that the client wants to leave: `exit()`."""


class Evaluator(ThreadedActor):
    """Evaluates one statement after another.

    It is an actor, so that an actor started at the prompt lives on the server's loop. It has a thread, so that what is typed
    may block. Code with `await` at its top level runs as a task of the loop instead, and is what may not block.
    """

    def __init__(
        self, session: ActorRef[Any], namespace: dict[str, Any], screen: Screen, interruption: Interruption
    ) -> None:
        self._session, self._namespace = session, namespace
        self._screen, self._interruption = screen, interruption
        self._compile = CommandCompiler()
        # As `python -m asyncio` does it.
        self._compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

    def on_start(self) -> None:
        """Let all that this thread prints go to the client."""
        self._interruption.begin()
        self._screen.take()

    def on_receive(self, message: Any) -> None:
        """Evaluate, or complete; tell the session."""
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
        """Evaluate; tell whether the statement needs more lines."""
        try:
            return bool(self._exposed(lambda: self._evaluate(source)))
        except KeyboardInterrupt:
            self._tell("\nKeyboardInterrupt\n")
        except SystemExit:
            self._session.send(Leave())
        except BaseException as error:  # noqa: BLE001  # it is shown to whoever typed this
            self._tell(_harmless(_report(error)))
        return False

    def _tell(self, text: str) -> None:
        with suppress(BrokenPipeError):  # nobody is there any more
            self._screen.write(text)

    def _exposed(self, function: Any) -> Any:
        """Return what `function()` returns, and let Ctrl-C interrupt that, and nothing after it."""
        try:
            try:
                self._interruption.expose()
                return function()
            finally:
                self._interruption.cover()
        except KeyboardInterrupt:
            # It may have come before cover() could do anything; there is one at most.
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
            function()
        return False

    def _await(self, function: FunctionType) -> None:
        self._interruption.cover()
        error = self._interruption.run_on_loop(function)
        self._interruption.expose()
        self._screen.display_kept()
        if error is not None:
            raise error


def _awaits(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)


def _report(error: BaseException) -> str:
    """Write a traceback, from the first line that was typed on."""
    found: TracebackType | None = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename != _FILE:
        found = found.tb_next
    return "".join(traceback.format_exception(type(error), error, found))


def _harmless(text: str) -> str:
    """Write control characters, which may be an attacker's words in an error's, as escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)
