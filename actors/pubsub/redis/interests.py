"""The channels of one connection to Redis: those that are wanted, asked for, and confirmed. Pure data, without I/O."""

from __future__ import annotations

import asyncio
from collections import Counter

__all__ = ["Interests"]


class Interests:
    """The channels that a connection is to be subscribed to, each with its topic.

    What changes is collected until the connection takes it: a channel that was wanted and given up in between costs nothing. A
    server answers each command for each channel, in order, so a channel is in effect when the last command for it was a
    subscription and all have been answered.
    """

    def __init__(self) -> None:
        self._topics: dict[bytes, str] = {}
        self._changed: dict[bytes, None] = {}
        self._asked: set[bytes] = set()
        self._unanswered: Counter[bytes] = Counter()
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self.wake = asyncio.Event()
        """Set when something has changed."""
        self.settled = asyncio.Event()
        """Set while every change has been taken and answered."""
        self.settled.set()

    def __len__(self) -> int:
        return len(self._topics)

    def topic(self, channel: bytes) -> str | None:
        """Return the topic of a channel that is wanted."""
        return self._topics.get(channel)

    def want(self, channel: bytes, topic: str) -> None:
        """Subscribe to a channel."""
        self._topics[channel] = topic
        self._change(channel)

    def give_up(self, channel: bytes) -> None:
        """Unsubscribe from a channel."""
        if self._topics.pop(channel, None) is not None:
            self._change(channel)

    def _change(self, channel: bytes) -> None:
        if (channel in self._topics) == (channel in self._asked):
            self._changed.pop(channel, None)
            self._settle(channel)
        else:
            self._changed[channel] = None
            self.settled.clear()
            self.wake.set()

    def take(self, most: int) -> tuple[list[bytes], list[bytes]]:
        """Return the next changes to ask for: channels to subscribe to, and to unsubscribe from."""
        taken = list(self._changed)[:most]
        for channel in taken:
            del self._changed[channel]
            self._unanswered[channel] += 1
        more = [channel for channel in taken if channel in self._topics]
        fewer = [channel for channel in taken if channel not in self._topics]
        self._asked.update(more)
        self._asked.difference_update(fewer)
        if not self._changed:
            self.wake.clear()
        return more, fewer

    def answered(self, channel: bytes) -> bool:
        """Store the server's answer to one command for a channel; return False if there was none, as when a slot moves."""
        if not self._unanswered[channel]:
            del self._unanswered[channel]
            return False
        self._unanswered[channel] -= 1
        if not self._unanswered[channel]:
            del self._unanswered[channel]
            self._settle(channel)
        return True

    def start_again(self) -> None:
        """Begin with a new connection, which has not been asked for anything."""
        self._asked.clear()
        self._unanswered.clear()
        self._changed = dict.fromkeys(self._topics)
        self.release()
        if self._topics:
            self.settled.clear()
            self.wake.set()

    # Those who wait

    def effect(self, channel: bytes) -> asyncio.Future[None] | None:
        """Return a future that is done when a channel is in effect, or its connection lost; None if it is in effect."""
        if channel not in self._changed and channel not in self._unanswered:
            return None
        if channel not in self._waiting:
            self._waiting[channel] = asyncio.get_running_loop().create_future()
        return self._waiting[channel]

    def _settle(self, channel: bytes) -> None:
        if channel in self._changed or channel in self._unanswered:
            return
        waiting = self._waiting.pop(channel, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        if not self._changed and not self._unanswered:
            self.settled.set()

    def release(self) -> None:
        """Let all go on that wait, as the connection is lost."""
        while self._waiting:
            waiting = self._waiting.popitem()[1]
            if not waiting.done():
                waiting.set_result(None)
