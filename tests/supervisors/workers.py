"""Children for supervisors under test: they write down their lives, and start, fail and end as they are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from actors.actor import Actor
from actors.exits import SHUTDOWN, Crash, ExitReason, Shutdown, Stop
from actors.future import Future
from supervisors.calls import which_children
from supervisors.child_spec import ChildSpec
from supervisors.supervisor import Supervisor

if TYPE_CHECKING:
    from actors.ref import ActorRef
    from actors.testing import ManualRuntime
    from supervisors.child import ChildInfo


class BoomError(Exception):
    """What workers crash with."""


class Worker(Actor):
    """Writes its starts and ends into a journal.

    - `plan`: for each start to come, the exception that it fails with, or None; when it is used up, starts succeed.
    - `start_takes`, `end_takes`: seconds of its own clock; an end that takes None never comes.
    """

    def __init__(
        self,
        label: str,
        journal: list[str],
        *,
        plan: list[BaseException | None] | None = None,
        start_takes: float = 0.0,
        end_takes: float | None = 0.0,
    ) -> None:
        self.label, self.journal = label, journal
        self.plan = plan if plan is not None else []
        self.start_takes, self.end_takes = start_takes, end_takes

    def on_start(self) -> Any:
        return self._start_slowly() if self.start_takes else self._start()

    async def _start_slowly(self) -> None:
        self.journal.append(f"{self.label} is starting")
        await self._pass(self.start_takes)
        self._start()

    def _start(self) -> None:
        error = self.plan.pop(0) if self.plan else None
        if error is not None:
            self.journal.append(f"{self.label} fails")
            raise error
        self.journal.append(f"{self.label} starts")

    def on_receive(self, message: Any) -> Any:
        match message:
            case BaseException():
                raise message
            case ExitReason():
                return Stop(message)
            case float():
                return self._pass(message)
        return f"{self.label} got {message}"

    def terminate(self, reason: ExitReason) -> Any:
        if self.end_takes != 0.0:
            return self._end_slowly(reason)
        self.journal.append(f"{self.label} ends: {in_words(reason)}")
        return None

    async def _end_slowly(self, reason: ExitReason) -> None:
        self.journal.append(f"{self.label} is ending")
        await self._pass(self.end_takes)
        self.journal.append(f"{self.label} ends: {in_words(reason)}")

    async def _pass(self, seconds: float | None) -> None:
        passed: Future[None] = Future(self._process.scheduler)
        if seconds is not None:
            self.clock.call_after(seconds, passed.set)
        await passed


def in_words(reason: ExitReason) -> str:
    match reason:
        case Crash(exception=error):
            return type(error).__name__
        case Shutdown(detail=detail) if detail is not None:
            return f"shutdown, {detail}"
    return type(reason).__name__.lower()


OF_SPEC = ("restart", "shutdown", "name", "significant", "backoff", "kind")


def worker(label: str, journal: list[str], **options: Any) -> ChildSpec:
    """Return the spec of a worker; options that are a spec's go there, the others to the worker."""
    of_spec = {key: options.pop(key) for key in OF_SPEC if key in options}
    return ChildSpec(Worker, (label, journal), options, id=label, **of_spec)


def start(runtime: ManualRuntime, children: Iterable[ChildSpec], **options: Any) -> ActorRef[Supervisor]:
    """Start a supervisor, which must succeed without time going by."""
    ref, started = start_unsettled(children, **options)
    runtime.settle()
    assert started.done, "it takes time"
    assert started.exception is None, started.exception
    return ref


def start_unsettled(children: Iterable[Any], **options: Any) -> tuple[ActorRef[Supervisor], Future[Any]]:
    """Begin to start a supervisor; return it with the future of its start."""
    ref: ActorRef[Supervisor] = Supervisor.start(children, **options)
    assert ref.process.started is not None
    return ref, ref.process.started


def child(supervisor: ActorRef[Any], child_id: str) -> ActorRef[Any]:
    """Return the running child with that id."""
    ref: ActorRef[Any] | None
    (ref,) = [info.ref for info in which_children(supervisor).get() if info.id == child_id]
    assert ref is not None, f"{child_id} does not run"
    return ref


def child_now(runtime: ManualRuntime, label: str) -> ActorRef[Any]:
    """Return the actor with that label, without asking its supervisor, which may be busy."""
    (ref,) = [ref for ref in runtime.actors if ref.process.label == label]
    return ref


def crash(runtime: ManualRuntime, supervisor: ActorRef[Any], child_id: str) -> ActorRef[Any]:
    """Make a child crash, let its supervisor deal with it, and return who crashed."""
    ref = child(supervisor, child_id)
    ref.send(BoomError(child_id))
    runtime.settle()
    return ref


def stop(runtime: ManualRuntime, supervisor: ActorRef[Any]) -> Future[ExitReason]:
    """Tell a supervisor to end; return the future of the reason it ends with."""
    down: Future[ExitReason] = supervisor.down()
    supervisor.exit(SHUTDOWN)
    runtime.settle()
    return down


def running(supervisor: ActorRef[Any]) -> list[str]:
    """Return the ids of the children that run."""
    return [str(info.id) for info in which_children(supervisor).get() if info.ref is not None]


def restarts(infos: Sequence[ChildInfo]) -> dict[str, int]:
    """Return how often each child was restarted."""
    return {str(info.id): info.restarts for info in infos}
