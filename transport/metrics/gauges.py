"""Metrics that are sampled at each scrape: actors, their mailboxes, connections, and what waits in them for both ways.

They are not kept up to date between scrapes, so they cost nothing there. The actors are sampled in slices, and between slices
the event loop does its other work: a hundred thousand actors block it no longer than a few thousand do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from actors.lowlevel import next_round
from supervisors.roster import Roster
from supervisors.supervision import Supervision
from transport.metrics.counters import supervisor_name
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.lowlevel import Behaviour, Process, Scheduler
    from transport.endpoint_api import EndpointAPI

__all__ = ["SLICE", "Gauges", "Mailboxes"]

SLICE = 2_000
"""The number of actors that are sampled without a break."""


class Mailboxes:
    """The actors of the classes with one name: their number, their waiting messages, and those in the fullest mailbox."""

    __slots__ = ("actors", "fullest", "waiting")

    def __init__(self) -> None:
        self.actors = self.waiting = self.fullest = 0

    def add(self, waiting: int) -> None:
        """Count the mailbox of one actor, with its number of waiting messages."""
        self.waiting += waiting
        self.fullest = max(self.fullest, waiting)


class Gauges:
    """One sample of all actors of an event loop: actors by class, names of supervisors, an endpoint's connections.

    Actors that are started while the sample is taken are not counted.
    """

    def __init__(self, endpoint: EndpointAPI) -> None:
        self._endpoint = endpoint
        self._by_class: dict[type[Behaviour], tuple[Mailboxes, Callable[[Process], None] | None]] = {}
        self.mailboxes: dict[str, Mailboxes] = {}
        self.supervisors: set[str] = set()
        self.connections = Counter(dict.fromkeys(endpoint.traffic, 0))
        self.write_buffers = self.fullest_write_buffer = 0
        self.paused = self.waiting_messages = self.waiting_bytes = 0

    async def read(self, scheduler: Scheduler) -> None:
        """Sample all actors that are alive now; to be called in the thread of the loop."""
        roster = Roster(scheduler, SLICE)
        while not roster.is_done:
            for process in roster.next():
                self._add(process)
            await next_round()

    def _add(self, process: Process) -> None:
        found = self._by_class.get(process.actor_class)
        mailboxes, add_more = self._begin(process.actor_class) if found is None else found
        mailboxes.actors += 1
        # Most actors are idle, and have no queue.
        if process.queue is not None or process.debug is not None:
            mailboxes.add(process.waiting)
        if add_more is not None:
            add_more(process)

    def _begin(self, actor: type[Behaviour]) -> tuple[Mailboxes, Callable[[Process], None] | None]:
        add_more = None
        if issubclass(actor, Supervision):
            add_more = self._add_supervisor
        elif issubclass(actor, Transport):
            add_more = self._add_connection
        self._by_class[actor] = self.mailboxes.setdefault(actor.__name__, Mailboxes()), add_more
        return self._by_class[actor]

    def _add_supervisor(self, process: Process) -> None:
        self.supervisors.add(supervisor_name(process))

    def _add_connection(self, process: Process) -> None:
        transport = process.actor
        assert isinstance(transport, Transport)
        if transport.socket.endpoint is self._endpoint and not transport.is_closed:
            size = transport.carrier.get_write_buffer_size()
            self.connections[transport.carrier.kind] += 1
            self.write_buffers += size
            self.fullest_write_buffer = max(self.fullest_write_buffer, size)
            intake = transport.carrier.intake
            self.paused += bool(intake.held)
            self.waiting_messages += intake.messages
            self.waiting_bytes += intake.bytes
