"""Which actor waits for which: a cycle of waits raises at once, instead of ending in timeouts.

An actor counts as waiting for another one while its handler, its `on_start` or the function of a task waits for a reply, for
the result of a task, or for the start or the end of an actor; so does a supervisor that waits for a child. What asyncio tasks
that it started wait for is not followed. A request that was deferred with `reply_later` may be answered by any actor, so it
closes no cycle.
"""

from __future__ import annotations

from contextlib import suppress

from actors.exceptions import AskCycleError, BlockingCallError
from actors.runtime.current import Question, Waiter, current_actor, is_on_a_loop

__all__ = ["must_not_block", "waiting"]


class waiting:  # noqa: N801  # reads as a phrase: with waiting(future)
    """Marks the actor that runs in this thread, if any, as waiting for a future inside the block.

    With `blames_others`, for a supervisor, which must go on, a cycle fails the first request of the others in it.

    Raises:
        AskCycleError: if that future would never be answered.
    """

    __slots__ = ("_blames_others", "_question", "_waiter")

    def __init__(self, question: Question, *, blames_others: bool = False) -> None:
        self._question, self._waiter = question, current_actor()
        self._blames_others = blames_others

    def __enter__(self) -> None:
        waiter, question = self._waiter, self._question
        if waiter is None:
            return
        # Recorded before the check: of two actors in two threads that begin to wait for each other, one sees the other. And
        # recorded even if it is not known yet who answers, as of a task that is about to be started.
        waiter.waits_for = question
        asked = question.asked
        if asked is None or asked.waits_for is None:  # the common case
            return
        chain = _cycle(waiter)
        if chain and self._blames_others:
            _fail_first(chain)
        elif chain:
            waiter.waits_for = None
            raise _error(chain)

    def __exit__(self, *_exc: object) -> None:
        if self._waiter is not None:
            self._waiter.waits_for = None


def _cycle(waiter: Waiter) -> list[Waiter]:
    """Return the actors that wait for each other, from this one on, or none."""
    chain: dict[Waiter, None] = {}
    process: Waiter | None = waiter
    while process is not None:
        if process in chain:
            # A cycle that does not include `waiter` is reported to the actors in it.
            return list(chain) if process is waiter else []
        chain[process] = None
        question = process.waits_for
        process = None if question is None else _debtor(question)
    return []


def _debtor(question: Question) -> Waiter | None:
    """Return the only process that can answer, or None."""
    asked = question.asked
    return None if asked is None or question.done or asked.has_deferred(question) else asked


def _fail_first(chain: list[Waiter]) -> None:
    for process in chain[1:]:
        question = process.waits_for
        if question is not None and question.may_fail:
            with suppress(RuntimeError):  # it has been answered meanwhile
                question.set_exception(_error(chain))
            return


def _error(chain: list[Waiter]) -> AskCycleError:
    return AskCycleError([process.name for process in [*chain, chain[0]]])


def must_not_block(call: str, *, instead: str) -> None:
    """Raise BlockingCallError if the caller runs on an event loop, whichever it is: everything on it would stand still."""
    if is_on_a_loop():
        instead += "; an actor that has to block is a ThreadedActor"
        raise BlockingCallError(call, instead=instead, why="would block the event loop that it is called on")
