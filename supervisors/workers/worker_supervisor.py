"""The parent of the workers of a program: it starts them, replaces those that die, and stops them in order.

Theory of operation.

`os.fork` makes the workers, from a process that has no event loop and no threads of ours, and serves no clients. It opens what
they share before the first one starts, and keeps it: the clients in the queue of a worker that dies wait for the next one.

1. The first worker starts alone: what keeps it from starting would keep the others too, and is said once.
2. A worker that dies is started again, after a short back-off. More than `MAX_DEATHS` within `MAX_SECONDS` end the program
   (OTP's restart intensity).
3. One that is told to stop by a signal of its own is replaced at once, and drains meanwhile; it is no death.
4. At SIGTERM, SIGINT or SIGHUP all are told to stop, by a message and a signal. Each then drains as a program of one process
   does, but in rounds that are given out here (`drain_rounds.py`). A second signal kills them.
5. All of them have the reading end of a pipe whose other end only the parent has: they end when that is closed.
"""

from __future__ import annotations

import os
import selectors
import sys
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from actors.clock import monotonic_time
from supervisors.backoff import Backoff, Waits
from supervisors.default_log import LIFE
from supervisors.exceptions import WorkersDownError
from supervisors.restart import RestartIntensity
from supervisors.service_manager import READY, STOPPING, notify
from supervisors.signals import CLOSING
from supervisors.workers.control_channel import ControlChannel, ControlMessage, pair
from supervisors.workers.drain_rounds import DrainRounds, DrainShare
from supervisors.workers.gathering import ANSWER, Gathered, Gathering
from supervisors.workers.parent_signals import ParentSignals
from supervisors.workers.tallies import Tallies
from supervisors.workers.timers import Timers
from supervisors.workers.worker import Worker
from supervisors.workers.worker_life import live
from supervisors.workers.worker_process import WorkerProcess, how_it_ended

if TYPE_CHECKING:
    from supervisors.workers.private_broker import PrivateBroker
    from supervisors.workers.shared_by_workers import SharedByWorkers

__all__ = ["WorkerSupervisor"]

MAX_DEATHS, MAX_SECONDS = 5, 10.0
"""More deaths within so many seconds end the program."""

BACKOFF = Backoff(min=0.05, max=1.0)

REMEMBERED = 60.0
"""Seconds in which workers that begin to serve are told of those that have died."""

_LAST = 1.0
"""Seconds that a worker has beyond its own time before it is killed."""


