"""The start of a system by the first request, where an ASGI server runs no lifespan."""

from __future__ import annotations

import asyncio
import atexit
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING

from actors.log import Log
from supervisors.exceptions import SystemDownError

if TYPE_CHECKING:
    from supervisors.system import System

__all__ = ["FirstStart"]

_log = Log("ashtree.transport")


class FirstStart:
    """Starts a system once on an event loop, whichever request comes first; the others wait for that too.

    A start that has failed is tried again by the next request, but a system that has ended stays so. No server says that it
    stops: the system is stopped when its event loop ends, or at the end of the program if the loop is left open.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        # Actors have the context of their starter: that of the program, and not of one client.
        self._context = copy_context()
        self._life: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None

    async def ensure(self) -> None:
        """Start the system, unless that has been done on the running event loop.

        Raises:
            StartError: if a child of the system could not start.
        """
        loop, started = asyncio.get_running_loop(), self._started
        if started is None or started.get_loop() is not loop or _has_failed(started):
            if started is None:
                _log.info("the server has run no lifespan: the first request starts the system")
                atexit.register(self._stop)
            self._started = started = loop.create_future()
            started.add_done_callback(_has_failed)  # no request may be left that is told
            self._life = loop.create_task(self._live(started), context=self._context.copy())
        # A request that is cancelled does not end the start, for which others wait.
        await asyncio.shield(started)

    async def _live(self, started: asyncio.Future[None]) -> None:
        """Run the system until this task is cancelled, as `asyncio.run` cancels all tasks at its end."""
        try:
            async with self._system:
                started.set_result(None)
                await self._system.wait()
        except SystemDownError:
            pass  # it has been logged
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error) if isinstance(error, Exception) else started.cancel()

    def _stop(self) -> None:
        assert self._life is not None
        life, loop = self._life, self._life.get_loop()
        if not life.done() and not loop.is_closed() and not loop.is_running():
            life.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(life)


def _has_failed(started: asyncio.Future[None]) -> bool:
    return started.done() and (started.cancelled() or started.exception() is not None)
