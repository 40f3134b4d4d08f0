"""The logs of all topics of a process, bounded in total. Plain data, without actors; time is an argument."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING

from actors.history.topic_log import TopicLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.history.history import History

__all__ = ["SWEEP_SECONDS", "SWEPT_AT_ONCE", "TopicLogs"]

SWEEP_SECONDS = 10.0
"""Seconds between two sweeps for what has expired; in a log that is read this has been done just before."""

SWEPT_AT_ONCE = 200
"""Logs that are swept in one iteration of the event loop: less than 1 ms."""

_LOG = 1024
"""Bytes of a log without broadcasts, with its place in the table."""

_IDLE = 3600.0
"""Seconds that an empty log is kept of a topic without subscribers, for its epoch and offset."""


class TopicLogs:
    """The logs by topic, the one that was used last at the end.

    `max_bytes` bounds all of them together: above it whole logs are dropped, those first that have not been used for longest.
    `dropped` counts these. A topic whose log was dropped begins another epoch. `messages` and `bytes` are what is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._logs: OrderedDict[str, TopicLog] = OrderedDict()
        # No other process has it, and no other table of this one.
        self._run, self._epochs = secrets.token_urlsafe(9), 0
        self.bytes = self.dropped = 0
        # Topics whose turn comes in this sweep.
        self._unswept: list[str] = []

    def __len__(self) -> int:
        return len(self._logs)

    @property
    def messages(self) -> int:
        """The broadcasts that are kept."""
        return sum(map(len, self._logs.values()))

    def get(self, topic: str) -> TopicLog | None:
        """Return the log of a topic as it was left."""
        return self._logs.get(topic)

    def topics(self) -> list[str]:
        """Return the topics that have a log."""
        return list(self._logs)

    def new_epoch(self) -> str:
        """Return a text that no other epoch has."""
        self._epochs += 1
        return f"{self._run}.{self._epochs}"

    def begin(self, topic: str, log: TopicLog) -> TopicLog:
        """Add the log of a topic, in the place of the one before."""
        if topic in self._logs:
            self._drop(topic)
        self._logs[topic] = log
        log.table = self
        self.bytes += log.bytes + _LOG + len(topic)
        self.make_room()
        return log

    def forget(self, topic: str) -> None:
        """Drop the log of a topic, if there is one."""
        if topic in self._logs:
            self._drop(topic)

    def use(self, topic: str, history: History, now: float) -> TopicLog:
        """Return the log of a topic as it is now; a new one if there is none."""
        log = self._logs.get(topic)
        if log is None:
            return self.begin(topic, TopicLog(self.new_epoch(), now, history))
        self._logs.move_to_end(topic)
        log.used = now
        log.expire(now)
        return log

    def latest(self, topic: str) -> TopicLog | None:
        """Return the log of a topic, to be appended to; what has expired is in it until it is read, or the next sweep."""
        log = self._logs.get(topic)
        if log is not None:
            self._logs.move_to_end(topic)
        return log

    def make_room(self) -> None:
        """Drop the logs that were not used for longest, until the rest is within the bound; the last one stays."""
        while self.bytes > self.max_bytes and len(self._logs) > 1:
            self._drop(next(iter(self._logs)))
            self.dropped += 1

    def _drop(self, topic: str) -> None:
        log = self._logs.pop(topic)
        log.table = None
        self.bytes -= log.bytes + _LOG + len(topic)

    @property
    def is_swept(self) -> bool:
        """Whether a sweep is complete, and the next one begins with all topics."""
        return not self._unswept

    def sweep(self, now: float, is_subscribed: Callable[[str], bool]) -> list[str]:
        """Forget the broadcasts that have expired, and the logs that are of no use any more, of the next part of the topics.

        Return these. Call it again, in another iteration of the event loop, until `is_swept`.
        """
        if self.is_swept:
            self._unswept = self.topics()
        part = self._unswept[-SWEPT_AT_ONCE:]
        del self._unswept[-SWEPT_AT_ONCE:]
        for topic in part:
            log = self._logs.get(topic)
            if log is not None:
                self._sweep(topic, log, now, is_subscribed)
        return part

    def _sweep(self, topic: str, log: TopicLog, now: float, is_subscribed: Callable[[str], bool]) -> None:
        log.expire(now)
        log.frames.clear()
        if not log and log.used + log.history.ttl + _IDLE <= now and not is_subscribed(topic):
            self._drop(topic)
