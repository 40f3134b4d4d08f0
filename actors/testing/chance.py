"""A scheduler that chooses the next actor at random, one message at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.exceptions import Timeout
from actors.exits import Crash
from actors.runtime.coroutine import Contained
from actors.runtime.process import Process
from actors.testing.manual_runtime import ENDLESS, ManualScheduler
from actors.testing.trace import SimulationTrace
from actors.testing.virtual_loop import KeptCall, VirtualLoop

if TYPE_CHECKING:
    from actors.clock import Clock
    from actors.future import Future
    from actors.testing.faults import Fault
    from actors.testing.manual_clock import ManualClock

__all__ = ["ChanceScheduler", "Crashed"]

# Seconds of virtual time that a wait without a timeout lasts at most.
_PATIENCE = 600.0

_LoopTask = tuple[asyncio.Task[Any], KeptCall]


class Crashed(NamedTuple):
    """An actor that raised an exception, or a description of code outside actors that did."""

    actor: str
    error: BaseException


class ChanceScheduler(ManualScheduler):
    """At each step one actor handles one message, one task continues, or the loop makes one call: one of them is drawn.

    All guarantees hold: an actor handles its messages in the order received, and every actor that is ready runs eventually.
    """

    clock: ManualClock
    loop: VirtualLoop

    def __init__(self, clock: Clock, random: Random) -> None:
        super().__init__(VirtualLoop(clock), clock)
        self.loop.turn = self._turn
        self.loop.set_exception_handler(self._on_loop_error)
        self.messages_per_turn = 1
        self.random, self.trace = random, SimulationTrace()
        self.faults: list[Fault] = []
        self.crashes: list[Crashed] = []
        # The step at which the delay ends; infinity for delays that the clock ends.
        self._delayed: dict[Process, float] = {}
        self._last_step = 0

    # No actor has priority

    def ready(self, process: Process) -> None:
        """Add a process to those of which one is drawn."""
        self._ready.append(process)

    def _pass(self) -> None:
        """Do nothing: the turns are drawn, even while a caller waits for an answer."""

    def is_over(self) -> bool:
        """Return False: there are no passes."""
        return False

    # Running until idle, and longer

    def settle(self) -> None:
        """Run steps until no work is left.

        Raises:
            RuntimeError: if the actors never become idle.
        """
        self._last_step = self.trace.steps + ENDLESS
        self.loop.run_forever()

    def wait_until(self, done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Run until idle, then move the clock, until `done()` is true; return whether it was within `timeout` seconds."""
        end = self.clock.now() + (_PATIENCE if timeout is None else timeout)
        self.settle()
        while not done() and self.clock.step(end):
            self.settle()
        return done()

    def block_on(self, future: Future[Any], timeout: float | None) -> None:
        """Run the actors, and move the clock."""
        if not self.may_block():
            super().block_on(future, timeout)
        if not self.wait_until(lambda: future.done, timeout):
            raise Timeout(f"no answer in {_PATIENCE if timeout is None else timeout:g} seconds of virtual time")

    # One step

    def _turn(self) -> None:
        if self.trace.steps >= self._last_step:
            raise RuntimeError("\n".join(["the actors never become idle; the last steps:", *self.trace.lines()[-10:]]))
        ready, tasks, callbacks = self._ready, self.loop.tasks, self.loop.callbacks
        if not ready and not tasks and not callbacks:
            self.loop.stop()
            return
        for fault in self.faults:
            fault.strike(self.random)
        self._draw(*self._choices())

    def _choices(self) -> tuple[Sequence[Process], Sequence[_LoopTask]]:
        """Return the processes and tasks that can continue: those that are ready and not delayed."""
        delayed = self._delayed
        if not delayed:
            return self._ready, self.loop.tasks
        for process in [process for process, until in delayed.items() if until <= self.trace.steps]:
            del delayed[process]
        ready = [process for process in self._ready if process not in delayed]
        tasks = [task for task in self.loop.tasks if process_of(task[0]) not in delayed]
        return ready, tasks

    def _draw(self, ready: Sequence[Process], tasks: Sequence[_LoopTask]) -> None:
        count = len(ready) + len(tasks)
        choices = count + bool(self.loop.callbacks)
        drawn = int(self.random.random() * choices)
        if not choices:
            self._end_delay()
        elif drawn < len(ready):
            self._run_process(ready[drawn])
        elif drawn < count:
            self._run_task(tasks[drawn - len(ready)])
        else:
            self._run_callback()

    def _run_process(self, process: Process) -> None:
        self._ready.remove(process)
        if not process.alive or self.parks(process):
            return
        self.trace.turn(process, self.clock.now())
        self.current = process
        try:
            process.context.run(process.turn)
        except BaseException as error:  # noqa: BLE001  # as in `Scheduler._pass`
            process.context.run(process.escaped, error)
        finally:
            self.current = None
        self._record_crash(process)

    def _run_task(self, task: _LoopTask) -> None:
        self.loop.tasks.remove(task)
        process = process_of(task[0])
        self.trace.note(self.clock.now(), process, "continues" if process else f"{_name_of(task[0])} continues")
        task[1].run()

    def _run_callback(self) -> None:
        owner, handle = self.loop.callbacks.popleft()
        if handle.cancelled():
            return
        process = owner if isinstance(owner, Process) else None
        self.trace.note(self.clock.now(), process, "resumes" if process else "the event loop continues")
        handle.run()
        if process is not None:
            self._record_crash(process)

    # Crashes

    def _record_crash(self, process: Process) -> None:
        """Record an actor that raised an exception itself, but not actors that exited because of a link."""
        reason = process.reason
        if not isinstance(reason, Crash) or reason.exception.__traceback__ is None:
            return
        if not any(crashed.error is reason.exception for crashed in self.crashes):
            self.crashes.append(Crashed(process.name, reason.exception))

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            loop.default_exception_handler(context)
        else:
            self.crashes.append(Crashed(str(context.get("message", "the event loop")), error))

    # Delays

    def delay(self, process: Process, *, steps: int | None, seconds: float) -> None:
        """Give an actor no turn for a number of steps or seconds."""
        if steps is not None:
            self._delayed[process] = self.trace.steps + steps
        else:
            self._delayed[process] = math.inf
            self.clock.call_after(seconds, lambda: self._delayed.pop(process, None))

    def is_delayed(self, process: Process) -> bool:
        """Return whether an actor is delayed now."""
        return process in self._delayed

    def _end_delay(self) -> None:
        """End the next delay early, as no other actor has work; or stop until the clock moves."""
        first = min(self._delayed, key=self._delayed.__getitem__, default=None)
        if first is None or self._delayed[first] == math.inf:
            self.loop.stop()
        else:
            del self._delayed[first]

    def close(self) -> None:
        """Kill all actors, without faults and delays."""
        self.faults.clear()
        self._delayed.clear()
        super().close()


def process_of(task: asyncio.Task[Any]) -> Process | None:
    """Return the actor whose handler a task runs, or None."""
    coroutine = task.get_coro()
    return coroutine.process if isinstance(coroutine, Contained) else None


def _name_of(task: asyncio.Task[Any]) -> str:
    """Return the name given to a task, or that of its coroutine, as asyncio numbers the tasks of the whole program."""
    name = task.get_name()
    return str(getattr(task.get_coro(), "__qualname__", "a task")) if name.startswith("Task-") else name
