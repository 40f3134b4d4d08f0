"""The event loop of a program, which closes whatever is left on it."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from actors.log import Log
from actors.lowlevel import DaemonExecutor, new_event_loop, thread_is_at
from actors.redaction import Lines

if TYPE_CHECKING:
    from supervisors.signals import Signals

__all__ = ["MainLoop"]

_log = Log("ashtree.supervisors")

MOMENT = 0.5
"""Seconds for tasks that were cancelled before, and at least for the others, at the end."""

THREADS = 1.0
"""Seconds for functions that run in threads, at the end, at most."""


class MainLoop:
    """Runs a coroutine on an event loop of its own, and closes the loop within the time that `signals` allow.

    `asyncio.run` waits for all tasks that it cancels, and for all threads of its executor: without an end, if one of them
    hangs. Here those that do not end are named in the log and left behind.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals
        self._loop = new_event_loop()
        self._executor = DaemonExecutor()
        self._loop.set_default_executor(self._executor)

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run `main`; if something else ends the loop, such as SystemExit, cancel `main` and wait for its end."""
        asyncio.set_event_loop(self._loop)
        serving = self._loop.create_task(main)
        try:
            self._loop.run_until_complete(serving)
        finally:
            try:
                self._end(serving)
            finally:
                self._close()

    def _end(self, serving: asyncio.Task[None]) -> None:
        if not serving.done():
            serving.cancel()
            self._unfinished({serving}, math.inf)
        tasks = asyncio.all_tasks(self._loop)
        others = {task for task in tasks if not task.cancelling()}
        for task in others:
            task.cancel()
        # Those that were cancelled before have had their time.
        self._unfinished(others, self._seconds_left())
        stuck = self._unfinished(tasks, min(self._seconds_left(), MOMENT))
        for task in stuck:
            _log.warning("the task %s ignores its cancellation and is left behind", task.get_name())
        stuck |= self._unfinished({self._loop.create_task(self._loop.shutdown_asyncgens())}, self._seconds_left())
        if stuck:
            threading.Thread(target=_keep, args=(stuck,), name="ashtree stuck tasks", daemon=True).start()

    def _seconds_left(self) -> float:
        return MOMENT / 10 if self._signals.is_urgent else max(self._signals.seconds_left(), MOMENT)

    def _unfinished(self, tasks: set[asyncio.Task[Any]], seconds: float) -> set[asyncio.Task[Any]]:
        """Let tasks end, and return those that do not."""
        timeout = None if seconds == math.inf else seconds
        if tasks:
            self._run_until_done(self._loop.create_task(asyncio.wait(tasks, timeout=timeout)))
        return {task for task in tasks if not task.done()}

    def _run_until_done(self, task: asyncio.Task[Any]) -> None:
        # `run_until_complete` fails if the loop is stopped once more by what has ended it before.
        task.add_done_callback(lambda _: self._loop.stop())
        while not task.done():
            self._loop.run_forever()

    def _close(self) -> None:
        for thread, function in self._executor.leave(min(self._signals.seconds_left(), THREADS)).items():
            where = thread_is_at(thread.ident)
            _log.warning(
                "%s has not returned, and its thread %s is left behind:\n%s", function, thread.name, Lines(where)
            )
        # Tasks that were left behind are not lost by mistake.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        asyncio.set_event_loop(None)
        self._loop.close()


def _keep(_tasks: set[asyncio.Task[Any]]) -> None:
    """Keep tasks from being destroyed, even when the program ends: a coroutine may ignore that too, and never end.

    What a daemon thread has in its frames is all that Python does not destroy at the end.
    """
    threading.Event().wait()
