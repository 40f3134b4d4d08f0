"""How long to wait before the next try: phoenix.js' steps, less a part at random."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

from transport.client.protocol.effects import Effect, StartTimer, StopTimer, Timer

__all__ = ["Backoff", "Delay", "reconnect_after", "rejoin_after"]

Delay = Callable[[int], float]
"""The seconds to wait before a try, the first of which is 1."""

_log = logging.getLogger("ashtree.client")

_RECONNECT_STEPS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0)
_REJOIN_STEPS = (1.0, 2.0, 5.0)


def reconnect_after(tries: int) -> float:
    """Return the seconds before a socket connects again: 10 ms at first, 5 s in the end (phoenix.js' `reconnectAfterMs`)."""
    return _RECONNECT_STEPS[tries - 1] if tries <= len(_RECONNECT_STEPS) else 5.0


def rejoin_after(tries: int) -> float:
    """Return the seconds before a channel joins again: 1 s at first, 10 s in the end (phoenix.js' `rejoinAfterMs`)."""
    return _REJOIN_STEPS[tries - 1] if tries <= len(_REJOIN_STEPS) else 10.0


class Backoff:
    """A timer for tries of which each waits longer, until one succeeds and `reset` is called (phoenix.js' Timer).

    Up to the share `jitter` of each delay is taken off at random, lest all clients of a server that was down come back at once.
    If `after`, which is the user's, raises or returns no delay, that is logged, and the delay is that of `otherwise`.
    """

    def __init__(
        self,
        name: str,
        retry: Callable[[], None],
        after: Delay,
        *,
        otherwise: Delay,
        jitter: float,
        random: Callable[[], float],
        emit: Callable[[Effect], None],
    ) -> None:
        self.tries = 0
        self._timer, self._retry = Timer(name, self._fire), retry
        self._after, self._otherwise = after, otherwise
        self._jitter, self._random, self._emit = jitter, random, emit

    def schedule(self) -> None:
        """Try again after the next delay."""
        seconds = self._delay(self.tries + 1) * (1 - self._jitter * self._random())
        self._emit(StartTimer(self._timer, seconds))

    def _delay(self, tries: int) -> float:
        try:
            return _checked(self._after(tries))
        except Exception:  # noqa: BLE001  # it is the user's, and does not end the tries
            seconds = self._otherwise(tries)
            name = self._timer.name
            _log.exception("%s: %r failed for try %d; %g s are taken instead", name, self._after, tries, seconds)
            return seconds

    def reset(self) -> None:
        """Do not try again, and begin with the shortest delay the next time."""
        self.tries = 0
        self.cancel()

    def cancel(self) -> None:
        """Do not try again; the tries count on."""
        self._emit(StopTimer(self._timer))

    def _fire(self) -> None:
        self.tries += 1
        self._retry()


def _checked(seconds: float) -> float:
    """Return a delay that a timer can be set to; NaN is none."""
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a delay is seconds >= 0, got {seconds!r}")
    return seconds
