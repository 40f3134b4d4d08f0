"""Which actor waits for which: a cycle of asks raises at once, instead of ending in timeouts.

An actor counts as waiting while its handler awaits the reply to its own `ask`; what tasks that it started wait for is not
followed. A request that was deferred with `reply_later` may be answered by any actor, so it closes no cycle.
"""

from __future__ import annotations

from actors.exceptions import AskCycleError, BlockingCallError
from actors.runtime.current import Question, Waiter, current_actor, is_on_a_loop

__all__ = ["must_not_block", "waiting"]


class waiting:  # noqa: N801  # reads as a phrase: with waiting(future)
    """Marks the actor that runs in this thread, if any, as waiting for a future inside the block.

    Raises:
        AskCycleError: if that future would never be answered.
    """

    __slots__ = ("_question", "_waiter")

    def __init__(self, question: Question) -> None:
        self._question, self._waiter = question, current_actor()

    def __enter__(self) -> None:
        waiter, asked = self._waiter, self._question.asked
        if waiter is not None and asked is not None:
            # Recorded before the check: of two actors in two threads that begin to wait for each other, one sees the other.
            waiter.waits_for = self._question
            try:
                _check_cycle(waiter, asked)
            except AskCycleError:
                waiter.waits_for = None
                raise

    def __exit__(self, *_exc: object) -> None:
        if self._waiter is not None:
            self._waiter.waits_for = None


def _check_cycle(waiter: Waiter, asked: Waiter) -> None:
    """Raise if `asked`, directly or through others, waits for `waiter`."""
    chain, process = [waiter, asked], asked
    while process is not waiter:
        question = process.waits_for
        target = None if question is None else _debtor(question)
        # A cycle further on that does not include `waiter` is reported to the actors in it.
        if target is None or target in chain[1:]:
            return
        chain.append(target)
        process = target
    raise AskCycleError([process.name for process in chain])


def _debtor(question: Question) -> Waiter | None:
    """Return the only process that can answer, or None."""
    asked = question.asked
    return None if asked is None or question.done or asked.has_deferred(question) else asked


def must_not_block(call: str, *, instead: str) -> None:
    """Raise BlockingCallError if the caller runs on an event loop, whichever it is: everything on it would stand still."""
    if is_on_a_loop():
        instead += "; an actor that has to block is a ThreadedActor"
        raise BlockingCallError(call, instead=instead, why="would block the event loop that it is called on")
