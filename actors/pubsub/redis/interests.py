"""The channels of one connection to Redis: those that are wanted, asked for, and confirmed. Pure data, without I/O."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from itertools import islice
from typing import NamedTuple

__all__ = ["Interests", "Subscribing"]


class Subscribing(NamedTuple):
    """One command to the server: to subscribe to a channel, or to unsubscribe from it."""

    subscribes: bool
    channel: bytes


class Interests:
    """The channels that a connection is to be subscribed to, each with its topic.

    What changes is collected until the connection takes it: a channel that was wanted and given up in between costs nothing. A
    server answers the commands in order, so a channel is in effect when the last command for it was a subscription and all have
    been answered.
    """

    def __init__(self) -> None:
        self._topics: dict[bytes, str] = {}
        self._changed: dict[bytes, None] = {}
        self._asked: set[bytes] = set()
        self._commands: deque[Subscribing] = deque()
        self._unanswered: Counter[bytes] = Counter()
        self._ended: set[bytes] = set()
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self.wake = asyncio.Event()
        """Set when something has changed."""

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
            self._ended.discard(channel)
            self._change(channel)

    def _change(self, channel: bytes) -> None:
        if (channel in self._topics) == (channel in self._asked):
            self._changed.pop(channel, None)
            self._settle(channel)
        else:
            self._changed[channel] = None
            self.wake.set()

    # Commands and their answers

    def take(self, most: int) -> list[Subscribing]:
        """Return the next commands, in order; they are unanswered from now on."""
        taken = [Subscribing(channel in self._topics, channel) for channel in islice(self._changed, most)]
        for command in taken:
            subscribes, channel = command
            del self._changed[channel]
            self._unanswered[channel] += 1
            (self._asked.add if subscribes else self._asked.discard)(channel)
        self._commands.extend(taken)
        if not self._changed:
            self.wake.clear()
        return taken

    def answered(self, command: Subscribing) -> bool:
        """Store that the server has done what it was asked for; return False if that was not the next command."""
        if not self._commands or self._commands[0] != command:
            return False
        self._answer()
        return True

    def refused(self) -> Subscribing | None:
        """Store that the server refuses the next command, and return that; the channel is asked for again when wanted again."""
        if not self._commands:
            return None
        command = self._answer()
        if command.subscribes:
            self._asked.discard(command.channel)
        return command

    def _answer(self) -> Subscribing:
        command = self._commands.popleft()
        channel = command.channel
        self._unanswered[channel] -= 1
        if not self._unanswered[channel]:
            del self._unanswered[channel]
            self._settle(channel)
        return command

    def end(self, channel: bytes) -> None:
        """Store that the server has ended a subscription, or refuses it for now; `ask_again` asks for it again."""
        self._asked.discard(channel)
        if channel in self._topics:
            self._ended.add(channel)

    def ask_again(self) -> None:
        """Ask again for the channels that have ended and are still wanted."""
        while self._ended:
            self._change(self._ended.pop())

    def start_again(self, last: bytes) -> None:
        """Begin with a new connection, which has not been asked for anything; all channels are asked for, `last` as the last.

        When that one is in effect, all are that were wanted when the connection was opened.
        """
        self._asked.clear()
        self._commands.clear()
        self._unanswered.clear()
        self._ended.clear()
        self._topics.pop(last, None)
        self._topics[last] = ""
        self._changed = dict.fromkeys(self._topics)
        self.release()
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

    def release(self) -> None:
        """Let all go on that wait, as the connection is lost."""
        while self._waiting:
            waiting = self._waiting.popitem()[1]
            if not waiting.done():
                waiting.set_result(None)
