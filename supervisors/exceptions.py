"""What `supervisors` raises at its authors and callers.

SupervisorsError
├── ChildExistsError     two children of one supervisor cannot have one id
├── ChildNotFoundError   there is no such child
├── TooManyChildrenError a DynamicSupervisor has as many as it may
└── SystemDownError      the system ended by itself
"""

from __future__ import annotations

__all__ = ["ChildExistsError", "ChildNotFoundError", "SupervisorsError", "SystemDownError", "TooManyChildrenError"]


class SupervisorsError(Exception):
    """The base of every error that this package raises on its own account."""


class ChildExistsError(SupervisorsError, ValueError):
    """A supervisor has a child with that id already."""

    def __init__(self, child_id: object) -> None:
        self.id = child_id
        super().__init__(f"there is a child with id {child_id!r} already; give one of them another id")


class ChildNotFoundError(SupervisorsError, LookupError):
    """A supervisor has no such child."""

    def __init__(self, child: object) -> None:
        self.child = child
        super().__init__(f"there is no child {child!r}")


class TooManyChildrenError(SupervisorsError):
    """A DynamicSupervisor has `max_children` already."""

    def __init__(self, max_children: int) -> None:
        self.max_children = max_children
        super().__init__(f"there are {max_children} children already, which is max_children")


class SystemDownError(SupervisorsError):
    """The whole system ended by itself: its supervisor gave up, or was ended."""

    def __init__(self, name: str, reason: object) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name} ended: {reason}")
