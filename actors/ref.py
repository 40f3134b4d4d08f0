"""References to actors: what callers hold."""

from __future__ import annotations

from asyncio import get_running_loop
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

import pykka
import pykka.messages

from actors.exceptions import ActorDeadError, BlockingCallError, MailboxFullError, Timeout
from actors.exits import KILL, NO_PROCESS, NORMAL, Crash, ExitReason, Shutdown, exit_reason
from actors.future import Future, check_timeout
from actors.pickling import Local
from actors.runtime.behaviour import proxied
from actors.runtime.coroutine import next_round
from actors.runtime.current import current_actor
from actors.runtime.dead_letters import lost
from actors.runtime.envelope import STOP, Envelope, StopFor
from actors.runtime.waits import must_not_block

if TYPE_CHECKING:
    # Known to type checkers without the package. `typing` has defaults from Python 3.13 on.
    from typing_extensions import TypeVar

    from actors.request import Answer, Request
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.process import Process

    # Covariant, so that an `ActorRef`, or a plain `ActorRef`, may be a reference to any actor.
    A_co = TypeVar("A_co", bound=Behaviour, covariant=True, default=Behaviour)
else:
    from typing import TypeVar

    A_co = TypeVar("A_co", covariant=True)

__all__ = ["ASK_TIMEOUT", "ActorRef", "Stopped"]

# OTP's default for a call.
ASK_TIMEOUT = 5.0


