"""What callers hold of an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import pykka
import pykka.messages

from actors.exceptions import ActorDeadError, BlockingCallError, Timeout
from actors.exits import KILL, NO_PROCESS, Crash, ExitReason, Shutdown, exit_reason
from actors.future import Future
from actors.runtime.coroutine import next_round
from actors.runtime.envelope import STOP, Envelope

if TYPE_CHECKING:
    from actors.actor import Actor
    from actors.runtime.process import Process

__all__ = ["ASK_TIMEOUT", "ActorRef"]

A = TypeVar("A", bound="Actor")

# OTP's default for a call.
ASK_TIMEOUT = 5.0


class _Stopped:
    """The face of `threading.Event` that pykka shows as `actor_stopped`, without the cost of one."""

    __slots__ = ("_process",)

    def __init__(self, process: Process) -> None:
        self._process = process

    def is_set(self) -> bool:
        """Tell whether the actor has stopped."""
        return self._process.reason is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the actor has stopped; tell whether it has.

        Raises:
            BlockingCallError: on the thread of the actor's loop; `await ref.down()` there.
        """
        try:
            self._process.ref.down().get(timeout=timeout)
        except Timeout:
            return False
        return True


if TYPE_CHECKING:
    # For type checkers a class of its own, as `Actor` is.
    class _PykkaRef(Generic[A]):
        """Nothing but its parameter."""
else:
    _PykkaRef = pykka.ActorRef


