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
└── SystemDownError          the system ended by itself
"""

from __future__ import annotations

__all__ = [
    "AlreadyPresentError",
    "AlreadyStartedError",
    "ChildExistsError",
    "ChildNotFoundError",
    "ChildRestartingError",
    "ChildRunningError",
    "SignificantChildError",
    "SupervisorsError",
    "SystemDownError",
    "TooManyChildrenError",
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


class SystemDownError(SupervisorsError):
    """The whole system ended by itself: its supervisor gave up, or was ended."""

    def __init__(self, name: str, reason: object) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name} ended: {reason}")
