"""A message whose sender waits for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka.messages

from actors.exceptions import ActorDeadError

if TYPE_CHECKING:
    from actors.future import Future
    from actors.runtime.process import Process

__all__ = ["STOP", "ActorStop", "Envelope", "refuse"]

ActorStop: type = pykka.messages._ActorStop  # pykka's own message behind `ref.stop()`; there is no public name
STOP = ActorStop()


class Envelope:
    """A message whose sender waits for an answer."""

    __slots__ = ("message", "reply_to")

    def __init__(self, message: Any, reply_to: Future[Any]) -> None:
        self.message, self.reply_to = message, reply_to


def refuse(item: Any, process: Process) -> None:
    """Answer a message that will never be handled; who asked for the end has what he asked for."""
    if type(item) is not Envelope or item.reply_to.done:
        return
    if type(item.message) is ActorStop:
        item.reply_to.set(True)
    else:
        item.reply_to.set_exception(ActorDeadError(f"{process.name} is dead"))
