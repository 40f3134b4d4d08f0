"""What an actor keeps of whoever asked it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.exits import refusal

if TYPE_CHECKING:
    from actors.future import Future
    from actors.runtime.mailbox import Mailbox

__all__ = ["From"]


class From:
    """Who asked, kept to be answered later (OTP's `from`): by this actor or any other one, from any thread.

    The first answer counts. One that comes when nobody waits any more is dropped: the question was told and not asked, its
    time was over, or the actor that kept this has ended, at which whoever asked got ActorDeadError.
    """

    __slots__ = ("_future", "_process")

    def __init__(self, process: Mailbox, future: Future[Any] | None) -> None:
        self._process, self._future = process, future

    def __repr__(self) -> str:
        return f"<From, a question to {self._process.name}{'' if self.is_waiting else ', over'}>"

    @property
    def is_waiting(self) -> bool:
        """Tell whether the question is still without an answer."""
        return self._future is not None and not self._future.done

    def reply(self, value: Any = None) -> None:
        """Answer."""
        self._in_loop(lambda future: future.set(value))

    def refuse(self, error: BaseException) -> None:
        """Answer with an exception, which the actor that kept this survives.

        Raises:
            TypeError: if it is no exception.
        """
        refusal(error)
        self._in_loop(lambda future: future.set_exception(error))

    def _in_loop(self, answer: Callable[[Future[Any]], None]) -> None:
        if self._future is not None:
            self._process.scheduler.run_or_post(self._process.answer, self._future, answer)
