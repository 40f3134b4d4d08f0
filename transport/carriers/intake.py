"""The intake of a connection: what its client has sent and is not handled yet, and whether to read more (back-pressure).

Theory of operation.

A client may send faster than its channels work. What has been received and waits, in the mailboxes of the transport actor and
the channels and behind joins that are not answered, is counted here in bytes and messages. Above the limit the carrier stops
reading, and TCP slows the client down; when half of the limit is left it reads on. Nothing that was received is dropped.

There are other reasons not to read: the client leaves its own replies unread, it is over a rate, its transport actor has not
started, or is about to end. Each is a bit that is held and released on its own, as for a fastlane; the carrier reads while none
is held.

The counting follows a message wherever it waits:

- The carrier adds what it puts into the mailbox of the transport actor, which takes it off when it has handled the message, or
  hands it on.
- A message that a busy channel will handle later travels as `Counted`, which takes it off when the channel has handled the
  message, or has ended. Small messages to a channel that handles them at once are not counted at all.
- A message that waits for a join stays counted until it has been delivered and handled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.lowlevel import Receipt

if TYPE_CHECKING:
    from transport.limits import Limits

__all__ = ["ENDING", "FULL", "RATE", "STARTING", "UNREAD", "Counted", "Intake", "unreported"]

# The reasons not to read.
FULL = 1
"""Too much of what the client has sent is not handled yet."""
UNREAD = 2
"""The client does not read the replies to what it has sent."""
RATE = 4
"""The client has sent more in a second than it may."""
STARTING = 8
"""The transport actor has not started."""
ENDING = 16
"""The connection is about to be closed, as soon as what came before is answered."""


def unreported(_what: object) -> None:
    """Report nothing: what carriers do that belong to no endpoint."""


class Intake:
    """What waits for one connection; for the thread of its event loop.

    `changed` is called when reading has to stop, and when it may go on: the carrier's. `reached(limit)` reports that too much
    waits, once for each pause.
    """

    __slots__ = ("_high_bytes", "_high_messages", "_reached", "bytes", "changed", "held", "messages")

    def __init__(
        self, limits: Limits, changed: Callable[[], object], reached: Callable[[str], object] = unreported
    ) -> None:
        self._reached = reached
        self._high_bytes, self._high_messages = limits.waiting_bytes, limits.waiting_messages
        self.changed = changed
        self.held = self.bytes = self.messages = 0

    def add(self, size: int) -> None:
        """Count a message of `size` bytes that waits from now on."""
        self.bytes += size
        self.messages += 1
        if not self.held & FULL and (self.bytes > self._high_bytes or self.messages > self._high_messages):
            self._reached("waiting_bytes" if self.bytes > self._high_bytes else "waiting_messages")
            self.hold(FULL)

    def done(self, size: int) -> None:
        """Take off a message that has been handled, or will never be."""
        self.bytes -= size
        self.messages -= 1
        if self.held & FULL and self.bytes * 2 <= self._high_bytes and self.messages * 2 <= self._high_messages:
            self.release(FULL)

    def hold(self, reason: int) -> None:
        """Stop reading for one reason, until `release(reason)`."""
        before, self.held = self.held, self.held | reason
        if not before:
            self.changed()

    def release(self, reason: int) -> None:
        """End the hold for one reason; reading goes on if it was the last one."""
        before, self.held = self.held, self.held & ~reason
        if before and not self.held:
            self.changed()


class Counted(Receipt):
    """Takes one message off its intake when an actor has handled it, has crashed, or is dead."""

    __slots__ = ("_intake", "_size")

    def __init__(self, intake: Intake, size: int) -> None:
        super().__init__()
        self._intake, self._size = intake, size
        intake.add(size)

    def over(self) -> None:
        """Take the message off."""
        self._intake.done(self._size)
