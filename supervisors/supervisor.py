"""The supervisor of a fixed list of children: started in order, restarted by the rules, stopped in reverse."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import SHUTDOWN, Exit, ExitReason, Refuse, Shutdown, Stop
from supervisors.child import Child, ChildInfo, launch, start, stop_children, until_started
from supervisors.child_spec import INFINITY, ChildSpec, Restart, Supervised, child_spec
from supervisors.exceptions import ChildExistsError, ChildNotFoundError
from supervisors.restart import RestartIntensity, Strategy, affected, should_restart

if TYPE_CHECKING:
    from actors.future import Future
    from actors.ref import ActorRef

__all__ = [
    "ChildCount",
    "CountChildren",
    "StartChild",
    "Supervisor",
    "TerminateChild",
    "WhichChildren",
    "count_children",
    "start_child",
    "terminate_child",
    "which_children",
]

_log = logging.getLogger("ashtree.supervisors")

TOO_MANY_RESTARTS = Shutdown("restart intensity reached")


class StartChild(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor to start one more child; the answer is its ref."""

    spec: ChildSpec


class TerminateChild(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor to end a child, by an exit signal with `reason`, and not to start it again."""

    child: Any
    reason: ExitReason = SHUTDOWN


class WhichChildren(msgspec.Struct, frozen=True):
    """Ask a supervisor for its children."""


class CountChildren(msgspec.Struct, frozen=True):
    """Ask a supervisor how many children it has."""


class _TryAgain(msgspec.Struct, frozen=True, eq=False):
    """A supervisor tells itself that a child could not be started again."""

    child: Child
    reason: StartError


class ChildCount(NamedTuple):
    """How many children a supervisor has a spec of, and how many of them run."""

    specs: int
    active: int


def start_child(supervisor: ActorRef[Any], child: Supervised) -> Future[ActorRef[Any]]:
    """Start one more child under a running supervisor; the future is of its ref.

    Raises (in the future):
        StartError: if the child could not start.
        ChildExistsError: if a `Supervisor` has a child with that id.
    """
    return supervisor.ask(StartChild(child_spec(child)), block=False, timeout=None)


def terminate_child(supervisor: ActorRef[Any], child: Hashable) -> Future[None]:
    """End a child, given by its id (or its ref, under a `DynamicSupervisor`), and forget it.

    Raises (in the future):
        ChildNotFoundError: if there is none such.
    """
    return supervisor.ask(TerminateChild(child), block=False, timeout=None)


def which_children(supervisor: ActorRef[Any]) -> Future[list[ChildInfo]]:
    """Return a future of the children, in start order."""
    return supervisor.ask(WhichChildren(), block=False)


def count_children(supervisor: ActorRef[Any]) -> Future[ChildCount]:
    """Return a future of how many children there are."""
    return supervisor.ask(CountChildren(), block=False)


class Supervisor(Actor):
    """Starts its children in order, restarts those that end as their specs say, stops them in reverse.

    If a child cannot start, those before it are stopped and the supervisor itself cannot start. More than `max_restarts`
    restarts within `max_seconds` end it, with all children; then its own supervisor decides. A temporary child that has ended
    is forgotten.
    """

    shutdown: ClassVar[float] = INFINITY

    def __init__(
        self,
        children: Iterable[Supervised] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
    ) -> None:
        self.strategy = Strategy(strategy)
        self._intensity = RestartIntensity(max_restarts, max_seconds)
        self._children: list[Child] = []
        for child in children:
            self._add(child_spec(child))

    def _add(self, spec: ChildSpec) -> Child:
        if any(child.spec.id == spec.id for child in self._children):
            raise ChildExistsError(spec.id)
        child = Child(spec)
        self._children.append(child)
        return child

    def on_start(self) -> Coroutine[Any, Any, None]:
        """Start all children, in order."""
        self.trap_exit = True
        return self._start_all()

    async def _start_all(self) -> None:
        try:
            for child in self._children:
                await start(self._process, child)
        except BaseException:
            # A child could not start, or the supervisor was told to end before all had.
            await self._stop_all(self._children)
            raise

    def on_receive(self, message: Any) -> Any:
        """Do what is asked, and mind the children that end."""
        match message:
            case Exit(actor=ref, reason=reason):
                return self._on_exit(ref, reason)
            case _TryAgain(child=child, reason=reason):
                return self._on_try_again(child, reason)
            case StartChild(spec=spec):
                return self._start_one(spec)
            case TerminateChild(child=child_id, reason=reason):
                return self._terminate_one(child_id, reason)
            case WhichChildren():
                return [child.info() for child in self._children]
            case CountChildren():
                running = sum(child.ref is not None for child in self._children)
                return ChildCount(len(self._children), running)
        return super().on_receive(message)

    # Children that end

    def _on_exit(self, ref: ActorRef[Any], reason: ExitReason) -> Any:
        failed = next((child for child in self._children if child.ref is ref), None)
        if failed is None:
            return None
        failed.ref = None
        if should_restart(failed.spec.restart, reason):
            return self._restart(failed, reason)
        self._forget_temporary([failed])
        return None

    def _forget_temporary(self, children: Iterable[Child]) -> None:
        for child in list(children):
            if child.spec.restart is Restart.TEMPORARY:
                self._children.remove(child)

    def _restart(self, failed: Child, reason: ExitReason | StartError) -> Any:
        if not self._intensity.allows(self.clock.now()):
            return self._give_up(failed, reason)
        failed.restarts += 1
        group = affected(self.strategy, self._children, failed)
        _log.info("%s restarts %s, which ended: %s", self, _names(group), reason)
        if len(group) > 1:
            return self._restart_group(group)
        # The common case, one_for_one with a plain on_start, needs no task.
        try:
            started = launch(self._process, failed)
        except StartError as error:
            return self._try_again(failed, error)
        return None if started is None else self._await_restarted(failed, started)

    async def _await_restarted(self, child: Child, started: Future[Any]) -> None:
        try:
            await until_started(child, started)
        except StartError as error:
            self._try_again(child, error)

    async def _restart_group(self, group: Sequence[Child]) -> None:
        await self._stop_all(group)
        self._forget_temporary(group)
        for child in [child for child in self._children if child in group]:
            try:
                await start(self._process, child)
            except StartError as error:
                self._try_again(child, error)
                return

    def _try_again(self, child: Child, error: StartError) -> None:
        """Count the failure as one more end of the child, after what others have asked meanwhile (as OTP does)."""
        child.ref = None
        self.send(self, _TryAgain(child, error))

    def _on_try_again(self, child: Child, error: StartError) -> Any:
        return self._restart(child, error) if child.ref is None and child in self._children else None

    def _give_up(self, failed: Child, reason: ExitReason | StartError) -> Stop:
        _log.critical(
            "%s gives up: more than %d restarts within %g s; the last to end was %s: %s",
            self,
            self._intensity.max_restarts,
            self._intensity.max_seconds,
            failed.spec.id,
            reason,
        )
        return Stop(TOO_MANY_RESTARTS)

    # What others ask for

    def _start_one(self, spec: ChildSpec) -> Any:
        try:
            child = self._add(spec)
        except ChildExistsError as error:
            return Refuse(error)
        try:
            started = launch(self._process, child)
        except StartError as error:
            self._children.remove(child)
            return Refuse(error)
        return child.ref if started is None else self._await_started(child, started)

    async def _await_started(self, child: Child, started: Future[Any]) -> Any:
        try:
            return await until_started(child, started)
        except StartError as error:
            self._children.remove(child)
            return Refuse(error)

    def _terminate_one(self, child_id: Hashable, reason: ExitReason) -> Any:
        child = next((child for child in self._children if child.spec.id == child_id), None)
        return Refuse(ChildNotFoundError(child_id)) if child is None else self._terminate_child(child, reason)

    async def _terminate_child(self, child: Child, reason: ExitReason) -> None:
        # Forgotten last: should the supervisor be ended meanwhile, it waits for this child too.
        await stop_children(self._process, [child], reason)
        self._children.remove(child)

    # The end

    def terminate(self, reason: ExitReason) -> Any:
        """Stop all children, the last started first."""
        return self._stop_all(self._children)

    async def _stop_all(self, children: Sequence[Child]) -> None:
        for child in reversed(children):
            await stop_children(self._process, [child])


def _names(children: Sequence[Child]) -> str:
    return ", ".join(str(child.spec.id) for child in children)
