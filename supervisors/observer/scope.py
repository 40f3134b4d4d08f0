"""Which actors the commands see: those of one system, or all of this program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.lowlevel import Scheduler
from actors.pubsub.pubsub import PubSub, PubSubServer
from actors.registry import ActorRegistry, Registry
from supervisors.branches import name_of
from supervisors.supervision import Supervision

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from actors.lowlevel import Process
    from actors.ref import ActorRef
    from supervisors.system import System

__all__ = ["Scope"]


class Scope:
    """All actors on the event loop of a system; without a system, those of all event loops.

    It may be read from any thread, and sends nothing to the actors.
    """

    def __init__(self, system: System | None = None) -> None:
        self._system = system

    def schedulers(self) -> list[Scheduler]:
        """Return the schedulers that run the actors."""
        if self._system is not None:
            return [self._system.ref.process.scheduler]
        return [scheduler for scheduler in ActorRegistry.schedulers() if not scheduler.loop.is_closed()]

    def scheduler(self) -> Scheduler:
        """Return the scheduler whose clock is to be used: that of this thread, or else the first."""
        found = self.schedulers()
        return next((one for one in found if one.is_current_thread()), found[0]) if found else Scheduler.here()

    def processes(self) -> list[Process]:
        """Return the living actors, in start order."""
        living = [process for scheduler in self.schedulers() for process in list(scheduler.processes.values())]
        return sorted(living, key=lambda process: process.number)

    def roots(self) -> list[Process]:
        """Return the actors at the top of a supervision tree."""
        if self._system is not None:
            return [self._system.ref.process]
        return [
            process
            for process in self.processes()
            if process.parent is None and issubclass(process.actor_class, Supervision)
        ]

    def by_number(self, number: int) -> Process | None:
        """Return the living actor with that number in its pid, or None."""
        found = (scheduler.processes.get(number) for scheduler in self.schedulers())
        return next((process for process in found if process is not None), None)

    def names(self) -> Iterator[str]:
        """Yield everything by which an actor can be found that is text, and the topics: some of them more than once."""
        for registry in self.registries():
            yield from (name for name in registry.names() if isinstance(name, str))
        for pubsub in self.pubsubs():
            yield from pubsub.topics()
        yield from map(name_of, self.processes())

    def registries(self) -> list[Registry]:
        """Return the registries of plain names."""
        return [scheduler.names for scheduler in self.schedulers()]

    def whereis(self, name: Hashable) -> ActorRef[Any] | None:
        """Return the living actor with that name, or None.

        Raises:
            AmbiguousNameError: if several event loops have it.
        """
        return ActorRegistry.get_by_name(name) if self._system is None else self._system.names.whereis(name)

    def pubsubs(self) -> list[PubSub]:
        """Return the PubSubs whose actors are alive, in start order; that of a system always, and first."""
        own = [] if self._system is None else [self._system.pubsub]
        servers = [process.actor for process in self.processes() if issubclass(process.actor_class, PubSubServer)]
        found = [server.pubsub for server in servers if isinstance(server, PubSubServer)]
        return own + [pubsub for pubsub in found if pubsub not in own]
