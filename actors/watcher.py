"""Tables that outlive the actor that watches them: what `PubSub` and `Presence` have in common.

The table belongs to an object that any actor of the system changes at once, in its own turn (`WatchedTable`). The actor behind
it (`Watcher`) monitors every process that the table names, and removes those that exit. If the watcher crashes, the table stays
as it is; the next watcher monitors all of it again, and learns of those that exited in between by their `Down`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from actors.actor import Actor
from actors.exceptions import NameTakenError
from actors.exits import Down

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.exits import MonitorRef
    from actors.runtime.bonds import Bonds
    from actors.runtime.process import Process
    from actors.runtime.scheduler import Scheduler

__all__ = ["WatchedTable", "Watcher"]


class WatchedTable(ABC):
    """An object with a table of processes, registered under `name` on the event loop that its watcher runs on."""

    another_name = ""
    """The code that gives an object of this class another name, for the error that a name is taken."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.server: Watcher | None = None
        self._scheduler: Scheduler | None = None

    @property
    @abstractmethod
    def actor(self) -> type[Watcher]:
        """The actor that a supervisor starts with the object, under its name."""

    @abstractmethod
    def watched(self) -> Iterable[Process]:
        """Return the processes in the table."""

    @abstractmethod
    def drop(self, process: Process) -> None:
        """Remove a process that has exited."""

    @property
    def scheduler(self) -> Scheduler:
        """The scheduler of the event loop that it runs on.

        Raises:
            RuntimeError: if it is not running.
        """
        scheduler = self._scheduler
        if scheduler is None or scheduler.loop.is_closed():
            raise RuntimeError(f"{type(self).__name__} {self.name!r} is not running; make it a child of a System")
        return scheduler

    def attach(self, server: Watcher, process: Process) -> None:
        """Register the watcher that runs from now on; called by the watcher.

        Raises:
            RuntimeError: if it has a watcher that runs, as in another System.
            NameTakenError: if another actor of this event loop has the name.
        """
        if self.server is not None:
            if self.server.actor_ref.is_alive():
                kind = type(self).__name__
                raise RuntimeError(f"{kind} {self.name!r} is running already; each System needs one of its own")
            self.server.check_here()
        try:
            process.scheduler.names.register(self.name, process.ref, self)
        except NameTakenError as taken:
            raise NameTakenError(taken.name, taken.owner, self.another_name) from None
        self.server, self._scheduler = server, process.scheduler


class Watcher(Actor):
    """Monitors every process in a table, and removes those that exit."""

    _no_dead_letters = (object,)

    def __init__(self) -> None:
        self._monitors: dict[Process, MonitorRef] = {}

    @property
    @abstractmethod
    def table(self) -> WatchedTable:
        """The object whose table it watches."""

    def on_start(self) -> None:
        """Monitor every process in the table; after a restart, those that have exited since send their `Down` at once."""
        self.table.attach(self, self._process)
        for process in self.table.watched():
            self.watch(process)

    @property
    def supervisor(self) -> Bonds | None:
        """The process that has started it, None if it was started on its own; also after its end."""
        return self._process.parent

    def runs_on(self, scheduler: Scheduler) -> bool:
        """Return whether it runs, or ran, on this event loop."""
        return self._process.scheduler is scheduler

    def check_here(self) -> None:
        """Raise ForkedError if it was running when this process was forked: the table is the parent's."""
        self._process.check_here()

    def watch(self, process: Process) -> None:
        """Monitor a process that has entered the table."""
        if self._process.alive:
            self._monitors[process] = self._process.monitor(process)

    def unwatch(self, process: Process) -> None:
        """Stop monitoring a process that has left the table."""
        monitor = self._monitors.pop(process, None)
        if monitor is not None:
            self._process.demonitor(monitor, flush=False)

    @property
    def is_up_to_date(self) -> bool:
        """Whether every process in the table is alive: it runs, is not being debugged, and no `Down` waits in its mailbox."""
        process = self._process
        return process.alive and not process.scheduled and process.debug is None

    def on_receive(self, message: object) -> object:
        """Remove a process that has exited."""
        if not isinstance(message, Down):
            return super().on_receive(message)
        process = message.actor.process
        if self._monitors.pop(process, None) is not None:
            self.table.drop(process)
        return None
