"""The broker between the workers of a program that has named none: a Redis of its own, which the parent runs."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from actors.clock import monotonic_time
from actors.pubsub.adapter import LocalAdapter
from actors.pubsub.redis.private_server import PrivateServer, PrivateServerError
from actors.pubsub.redis.redis_pubsub import REDIS_URL, RedisPubSub
from supervisors.backoff import Backoff, Waits
from supervisors.default_log import LIFE
from supervisors.exceptions import UnavailableError
from supervisors.workers.worker import this_worker
from supervisors.workers.worker_process import how_it_ended

if TYPE_CHECKING:
    from actors.pubsub.pubsub import PubSub
    from supervisors.workers.timers import Timers

__all__ = ["PrivateBroker", "needs_broker"]

_BACKOFF = Backoff(min=0.05, max=2.0)


def needs_broker(pubsub: PubSub) -> bool:
    """Return whether a PubSub would be alone in each worker; it is not if the environment names a Redis, which is used then."""
    if type(pubsub.adapter) is LocalAdapter and os.environ.get(REDIS_URL):
        pubsub.connect_by(RedisPubSub())
    return type(pubsub.adapter) is LocalAdapter


class PrivateBroker:
    """Runs a Redis for the PubSub of a system, and starts it again when it ends."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self._waits = Waits(_BACKOFF)
        self._server: PrivateServer | None = None

    def before_fork(self, _workers: int) -> None:
        """Start the server.

        Raises:
            UnavailableError: if there is none, or it cannot be started.
        """
        try:
            self._server = PrivateServer()
            self._pubsub.connect_by(RedisPubSub(self._server.start()))
        except (PrivateServerError, ModuleNotFoundError) as error:
            raise UnavailableError(str(error)) from error

    def in_worker(self, _number: int) -> None:
        """End the server if the parent is killed and this worker outlives it."""
        worker = this_worker()
        if worker is not None and self._server is not None:
            worker.at_end_of_orphan = self._server.stop_orphan

    def without_worker(self, _number: int) -> None:
        """Do nothing: the others have the same server."""

    def after_workers(self) -> None:
        """End the server; the PubSub is alone again."""
        if self._server is not None:
            self._server.stop()
            self._pubsub.connect_by(LocalAdapter())

    def child_ended(self, timers: Timers) -> None:
        """Start the server again, after a short while, if it is the child process that has ended."""
        server = self._server
        pid, status = os.waitpid(server.pid, os.WNOHANG) if server is not None and server.pid else (0, 0)
        if server is None or not pid:
            return
        server.pid = 0
        why, line = how_it_ended(os.waitstatus_to_exitcode(status)), server.last_log_line()
        LIFE.warning("the Redis of this program %s, and is started again%s", why, line and f": {line}")
        self._start_later(server, timers)

    def _start_later(self, server: PrivateServer, timers: Timers) -> None:
        timers.call_after(self._waits.next(monotonic_time()), partial(self._start_again, server, timers))

    def _start_again(self, server: PrivateServer, timers: Timers) -> None:
        try:
            server.restart()
        except OSError as error:
            LIFE.error("the Redis of this program cannot be started again: %s", error)
            self._start_later(server, timers)
