"""Who waits for whom: asks that go round in a circle are told at once, not after their time-outs.

An actor is taken to wait while its handler awaits the answer of an `ask` itself; what tasks that it started wait for is not
followed. A question that was put off with `reply_later` may be answered by anybody, so it closes no circle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.exceptions import AskCycleError
from actors.runtime.scheduler import Scheduler, actor_of_thread

if TYPE_CHECKING:
    from actors.future import Future
    from actors.runtime.process import Process

__all__ = ["waiting"]


class waiting:  # noqa: N801  # reads as the phrase it is: with waiting
    """Let the actor that runs in this thread, if one does, wait for a future inside the block.

    Raises:
        AskCycleError: if that can come to no end.
    """

    __slots__ = ("_future", "_waiter")

    def __init__(self, future: Future[Any]) -> None:
        self._future, self._waiter = future, _current()

    def __enter__(self) -> None:
        waiter, asked = self._waiter, self._future.asked
        if waiter is not None and asked is not None:
            # Noted before it is checked: of two actors in two threads that begin to wait for each other, one sees the other.
            waiter.waits_for = self._future
            try:
                _check_cycle(waiter, asked)
            except AskCycleError:
                waiter.waits_for = None
                raise

    def __exit__(self, *_exc: object) -> None:
        if self._waiter is not None:
            self._waiter.waits_for = None


def _current() -> Process | None:
    """Return the actor whose code runs in this thread now."""
    actor = actor_of_thread()
    if actor is not None:
        return actor
    scheduler = Scheduler.of_thread()
    return None if scheduler is None else scheduler.current


def _check_cycle(waiter: Process, asked: Process) -> None:
    """Look whether `asked`, directly or through others, waits for `waiter`."""
    chain, process = [waiter, asked], asked
    while process is not waiter:
        future = process.waits_for
        target = None if future is None else _debtor(future)
        # A circle further on that does not lead back here is reported to those who are in it.
        if target is None or target in chain[1:]:
            return
        chain.append(target)
        process = target
    raise AskCycleError([process.name for process in chain])


def _debtor(future: Future[Any]) -> Process | None:
    """Return the actor that alone can give the answer."""
    asked = future.asked
    if asked is None or future.done or (asked.deferred is not None and future in asked.deferred):
        return None
    return asked
