"""The caller of an `ask`, kept to be answered later."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref as weak_ref

from actors.callbacks import check_reply
from actors.pickling import Local
from actors.validation import check_refusal

if TYPE_CHECKING:
    from actors.future import Future, Runtime

__all__ = ["From"]


class Asked(Protocol):
    """The process that was asked."""

    @property
    def name(self) -> str:
        """Its name, for people."""

    @property
    def scheduler(self) -> Runtime:
        """The scheduler of its event loop."""

    def answer(self, future: Future[Any], answer: Callable[[Future[Any]], object]) -> None:
        """Answer a deferred request, unless it is over."""


class From(Local):
    """The caller of a request, kept to reply later (OTP's `from`): by this actor or any other, from any thread.

    The first reply counts. A reply is dropped when no caller waits for it: the message was sent without asking, the caller's
    timeout is over, it was cancelled, or the actor that kept this has ended, at which its caller got ActorDeadError.
    """

    __slots__ = ("_caller", "_process")

    def __init__(self, process: Asked, future: Future[Any] | None) -> None:
        self._process = process
        # Weakly: kept here for long, it must not keep a caller that has stopped waiting.
        self._caller = None if future is None else weak_ref(future)

    def __repr__(self) -> str:
        return f"<From, a question to {self._process.name}{'' if self.is_waiting else ', over'}>"

    @property
    def is_waiting(self) -> bool:
        """Whether a caller waits, and has no reply yet."""
        future = self._future()
        return future is not None and not future.done

    def _future(self) -> Future[Any] | None:
        return None if self._caller is None else self._caller()

    def reply(self, value: object = None) -> None:
        """Reply with a value.

        Raises:
            TypeError: if it would have to be awaited first.
        """
        check_reply(value)
        self._answer(lambda future: future.set(value))

    def refuse(self, error: BaseException) -> None:
        """Reply with an exception, which the actor that kept this survives.

        Raises:
            TypeError: if `error` is not an exception.
        """
        check_refusal(error)
        self._answer(lambda future: future.refuse(error))

    def _answer(self, answer: Callable[[Future[Any]], object]) -> None:
        future = self._future()
        if future is not None:
            self._process.scheduler.run_or_post(self._process.answer, future, answer)
