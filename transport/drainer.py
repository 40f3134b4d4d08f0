"""How an endpoint that stops ends its connections, so that their clients go on elsewhere (Phoenix.Socket.PoolDrainer).

Theory of operation.

A deploy must lose no client: what was received is handled, and the clients are told to connect again, but not
all at once. So the connections are ended in rounds, `Drainer.batch_interval` seconds apart. Each is told by a message behind
what it has received (`EndConnection`), and closes with 1012 as soon as joins are answered, while its channels handle what they
have; a session of long polling answers its waiting poll. Then whatever is left is waited for, but not for longer than needed:

1. The connections that were told end, each when its channels have handled what they have.
2. Clients that read slowly read what was written to them, and the others have `FAREWELL` to see the close frame.
3. HTTP requests that were received are answered.

At the end of the time, `Drainer.shutdown` seconds or what the `System` has left, what is left is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from math import ceil, isfinite
from typing import TYPE_CHECKING

from actors.exceptions import Timeout
from actors.exits import SHUTDOWN
from actors.future import Future
from actors.log import Log
from actors.lowlevel import next_round
from actors.redaction import safe_repr
from actors.validation import check_count, check_seconds
from supervisors.branches import root_of
from supervisors.child_spec import INFINITY
from supervisors.dynamic_supervisor import DynamicSupervisor
from supervisors.supervision import Supervision, limited_end, supervised_by
from supervisors.workers.drain_rounds import DrainShare
from supervisors.workers.worker import this_worker
from transport.carriers.carrier import Carrier, EndConnection
from transport.socket_events import socket_drain
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.ref import ActorRef
    from transport.carriers.idle_connections import IdleConnections
    from transport.endpoint_api import EndpointAPI

__all__ = ["Drain", "Drainer"]

_log = Log("ashtree.transport")

FAREWELL = 0.5
"""Seconds for the clients that were told, to end their sides: with unread bytes TCP could reset what was written to them."""

REST = 1.0
"""Seconds of the time of a whole system that a drain leaves for what stops after it, but a tenth of that time at most."""

LOOK = 0.02
"""Seconds between two polls of a condition that no message reports."""


@dataclass(frozen=True, slots=True)
class Drainer:
    """How an endpoint that stops ends its connections: `Endpoint(…, drainer=Drainer(…))` (Phoenix's `drainer`).

    - `batch_size`: how many connections are told at once; they close with 1012, upon which clients connect again.
    - `batch_interval`: seconds from one batch to the next; nothing is waited for after the last one.
    - `shutdown`: seconds after which what is left is cut. It is never more than what `System(shutdown_timeout=…)` has left,
      without the last tenth of it, or second, in which the rest of the tree stops.

    Raises:
        ValueError: naming the invalid option, with its value.
    """

    batch_size: int = 10_000
    batch_interval: float = 2.0
    shutdown: float = 30.0

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size, least=1)
        check_seconds("batch_interval", self.batch_interval)
        check_seconds("shutdown", self.shutdown)
        for name in ("batch_interval", "shutdown"):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number of seconds, got {safe_repr(getattr(self, name))}")

    def seconds(self, left: float) -> float:
        """Return how long a drain may take, in a system that is killed in `left` seconds."""
        return min(self.shutdown, left if left == INFINITY else max(0.0, left - min(REST, left / 10)))


class Drain:
    """One drain of the connections that run under `transports`, as the last thing that their endpoint does."""

    def __init__(self, endpoint: EndpointAPI, options: Drainer, transports: ActorRef, idle: IdleConnections) -> None:
        self._endpoint, self._options, self._transports, self._idle = endpoint, options, transports, idle
        process = transports.process
        self._scheduler, self._clock = process.scheduler, process.scheduler.clock
        self.until = self._clock.now() + options.seconds(_seconds_left(process))
        self._told: set[ActorRef] = set()
        self._carriers: list[Carrier] = []

    @property
    def seconds_left(self) -> float:
        """How long it may still take."""
        return max(0.0, self.until - self._clock.now())

    async def rounds(self) -> None:
        """Tell all connections to end, a batch at once, and the next one after the interval; a batch of all workers."""
        # Those that are about to start: their messages are in the mailbox of their supervisor.
        await next_round()
        size, interval = self._options.batch_size, self._options.batch_interval
        share = await self._share(DrainShare(0, 0, 0))
        while share is not None:
            number, index, total = share
            # Others may have more connections of this round, and this worker none.
            if batch := list(islice(self._untold(), number)):
                socket_drain(self._endpoint, len(batch), total, index, max(index, ceil(total / size)), interval)
                self._tell(batch)
                await self.until_so(lambda: next(self._untold(), None) is None, interval)
            share = await self._share(share)

    async def _share(self, last: DrainShare) -> DrainShare | None:
        """Return what to end in the next round: of all, or of what the parent of several workers gives out."""
        worker, size, left = this_worker(), self._options.batch_size, self._left()
        if worker is not None:
            with suppress(ConnectionError):
                asked = (self._endpoint.name, size, self._options.batch_interval, left)
                answer = await worker.ask("drain", asked)
                return None if answer is None else DrainShare(*answer)
            # Its parent is dead, and it has little time.
            size = left
        return DrainShare(min(size, left), last.number_of_round + 1, last.total or left) if left else None

    def _left(self) -> int:
        return sum(1 for _ in self._untold())

    def _untold(self) -> Iterator[ActorRef]:
        supervisor = self._transports.process.actor
        if isinstance(supervisor, DynamicSupervisor):
            for child in supervised_by(supervisor):
                # Channels that have outlived their transport are supervised there too.
                if child.spec.actor is Transport and child.ref is not None and child.ref not in self._told:
                    yield child.ref

    def _tell(self, batch: list[ActorRef]) -> None:
        self._told.update(batch)
        for connection in batch:
            actor = connection.process.actor
            if isinstance(actor, Transport) and actor.carrier.kind == "websocket":
                self._carriers.append(actor.carrier)
            connection.process.put(EndConnection(SHUTDOWN))

    async def farewells(self) -> None:
        """Wait until the clients that were told have ended their sides, or have at least read what was written to them."""
        await self.until_so(lambda: not self._idle.open, FAREWELL)
        # One that reads nothing for `CLOSE_TIMEOUT` is cut by its carrier.
        await self.until_so(lambda: not any(map(_unsent, self._carriers)), self.seconds_left)

    def cut(self) -> None:
        """Cut the connections that are left."""
        left = [*self._untold()] + [ref for ref in self._told if ref.is_alive()]
        if left:
            _log.warning("cut %d connection(s), as the time to drain is over", len(left))
        for connection in left:
            connection.kill()

    async def until_so(self, condition: Callable[[], bool], seconds: float) -> None:
        """Poll a condition until it holds, for so many seconds at most."""
        until = self._clock.now() + seconds
        while not condition() and self._clock.now() < until:
            await self._pause(LOOK)

    async def _pause(self, seconds: float) -> None:
        with suppress(Timeout):
            await Future(self._scheduler, timeout=seconds)


def _unsent(carrier: Carrier) -> int:
    return carrier.get_write_buffer_size()


def _seconds_left(process: Process) -> float:
    root = root_of(process).actor
    ends_at = limited_end(root) if isinstance(root, Supervision) else INFINITY
    return ends_at if ends_at == INFINITY else max(0.0, ends_at - process.scheduler.clock.now())
