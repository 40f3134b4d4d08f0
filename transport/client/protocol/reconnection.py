"""How long to wait before the next attempt: phoenix.js' steps, less a random share, until one has lasted."""

from __future__ import annotations

import math
from collections.abc import Callable

from actors.log import Log
from transport.client.protocol.effects import Effect, ProtocolTimer, StartTimer, StopTimer

__all__ = ["Delay", "RetryTimer", "reconnect_after", "rejoin_after"]

Delay = Callable[[int], float]
"""A function of the number of the attempt, counted from 1, that returns the seconds to wait before it."""

_log = Log("ashtree.client")

_RECONNECT_STEPS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0)
_REJOIN_STEPS = (1.0, 2.0, 5.0)


def reconnect_after(tries: int) -> float:
    """Return the seconds before a socket reconnects: from 10 ms to 5 s (phoenix.js' `reconnectAfterMs`)."""
    return _RECONNECT_STEPS[tries - 1] if tries <= len(_RECONNECT_STEPS) else 5.0


def rejoin_after(tries: int) -> float:
    """Return the seconds before a channel rejoins: from 1 s to 10 s (phoenix.js' `rejoinAfterMs`)."""
    return _REJOIN_STEPS[tries - 1] if tries <= len(_REJOIN_STEPS) else 10.0


class RetryTimer:
    """Retries with growing delays (phoenix.js' Timer), which start from the shortest after a success of `min_uptime` seconds.

    A server that accepts clients and drops them at once would otherwise be called again after the shortest delay each time.

    Up to the share `jitter` of each delay is taken off at random, so that the clients of a restarted server do not all return
    at once. If the user's function `after` raises or returns an invalid delay, that is logged and `otherwise` is used.
    """

    def __init__(
        self,
        name: str,
        retry: Callable[[], None],
        after: Delay,
        *,
        otherwise: Delay,
        min_uptime: float,
        jitter: float,
        random: Callable[[], float],
        emit: Callable[[Effect], None],
    ) -> None:
        self.tries = 0
        self._timer, self._retry = ProtocolTimer(name, self._fire), retry
        self._lasting, self._min_uptime = ProtocolTimer(f"{name}: min_uptime", self.reset), min_uptime
        self._after, self._otherwise = after, otherwise
        self._jitter, self._random, self._emit = jitter, random, emit

    def schedule(self) -> None:
        """Retry after the next delay."""
        self._emit(StopTimer(self._lasting))
        seconds = self._delay(self.tries + 1) * (1 - self._jitter * self._random())
        self._emit(StartTimer(self._timer, seconds))

    def _delay(self, tries: int) -> float:
        try:
            return _checked(self._after(tries))
        except Exception:  # noqa: BLE001  # the user's function must not end the retries
            seconds = self._otherwise(tries)
            name = self._timer.name
            _log.exception("%s: %r failed for try %d; using %g s instead", name, self._after, tries, seconds)
            return seconds

    def succeeded(self) -> None:
        """Do not retry; start from the shortest delay the next time if this lasts."""
        self.cancel()
        self._emit(StartTimer(self._lasting, self._min_uptime))

    def reset(self) -> None:
        """Do not retry, and start from the shortest delay the next time."""
        self.tries = 0
        self.cancel()

    def cancel(self) -> None:
        """Do not retry, and forget a success that has not lasted; the count of tries stays."""
        self._emit(StopTimer(self._timer))
        self._emit(StopTimer(self._lasting))

    def _fire(self) -> None:
        self.tries += 1
        self._retry()


def _checked(seconds: float) -> float:
    """Return the delay, or raise ValueError unless a timer can be set to it; NaN and infinity are refused."""
    if not 0 <= seconds < math.inf:
        raise ValueError(f"a delay is seconds >= 0, got {seconds!r}")
    return seconds
