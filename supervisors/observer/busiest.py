"""The busiest actors, refreshed at intervals."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, TextIO

from supervisors.observer.display import Table
from supervisors.observer.process_info import TopRow, process_info
from supervisors.observer.tables import TOP
from supervisors.observer.waiting import after

if TYPE_CHECKING:
    from actors.lowlevel import Process, Scheduler
    from supervisors.observer.scope import Scope

__all__ = ["Top"]

# Move to the upper left and clear the screen (ECMA-48).
_CLEAR = "\x1b[H\x1b[2J"


class Top:
    """Samples all actors every `every` seconds, and writes those that handled the most messages in between."""

    def __init__(self, scope: Scope, scheduler: Scheduler, most: int, every: float, out: TextIO) -> None:
        self._scope, self._scheduler = scope, scheduler
        self._most, self._every, self._out = most, every, out
        self._handled: dict[Process, int] = {}
        self._sampled_at = 0.0

    def run(self, times: int | None) -> None:
        """Write them until Ctrl-C, or `times` times."""
        self._sample()
        try:
            while times is None or times > 0:
                after(self._scheduler, self._every).get()
                self._show()
                times = None if times is None else times - 1
        except KeyboardInterrupt:
            self._out.write("\n")

    async def run_on_loop(self, times: int | None) -> None:
        """Do the same on the event loop, which must not be blocked."""
        self._sample()
        while times is None or times > 0:
            await after(self._scheduler, self._every)
            self._show()
            times = None if times is None else times - 1

    def _show(self) -> None:
        began = self._sampled_at
        sampled = self._sample()
        seconds = self._sampled_at - began
        busiest = nlargest(self._most, sampled, key=lambda row: (row[1], row[0].handled))
        rows = [TopRow(process.ref, process_info(process), count / seconds) for process, count in busiest]
        waiting = sum(process_info(process).mailbox for process, _ in sampled)
        rate = sum(count for _, count in sampled) / seconds
        head = f"actors: {len(sampled):,}  waiting: {waiting:,}  messages/s: {rate:,.1f}  (Ctrl-C to stop)"
        clear = _CLEAR if self._out.isatty() else ""
        self._out.write(f"{clear}{head}\n{Table(rows, TOP, out=self._out)!r}\n")
        self._out.flush()

    def _sample(self) -> list[tuple[Process, int]]:
        """Return the living actors, with the number of messages that each has handled since the last sample."""
        before, now = self._handled, {process: process.handled for process in self._scope.processes()}
        self._handled, self._sampled_at = now, self._scheduler.clock.now()
        return [(process, handled - before.get(process, 0)) for process, handled in now.items()]
