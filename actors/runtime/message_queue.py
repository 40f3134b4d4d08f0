"""The message queue of a process: messages in order, one at a time, and the replies to those that were asked."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections import deque
from functools import lru_cache
from threading import get_ident
from types import AsyncGeneratorType, CoroutineType, GeneratorType, NoneType
from typing import TYPE_CHECKING, Any
from weakref import ref as weak_ref

from actors.callbacks import can_be_awaited, coroutine_of
from actors.caller import From
from actors.exceptions import ActorDeadError
from actors.exits import Crash, ExitReason, Refuse, Stop
from actors.redaction import error_text
from actors.runtime.bonds import Bonds
from actors.runtime.bypass import BUSY, WATCHED
from actors.runtime.current import actor_of_thread
from actors.runtime.dead_letters import lost, lost_mail
from actors.runtime.envelope import STOPS, Answer, Continue, Envelope, bare, refuse
from actors.runtime.receipt import Receipt

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Coroutine

    from actors.future import Future
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.bypass import Bypass
    from actors.runtime.current import Question
    from actors.runtime.debug import Debug
    from actors.runtime.idle_timeout import Idle

__all__ = ["MessageQueue"]


# What handlers usually return: values, which are replies as they are.
_PLAIN = frozenset((NoneType, bool, int, float, str, bytes, tuple, list, dict))


@lru_cache(maxsize=1024)
def _may_be_special(kind: Any) -> bool:
    """Return whether an object of a class that is returned by a handler may be something else than a reply."""
    special = (Stop, Refuse, Answer, type, GeneratorType, AsyncGeneratorType)
    return issubclass(kind, special) or can_be_awaited(kind)


def _must_be_made(result: object) -> None:
    if result is Stop or result is Refuse:
        example = "Stop(NORMAL)" if result is Stop else "Refuse(ValueError(…))"
        raise TypeError(f"a handler returned the class {result.__name__}; write `return {example}`")


class MessageQueue(Bonds):
    """The part of `Process` that is about messages; most handlers return at once, and cost no task."""

    __slots__ = (
        "actor",
        "bypass",
        "current",
        "debug",
        "deferred",
        "ending",
        "handled",
        "idle",
        "queue",
        "reply_to",
        "scheduled",
        "signal",
        "started",
    )

    actor: Behaviour | None
    started: Future[Any] | None
    # Made for the first message and dropped when it is empty, as most actors are idle.
    queue: deque[object] | None
    scheduled: bool
    # The message that is being handled.
    current: object
    handled: int
    idle: Idle | None
    debug: Debug | None
    # Of a transport actor: the way past its mailbox, which is held while the mailbox is in use.
    bypass: Bypass | None
    # Requests without a reply: the one being handled, and those kept to be answered later (`Future.be_listed`).
    reply_to: Future[Any] | Receipt | None
    deferred: dict[weak_ref[Future[Any]], Future[Any] | None] | None
    # The exit signal that was received, and the reason with which it is ending.
    signal: ExitReason | None
    ending: ExitReason | None
    task: Task[Any] | None

    @abstractmethod
    def _obey(self) -> None:
        """End as the received exit signal says."""

    @abstractmethod
    def _crash(self, error: BaseException) -> None:
        """End because a handler raised."""

    @abstractmethod
    def fail(self, item: object, error: BaseException) -> None:
        """End because something raised that was done with an item on behalf of the actor."""

    @abstractmethod
    def _stop(self, stop: Stop) -> None:
        """End because a handler returned `Stop`."""

    @abstractmethod
    def _wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a handler that is a coroutine to its end, then go on."""

    def put(self, item: object) -> None:
        """Put a message, or an `Envelope`, in the mailbox; dropped if the actor is dead."""
        if not self.alive:
            refuse(item, self)
            lost(item, self)
            return
        queue = self.queue
        if queue is None:
            first = deque((item,))
            if self.queue is None:
                self.queue = first
            else:  # a signal's handler, or a `__del__`, has sent a message meanwhile
                self.queue.append(item)
        else:
            queue.append(item)
        if not self.scheduled:
            self.scheduled = True
            self._be_ready()

    def put_counted(self, message: object, receipt: Receipt) -> None:
        """Put a message in the mailbox whose sender is notified by `receipt` when it has been handled, or never will be."""
        self.put(Envelope(message, receipt))

    def deliver(self, item: object) -> None:
        """Put a message, or an `Envelope`, in the mailbox, from any thread.

        Raises:
            ActorDeadError: from another thread, if the event loop is closed.
        """
        scheduler = self.scheduler
        if (
            scheduler.thread_id == get_ident()
        ):  # not by run_or_post(): most messages pass here, and `*args` costs twice as much
            self.put(item)
        else:
            scheduler.post(self.put, item)
            queue = self.queue
            if queue is not None and len(queue) > scheduler.crowd and actor_of_thread() is not self:
                scheduler.slow(len(queue))

    def deliver_within(self, item: object, _seconds: float | None) -> None:
        """Do the same, after waiting for room in the thread of the caller: there always is."""
        self.deliver(item)

    async def deliver_soon(self, item: object, _seconds: float | None) -> None:
        """Do the same on an event loop."""
        self.deliver(item)

    def continue_with(self, message: object) -> None:
        """Handle a message next: before everything in the mailbox, but after earlier messages of this kind."""
        if not self.alive:
            self.must_have_started()
            return
        queue = self.queue = self.queue or deque()
        # They are all at the front.
        position = bisect_left(queue, True, key=lambda item: type(item) is not Continue)  # noqa: FBT003  # a key that is sought
        queue.insert(position, Continue(message))
        if not self.scheduled:
            self.scheduled = True
            self._be_ready()

    def _be_ready(self) -> None:
        if self.bypass is not None:
            self.bypass.hold(BUSY)
        self.scheduler.ready(self)  # type: ignore[arg-type]  # it is a Process, of which this is a part

    def open_bypass(self, bypass: Bypass) -> None:
        """Hold this bypass from now on whenever the mailbox is in use or the actor is watched; until the actor ends."""
        self.bypass = bypass
        if self.scheduled:
            bypass.hold(BUSY)
        if self.debug is not None:
            bypass.hold(WATCHED)

    @property
    def suspended(self) -> bool:
        """Whether its messages are held back (OTP's `sys:suspend`)."""
        return self.debug is not None and self.debug.backlog is not None

    @property
    def waiting(self) -> int:
        """How many messages wait, including those held back while it is suspended; for any thread."""
        # Each is read once: the process may be running meanwhile.
        queue, debug = self.queue, self.debug
        held_back = None if debug is None else debug.backlog
        return len(queue or ()) + len(held_back or ())

    @property
    def limit(self) -> int | None:
        """How many messages may wait; None: the mailbox is unbounded."""
        return None

    @property
    def left_out(self) -> int:
        """How many messages found no room so far."""
        return 0

    @property
    def next_message(self) -> object:
        """The message that will be handled next, held back or not, or None; for any thread."""
        debug = self.debug
        waiting = (None if debug is None else debug.backlog) or self.queue
        try:
            item = waiting[0] if waiting else None
        except IndexError:  # the process took it meanwhile
            return None
        return bare(item)

    def turn(self) -> None:
        """Handle the messages in the mailbox, up to `messages_per_turn`; then other actors get their turns."""
        if self.signal is not None:
            if self.task is None:  # else its handler is being interrupted, and it ends after that
                self._obey()
        elif self.debug is not None:
            self.debug.turn()
        elif self.actor is not None:
            self.handle_mail(self.actor._receive)

    def handle_mail(self, receive: Callable[[object], object]) -> None:
        """Call `receive` with each message, until a handler is a coroutine, the actor ends, or the turn or the pass is over."""
        queue, scheduler = self.queue, self.scheduler
        left = scheduler.messages_per_turn
        while queue and left:
            left -= 1
            self.handled += 1
            item = queue.popleft()
            if type(item) is Envelope:
                self.reply_to, item = item.reply_to, item.message
            elif type(item) is Continue:
                item = item.message
            self.current = item
            try:
                result = receive(item)
            except BaseException as error:  # noqa: BLE001  # whatever it raises ends the actor, and goes on from there if need be
                self._crash(error)
                return
            # The common case first: nothing to answer, nothing to wait for.
            if result is None and self.reply_to is None:
                pass
            elif not self._accept(result):
                return
            if self.signal is not None:
                self._obey()
                return
            if queue:
                scheduler.work -= 1
                if scheduler.work < 0 and scheduler.is_over():
                    break
        self.go_on()

    def go_on(self) -> None:
        """Join the end of the ready queue if there is more to do, else rest."""
        self.current = None  # a `__del__` may send a message here
        if self.bypass is not None and self.signal is None and not self.queue:
            self.bypass.release(BUSY)
        if self.signal is not None or self.queue:
            self._be_ready()
        else:
            # Between these checks and these stores there is no call, and so nothing that could put a message.
            self.scheduled = False
            self.queue = None
            if self.idle is not None:
                self.idle.rest()

    def _accept(self, result: object) -> bool:
        """Act on what a handler returned; return whether the next message may be handled at once."""
        kind: Any = type(result)
        if kind not in _PLAIN:
            if kind is CoroutineType:
                self._wait_for(result)  # type: ignore[arg-type]  # its type was compared
                return False
            if kind is Stop:
                self._stop(result)  # type: ignore[arg-type]  # as above
                return False
            if _may_be_special(kind):
                return self._accept_special(result)
        if self.reply_to is not None:
            self.reply(result)
        return True

    def _accept_special(self, result: object) -> bool:
        if isinstance(result, Stop):
            self._stop(result)
            return False
        if isinstance(result, Refuse):
            self.reply(result)
            return True
        if isinstance(result, Answer):
            self.reply(result.value)
            self.go_on()
            return False
        return self._accept_other(result)

    def _accept_other(self, result: object) -> bool:
        """Await what can be awaited; refuse a mistake; reply with anything else."""
        try:
            _must_be_made(result)
            coroutine = coroutine_of(result, self.actor)
        except TypeError as error:
            self._crash(error)
            return False
        if coroutine is None:
            self.reply(result)
            return True
        self._wait_for(coroutine)
        return False

    def reply(self, result: object) -> None:
        """Reply to the message that is being handled, if its caller still waits."""
        reply_to, self.reply_to = self.reply_to, None
        if reply_to is None or reply_to.done:
            return
        if type(result) is Refuse:
            reply_to.refuse(result.error)
        else:
            reply_to.set(result)

    def reply_later(self) -> From:
        """Keep the caller of the message that is being handled, to reply other than by what the handler returns."""
        if isinstance(self.reply_to, Receipt):
            return From(self, None)  # no caller waits; the message is over when its handler returns
        future, self.reply_to = self.reply_to, None
        if future is None:
            self.must_have_started()
        else:
            self.deferred = {} if self.deferred is None else self.deferred
            future.be_listed(self.deferred, self._forget)
        return From(self, future)

    def _forget(self, caller: weak_ref[Future[Any]]) -> None:
        """Forget a request whose caller has stopped waiting, in whichever thread that was."""
        if (deferred := self.deferred) is not None:
            deferred.pop(caller, None)

    @property
    def has_caller(self) -> bool:
        """Whether the sender of the message that is being handled waits for a reply."""
        return self.reply_to is not None and not isinstance(self.reply_to, Receipt)

    def take_receipt(self) -> Receipt | None:
        """Return the receipt of the message that is being handled, if it has one, for work that goes on after its handler."""
        receipt = self.reply_to
        if not isinstance(receipt, Receipt):
            return None
        self.reply_to = None
        return receipt

    def has_deferred(self, question: Question) -> bool:
        """Return whether a request is kept to be answered later."""
        return self.deferred is not None and weak_ref(question) in self.deferred

    def answer(self, future: Future[Any], answer: Callable[[Future[Any]], object]) -> None:
        """Reply to a request that was kept, unless it is over."""
        if self.deferred is not None and weak_ref(future) in self.deferred:
            del self.deferred[weak_ref(future)]
            if not future.done:
                answer(future)

    # The end

    def refuse_mail(self) -> None:
        """Reply to all requests that will not be handled any more."""
        if self.debug is not None:
            self.debug.resume()
        if self.reply_to is not None:
            self._answer_last(self.reply_to)
        for caller in list(self.deferred) if self.deferred else ():
            future = caller()
            if future is not None and not future.done:
                future.set_exception(ActorDeadError(f"{self.name} is dead"))
        for item in self.queue or ():
            if type(item) is Envelope:
                self.contain(refuse, item, self)
        if self.queue:
            lost_mail(self.queue, self)
        self.queue = self.reply_to = self.deferred = None
        if self.started is not None and not self.started.done:
            self.started.set_exception(ActorDeadError(f"{self.name} was ended while it started"))

    def _answer_last(self, reply_to: Future[Any] | Receipt) -> None:
        """Reply to the request that ended this actor, with the exception that its handler raised."""
        try:
            if reply_to.done:
                return
            if type(self.current) in STOPS:
                reply_to.set(True)
            elif isinstance(self.ending, Crash) and self.signal is None:
                reply_to.set_exception(self._for_others(self.ending.exception))
            else:
                reply_to.set_exception(ActorDeadError(f"{self.name} is dead"))
        except BaseException as error:  # noqa: BLE001  # as in `contain`
            self.failed_at_end(error)

    def _for_others(self, error: BaseException) -> BaseException:
        """Return what the caller gets: an actor's CancelledError or SystemExit must not look like the caller's own."""
        if issubclass(type(error), Exception):
            return error
        dead = ActorDeadError(f"{self.name} is dead: {error_text(error)}")
        dead.__cause__ = error
        return dead
