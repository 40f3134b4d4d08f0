"""What every supervisor does: it starts children, monitors them, restarts them by the rules, and answers calls."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Reversible
from random import random
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import msgspec

from actors.actor import Actor
from actors.exceptions import StartError
from actors.exits import SHUTDOWN, Exit, ExitReason, Refuse, Shutdown, Stop
from actors.future import Future
from actors.log import Log
from actors.redaction import Shown, safe_repr
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
    from actors.lowlevel import FormatStatus
    from actors.ref import ActorRef

Failed = Callable[[Child, StartError], object]
"""What to do about a child that could not start; its result is that of the supervisor's handler."""

__all__ = [
    "TOO_MANY_RESTARTS",
    "Children",
    "Supervision",
    "adopt",
    "limit_end",
    "limited_end",
    "start_at_once",
    "supervised_by",
    "supervised_child",
]

_log = Log("ashtree.supervisors")

_LATER = 1.0
"""Seconds after which the end of a child is looked at again that was seen when the event loop seemed to be about to end."""

TOO_MANY_RESTARTS = Shutdown("restart intensity reached")


class _Again(msgspec.Struct, eq=False):
    """A supervisor's message to itself: restart a child after its backoff, or count the failure of a restart."""

    child: Child
    failure: StartError | None = None

    def take_failure(self) -> StartError | None:
        """Return the failure, and refer to it no longer: each would keep the one before, by the frames of its traceback."""
        failure, self.failure = self.failure, None
        return failure


class Children(Collection[Child], Reversible[Child], Protocol):
    """The children of a supervisor in start order, as the values of a dict are."""


class Supervision(Actor):
    """The base of `Supervisor` and `DynamicSupervisor`, which keep the children and decide which are restarted together."""

    shutdown: ClassVar[float] = INFINITY
    kind: ClassVar[ChildKind] = ChildKind.SUPERVISOR

    # The monotonic time at which what is left of a tree is killed, once it is told to stop; of its root.
    _ends_at = INFINITY
    _no_dead_letters: ClassVar[tuple[type, ...]] = (_Again,)

    def __init__(self, max_restarts: int, max_seconds: float) -> None:
        self._intensity = RestartIntensity(max_restarts, max_seconds)
        # Running children by their refs, and those waiting for a restart by their previous refs.
        self._by_ref: dict[Hashable, Child] = {}

    @property
    @abstractmethod
    def _children(self) -> Children:
        """Return all children, in start order."""

    @abstractmethod
    def _add(self, spec: ChildSpec) -> Child:
        """Return a new child to be started, or raise the reason why it cannot be added."""

    @abstractmethod
    def _discard(self, child: Child) -> None:
        """Remove a child that is not running."""

    @abstractmethod
    def _find(self, key: Hashable) -> Child:
        """Return the child that callers identify by `key`, or raise ChildNotFoundError."""

    @abstractmethod
    def _find_stopped(self, key: Hashable) -> Child:
        """Return the child that callers identify by `key`, or raise the reason why it cannot be restarted or deleted."""

    def on_start(self) -> Any | None:
        """Trap exits, to be notified when a child ends."""
        self.trap_exit = True
        return None

    def on_receive(self, message: Any) -> Any:
        """Handle the exits of children and the calls of others."""
        try:
            return self._handle(message)
        except SupervisorsError as error:
            return Refuse(error)

    def _handle(self, message: object) -> object:
        match message:
            case Exit():
                return self._on_exit(message)
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

    def format_status(self, status: FormatStatus) -> FormatStatus:
        """Show a child that is to be started without its arguments: those of a channel are what its client sent."""
        if isinstance(status.message, StartChild):
            spec = status.message.spec
            status.message = Shown(f"StartChild({spec.actor.__name__}, id={safe_repr(spec.id)})")
        return status

    # Children that start

    def _launch(self, child: Child, failed: Failed) -> object:
        """Start a child; return its ref or the result of `failed`, or a coroutine of these if its `on_start` is one."""
        previous = child.ref
        try:
            starting = launch(self._process, child)
        except StartError as error:
            return failed(child, error)
        if starting is None:
            return self._launched(child, previous)
        return self._await_launched(child, previous, starting, failed)

    async def _await_launched(
        self, child: Child, previous: ActorRef | None, starting: Future[ActorRef], failed: Failed
    ) -> object:
        ref = child.ref
        assert ref is not None
        # Registered before it has started: if the supervisor is stopped meanwhile, it stops this child too.
        self._by_ref[ref] = child
        try:
            await until_started(child, starting)
        except StartError as error:
            del self._by_ref[ref]
            child.ref = previous
            return failed(child, error)
        finally:
            del starting  # as in `until_started`
        return self._launched(child, previous)

    def _launched(self, child: Child, previous: ActorRef | None) -> ActorRef:
        assert child.ref is not None
        if previous is not None:
            self._by_ref.pop(previous, None)
        self._by_ref[child.ref] = child
        child.again = None
        return child.ref

    def _discard_and_refuse(self, child: Child, error: StartError) -> Refuse:
        self._discard(child)
        return Refuse(error)

    # Children that end

    def _on_exit(self, exit_: Exit) -> object:
        ref, reason = exit_.actor, exit_.reason
        child = self._by_ref.get(ref)
        if child is None:
            return None
        if self._process.scheduler.is_ending:
            return self._look_later(exit_)
        if should_restart(child.spec.restart, reason):
            return self._restart(child, reason)
        del self._by_ref[ref]
        child.ref = None
        return self._on_end(child)

    def _on_end(self, child: Child) -> Stop | None:
        """Handle the end of a child that is not restarted."""
        self._retire(child)
        return None

    def _retire(self, child: Child) -> None:
        if child.spec.restart is Restart.TEMPORARY:
            self._discard(child)

    def _restart(self, child: Child, reason: ExitReason | StartError) -> object:
        """Count a restart, and restart the child: now, or after its backoff.

        One after a backoff does not count for the intensity, which limits restarts in a row: the waits limit them already, and
        an outage, for which they are meant, would end the tree during the first of them.
        """
        now = self.clock.now()
        if child.spec.backoff is None and not self._intensity.allows(now):
            return self._give_up(child, reason)
        child.restarts += 1
        child_restarted(self.actor_ref, child, reason)
        seconds = child.wait(now, random())  # noqa: S311  # it spreads the load and is not a secret
        if self._admits("restarts", child.spec.actor, logging.INFO):
            when = f" in {seconds:g} s" if seconds else ""
            _log.info("%s restarts %s%s, which ended: %s", self, child.spec.id, when, reason)
        del reason  # as in `take_failure`
        return self._delay(child, seconds) if seconds else self._start_again(child)

    def _delay(self, child: Child, seconds: float) -> object:
        """Restart the child after some seconds, and handle other messages meanwhile."""
        child.again = _Again(child)
        self.send_after(seconds, child.again)
        return None

    def _start_again(self, child: Child) -> object:
        return self._launch(child, self._try_again)

    def _try_again(self, child: Child, error: StartError) -> None:
        """Count the failure as one more exit of the child, after the messages received meanwhile (as OTP does)."""
        child.again = _Again(child, error)
        self._process.put(child.again)  # a bounded mailbox may refuse what is sent

    def _on_again(self, again: _Again) -> object:
        child = again.child
        if child.again is not again:
            # It was terminated, or restarted with its siblings, in the meantime.
            return None
        if self._process.scheduler.is_ending:
            return self._look_later(again)
        failed = again.failure is not None
        return self._restart(child, cast("StartError", again.take_failure())) if failed else self._start_again(child)

    def _admits(self, what: str, of: type, level: int) -> bool:
        return self._process.scheduler.crash_log.admits(_log, what, of, level)

    def _give_up(self, child: Child, reason: ExitReason | StartError) -> Stop:
        if self._admits("ends by too many restarts", type(self), logging.CRITICAL):
            _log.critical(
                "%s gives up: more than %d restarts within %g s; the last to end was %s: %s",
                self,
                self._intensity.max_restarts,
                self._intensity.max_seconds,
                child.spec.id,
                reason,
            )
        return Stop(TOO_MANY_RESTARTS)

    def _look_later(self, ended: object) -> object:
        """Restart nothing now, as the event loop seems to be about to end; look again whether it has."""
        self.send_after(_LATER, ended)
        return None

    # Children that are stopped

    async def _terminate_child(self, child: Child, reason: ExitReason) -> Stop | None:
        await self._stop_children([child], reason)
        child.waits = None
        self._retire(child)
        return None

    async def _stop_children(self, children: Collection[Child], reason: ExitReason = SHUTDOWN) -> None:
        """Stop children at the same time, and cancel their pending restarts."""
        refs = [child.ref for child in children if child.ref is not None]
        for child in children:
            child.again = None
        await stop_children(self._process, children, reason)
        # Removed last: if the supervisor is stopped meanwhile, it waits for these too.
        for ref in refs:
            self._by_ref.pop(ref, None)


