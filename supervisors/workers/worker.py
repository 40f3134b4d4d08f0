"""One worker of a program, as this process: what it tells its parent, and is told."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from actors.clock import pause
from supervisors.signals import Signals
from supervisors.workers.control_channel import ControlChannel, ControlMessage
from supervisors.workers.gathering import Gathered

if TYPE_CHECKING:
    import socket

    from actors.exceptions import StartError

__all__ = ["Worker", "WorkerSignals", "this_worker"]

ORPHAN = 2.0
"""Seconds in which a worker stops whose parent was killed."""

LAST = 4.0
"""Seconds after which it is ended by force."""

_KILL_AT_DEATH = 1  # PR_SET_PDEATHSIG

_here: list[Worker] = []


def this_worker() -> Worker | None:
    """Return this process as a worker; None if `System.run(workers=…)` has not started it."""
    return _here[0] if _here and _here[0].pid == os.getpid() else None


class Worker:
    """This process, a worker with a number from 0, on the channel to its parent.

    - `is_ending`: whether the whole program stops, or its parent is dead, and not this worker alone.
    - `at_end_of_orphan()`: what it does last if its parent is dead.
    """

    def __init__(self, number: int, end: socket.socket, lifeline: int) -> None:
        self.number, self.pid = number, os.getpid()
        self.is_ending = self.is_orphan = False
        self.at_end_of_orphan: Callable[[], object] = int
        self._channel = ControlChannel(end, self._on_full)
        self._handlers: dict[str, Callable[[Any], Any]] = {"stop": self._must_end}
        self._asking: set[asyncio.Future[Any]] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        _here[:] = [self]
        _wake_with_parent()
        threading.Thread(target=self._watch, args=(lifeline,), name="ashtree parent", daemon=True).start()

    def _must_end(self, _body: object) -> None:
        self.is_ending = True

    # What it may be asked

    def handle(self, kind: str, handler: Callable[[Any], Any]) -> None:
        """Call `handler(body)` for messages of a kind from now on; what it returns, JSON, is the answer to a question.

        It may be `async`.
        """
        self._handlers[kind] = handler

    def open(self) -> None:
        """Exchange messages on the running event loop from now on."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel.fileno(), self.receive)

    def receive(self) -> None:
        """Handle what the parent has sent."""
        for message in self._channel.receive():
            self._handle(message)
        if not self._channel.is_open:
            self._closed()

    def _handle(self, message: ControlMessage) -> None:
        handler = self._handlers.get(message.kind)
        answer = None if handler is None else handler(message.body)
        if asyncio.iscoroutine(answer):
            task = asyncio.ensure_future(self._answer(message, answer))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif message.ref is not None:
            self._channel.answer(message, answer)

    async def _answer(self, question: ControlMessage, answer: Awaitable[Any]) -> None:
        self._channel.answer(question, await answer)

    def _on_full(self, *, writable: bool) -> None:
        if self._loop is None:
            return
        if writable:
            self._loop.add_writer(self._channel.fileno(), self._channel.flush)
        else:
            self._loop.remove_writer(self._channel.fileno())

    def _closed(self) -> None:
        """Stop waiting for a parent that has gone; `_watch` ends this process."""
        if self._loop is not None:
            self._loop.remove_reader(self._channel.fileno())
        for question in self._asking:
            if not question.done():
                question.set_exception(ConnectionResetError("the parent process has ended"))

    # What it tells and asks

    def tell(self, kind: str, body: object = None) -> None:
        """Send the parent a message; nothing if that is dead."""
        self._channel.tell(kind, body)

    async def ask(self, kind: str, body: object = None) -> Any:
        """Ask the parent, and return its answer.

        Raises:
            ConnectionError: if the parent is dead.
        """
        if not self._channel.is_open:
            raise ConnectionResetError("the parent process has ended")
        question = asyncio.get_running_loop().create_future()
        self._asking.add(question)
        ref = self._channel.ask(kind, body, partial(_resolve, question))
        try:
            return await question
        finally:
            self._asking.discard(question)
            self._channel.forget(ref)

    async def gather(self, kind: str, body: object = None) -> Gathered:
        """Ask all workers, this one too, and return what those have answered that did within a second.

        Raises:
            ConnectionError: if the parent is dead.
        """
        return msgspec.convert(await self.ask("gather", [kind, body]), Gathered, strict=False)

    def tally(self, kind: str, numbers: Mapping[str, float]) -> None:
        """Tell the parent numbers that only grow, which outlive this worker; later ones replace them (see `Gathered`)."""
        self.tell("tally", [kind, numbers])

    @property
    def has_room(self) -> bool:
        """Whether the parent has taken all that it was told."""
        return self._channel.has_room

    async def is_first(self, node: str, at: str) -> bool:
        """Tell the parent that this worker serves clients; return, when all do, whether it is the one to say so."""
        return bool(await self.ask("ready", {"node": node, "at": at}))

    def stops(self) -> None:
        """Tell the parent that this worker was told to stop, unless that comes from the parent."""
        with suppress(OSError):
            self.receive()
        if not self.is_ending:
            self.tell("stops")

    def failed(self, error: StartError) -> None:
        """Tell the parent why this worker cannot start."""
        self.tell("failed", pickle.dumps(error).hex())

    # The death of the parent

    def _watch(self, lifeline: int) -> None:
        """Wait, in a thread of its own, until the other end of a pipe is closed, which the parent alone has; then end."""
        with suppress(OSError):
            os.read(lifeline, 1)
        self.is_ending = self.is_orphan = True
        os.kill(self.pid, signal.SIGTERM)
        pause(LAST)
        self.end()
        os._exit(1)

    def end(self) -> None:
        """Do what is left to do at the very end."""
        if self.is_orphan:
            self.at_end_of_orphan()


def _resolve(question: asyncio.Future[Any], answer: object) -> None:
    if not question.done():
        question.set_result(answer)


def _wake_with_parent() -> None:
    """Let the kernel continue this process when its parent dies, if it is stopped then: else it could not end."""
    try:
        import ctypes  # noqa: PLC0415  # some builds of Python lack it

        ctypes.CDLL(None).prctl(_KILL_AT_DEATH, signal.SIGCONT)
    except (ImportError, OSError, AttributeError):  # not on Linux
        return


class WorkerSignals(Signals):
    """The signals of a worker: its first SIGTERM. All others are its parent's, also those that a terminal sends to both.

    It is held back until there is a handler on the event loop, which ends what runs there in order.
    """

    numbers = (signal.SIGTERM,)

    def __init__(self, shutdown_timeout: float, worker: Worker) -> None:
        super().__init__(shutdown_timeout)
        self._worker = worker

    def seconds_left(self) -> float:
        """Return the seconds that the worker may still take to stop in order."""
        left = super().seconds_left()
        return min(left, ORPHAN) if self._worker.is_orphan else left

    def handle(self, first: Callable[[], object], others: Callable[[], object], is_busy: Callable[[], bool]) -> None:
        """From now on, call `first()` at the first signal, also at one that has been held back."""
        super().handle(first, others, is_busy)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.numbers)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if not self.count:
            super()._on_signal(number, _frame)
