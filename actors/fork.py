"""Forks: what a child process that `os.fork` has made may use of what it has inherited.

Only the thread that forked exists in the child. Event loops, actors, connections and clients of the parent do not run there,
and their descriptors are shared with it: using them would take from the parent what its clients have sent. So all of them
raise ForkedError in the child, at once (`actors/runtime/forked_scheduler.py`). What the child makes itself works.

A lock that another thread held at the fork would never be released in the child. Those of this package are made here, and are
free there (as logging's are); what they guard is consistent after each single step, or is emptied in the child.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar
from weakref import WeakSet

from actors.exceptions import ForkedError
from actors.traceback_locals import chain_of

__all__ = ["check_process", "forking_task", "free_after_fork", "in_child", "leave_child", "parent_id", "shut_down"]

_log = logging.getLogger("ashtree.actors")

Guard = TypeVar("Guard")

_guards: WeakSet[Any] = WeakSet()

_processes = [os.getpid()]
"""The ids of this process, and of those from which it was forked, the first one first."""

_SOFTWARE_ERROR = 70
"""`EX_SOFTWARE` of sysexits.h."""


def in_child(callback: Callable[[], object]) -> None:
    """Call `callback()` in each forked child, before `os.fork` returns there; in the order of these calls."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=callback)


def free_after_fork(guard: Guard) -> Guard:
    """Return a lock, condition or event that is free in forked children, whichever thread holds it at the fork."""
    _guards.add(guard)
    return guard


def _begin() -> None:
    _processes.append(os.getpid())
    for guard in _guards:
        guard._at_fork_reinit()  # as the standard library does with its own


in_child(_begin)

_forking = threading.local()


def forking_task() -> asyncio.Task[Any] | None:
    """Return the task that has forked, if one has; in a callback of `in_child`."""
    task: asyncio.Task[Any] | None = _forking.task
    return task


def _keep_task() -> None:
    # Python 3.14 forgets the task of the thread in the child before it calls what was registered there.
    try:
        _forking.task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        _forking.task = None


def _forget_task() -> None:
    del _forking.task


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_keep_task, after_in_parent=_forget_task)


def parent_id() -> int:
    """Return the id of the process from which this one was forked; in a forked child."""
    return _processes[-2]


def check_process(made_in: int, what: object) -> None:
    """Raise ForkedError if this is not the process `made_in`, in which `what` was made."""
    if made_in != os.getpid():
        raise ForkedError(what, made_in)


def leave_child(error: BaseException | None = None) -> NoReturn:
    """End a child that returns to the event loop on which it was forked: that is the parent's, and shares its connections.

    A SystemExit on the way here ends it with its status.
    """
    exit_ = None if error is None else next((e for e in chain_of(error) if issubclass(type(e), SystemExit)), None)
    if exit_ is None:
        _log.critical(
            "process %d was forked on an event loop and returns to it: it ends here, as the event loop is its parent's; "
            "end such a child by os._exit(), or use multiprocessing",
            os.getpid(),
            exc_info=error,
        )
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # closed, or none
            stream.flush()
    os._exit(_status(exit_) if isinstance(exit_, SystemExit) else _SOFTWARE_ERROR)


def _status(exit_: SystemExit) -> int:
    """Return the exit status as the interpreter does for `sys.exit`."""
    if exit_.code is None:
        return 0
    return exit_.code & 0xFF if isinstance(exit_.code, int) else 1


def shut_down(transport: asyncio.BaseTransport) -> None:
    """Shut down the socket of a connection that is about to be closed.

    A child that was forked meanwhile has it open too: by closing it alone the peer would learn nothing while that child lives.
    """
    shared: socket.socket | None = transport.get_extra_info("socket")
    descriptor = -1 if shared is None else shared.fileno()
    if descriptor < 0:
        return
    # What uvloop shows as a socket has no `shutdown`. It is the same for all families; to look for the right one takes time.
    same = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    try:
        same.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # the peer was faster
    finally:
        same.detach()
