"""What a mailbox holds beside plain messages: requests to the actor, and requests to the runtime about it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
import pykka.messages

from actors.exceptions import ActorDeadError
from actors.exits import ExitReason, Refuse
from actors.log import Log
from actors.runtime.receipt import Receipt

if TYPE_CHECKING:
    from actors.future import Future

__all__ = [
    "STOP",
    "STOPS",
    "ActorStop",
    "Admitted",
    "Answer",
    "Carried",
    "Continue",
    "Envelope",
    "StopFor",
    "SystemCall",
    "bare",
    "refuse",
]

_log = Log("ashtree.telemetry")

P = TypeVar("P")

ActorStop: type = pykka.messages._ActorStop  # pykka's own message behind `ref.stop()`; there is no public name
STOP = ActorStop()


class StopFor(msgspec.Struct, frozen=True, eq=False):
    """The message behind `ref.stop(reason=…)`; pykka's own has no reason."""

    reason: ExitReason


STOPS = frozenset((ActorStop, StopFor))
"""The messages that stop an actor when it has handled those before them."""


class Envelope:
    """A message whose sender waits for a reply, or has given it a receipt."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: object, reply_to: Future[Any] | Receipt) -> None:
        self.message, self.reply_to = message, reply_to

    @property
    def is_asked(self) -> bool:
        """Whether the sender waits for a reply."""
        return not isinstance(self.reply_to, Receipt)


class Carried:
    """A message with the trace context of its sender, which is made current around its handler: see `actors/propagation.py`."""

    __slots__ = ("_attach", "_detach", "_value", "message")

    def __init__(
        self, message: object, value: object, attach: Callable[[Any], object], detach: Callable[[Any], object]
    ) -> None:
        self.message = message
        self._value, self._attach, self._detach = value, attach, detach

    def handle(self, receive: Callable[[object], object]) -> object:
        """Return `receive(message)`, called with the trace context; so is the coroutine, if it is one."""
        with self._attached():
            result = receive(self.message)
        return self._finish(result) if type(result) is CoroutineType else result

    async def _finish(self, coroutine: Coroutine[Any, Any, object]) -> object:
        with self._attached():
            return await coroutine

    @contextmanager
    def _attached(self) -> Iterator[None]:
        """Attach the trace context inside the block; what fails is logged, and the handler runs without."""
        try:
            token = self._attach(self._value)
        except Exception:  # noqa: BLE001  # the actor must not fail with it
            _log.exception("the trace context of a message could not be attached")
            yield
            return
        try:
            yield
        finally:
            try:
                self._detach(token)
            except Exception:  # noqa: BLE001  # as above
                _log.exception("the trace context of a message could not be detached")


class Continue:
    """A message of an actor to itself that is handled before its mailbox."""

    __slots__ = ("message",)

    def __init__(self, message: object) -> None:
        self.message = message


class Admitted:
    """A message in a bounded mailbox, and whether it has a place there: see `actors/runtime/bounded_process.py`."""

    __slots__ = ("has_place", "message")

    def __init__(self, message: object) -> None:
        self.message, self.has_place = message, False


def bare(item: object) -> object:
    """Return the message in what a mailbox holds."""
    if type(item) is Envelope:
        item = item.message
    if type(item) is Admitted or type(item) is Continue:
        item = item.message
    return item.message if type(item) is Carried else item


class SystemCall(Generic[P]):
    """A request to the runtime about an actor: it waits in the mailbox like any other, and the runtime replies."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[P], object]) -> None:
        self._function = function

    def answer(self, process: P) -> Answer:
        """Call the function with the process; an error in it is the caller's, not the actor's."""
        try:
            return Answer(self._function(process))
        except BaseException as error:  # noqa: BLE001  # see above
            return Answer(Refuse(error))


class Answer:
    """The reply to a `SystemCall`. It ends the turn, since the process may now be suspended, or traced."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


class Named(Protocol):
    """A process, as far as an error names it."""

    @property
    def name(self) -> str:
        """Its name, for people."""


def refuse(item: object, process: Named) -> None:
    """Reply to a message that a process will never handle; a caller of `stop()` gets what it asked for."""
    if type(item) is not Envelope or item.reply_to.done:
        return
    if type(item.message) in STOPS:
        item.reply_to.set(True)
    else:
        item.reply_to.set_exception(ActorDeadError(f"{process.name} is dead"))
