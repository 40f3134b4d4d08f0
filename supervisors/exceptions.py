"""The errors of `supervisors`.

SupervisorsError
├── ChildExistsError         a supervisor has a child with that id already
│   ├── AlreadyStartedError  and it is running
│   └── AlreadyPresentError  and it is not running
├── ChildNotFoundError       there is no such child
├── ChildRunningError        the call needs a child that is not running
├── ChildRestartingError     the child is about to be restarted
├── SignificantChildError    a significant child needs a supervisor with auto_shutdown
├── TooManyChildrenError     a DynamicSupervisor has max_children already
├── UnsupportedCallError     this kind of supervisor does not support the call
├── UnknownActorError        the observer finds no actor by that name
├── AmbiguousActorError      the observer finds several actors by that name
├── RemoteActorError         the observer cannot reach an actor of another node
├── UnavailableError         something outside of the program that it needs is not available, such as a port
│   └── ConsoleError         a console cannot be opened at that path
└── SystemDownError          the system ended unexpectedly
    └── WorkersDownError     too many of its processes died

CannotRunError, a StartError of `actors`: a program cannot start, as something is unavailable.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.exceptions import StartError
from actors.pickling import Portable
from actors.redaction import safe_repr, safe_str

__all__ = [
    "NO_UNIX_SOCKETS",
    "AlreadyPresentError",
    "AlreadyStartedError",
    "AmbiguousActorError",
    "CannotRunError",
    "ChildExistsError",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "ConsoleError",
    "RemoteActorError",
    "SignificantChildError",
    "SupervisorsError",
    "SystemDownError",
    "TooManyChildrenError",
    "UnavailableError",
    "UnknownActorError",
    "UnsupportedCallError",
    "WorkersDownError",
]


NO_UNIX_SOCKETS = "this platform has no Unix sockets, by which a console is reached"
"""The reason of a ConsoleError where there can be none."""


class SupervisorsError(Portable):
    """The base class of the errors of this package."""


class ChildExistsError(SupervisorsError, ValueError):
    """A supervisor has a child with that id already."""

    def __init__(self, child_id: object, advice: str = "give one of them another id") -> None:
        self.id = child_id
        super().__init__(f"there is a child with id {safe_repr(child_id)} already; {advice}")


class AlreadyStartedError(ChildExistsError):
    """A supervisor has a child with that id already, and it is running (OTP's `already_started`)."""

    def __init__(self, child_id: object, ref: object) -> None:
        self.ref = ref
        super().__init__(child_id, f"it runs: {safe_str(ref)}")


class AlreadyPresentError(ChildExistsError):
    """A supervisor has a child with that id already, which is not running (OTP's `already_present`)."""

    def __init__(self, child_id: object) -> None:
        super().__init__(child_id, "it does not run: start it with restart_child(), or delete_child() it first")


class ChildNotFoundError(SupervisorsError, LookupError):
    """A supervisor has no such child (OTP's `not_found`)."""

    def __init__(self, child: object) -> None:
        self.child = child
        super().__init__(f"there is no child {safe_repr(child)}")


class ChildRunningError(SupervisorsError):
    """The child is running, so that it cannot be restarted or deleted (OTP's `running`)."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(f"child {safe_repr(child_id)} is running; terminate_child() it first")


class ChildRestartingError(SupervisorsError):
    """The child has ended, and its supervisor is about to restart it (OTP's `restarting`)."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(f"child {safe_repr(child_id)} is restarting; terminate_child() it first")


class SignificantChildError(SupervisorsError, ValueError):
    """A significant child needs a supervisor with `auto_shutdown` (OTP's `bad_combination`)."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(
            f"child {safe_repr(child_id)} is significant: it needs a Supervisor with auto_shutdown ANY_SIGNIFICANT or "
            "ALL_SIGNIFICANT"
        )


class TooManyChildrenError(SupervisorsError):
    """A DynamicSupervisor has `max_children` already."""

    def __init__(self, max_children: int) -> None:
        self.max_children = max_children
        super().__init__(f"there are {max_children} children already, which is max_children")


class UnsupportedCallError(SupervisorsError):
    """A DynamicSupervisor removes a child that has ended, so there is nothing to restart or to delete."""

    def __init__(self) -> None:
        super().__init__(
            "a DynamicSupervisor has no restart_child() and delete_child(): it removes children that have ended; "
            "use start_child()"
        )


class UnknownActorError(SupervisorsError, LookupError):
    """No living actor has that name, label, pid or topic; `nearest` are the closest matches."""

    def __init__(self, target: object, nearest: Sequence[str] = ()) -> None:
        self.target, self.nearest = target, tuple(nearest)
        advice = f"closest matches: {', '.join(map(safe_repr, nearest))}" if nearest else "ps() lists all actors"
        super().__init__(f"there is no actor {safe_repr(target)}; {advice}")


class RemoteActorError(SupervisorsError, LookupError):
    """The actor is one of another node, where a prompt of this one cannot reach it."""


class AmbiguousActorError(SupervisorsError, LookupError):
    """Several actors have that label, or are subscribed to that topic."""

    def __init__(self, target: object, refs: Sequence[object]) -> None:
        self.target, self.refs = target, tuple(refs)
        some = ", ".join(safe_str(ref) for ref in refs[:5]) + (", …" if len(refs) > 5 else "")  # noqa: PLR2004  # enough to choose from
        super().__init__(f"{len(refs)} actors match {safe_repr(target)}: {some}; give the pid of one")


class UnavailableError(SupervisorsError):
    """Something outside of the program that it needs is not available, such as a port; a traceback would not help."""

    @property
    def advice(self) -> str:
        """What to do about it; may be empty."""
        return ""


class CannotRunError(StartError, SystemExit):
    """`System.run()` cannot start because of an UnavailableError; uncaught, it ends the program with one line."""

    @property
    def code(self) -> str:  # type: ignore[override]  # of SystemExit: what Python writes to stderr, with status 1
        """The line: what is not available, and what to do about it."""
        name, advice = self.label.rpartition(" <")[0] or self.label, getattr(self.root, "advice", "")
        return f"{name} cannot start: {safe_str(self.root)}{advice and f'; {advice}'}"


class ConsoleError(UnavailableError):
    """A console cannot be opened at a path."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot open a console at {path!r}: {reason}")


class SystemDownError(SupervisorsError):
    """The whole system ended unexpectedly: its root supervisor gave up, or was stopped."""

    def __init__(self, name: str, reason: object) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name} ended: {safe_str(reason)}")


class WorkersDownError(SystemDownError, SystemExit):
    """Too many of the processes of a program died; uncaught, it ends the program with one line."""

    def __init__(self, name: str, deaths: int, seconds: float, last: str) -> None:
        self.deaths, self.seconds, self.last = deaths, seconds, last
        super().__init__(name, f"{deaths} worker processes died within {seconds:g} s; the last: {last}")

    @property
    def code(self) -> str:  # type: ignore[override]  # of SystemExit: what Python writes to stderr, with status 1
        """The line."""
        return str(self)
