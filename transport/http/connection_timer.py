"""The deadline of a connection, which moves with each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.clock import Clock, Timer

__all__ = ["ConnectionTimer"]


class ConnectionTimer:
    """Calls `passed()` at the deadline that was set last.

    Setting a later one, or none, costs an assignment: the timer is left as it is, and set again when it fires too early.
    """

    __slots__ = ("_at", "_clock", "_passed", "_timer")

    def __init__(self, clock: Clock, passed: Callable[[], object]) -> None:
        self._clock, self._passed = clock, passed
        self._at: float | None = None
        self._timer: Timer | None = None

    def set(self, seconds: float) -> None:
        """Let the deadline be in so many seconds."""
        self._at = self._clock.now() + seconds
        if self._timer is None or self._timer.at > self._at:
            self._start(self._at)

    def clear(self) -> None:
        """Have no deadline for now."""
        self._at = None

    def cancel(self) -> None:
        """Have no deadline any more, and refer to the connection no more."""
        self._at, self._passed = None, _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_at(at, self._fired)

    def _fired(self) -> None:
        self._timer = None
        at = self._at
        if at is None:
            return
        if at > self._clock.now():
            self._start(at)
        else:
            self._at = None
            self._passed()


def _nothing() -> None:
    """Do nothing."""
