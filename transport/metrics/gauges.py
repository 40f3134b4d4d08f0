"""What is looked up when somebody asks: actors, their mailboxes, connections and what waits to be written.

Nothing of it is kept up to date meanwhile, so it costs nothing until then. The actors are looked at a slice at a time, and in
between the event loop does its other work: a hundred thousand of them hold it up no longer than a few thousand do.
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
"""Actors that are looked at in one go."""


class Mailboxes:
    """The actors of the classes of one name: how many, how many messages wait for them, and in the fullest mailbox."""

    __slots__ = ("actors", "fullest", "waiting")

    def __init__(self) -> None:
        self.actors = self.waiting = self.fullest = 0

    def add(self, waiting: int) -> None:
        """Count the mailbox of one actor, in which so many messages wait."""
        self.waiting += waiting
        self.fullest = max(self.fullest, waiting)


class Gauges:
    """What one look at all actors of an event loop has found: actors by class, names of supervisors, an endpoint's connections.

    An actor is counted as it was when it was looked at, and one that was born after the beginning is not.
    """

    def __init__(self, endpoint: EndpointAPI) -> None:
        self._endpoint = endpoint
        self._by_class: dict[type[Behaviour], tuple[Mailboxes, Callable[[Process], None] | None]] = {}
        self.mailboxes: dict[str, Mailboxes] = {}
        self.supervisors: set[str] = set()
        self.connections = Counter(dict.fromkeys(endpoint.traffic, 0))
        self.write_buffers = self.fullest_write_buffer = 0

    async def read(self, scheduler: Scheduler) -> None:
        """Look at all actors that live now; in the loop's own thread."""
        roster = Roster(scheduler, SLICE)
        while not roster.is_done:
            for process in roster.next():
                self._add(process)
            await next_round()

    def _add(self, process: Process) -> None:
        found = self._by_class.get(process.actor_class)
        mailboxes, look = self._begin(process.actor_class) if found is None else found
        mailboxes.actors += 1
        # Most are idle, and have no mailbox.
        if process.queue is not None or process.debug is not None:
            mailboxes.add(process.waiting)
        if look is not None:
            look(process)

    def _begin(self, actor: type[Behaviour]) -> tuple[Mailboxes, Callable[[Process], None] | None]:
        look = None
        if issubclass(actor, Supervision):
            look = self._add_supervisor
        elif issubclass(actor, Transport):
            look = self._add_connection
        self._by_class[actor] = self.mailboxes.setdefault(actor.__name__, Mailboxes()), look
        return self._by_class[actor]

    def _add_supervisor(self, process: Process) -> None:
        self.supervisors.add(supervisor_name(process))

    def _add_connection(self, process: Process) -> None:
        transport = process.actor
        assert isinstance(transport, Transport)
        if transport.socket.endpoint is self._endpoint:
            size = transport.carrier.get_write_buffer_size()
            self.connections[transport.carrier.kind] += 1
            self.write_buffers += size
            self.fullest_write_buffer = max(self.fullest_write_buffer, size)
