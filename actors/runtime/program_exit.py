"""Exceptions that are meant for the program and not for one actor: Ctrl-C, SystemExit, and what ends a test of pytest's.

The actor that raises one ends as with any other exception: its crash is reported, its callers get ActorDeadError, its links and
monitors are notified. Then the exception leaves the event loop, from a callback of its own (`Scheduler.leave`), so that it ends
the program or the test.

An event loop lets only KeyboardInterrupt and SystemExit pass. An outcome of pytest, as of `pytest.fail()`, leaves it in an
`OutcomeExit`, from which our pytest plugin and `ManualRuntime` take it out again.
"""

from __future__ import annotations

import sys

from actors.runtime.current import scheduler_of_thread

__all__ = ["OutcomeExit", "is_program_exit", "leave", "through_loop", "unwrapped"]


class OutcomeExit(KeyboardInterrupt):
    """Carries the outcome of a test through an event loop."""

    def __init__(self, outcome: BaseException) -> None:
        self.outcome = outcome
        super().__init__(f"the outcome of a test: {type(outcome).__name__}")


def is_program_exit(error: BaseException) -> bool:
    """Return whether an exception is meant for the program, and not only for the actor that raised it."""
    return isinstance(error, KeyboardInterrupt | SystemExit) or _is_outcome(error)


def _is_outcome(error: BaseException) -> bool:
    # Of a test runner that is running; it is not imported otherwise.
    outcomes = sys.modules.get("_pytest.outcomes")
    return outcomes is not None and isinstance(error, (outcomes.OutcomeException, outcomes.Exit))


def through_loop(error: BaseException) -> BaseException:
    """Return the exception with which an exception that is meant for the program passes an event loop."""
    return error if isinstance(error, KeyboardInterrupt | SystemExit) else OutcomeExit(error)


def unwrapped(error: BaseException) -> BaseException:
    """Return the exception that was to pass an event loop."""
    return error.outcome if isinstance(error, OutcomeExit) else error


def leave(error: BaseException, *, of_report: bool = False) -> None:
    """Let an exception that is meant for the program leave the event loop of this thread's actors; do nothing with others.

    It is raised here in a thread without actors. `of_report`: it was raised by an author's `__str__` or log handler, of which
    only an interruption, as by Ctrl-C, is meant for the program.
    """
    if not is_program_exit(error) or (of_report and isinstance(error, SystemExit)):
        return
    scheduler = scheduler_of_thread()
    if scheduler is None:
        raise error
    scheduler.leave(error)
