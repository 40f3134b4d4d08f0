"""Why actors end, and the messages that tell others so.

The reasons are Erlang's: normal, shutdown (plain or with a detail), killed, no such process, or the exception.
They are values: compare them with `==`, take them apart with `match`, never by their text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

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
    """The base of all exit reasons."""

    @property
    def is_graceful(self) -> bool:
        """Tell whether OTP counts this as an orderly end, which a transient child is not restarted after."""
        return False


@dataclass(frozen=True, slots=True)
class Normal(ExitReason):
    """The actor did what it was there for."""

    @property
    def is_graceful(self) -> bool:
        """A normal end is orderly."""
        return True


@dataclass(frozen=True, slots=True)
class Shutdown(ExitReason):
    """The actor was told to end, or ended itself on purpose; `detail` says what for."""

    detail: Any = None

    @property
    def is_graceful(self) -> bool:
        """A shutdown is orderly, with or without a detail."""
        return True


@dataclass(frozen=True, slots=True)
class Killed(ExitReason):
    """The actor was ended by `KILL`, without a chance to clean up."""


@dataclass(frozen=True, slots=True)
class NoProcess(ExitReason):
    """The actor was already gone when it was asked about (Erlang's `noproc`)."""


@dataclass(frozen=True, slots=True)
class Crash(ExitReason):
    """An exception that nobody handled ended the actor."""

    exception: BaseException

    def __str__(self) -> str:
        name = type(self.exception).__name__
        try:
            return f"{name}: {self.exception}"
        except Exception:  # noqa: BLE001  # the author's __str__; what reports the crash goes on
            return f"{name} (what it says cannot be shown)"


class _Kill:
    """The untrappable signal; whoever it reaches ends as `KILLED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "KILL"


NORMAL = Normal()
"""The reason of an actor that has finished its work; links that do not trap exits ignore it."""

SHUTDOWN = Shutdown()
"""The reason of an actor that was told to exit, as a supervisor tells its children."""

KILLED = Killed()
"""The reason of an actor that was terminated by `KILL`."""

NO_PROCESS = NoProcess()
"""The reason reported for a link to, or a monitor of, an actor that was already dead or a name that is not registered."""

KILL = _Kill()
"""The exit signal that cannot be trapped: the actor exits as `KILLED`, and `terminate` does not run."""


def exit_reason(value: object) -> ExitReason:
    """Turn what an author gave as a reason into an exit reason.

    Raises:
        TypeError: if it is neither an `ExitReason` nor an exception.
    """
    if isinstance(value, ExitReason):
        return value
    if isinstance(value, BaseException):
        return Crash(value)
    raise TypeError(f"an exit reason must be NORMAL, SHUTDOWN, Shutdown(detail) or an exception, got {value!r}")


def refusal(error: object) -> BaseException:
    """Return what a question is to be refused with.

    Raises:
        TypeError: if it is no exception.
    """
    if not isinstance(error, BaseException):
        raise TypeError(f"a question is refused with an exception, got {error!r}; write Refuse(ValueError(…))")
    return error


class MonitorRef:
    """The identity of one monitor; hand it to `demonitor`, find it in `Down`."""

    __slots__ = ("flushed", "target", "watcher")

    def __init__(self, watcher: Any, target: Any) -> None:
        self.watcher, self.target = watcher, target
        # A `Down` with this ref, though in the mailbox, is not to be handled.
        self.flushed = False


class Down(msgspec.Struct, frozen=True, eq=False):
    """Sent once to each monitor when the watched actor has exited."""

    ref: MonitorRef
    actor: ActorRef[Any]
    reason: ExitReason


class Exit(msgspec.Struct, frozen=True, eq=False):
    """An exit signal as a message, for an actor that traps exits."""

    actor: ActorRef[Any]
    reason: ExitReason


class Stop(msgspec.Struct, frozen=True):
    """Returned by a handler: end this actor with `reason`, answering the caller with `reply` first.

    The reason is an exit reason or an exception.
    """

    reason: Any = NORMAL
    reply: Any = None


class Refuse(msgspec.Struct, frozen=True, eq=False):
    """Returned by a handler: whoever asked gets this exception; the actor lives on (a raised one would end it).

    Raises:
        TypeError: if it is no exception.
    """

    error: BaseException

    def __post_init__(self) -> None:
        refusal(self.error)
