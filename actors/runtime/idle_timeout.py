"""The timeout of an actor that gets no messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from actors.clock import TimerOwner
from actors.validation import check_seconds

if TYPE_CHECKING:
    from actors.clock import Clock, Timer

__all__ = ["Idle", "IdleTimeout"]


class IdleTimeout(msgspec.Struct, frozen=True):
    """Sent to an actor that has had no message for `seconds` (the `timeout` of OTP's `gen_server`)."""

    seconds: float


class Rester(TimerOwner, Protocol):
    """The process whose idle time is measured."""

    scheduled: bool

    @property
    def suspended(self) -> bool:
        """Whether its messages are held back."""

    @property
    def clock(self) -> Clock:
        """The clock of its runtime."""


class Idle:
    """Measures how long an actor has been idle. It has at most one timer, which messages neither cancel nor restart."""

    __slots__ = ("_process", "_since", "_timer", "seconds")

    def __init__(self, process: Rester, seconds: float) -> None:
        check_seconds("idle_timeout", seconds, "> 0", others=" or None")
        self._process, self.seconds = process, seconds
        self._timer: Timer | None = None
        self._since = 0.0

    def rest(self) -> None:
        """Record that the actor has handled all its messages."""
        clock = self._process.clock
        self._since = clock.now()
        if self._timer is None:
            self._timer = clock.call_at(self._since + self.seconds, self._check, self._process)

    def cancel(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        process, clock = self._process, self._process.clock
        if process.scheduled or process.suspended:
            return  # it has something to do, and will rest again after it
        if clock.now() < self._since + self.seconds:
            self._timer = clock.call_at(self._since + self.seconds, self._check, process)
        else:
            process.put(IdleTimeout(self.seconds))
