"""How long to wait before the next try: phoenix.js' steps, less a part at random."""

from __future__ import annotations

from collections.abc import Callable

from transport.client.protocol.effects import Effect, StartTimer, StopTimer, Timer

__all__ = ["Backoff", "Delay", "reconnect_after", "rejoin_after"]

Delay = Callable[[int], float]
"""The seconds to wait before a try, the first of which is 1."""

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
    """

    def __init__(
        self,
        name: str,
        retry: Callable[[], None],
        after: Delay,
        *,
        jitter: float,
        random: Callable[[], float],
        emit: Callable[[Effect], None],
    ) -> None:
        self.tries = 0
        self._timer, self._retry = Timer(name, self._fire), retry
        self._after, self._jitter, self._random, self._emit = after, jitter, random, emit

    def schedule(self) -> None:
        """Try again after the next delay."""
        seconds = self._after(self.tries + 1) * (1 - self._jitter * self._random())
        self._emit(StartTimer(self._timer, seconds))

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
