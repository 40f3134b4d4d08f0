"""The time-out of an actor to which nobody speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from actors.validation import check_seconds

if TYPE_CHECKING:
    from actors.clock import Timer
    from actors.runtime.process import Process

__all__ = ["Idle", "IdleTimeout"]


class IdleTimeout(msgspec.Struct, frozen=True):
    """Sent to an actor that has had no message for `seconds` (the `timeout` of OTP's `gen_server`)."""

    seconds: float


class Idle:
    """Measures how long an actor has rested. It has one timer at most, which a message neither cancels nor sets anew."""

    __slots__ = ("_process", "_since", "_timer", "seconds")

    def __init__(self, process: Process, seconds: float) -> None:
        check_seconds("idle_timeout", seconds, "> 0", others=" or None")
        self._process, self.seconds = process, seconds
        self._timer: Timer | None = None
        self._since = 0.0

    def rest(self) -> None:
        """Take note that the actor has handled all its messages."""
        clock = self._process.scheduler.clock
        self._since = clock.now()
        if self._timer is None:
            self._timer = clock.call_at(self._since + self.seconds, self._look, self._process)

    def cancel(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._timer = None
        process, clock = self._process, self._process.scheduler.clock
        if process.scheduled or process.suspended:
            return  # it has something to do, and will rest again after it
        if clock.now() < self._since + self.seconds:
            self._timer = clock.call_at(self._since + self.seconds, self._look, process)
        else:
            process.put(IdleTimeout(self.seconds))
