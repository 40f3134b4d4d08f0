"""Evaluates what is typed: in a thread of the session, or on the event loop if it awaits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from actors.redaction import Lines
from actors.threads.threaded_actor import ThreadedActor
from supervisors.console.protocol import Complete, Completions, Evaluate
from supervisors.observer.completion import completions_of
from supervisors.observer.typed import awaits, compiler, report

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from supervisors.console.server.interruption import Interruption
    from supervisors.console.server.screen import Screen
    from supervisors.observer.scope import Scope

__all__ = ["Evaluated", "Evaluator", "Leave"]

T = TypeVar("T")

_FILE = "<console>"


class Evaluated(msgspec.Struct, frozen=True):
    """Reports to the session that an Evaluate is done, or needs more lines."""

    number: int
    needs_more: bool = False
    has_failed: bool = False


class Leave(msgspec.Struct, frozen=True):
    """Reports to the session that the client wants to leave: `exit()`, with the exit status of the client."""

    status: int = 0


class Evaluator(ThreadedActor):
    """Evaluates one statement after another.

    It is an actor, so that actors started at the prompt run on the server's loop, and it has a thread, so that a statement may
    block. Code with a top-level `await` runs as a task of the loop instead, and must not block.
    """

    _no_dead_letters = (object,)

    def __init__(
        self,
        session: ActorRef[Any],
        scope: Scope,
        namespace: dict[str, Any],
        screen: Screen,
        interruption: Interruption,
    ) -> None:
        self._session, self._scope, self._namespace = session, scope, namespace
        self._screen, self._interruption = screen, interruption
        self._compile = compiler()

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
                self._session.send(self._run(number, source))
            case Complete(number=number, text=text, line=line):
                self._session.send(Completions(number, self._complete(text, line)))

    def _complete(self, text: str, line: str) -> list[str]:
        try:
            return self._exposed(lambda: completions_of(text, line, self._namespace, self._scope.names)) or []
        except KeyboardInterrupt:
            return []

    def _run(self, number: int, source: str) -> Evaluated | Leave:
        """Evaluate; return whether the statement needs more lines or has failed, or that the client wants to leave."""
        try:
            return Evaluated(number, needs_more=bool(self._exposed(lambda: self._evaluate(source))))
        except KeyboardInterrupt:
            self._print("\nKeyboardInterrupt\n")
        except SystemExit as exiting:
            return Leave(self._status(exiting.code))
        except BaseException as error:  # noqa: BLE001  # it is shown to the user
            self._print(report(error, self._namespace))
        return Evaluated(number, has_failed=True)

    def _status(self, code: object) -> int:
        """Return the exit status for the argument of `exit()`, as in a program of its own."""
        if code is None or isinstance(code, int):
            return code or 0
        self._print(f"{Lines(code)}\n")
        return 1

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
        if awaits(code):
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