# For readers of the tree. These are functions because authors subclass supervisors, and may give their attributes any name.


def supervised_by(supervisor: Supervision) -> Children:
    """Return the children of a supervisor, in start order: a live view, for the thread of its event loop."""
    return supervisor._children


def supervised_child(supervisor: Supervision, ref: ActorRef) -> Child | None:
    """Return the child that is running under `ref`, or is waiting for a restart and had it before; None if there is none."""
    return supervisor._by_ref.get(ref)


def limit_end(root: Supervision, at: float) -> None:
    """Store the monotonic time at which what is left of the tree is killed: for its actors, to end in order before that."""
    root._ends_at = at


def limited_end(root: Supervision) -> float:
    """Return the monotonic time at which what is left of the tree is killed; INFINITY if none is set."""
    return root._ends_at


def adopt(supervisor: Supervision, child: Child) -> None:
    """Supervise a running child whose parent ends before it; for supervisors that know their children by ref alone."""
    assert child.ref is not None
    child.ref.process.pass_to(supervisor.actor_ref.process)
    supervisor._by_ref[child.ref] = child


def start_at_once(supervisor: ActorRef, spec: ChildSpec) -> Future[ActorRef[Any]] | None:
    """Do what `start_child` does, within the calling turn, if the supervisor rests; return None if it has to be asked.

    For the thread of its event loop, and for a child whose `on_start` is plain. It saves two messages and their turns.
    """
    process = supervisor.process
    actor = process.actor
    if process.scheduled or process.debug is not None or not isinstance(actor, Supervision):
        return None
    started: Future[ActorRef[Any]] = Future(process.scheduler)
    try:
        child = actor._add(spec)
        launch(process, child)
    except (StartError, SupervisorsError) as error:
        started.set_exception(error)
    else:
        started.set(actor._launched(child, None))
    return started


def _refuse(_child: Child, error: StartError) -> Refuse:
    return Refuse(error)


def _count(children: Iterable[Child]) -> ChildCount:
    specs = active = supervisors = 0
    for child in children:
        specs += 1
        active += child.is_running
        supervisors += child.spec.kind is ChildKind.SUPERVISOR
    return ChildCount(specs, active, supervisors, specs - supervisors)
