"""Exit reasons, and the messages that report the end of an actor.

The reasons are Erlang's: normal, shutdown (plain or with a detail), killed, no such process, or the exception.
They are values: compare them with `==`, take them apart with `match`, never by their text.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, SupportsIndex

import msgspec

from actors.callbacks import check_reply
from actors.pickling import Local, portable
from actors.redaction import error_text, safe_repr
from actors.validation import check_refusal

if TYPE_CHECKING:
    from actors.ref import ActorRef

__all__ = [
    "KILL",
    "KILLED",
    "NORMAL",
    "NO_PROCESS",
    "SHUTDOWN",
    "Crash",
    "Down",
    "Exit",
    "ExitReason",
    "Killed",
    "MonitorRef",
    "NoProcess",
    "Normal",
    "Refuse",
    "Shutdown",
    "Stop",
    "exit_reason",
]


@dataclass(frozen=True, slots=True)
class ExitReason:
    """The base of all exit reasons.

    They can be pickled; an exception or a detail that cannot be arrives as its text.
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return type(self), tuple(portable(getattr(self, field.name), protocol) for field in fields(self))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    @property
    def is_graceful(self) -> bool:
        """Whether OTP counts this as an orderly end, after which a transient child is not restarted."""
        return False


@dataclass(frozen=True, slots=True)
class Normal(ExitReason):
    """The actor finished its work."""

    @property
    def is_graceful(self) -> bool:
        """True: a normal end is orderly."""
        return True


@dataclass(frozen=True, slots=True)
class Shutdown(ExitReason):
    """The actor was told to end, or ended itself on purpose; `detail` says why."""

    detail: Any = None

    def __repr__(self) -> str:
        return f"Shutdown(detail={safe_repr(self.detail)})"

    def __eq__(self, other: object) -> bool:
        if other is self:
            return True
        if not isinstance(other, Shutdown):
            return NotImplemented
        mine, others = self.detail, other.detail
        # The runtime compares with SHUTDOWN, which must not call an author's `__eq__`: it may raise, or return no bool.
        return mine is others or (mine is not None and others is not None and bool(mine == others))

    def __hash__(self) -> int:
        return hash((Shutdown, self.detail))

    @property
    def is_graceful(self) -> bool:
        """True: a shutdown is orderly, with or without a detail."""
        return True


@dataclass(frozen=True, slots=True)
class Killed(ExitReason):
    """The actor was ended by `KILL`, without a chance to clean up."""


@dataclass(frozen=True, slots=True)
class NoProcess(ExitReason):
    """The actor had ended before it was linked or monitored (Erlang's `noproc`)."""


@dataclass(frozen=True, slots=True)
class Crash(ExitReason):
    """An unhandled exception ended the actor."""

    exception: BaseException

    def __str__(self) -> str:
        return error_text(self.exception)

    def __repr__(self) -> str:
        return f"Crash(exception={safe_repr(self.exception)})"


class _Kill:
    """The untrappable signal; an actor that receives it ends with the reason `KILLED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "KILL"

    def __reduce__(self) -> str:
        return "KILL"  # the same object again, as it is compared by `is`


NORMAL = Normal()
"""The reason of an actor that has finished its work; links that do not trap exits ignore it."""

SHUTDOWN = Shutdown()
"""The reason of an actor that was told to exit, as a supervisor tells its children."""

KILLED = Killed()
"""The reason of an actor that was terminated by `KILL`."""

LEFT_BEHIND = Killed()
"""`KILLED`, as the reason of the parent's actors in a forked process: they live on, but not here; for the runtime."""

NO_PROCESS = NoProcess()
"""The reason reported for a link to, or a monitor of, an actor that was already dead or a name that is not registered."""

KILL = _Kill()
"""The exit signal that cannot be trapped: the actor exits as `KILLED`, and `terminate` does not run."""


def exit_reason(value: object) -> ExitReason:
    """Convert an author's value to an exit reason.

    Raises:
        TypeError: if it is neither an `ExitReason` nor an exception.
    """
    if isinstance(value, ExitReason):
        return value
    if isinstance(value, BaseException):
        return Crash(value)
    got = "KILL, which is a signal: write `ref.kill()`" if value is KILL else safe_repr(value)
    raise TypeError(f"an exit reason must be NORMAL, SHUTDOWN, Shutdown(detail) or an exception, got {got}")


class MonitorRef(Local):
    """The identity of one monitor; hand it to `demonitor`, find it in `Down`."""

    __slots__ = ("flushed", "target", "watcher")

    def __init__(self, watcher: Any, target: Any) -> None:
        self.watcher, self.target = watcher, target
        # A `Down` with this ref that is in the mailbox must not be handled.
        self.flushed = False


class Down(msgspec.Struct, frozen=True, eq=False):
    """Sent once to each monitor when the monitored actor has ended."""

    ref: MonitorRef
    actor: ActorRef[Any]
    reason: ExitReason


class Exit(msgspec.Struct, frozen=True, eq=False):
    """An exit signal as a message, for an actor that traps exits."""

    actor: ActorRef[Any]
    reason: ExitReason


class Stop(msgspec.Struct, frozen=True):
    """Returned by a handler to end its actor with `reason`, after the caller got `reply`.

    The reason is an exit reason or an exception.

    Raises:
        TypeError: if `reply` would have to be awaited first.
    """

    reason: Any = NORMAL
    reply: object = None

    def __post_init__(self) -> None:
        if self.reply is not None:
            check_reply(self.reply)


class Refuse(msgspec.Struct, frozen=True, eq=False):
    """Returned by a handler to raise this exception at the caller; the actor goes on (a raised one would end it).

    Raises:
        TypeError: if `error` is not an exception.
    """

    error: BaseException

    def __post_init__(self) -> None:
        check_refusal(self.error)
