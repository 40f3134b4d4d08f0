"""The log of a simulation's steps, in texts that are the same in each run."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from actors.redaction import safe_repr
from actors.runtime.behaviour import described
from actors.runtime.envelope import Envelope, bare

if TYPE_CHECKING:
    from actors.runtime.behaviour import Behaviour
    from actors.runtime.process import Process

__all__ = ["SimulationTrace"]

# The number of steps that are kept.
_KEPT = 1_000

_PID = re.compile(r" ?<0\.(\d+)\.0>")
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class _Step(NamedTuple):
    number: int
    at: float
    process: Process | None
    actor: Behaviour | None
    what: str
    message: object


class SimulationTrace:
    """The last steps of a simulation.

    Pids are numbered from 1 within the simulation, and addresses are left out, so that two runs can be compared. A step is
    formatted when it is read.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._kept: deque[_Step] = deque(maxlen=_KEPT)
        self._pids: dict[str, int] = {}

    def turn(self, process: Process, at: float) -> None:
        """Record that an actor handles an exit signal or its next message."""
        queue = process.queue
        if process.signal is not None:
            self.note(at, process, "receives", process.signal)
        elif queue:
            item = queue[0]
            self.note(at, process, "is asked" if type(item) is Envelope and item.is_asked else "handles", bare(item))
        else:
            self.note(at, process, "continues")

    def note(self, at: float, process: Process | None, what: str, message: object = None) -> None:
        """Record a step."""
        self.steps += 1
        actor = None
        if process is not None:
            self._pids.setdefault(str(process.number), len(self._pids) + 1)
            actor = process.actor
        self._kept.append(_Step(self.steps, at, process, actor, what, message))

    def lines(self) -> list[str]:
        """Return the steps as texts, the oldest first."""
        return [self.anonymous(_line(step)) for step in self._kept]

    def anonymous(self, text: str) -> str:
        """Replace pids by those of the simulation, and leave out addresses."""
        return _ADDRESS.sub("", _PID.sub(self._renumbered, text))

    def _renumbered(self, pid: re.Match[str]) -> str:
        return f"#{self._pids.setdefault(pid[1], len(self._pids) + 1)}"


def _line(step: _Step) -> str:
    name = "" if step.process is None else f"{step.process.name} "
    message = "" if step.message is None else f" {_shown(step)}"
    return f"{step.number:>6}  {step.at:.3f} s  {name}{step.what}{message}"


def _shown(step: _Step) -> str:
    return safe_repr(step.message) if step.what == "receives" else described(step.actor, step.message)
