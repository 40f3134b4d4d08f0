"""Broadcasts to very many clients, written a slice at a time.

Theory of operation.

To write to one client costs some microseconds, to 10,000 of them 80 ms, in which nothing else is done. So a broadcast to more
than `SLICE` clients, or of more than `SLICE_BYTES` to all of them, is written in slices, one in each iteration of the event
loop (`Fanouts`). Nothing but the time at which it is written changes; what each client receives, and in which order, is the
same:

1. When the broadcast is made, each client's fastlane is given the frame as *owed* (`Fastlane.owe`). That is all that happens in
   the turn of the sender, and it also decides who receives the broadcast: clients that join or leave later make no difference.
   A client whose transport actor has mail gets the frame into that mailbox, behind what is there.
2. A lane that owes writes it before anything else: before a later frame on the fastlane, and before anything enters the mailbox
   of its actor (`Fastlane.catch_up`). So whatever is sent to the client after the broadcast, by anyone and in any way, such as
   a reply, another broadcast or the close frame, reaches it after the broadcast.
3. The slices write to the lanes that are left. What several broadcasts owe one lane is in one list, in order. So the broadcasts
   themselves take turns: a small one does not wait for a large one before it.

A fan-out is the work of the actor that causes it. Until it is done that actor gets no turn (`Scheduler.pace`), and the message
that it handled counts as waiting for its connection (`Receipt`). A client whose messages are broadcast can therefore not send
faster than they are written. An exit signal still ends the actor at once; what it has broadcast is written. Senders of which
there is no turn to take away, such as plain code, other threads, and handlers that broadcast many times, may have `MOST`
broadcasts of `MOST_BYTES` in progress; above that the oldest one is written to its end at once.
"""

from __future__ import annotations

from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.channels.fastlane import Fastlane
    from actors.pubsub.share import Share
    from actors.runtime.process import Process
    from actors.runtime.receipt import Receipt
    from actors.runtime.scheduler import Scheduler

__all__ = ["CHUNK", "MOST", "MOST_BYTES", "SLICE", "SLICE_BYTES", "Fanout", "Fanouts"]

SLICE = 256
"""Clients that are written to in one iteration of the event loop: 2 ms."""

SLICE_BYTES = 1024 * 1024
"""What is written in one iteration: half a megabyte to a hundred clients takes as long as a word to very many."""

SLICE_SECONDS = 0.002
"""The same in seconds, where writing takes longer."""

CHUNK = 32
"""Clients that one broadcast is written to before the next one gets its turn, and the clock is looked at."""

CHUNK_BYTES = 128 * 1024
"""The same in bytes."""

MOST = 64
"""Unfinished broadcasts of one sender."""

MOST_BYTES = 16 * 1024 * 1024
"""The size of the unfinished broadcasts of one sender, each counted once."""


class Fanout:
    """One broadcast in progress.

    `cause` is the actor that made it, `report` is called when it is done.
    """

    def __init__(self, shares: Iterable[Share], cause: Process | None, report: Callable[[], object] | None) -> None:
        self._shares = deque(shares)
        self._position = 0
        self.cause, self._report = cause, report
        self._paced = False
        # Of the sender: what is called when it is written, such as a telemetry handler, sees the same at any number of clients.
        self.context = copy_context()
        self._receipt: Receipt | None = None
        self.size = sum(share.size for share in self._shares)

    @property
    def done(self) -> bool:
        """Whether it has been written to all clients."""
        return not self._shares

    @property
    def paced(self) -> Process | None:
        """The cause, if it gets no turn until this is done."""
        return self.cause if self._paced and self.cause is not None and self.cause.alive else None

    def begin(self, scheduler: Scheduler, without: Fastlane | None) -> None:
        """Give it to all clients but one as owed; from now on the cause is paced."""
        if self.cause is not None and self.cause.scheduler is scheduler:
            self._paced = True
            scheduler.pace(self.cause)
            self._receipt = self.cause.take_receipt()
        for share in self._shares:
            share.owe(without)

    def write(self, number: int) -> None:
        """Write to the next clients."""
        if not self._shares:
            return
        share, start = self._shares[0], self._position
        self._position = end = start + number
        if end >= len(share.lanes):
            self._shares.popleft()
            self._position = 0
        share.write_owed(start, end)

    def end(self, scheduler: Scheduler) -> None:
        """Let the cause go on, and report that it is done."""
        if self._paced and self.cause is not None:
            scheduler.unpace(self.cause)
        if self._receipt is not None:
            self._receipt.set()
        if self._report is not None:
            self.context.run(self._report)


class Fanouts:
    """The broadcasts in progress of one PubSub; for the thread of its event loop."""

    def __init__(self) -> None:
        self.slice, self.chunk, self.slice_bytes = SLICE, CHUNK, SLICE_BYTES
        self._in_turn: deque[Fanout] = deque()
        # Those of each sender, the oldest first; all that are not made by an actor count as one sender's.
        self._by_cause: dict[Process | None, deque[Fanout]] = {}
        self._armed = False

    def __len__(self) -> int:
        return len(self._in_turn)

    def begin(self, scheduler: Scheduler, fanout: Fanout, without: Fastlane | None) -> None:
        """Write a broadcast to all clients but one, from the next iteration of the event loop on."""
        fanout.begin(scheduler, without)
        own = self._by_cause.setdefault(fanout.cause, deque())
        self._in_turn.append(fanout)
        own.append(fanout)
        while len(own) > MOST or (len(own) > 1 and sum(each.size for each in own) > MOST_BYTES):
            self._finish(scheduler, own[0])
        self._arm(scheduler)

    def _finish(self, scheduler: Scheduler, fanout: Fanout) -> None:
        while not fanout.done:
            fanout.write(self.slice)
        self._end(scheduler, fanout)

    def _arm(self, scheduler: Scheduler) -> None:
        if not self._armed and self._in_turn:
            self._armed = True
            scheduler.loop.call_soon(self._go_on, scheduler, context=scheduler.neutral)

    def _go_on(self, scheduler: Scheduler) -> None:
        self._armed = False
        try:
            self._write_slice(scheduler)
        finally:
            self._arm(scheduler)

    def _write_slice(self, scheduler: Scheduler) -> None:
        in_turn, clock, left, bytes_left = self._in_turn, scheduler.clock, self.slice, self.slice_bytes
        end = clock.now() + SLICE_SECONDS
        while in_turn and left > 0 and bytes_left > 0 and clock.now() < end:
            fanout = in_turn[0]
            in_turn.rotate(-1)
            number = max(1, min(self.chunk, CHUNK_BYTES // (fanout.size + 1)))
            left, bytes_left = left - number, bytes_left - number * fanout.size
            self._write(scheduler, fanout, number)
            # What is called meanwhile, such as a telemetry handler, may broadcast, and so finish it.
            if fanout.done and fanout in in_turn:
                self._end(scheduler, fanout)

    def _write(self, scheduler: Scheduler, fanout: Fanout, number: int) -> None:
        """Write to the next clients on behalf of the cause, as when a broadcast is written at once."""
        outer, scheduler.current = scheduler.current, fanout.paced
        try:
            fanout.context.run(fanout.write, number)
        finally:
            scheduler.current = outer

    def _end(self, scheduler: Scheduler, fanout: Fanout) -> None:
        self._in_turn.remove(fanout)
        own = self._by_cause[fanout.cause]
        own.remove(fanout)
        if not own:
            del self._by_cause[fanout.cause]
        fanout.end(scheduler)
