"""Python's own prompt, with `await`, the completion of names, and short errors."""

from __future__ import annotations

import asyncio
import concurrent.futures
from code import InteractiveConsole
from collections.abc import Sequence
from contextlib import suppress
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from supervisors.observer.completion import complete_words, completions_of
from supervisors.observer.typed import Function, awaits, compiler, outcome, report

if TYPE_CHECKING:
    from supervisors.observer.scope import Scope

__all__ = ["PythonPrompt", "run_on_loop"]

# Seconds after which a wait begins again: it misses a signal that arrives just before it.
_AGAIN = 0.1


class PythonPrompt(InteractiveConsole):
    """Python's prompt in this thread; code with a top-level `await` runs as a task of `loop`."""

    def __init__(self, namespace: dict[str, Any], scope: Scope, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(namespace)
        self._namespace, self._scope, self._loop = namespace, scope, loop
        self.compile = compiler()
        with suppress(ImportError):  # Python can be built without it
            import readline  # noqa: PLC0415  # as above

            complete_words(readline, self._complete)

    def _complete(self, word: str, line: str) -> Sequence[str]:
        return completions_of(word, line, self._namespace, self._scope.names)

    def runcode(self, code: CodeType) -> None:
        """Run a statement; its exceptions are shown, except SystemExit."""
        function = FunctionType(code, self._namespace)
        try:
            if awaits(code):
                run_on_loop(function, self._loop)
            else:
                function()
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001  # it is shown to the user, as by Python's own
            self.write(report(error, self._namespace))


def run_on_loop(function: Function, loop: asyncio.AbstractEventLoop) -> None:
    """Run a statement as a task of a loop, and wait for it; Ctrl-C cancels it.

    Raises:
        RuntimeError: if the loop is closed, as that of a system that has ended.
        BaseException: the one that the statement raises.
    """
    statement = outcome(function)
    try:
        running = asyncio.run_coroutine_threadsafe(statement, loop)
    except RuntimeError:
        statement.close()
        raise
    try:
        error = _result(running)
    except KeyboardInterrupt:
        running.cancel()
        raise
    if error is not None:
        raise error


def _result(running: concurrent.futures.Future[BaseException | None]) -> BaseException | None:
    while not running.done():
        concurrent.futures.wait([running], _AGAIN)
    return running.result()
