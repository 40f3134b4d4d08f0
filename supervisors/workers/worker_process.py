"""One worker, as its parent sees it."""

from __future__ import annotations

import os
import pickle
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisors.workers.control_channel import ControlChannel, ControlMessage

__all__ = ["WorkerProcess", "how_it_ended"]


class WorkerProcess:
    """A forked process: its number, its channel, and what it has told.

    - `is_ready`: whether it has begun to serve clients.
    - `stops`: whether it was told to stop, by its parent or by a signal of its own.
    - `gives_up`: whether another one in its place would fail too.
    - `failure`: why it could not do its work, if it has said so.
    """

    def __init__(self, number: int, pid: int, channel: ControlChannel) -> None:
        self.number, self.pid, self.channel = number, pid, channel
        self.node = self.at = ""
        self.is_ready = self.stops = self.gives_up = False
        self.failure: BaseException | None = None

    def __str__(self) -> str:
        return f"worker {self.number + 1} (process {self.pid})"

    def begins(self, question: ControlMessage) -> None:
        """Take down what it tells of itself when it serves clients."""
        self.is_ready, self._ready = True, question
        self.node, self.at = question.body["node"], question.body["at"]

    def answer_ready(self, *, says_so: bool) -> None:
        """Let it go on, when all have begun; one of them says so to people."""
        self.channel.answer(self._ready, says_so)

    def failed(self, error: str) -> None:
        """Take down why it cannot do its work."""
        failure: Any = pickle.loads(bytes.fromhex(error))  # noqa: S301  # a worker is this program
        self.failure = failure

    def stop(self) -> None:
        """Tell it to stop in order; the signal interrupts what blocks its event loop."""
        self.stops = True
        self.channel.tell("stop")
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        # It has not been reaped, so the process id is still its own.
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def reap(self) -> int | None:
        """Return the status with which it has ended, None if it runs: the exit status, or the negative number of a signal."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


def how_it_ended(status: int) -> str:
    """Return a status for people."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
