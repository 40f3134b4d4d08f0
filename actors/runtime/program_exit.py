"""Exceptions that are meant for the program and not for one actor: Ctrl-C, SystemExit, and what ends a test of pytest's.

The actor that raises one ends as with any other exception: its crash is reported, its callers get ActorDeadError, its links and
monitors are notified. Then the exception leaves the event loop, from a callback of its own (`Scheduler.leave`), so that it ends
the program or the test.

An event loop lets only KeyboardInterrupt and SystemExit pass. An outcome of pytest, as of `pytest.fail()`, leaves it in an
`OutcomeExit`, from which our pytest plugin and `ManualRuntime` take it out again.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextvars import Context

from actors.runtime.current import scheduler_of_thread

__all__ = [
    "Departure",
    "OutcomeExit",
    "claim",
    "is_program_exit",
    "keep",
    "leave",
    "program_exit_of",
    "through_loop",
    "unclaimed",
    "unwrapped",
]

_EXITS = (KeyboardInterrupt, SystemExit)

_exceptions_of = vars(BaseExceptionGroup)["exceptions"].__get__

# Of loops in threads of ours. The background loop has no owner who stops it, so the pytest plugin looks here after each test.
_kept: deque[BaseException] = deque(maxlen=10)


class OutcomeExit(KeyboardInterrupt):
    """Carries the outcome of a test through an event loop."""

    def __init__(self, outcome: BaseException) -> None:
        self.outcome = outcome
        super().__init__(f"the outcome of a test: {type(outcome).__name__}")


def is_program_exit(error: BaseException) -> bool:
    """Return whether an exception is meant for the program, and not only for the actor that raised it."""
    return program_exit_of(error) is not None


def program_exit_of(error: BaseException) -> BaseException | None:
    """Return what of an exception is meant for the program: itself, or one in it if it is a group, as of a TaskGroup."""
    # By its type: `isinstance` also looks at `__class__`, which may be an author's property that raises.
    kind = type(error)
    if issubclass(kind, _EXITS) or _is_outcome(error):
        return error
    if not issubclass(kind, BaseExceptionGroup):
        return None
    return next(filter(None, map(program_exit_of, _exceptions_of(error))), None)


def _is_outcome(error: BaseException) -> bool:
    # Of a test runner that is running; it is not imported otherwise.
    outcomes = sys.modules.get("_pytest.outcomes")
    return outcomes is not None and issubclass(type(error), (outcomes.OutcomeException, outcomes.Exit))


def through_loop(error: BaseException) -> BaseException:
    """Return what to raise in a callback of an event loop, so that an exception that is meant for the program passes it."""
    return OutcomeExit(error) if _is_outcome(error) else error


def unwrapped(error: BaseException) -> BaseException:
    """Return the exception that was to pass an event loop."""
    return error.outcome if type(error) is OutcomeExit else error


class Departure:
    """A callback of an event loop by which an exception leaves it, once.

    The task that runs now may be the one for which the loop runs, and may end at once, with the answer of the actor that
    crashed. Then its callbacks stop the loop, and the exception leaves after that: otherwise the next run of the loop would be
    stopped, such as that in which `asyncio.run` closes what is left.
    """

    def __init__(self, error: BaseException, loop: asyncio.AbstractEventLoop) -> None:
        self._error: BaseException | None = through_loop(error)
        self._loop = loop
        self._task = asyncio.current_task() if loop.is_running() and _running_loop() is loop else None
        if self._task is not None:
            self._task.add_done_callback(self._after_task, context=Context())

    def __call__(self) -> None:
        """Raise it, unless the task has ended meanwhile."""
        if self._task is None or not self._task.done():
            self._raise()

    def _after_task(self, _: object) -> None:
        if isinstance(self._loop, asyncio.BaseEventLoop):
            self._raise()
        else:
            # uvloop stops in a callback of its own.
            self._loop.call_soon(self._raise, context=Context())

    def _raise(self) -> None:
        error, self._error, self._task = self._error, None, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # the traceback refers to this frame


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def leave(error: BaseException, *, of_report: bool = False) -> None:
    """Let an exception that is meant for the program leave the event loop of this thread's actors; do nothing with others.

    It is raised here in a thread without actors. `of_report`: it was raised by an author's `__str__` or log handler, of which
    only an interruption, as by Ctrl-C, is meant for the program.
    """
    exit_ = program_exit_of(error)
    if exit_ is None or (of_report and issubclass(type(exit_), SystemExit)):
        return
    scheduler = scheduler_of_thread()
    if scheduler is None:
        raise exit_
    scheduler.leave(exit_)


def keep(error: BaseException) -> None:
    """Keep the outcome of a test that has left a loop in a thread of ours, until its owner or the test claims it."""
    if _is_outcome(error):
        _kept.append(error)


def claim(error: BaseException) -> None:
    """Forget an outcome that was kept, as it is raised."""
    if error in _kept:
        _kept.remove(error)


def unclaimed() -> BaseException | None:
    """Return the first outcome of a test that was kept and that no code has raised, and forget all; None if there is none."""
    first = _kept[0] if _kept else None
    _kept.clear()
    return first
