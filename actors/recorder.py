"""The flight recorder: the last messages of an actor that keeps them, and the last crashes of the program.

    class Account(Actor):
        record = 20

    >>> last_crash().messages[-1]
    Recorded(at=12.5, message=('withdraw', 'ten'), asked=True, seconds=0.0002, error=ValueError(...))

An actor keeps its last messages if its child spec says so, else its class, else whoever started it, for all below.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from actors.runtime.process import Process
    from actors.runtime.report import CrashReport

__all__ = ["KEPT", "Recorded", "keep", "last_crash", "last_crashes", "record_for"]

KEPT = 10
"""How many crashes are kept. Each keeps what its actor had, and its traceback, from being freed."""

_crashes: deque[CrashReport] = deque(maxlen=KEPT)
_lock = threading.Lock()


class Recorded(msgspec.Struct, eq=False):
    """A message that an actor has handled, or is at: the object itself, as it is by now."""

    at: float
    """When it was begun, in seconds of the actor's clock."""
    message: Any
    asked: bool
    """Whether somebody waited for an answer."""
    seconds: float | None = None
    """How long it took, what an `async` handler waited included; None: it is not over."""
    error: BaseException | None = None
    """What the handler raised."""


def record_for(process: Process, length: int | None, parent: Process | None) -> deque[Recorded] | None:
    """Return what a process that starts is to keep its messages in; None: it keeps none.

    `length` is what its child spec says.
    """
    if length is None:
        of_class = process.actor_class.record
        # `record` is a name that an actor may well use for something else.
        length = of_class if isinstance(of_class, int) else None
    if length is None and parent is not None and parent.debug is not None and parent.debug.record is not None:
        length = parent.debug.record.maxlen
    if length is not None and length < 0:
        raise ValueError(f"record must be >= 0 or None, got {length!r}")
    return deque(maxlen=length) if length else None


def keep(report: CrashReport) -> None:
    """Keep the report of a crash."""
    with _lock:
        _crashes.append(report)


def last_crashes() -> list[CrashReport]:
    """Return the reports of the last crashes of the program, `KEPT` at most, the latest first; from any thread."""
    with _lock:
        return list(reversed(_crashes))


def last_crash() -> CrashReport | None:
    """Return the report of the latest crash of the program, or None; from any thread.

    It has the last messages if the actor kept them. `pdb.post_mortem(last_crash().error.__traceback__)` leads to where it was.
    """
    with _lock:
        return _crashes[-1] if _crashes else None