class ActorRef(_PykkaRef[A], Generic[A]):
    """A reference to an actor, living or dead, for any thread.

    Messages that one sender sends to one actor arrive in order, at most once.
    """

    __slots__ = ("process",)

    def __init__(self, process: Any) -> None:
        self.process: Process = process

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and self.process is other.process

    def __hash__(self) -> int:
        return hash(self.process)

    @property
    def actor_class(self) -> type[A]:
        """The actor's class."""
        return self.process.actor_class  # type: ignore[return-value]  # the class it was started with

    @property
    def actor_urn(self) -> str:
        """A URN that no other actor of this program has."""
        return f"urn:ashtree:{self.process.number}"

    @property
    def actor_inbox(self) -> Process:
        """The mailbox; to be used through `tell` and `ask`."""
        return self.process

    @property
    def actor_stopped(self) -> _Stopped:
        """Pykka's stop flag, to be read only."""
        return _Stopped(self.process)

    def _actor_weakref(self) -> A | None:
        actor = self.process.actor
        return None if actor is None else actor._proxied()

    def proxy(self) -> pykka.ActorProxy[Any]:
        """Wrap the ref, to call the actor's methods and to read its attributes (pykka's proxy).

        Raises:
            ActorDeadError: if the actor is dead.
        """
        return pykka.ActorProxy(actor_ref=self)  # type: ignore[arg-type]  # it is a pykka.ActorRef, see above

    @property
    def pid(self) -> str:
        """The pid as text, such as `<0.41.0>`."""
        return self.process.pid

    @property
    def exit_reason(self) -> ExitReason | None:
        """Why the actor ended, or None while it lives."""
        return self.process.reason

    def is_alive(self) -> bool:
        """Tell whether the actor has not ended; it may end before you use the answer."""
        return self.process.reason is None

    def __str__(self) -> str:
        return self.process.name

    def __repr__(self) -> str:
        process = self.process
        label = f" {process.label!r}" if process.label else ""
        fate = "" if process.alive else f" dead: {_word(process.reason)}" if process.reason else " not started"
        return f"<ActorRef {process.actor_class.__name__}{label} {process.pid}{fate}>"

    def send(self, message: Any) -> None:
        """Send a message (Erlang's `!`): one to the dead is dropped without a word."""
        process = self.process
        if process.alive:
            try:
                process.scheduler.run_or_post(process.put, message)
            except ActorDeadError:
                return

    def tell(self, message: Any) -> None:
        """Send a message (pykka's form).

        Raises:
            ActorDeadError: if the actor is known to be dead already.
        """
        process = self.process
        if not process.alive:
            raise ActorDeadError(f"{self} is dead")
        process.scheduler.run_or_post(process.put, message)

    @overload
    def ask(self, message: Any, *, block: Literal[False], timeout: float | None = ...) -> Future[Any]: ...

    @overload
    def ask(self, message: Any, *, block: Literal[True] = ..., timeout: float | None = ...) -> Any: ...

    @overload
    def ask(self, message: Any, *, block: bool, timeout: float | None = ...) -> Any: ...

    def ask(self, message: Any, *, block: bool = True, timeout: float | None = ASK_TIMEOUT) -> Any:
        """Send a message and wait for the answer, at most `timeout` seconds (None: for ever).

        With `block=False` the future of the answer is returned, to `get()` in another thread or to await on the loop.
        If the handler raises, you get the exception and the actor ends; if the actor dies otherwise, you get
        ActorDeadError at once.

        Raises:
            BlockingCallError: if it would block the loop's own thread.
            pykka.Timeout: if there is no answer in time.
        """
        if block:
            self._must_not_hang("ask()")
        future = self._request(message, timeout)
        return future.get() if block else future

    def _must_not_hang(self, call: str) -> None:
        """Refuse a blocking call before anything is sent."""
        process = self.process
        if not process.alive or process.scheduler.may_block():
            return
        if process.scheduler.loop.is_closed():
            raise ActorDeadError(f"{self} is dead: its event loop is closed")
        raise BlockingCallError(call)

    def _request(self, message: Any, timeout: float | None) -> Future[Any]:
        process = self.process
        scheduler = process.scheduler if process.alive else None
        future: Future[Any] = Future(scheduler, timeout=timeout, asked=process)
        if scheduler is None:
            future.set_exception(ActorDeadError(f"{self} is dead"))
        else:
            scheduler.run_or_post(process.put, Envelope(message, future))
        return future

    async def call(self, message: Any, *, timeout: float | None = ASK_TIMEOUT) -> Any:  # noqa: ASYNC109  # OTP's word; on the actors' clock
        """Ask, and await the answer: `ask` for code that runs on an event loop (any event loop)."""
        future = self._request(message, timeout)
        if not future._done:  # our own class; a property costs
            scheduler = self.process.scheduler
            scheduler.run_at_once()
            if not future.done:
                return await future
            # An answer at once is one of the same loop, so this is who asks.
            asker = scheduler.current
            if asker is not None and asker.signal is not None:
                # It was told to end meanwhile, or is dead: as at any `await`, its handler goes no further.
                await next_round()
        return future.result()

    @overload
    def stop(self, *, block: Literal[False], timeout: float | None = ...) -> Future[bool]: ...

    @overload
    def stop(self, *, block: Literal[True] = ..., timeout: float | None = ...) -> bool: ...

    @overload
    def stop(self, *, block: bool, timeout: float | None = ...) -> bool | Future[bool]: ...

    def stop(self, *, block: bool = True, timeout: float | None = None) -> bool | Future[bool]:
        """Ask the actor to stop when it has handled what it was sent before; True if it was alive."""
        if block:
            self._must_not_hang("stop()")
        if self.process.alive:
            stopped = self._request(STOP, timeout)
        else:
            stopped = Future()
            stopped.set(False)
        return stopped.get() if block else stopped

    def started(self) -> Future[ActorRef[A]]:
        """Return a future of this ref that is answered when `on_start` has ended; for one that is `async`.

        Raises (in the future):
            StartError: if it failed, or took longer than the `start_timeout` of the class.
            ActorDeadError: if the actor was ended meanwhile.
        """
        if self.process.started is not None:
            return self.process.started
        future: Future[ActorRef[A]] = Future(self.process.scheduler)
        future.set(self)
        return future

    def exit(self, reason: object) -> None:
        """Send an exit signal: it ends the actor before its next message (Erlang's `exit/2`).

        `reason` is an exit reason, an exception, or `KILL`. NORMAL is ignored; an actor that traps exits gets
        all but KILL as an `Exit` message only from its links, and ends otherwise. KILL skips `terminate`.
        """
        self._signal(reason, None)

    def _signal(self, reason: object, sender: Process | None) -> None:
        process = self.process
        if not process.alive:
            return
        if reason is KILL:
            process.scheduler.run_or_post(process.kill)
        else:
            process.scheduler.run_or_post(process.exit_signal, exit_reason(reason), sender)

    def kill(self) -> None:
        """End the actor at once and for sure (Erlang's `exit(Pid, kill)`); its links see KILLED."""
        self.exit(KILL)

    def down(self) -> Future[ExitReason]:
        """Return a future of the reason the actor ends with; NO_PROCESS if it has ended already."""
        process = self.process
        future: Future[ExitReason] = Future(process.scheduler)
        if process.alive:
            process.scheduler.run_or_post(process.answer_at_end, future)
        else:
            future.set(NO_PROCESS)
        return future


def _word(reason: ExitReason) -> str:
    """Name a reason, without what an exception says: that may be long, or show this very ref."""
    match reason:
        case Crash(exception=error):
            return type(error).__name__
        case Shutdown(detail=detail) if detail is not None and not isinstance(detail, str):
            return "Shutdown"
    return f"{reason!s:.80}"
