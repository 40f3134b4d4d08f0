"""Numbers of messages: given out here, and checked of those that come from other processes. Pure data, without actors.

A process numbers what it publishes on each topic: 1, 2, 3. One that receives a topic sees a number that it has had before,
which is a duplicate, and numbers that are left out: lost messages. Where it begins to listen, any number is the first.
"""

from __future__ import annotations

__all__ = ["Arrivals", "Numbers"]

_MOST_TOPICS = 100_000
"""Topics whose last number is remembered; a topic costs about 150 bytes."""

_MOST_RUNS = 256
"""Processes that are remembered for each topic: more than publish at once, as each restart makes another one."""


class Numbers:
    """Gives out the numbers of one process.

    It remembers the topics that were published on last. A topic that it has forgotten starts again, above all numbers that it
    has forgotten, so that a number is never given out twice; `start` says so to those who receive it.
    """

    def __init__(self, most: int = _MOST_TOPICS) -> None:
        self._most = most
        # The topic that was published on last is the last one.
        self._last: dict[str, tuple[int, int]] = {}
        self._forgotten = 0

    def next(self, topic: str) -> tuple[int, int]:
        """Return the next number of a topic, and the number with which it has started."""
        found = self._last.pop(topic, None)
        if found is None:
            seq = start = self._forgotten + 1
        else:
            seq, start = found[0] + 1, found[1]
        self._last[topic] = (seq, start)
        if len(self._last) > self._most:
            self._forget(next(iter(self._last)))
        return seq, start

    def _forget(self, topic: str) -> None:
        self._forgotten = max(self._forgotten, self._last.pop(topic)[0])


class Arrivals:
    """The last number of each process on each topic."""

    def __init__(self, most: int = _MOST_RUNS) -> None:
        self._most = most
        self._last: dict[str, dict[str, int]] = {}

    def missed(self, topic: str, run: str, seq: int, start: int = 1) -> int | None:
        """Return how many messages are missing before this one; None if it is a duplicate, and so to be dropped."""
        of_topic = self._last.setdefault(topic, {})
        last = of_topic.pop(run, None)
        of_topic[run] = seq if last is None else max(seq, last)
        if len(of_topic) > self._most:
            del of_topic[next(iter(of_topic))]
        if last is None:
            return 0
        return None if seq <= last else seq - max(last + 1, start)

    def forget(self, topic: str) -> None:
        """Forget a topic that is not listened to any more."""
        self._last.pop(topic, None)

    def __len__(self) -> int:
        return len(self._last)
