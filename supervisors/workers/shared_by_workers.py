"""What the workers of a program share: which children of a system are opened once for all of them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from actors.redaction import safe_repr
from actors.validation import is_count
from supervisors.child_spec import ChildSpec

__all__ = ["SharedByWorkers", "check_workers", "shared_by_workers"]


@runtime_checkable
class SharedByWorkers(Protocol):
    """A child of a `System` that is opened once for all workers, as endpoints are.

    `System.run(workers=…)` calls these methods of its children that have them, those in the lists of their supervisors too.
    """

    def before_fork(self, workers: int) -> object:
        """Open what the workers share; called in the parent, once, before there are any.

        Raises:
            UnavailableError: if that is not possible; the program ends with one line.
        """

    def in_worker(self, number: int) -> object:
        """Use what was opened; called in the worker with this number, counted from 0, before its system starts."""

    def without_worker(self, number: int) -> object:
        """Close what was for a worker that has ended, as no other one takes its place; called in the parent."""

    def after_workers(self) -> object:
        """Close what was opened; called in the parent when there are no workers any more."""


def shared_by_workers(children: Iterable[object]) -> list[SharedByWorkers]:
    """Return the children that workers share, in their order, those in the lists that are arguments of children too."""
    return list(_found(children))


def _found(values: Iterable[object]) -> Iterator[SharedByWorkers]:
    for value in values:
        if isinstance(value, ChildSpec):
            yield from _found((*value.args, *value.kwargs.values()))
        elif isinstance(value, list | tuple):
            yield from _found(value)
        elif isinstance(value, SharedByWorkers) and not isinstance(value, type):
            yield value


def check_workers(workers: object) -> None:
    """Raise unless a program can have so many workers.

    Raises:
        ValueError: if it is no number of processes, or if this platform cannot fork.
        RuntimeError: in another thread than the main one, which gets the signals.
    """
    if not is_count(workers, 1):
        raise ValueError(f"workers must be a number of processes >= 1, or None, got {safe_repr(workers)}")
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("run(workers=…) watches over processes by their signals: call it in the main thread")
    if not hasattr(os, "fork"):
        raise ValueError("workers need os.fork, which this platform does not have: start several programs")
