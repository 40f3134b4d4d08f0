"""pykka's `ThreadingActor` as one of our processes, so that it can be linked, monitored, named and supervised.

A `PykkaActor` represents it: it starts the pykka actor, forwards messages to it, and ends with it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from contextvars import copy_context
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pykka

from actors.actor import Actor
from actors.callbacks import check_callbacks, check_parameters
from actors.exceptions import ActorDeadError
from actors.exits import NORMAL, Crash, ExitReason, Stop
from actors.fork import free_after_fork, in_child
from actors.future import Future
from actors.mailbox import Mailbox
from actors.runtime.behaviour import FormatStatus, described
from actors.runtime.dead_letters import lost
from actors.runtime.envelope import STOPS, Carried, SystemCall, bare
from actors.runtime.program_exit import leave
from actors.threads.actor_thread import ended, leave_behind

if TYPE_CHECKING:
    from contextvars import Context
    from types import TracebackType

    from actors.caller import From

__all__ = ["ActorClass", "PykkaActor", "actor_class_of"]

ActorClass: TypeAlias = type[Actor] | type[pykka.ThreadingActor]

# The options of a child that a class may have, which are copied to its stand-in.
_OPTIONS = ("restart", "shutdown", "start_timeout")

_HOOKS = ("on_start", "on_receive", "on_stop", "on_failure", "format_status")


def _leave_behind() -> None:
    """Forget the actors of this kind, in a forked child: their threads are the parent's."""
    for ref in pykka.ActorRegistry.get_all():
        if issubclass(ref.actor_class, _Supervised):
            pykka.ActorRegistry.unregister(ref)


free_after_fork(pykka.ActorRegistry._actor_refs_lock)
in_child(_leave_behind)


class _Ended:
    """The pykka actor has ended."""

    __slots__ = ("reason",)

    def __init__(self, reason: ExitReason) -> None:
        self.reason = reason


class _Supervised(pykka.ThreadingActor):
    """Mixin ahead of the author's class; reports its lifecycle to the stand-in, from the actor's thread."""

    # Its supervisor stops it in order; one that does not stop must not keep the program from exiting.
    use_daemon_thread: ClassVar[bool] = True
    _stand_in: PykkaActor

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _actor_loop(self) -> None:
        stand_in = self._stand_in
        stand_in._thread, stand_in._at = threading.current_thread(), "on_start"
        try:
            stand_in._context.run(super()._actor_loop)
        finally:
            # pykka does neither after a SystemExit in `on_start`.
            pykka.ActorRegistry.unregister(self.actor_ref)
            self.actor_stopped.set()
            stand_in._on_loop_end()

    def on_start(self) -> None:
        stand_in = self._stand_in
        try:
            super().on_start()
        except BaseException as error:
            stand_in._at = None
            stand_in._begun.set_exception(error)
            raise
        stand_in._at = None
        stand_in._begun.set()

    def on_stop(self) -> None:
        # pykka stops an actor that raised a SystemExit or the like while it is being handled.
        self._stand_in._note(sys.exc_info()[1])
        try:
            super().on_stop()
        except BaseException as error:
            self._stand_in._note(error)
            raise

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stand_in._note(exception_value)
        super().on_failure(exception_type, exception_value, traceback)

    def _handle_receive(self, message: object) -> object:
        self._stand_in._at = bare(message)
        receive = super()._handle_receive
        try:
            return message.handle(receive) if type(message) is Carried else receive(message)
        finally:
            self._stand_in._at = None


