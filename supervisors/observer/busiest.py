"""The busiest actors, again and again."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from supervisors.observer.display import Table
from supervisors.observer.process_info import process_info
from supervisors.observer.tables import TOP
from supervisors.observer.waiting import after

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler
    from actors.ref import ActorRef
    from supervisors.observer.process_info import ProcessInfo
    from supervisors.observer.scope import Scope

__all__ = ["Top", "TopRow"]

# Go to the upper left, and clear the screen (ECMA-48).
_CLEAR = "\x1b[H\x1b[2J"


class TopRow(NamedTuple):
    """An actor, and how many messages per second it handled since the last look."""

    ref: ActorRef[Any]
    info: ProcessInfo
    rate: float


class Top:
    """Looks at all actors every so many seconds, and writes those that handled the most messages meanwhile."""

    def __init__(
        self, scope: Scope, scheduler: Scheduler, most: int, every: float, out: TextIO
    ) -> None:  # made in one place
        self._scope, self._scheduler = scope, scheduler
        self._most, self._every, self._out = most, every, out
        self._handled: dict[Process, int] = {}
        self._looked_at = 0.0

    def run(self, times: int | None) -> None:
        """Write it again and again, until Ctrl-C, or so many `times`."""
        self._look()
        try:
            while times is None or times > 0:
                after(self._scheduler, self._every).get()
                self._show()
                times = None if times is None else times - 1
        except KeyboardInterrupt:
            self._out.write("\n")

    async def run_on_loop(self, times: int | None) -> None:
        """Do the same where nobody may block."""
        self._look()
        while times is None or times > 0:
            await after(self._scheduler, self._every)
            self._show()
            times = None if times is None else times - 1

    def _show(self) -> None:
        began = self._looked_at
        looked = self._look()
        seconds = self._looked_at - began
        busiest = nlargest(self._most, looked, key=lambda row: (row[1], row[0].handled))
        rows = [TopRow(process.ref, process_info(process), count / seconds) for process, count in busiest]
        waiting = sum(process_info(process).mailbox for process, _ in looked)
        rate = sum(count for _, count in looked) / seconds
        head = f"actors: {len(looked):,}  waiting: {waiting:,}  messages/s: {rate:,.1f}  (Ctrl-C ends this)"
        clear = _CLEAR if self._out.isatty() else ""
        self._out.write(f"{clear}{head}\n{Table(rows, TOP, out=self._out)!r}\n")
        self._out.flush()

    def _look(self) -> list[tuple[Process, int]]:
        """Return the living with the number of messages that each handled since the last look."""
        before, now = self._handled, {process: process.handled for process in self._scope.processes()}
        self._handled, self._looked_at = now, self._scheduler.clock.now()
        return [(process, handled - before.get(process, 0)) for process, handled in now.items()]
