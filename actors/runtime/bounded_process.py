"""The process of an actor whose mailbox is bounded: see `actors.Mailbox`.

What is sent to it takes a place in the `Room` of its mailbox, in the thread of the sender, and leaves it when it begins to be
handled. It waits as `Admitted`, so that it can be told from what always gets in. All other processes have none of this.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import telemetry
from actors.exceptions import MailboxFullError, Timeout
from actors.exits import Crash
from actors.fork import free_after_fork
from actors.future import Future
from actors.log import Log
from actors.runtime.dead_letters import SYSTEM_MESSAGES, lost
from actors.runtime.envelope import Admitted, Envelope, bare
from actors.runtime.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence

    from actors.mailbox import Mailbox
    from actors.runtime.behaviour import Behaviour

__all__ = ["MAILBOX_LIMIT_REACHED", "BoundedProcess", "Room"]

MAILBOX_LIMIT_REACHED = ("ashtree", "mailbox_limit_reached")

_log = Log("ashtree.actors")

_OUTCOMES = {
    "refuse": "more are refused",
    "drop_newest": "more are dropped",
    "drop_oldest": "the oldest are dropped for new ones",
    "crash": "it is ended",
}


class Room:
    """The places for messages in a mailbox, for any thread.

    - `taken`: the places that are in use; also by messages that another thread has sent and that are not in the mailbox yet.
    - `left_out`: the number of messages that found no room and were refused or dropped, or for which another one was.
    """

    __slots__ = ("_is_closed", "_is_full", "_lock", "_waiting", "left_out", "limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = self.left_out = 0
        # Whether it has been full since it was last half empty.
        self._is_full = False
        # Those that wait for a place, the first one first. While there are any, all places are taken.
        self._waiting: deque[Future[None]] = deque()
        self._is_closed = False
        # Re-entrant, as the handler of a signal or a `__del__` may send a message.
        self._lock = free_after_fork(threading.RLock())

    def take(self) -> bool:
        """Take a place; return whether there was one."""
        with self._lock:
            if self.taken >= self.limit:
                return False
            self.taken += 1
            return True

    def take_when_free(self, place: Future[None]) -> bool:
        """Take a place now or later, when the future is answered; return False if the actor has ended."""
        with self._lock:
            if self._is_closed:
                return False
            if self.taken >= self.limit:
                self._waiting.append(place)
                return True
            self.taken += 1
        place.set()
        return True

    def give_up(self, place: Future[None]) -> bool:
        """Wait for a place no more; return whether it had been taken already."""
        with self._lock:
            if place not in self._waiting:
                return place.exception is None
            self._waiting.remove(place)
            return False

    def leave(self) -> None:
        """Give a place to the next one that waits for it, if any."""
        with self._lock:
            place = self._waiting.popleft() if self._waiting and self.taken <= self.limit else None
            if place is None:
                self.taken -= 1
                self._is_full = self._is_full and self.taken > self.limit // 2
        if place is not None:
            place.set()

    def add(self) -> None:
        """Take a place beyond the limit: what is to be dropped instead is not in the mailbox yet."""
        with self._lock:
            self.taken += 1

    def count_left_out(self) -> bool:
        """Count a message that found no room; return whether it is the first since the mailbox was last half empty."""
        with self._lock:
            self.left_out += 1
            was_full, self._is_full = self._is_full, True
            return not was_full

    def close(self) -> deque[Future[None]]:
        """Return those that wait for a place, as the actor has ended; no one will wait from now on."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, deque()
        return waiting


