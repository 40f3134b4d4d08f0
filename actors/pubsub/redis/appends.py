"""The broadcasts that are being recorded elsewhere: each is delivered when it comes back with its offset, or without it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors.channels.message import Broadcast
    from actors.pubsub.remote_message import Header
    from actors.runtime.process import Process
    from actors.runtime.receipt import Receipt
    from actors.runtime.scheduler import Scheduler

__all__ = ["Append", "Appends"]


class Append:
    """One broadcast on its way to its offset.

    - `sender` is the actor that is not to get it, `cause` the one whose turn it is made in, `context` its context variables.
    - `place` is its epoch and offset, once they are known; `is_heard` says that it comes back to this process.
    - `behind` is called when it is settled: it is delivered, or it is known that it will not be.
    """

    __slots__ = (
        "_paced_by",
        "_receipt",
        "behind",
        "broadcast",
        "cause",
        "context",
        "deadline",
        "header",
        "is_heard",
        "is_settled",
        "message",
        "place",
        "sender",
    )

    def __init__(  # noqa: PLR0917  # what is broadcast, by which actors, and in which form
        self,
        broadcast: Broadcast,
        sender: Process | None,
        cause: Process | None,
        context: Context,
        header: Header,
        message: bytes,
        deadline: float,
    ) -> None:
        self.broadcast, self.sender, self.cause, self.context = broadcast, sender, cause, context
        self.header, self.message, self.deadline = header, message, deadline
        self.place: tuple[str, int] | None = None
        self.behind: list[Callable[[], Any]] = []
        self.is_settled, self.is_heard = False, True
        self._paced_by: Scheduler | None = None
        self._receipt: Receipt | None = None

    def pace(self, scheduler: Scheduler) -> None:
        """Give its cause no turn until it is settled: what that sends afterwards does not overtake it."""
        if self.cause is not None and self.cause.scheduler is scheduler:
            self._paced_by = scheduler
            scheduler.pace(self.cause)
            self._receipt = self.cause.take_receipt()

    def settled(self) -> None:
        """Let those go on that have waited for it, as it has been delivered."""
        if self._paced_by is not None and self.cause is not None:
            self._paced_by.unpace(self.cause)
        if self._receipt is not None:
            self._receipt.set()
        for deliver in self.behind:
            deliver()

    @property
    def topic(self) -> str:
        """The topic."""
        return self.broadcast.topic


class Appends:
    """Those of all topics, each topic's in order."""

    def __init__(self) -> None:
        self._of: dict[str, dict[int, Append]] = {}
        self._by_cause: dict[Process, Append] = {}
        # Settled ones too, until their time is over.
        self._by_time: deque[Append] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def add(self, append: Append) -> None:
        """Add the last one of its topic."""
        self._of.setdefault(append.topic, {})[append.header.seq] = append
        self._by_time.append(append)
        if append.cause is not None:
            self._by_cause[append.cause] = append

    def topics(self) -> list[str]:
        """Return the topics that have any."""
        return list(self._of)

    def find(self, topic: str, seq: int) -> Append | None:
        """Return the one with a number, if it is not settled."""
        return self._of.get(topic, {}).get(seq)

    def of(self, topic: str) -> list[Append]:
        """Return those of a topic, in order."""
        return list(self._of.get(topic, {}).values())

    def last(self, topic: str) -> Append | None:
        """Return the last one of a topic, behind which others of its publishers wait."""
        of_topic = self._of.get(topic)
        return of_topic[next(reversed(of_topic))] if of_topic else None

    def of_cause(self, cause: Process) -> Append | None:
        """Return the last one that an actor has made, if it is not settled."""
        return self._by_cause.get(cause)

    def settle(self, append: Append) -> None:
        """Remove one that is being delivered."""
        append.is_settled = True
        of_topic = self._of[append.topic]
        del of_topic[append.header.seq]
        if not of_topic:
            del self._of[append.topic]
        if append.cause is not None and self._by_cause.get(append.cause) is append:
            del self._by_cause[append.cause]

    def next_deadline(self) -> float | None:
        """Return when the oldest one must be settled."""
        while self._by_time and self._by_time[0].is_settled:
            self._by_time.popleft()
        return self._by_time[0].deadline if self._by_time else None

    def overdue(self, now: float) -> list[Append]:
        """Return those whose time is over."""
        found = []
        for append in self._by_time:
            if append.deadline > now:
                break
            if not append.is_settled:
                found.append(append)
        return found
