"""What can be seen of a process from outside, from any thread, without asking it (Erlang's `process_info`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.sys import status_word
from supervisors.branches import branch_of, name_of, supervisor_of

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.ref import ActorRef

__all__ = ["ProcessInfo", "process_info", "ranked"]


class ProcessInfo(NamedTuple):
    """One row of `ps()`.

    `status` is a word of `actors.sys.Status`; `mailbox` counts the messages that wait, `handled` those of the actor's life so
    far; `restarts` says how often its supervisor has started it again, None if it has no supervisor; `age` is in seconds.
    """

    ref: ActorRef[Any]
    pid: str
    name: str
    actor: str
    status: str
    mailbox: int
    handled: int
    restarts: int | None
    age: float


_FIELDS = ProcessInfo._fields[1:]
_NUMBERS = frozenset(("mailbox", "handled", "restarts", "age"))


def process_info(process: Process) -> ProcessInfo:
    """Look at a process as it is at this moment."""
    return ProcessInfo(
        ref=process.ref,
        pid=process.pid,
        name=name_of(process),
        actor=process.actor_class.__name__,
        status=status_word(process),
        mailbox=process.waiting,
        handled=process.handled,
        restarts=None if supervisor_of(process) is None else branch_of(process).restarts,
        age=process.scheduler.clock.now() - process.started_at,
    )


def ranked(infos: Iterable[ProcessInfo], by: str, most: int | None) -> list[ProcessInfo]:
    """Return the first `most` by the field `by` (None: all): numbers from the largest down, a pid and words upwards.

    Raises:
        ValueError: if they cannot be sorted by that.
    """
    if by not in _FIELDS:
        raise ValueError(f"actors can be sorted by {', '.join(map(repr, _FIELDS))}, got {by!r}")
    if by in _NUMBERS:
        return sorted(infos, key=lambda info: getattr(info, by) or 0, reverse=True)[:most]
    if by == "pid":
        return sorted(infos, key=lambda info: info.ref.process.number)[:most]
    return sorted(infos, key=lambda info: str(getattr(info, by)))[:most]
