"""OTP's supervisors as a model to hold ours against: who is started, stopped and restarted, in which order and why.

Written from the manual pages of `supervisor` and of Elixir's `DynamicSupervisor`; it imports nothing of ours. It has a time
of its own, processes that are told to end, and supervisors whose work is a generator, which waits for other processes.

Three things in it are this project's and not OTP's, as `docs/design.md` has them: a process ends in order whether it traps
exits or not; an order to end cuts short whatever a supervisor waits for; a supervisor that gives up says so in the detail of
its shutdown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from math import inf
from typing import ClassVar, NamedTuple

from tests.supervisors.model_process import (
    BRUTAL_KILL,
    SHUTDOWN,
    Exited,
    Process,
    Spec,
    SupervisorSpec,
    Worker,
    WorkerSpec,
    World,
)

__all__ = ["Answer", "Call", "DynamicSupervisor", "Stop", "Supervisor", "spawn"]

GIVEN_UP = "shutdown, restart intensity reached"


def spawn(world: World, spec: Spec, parent: Supervisor | None) -> Process:
    """Start a process; it may need time to get there."""
    process: Process
    if isinstance(spec, WorkerSpec):
        process = Worker(world, spec, parent)
    elif isinstance(spec, SupervisorSpec) and spec.strategy == "dynamic":
        process = DynamicSupervisor(world, spec, parent)
    else:
        assert isinstance(spec, SupervisorSpec)
        process = Supervisor(world, spec, parent)
    process.start()
    return process


class Again(NamedTuple):
    """A child could not be started again: after what others have asked meanwhile, try once more."""

    child: Child


class Stop(NamedTuple):
    """Somebody asks the supervisor itself to stop."""


class Call(NamedTuple):
    """Somebody asks, and waits for the answer."""

    function: str
    argument: object
    answer: Answer


class Answer:
    """What a call returned: a process, "ok" or the name of an error; None until then."""

    value: Process | str | None = None

    def set(self, value: Process | str) -> None:
        assert self.value is None
        self.value = value


class Until(NamedTuple):
    """What a supervisor waits for: that the process gets on, or that so much time has passed."""

    process: Process
    seconds: float = inf


class Child:
    """A spec with the process that runs by it, if one does."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.process: Process | None = None
        self.restarting = False
        self.restarts = 0


Work = Generator[Until, None, None]
Success = Generator[Until, None, bool]


