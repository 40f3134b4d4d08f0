"""IPython's prompt, with `await` on the event loop of the system, the completion of names, and short errors."""

from __future__ import annotations

import sys
from functools import partial
from types import CodeType, FunctionType, TracebackType
from typing import TYPE_CHECKING, Any

from IPython import start_ipython
from IPython.core.completer import CompletionContext, SimpleCompletion, context_matcher
from IPython.terminal.interactiveshell import TerminalInteractiveShell
from traitlets.config import Config

from supervisors.observer.completion import names_that_fit, open_string
from supervisors.observer.python_prompt import run_on_loop
from supervisors.observer.typed import is_slip, typed_part

if TYPE_CHECKING:
    import asyncio

    from supervisors.observer.scope import Scope

__all__ = ["start"]

# What runs in place of a statement that awaits, and the name by which it finds it.
_WAIT = "__run_on_loop__"
_WAITS = compile(f"{_WAIT}()", "<prompt>", "exec")


def start(namespace: dict[str, Any], banner: str, scope: Scope, loop: asyncio.AbstractEventLoop) -> None:
    """Open the prompt; return at its end."""
    config = Config()
    config.TerminalIPythonApp.interactive_shell_class = _shell(scope, loop)
    config.TerminalInteractiveShell.banner1 = banner
    config.TerminalInteractiveShell.confirm_exit = False
    start_ipython(argv=[], user_ns=namespace, config=config)


def _shell(scope: Scope, loop: asyncio.AbstractEventLoop) -> type[TerminalInteractiveShell]:
    """Return the class of a prompt for one system; IPython makes the instance."""

    class Shell(_Shell):
        _scope, _loop = scope, loop

    return Shell


class _Shell(TerminalInteractiveShell):
    _scope: Scope
    _loop: asyncio.AbstractEventLoop

    def init_completer(self) -> None:
        """Complete names of actors and topics too."""
        _untyped(super()).init_completer()
        scope = self._scope
        self.Completer.custom_matchers.append(_untyped(context_matcher)()(lambda context: _matches(context, scope)))

    async def run_code(self, code_obj: CodeType, result: Any = None, *, async_: bool = False) -> Any:
        """Run a statement: one that awaits as a task of the system's loop, while this thread waits for it."""
        run = _untyped(super()).run_code
        if not async_:
            return await run(code_obj, result)
        self.user_ns[_WAIT] = partial(run_on_loop, FunctionType(code_obj, self.user_ns), self._loop)
        try:
            return await run(_WAITS, result)
        finally:
            self.user_ns.pop(_WAIT, None)

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        """Show a traceback from the typed line on, or only its last line if that says everything."""
        error = sys.exception() if exc_tuple is None else exc_tuple[1]
        typed = None if error is None else self._typed_part(error)
        if error is not None and is_slip(error, typed):
            kind = type(error)
            self._showtraceback(kind, error, _untyped(self.InteractiveTB).get_exception_only(kind, error))
        elif error is not None and typed is not None:
            super().showtraceback((type(error), error, typed), *args, **{**options, "tb_offset": 0})
        else:
            super().showtraceback(exc_tuple, *args, **options)

    def _typed_part(self, error: BaseException) -> TracebackType | None:
        typed = typed_part(error.__traceback__, self.user_ns)
        if typed is not None and typed.tb_frame.f_code is _WAITS:
            return typed_part(typed.tb_next, self.user_ns)
        return typed


def _untyped(of_ipython: object) -> Any:
    return of_ipython


def _matches(context: CompletionContext, scope: Scope) -> dict[str, Any]:
    opened = open_string(context.text_until_cursor)
    if opened is None:
        return {"completions": []}
    # Of the string it is the last word, or all of it with the quote.
    token = context.token.lstrip(opened[:1])
    names = names_that_fit(token, opened, scope.names())
    completions = [SimpleCompletion(text=name, type="actor") for name in names]
    return {"completions": completions, "matched_fragment": token, "suppress": bool(completions)}
