"""The time that a client has to read its replies.

A client that does not read them is not read either, so it sends no heartbeat and is not idle: without this it would be held for
ever. A client that is read is not timed; its heartbeats show that it lives.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from transport.carriers.intake import UNREAD

if TYPE_CHECKING:
    from actors.clock import Clock, Timer
    from transport.carriers.intake import Intake

__all__ = ["UnreadReplies"]


class UnreadReplies:
    """Gives up on a client that takes nothing for `seconds` while its intake is held as UNREAD.

    `position()` changes whenever the client has taken something; `give_up()` closes the connection. Looking at the position
    twice costs one timer for each pause, and nothing for each frame: a client is given up between one and two times `seconds`
    after it has taken the last byte.
    """

    __slots__ = ("_clock", "_give_up", "_intake", "_position", "_seconds", "_timer")

    def __init__(
        self,
        clock: Clock,
        seconds: float,
        intake: Intake,
        position: Callable[[], Hashable],
        give_up: Callable[[], object],
    ) -> None:
        self._clock, self._seconds, self._intake = clock, seconds, intake
        self._position, self._give_up = position, give_up
        self._timer: Timer | None = None

    def watch(self) -> None:
        """Begin, if the intake is held as UNREAD; to be called whenever a frame has to wait."""
        if self._timer is None and self._intake.held & UNREAD:
            self._expect_more_than(self._position())

    def _expect_more_than(self, position: Hashable) -> None:
        self._timer = self._clock.call_after(self._seconds, lambda: self._check(position))

    def _check(self, before: Hashable) -> None:
        self._timer = None
        if not self._intake.held & UNREAD:
            return
        position = self._position()
        if position == before:
            self._give_up()
        else:
            self._expect_more_than(position)

    def stop(self) -> None:
        """End, as the connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # These refer back to the connection: without them it is freed at once.
        self._position = self._give_up = _nothing


def _nothing() -> None:
    """The connection has ended."""
