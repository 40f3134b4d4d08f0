"""What `supervisors` raises at its authors and callers.

SupervisorsError
├── ChildExistsError         two children of one supervisor cannot have one id
│   ├── AlreadyStartedError  the one there is runs
│   └── AlreadyPresentError  the one there is does not run
├── ChildNotFoundError       there is no such child
├── ChildRunningError        the child runs, and what was asked is for one that does not
├── ChildRestartingError     the child is about to be started again
├── SignificantChildError    a significant child needs a supervisor with auto_shutdown
├── TooManyChildrenError     a DynamicSupervisor has as many as it may
├── UnsupportedCallError     this kind of supervisor cannot do that
├── UnknownActorError        the observer finds nobody by that
├── AmbiguousActorError      the observer finds more than one by that
├── ConsoleError             there can be no console at that path
└── SystemDownError          the system ended by itself
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AlreadyPresentError",
    "AlreadyStartedError",
    "AmbiguousActorError",
    "ChildExistsError",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "ConsoleError",
    "SignificantChildError",
    "SupervisorsError",
    "SystemDownError",
    "TooManyChildrenError",
    "UnknownActorError",
    "UnsupportedCallError",
]


class SupervisorsError(Exception):
    """The base of every error that this package raises on its own account."""


class ChildExistsError(SupervisorsError, ValueError):
    """A supervisor has a child with that id already."""

    def __init__(self, child_id: object, advice: str = "give one of them another id") -> None:
        self.id = child_id
        super().__init__(f"there is a child with id {child_id!r} already; {advice}")


class AlreadyStartedError(ChildExistsError):
    """A supervisor has a child with that id already, and it runs (OTP's `already_started`)."""

    def __init__(self, child_id: object, ref: object) -> None:
        self.ref = ref
        super().__init__(child_id, f"it runs: {ref}")


class AlreadyPresentError(ChildExistsError):
    """A supervisor has a child with that id already, which does not run now (OTP's `already_present`)."""

    def __init__(self, child_id: object) -> None:
        super().__init__(child_id, "it does not run: start it with restart_child(), or delete_child() it first")


class ChildNotFoundError(SupervisorsError, LookupError):
    """A supervisor has no such child (OTP's `not_found`)."""

    def __init__(self, child: object) -> None:
        self.child = child
        super().__init__(f"there is no child {child!r}")


class ChildRunningError(SupervisorsError):
    """The child runs, and only one that does not can be restarted or deleted (OTP's `running`)."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(f"child {child_id!r} is running; terminate_child() it first")


class ChildRestartingError(SupervisorsError):
    """The child has ended and its supervisor is about to start it again (OTP's `restarting`)."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(f"child {child_id!r} is restarting; terminate_child() it first")


class SignificantChildError(SupervisorsError, ValueError):
    """A significant child is for a supervisor that may end with it (OTP's `bad_combination`)."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(
            f"child {child_id!r} is significant: it needs a Supervisor with auto_shutdown ANY_SIGNIFICANT or ALL_SIGNIFICANT"
        )


class TooManyChildrenError(SupervisorsError):
    """A DynamicSupervisor has `max_children` already."""

    def __init__(self, max_children: int) -> None:
        self.max_children = max_children
        super().__init__(f"there are {max_children} children already, which is max_children")


class UnsupportedCallError(SupervisorsError):
    """A DynamicSupervisor forgets a child that has ended, so there is nothing to restart or to delete."""

    def __init__(self) -> None:
        super().__init__(
            "a DynamicSupervisor has no restart_child() and delete_child(): it forgets children that have ended; "
            "use start_child()"
        )


class UnknownActorError(SupervisorsError, LookupError):
    """Nobody that lives has that name, label, pid or topic; `nearest` are those that are written almost so."""

    def __init__(self, target: object, nearest: Sequence[str] = ()) -> None:
        self.target, self.nearest = target, tuple(nearest)
        advice = f"the nearest: {', '.join(map(repr, nearest))}" if nearest else "ps() lists all who live"
        super().__init__(f"there is no actor {target!r}; {advice}")


class AmbiguousActorError(SupervisorsError, LookupError):
    """More than one actor is labelled so, or is on that topic."""

    def __init__(self, target: object, refs: Sequence[object]) -> None:
        self.target, self.refs = target, tuple(refs)
        some = ", ".join(str(ref) for ref in refs[:5]) + (", …" if len(refs) > 5 else "")  # noqa: PLR2004  # what one reads
        super().__init__(f"{len(refs)} actors are {target!r}: {some}; write the pid of one")


class ConsoleError(SupervisorsError):
    """There can be no console at a path."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"cannot open a console at {path!r}: {reason}")


class SystemDownError(SupervisorsError):
    """The whole system ended by itself: its supervisor gave up, or was ended."""

    def __init__(self, name: str, reason: object) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name} ended: {reason}")
