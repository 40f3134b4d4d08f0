"""What can be read of a process from any thread, without sending it a message (Erlang's `process_info`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.redaction import safe_repr
from actors.sys import status_word
from supervisors.branches import branch_of, name_of, supervisor_of

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.ref import ActorRef

__all__ = ["ProcessInfo", "TopRow", "process_info", "ranked"]


class ProcessInfo(NamedTuple):
    """One row of `ps()`.

    `status` is a word of `actors.sys.Status`; `mailbox` is the number of waiting messages, `handled` of those handled so far;
    `mailbox_limit` is how many may wait, None: any number; `left_out` were refused or dropped, as there was no room;
    `restarts` is how many times its supervisor has restarted it, None without a supervisor; `age` is in seconds.
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
    mailbox_limit: int | None = None
    left_out: int = 0


class TopRow(NamedTuple):
    """One row of `top()`: an actor, and how many messages per second it has handled since the previous sample."""

    ref: ActorRef[Any]
    info: ProcessInfo
    rate: float


_FIELDS = ("pid", "name", "actor", "status", "mailbox", "handled", "restarts", "age", "left_out")
_NUMBERS = frozenset(("mailbox", "handled", "restarts", "age", "left_out"))


def process_info(process: Process) -> ProcessInfo:
    """Return the row of a process as it is now."""
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
        mailbox_limit=process.limit,
        left_out=process.left_out,
    )


def ranked(infos: Iterable[ProcessInfo], by: str, most: int | None) -> list[ProcessInfo]:
    """Return the first `most` (None: all) by the field `by`: numbers in descending order, pids and strings in ascending order.

    Raises:
        ValueError: if there is no such field.
    """
    if by not in _FIELDS:
        raise ValueError(f"actors can be sorted by {', '.join(map(repr, _FIELDS))}, got {safe_repr(by)}")
    if by in _NUMBERS:
        return sorted(infos, key=lambda info: getattr(info, by) or 0, reverse=True)[:most]
    if by == "pid":
        return sorted(infos, key=lambda info: info.ref.process.number)[:most]
    return sorted(infos, key=lambda info: str(getattr(info, by)))[:most]
