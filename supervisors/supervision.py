"""What every supervisor does: it starts children, minds their ends, starts them again by the rules, and answers calls."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Reversible
from random import random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import SHUTDOWN, Exit, ExitReason, Refuse, Shutdown, Stop
from supervisors.calls import (
    ChildCount,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    TerminateChild,
    WhichChildren,
)
from supervisors.child import Child, launch, stop_children, until_started
from supervisors.child_spec import INFINITY, ChildKind, ChildSpec, Restart
from supervisors.exceptions import SupervisorsError
from supervisors.restart import RestartIntensity, should_restart
from supervisors.restart_events import child_restarted

if TYPE_CHECKING:
    from actors.future import Future
    from actors.ref import ActorRef

Failed = Callable[[Child, StartError], Any]

__all__ = ["TOO_MANY_RESTARTS", "Children", "Supervision", "supervised_by", "supervised_child"]

_log = logging.getLogger("ashtree.supervisors")

TOO_MANY_RESTARTS = Shutdown("restart intensity reached")


class _Again(msgspec.Struct, frozen=True, eq=False):
    """A supervisor tells itself to start a child that waited, or to count one more failure of one that could not start."""

    child: Child
    failure: StartError | None = None


class Children(Collection[Child], Reversible[Child], Protocol):
    """The children of a supervisor in start order, as the values of a dict are."""


class Supervision(Actor):
    """What `Supervisor` and `DynamicSupervisor` share; they say which children there are, and who is restarted with whom."""

    shutdown: ClassVar[float] = INFINITY
    kind: ClassVar[ChildKind] = ChildKind.SUPERVISOR

    def __init__(self, max_restarts: int, max_seconds: float) -> None:
        self._intensity = RestartIntensity(max_restarts, max_seconds)
        # Those that run, and, under the ref that they had last, those that are to be started again.
        self._by_ref: dict[ActorRef[Any], Child] = {}

    @property
    @abstractmethod
    def _children(self) -> Children:
        """Return all children, in start order."""

    @abstractmethod
    def _add(self, spec: ChildSpec) -> Child:
        """Return a child that is to be started, or raise what keeps it from being one."""

    @abstractmethod
    def _discard(self, child: Child) -> None:
        """Forget a child that does not run."""

    @abstractmethod
    def _find(self, key: Any) -> Child:
        """Return the child that callers mean by `key`, or raise ChildNotFoundError."""

    @abstractmethod
    def _find_stopped(self, key: Any) -> Child:
        """Return the child that callers mean by `key`, or raise what keeps it from being restarted or deleted."""

    def on_start(self) -> Any:
        """Be told when a child ends."""
        self.trap_exit = True

    def on_receive(self, message: Any) -> Any:
        """Mind the children that end, and do what is asked."""
        try:
            return self._handle(message)
        except SupervisorsError as error:
            return Refuse(error)

    def _handle(self, message: Any) -> Any:
        match message:
            case Exit(actor=ref, reason=reason):
                return self._on_exit(ref, reason)
            case _Again():
                return self._on_again(message)
            case StartChild(spec=spec):
                return self._launch(self._add(spec), self._discard_and_refuse)
            case TerminateChild(child=key, reason=reason):
                return self._terminate_child(self._find(key), reason)
            case RestartChild(child=key):
                return self._launch(self._find_stopped(key), _refuse)
            case DeleteChild(child=key):
                return self._discard(self._find_stopped(key))
            case GetChildSpec(child=key):
                return self._find(key).spec
            case WhichChildren():
                return [child.info() for child in self._children]
            case CountChildren():
                return _count(self._children)
        return super().on_receive(message)

    def _describe(self, message: Any) -> str:
        # The arguments of a child may be secret: those of a channel are what its client sent.
        if isinstance(message, StartChild):
            return f"StartChild({message.spec.actor.__name__}, id={message.spec.id!r})"
        return super()._describe(message)

    # Children that start

    def _launch(self, child: Child, failed: Failed) -> Any:
        """Start a child; return its ref or what `failed` makes of the error, or a coroutine of it if the start takes time."""
        last: Any = child.ref
        try:
            starting = launch(self._process, child)
        except StartError as error:
            return failed(child, error)
        if starting is None:
            return self._launched(child, last)
        return self._await_launched(child, last, starting, failed)

    async def _await_launched(self, child: Child, last: Any, starting: Future[Any], failed: Failed) -> Any:
        # Known before it has started: should the supervisor be ended meanwhile, it stops this child too.
        ref: Any = child.ref
        self._by_ref[ref] = child
        try:
            await until_started(child, starting)
        except StartError as error:
            del self._by_ref[ref]
            child.ref = last
            return failed(child, error)
        return self._launched(child, last)

    def _launched(self, child: Child, last: Any) -> ActorRef[Any]:
        assert child.ref is not None
        self._by_ref.pop(last, None)
        self._by_ref[child.ref] = child
        child.again = None
        return child.ref

    def _discard_and_refuse(self, child: Child, error: StartError) -> Refuse:
        self._discard(child)
        return Refuse(error)

    # Children that end

    def _on_exit(self, ref: ActorRef[Any], reason: ExitReason) -> Any:
        child = self._by_ref.get(ref)
        if child is None:
            return None
        if should_restart(child.spec.restart, reason):
            return self._restart(child, reason)
        del self._by_ref[ref]
        child.ref = None
        return self._on_end(child)

    def _on_end(self, child: Child) -> Stop | None:
        """Take note that a child has ended by itself, for good."""
        self._retire(child)
        return None

    def _retire(self, child: Child) -> None:
        if child.spec.restart is Restart.TEMPORARY:
            self._discard(child)

    def _restart(self, child: Child, reason: ExitReason | StartError) -> Any:
        """Count a restart, and start the child again: now, or when its back-off is over."""
        now = self.clock.now()
        if not self._intensity.allows(now):
            return self._give_up(child, reason)
        child.restarts += 1
        child_restarted(self.actor_ref, child, reason)
        seconds = child.wait(now, random())  # noqa: S311  # it spreads the load, and is no secret
        when = f" in {seconds:g} s" if seconds else ""
        _log.info("%s restarts %s%s, which ended: %s", self, child.spec.id, when, reason)
        return self._delay(child, seconds) if seconds else self._start_again(child)

    def _delay(self, child: Child, seconds: float) -> Any:
        """Start the child again after some seconds, and do what others ask meanwhile."""
        child.again = _Again(child)
        self.send_after(seconds, child.again)

    def _start_again(self, child: Child) -> Any:
        return self._launch(child, self._try_again)

    def _try_again(self, child: Child, error: StartError) -> None:
        """Count the failure as one more end of the child, after what others have asked meanwhile (as OTP does)."""
        child.again = _Again(child, error)
        self.send(self, child.again)

    def _on_again(self, again: _Again) -> Any:
        child = again.child
        if child.again is not again:
            # It was terminated, or restarted with its siblings, while it waited.
            return None
        return self._start_again(child) if again.failure is None else self._restart(child, again.failure)

    def _give_up(self, child: Child, reason: ExitReason | StartError) -> Stop:
        _log.critical(
            "%s gives up: more than %d restarts within %g s; the last to end was %s: %s",
            self,
            self._intensity.max_restarts,
            self._intensity.max_seconds,
            child.spec.id,
            reason,
        )
        return Stop(TOO_MANY_RESTARTS)

    # Children that are ended

    async def _terminate_child(self, child: Child, reason: ExitReason) -> None:
        await self._stop_children([child], reason)
        child.waits = None
        self._retire(child)

    async def _stop_children(self, children: Collection[Child], reason: ExitReason = SHUTDOWN) -> None:
        """End children together; those that wait to be started again will not be."""
        refs: list[Any] = []
        for child in children:
            child.again = None
            refs.append(child.ref)
        await stop_children(self._process, children, reason)
        # Forgotten last: should the supervisor be ended meanwhile, it waits for these too.
        for ref in refs:
            self._by_ref.pop(ref, None)


# For readers of the tree. They are functions because a supervisor is subclassed by authors, whose attributes may have any name.


def supervised_by(supervisor: Supervision) -> Children:
    """Return the children of a supervisor, in start order: a live view, for the thread of its event loop."""
    return supervisor._children


def supervised_child(supervisor: Supervision, ref: ActorRef[Any]) -> Child | None:
    """Return the child of a supervisor that runs under `ref`, or did last and is to be restarted; None if there is none."""
    return supervisor._by_ref.get(ref)


def _refuse(_child: Child, error: StartError) -> Refuse:
    return Refuse(error)


def _count(children: Iterable[Child]) -> ChildCount:
    specs = active = supervisors = 0
    for child in children:
        specs += 1
        active += child.is_running
        supervisors += child.spec.kind is ChildKind.SUPERVISOR
    return ChildCount(specs, active, supervisors, specs - supervisors)