class Supervisor(Process):
    """Does one thing after another: starts, stops and restarts children, answers calls."""

    def __init__(self, world: World, spec: SupervisorSpec, parent: Supervisor | None) -> None:
        super().__init__(world, spec, parent)
        self.spec = spec
        self.children = [Child(child) for child in spec.children]
        self.linked: list[Process] = []
        self.inbox: deque[Exited | Again | Stop | Call] = deque()
        self.work: Work | None = None
        self.call: Call | None = None
        self._restarts: list[float] = []

    @property
    def rests(self) -> bool:
        """Tell whether it would answer at once."""
        return self.state == "running" and self.work is None and not self.inbox

    # Its work, a step at a time

    def receive(self, message: Exited | Again | Stop | Call) -> None:
        """Handle the message when what came before is done."""
        self.inbox.append(message)
        self.world.soon(self._turn)

    def _turn(self) -> None:
        if self.state == "running" and self.work is None and self.inbox:
            self._do(self._handle(self.inbox.popleft()))

    def _do(self, work: Work) -> None:
        self.work = work
        self._go_on(work)

    def _go_on(self, work: Work) -> None:
        if self.work is not work:
            return
        try:
            until = next(work)
        except StopIteration:
            if self.work is work:
                self.work = self.call = None
                self.world.soon(self._turn)
            return
        resume = Once(lambda: self.world.soon(lambda: self._go_on(work)))
        until.process.observers.append(resume)
        if until.seconds < inf:
            self.world.after(until.seconds, resume)

    def _drop(self) -> None:
        """Stop in the middle of what it does."""
        self.work = None

    # Start

    def start(self) -> None:
        self._do(self._start_all())

    def _start_all(self) -> Work:
        for child in self.children:
            if not (yield from self._launch(child)):
                yield from self._stop_all()
                self.finish("StartError")
                return
        self.write("starts")
        self.turn_to("running")

    def _launch(self, child: Child) -> Success:
        child.restarting = False
        child.process = process = spawn(self.world, child.spec, self)
        self.linked.append(process)
        while process.state in ("starting", "unstarted"):
            yield Until(process)
        if not process.ran:
            child.process = None
        return process.ran

    # Children that end

    def _handle(self, message: Exited | Again | Stop | Call) -> Work:
        match message:
            case Exited(process, reason):
                yield from self._on_exited(process, reason)
            case Again(child) if child.restarting:
                yield from self._restart(child)
            case Stop():
                yield from self._end("normal")
            case Call(function, argument, _):
                self.call = message
                yield from getattr(self, f"_{function}")(argument)

    def _on_exited(self, process: Process, reason: str) -> Work:
        for child in self.children:
            if child.process is process:
                child.process = None
                yield from self._decide(child, reason)
                return

    def _decide(self, child: Child, reason: str) -> Work:
        """The table of restart types; a child that ends for good may end the supervisor with it."""
        in_order = reason == "normal" or reason.startswith(SHUTDOWN)
        if child.spec.restart == "permanent" or (child.spec.restart == "transient" and not in_order):
            yield from self._restart(child)
            return
        if child.spec.restart == "temporary":
            self.children.remove(child)
        if child.spec.significant and self._shuts_down():
            yield from self._end(SHUTDOWN)

    def _shuts_down(self) -> bool:
        if self.spec.auto_shutdown == "all_significant":
            return not any(child.spec.significant and (child.process or child.restarting) for child in self.children)
        return self.spec.auto_shutdown == "any_significant"

    def _restart(self, failed: Child) -> Work:
        if self._too_many_restarts():
            yield from self._end(GIVEN_UP)
            return
        failed.restarts += 1
        failed.restarting = False
        group = self._group(failed)
        yield from self._stop(reversed(group))
        self.children = [child for child in self.children if child not in group or child.spec.restart != "temporary"]
        for child in group:
            if child in self.children and not (yield from self._launch(child)):
                self._try_again(child)
                return

    def _too_many_restarts(self) -> bool:
        now = self.world.now
        self._restarts = [then for then in self._restarts if now - then <= self.spec.max_seconds] + [now]
        return len(self._restarts) > self.spec.max_restarts

    def _group(self, failed: Child) -> list[Child]:
        place = self.children.index(failed)
        first, last = {
            "one_for_one": (place, place + 1),
            "one_for_all": (0, None),
            "rest_for_one": (place, None),
        }[self.spec.strategy]
        return self.children[first:last]

    def _try_again(self, child: Child) -> None:
        child.restarting = True
        self.receive(Again(child))

    # Stopping them

    def _stop(self, children: Iterable[Child]) -> Work:
        for child in list(children):
            child.restarting = False
            if child.process is not None:
                yield from self._stop_one(child.process, child.spec.shutdown)
                child.process = None

    def _stop_one(self, process: Process, shutdown: float) -> Work:
        if shutdown == BRUTAL_KILL:
            process.kill()
            return
        process.signal(SHUTDOWN, self)
        deadline = self.world.now + shutdown
        while process.alive and self.world.now < deadline:
            yield Until(process, deadline - self.world.now)
        process.kill()

    def _stop_all(self) -> Work:
        yield from self._stop(reversed(self.children))

    # What others ask for

    def _answer(self, value: Process | str) -> None:
        assert self.call is not None
        self.call.answer.set(value)
        self.call = None

    def _find(self, child_id: object) -> Child | None:
        return next((child for child in self.children if child.spec.id == child_id), None)

    def _start_child(self, spec: Spec) -> Work:
        known = self._find(spec.id)
        if known is not None:
            self._answer("AlreadyPresentError" if known.process is None else "AlreadyStartedError")
            return
        child = Child(spec)
        self.children.append(child)
        if (yield from self._launch(child)):
            assert child.process is not None
            self._answer(child.process)
        else:
            self.children.remove(child)
            self._answer("StartError")

    def _terminate_child(self, child_id: str) -> Work:
        child = self._find(child_id)
        if child is None:
            self._answer("ChildNotFoundError")
            return
        yield from self._stop([child])
        if child.spec.restart == "temporary":
            self.children.remove(child)
        self._answer("ok")

    def _restart_child(self, child_id: str) -> Work:
        child = self._find(child_id)
        error = self._not_stopped(child)
        if child is None or error is not None:
            self._answer(error or "")
        elif (yield from self._launch(child)):
            assert child.process is not None
            self._answer(child.process)
        else:
            self._answer("StartError")

    def _delete_child(self, child_id: str) -> Work:
        child = self._find(child_id)
        error = self._not_stopped(child)
        if child is None or error is not None:
            self._answer(error or "")
        else:
            self.children.remove(child)
            self._answer("ok")
        yield from ()

    @staticmethod
    def _not_stopped(child: Child | None) -> str | None:
        if child is None:
            return "ChildNotFoundError"
        if child.restarting:
            return "ChildRestartingError"
        return "ChildRunningError" if child.process is not None else None

    # The end

    def order(self, reason: str) -> None:
        self._drop()
        self._do(self._cut_short(reason) if self.state == "starting" else self._end(reason))

    def _cut_short(self, reason: str) -> Work:
        self.turn_to("unstarted")
        yield from self._stop_all()
        self.finish(reason)

    def _end(self, reason: str) -> Work:
        self.turn_to("ending")
        yield from self._stop_all()
        self.write(f"ends: {reason}")
        self.finish(reason)

    def finish(self, reason: str) -> None:
        self._drop()
        super().finish(reason)
        for child in self.linked:
            child.signal(reason, self)
        for message in [self.call, *self.inbox]:
            if isinstance(message, Call):
                message.answer.set("ActorDeadError")
        self.call = None
        self.inbox.clear()


