"""The process of an actor whose mailbox is bounded: see `actors.Mailbox`.

What is sent to it takes a place in the `Room` of its mailbox, in the thread of the sender, and leaves it when it begins to be
handled. It waits as `Admitted`, so that it can be told from what always gets in. All other processes have none of this.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from actors import telemetry
from actors.exceptions import ActorDeadError, MailboxFullError, Timeout
from actors.exits import Crash
from actors.fork import free_after_fork
from actors.future import Future
from actors.log import Log
from actors.runtime.dead_letters import SYSTEM_MESSAGES, lost
from actors.runtime.envelope import Admitted, Envelope, bare
from actors.runtime.process import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableSequence

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

    A message knows whether it has a place. So `leave` can be called for it in any case, such as after Ctrl-C in a sender.
    """

    __slots__ = ("_is_closed", "_is_full", "_lock", "_waiting", "left_out", "limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = self.left_out = 0
        # Whether it has been full since it was last half empty.
        self._is_full = False
        # The messages that wait for a place, the first one first. While there are any, all places are taken.
        # Not a dict, in which to find the first one takes as long as more have been taken out before it.
        self._waiting: OrderedDict[Admitted, Future[None]] = OrderedDict()
        self._is_closed = False
        # Re-entrant, as the handler of a signal or a `__del__` may send a message.
        self._lock = free_after_fork(threading.RLock())

    # A place is counted, and its message marked, without a call in between, at which Ctrl-C could be raised.

    def take(self, message: Admitted) -> bool:
        """Give a message a place; return whether there was one."""
        with self._lock:
            if self.taken >= self.limit:
                return False
            self.taken += 1
            message.has_place = True
        return True

    def take_when_free(self, message: Admitted, place: Future[None]) -> bool:
        """Give a message a place now or later, when the future is answered; return False if the actor has ended."""
        with self._lock:
            if self._is_closed:
                return False
            if not self.take(message):
                self._waiting[message] = place
                return True
        _answer(place)
        return True

    def give_up(self, message: Admitted) -> bool:
        """Let a message wait no more; return whether it has a place."""
        with self._lock:
            self._waiting.pop(message, None)
            return message.has_place

    def leave(self, message: Admitted) -> None:
        """Give the place of a message, if it has one, to the first that waits for it, if any."""
        place = None
        with self._lock:
            self._waiting.pop(message, None)
            if not message.has_place:
                return
            if self._waiting and self.taken <= self.limit:
                following, place = self._waiting.popitem(last=False)
                message.has_place, following.has_place = False, True
            else:
                message.has_place = False
                self.taken -= 1
                self._is_full = self._is_full and self.taken > self.limit // 2
        if place is not None:
            _answer(place)

    def add(self, message: Admitted) -> None:
        """Give a message a place beyond the limit, as another one is to be dropped for it."""
        with self._lock:
            self.taken += 1
            message.has_place = True

    def count_left_out(self) -> bool:
        """Count a message that found no room; return whether it is the first since the mailbox was last half empty."""
        with self._lock:
            self.left_out += 1
            was_full, self._is_full = self._is_full, True
            return not was_full

    def close(self) -> list[Future[None]]:
        """Return the places that are waited for, as the actor has ended; no message will wait from now on."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = list(self._waiting.values()), OrderedDict()
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
            return
        message = _admitted(item)
        try:
            if self.room.take(message):
                super().deliver(_in_envelope(message, item))
                return
        except BaseException:
            self.room.leave(message)
            raise
        self._turn_away(item)

    def deliver_within(self, item: object, seconds: float | None) -> None:
        """Do the same, after waiting for room in the thread of the caller: at most `seconds`; None: indefinitely."""
        message = _admitted(item)
        with self._waiting_for_room(message, item):
            with suppress(Timeout):
                self._place(message).get(timeout=seconds)
            self._enter(message, item)

    async def deliver_soon(self, item: object, seconds: float | None) -> None:
        """Do the same on an event loop."""
        message = _admitted(item)
        with self._waiting_for_room(message, item):
            place = self._place(message)
            place.expire(seconds)
            with suppress(Timeout):
                await place
            self._enter(message, item)

    @contextmanager
    def _waiting_for_room(self, message: Admitted, item: object) -> Iterator[None]:
        """Give up the message's place if the block raises."""
        try:
            yield
        except BaseException as error:
            self.room.leave(message)
            if isinstance(error, ActorDeadError) and not self.alive:
                lost(item, self)
            raise

    def _place(self, message: Admitted) -> Future[None]:
        place: Future[None] = Future(self.scheduler, asked=self)
        if not self.room.take_when_free(message, place):
            place.set_exception(self.dead())
        return place

    def _enter(self, message: Admitted, item: object) -> None:
        """Put a message in the mailbox that has waited for its place, or has waited long enough."""
        if self.room.give_up(message):
            super().deliver(_in_envelope(message, item))
        else:
            self.deliver(item)

    def _turn_away(self, item: object) -> None:
        """Do with a message for which there is no room what the author has said."""
        is_first = self.room.count_left_out()
        if MAILBOX_LIMIT_REACHED in telemetry.attached:
            about = {"actor": self.ref, "message": bare(item), "on_full": self._on_full}
            telemetry.execute(MAILBOX_LIMIT_REACHED, {"limit": self.room.limit}, about)
        if is_first:
            self.scheduler.run_or_post(self._warn)
        if self._on_full != "drop_oldest":
            self._tell_actor(item)
        match self._on_full:
            case "drop_newest":
                self._drop(item)
            case "drop_oldest":
                self._add(item)
            case "crash":
                self.scheduler.run_or_post(self._overflow)
                raise self._full()
            case "refuse":
                raise self._full()

    def _add(self, item: object) -> None:
        """Put a message in the mailbox beyond its limit, then drop the one that has waited longest."""
        message = _admitted(item)
        try:
            self.room.add(message)
            super().deliver(_in_envelope(message, item))
        except BaseException:
            self.room.leave(message)
            raise
        self.scheduler.run_or_post(self._drop_oldest)

    def _tell_actor(self, item: object) -> None:
        actor = self.actor
        if actor is not None:
            actor._left_out(bare(item))

    def _full(self) -> MailboxFullError:
        return MailboxFullError(self.name, self.room.limit)

    def _drop(self, item: object) -> None:
        lost(item, self, "mailbox_full")
        if type(item) is Envelope and not item.reply_to.done:
            item.reply_to.set_exception(self._full())

    # In the thread of the event loop

    def _warn(self) -> None:
        if self.alive and self.scheduler.crash_log.admits(_log, "full mailboxes", self.actor_class, logging.WARNING):
            messages = "1 message" if self.limit == 1 else f"{self.limit} messages"
            outcome = _OUTCOMES[self._on_full]
            _log.warning("%s has %s in its mailbox, which is its limit: %s", self.name, messages, outcome)

    def _drop_oldest(self) -> None:
        """Drop the message that has waited longest, unless some have been handled meanwhile."""
        oldest = self._take_oldest() if self.room.taken > self.room.limit else None
        if oldest is not None:
            message = oldest.message if type(oldest) is Envelope else oldest
            assert type(message) is Admitted
            self.room.leave(message)
            self._tell_actor(oldest)
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
            message, item = item, item.message
            self.current = item
            self.room.leave(message)
        return receive(item)

    def refuse_mail(self) -> None:
        """Reply to all requests that will not be handled any more, and to those that wait for room."""
        super().refuse_mail()
        for place in self.room.close():
            with suppress(RuntimeError):  # as in `_answer`
                place.set_exception(self.dead())


def _answer(place: Future[None]) -> None:
    with suppress(RuntimeError):  # a cycle of waits has been found meanwhile, and was answered with that
        place.set()


def _always_gets_in(item: object) -> bool:
    return type(item.message if type(item) is Envelope else item) in SYSTEM_MESSAGES


def _admitted(item: object) -> Admitted:
    return Admitted(item.message if type(item) is Envelope else item)


def _in_envelope(message: Admitted, item: object) -> object:
    """Return what is put in the mailbox for an item, whose message this is."""
    return Envelope(message, item.reply_to) if type(item) is Envelope else message


def _first_admitted(waiting: MutableSequence[Any], end: int) -> int | None:
    for position in range(min(end, len(waiting))):
        item = waiting[position]
        if type(item) is Admitted or (type(item) is Envelope and type(item.message) is Admitted):
            return position
    return None
