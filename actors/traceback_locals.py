"""The local variables that a traceback keeps alive.

An exception refers to its traceback, that to the frames, and these to all that was in reach, often to the exception again: from
the `self` of a handler, for example, the reason of the actor's exit is reached. Such a cycle stays until a collection, however
large it is. So the frames of a crash are cleared when its report is dropped; the lines of the traceback stay.
"""

from __future__ import annotations

from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from opcode import opmap
from types import FrameType, TracebackType

__all__ = ["causes_of", "chain_of", "drop_locals"]

_cause_of = vars(BaseException)["__cause__"].__get__
_context_of = vars(BaseException)["__context__"].__get__
_traceback_of = vars(BaseException)["__traceback__"].__get__

_YIELD = opmap["YIELD_VALUE"]
_SUSPENDABLE = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


def drop_locals(error: BaseException) -> None:
    """Clear the local variables of all functions in the tracebacks of an exception and its causes that have ended."""
    cleared: set[FrameType] = set()
    for each in chain_of(error):
        # Not by `walk_tb`, which looks for the number of each line.
        trace: TracebackType | None = _traceback_of(each)
        while trace is not None:
            if trace.tb_frame not in cleared:
                _clear(trace.tb_frame, cleared)
            trace = trace.tb_next


def causes_of(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return the cause and the context of an exception, whatever its class has in their place."""
    return _cause_of(error), _context_of(error)


def chain_of(error: BaseException) -> list[BaseException]:
    """Return an exception and all its causes and contexts, each once: they may refer to each other."""
    chain, seen = [error], {id(error)}
    for each in chain:
        for other in causes_of(each):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                chain.append(other)
    return chain


def _clear(frame: FrameType | None, cleared: set[FrameType]) -> None:
    try:
        # A frame also keeps those that called it.
        while frame is not None and frame not in cleared:
            if frame.f_code.co_flags & _SUSPENDABLE and _is_suspended(frame):
                return
            frame.clear()
            cleared.add(frame)
            frame = frame.f_back
    except RuntimeError:
        pass  # it is running, and so are those above it


def _is_suspended(frame: FrameType) -> bool:
    """Return whether a coroutine or generator may go on: clearing its frame would close it, before Python 3.13."""
    return frame.f_code.co_code[frame.f_lasti] == _YIELD
