"""Where an actor is: in a waiting handler, in its thread, or blocking its event loop; as the lines of a traceback."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING

from actors.runtime.coroutine import Contained
from actors.runtime.process import Process
from actors.threads.actor_thread import ActorThread, Work

if TYPE_CHECKING:
    from actors.runtime.scheduler import Scheduler

__all__ = ["blocked_at", "thread_is_at", "waits_at"]

# The functions in which the runtime, or the event loop, calls the author's code.
_CALLERS: frozenset[CodeType] = frozenset(
    function.__code__
    for function in (
        Process.handle_mail,
        Process.run_on_start,
        Process.end,
        Contained.send,
        Contained.throw,
        Work.run,
        asyncio.Handle._run,
    )
)


def waits_at(process: Process) -> str:
    """Return where the handler of an actor waits, or its thread is; empty if neither."""
    if process.task is None:
        return ""
    thread = getattr(process.actor, "_actor_thread", None)
    if isinstance(thread, ActorThread):
        return thread_is_at(thread.ident)
    frames = list(_frames(process.task.get_coro()))
    authors = [index for index, frame in enumerate(frames) if not _is_ours(frame)]
    # The frames below the author's last one show how the runtime waits.
    return _text(frames[: authors[-1] + 1] if authors else frames)


def blocked_at(scheduler: Scheduler) -> str:
    """Return where the thread of an event loop is, from another thread."""
    return thread_is_at(scheduler.thread_id)


def thread_is_at(ident: int | None) -> str:
    """Return where a thread is, from its last call of an author's code by the runtime on."""
    frame = sys._current_frames().get(ident or 0)
    frames = [frame for frame, _ in traceback.walk_stack(frame)][::-1] if frame is not None else []
    calls = [index for index, frame in enumerate(frames) if frame.f_code in _CALLERS]
    return _text(frames[calls[-1] + 1 :] if calls else frames)


def _frames(awaited: object) -> Iterator[FrameType]:
    """Yield the frames from a coroutine down to the one in which it is suspended."""
    while awaited is not None:
        if isinstance(awaited, Contained):
            awaited = awaited.coroutine
            continue
        frame = _frame_of(awaited)
        if frame is not None:
            yield frame
        awaited = _awaited_by(awaited)


def _frame_of(awaited: object) -> FrameType | None:
    """Return the frame of a coroutine or generator; None if it has returned, or is another awaitable."""
    match awaited:
        case CoroutineType():
            return awaited.cr_frame
        case GeneratorType():
            return awaited.gi_frame
        case AsyncGeneratorType():
            return awaited.ag_frame
    return None


def _awaited_by(awaited: object) -> object:
    """Return what a coroutine or another awaitable waits for; None if that is not known."""
    match awaited:
        case CoroutineType():
            return awaited.cr_await
        case GeneratorType():
            return awaited.gi_yieldfrom
        case AsyncGeneratorType():
            return awaited.ag_await
    # CPython's wrappers, of `coroutine.__await__()` and of one step of an async generator, have no attribute that leads to the
    # coroutine; the garbage collector knows what they refer to.
    inner = (value for value in gc.get_referents(awaited) if isinstance(value, CoroutineType | AsyncGeneratorType))
    return next(inner, None)


def _text(frames: list[FrameType]) -> str:
    """Format frames, without those at the top between the runtime and the author's handler."""
    authors = next((index for index, frame in enumerate(frames) if not _is_ours(frame)), 0)
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames[authors:])
    return "".join(lines.format()).rstrip()


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("actors.")
