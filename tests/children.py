"""Runs functions in forked processes, as an application does that forks while its actors run."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

__all__ = ["LIMIT", "fork", "in_child", "needs_fork", "outcome_of", "runs", "sleeping_child", "wait_for"]

T = TypeVar("T")

LIMIT = 20
"""Seconds that a child may take; then SIGALRM ends it, and the test fails."""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def fork() -> int:
    """Fork; the child is ended after `LIMIT` seconds."""
    with warnings.catch_warnings():
        # From Python 3.12 on: the threads of the parent do not exist in the child, which is what these tests are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT)
    return child


def wait_for(child: int) -> int:
    """Wait for a child; return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(function: Callable[[], T]) -> T:
    """Call a function in a forked process, and return what it returned there, or raise what it raised."""
    reading, writing = os.pipe()
    child = fork()
    if not child:
        os.close(reading)
        _report(writing, function)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    status = wait_for(child)
    assert status == 0, f"the child ended with {status}"
    result, error = pickle.loads(data)  # noqa: S301  # from our own child
    if error is not None:
        raise error
    value: T = result
    return value


def outcome_of(function: Callable[[], object]) -> str:
    """Return the class and the text of what a function raises in a forked process; else the text of what it returns."""

    def attempt() -> str:
        try:
            return repr(function())
        except BaseException as error:  # noqa: BLE001  # that is the outcome
            return f"{type(error).__name__}: {error}"

    return in_child(attempt)


def _report(writing: int, function: Callable[[], Any]) -> None:
    """Write the outcome and end the child, whatever happens."""
    try:
        outcome: tuple[Any, BaseException | None]
        try:
            outcome = (function(), None)
        except BaseException as error:  # noqa: BLE001  # it is raised in the parent
            outcome = (None, error)
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)
    except BaseException:  # noqa: BLE001  # the child must not return into the test
        traceback.print_exc()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(3)


def runs(process_id: int) -> bool:
    """Return whether there is such a process; one that has ended and that its parent has not waited for does not run."""
    with suppress(OSError):
        # Behind the name, which is in parentheses, is the state.
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def sleeping_child() -> Iterator[int]:
    """A forked process that has the descriptors of its parent and does nothing, until the end of the block."""
    reading, writing = os.pipe()
    child = fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # returns when the parent closes its end
        os._exit(0)
    os.close(reading)
    try:
        yield child
    finally:
        os.close(writing)
        wait_for(child)
