"""What stands in a mailbox beside plain messages: questions, to the actor and to the runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pykka.messages

from actors.exceptions import ActorDeadError
from actors.exits import Refuse

if TYPE_CHECKING:
    from actors.future import Future
    from actors.runtime.bonds import Bonds
    from actors.runtime.process import Process

__all__ = ["STOP", "ActorStop", "Answer", "Envelope", "SystemCall", "refuse"]

ActorStop: type = pykka.messages._ActorStop  # pykka's own message behind `ref.stop()`; there is no public name
STOP = ActorStop()


class Envelope:
    """A message whose sender waits for an answer."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: Future[Any]) -> None:
        self.message, self.reply_to = message, reply_to


class SystemCall:
    """A question to the runtime about an actor; it waits in the mailbox like any other, and the runtime answers it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[Process], Any]) -> None:
        self._function = function

    def answer(self, process: Process) -> Answer:
        """Do what is asked; a mistake in it is that of whoever asked, and not the actor's."""
        try:
            return Answer(self._function(process))
        except Exception as error:  # noqa: BLE001  # see above
            return Answer(Refuse(error))


class Answer:
    """The answer to a `SystemCall`. It ends the turn, as the process may be another one after it: suspended, or watched."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def refuse(item: Any, process: Bonds) -> None:
    """Answer a message that will never be handled; who asked for the end has what he asked for."""
    if type(item) is not Envelope or item.reply_to.done:
        return
    if type(item.message) is ActorStop:
        item.reply_to.set(True)
    else:
        item.reply_to.set_exception(ActorDeadError(f"{process.name} is dead"))
