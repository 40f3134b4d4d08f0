"""What tells the sender of a message that it has been handled."""

from __future__ import annotations

__all__ = ["Receipt"]


class Receipt:
    """What a mailbox keeps in the place of a caller's future when the sender only needs to know that a message is over.

    `over` is called once: when the handler has returned, the actor has crashed, or it is dead. The reply does not matter.
    """

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def over(self) -> None:
        """The message has been handled, or never will be."""
        raise NotImplementedError

    def set(self, _value: object = None) -> None:
        """Take the reply as the sign that the message is over."""
        if not self.done:
            self.done = True
            self.over()

    def set_exception(self, _error: BaseException, /) -> None:
        """Take the exception as the sign that the message is over."""
        self.set()

    refuse = set_exception
