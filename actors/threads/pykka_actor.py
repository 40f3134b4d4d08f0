"""pykka's own `ThreadingActor` as one of our processes, so that it can be linked, monitored, named and supervised.

A `PykkaActor` stands for it: it starts the pykka actor, passes on what it is sent, and ends with it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import pykka

from actors.actor import Actor
from actors.exceptions import ActorDeadError
from actors.exits import NORMAL, Crash, ExitReason, Stop
from actors.future import Future
from actors.runtime.envelope import ActorStop, SystemCall
from actors.threads.actor_thread import ended, leave_behind

if TYPE_CHECKING:
    from types import TracebackType

    from actors.caller import From

__all__ = ["ActorClass", "PykkaActor", "actor_class_of"]

ActorClass: TypeAlias = type[Actor] | type[pykka.ThreadingActor]

# What a class may say of itself as a child, which its stand-in repeats.
_OPTIONS = ("restart", "shutdown", "start_timeout")

_STOP_NORMALLY = Stop(NORMAL)


class _Ended:
    """The pykka actor has ended."""

    __slots__ = ("reason",)

    def __init__(self, reason: ExitReason) -> None:
        self.reason = reason


class _Supervised(pykka.ThreadingActor):
    """Goes before the author's class: it tells the stand-in how the actor fares, from the actor's thread."""

    # Its supervisor ends it in order; what will not end must not keep the program from its end.
    use_daemon_thread: ClassVar[bool] = True
    _stand_in: PykkaActor

    @staticmethod
    def _create_future() -> Future[Any]:
        return Future()

    def _actor_loop(self) -> None:
        stand_in = self._stand_in
        stand_in._thread, stand_in._at = threading.current_thread(), "on_start"
        try:
            super()._actor_loop()
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
        # pykka stops an actor that raised a SystemExit or the like while it handles that.
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

    def _handle_receive(self, message: Any) -> Any:
        self._stand_in._at = message
        try:
            return super()._handle_receive(message)
        finally:
            self._stand_in._at = None


class PykkaActor(Actor):
    """Stands for an actor of pykka's: `ChildSpec(MyThreadingActor, …)` starts one.

    The ref, with `tell`, `ask`, `stop` and `proxy()`, reaches the pykka actor, inside which pykka's own rules hold:

    - `on_start` and all handlers run in its thread, `__init__` in the thread of its supervisor: it must not block.
    - An exception in a message that was asked goes to whoever asked, and the actor lives on. One in a message that was told
      ends it, with `Crash(exception)`. A start that fails is a `StartError`, as with any child.
    - A stop, its own or by `ref.stop()`, is NORMAL. Its supervisor shuts it down by a stop: it handles what is in its inbox
      first. After the `shutdown` seconds, and at KILL, it has ended for everybody else, but its thread cannot be killed:
      it ends when the handler that it is in returns. The log says so, and `threads_left()` shows it.
    - SystemExit and the like stop all actors of pykka's in the program; the supervisors of the others see a NORMAL end.
    - `actors.sys` shows and replaces its attributes, also while its thread is at work.
    - It has no links or monitors of its own making. `ManualRuntime` does not wait for its thread.
    """

    pykka_class: ClassVar[type[_Supervised]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args, self._kwargs = args, kwargs
        self._pykka: _Supervised | None = None
        # Told by the pykka actor's thread.
        self._begun: Future[None] = Future()
        self._gone: Future[None] = Future()
        self._thread: threading.Thread | None = None
        self._at: Any = None
        self._error: BaseException | None = None

    async def on_start(self) -> None:
        """Start the pykka actor, and wait until its `on_start` has ended."""
        actor = self._pykka = self.pykka_class(*self._args, **self._kwargs)
        actor._stand_in = self
        self.own(self._abandon)
        # What pykka's `start` does, which leaves no room between the two.
        pykka.ActorRegistry.register(actor.actor_ref)
        actor._start_actor_loop()
        await self._begun

    def terminate(self, reason: ExitReason) -> Any:
        """Stop the pykka actor, and wait for it.

        Raises:
            What it crashed with meanwhile.
        """
        if not self._gone.done:
            return self._stop_pykka()
        # It may have crashed without our having been told when we were told to end.
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
        """Have the pykka actor end after the message that it is at, if it has not ended yet."""
        assert self._pykka is not None
        if self._gone.done:
            return
        self._pykka.actor_ref.stop(block=False)
        self._pykka.actor_stopped.set()
        thread, at = self._thread, self._at
        if thread is not None and at is not None:
            leave_behind(thread, self._process, at if at == "on_start" else repr(at))

    # Told by the pykka actor's thread

    def _note(self, error: BaseException | None) -> None:
        """Remember the first exception as what it ends by."""
        if self._error is None:
            self._error = error

    def _on_loop_end(self) -> None:
        ended(self._process)
        self._gone.set()
        self.actor_ref.send(_Ended(NORMAL if self._error is None else Crash(self._error)))

    # The kernel's side

    def _receive(self, message: Any) -> Any:
        if type(message) is _Ended:
            return Stop(message.reason)
        if type(message) is ActorStop:
            return _STOP_NORMALLY
        if type(message) is SystemCall:
            return super()._receive(message)
        assert self._pykka is not None
        if self._process.reply_to is None:
            with contextlib.suppress(ActorDeadError):  # what it ended by is on its way to us
                self._pykka.actor_ref.tell(message)
            return None
        answer: Any = self._pykka.actor_ref.ask(message, block=False)
        answer.add_done_callback(partial(_answer, self.reply_later()))
        return None

    def _proxied(self) -> Any:
        return self if self._pykka is None else self._pykka


def _answer(caller: From, future: Future[Any]) -> None:
    with contextlib.suppress(ActorDeadError):  # that loop is closed: nobody waits there any more
        if future.exception is None:
            caller.reply(future.result())
        else:
            caller.refuse(future.exception)


def actor_class_of(value: object) -> type[Actor] | None:
    """Return the class to start for what is given as one: an `Actor` as it is, the stand-in of a `pykka.ThreadingActor`.

    None: it is neither.
    """
    if not isinstance(value, type):
        return None
    if issubclass(value, Actor):
        return value
    return _stand_in_of(value) if issubclass(value, pykka.ThreadingActor) else None


@cache
def _stand_in_of(actor: type[pykka.ThreadingActor]) -> type[PykkaActor]:
    called = {"__module__": actor.__module__, "__qualname__": actor.__qualname__, "__doc__": actor.__doc__}
    options = {name: getattr(actor, name) for name in _OPTIONS if hasattr(actor, name)}
    supervised = type(actor.__name__, (_Supervised, actor), called)
    return type(actor.__name__, (PykkaActor,), {**called, **options, "pykka_class": supervised})
