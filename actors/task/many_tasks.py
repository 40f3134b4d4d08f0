"""Tasks that are waited for together (Elixir's `Task.await_many` and `Task.yield_many`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from actors.exceptions import BlockingCallError, Timeout
from actors.future import Future, shared_future
from actors.redaction import safe_repr
from actors.runtime.waits import must_not_block
from actors.task.task_actor import TIMED_OUT

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.exits import ExitReason
    from actors.runtime.scheduler import Scheduler

__all__ = ["Awaited", "ManyTasks", "checked_tasks"]


class Awaited(Protocol):
    """A `Task`, as far as it is waited for together with others."""

    @property
    def scheduler(self) -> Scheduler:
        """What runs its actor."""

    @property
    def label(self) -> str:
        """The name of the function."""

    @property
    def linked(self) -> bool:
        """Whether it is linked to its owner."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def has_failed(self) -> bool:
        """Whether it has ended without a result."""

    @property
    def exit_reason(self) -> ExitReason | None:
        """The reason with which it ended, or None."""

    def get(self) -> Any:
        """Return its result, or raise what it raised."""

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback(task)` when it has ended."""

    def end(self, reason: ExitReason) -> None:
        """Ask it to exit with this reason."""


K = TypeVar("K", bound=Awaited)

_NAMED = 5
"""How many tasks an error names."""


class ManyTasks(Generic[K]):
    """Tasks, and a future that is answered when all have ended or, with `fail_fast`, one of them has failed."""

    def __init__(self, tasks: Iterable[K], *, fail_fast: bool) -> None:
        self._tasks = list(tasks)
        self._fail_fast = fail_fast
        self._ended = count(1)
        self._failed: K | None = None
        self.over: Future[None] = shared_future(self._tasks[0].scheduler) if self._tasks else Future()
        if not self._tasks:
            self.over.set(None)
        for task in self._tasks:
            task.add_done_callback(self._on_done)

    def _on_done(self, task: K) -> None:
        ended = next(self._ended)  # tasks may end in several threads
        if self._fail_fast and self._failed is None and task.has_failed:
            self._failed = task
        if ended == len(self._tasks) or self._failed is not None:
            with contextlib.suppress(RuntimeError):  # it is answered once, by the first
                self.over.set(None)

    def must_not_hang(self, call: str, instead: str) -> None:
        """Raise BlockingCallError if waiting in this thread would block the event loop of a task, or another one."""
        running = [task for task in self._tasks if not task.done]
        if not all(task.scheduler.may_block() for task in running):
            raise BlockingCallError(call, instead=instead)
        if running:
            must_not_block(call, instead=instead)

    def results(self) -> list[Any]:
        """Return the results, in the order of the tasks; raise what the first one raised that has failed."""
        try:
            return [self._failed.get()] if self._failed is not None else [task.get() for task in self._tasks]
        finally:
            del self  # of the frame in the traceback of an exception, which would be a cycle

    def reasons(self) -> list[tuple[K, ExitReason | None]]:
        """Return each task with the reason with which it ended, or None."""
        return [(task, task.exit_reason) for task in self._tasks]

    def late(self, timeout: float) -> Timeout:
        """End the linked tasks that have no result; return the error of all that have none."""
        late = [task for task in self._tasks if not task.done]
        for task in late:
            if task.linked:
                task.end(TIMED_OUT)
        names = ", ".join(task.label for task in late[:_NAMED]) + (", …" if len(late) > _NAMED else "")
        return Timeout(f"{len(late)} of {len(self._tasks)} tasks have no result after {timeout:g} seconds: {names}")


def checked_tasks(call: str, tasks: Any, kind: type) -> list[Any]:
    """Return the tasks that were passed to `call`.

    Raises:
        TypeError: if it is not a list of tasks.
    """
    given = list(tasks) if isinstance(tasks, Iterable) else None
    if given is None or not all(isinstance(task, kind) for task in given):
        raise TypeError(f"{call} takes a list of tasks, got {safe_repr(tasks)}")
    return given
