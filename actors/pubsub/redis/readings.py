"""What is being read of the histories of topics: one reading of each at a time, and the wishes that wait for the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actors.history.history import NOWHERE

if TYPE_CHECKING:
    from actors.history.history import History
    from actors.pubsub.redis.history_commands import Arrival

__all__ = ["Reading", "Readings"]

_MOST_HELD = 1_000
"""Broadcasts that wait for a reading; with more the clients see a gap, and join again."""


class Reading:
    """One reading of a topic, of all that is kept or of what comes after the position that is `known`.

    `is_good` says that it is there, and has not failed. What arrives meanwhile waits in `held`
    if it is read to fill a gap.
    """

    __slots__ = ("_done", "_holds", "_is_over", "everything", "held", "history", "is_good", "is_sent", "known")

    def __init__(self, history: History, *, everything: bool) -> None:
        self.history, self.everything = history, everything
        self.known = NOWHERE
        self.is_sent = self.is_good = self._holds = False
        self._is_over = False
        self._done: asyncio.Future[None] | None = None
        self.held: list[Arrival] = []

    def hold(self, first: Arrival | None) -> None:
        """Let what arrives wait from now on."""
        self._holds = True
        if first is not None:
            self.held.append(first)

    def holds(self, arrival: Arrival) -> bool:
        """Keep what has arrived, if it has to wait."""
        if not self._holds or len(self.held) >= _MOST_HELD:
            return False
        self.held.append(arrival)
        return True

    def release(self) -> list[Arrival]:
        """Let nothing wait any more, and return what has waited."""
        held, self.held, self._holds = self.held, [], False
        return held

    def finish(self) -> None:
        """Let those go on that wait for it."""
        self._is_over = True
        if self._done is not None:
            self._done.set_result(None)

    async def wait(self) -> None:
        """Wait until it is there, or has failed."""
        if not self._is_over:
            if self._done is None:
                self._done = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._done)


class Readings:
    """The readings of all topics."""

    def __init__(self) -> None:
        self._open: dict[str, Reading] = {}
        self._next: dict[str, Reading] = {}

    def get(self, topic: str) -> Reading | None:
        """Return the reading of a topic that has been sent."""
        return self._open.get(topic)

    def open(self, topic: str, history: History, *, everything: bool) -> Reading:
        """Return a reading that is not sent yet, or behind one that is: what that reads may be older than this wish."""
        if topic not in self._open:
            reading = self._open[topic] = Reading(history, everything=everything)
        else:
            reading = self._next.setdefault(topic, Reading(history, everything=everything))
            reading.everything |= everything
        return reading

    def close(self, topic: str, reading: Reading) -> Reading | None:
        """Remove a reading that is there; return the next one, which is to be sent now."""
        if self._open.get(topic) is not reading:
            return None
        del self._open[topic]
        following = self._next.pop(topic, None)
        if following is not None:
            self._open[topic] = following
        return following

    def topics(self) -> list[str]:
        """Return the topics that are read."""
        return list(self._open)

    def fail(self, topic: str) -> None:
        """Remove the readings of a topic that cannot be sent."""
        for readings in (self._open, self._next):
            reading = readings.pop(topic, None)
            if reading is not None:
                reading.finish()
