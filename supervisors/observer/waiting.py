"""How a prompt waits for actors, whichever thread it is in, without ever keeping them from replying."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from actors.exceptions import ActorDeadError, Timeout
from actors.future import Future

if TYPE_CHECKING:
    from actors.lowlevel import Scheduler

__all__ = ["after", "answer", "inspect", "settle"]

T = TypeVar("T")

# Seconds, as in `actors.sys`.
_TIMEOUT = 5.0

# Seconds after which a loop counts as busy, for commands that can do without it.
_PATIENCE = 0.1


def inspect(scheduler: Scheduler, function: Callable[[], T], timeout: float = _TIMEOUT) -> T:
    """Return the result of `function()` on the loop's own thread, called once the actors have handled their earlier messages.

    Actors that are waiting for something are not waited for. On that thread it is called at once; in any other thread this
    blocks for as long as the loop is busy.

    Raises:
        pykka.Timeout: if the loop is busy for more than `timeout` seconds.
    """

    def run() -> T:
        scheduler.run_at_once()
        return function()

    if not scheduler.may_block():
        return run()
    seen: Future[T] = Future(scheduler, timeout=timeout)
    seen.may_block_loops = True
    scheduler.post(seen.answer_with, run)
    return seen.get()


def settle(scheduler: Scheduler) -> None:
    """Wait until the actors have handled their earlier messages, unless their loop is busy, or not running."""
    if not scheduler.is_serving():
        return
    with suppress(Timeout, ActorDeadError):
        inspect(scheduler, lambda: None, _PATIENCE)


def answer(scheduler: Scheduler, future: Future[T]) -> T | Future[T]:
    """Wait for a result and return it; on the loop's own thread, where that would hang, return the future to await."""
    if scheduler.may_block():
        future.may_block_loops = True
        return future.get()
    scheduler.run_at_once()
    return future


def after(scheduler: Scheduler, seconds: float) -> Future[None]:
    """Return a future that is done after some seconds on the clock of the actors."""
    over: Future[None] = Future(scheduler)
    scheduler.run_or_post(scheduler.clock.call_after, seconds, over.set)
    return over
