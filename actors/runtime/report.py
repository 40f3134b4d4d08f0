"""What the log is told of a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.runtime.bonds import Bonds

__all__ = ["CrashReport", "described"]


def described(actor: Actor | None, message: Any) -> str:
    """Return what an actor lets be said of a message: without secrets."""
    if actor is None or message is None:
        return "none"
    try:
        return actor._describe(message)
    except Exception:  # noqa: BLE001  # the author's __repr__; what reports it goes on
        return f"<{type(message).__name__} that cannot be shown>"


class CrashReport:
    """Who crashed, by what, at which message, below whom; it becomes text when a handler of the log wants it."""

    __slots__ = ("actor", "error", "message", "process")

    def __init__(self, process: Bonds, actor: Actor | None, message: Any, error: BaseException) -> None:
        self.process, self.actor, self.message, self.error = process, actor, message, error

    def __str__(self) -> str:
        return (
            f"{self.process.name} crashed: {type(self.error).__name__}: {self.error}\n"
            f"  last message: {described(self.actor, self.message)}\n"
            f"  ancestors: {', '.join(self.process.ancestors()) or 'none'}"
        )