class BoundedProcess(Process):
    """A process whose mailbox has a limit for what is sent to it."""

    __slots__ = ("_on_full", "room")

    def __init__(self, actor: Behaviour, mailbox: Mailbox) -> None:
        super().__init__(actor)
        self._on_full = mailbox.on_full
        self.room = Room(mailbox.limit)

    @property
    def limit(self) -> int:
        """How many messages may wait in the mailbox."""
        return self.room.limit

    @property
    def left_out(self) -> int:
        """How many messages found no room so far."""
        return self.room.left_out

    # In the thread of the sender

    def deliver(self, item: object) -> None:
        """Put a message, or an `Envelope`, in the mailbox if it has room, from any thread.

        Raises:
            MailboxFullError: if there is none, and the sender is to be refused.
            ActorDeadError: from another thread, if the event loop is closed.
        """
        if _always_gets_in(item) or not self.alive:
            super().deliver(item)
        elif self.room.take():
            self._admit(item)
        else:
            self._turn_away(item)

    def deliver_within(self, item: object, seconds: float | None) -> None:
        """Do the same, after waiting for room in the thread of the caller: at most `seconds`; None: indefinitely."""
        place = self._place()
        try:
            place.get(timeout=seconds)
        except Timeout:
            if not self.room.give_up(place):
                self.deliver(item)
                return
        except BaseException:
            if self.room.give_up(place):
                self.room.leave()
            raise
        self._admit(item)

    async def deliver_soon(self, item: object, seconds: float | None) -> None:
        """Do the same on an event loop."""
        place = self._place()
        place.expire(seconds)
        try:
            await place
        except Timeout:
            if not self.room.give_up(place):
                self.deliver(item)
                return
        except BaseException:
            if self.room.give_up(place):
                self.room.leave()
            raise
        self._admit(item)

    def _place(self) -> Future[None]:
        place: Future[None] = Future(self.scheduler, asked=self)
        if not self.room.take_when_free(place):
            place.set_exception(self.dead())
        return place

    def _admit(self, item: object) -> None:
        super().deliver(_admitted(item))

    def _turn_away(self, item: object) -> None:
        """Do with a message for which there is no room what the author has said."""
        is_first = self.room.count_left_out()
        if MAILBOX_LIMIT_REACHED in telemetry.attached:
            about = {"actor": self.ref, "message": bare(item), "on_full": self._on_full}
            telemetry.execute(MAILBOX_LIMIT_REACHED, {"limit": self.room.limit}, about)
        if is_first:
            self.scheduler.run_or_post(self._warn)
        match self._on_full:
            case "drop_newest":
                self._drop(item)
            case "drop_oldest":
                self.scheduler.run_or_post(self._replace_oldest, item)
            case "crash":
                self.scheduler.run_or_post(self._overflow)
                raise self._full()
            case "refuse":
                raise self._full()

    def _full(self) -> MailboxFullError:
        return MailboxFullError(self.name, self.room.limit)

    def _drop(self, item: object) -> None:
        lost(item, self, "mailbox_full")
        if type(item) is Envelope and not item.reply_to.done:
            item.reply_to.set_exception(self._full())

    # In the thread of the event loop

    def _warn(self) -> None:
        if self.alive and self.scheduler.crash_log.admits(_log, "full mailboxes", self.actor_class, logging.WARNING):
            outcome = _OUTCOMES[self._on_full]
            _log.warning(
                "%s has %d messages in its mailbox, which is its limit: %s", self.name, self.room.limit, outcome
            )

    def _replace_oldest(self, item: object) -> None:
        """Add a message, then drop the one that has waited longest."""
        if self.room.take():  # some have been handled meanwhile
            self.put(_admitted(item))
            return
        self.room.add()
        self.put(_admitted(item))
        oldest = self._take_oldest()
        if oldest is not None:
            self.room.leave()
            self._drop(oldest)

    def _take_oldest(self) -> object:
        """Remove the message that has waited longest; None if none but the last one waits here."""
        held_back = None if self.debug is None else self.debug.backlog
        for waiting, newest in ((held_back or deque(), 0), (self.queue or deque(), 1)):
            position = _first_admitted(waiting, len(waiting) - newest)
            if position is not None:
                oldest = waiting[position]
                del waiting[position]
                return oldest
        return None

    def _overflow(self) -> None:
        """End with a crash, as a message found no room."""
        if self.alive and self.signal is None and self.ending is None:
            error = self._full()
            self._report(error)
            self._signal(Crash(error))

    def handle_mail(self, receive: Callable[[object], object]) -> None:
        """Call `receive` with each message, which leaves its place before."""
        super().handle_mail(partial(self._receive, receive))

    def _receive(self, receive: Callable[[object], object], item: object) -> object:
        if type(item) is Admitted:
            self.room.leave()
            item = self.current = item.message
        return receive(item)

    def refuse_mail(self) -> None:
        """Reply to all requests that will not be handled any more, and to those that wait for room."""
        super().refuse_mail()
        for place in self.room.close():
            place.set_exception(self.dead())


def _always_gets_in(item: object) -> bool:
    return type(item.message if type(item) is Envelope else item) in SYSTEM_MESSAGES


def _admitted(item: object) -> object:
    if type(item) is Envelope:
        return Envelope(Admitted(item.message), item.reply_to)
    return Admitted(item)


def _first_admitted(waiting: MutableSequence[Any], end: int) -> int | None:
    for position in range(min(end, len(waiting))):
        item = waiting[position]
        if type(item) is Admitted or (type(item) is Envelope and type(item.message) is Admitted):
            return position
    return None
