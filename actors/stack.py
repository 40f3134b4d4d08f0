"""Where an actor is: in a handler that waits, in its thread, or on the loop that it blocks; as the lines of a traceback."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from collections.abc import Iterator
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import TYPE_CHECKING, Any

from actors.runtime.coroutine import Contained
from actors.runtime.process import Process
from actors.threads.actor_thread import ActorThread, Work

if TYPE_CHECKING:
    from actors.runtime.scheduler import Scheduler

__all__ = ["blocked_at", "waits_at"]

# Where the runtime, or the event loop, calls what is the author's.
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
    """Return where an actor's handler waits, or its thread is at work; empty if it does not."""
    if process.task is None:
        return ""
    thread = getattr(process.actor, "_actor_thread", None)
    if isinstance(thread, ActorThread):
        return _thread_is_at(thread.ident)
    frames = list(_frames(process.task.get_coro()))
    authors = [index for index, frame in enumerate(frames) if not _is_ours(frame)]
    # What is below the author's last line is how the runtime waits.
    return _text(frames[: authors[-1] + 1] if authors else frames)


def blocked_at(scheduler: Scheduler) -> str:
    """Return where the thread of an event loop is; from another thread."""
    return _thread_is_at(scheduler.thread_id)


def _thread_is_at(ident: int | None) -> str:
    frame = sys._current_frames().get(ident or 0)
    frames = [frame for frame, _ in traceback.walk_stack(frame)][::-1] if frame is not None else []
    calls = [index for index, frame in enumerate(frames) if frame.f_code in _CALLERS]
    return _text(frames[calls[-1] + 1 :] if calls else frames)


def _frames(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames from a coroutine to what it waits for in the end."""
    while awaited is not None:
        if isinstance(awaited, Contained):
            awaited = awaited.coroutine
            continue
        frame, awaited = _step(awaited)
        if frame is not None:
            yield frame


def _step(awaited: Any) -> tuple[FrameType | None, Any]:
    if isinstance(awaited, CoroutineType):
        return awaited.cr_frame, awaited.cr_await
    if isinstance(awaited, GeneratorType):
        return awaited.gi_frame, awaited.gi_yieldfrom
    if isinstance(awaited, AsyncGeneratorType):
        return awaited.ag_frame, awaited.ag_await
    # What stands for a coroutine in `__await__`, or for a step of an async generator, shows it to the collector only.
    inner = (value for value in gc.get_referents(awaited) if isinstance(value, CoroutineType | AsyncGeneratorType))
    return None, next(inner, None)


def _text(frames: list[FrameType]) -> str:
    """Show frames, those at the head left out that are between the runtime and the author's handler."""
    authors = next((index for index, frame in enumerate(frames) if not _is_ours(frame)), 0)
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames[authors:])
    return "".join(lines.format()).rstrip()


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("actors.")
