"""The scheduler: it runs the actors of one event loop, in turns.

Theory of operation.

All actors of an event loop run in its thread; the scheduler decides which one, and when. It costs no task and no callback per
message, which is what makes an actor cheap.

1. A process with something to do is in the ready queue, once. It puts itself there (`ready`): when a message arrives while it
   is idle, when an exit signal arrives, and when a turn ends before its mailbox is empty. `Process.scheduled` says that it is
   there, or that its handler is a coroutine that has not ended.
2. The first process in an empty queue schedules one callback of the event loop (`_arm`). That callback gives each ready
   process one turn of at most `TURN` messages, at most `PASS` turns in a row and at most `BUDGET` seconds (`run_ready`), and
   schedules itself again if any are left. A turn whose messages take long ends after `SHARE` seconds, so that other actors
   get theirs in the same pass. So no actor starves another one, and no number of busy actors, and no handlers that take long,
   starve the sockets and the timers. (A handler itself is never interrupted.)
3. Code that has just read from a socket calls `run_ready` itself, so that what it received is handled, and answered, in the
   same iteration. `run_at_once` does the same for an `await ref.call(…)`, `AT_ONCE` times in a row: an answer from an idle
   actor then costs no iteration of the loop. Neither runs a turn inside another turn: handlers are never re-entered. Once
   the time is used up both do nothing until the next iteration of the loop: however many sockets are read in one iteration,
   the actors of a flood get their `BUDGET` once.
4. A plain handler runs inside its turn. A coroutine becomes a task of the loop (`Process._run_coroutine`), and its process
   gets no more turns until it is done. `current` is the process whose code is running, in a turn or in such a task.
5. Context variables belong to the actor: it has one `Context` from its start to its end, a copy of its starter's, in which all
   of its code runs: its turns, the tasks of its coroutines, and what it owns when that is closed (`Process.run`). The callbacks
   of the loop run in an empty one.
6. Other threads do not touch any of this: they `post` a function, which is called in the thread of the loop. Calls posted by
   one thread keep their order; `_drain` calls all that are there for one wake-up of the loop. `run_or_post` calls at once in
   the thread itself. What one actor sends to another therefore arrives in order, across threads too.
7. Time is the clock's (`actors/clock.py`), and so is the budget. With a `ManualClock` and a loop without I/O the order of all
   turns is reproducible, which the test kits rely on: there time does not advance within a pass, so none ends early.

A loop with actors is found by its thread (`of_thread`). A thread without one uses the background scheduler, a daemon thread
of ours.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from typing import TYPE_CHECKING, Any, ParamSpec
from weakref import ref

from actors.clock import Clock, LoopClock, pause
from actors.exceptions import ActorDeadError, BlockingCallError
from actors.fork import forking_task, free_after_fork, in_child, leave_child
from actors.future import Future
from actors.redaction import function_name
from actors.registry import ActorRegistry, Registry, leave_registries_behind
from actors.runtime.crash_log import CrashLog
from actors.runtime.current import BACKGROUND, is_on_a_loop, owners, scheduler_of_thread, schedulers, threads_of_tasks
from actors.runtime.daemon_executor import DaemonExecutor
from actors.runtime.forked_scheduler import ForkedScheduler
from actors.runtime.loop_end import LoopEnd
from actors.runtime.program_exit import Departure, claim, keep, program_exit_of, through_loop
from actors.standard_streams import keep_descriptors

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.runtime.process import Process

__all__ = ["AT_ONCE", "BUDGET", "CROWD", "PASS", "SHARE", "TURN", "WORK", "Scheduler", "in_thread", "new_event_loop"]

P = ParamSpec("P")

# Messages in one turn; then the next process gets its turn.
TURN = 64

# Turns in a row before the loop does its I/O.
PASS = 256

# Seconds in a row before the loop does its I/O, whatever the turns and the calls of other threads cost.
BUDGET = 0.004

# Seconds of one turn, from the first look at the clock: an actor whose messages take long leaves most of a pass to others.
SHARE = BUDGET / 4

# Turns and messages between two looks at the clock, at most.
WORK = 4

# Calls in a row that are answered without an iteration of the loop.
AT_ONCE = 64

# Calls of other threads, or messages in one mailbox, that may wait before the threads that add more are slowed; and the seconds
# by which the first ones are, and the last.
CROWD = 10_000
DELAY, LONGEST_DELAY = 0.001, 1.0

# Seconds that `terminate` may take at the end of a loop, as by default under a supervisor.
LAST = 5.0

# Re-entrant, as a signal's handler or a `__del__` may start an actor while its thread is started.
_background_lock = free_after_fork(threading.RLock())


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's if that is installed (the `fast` extra), else asyncio's."""
    # A daemon may have closed them after its imports.
    keep_descriptors()
    try:
        import uvloop  # noqa: PLC0415  # an extra, which may be missing
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Scheduler:
    """The actors of one event loop, their ready queue, clock and names.

    There is one for each event loop that has actors. Its methods are for the loop's own thread, except `post` and
    `run_or_post`.

    - `budget`: the seconds that actors run in a row, before the loop reads its sockets and fires its timers.
    - `crowd`: the calls of other threads, and the messages in one mailbox, that may wait before threads are slowed.
    - `overdue`: whether that time is used up in this iteration of the loop. Code that reads from a socket stops then, and
      continues in the next iteration (`loop.call_soon`).
    - `forked`: the id of the process that it belongs to, if this one was forked from that (see `forked_scheduler.py`), or 0.
    - `keep_exit`: what an exception is given to that is meant for the program, if it is not to leave the loop (see `leave`).
    - `work`: what may be done before the clock is looked at. Each turn and each message takes one off; code that causes more
      work at once, such as many deliveries, takes off more.
    """

    # What is rarely set is here: an object with more than 29 attributes of its own has a dict of its own, in which CPython
    # looks up each attribute, and each method, of a scheduler, which costs more.
    forked = 0
    crowd = CROWD
    keep_exit: Callable[[BaseException], object] | None = None

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock | None = None) -> None:
        self.loop = loop
        self.clock: Clock = clock or LoopClock(loop)
        self.names = Registry()
        self.crash_log = CrashLog(self.clock)
        self.processes: dict[int, Process] = {}
        self.end_watchers: list[Callable[[Process], object]] | None = None
        self.current: Process | None = None
        self.messages_per_turn = TURN
        self.budget = BUDGET
        self.overdue = False
        self.work = self._stride = WORK
        self._deadline = self._share_end = 0.0
        # The number of the process whose share is measured: the process itself would be kept after its end.
        self._timed = 0
        self.thread_id = get_ident()
        # Of the callbacks of the loop. It is empty, so that none runs with the variables of the actor that happened to schedule
        # it, nor keeps their values alive.
        self.neutral = Context()
        # Of actors that have ended, in the place of their own.
        self.ended = Context()
        self._at_once = AT_ONCE
        self._ready: deque[Process] = deque()
        # The actors that get no turn at present, each with the number of reasons; and those that would have had one.
        self._paced: dict[Process, int] = {}
        self._parked: set[Process] = set()
        self._armed = False
        self._running = False
        self._inbound: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._woken = False
        self._last: AsyncGenerator[None, None] | None = None
        self._loop_end: LoopEnd | None = None
        schedulers[self.thread_id] = self
        ActorRegistry.join(self)

    @staticmethod
    def here() -> Scheduler:
        """Return this thread's scheduler, made for its running loop if need be; without a loop, the background scheduler.

        The background scheduler has a daemon thread of its own: a plain script that starts an actor gets it.
        """
        scheduler = Scheduler.of_thread()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return scheduler if scheduler is not None and scheduler.is_serving() else Scheduler.background()
        return scheduler if scheduler is not None and scheduler.loop is loop else Scheduler._of_loop(loop)

    @staticmethod
    def _of_loop(loop: asyncio.AbstractEventLoop) -> Scheduler:
        """Return the scheduler of the loop that runs in this thread, which may have run another loop meanwhile."""
        scheduler = ActorRegistry.scheduler_of(loop)
        if scheduler is None:
            scheduler = Scheduler(loop)
            scheduler._close_with_loop()
        schedulers[scheduler.thread_id] = scheduler
        return scheduler

    def _close_with_loop(self) -> None:
        """Close this scheduler when its loop shuts down its async generators, as `asyncio.run` does before it closes the loop.

        A loop has no other hook for its end. It registers an async generator at the generator's first step, which is done here
        by hand, without a task: up to the `yield`, from which the loop later closes it.
        """
        self._last, self._loop_end = _at_shutdown(ref(self)), LoopEnd(self.loop, self.clock)
        with suppress(StopIteration):  # the step has reached the `yield`
            self._last.__anext__().send(None)

    def look_for_end(self) -> None:
        """Look whether the loop is about to end, as a task of an actor is cancelled which no exit signal has interrupted."""
        if self._loop_end is not None:
            self._loop_end.look()

    @property
    def is_ending(self) -> bool:
        """Whether the loop seems to be about to end, so that nothing is to be started again."""
        return self._loop_end is not None and self._loop_end.suspected

    @staticmethod
    def of_thread() -> Scheduler | None:
        """Return the scheduler whose actors run in this thread, or None."""
        scheduler: Scheduler | None = scheduler_of_thread()
        return scheduler

    @staticmethod
    def background() -> Scheduler:
        """Return the scheduler that runs in a daemon thread, for code without an event loop."""
        with _background_lock:
            scheduler: Scheduler | None = schedulers.get(BACKGROUND)
            if scheduler is None or scheduler.loop.is_closed():
                scheduler = schedulers[BACKGROUND] = in_thread("ashtree").scheduler
            return scheduler

    def is_serving(self) -> bool:
        """Return whether its loop is running, so that actors get their turns."""
        return self.loop.is_running()

    def is_current_thread(self) -> bool:
        """Return whether the caller runs in the thread of this scheduler."""
        return get_ident() == self.thread_id

    def ready(self, process: Process) -> None:
        """Put a process in the ready queue."""
        self._ready.append(process)
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        try:
            self.loop.call_soon(self._run, context=self.neutral)
        except RuntimeError as closed:
            self.close()
            raise ActorDeadError("the event loop of this actor is closed") from closed
        self._armed = True

    def _run(self) -> None:
        self._armed, self._at_once, self.overdue = False, AT_ONCE, False
        try:
            self.run_ready()
        except BaseException as error:  # noqa: BLE001  # it is raised again, such as Ctrl-C between two turns
            raise through_loop(error)  # noqa: B904  # mostly the same one

    def watch_ends(self, callback: Callable[[Process], object]) -> None:
        """Call `callback(process)` for each actor that ends, before its links and monitors are notified; for test kits."""
        self.end_watchers = [*(self.end_watchers or ()), callback]

    def run_ready(self) -> None:
        """Give the ready processes their turns now; for code that has received something and sent it to its actors.

        It returns after `budget` seconds, and sets `overdue`; what is left continues in the next iteration of the loop. Until
        then, and within a turn, it does nothing.
        """
        if not self._running and not self.overdue:
            self.work, self._deadline = self._stride, 0.0
            self._pass()

    def _pass(self) -> None:
        ready, left = self._ready, PASS
        self._running, outer = True, self.current
        try:
            while ready and left:
                left -= 1
                process = ready.popleft()
                if self._paced and self.parks(process):
                    continue
                self.current = process
                try:
                    process.context.run(process.turn)
                except BaseException as error:  # noqa: BLE001  # a turn is contained as a whole
                    process.context.run(process.escaped, error)
                if ready:
                    self.work -= 1
                    if self.work < 0 and self.is_over() and self.overdue:
                        break
        finally:
            if self.forked:
                leave_child(sys.exception())
            self._running, self.current = False, outer
            if ready and not self._armed:
                self._arm()

    def is_over(self) -> bool:
        """Look at the clock: return whether the turn of the current actor is over, as that is paced or the time is used up.

        To be called when `work` is below zero. The time begins at the first call in a pass: most passes are over before that,
        and do not look at the clock at all. While time is short the next call is made after each message.
        """
        now = self.clock.now()
        if not self._deadline:
            self._deadline, self._timed = now + self.budget, 0
        self.overdue = now >= self._deadline
        if self.overdue and not self._armed:
            self._arm()  # `_run` must reset it, even if no process is left
        self._stride = 0 if self.overdue else min(WORK, 2 * self._stride + 1)
        self.work = -1 if self.overdue else self._stride
        return self._has_had_its_share(now) or self.overdue or self.current in self._paced

    def _has_had_its_share(self, now: float) -> bool:
        number = 0 if self.current is None else self.current.number
        if self._timed != number:
            self._timed, self._share_end = number, now + self.budget / 4
            return False
        if now < self._share_end:
            return False
        self._timed = 0
        return True

    # Actors that have caused work which goes on after their turns

    def pace(self, process: Process) -> None:
        """Give an actor no turn until `unpace(process)` is called as often; an exit signal is obeyed at once.

        It is as if a handler of it were waiting: an `async` handler that runs goes on, and its next message waits.
        """
        self._paced[process] = self._paced.get(process, 0) + 1
        self.work = -1  # its turn ends after this message

    def unpace(self, process: Process) -> None:
        """Give an actor turns again."""
        self._paced[process] -= 1
        if not self._paced[process]:
            del self._paced[process]
            self.unpark(process)

    def parks(self, process: Process) -> bool:
        """Return whether a process that is ready gets no turn now; it is ready again when it may have one."""
        if process not in self._paced or process.signal is not None:
            return False
        self._parked.add(process)
        return True

    def unpark(self, process: Process) -> None:
        """Make a process ready again that would have had a turn."""
        if process in self._parked:
            self._parked.remove(process)
            self.ready(process)

    def run_at_once(self) -> None:
        """Give the ready processes their turns, for a caller that waits for one of them: it saves an iteration of the loop.

        Not within a turn, and a bounded number of times and seconds in a row, so that a loop of calls does not starve the
        sockets.
        """
        if self._at_once and not self.overdue and not self._running and get_ident() == self.thread_id:
            if self._at_once == AT_ONCE:
                self.work, self._deadline = self._stride, 0.0
            self._at_once -= 1
            self._pass()
            # The last turn of a pass is not counted there, as nothing waits for it.
            self.work -= 1
            if self.work < 0:
                self.is_over()

    def post(self, callback: Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` in the scheduler's thread; calls posted by one thread keep their order.

        A thread that posts faster than the loop can call is slowed.

        Raises:
            ActorDeadError: if the event loop is closed; all its actors are dead then.
        """
        self._inbound.append((callback, args))
        if not self._woken or self.loop.is_closed():
            self._woken = True
            try:
                self.loop.call_soon_threadsafe(self._drain, context=self.neutral)
            except RuntimeError as closed:
                self._inbound.clear()
                raise ActorDeadError("the event loop of this actor is closed") from closed
            except BaseException:
                # Such as Ctrl-C in the posting thread: the loop may not have been woken.
                self._woken = False
                raise
        elif len(self._inbound) > self.crowd:
            self.slow(len(self._inbound))

    def slow(self, waiting: int) -> None:
        """Delay the calling thread, as so many calls or messages wait: by `DELAY`, twice as long for each `crowd` more.

        It is a delay and not a wait for room, so that a thread that holds what the loop waits for is never stuck. A thread with
        an event loop of its own is not delayed, since that would delay all of its actors.
        """
        if not is_on_a_loop():
            pause(min(DELAY * 2 ** min(waiting // self.crowd - 1, 10), LONGEST_DELAY))

    def run_or_post(self, callback: Callable[..., object], *args: object) -> None:
        """Call `callback(*args)` in the scheduler's thread: at once if the caller runs in it, else as `post` does.

        For an answer in another thread see `actors.future.run_on`.

        Raises:
            ActorDeadError: as `post`.
        """
        if self.thread_id == get_ident():
            callback(*args)
        else:
            self.post(callback, *args)

    def _drain(self) -> None:
        # Cleared before the queue is read: a thread that posts after this wakes the loop again.
        self._woken = False
        inbound, left = self._inbound, WORK
        deadline = self.clock.now() + self.budget
        try:
            while inbound and (left or self.clock.now() < deadline):
                left = (left or WORK) - 1
                callback, args = inbound.popleft()
                try:
                    callback(*args)
                except BaseException as error:  # noqa: BLE001  # those after it are called too
                    self._call_failed(callback, error)
        finally:
            # Those for which there was no time must not wait for the next post.
            if inbound and not self._woken:
                self._woken = True
                self.loop.call_soon(self._drain, context=self.neutral)

    def _call_failed(self, callback: Callable[..., object], error: BaseException) -> None:
        """Report a call of another thread that raised, as the loop reports its own callbacks."""
        if (exit_ := program_exit_of(error)) is not None:
            self.leave(exit_)
        name = function_name(callback, "__qualname__")
        self.loop.call_exception_handler(
            {"message": f"a call from another thread failed: {name}()", "exception": error}
        )

    def leave(self, error: BaseException) -> None:
        """Let an exception that is meant for the program leave the event loop, by its next callback; from any thread.

        Not from where it was raised: in between are other actors, and callbacks of transports, which end with what they raise.
        """
        if self.keep_exit is not None:
            self.keep_exit(error)
            return
        with suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(Departure(error, self.loop), context=self.neutral)
            return
        raise error

    # Threads of actors: under virtual time the loop and they take turns (see `actors/testing/lockstep.py`)

    def thread_works(self, _actor: Process, go: Callable[[], object]) -> None:
        """Resume the thread of an actor, by `go()`."""
        go()

    def thread_rests(self, callback: Callable[..., object], *args: object) -> None:
        """Post `callback(*args)`; the thread of the actor then does nothing but wait."""
        self.post(callback, *args)

    def wait_in_thread(self, _future: Future[Any], answered: threading.Event, timeout: float | None) -> bool:
        """Wait for a reply in the thread of an actor; return whether it arrived in time."""
        return answered.wait(timeout)

    def may_block(self) -> bool:
        """Return whether the caller may wait for an actor of this scheduler without keeping it from answering."""
        return not self.is_current_thread()

    def check_awaitable(self, call: str) -> None:
        """Raise BlockingCallError if its event loop cannot run while the caller awaits an actor of it.

        That is so if another event loop runs in its thread: this one would have to wait for the other's end.
        """
        running = asyncio.get_running_loop()
        if self.loop is not running and self.is_current_thread():
            raise BlockingCallError(
                call,
                why=f"can never be answered: the actor is on {self.loop}, which does not run while {running} runs, in the "
                "same thread",
                instead="the `await` in a coroutine of the actor's own event loop, or start the actor on the one that runs",
            )

    def block_on(self, _future: Future[Any], _timeout: float | None) -> None:
        """Raise BlockingCallError: waiting would block the loop's own thread."""
        raise BlockingCallError("get()", instead="`await future` in an async handler")

    async def until_terminated(self, seconds: float) -> None:
        """Wait until the actors have ended whose `terminate` is a coroutine that is running now; at most some seconds."""
        downs: list[Future[ExitReason]] = []
        for process in self.processes.values():
            if process.ending is not None:
                downs.append(Future(self))
                process.answer_at_end(downs[-1])
        # Which kills them.
        self.clock.call_after(seconds, self.close)
        for down in downs:
            await down

    def close(self) -> None:
        """Kill all actors that are left, and forget the thread; closing the loop is up to its owner."""
        for process in list(self.processes.values()):
            process.finish_killed()
        self._ready.clear()
        self._parked.clear()
        self.crash_log.flush()
        self.clock.close()
        if schedulers.get(self.thread_id) is self:
            del schedulers[self.thread_id]


async def _at_shutdown(scheduler: ref[Scheduler]) -> AsyncGenerator[None, None]:
    """Close a scheduler when its loop closes its async generators; before that, let actors end that are ending."""
    with suppress(GeneratorExit):
        yield
    closing = scheduler()
    if closing is None:
        return
    if closing.forked:
        leave_child(sys.exception())  # the one that ends the program
    await closing.until_terminated(LAST)
    closing.close()


def _leave_child(forked_in: asyncio.Task[Any] | None) -> None:
    """End the child; if the task that forked has raised SystemExit, with its status."""
    if forked_in is not None and forked_in.done() and not forked_in.cancelled():
        leave_child(forked_in.exception())
    leave_child(sys.exception())


def _after_fork() -> None:
    """Leave behind all event loops, actors and names: they are the parent's."""
    left = ActorRegistry.leave_behind()
    leave_registries_behind()
    for scheduler in left:
        if scheduler.thread_id == get_ident() and scheduler.loop.is_running():
            # For code that is not a handler, such as a callback: the next thing that this loop does here is to end the child.
            scheduler.loop.call_soon(_leave_child, forking_task(), context=Context())
        ForkedScheduler.replace(scheduler)
    schedulers.clear()
    owners.clear()
    threads_of_tasks.clear()
    if left:
        signal.set_wakeup_fd(
            -1
        )  # else the parent's loop would be told of the child's signals; asyncio does so from 3.12 on


in_child(_after_fork)


class in_thread:  # noqa: N801  # reads as a phrase: with a scheduler in a thread
    """An event loop with a scheduler, running in a daemon thread until `stop`.

    An exception that is meant for the program does not end the loop, which others use too: `stop` raises the first one.
    """

    def __init__(self, name: str) -> None:
        self._started = threading.Event()
        self._stopped = False
        self._program_exit: BaseException | None = None
        self.scheduler: Scheduler
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self.thread.start()
        self._started.wait()

    def _serve(self) -> None:
        loop = new_event_loop()
        loop.set_default_executor(DaemonExecutor())
        asyncio.set_event_loop(loop)
        self.scheduler = Scheduler(loop)
        self.scheduler.keep_exit = self._keep
        loop.call_soon(self._started.set)
        try:
            while not self._stopped:
                self._contain(loop.run_forever)
        finally:
            self.scheduler.close()
            self._contain(loop.run_until_complete, loop.shutdown_asyncgens())
            loop.close()

    def _contain(self, run: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            run(*args, **kwargs)
        except (KeyboardInterrupt, SystemExit) as error:  # of other code than that of actors
            self._keep(error)

    def _keep(self, error: BaseException) -> None:
        keep(error)
        self._program_exit = self._program_exit or error

    def stop(self, seconds: float | None = None) -> None:
        """Stop the loop and its thread, and wait for that: at most `seconds`, if given; idempotent.

        Raises:
            What an actor has raised meanwhile that is meant for the program, as SystemExit and the outcomes of a test are.
        """
        if self.thread.is_alive():
            self._stopped = True
            self.scheduler.loop.call_soon_threadsafe(self.scheduler.loop.stop)
            self.thread.join(seconds)
        error, self._program_exit = self._program_exit, None
        if error is not None:
            claim(error)
            raise error