class Once:
    """A callback that does its work the first time."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback: Callable[[], object] | None = callback

    def __call__(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class DynamicSupervisor(Supervisor):
    """Each child by itself; at the end all are told at once."""

    stops_together: ClassVar[bool] = True

    def _group(self, failed: Child) -> list[Child]:
        return [failed]

    def _shuts_down(self) -> bool:
        return False

    def _on_exited(self, process: Process, reason: str) -> Work:
        yield from super()._on_exited(process, reason)
        self.children = [child for child in self.children if child.process is not None or child.restarting]

    def _stop_all(self) -> Work:
        running = [child for child in self.children if child.process is not None]
        for child in running:
            self._tell(child)
        for child in running:
            while child.process is not None and child.process.alive:
                yield Until(child.process)
            child.process = None

    def _tell(self, child: Child) -> None:
        assert child.process is not None
        if child.spec.shutdown == BRUTAL_KILL:
            child.process.kill()
            return
        child.process.signal(SHUTDOWN, self)
        if child.spec.shutdown < inf:
            process = child.process
            self.world.after(child.spec.shutdown, lambda: process.kill() if self.alive else None)

    def _start_child(self, spec: Spec) -> Work:
        if len(self.children) >= self.spec.max_children:
            self._answer("TooManyChildrenError")
            return
        child = Child(spec)
        self.children.append(child)
        if (yield from self._launch(child)):
            assert child.process is not None
            self._answer(child.process)
        else:
            self.children.remove(child)
            self._answer("StartError")

    def _restart_child(self, _: object) -> Work:
        self._answer("UnsupportedCallError")
        yield from ()

    def _delete_child(self, _: object) -> Work:
        return self._restart_child(_)

    def _terminate_child(self, process: object) -> Work:
        for child in self.children:
            if child.process is process:
                yield from self._stop([child])
                self.children.remove(child)
                self._answer("ok")
                return
        self._answer("ChildNotFoundError")
