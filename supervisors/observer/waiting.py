"""How a person at a prompt waits for actors: in whatever thread the prompt is, and never so that they cannot answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from actors.exceptions import ActorDeadError, Timeout
from actors.future import Future

if TYPE_CHECKING:
    from actors.lowlevel import Scheduler

__all__ = ["after", "answer", "look", "settle"]

T = TypeVar("T")

# Seconds, as in `actors.sys`.
_TIMEOUT = 5.0

# Seconds after which a loop is taken for busy, by those who can do without it.
_PATIENCE = 0.1


def look(scheduler: Scheduler, function: Callable[[], T], timeout: float = _TIMEOUT) -> T:
    """Return what `function()` returns on the loop's own thread, once the actors have dealt with what they were sent before.

    Those that wait for something are not waited for. On that thread it is called at once; in all others this blocks for as long
    as the loop is busy.

    Raises:
        pykka.Timeout: if the loop is busy for more than `timeout` seconds.
    """

    def run() -> T:
        scheduler.run_at_once()
        return function()

    if not scheduler.may_block():
        return run()
    seen: Future[T] = Future(scheduler, timeout=timeout)
    scheduler.post(seen.answer_with, run)
    return seen.get()


def settle(scheduler: Scheduler) -> None:
    """Let the actors deal with what they were sent before, unless their loop is busy, or does not run."""
    if not scheduler.is_serving():
        return
    with suppress(Timeout, ActorDeadError):
        look(scheduler, lambda: None, _PATIENCE)


def answer(scheduler: Scheduler, future: Future[T]) -> T | Future[T]:
    """Wait for an answer and return it; on the loop's own thread, where that would hang, return the future to be awaited."""
    if scheduler.may_block():
        return future.get()
    scheduler.run_at_once()
    return future


def after(scheduler: Scheduler, seconds: float) -> Future[None]:
    """Return a future that is answered when some seconds have gone by on the clock of the actors."""
    over: Future[None] = Future(scheduler)
    scheduler.run_or_post(scheduler.clock.call_after, seconds, over.set)
    return over
