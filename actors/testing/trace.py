"""What a simulation did, step by step, in words that are the same in each run."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.runtime.behaviour import described
from actors.runtime.envelope import Envelope

if TYPE_CHECKING:
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.process import Process

__all__ = ["Trace"]

# Steps that are kept.
_KEPT = 1_000

_PID = re.compile(r" ?<0\.(\d+)\.0>")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class _Step(NamedTuple):
    number: int
    at: float
    process: Process | None
    actor: Behaviour | None
    what: str
    message: Any


class Trace:
    """The last steps of a simulation.

    The pids in the text are those of the simulation, from 1 on, and addresses are left out, so that two runs compare. A step
    is put into words when they are asked for.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._kept: deque[_Step] = deque(maxlen=_KEPT)
        self._pids: dict[str, int] = {}

    def turn(self, process: Process, at: float) -> None:
        """Note that an actor obeys a signal, or handles its next message."""
        queue = process.queue
        if process.signal is not None:
            self.note(at, process, "obeys", process.signal)
        elif queue:
            item = queue[0]
            message = item.message if type(item) is Envelope else item
            self.note(at, process, "is asked" if type(item) is Envelope else "handles", message)
        else:
            self.note(at, process, "goes on")

    def note(self, at: float, process: Process | None, what: str, message: Any = None) -> None:
        """Note a step."""
        self.steps += 1
        actor = None
        if process is not None:
            self._pids.setdefault(str(process.number), len(self._pids) + 1)
            actor = process.actor
        self._kept.append(_Step(self.steps, at, process, actor, what, message))

    def lines(self) -> list[str]:
        """Return the steps in words, the oldest first."""
        return [self.anonymous(_line(step)) for step in self._kept]

    def anonymous(self, text: str) -> str:
        """Put the simulation's own pids in the place of the program's, and leave out addresses."""
        return _ADDRESS.sub("", _PID.sub(self._renumbered, text))

    def _renumbered(self, pid: re.Match[str]) -> str:
        return f"#{self._pids.setdefault(pid[1], len(self._pids) + 1)}"


def _line(step: _Step) -> str:
    who = "" if step.process is None else f"{step.process.name} "
    message = "" if step.message is None else f" {_shown(step)}"
    return f"{step.number:>6}  {step.at:.3f} s  {who}{step.what}{message}"


def _shown(step: _Step) -> str:
    return repr(step.message) if step.what == "obeys" else described(step.actor, step.message)
