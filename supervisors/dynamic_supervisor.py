"""The supervisor of children that come and go: any number, each by itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import Exit, ExitReason, Refuse, Stop
from actors.future import Future
from supervisors.child import Child, launch, stop_children, until_started
from supervisors.child_spec import INFINITY, ChildSpec
from supervisors.exceptions import ChildNotFoundError, TooManyChildrenError
from supervisors.restart import RestartIntensity, should_restart
from supervisors.supervisor import (
    TOO_MANY_RESTARTS,
    ChildCount,
    CountChildren,
    StartChild,
    TerminateChild,
    WhichChildren,
)

if TYPE_CHECKING:
    from actors.ref import ActorRef

__all__ = ["DynamicSupervisor"]

_log = logging.getLogger("ashtree.supervisors")


class DynamicSupervisor(Actor):
    """Starts children on demand (`start`), one_for_one; its work for a child does not grow with their number.

    A child that has ended for good is forgotten. At the end all children are told at once and awaited together.
    """

    shutdown: ClassVar[float] = INFINITY

    def __init__(self, *, max_children: float = INFINITY, max_restarts: int = 3, max_seconds: float = 5.0) -> None:
        if not max_children >= 0:
            raise ValueError(f"max_children must be >= 0, got {max_children!r}")
        self.max_children = max_children
        self._intensity = RestartIntensity(max_restarts, max_seconds)
        self._children: dict[ActorRef[Any], Child] = {}

    def on_start(self) -> None:
        """Be told when a child ends."""
        self.trap_exit = True

    def on_receive(self, message: Any) -> Any:
        """Do what is asked, and mind the children that end."""
        match message:
            case Exit(actor=ref, reason=reason):
                return self._on_exit(ref, reason)
            case StartChild(spec=spec):
                return self._start_one(spec)
            case TerminateChild(child=ref, reason=reason):
                return self._terminate_one(ref, reason)
            case WhichChildren():
                return [child.info() for child in self._children.values()]
            case CountChildren():
                return ChildCount(len(self._children), len(self._children))
        return super().on_receive(message)

    # Children that come

    def _start_one(self, spec: ChildSpec) -> Any:
        if len(self._children) >= self.max_children:
            return Refuse(TooManyChildrenError(int(self.max_children)))
        child = Child(spec)
        try:
            started = launch(self._process, child)
        except StartError as error:
            return Refuse(error)
        self._remember(child)
        return child.ref if started is None else self._await_started(child, started)

    def _remember(self, child: Child) -> None:
        assert child.ref is not None
        self._children[child.ref] = child

    async def _await_started(self, child: Child, started: Future[Any]) -> Any:
        try:
            return await until_started(child, started)
        except StartError as error:
            self._forget(child)
            return Refuse(error)

    def _forget(self, child: Child) -> None:
        if child.ref is not None:
            self._children.pop(child.ref, None)

    # Children that end

    def _on_exit(self, ref: ActorRef[Any], reason: ExitReason) -> Any:
        child = self._children.pop(ref, None)
        if child is None or not should_restart(child.spec.restart, reason):
            return None
        started = self._restart(child, reason)
        return self._await_restarted(child, started) if isinstance(started, Future) else started

    def _restart(self, child: Child, reason: ExitReason | StartError) -> Future[Any] | Stop | None:
        while self._intensity.allows(self.clock.now()):
            child.restarts += 1
            _log.info("%s restarts %s, which ended: %s", self, child.spec.id, reason)
            try:
                started = launch(self._process, child)
            except StartError as error:
                reason = error
            else:
                self._remember(child)
                return started
        return self._give_up(child, reason)

    async def _await_restarted(self, child: Child, started: Future[Any] | Stop | None) -> Stop | None:
        while isinstance(started, Future):
            try:
                await until_started(child, started)
            except StartError as error:
                self._forget(child)
                started = self._restart(child, error)
            else:
                return None
        return started

    def _give_up(self, child: Child, reason: ExitReason | StartError) -> Stop:
        _log.error(
            "%s gives up: more than %d restarts within %g s; the last to end was %s: %s",
            self,
            self._intensity.max_restarts,
            self._intensity.max_seconds,
            child.spec.id,
            reason,
        )
        return Stop(TOO_MANY_RESTARTS)

    # The end

    def _terminate_one(self, ref: ActorRef[Any], reason: ExitReason) -> Any:
        child = self._children.get(ref)
        return Refuse(ChildNotFoundError(ref)) if child is None else self._terminate_child(ref, child, reason)

    async def _terminate_child(self, ref: ActorRef[Any], child: Child, reason: ExitReason) -> None:
        # Forgotten last: should the supervisor be ended meanwhile, it waits for this child too.
        await stop_children(self._process, [child], reason)
        del self._children[ref]

    def terminate(self, reason: ExitReason) -> Any:
        """Stop all children together."""
        return stop_children(self._process, list(self._children.values())) if self._children else None