class Stopped:
    """The part of `threading.Event` that pykka's `actor_stopped` needs, without the cost of an Event."""

    __slots__ = ("_process",)

    def __init__(self, process: Process) -> None:
        self._process = process

    def is_set(self) -> bool:
        """Return whether the actor has stopped."""
        return self._process.reason is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the actor has stopped; return whether it has.

        Raises:
            BlockingCallError: on the thread of the actor's loop; `await ref.down()` there.
        """
        try:
            self._process.ref.down().get(timeout=timeout)
        except Timeout:
            return False
        return True


if TYPE_CHECKING:
    # For type checkers it is a class of its own, as `Actor` is.
    class _PykkaRef(Generic[A_co]):
        """The type parameter alone."""
else:
    _PykkaRef = pykka.ActorRef


class ActorRef(Local, _PykkaRef[A_co], Generic[A_co]):
    """A reference to an actor, alive or dead, for any thread.

    Messages from one sender to one actor arrive in order, at most once. A copy of a ref is the ref itself; it cannot be
    pickled, as an actor is reached only in its own process.
    """

    __slots__ = ("process",)

    _instead = (
        "send a key by which code there finds an actor of its own, or publish what this one should get with a PubSub whose "
        "adapter connects the processes"
    )

    def __init__(self, process: Process) -> None:
        self.process = process

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self.process is other.process

    def __hash__(self) -> int:
        return hash(self.process)

    @property
    def actor_class(self) -> type[A_co]:
        """The actor's class."""
        return self.process.actor_class  # type: ignore[return-value]  # the class it was started with

    @property
    def actor_urn(self) -> str:
        """A URN that no other actor of this program has."""
        return f"urn:ashtree:{self.process.number}"

    @property
    def actor_inbox(self) -> Process:
        """The mailbox, to be used through `tell` and `ask`."""
        return self.process

    @property
    def actor_stopped(self) -> Stopped:
        """Pykka's stop flag, read-only."""
        return Stopped(self.process)

    def _actor_weakref(self) -> A_co | None:
        actor = self.process.actor
        return None if actor is None else proxied(actor)

    def proxy(self) -> pykka.ActorProxy[Any]:
        """Return pykka's proxy, to call the actor's methods and read its attributes.

        Raises:
            ActorDeadError: if the actor is dead.
        """
        self.process.check_here()
        return pykka.ActorProxy(actor_ref=self)  # type: ignore[arg-type]  # it is a pykka.ActorRef, see above

    @property
    def pid(self) -> str:
        """The pid as text, such as `<0.41.0>`."""
        return self.process.pid

    @property
    def exit_reason(self) -> ExitReason | None:
        """The reason with which the actor ended, or None while it is alive."""
        return self.process.reason

    def is_alive(self) -> bool:
        """Return whether the actor is alive; it may end before you use the answer."""
        return self.process.reason is None

    def __str__(self) -> str:
        return self.process.name

    def __repr__(self) -> str:
        process = self.process
        label = f" {process.label!r}" if process.label else ""
        return f"<ActorRef {process.actor_class.__name__}{label} {process.pid}{self._fate()}>"

    def _fate(self) -> str:
        process = self.process
        if process.alive:
            return ""
        if process.is_left_behind:
            return f" of process {process.scheduler.forked}"
        return f" dead: {_word(process.reason)}" if process.reason else " not started"

    def send(self, message: object) -> None:
        """Send a message (Erlang's `!`); silently dropped if the actor is dead, or its bounded mailbox refuses it.

        Raises:
            ForkedError: as all methods that reach the actor, if it lives in the process from which this one was forked.
        """
        process = self.process
        if process.alive:
            try:
                process.deliver(message)
            except ActorDeadError:
                lost(message, process)
            except MailboxFullError:
                lost(message, process, "mailbox_full")
        else:
            process.check_here()
            lost(message, process)

    def tell(self, message: object, *, timeout: float | None = 0) -> None:
        """Send a message, as in pykka.

        If the actor's mailbox is bounded and full, wait for room at most `timeout` seconds (None: indefinitely; 0: not at
        all), in a thread without an event loop.

        Raises:
            ActorDeadError: if the actor is known to be dead.
            MailboxFullError: if a bounded mailbox has no room: see `actors.Mailbox`.
            AskCycleError: if the actor waits, directly or through others, for the calling one.
            BlockingCallError: on an event loop, with a timeout; `await ref.put(message)` there.
            TypeError: if `timeout` is not a number of seconds, or None.
        """
        process = self._living(message)
        if timeout == 0:
            process.deliver(message)
        else:
            check_timeout(timeout)
            must_not_block("tell(…, timeout=…)", instead="`await ref.put(message)`")
            process.deliver_within(message, timeout)

    async def put(self, message: object, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # on the actors' clock
        """Send a message when the actor's mailbox has room for it, as `asyncio.Queue.put`: `tell` for code on an event loop.

        An unbounded mailbox always has room. Those that wait get their turns in order.

        Raises:
            ActorDeadError: if the actor is dead, or ends before there is room.
            MailboxFullError: if there is none after `timeout` seconds (None: it waits indefinitely).
            AskCycleError: if the actor waits, directly or through others, for the calling one.
            TypeError: if `timeout` is not a number of seconds, or None.
        """
        check_timeout(timeout)
        await self._living(message).deliver_soon(message, timeout)

    def _living(self, message: object) -> Process:
        """Return the process, which a message is for, unless it is dead."""
        process = self.process
        if not process.alive:
            lost(message, process)
            raise process.dead()
        return process

    # The overloads for a `Request[object]` are for code that expects another type than the answer's: for mypy the first ones
    # then do not match, and without these it would take the last ones, with `Any`, and find no mistake.

    @overload
    def ask(
        self, message: Request[Answer], *, block: Literal[False], timeout: float | None = ...
    ) -> Future[Answer]: ...

    @overload
    def ask(self, message: Request[Answer], *, block: Literal[True] = ..., timeout: float | None = ...) -> Answer: ...

    @overload
    def ask(  # type: ignore[overload-overlap]  # see above
        self, message: Request[object], *, block: bool = ..., timeout: float | None = ...
    ) -> object: ...

    @overload
    def ask(self, message: object, *, block: Literal[False], timeout: float | None = ...) -> Future[Any]: ...

    @overload
    def ask(self, message: object, *, block: Literal[True] = ..., timeout: float | None = ...) -> Any: ...

    @overload
    def ask(self, message: object, *, block: bool, timeout: float | None = ...) -> Any: ...

    def ask(self, message: object, *, block: bool = True, timeout: float | None = ASK_TIMEOUT) -> Any:
        """Send a message and wait for the reply, at most `timeout` seconds (None: indefinitely).

        With `block=False` return a future of the reply, to `get()` in another thread or to await on the loop. If the handler
        raises, the caller gets the exception, and the actor ends. For type checkers the reply to a `Request` has the type that
        its class names.

        Raises:
            ActorDeadError: if the actor is dead, or ends without a reply.
            AskCycleError: if the actor waits, directly or through others, for the calling one.
            BlockingCallError: if it would block an event loop: the actor's own, or the one that it is called on.
            pykka.Timeout: if there is no reply in time.
        """
        if block:
            self._must_not_hang("ask()", instead="`await ref.call(message)`, or `await ref.ask(message, block=False)`")
        return self._request(message, timeout).get() if block else self._request(message, timeout)

    def _must_not_hang(self, call: str, *, instead: str) -> None:
        """Raise if a blocking call would hang, before anything is sent."""
        process = self.process
        if not process.alive:
            return
        if process.scheduler.may_block():
            must_not_block(call, instead=instead)
            return
        if process.scheduler.loop.is_closed():
            raise ActorDeadError(f"{self} is dead: its event loop is closed")
        raise BlockingCallError(call, instead=instead)

    def _request(self, message: object, timeout: float | None) -> Future[Any]:
        process = self.process
        scheduler = process.scheduler if process.alive else None
        future: Future[Any] = Future(scheduler, timeout=timeout, asked=process)
        if scheduler is None:
            lost(message, process)
            future.set_exception(process.dead())
            return future
        try:
            process.deliver(Envelope(message, future))
        except MailboxFullError as error:
            future.set_exception(error)
        return future

    @overload
    async def call(self, message: Request[Answer], *, timeout: float | None = ...) -> Answer: ...  # noqa: ASYNC109  # as below

    @overload
    async def call(  # type: ignore[overload-cannot-match]  # see `ask`
        self,
        message: Request[object],
        *,
        timeout: float | None = ...,  # noqa: ASYNC109  # as below
    ) -> object: ...

    @overload
    async def call(self, message: object, *, timeout: float | None = ...) -> Any: ...  # noqa: ASYNC109  # as below

    async def call(self, message: object, *, timeout: float | None = ASK_TIMEOUT) -> Any:  # noqa: ASYNC109  # OTP's term; on the actors' clock
        """Send a message and await the reply: `ask` for code that runs on an event loop, on any event loop.

        Raises:
            BlockingCallError: if the actor's event loop cannot run meanwhile, as another one runs in its thread.
            Everything that `ask` raises.
        """
        process = self.process
        if process.alive and process.scheduler.loop is not get_running_loop():
            process.scheduler.check_awaitable("call()")
        future = self._request(message, timeout)
        try:
            if not future.done:
                if not self._answered_at_once(future):
                    return await future
                # It was answered in this thread, so the current actor of the scheduler is the caller.
                caller = self.process.scheduler.current
                if caller is not None and caller.signal is not None:
                    # It got an exit signal meanwhile, or is dead: as at any `await`, its handler must not continue.
                    await next_round()
            return future.result()
        finally:
            del future  # of the frame in the traceback of its exception, which would be a cycle

    def _answered_at_once(self, future: Future[Any]) -> bool:
        self.process.scheduler.run_at_once()
        return future.done

    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = ..., reason: object = ...) -> Future[bool]: ...

    @overload
    def stop(self, *, block: Literal[True] = ..., timeout: float | None = ..., reason: object = ...) -> bool: ...

    @overload
    def stop(self, *, block: bool, timeout: float | None = ..., reason: object = ...) -> bool | Future[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None, reason: object = NORMAL) -> bool | Future[bool]:
        """Stop the actor when it has handled all earlier messages; return whether it was alive (OTP's `gen_server:stop/3`).

        It runs `terminate(reason)` and ends with `reason`, an exit reason or an exception. A supervisor restarts it as its
        child spec says for that reason: a permanent child always, a transient one unless `reason` is NORMAL or a shutdown.
        `exit(reason)` ends it before its next message instead.

        Raises:
            TypeError: if `reason` is neither an exit reason nor an exception.
            BlockingCallError: with `block`, on an event loop; `await ref.stop(block=False)` there.
            pykka.Timeout: if it has not stopped within `timeout` seconds (None: no limit); it stops later.
        """
        message = STOP if reason is NORMAL else StopFor(exit_reason(reason))
        if block:
            self._must_not_hang("stop()", instead="`await ref.stop(block=False)`")
        if self.process.alive:
            stopped = self._request(message, timeout)
        else:
            self.process.must_have_started()
            stopped = Future()
            stopped.set(False)
        return stopped.get() if block else stopped

    def started(self) -> Future[ActorRef[A_co]]:
        """Return a future of this ref that is answered when an `async` `on_start` has ended.

        Raises (in the future):
            StartError: if it failed, or took longer than the `start_timeout` of the class.
            ActorDeadError: if the actor was ended before.
        """
        return self.process.until_started()

    def exit(self, reason: object) -> None:
        """Send an exit signal, which ends the actor before its next message (Erlang's `exit/2`).

        `reason` is an exit reason, an exception, or `KILL`, which skips `terminate`. NORMAL is ignored. This signal has no
        sender, so it ends an actor that traps exits too.
        """
        self.process.send_exit(reason, None)

    def kill(self) -> None:
        """End the actor at once, unconditionally (Erlang's `exit(Pid, kill)`); its links see KILLED."""
        self.exit(KILL)

    def down(self) -> Future[ExitReason]:
        """Return a future of the exit reason of the actor; NO_PROCESS if it is dead already."""
        process = self.process
        # An actor that waits for its own end waits for a signal, which interrupts it: that is no cycle.
        asked = None if current_actor() is process else process
        future: Future[ExitReason] = Future(process.scheduler, asked=asked)
        if process.alive:
            process.scheduler.run_or_post(process.answer_at_end, future)
        else:
            process.must_have_started()
            future.set(NO_PROCESS)
        return future


def _word(reason: ExitReason) -> str:
    """Name a reason without the text of its exception, which may be long or contain this very ref."""
    match reason:
        case Crash(exception=error):
            return type(error).__name__
        case Shutdown(detail=detail) if detail is not None and not isinstance(detail, str):
            return "Shutdown"
    return f"{reason!s:.80}"
