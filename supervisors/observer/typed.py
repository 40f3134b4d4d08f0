"""Statements that are typed at a prompt: they may `await`, and an error is shown from the typed line on."""

from __future__ import annotations

import ast
import inspect
import traceback
from codeop import CommandCompiler
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from actors.exceptions import AmbiguousNameError
from actors.redaction import Lines
from supervisors.exceptions import AmbiguousActorError, UnknownActorError

__all__ = ["Function", "awaits", "compiler", "is_slip", "outcome", "report", "typed_part"]

# Code with a top-level `await`.
Function = Callable[[], Coroutine[Any, Any, Any]]

# How a prompt is told of a wrong name, and of a wrong argument.
_ABOUT_ACTORS = (UnknownActorError, AmbiguousActorError, AmbiguousNameError)
_ABOUT_ARGUMENTS = (LookupError, TypeError, ValueError)
_ABOUT_WORDS = (NameError, AttributeError, TypeError)

_COMMANDS = str(Path(__file__).parent)


def compiler() -> CommandCompiler:
    """Return a compiler of statements that may await at the top level, as in `python -m asyncio`."""
    made = CommandCompiler()
    made.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return made


def awaits(code: CodeType) -> bool:
    """Return whether a statement awaits."""
    return bool(code.co_flags & inspect.CO_COROUTINE)


async def outcome(function: Function) -> BaseException | None:
    """Run a statement as a task, and return what it raised: SystemExit or KeyboardInterrupt would end the loop."""
    try:
        await function()
    except BaseException as error:  # noqa: BLE001  # it is shown to the user
        return error
    return None


# Errors


def report(error: BaseException, namespace: Mapping[str, object]) -> str:
    """Return a traceback as text, from the first typed line on; only the last line if that says everything.

    It is printable, as the text of an error may contain a client's message. `namespace` has the variables of the prompt.
    """
    typed = typed_part(error.__traceback__, namespace)
    if is_slip(error, typed):
        return str(Lines("".join(traceback.format_exception_only(error))))
    return str(Lines("".join(traceback.format_exception(type(error), error, typed))))


def is_slip(error: BaseException, typed: TracebackType | None) -> bool:
    """Return whether an error is about the typed line itself: a name, an actor or an argument that is not right, or Ctrl-C.

    `typed` is the traceback from that line on.
    """
    if isinstance(error, (*_ABOUT_ACTORS, KeyboardInterrupt)):
        return True
    frames = list(_frames(typed))
    if len(frames) == 1:
        return frames[0].tb_lineno == 1 and isinstance(error, _ABOUT_WORDS)
    is_ours = bool(frames) and frames[-1].tb_frame.f_code.co_filename.startswith(_COMMANDS)
    return is_ours and isinstance(error, _ABOUT_ARGUMENTS)


def typed_part(found: TracebackType | None, namespace: Mapping[str, object]) -> TracebackType | None:
    """Return the part of a traceback that begins with the typed line; None if there is no such line."""
    return next((one for one in _frames(found) if one.tb_frame.f_globals is namespace), None)


def _frames(found: TracebackType | None) -> Iterator[TracebackType]:
    while found is not None:
        yield found
        found = found.tb_next
