"""How much is logged of crashes: an actor that crashes at each message of a client must not fill the disk.

Only the log has this limit: telemetry, metrics and `last_crashes()` have all of them.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from actors.log_limit import LogLimit

if TYPE_CHECKING:
    from actors.clock import Clock, Timer
    from actors.log import Log

__all__ = ["MOST", "SECONDS", "CrashLog"]

MOST = 10
"""Records of one kind for one class within `SECONDS`; after that a line has the number of the others."""

SECONDS = 1.0


class _Kind(NamedTuple):
    """Records of one kind: what they are about, and the class of the actor."""

    what: str
    of: type
    log: Log
    level: int


class CrashLog:
    """The limit of an event loop, for all that is logged for each crash: the report, the restart, what a client is answered.

    The line with the number of those left out is logged when the second is over (under a clock that a test moves, before the
    next record of the kind), and when the loop ends before.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limit: LogLimit[_Kind] = LogLimit(MOST, SECONDS)
        self._timer: Timer | None = None

    def admits(self, log: Log, what: str, of: type, level: int = logging.ERROR) -> bool:
        """Return whether to log one more record of `what`, such as "crashes", of the actors of a class."""
        if not log.is_enabled_for(level):
            return False
        kind, now = _Kind(what, of, log, level), self._clock.now()
        left_out = self._limit.admit(kind, now)
        if left_out:
            _log_left_out(kind, left_out)
        elif left_out is None and self._timer is None:
            with suppress(RuntimeError):  # the loop is closed, at which its last actors end
                self._timer = self._clock.call_late(now + SECONDS, self.flush)
        return left_out is not None

    def flush(self) -> None:
        """Log how many records were left out so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for kind, left_out in self._limit.take().items():
            _log_left_out(kind, left_out)


def _log_left_out(kind: _Kind, number: int) -> None:
    kind.log.log(
        kind.level, "%s more %s of %s in the last second were not logged", f"{number:,}", kind.what, kind.of.__name__
    )
