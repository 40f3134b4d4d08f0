"""What a process has while it is traced, logged, recorded or suspended (OTP's `sys` and `dbg` options); others have None."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from actors.callbacks import coroutine_of
from actors.log import Log
from actors.recorder import Recorded
from actors.redaction import error_text, safe_repr
from actors.runtime.bypass import WATCHED
from actors.runtime.envelope import Envelope, SystemCall, bare
from actors.runtime.program_exit import leave

if TYPE_CHECKING:
    from actors.runtime.process import Process

__all__ = ["Debug", "Event", "Got", "Handled", "Raised", "Statistics"]

_log = Log("ashtree.actors")


class Got(msgspec.Struct, frozen=True, eq=False):
    """An actor begins to handle a message, at the time `at` of its clock."""

    at: float
    message: Any

    def __str__(self) -> str:
        return f"got {safe_repr(self.message)}"


class Handled(msgspec.Struct, frozen=True, eq=False):
    """An actor has handled a message, in `seconds`, and returned `reply`, which goes to the caller if it was asked."""

    at: float
    message: Any
    seconds: float
    reply: Any

    def __str__(self) -> str:
        return f"handled {safe_repr(self.message)} in {self.seconds * 1000:.3f} ms, with {safe_repr(self.reply)}"


class Raised(msgspec.Struct, frozen=True, eq=False):
    """A handler raised, after `seconds`; the actor ends."""

    at: float
    message: Any
    seconds: float
    error: BaseException

    def __str__(self) -> str:
        return f"raised {error_text(self.error)} after {self.seconds * 1000:.3f} ms at {safe_repr(self.message)}"


Event = Got | Handled | Raised
"""What a trace, a log and an installed function receive."""


class Statistics(msgspec.Struct, frozen=True):
    """What an actor did since `statistics` was turned on; times are seconds of its clock."""

    since: float
    now: float
    messages_in: int
    handled: int
    busy: float
    """Seconds in handlers, including those that `async` ones waited."""
    longest: float


class Debug:
    """Stands between an actor and its mailbox: reports each message to watchers, and holds messages back while suspended.

    `last` are the events of `sys.log`, `record` the messages of the flight recorder.
    """

    __slots__ = (
        "backlog",
        "began",
        "busy",
        "handled",
        "last",
        "longest",
        "messages_in",
        "process",
        "record",
        "watchers",
    )

    def __init__(self, process: Process) -> None:
        self.process = process
        self.backlog: deque[object] | None = None
        self.last: deque[Event] | None = None
        self.record: deque[Recorded] | None = None
        self.watchers: dict[object, Callable[[Event], object]] = {}
        self.began: float | None = None
        self.count_from(None)

    @classmethod
    def of(cls, process: Process) -> Debug:
        """Return the `Debug` of a process; give it one if it has none."""
        if process.debug is None:
            process.debug = cls(process)
            if process.bypass is not None:
                process.bypass.hold(WATCHED)
        return process.debug

    def rest(self) -> None:
        """Take it from the process if it has nothing more to do."""
        if self.backlog is None and self.record is None and self.began is None and not self._has_watchers:
            self.process.debug = None
            if self.process.bypass is not None:
                self.process.bypass.release(WATCHED)

    @property
    def _has_watchers(self) -> bool:
        return self.last is not None or bool(self.watchers)

    # The mailbox

    def turn(self) -> None:
        """Handle the messages in the mailbox; while suspended, only requests to the runtime."""
        if self.backlog is None:
            self.process.handle_mail(self._receive)
        else:
            self._hold_back(self.backlog)

    def _hold_back(self, backlog: deque[Any]) -> None:
        process = self.process
        queue = process.queue
        while queue and self.backlog is backlog:
            item = queue.popleft()
            if type(item) is Envelope and type(item.message) is SystemCall:
                process.reply_to = item.reply_to
                process.reply(item.message.answer(process).value)
            else:
                backlog.append(item)
        process.go_on()

    def suspend(self) -> None:
        """Hold back all messages from now on."""
        queue = self.process.queue
        if self.backlog is None and queue is not None:
            self.backlog = deque(queue)
            queue.clear()

    def resume(self) -> None:
        """Put the messages that were held back into the mailbox again, in order, before later ones."""
        backlog, self.backlog = self.backlog, None
        if backlog:
            backlog.extend(self.process.queue or ())
            self.process.queue = backlog

    # Events

    def _receive(self, message: object) -> object:
        actor = self.process.actor
        assert actor is not None
        if type(message) is SystemCall:
            return actor._receive(message)
        recorded = self._begin(bare(message))
        try:
            result = actor._receive(message)
            coroutine = coroutine_of(result, actor)
        except BaseException as error:
            self._raised(recorded, error)
            raise
        if coroutine is not None:
            return self._finish(coroutine, recorded)
        self._handled(recorded, result)
        return result

    async def _finish(self, coroutine: Coroutine[Any, Any, object], recorded: Recorded) -> object:
        try:
            result = await coroutine
        except BaseException as error:
            self._raised(recorded, error)
            raise
        self._handled(recorded, result)
        return result

    def _begin(self, message: object) -> Recorded:
        recorded = Recorded(self._now(), message, self.process.has_caller)
        if self.record is not None:
            self.record.append(recorded)
        self.messages_in += 1
        if self._has_watchers:
            self._emit(Got(recorded.at, message))
        return recorded

    def _handled(self, recorded: Recorded, reply: object) -> None:
        seconds = recorded.seconds = self._count(recorded.at)
        if self._has_watchers:
            self._emit(Handled(recorded.at + seconds, recorded.message, seconds, reply))

    def _raised(self, recorded: Recorded, error: BaseException) -> None:
        seconds = recorded.seconds = self._count(recorded.at)
        recorded.error = error
        if self._has_watchers:
            self._emit(Raised(recorded.at + seconds, recorded.message, seconds, error))

    def _now(self) -> float:
        return self.process.clock.now()

    def _emit(self, event: Event) -> None:
        if self.last is not None:
            self.last.append(event)
        for key, watcher in list(self.watchers.items()):
            try:
                watcher(event)
            except BaseException as error:  # noqa: BLE001  # the actor must not fail with a function that watches it
                self.watchers.pop(key, None)
                _log.exception("%s is not watched by %r any more, which failed", self.process.name, watcher)
                leave(error)

    # Statistics

    def count_from(self, began: float | None) -> None:
        """Count from zero, from the time `began` on; None: do not count."""
        self.began = began
        self.messages_in = self.handled = 0
        self.busy = self.longest = 0.0

    def _count(self, began: float) -> float:
        seconds = self._now() - began
        self.handled += 1
        self.busy += seconds
        self.longest = max(self.longest, seconds)
        return seconds

    def statistics(self) -> Statistics | None:
        """Return what was counted; None if it does not count."""
        if self.began is None:
            return None
        return Statistics(self.began, self._now(), self.messages_in, self.handled, self.busy, self.longest)