class PykkaActor(Actor):
    """Represents a pykka actor: `ChildSpec(MyThreadingActor, …)` starts one.

    The ref, with `tell`, `ask`, `stop` and `proxy()`, reaches the pykka actor, inside which pykka's rules hold:

    - `on_start` and all handlers run in its thread, `__init__` in the thread of its supervisor: it must not block.
    - An exception in the handler of an `ask` goes to the caller, and the actor goes on. One in the handler of a `tell` ends it,
      with `Crash(exception)`. A failed start is a `StartError`, as with any child.
    - A stop, its own or by `ref.stop()`, is NORMAL; `ref.stop(reason=…)` gives another reason to its links, monitors and
      supervisor, and also calls `on_stop`. Its supervisor shuts it down by a stop: it handles the messages in its
      inbox first. After the `shutdown` seconds, and at KILL, it has ended for all others, but its thread cannot be killed: it
      ends when the current handler returns. That is logged, and `threads_left()` shows it.
    - SystemExit and the like stop all pykka actors of the program; the supervisors of the others see a NORMAL end. Then it
      leaves the event loop, as that of any actor does.
    - `actors.sys` shows and replaces its attributes, also while its thread is working; `format_status` may be defined as in
      an `Actor`.
    - It cannot link or monitor others. `ManualRuntime` does not wait for its thread.
    """

    pykka_class: ClassVar[type[_Supervised]]
    # The context variables of the pykka actor, for its thread.
    _context: Context
    _no_dead_letters: ClassVar[tuple[type, ...]] = (_Ended,)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args, self._kwargs = args, kwargs
        self._pykka: _Supervised | None = None
        # Set by the pykka actor's thread.
        self._begun: Future[None] = Future()
        self._gone: Future[None] = Future()
        self._thread: threading.Thread | None = None
        self._at: object = None
        self._error: BaseException | None = None

    async def on_start(self) -> None:
        """Start the pykka actor, and wait until its `on_start` has ended."""
        actor = self._pykka = self.pykka_class(*self._args, **self._kwargs)
        actor._stand_in, self._context = self, copy_context()
        self.own(self._abandon)
        # As pykka's `start` does, which has no hook between creating and starting.
        pykka.ActorRegistry.register(actor.actor_ref)
        actor._start_actor_loop()
        await self._begun

    def terminate(self, reason: ExitReason) -> object:
        """Stop the pykka actor, and wait until it has ended.

        Raises:
            The exception with which it crashed meanwhile.
        """
        if not self._gone.done:
            return self._stop_pykka()
        # It may have crashed before the message of that has arrived here.
        if self._error is not None and reason != Crash(self._error):
            raise self._error
        return None

    async def _stop_pykka(self) -> None:
        assert self._pykka is not None
        self._pykka.actor_ref.stop(block=False)
        await self._gone
        if self._error is not None:
            raise self._error

    def _abandon(self) -> None:
        """Make the pykka actor end after its current message, if it has not ended yet."""
        assert self._pykka is not None
        if self._gone.done:
            return
        self._pykka.actor_ref.stop(block=False)
        self._pykka.actor_stopped.set()
        thread, at = self._thread, self._at
        if thread is not None and at is not None:
            leave_behind(thread, self._process, at if at == "on_start" else described(self, at))

    # Called in the pykka actor's thread

    def _note(self, error: BaseException | None) -> None:
        """Store the first exception, as the reason of its end."""
        if self._error is None:
            self._error = error

    def _on_loop_end(self) -> None:
        ended(self._process)
        self._gone.set()
        self.actor_ref.send(_Ended(NORMAL if self._error is None else Crash(self._error)))

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Call `format_status` of the pykka actor, if it has one, on the event loop."""
        hook = getattr(self._pykka, "format_status", None)
        if hook is None:
            return status
        shown: FormatStatus = hook(status)
        return shown

    # What the kernel calls

    def _receive(self, message: object) -> object:
        plain = bare(message)
        if type(plain) is _Ended:
            if isinstance(plain.reason, Crash):
                leave(plain.reason.exception)
            return Stop(plain.reason)
        if type(message) is SystemCall or type(plain) in STOPS:
            return super()._receive(message)
        assert self._pykka is not None
        if not self._process.has_caller:
            try:
                self._pykka.actor_ref.tell(message)
            except ActorDeadError:  # the message of its end is on its way
                lost(message, self._process)
            return None
        answer: Any = self._pykka.actor_ref.ask(message, block=False)
        answer.add_done_callback(partial(_answer, self.reply_later()))
        return None

    def _proxied(self) -> object:
        return self if self._pykka is None else self._pykka


def _answer(caller: From, future: Future[Any]) -> None:
    with contextlib.suppress(ActorDeadError):  # that loop is closed, and all its actors dead
        if future.exception is None:
            _reply(caller, future.result())
        else:
            caller.refuse(future.exception)


def _reply(caller: From, value: object) -> None:
    """Reply with what a pykka actor has returned; a future is a value there, as pykka's handlers cannot wait for one."""
    if isinstance(value, pykka.Future):
        caller._answer(lambda waiting: waiting.set(value))
        return
    try:
        caller.reply(value)
    except TypeError as error:
        caller.refuse(error)


def actor_class_of(value: object) -> type[Actor] | None:
    """Return the class to start for `value`: an `Actor` itself, the stand-in of a `pykka.ThreadingActor`; None for others."""
    if not isinstance(value, type):
        return None
    if issubclass(value, Actor):
        return value
    return _stand_in_of(value) if issubclass(value, pykka.ThreadingActor) else None


@cache
def _stand_in_of(actor: type[pykka.ThreadingActor]) -> type[PykkaActor]:
    check_callbacks(actor, _HOOKS, plain=True, instead="the thread of a pykka actor awaits nothing; make it an Actor")
    check_parameters(actor, format_status=("status",))
    if isinstance(getattr(actor, "mailbox", None), Mailbox):
        raise TypeError(
            f"{actor.__qualname__}.mailbox has no effect: the messages of a pykka.ThreadingActor wait in an inbox of pykka's; "
            "make it a ThreadedActor"
        )
    called = {"__module__": actor.__module__, "__qualname__": actor.__qualname__, "__doc__": actor.__doc__}
    options = {name: getattr(actor, name) for name in _OPTIONS if hasattr(actor, name)}
    supervised = type(actor.__name__, (_Supervised, actor), called)
    return type(actor.__name__, (PykkaActor,), {**called, **options, "pykka_class": supervised})
