"""A child under supervision: what every supervisor does with one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.exceptions import ActorDeadError, StartError, Timeout
from actors.exits import SHUTDOWN
from actors.runtime.spawn import spawn
from supervisors.child_spec import BRUTAL_KILL, INFINITY, ChildSpec

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.actor import Actor
    from actors.exits import ExitReason
    from actors.future import Future
    from actors.ref import ActorRef
    from actors.runtime.process import Process

__all__ = ["Child", "ChildInfo", "launch", "start", "stop_children", "until_started"]

_log = logging.getLogger("ashtree.supervisors")


class Child:
    """A spec with the actor that runs by it now, if one does."""

    __slots__ = ("ref", "restarts", "spec")

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ref: ActorRef[Any] | None = None
        self.restarts = 0

    def info(self) -> ChildInfo:
        """Return what `which_children` tells of it."""
        return ChildInfo(self.spec.id, self.ref, self.spec.actor, self.restarts)


class ChildInfo(NamedTuple):
    """One row of `which_children`; `ref` is None for a child that does not run."""

    id: Hashable
    ref: ActorRef[Any] | None
    actor: type[Actor]
    restarts: int


def launch(parent: Process, child: Child) -> Future[ActorRef[Any]] | None:
    """Start the child; return a future to wait for if its `on_start` is a coroutine.

    Raises:
        StartError: if it could not start.
    """
    spec = child.spec
    label = spec.name or str(spec.id)
    try:
        child.ref = spawn(spec.actor, spec.args, dict(spec.kwargs), parent=parent, name=spec.name, label=label)
    except StartError:
        raise
    except BaseException as error:  # whatever an actor raises ends that actor and no other
        raise StartError(label, error) from error
    return child.ref.process.started


async def until_started(child: Child, starting: Future[ActorRef[Any]]) -> ActorRef[Any]:
    """Wait for what `launch` returned.

    Raises:
        StartError: if the child could not start, or was ended while it did.
    """
    try:
        return await starting
    except ActorDeadError as error:
        raise StartError(str(child.ref), error) from error


async def start(parent: Process, child: Child) -> None:
    """Start the child, and wait until it has started.

    Raises:
        StartError: if it could not start, or was ended while it did.
    """
    starting = launch(parent, child)
    if starting is not None:
        await until_started(child, starting)


async def stop_children(parent: Process, children: Iterable[Child], reason: ExitReason = SHUTDOWN) -> None:
    """Tell all these children to end, and wait until they have; kill each that takes longer than its `shutdown`."""
    leaving = [(child, child.ref, child.ref.process.down()) for child in children if child.ref is not None]
    for child, ref, _ in leaving:
        if child.spec.shutdown is BRUTAL_KILL:
            ref.kill()
        else:
            ref.process.exit_signal(reason, parent)
    now = parent.scheduler.clock.now
    began = now()
    for child, ref, down in leaving:
        await _wait_or_kill(ref, down, _time_left(child.spec, now() - began))
        child.ref = None


def _time_left(spec: ChildSpec, passed: float) -> float | None:
    if spec.shutdown is BRUTAL_KILL or spec.shutdown == INFINITY:
        return None
    assert isinstance(spec.shutdown, int | float)
    return max(0.0, spec.shutdown - passed)


def _current_message(ref: ActorRef[Any]) -> str:
    """Describe what an actor is at, as it would itself: without secrets."""
    return repr(None) if ref.process.current is None else ref.process._last_message()


async def _wait_or_kill(ref: ActorRef[Any], down: Future[ExitReason], seconds: float | None) -> None:
    if down.done:
        return
    down.expire(seconds)
    try:
        await down
    except Timeout:
        _log.warning("%s did not end in time and is killed; its current message: %s", ref, _current_message(ref))
        ref.kill()
        down.expire(None)
        await down