class WorkerSupervisor:
    """Runs `work(worker)` in each of so many processes, until it is told to stop.

    Raises:
        StartError: of the first worker, if it cannot start.
        WorkersDownError: if too many died.
        SystemExit: with status 1, at a second signal.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        work: Callable[[Worker], object],
        *,
        shared: Sequence[SharedByWorkers],
        shutdown_timeout: float,
        broker: PrivateBroker | None,
    ) -> None:
        self._name, self._number, self._work = name, workers, work
        self._shared = list(shared) if broker is None else [*shared, broker]
        self._broker = broker
        self._shutdown_timeout = shutdown_timeout
        self._processes: dict[int, WorkerProcess] = {}
        self._intensity = RestartIntensity(MAX_DEATHS, MAX_SECONDS)
        self._waits = [Waits(BACKOFF) for _ in range(workers)]
        self._timers = Timers()
        self._rounds: dict[str, DrainRounds] = {}
        self._sharing: dict[tuple[str, int], Callable[[DrainShare | None], None]] = {}
        self._dead: deque[tuple[float, str]] = deque(maxlen=2 * workers + MAX_DEATHS)
        self._is_up = self._is_stopping = False
        self._has_others = workers == 1
        self._failure: BaseException | None = None
        self._tallies, self._deaths = Tallies(), 0

    def run(self) -> None:
        """Start the workers, and return when they have stopped."""
        with ParentSignals() as self._signals:
            opened: list[SharedByWorkers] = []
            try:
                for each in self._shared:
                    opened.append(each)
                    each.before_fork(self._number)
                self._signals.is_awaited = True
                if not self._signals.count:
                    self._supervise()
            finally:
                for each in reversed(opened):
                    each.after_workers()
        self._end()

    def _supervise(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signals)
        self._lifeline, self._held = os.pipe()
        try:
            self._start(0)
            while self._processes or not self._is_stopping:
                for key, _ in self._selector.select(self._timers.seconds_left()):
                    key.data()
                self._timers.run()
        finally:
            for process in list(self._processes.values()):
                process.kill()
                os.waitpid(process.pid, 0)
            os.close(self._held)
            os.close(self._lifeline)
            self._selector.close()

    def _end(self) -> None:
        if self._failure is not None:
            raise self._failure
        LIFE.info("%s has stopped", self._name)
        if self._signals.count > 1:
            sys.exit(1)

    # Starting

    def _start(self, number: int) -> None:
        if self._is_stopping:
            return
        ours, theirs = pair()
        try:
            with self._signals.blocked() as before:
                pid = os.fork()
                if not pid:
                    self._become_worker(number, theirs, before)
        except OSError as error:
            ours.close()
            self._not_started(number, error)
            return
        finally:
            theirs.close()
        channel = ControlChannel(ours, partial(self._watch, ours.fileno()))
        process = self._processes[pid] = WorkerProcess(number, pid, channel)
        self._selector.register(channel, selectors.EVENT_READ, partial(self._on_messages, process))

    def _not_started(self, number: int, error: OSError) -> None:
        """Try again later, if there can be no more processes now; not at the start of the program."""
        if not self._is_up:
            raise error
        LIFE.error("worker %d cannot be started: %s", number + 1, error)
        self._start_later(number)

    def _start_later(self, number: int) -> None:
        self._timers.call_after(self._waits[number].next(monotonic_time()), partial(self._start, number))

    def _become_worker(self, number: int, end: Any, before: set[int]) -> NoReturn:
        try:
            self._signals.leave(before)
            self._selector.close()
            for process in self._processes.values():
                process.channel.close()
            os.close(self._held)
            live(Worker(number, end, self._lifeline), self._work_with_shared)
        finally:
            os._exit(1)

    def _work_with_shared(self, worker: Worker) -> None:
        for each in self._shared:
            each.in_worker(worker.number)
        self._work(worker)

    def _watch(self, descriptor: int, *, writable: bool) -> None:
        """Wait until a worker takes more, or no longer."""
        key = self._selector.get_map().get(descriptor)
        if key is None:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if events != key.events:
            self._selector.modify(descriptor, events, key.data)

    # Messages of workers

    def _on_messages(self, process: WorkerProcess) -> None:
        if process.pid not in self._processes:
            # It was found to have ended in the same round.
            return
        process.channel.flush()
        for message in process.channel.receive():
            self._on_message(process, message)
        if not process.channel.is_open:
            # What is to be done is done when the process has ended.
            self._selector.unregister(process.channel)

    def _on_message(self, process: WorkerProcess, message: ControlMessage) -> None:
        match message.kind:
            case "ready":
                process.begins(message)
                self._began(process)
            case "failed":
                process.failed(message.body)
            case "gives up":
                process.gives_up = True
            case "stops":
                self._retires(process)
            case "drain":
                self._drain(process, message)
            case "gather":
                self._gather(process, message)
            case "tally":
                self._tallies.take(process.pid, *message.body)

    def _began(self, process: WorkerProcess) -> None:
        if self._is_up:
            process.answer_ready(says_so=False)
            self._tell_of_the_dead(process)
        elif not self._has_others:
            self._has_others = True
            for number in range(1, self._number):
                self._start(number)
        elif len({each.number for each in self._processes.values() if each.is_ready}) == self._number:
            self._all_began()

    def _all_began(self) -> None:
        self._is_up = True
        processes = list(self._processes.values())
        pids = ", ".join(str(each.pid) for each in processes)
        at = f" at {processes[0].at}" if processes[0].at else ""
        LIFE.info("%s is running%s, in the processes %s; Ctrl-C stops it", self._name, at, pids)
        notify(READY)
        for process in processes:
            process.answer_ready(says_so=process.number == 0)

    def _retires(self, process: WorkerProcess) -> None:
        """Replace a worker that was told to stop by a signal of its own."""
        if not process.stops:
            process.stops = True
            self._start(process.number)

    # Rounds of ending connections

    def _drain(self, process: WorkerProcess, question: ControlMessage) -> None:
        name, size, interval, left = question.body
        rounds = self._rounds.setdefault(name, DrainRounds(size, interval))
        self._sharing[name, process.pid] = partial(process.channel.answer, question)
        rounds.report(process.pid, left, monotonic_time())
        self._give_out(name)

    def _give_out(self, name: str) -> None:
        """Give out shares if it is time to; otherwise look again when it is."""
        rounds, now = self._rounds[name], monotonic_time()
        at = rounds.due_at(pid for pid, each in self._processes.items() if each.stops)
        if at > now:
            self._timers.call_at(at, partial(self._give_out, name))
            return
        for pid, share in rounds.shares(now).items():
            self._sharing.pop((name, pid))(share)

    def _leaves_rounds(self, process: WorkerProcess) -> None:
        for name, rounds in self._rounds.items():
            rounds.withdraw(process.pid)
            self._sharing.pop((name, process.pid), None)
            self._give_out(name)

    # Questions to all

    def _gather(self, asking: WorkerProcess, question: ControlMessage) -> None:
        kind, body = question.body
        # It may serve a client before it has said that it is ready.
        asked = [each for each in self._processes.values() if each.is_ready or each is asking]
        gathering = Gathering(len(asked), partial(self._gathered, asking, question, kind, len(asked)))
        for process in asked:
            process.channel.ask(kind, body, partial(gathering.take, process.pid))
        self._timers.call_after(ANSWER, gathering.end)

    def _gathered(
        self, asking: WorkerProcess, question: ControlMessage, kind: str, workers: int, answers: dict[int, Any]
    ) -> None:
        kept = self._tallies.without(kind, answers.keys())
        asking.channel.answer(question, Gathered(answers, kept, workers, self._deaths))

    # Deaths

    def _on_signals(self) -> None:
        self._signals.clear()
        if self._signals.count > 1:
            self._kill()
        elif self._signals.count:
            self._stop()
        for process in list(self._processes.values()):
            status = process.reap()
            if status is not None:
                self._ended(process, status)
        if self._broker is not None:
            self._broker.child_ended(self._timers)

    def _ended(self, process: WorkerProcess, status: int) -> None:
        # What it has said before.
        for message in process.channel.receive():
            self._on_message(process, message)
        del self._processes[process.pid]
        if process.channel.fileno() in self._selector.get_map():
            self._selector.unregister(process.channel)
        process.channel.close()
        self._tallies.keep(process.pid)
        self._leaves_rounds(process)
        if process.node and (status or not self._is_stopping):
            # When all stop, one that has stopped in order has said so itself, and the others have no time for more.
            self._tell_all_of(process.node)
        if not self._is_stopping:
            self._replace(process, status)
        if self._is_stopping:
            self._close_what_is_left()

    def _replace(self, process: WorkerProcess, status: int) -> None:
        if process.gives_up:
            self._fail(SystemExit(status))
        elif process.stops and status == 0:
            LIFE.info("%s has stopped", process)
        elif not self._is_up and process.failure is not None:
            self._fail(process.failure)
        else:
            self._died(process, status)

    def _died(self, process: WorkerProcess, status: int) -> None:
        why = how_it_ended(status) if process.failure is None else str(process.failure)
        now = monotonic_time()
        if not self._intensity.allows(now):
            self._fail(WorkersDownError(self._name, MAX_DEATHS + 1, MAX_SECONDS, f"{process} {why}"))
            return
        self._deaths += 1
        LIFE.warning("%s %s", process, why)
        if not process.stops:
            self._start_later(process.number)

    def _tell_all_of(self, node: str) -> None:
        self._dead.append((monotonic_time(), node))
        for process in self._processes.values():
            if process.is_ready:
                process.channel.tell("down", node)

    def _tell_of_the_dead(self, process: WorkerProcess) -> None:
        for at, node in self._dead:
            if at > monotonic_time() - REMEMBERED:
                process.channel.tell("down", node)

    # The end

    def _fail(self, failure: BaseException) -> None:
        """Stop all, and raise this at the end."""
        if self._failure is None:
            self._failure = failure
        self._stop()

    def _stop(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        notify(STOPPING)
        if self._failure is None:
            LIFE.info("%s stops; a second Ctrl-C ends it at once", self._name)
        for process in self._processes.values():
            process.stop()
        self._close_what_is_left()
        self._timers.call_after(self._shutdown_timeout + CLOSING + _LAST, self._cut)

    def _close_what_is_left(self) -> None:
        """Close what was for workers that are not there, and are not started any more."""
        for number in set(range(self._number)) - {each.number for each in self._processes.values()}:
            for each in self._shared:
                each.without_worker(number)

    def _cut(self) -> None:
        """Kill the workers that are frozen, or hang in spite of their own limit: the time to stop is over."""
        for process in self._processes.values():
            LIFE.warning("%s has not stopped in time, and is killed", process)
        self._kill()

    def _kill(self) -> None:
        self._is_stopping = True
        for process in self._processes.values():
            process.kill()
