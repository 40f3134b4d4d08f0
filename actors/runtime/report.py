"""The report of a crash: what the log says of it, and what is kept of the last ones."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from actors.clock import wall_time
from actors.exits import Crash
from actors.fork import free_after_fork
from actors.redaction import error_text, printable
from actors.runtime.behaviour import described, shown_state
from actors.traceback_locals import causes_of, drop_locals

if TYPE_CHECKING:
    from actors.recorder import Recorded
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.process import Process

__all__ = ["KEPT", "CrashReport", "keep", "last_crash", "last_crashes"]

_LINE = 160
"""The most characters that are shown of each of the last messages."""

KEPT = 10
"""How many reports are kept. Each keeps from being freed the attributes of its actor, and the variables in the traceback."""

_crashes: deque[CrashReport] = deque(maxlen=KEPT)
_lock = free_after_fork(threading.Lock())


class CrashReport:
    """An actor that crashed, the exception, the message and those before it; as text it is what the log says, without secrets.

    - `name`, `pid`, `actor_class`, `ancestors`: the actor; ancestors by name, the parent first.
    - `error`: the exception, with its traceback; `reason`: the `Crash` that links and monitors got.
    - `message`: the message that it was handling; None in an `async` `on_start`.
    - `messages`: the last ones, as `Recorded`, the oldest first; empty if it kept none (see `Actor.record`).
    - `handled`: how many messages it had handled, the last one included.
    - `state`: its attributes when it crashed, before `terminate` ran: what `Actor.format_status` returns, by default the values
      themselves, with their secrets.
    - `at`: the time, in seconds of its clock; `time`: the Unix time.
    """

    # Of one that could not be made: there is nothing to clear.
    _clears = False

    def __init__(self, process: Process, error: BaseException) -> None:
        debug = process.debug
        self._process, self._actor = process, process.actor
        self.error, self.message, self.handled = error, process.current, process.handled
        self.messages: list[Recorded] = list(debug.record or ()) if debug is not None else []
        self.state = shown_state(process.actor)
        self.at, self.time = process.clock.now(), wall_time()
        self._clears = True

    def __del__(self) -> None:
        if self._clears:
            drop_locals(self.error)

    def take_over(self, earlier: Iterable[CrashReport]) -> None:
        """Clear the tracebacks of exceptions that this crash has passed on, in the place of the reports of earlier crashes.

        Otherwise, of any number of actors that ask each other, each would clear the frames of all before it.
        """
        for passed_on in (self.error, *causes_of(self.error)):
            if passed_on is not None:
                for each in earlier:
                    if each.error is passed_on:
                        each._clears = False

    # Computed on demand: most reports are never read, and there may be many.

    @property
    def name(self) -> str:
        """The name of the actor for people: its label, else its class, with the pid."""
        return self._process.name

    @property
    def pid(self) -> str:
        """The pid as text, such as `<0.41.0>`."""
        return self._process.pid

    @property
    def actor_class(self) -> type[Behaviour]:
        """The class of the actor."""
        return self._process.actor_class

    @property
    def ancestors(self) -> list[str]:
        """The names of parent, grandparent and so on."""
        return self._process.ancestors()

    @property
    def reason(self) -> Crash:
        """The exit reason that links and monitors got."""
        return Crash(self.error)

    def __repr__(self) -> str:
        return f"<CrashReport of {self.name}: {error_text(self.error)}>"

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.name} crashed: {error_text(self.error)}"
        yield f"  last message: {printable(described(self._actor, self.message))}"
        yield f"  ancestors: {', '.join(self.ancestors) or 'none'}"
        if self.messages:
            yield f"  last {len(self.messages)} of {self.handled} messages:"
        for recorded in self.messages:
            yield self._line(recorded)

    def _line(self, recorded: Recorded) -> str:
        began, took = self.at - recorded.at, (recorded.seconds or 0.0) * 1000
        text = printable(described(self._actor, recorded.message), _LINE)
        return f"    {began:9.3f} s before, took {took:9.3f} ms: {text}"


def keep(report: CrashReport) -> None:
    """Keep a report, instead of the oldest one if there are `KEPT`."""
    with _lock:
        # Freed after the lock is released: what its traceback has kept alive may have finalizers.
        oldest = _crashes[0] if len(_crashes) == KEPT else None
        report.take_over(_crashes)
        _crashes.append(report)
    del oldest


def last_crashes() -> list[CrashReport]:
    """Return the reports of the last crashes of the program, `KEPT` at most, the latest first; from any thread."""
    with _lock:
        return list(reversed(_crashes))


def last_crash() -> CrashReport | None:
    """Return the report of the latest crash of the program, or None; from any thread.

    It has the last messages if the actor kept them. `pdb.post_mortem(last_crash().error.__traceback__)` leads to the line.
    """
    with _lock:
        return _crashes[-1] if _crashes else None
