"""A child under supervision: how every supervisor starts and stops one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actors.exceptions import ActorDeadError, StartError
from actors.exits import SHUTDOWN
from actors.future import Future, shared_future
from actors.log import Log
from actors.lowlevel import leave, next_round, spawn, waits_at
from actors.redaction import Lines, safe_str
from supervisors.backoff import Waits
from supervisors.child_spec import BRUTAL_KILL, INFINITY, BrutalKill, ChildKind, ChildSpec
from supervisors.exceptions import ChildNotFoundError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.actor import Actor
    from actors.clock import Timer
    from actors.exits import ExitReason
    from actors.lowlevel import Process
    from actors.ref import ActorRef

    # A child that was told to exit.
    _Leaving = tuple["Child", ActorRef[Any]]

__all__ = ["SLOW_START", "Child", "ChildInfo", "found", "launch", "start", "stop_children", "until_started"]

_log = Log("ashtree.supervisors")


SLOW_START = 5.0
"""Seconds after which the log says that an actor is still starting, for which its supervisor and all after it wait."""


class Child(msgspec.Struct, eq=False):
    """A child spec with the actor that is running from it, if there is one.

    While `again` is set the child is waiting to be restarted, and `ref` is its previous one.
    """

    spec: ChildSpec
    ref: ActorRef[Any] | None = None
    restarts: int = 0
    again: object | None = None
    waits: Waits | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is running, as far as its supervisor knows."""
        return self.ref is not None and self.again is None

    @property
    def is_stopped(self) -> bool:
        """Whether it is neither running nor waiting to be restarted."""
        return self.ref is None and self.again is None

    def wait(self, now: float, chance: float) -> float:
        """Return the seconds to wait before it is restarted, having ended at the monotonic time `now`."""
        if self.spec.backoff is None:
            return 0.0
        if self.waits is None:
            self.waits = Waits(self.spec.backoff)
        return self.waits.next(now, chance)

    def info(self) -> ChildInfo:
        """Return its row of `which_children`."""
        spec, restarting = self.spec, self.again is not None
        ref = None if restarting else self.ref
        return ChildInfo(spec.id, ref, spec.kind, spec.actor, self.restarts, restarting)


class ChildInfo(NamedTuple):
    """One row of `which_children`.

    `ref` is None for a child that is not running: either it is `restarting`, or it stays stopped until `restart_child`.
    """

    id: Hashable
    ref: ActorRef[Any] | None
    kind: ChildKind
    actor: type[Actor]
    restarts: int
    restarting: bool


def found(children: Mapping[Hashable, Child], key: Hashable) -> Child:
    """Return the child that has a key, which any caller may have sent.

    Raises:
        ChildNotFoundError: if none has, or the key cannot be compared.
    """
    try:
        return children[key]
    except BaseException as error:  # noqa: BLE001  # `__hash__` and `__eq__` are a caller's, and must not end the supervisor
        leave(error)
        raise ChildNotFoundError(key) from None


def launch(parent: Process, child: Child) -> Future[ActorRef[Any]] | None:
    """Start the child; return a future to await if its `on_start` is a coroutine.

    Raises:
        StartError: if it could not start.
    """
    spec = child.spec
    label = safe_str(spec.name or spec.id)
    try:
        child.ref = spawn(
            spec.actor, spec.args, dict(spec.kwargs), parent=parent, name=spec.name, label=label, record=spec.record
        )
    except StartError:
        raise
    except BaseException as error:  # whatever the constructor of a child raises must not end its supervisor
        leave(error)
        raise StartError(label, error) from error
    return child.ref.process.started


async def until_started(child: Child, starting: Future[ActorRef[Any]]) -> ActorRef[Any]:
    """Await the future that `launch` returned.

    Raises:
        StartError: if the child could not start, or was stopped while it was starting.
    """
    assert child.ref is not None
    process = child.ref.process
    timer = process.scheduler.clock.call_after(SLOW_START, partial(_still_starting, process, child.spec.kind))
    try:
        await starting.until_done(None, blames_others=True)
        return starting.result()
    except ActorDeadError as error:
        raise StartError(str(child.ref), error) from error
    finally:
        timer.cancel()
        del starting  # of the frame in the traceback of its exception, which would be a cycle


def _still_starting(process: Process, kind: ChildKind) -> None:
    # A supervisor that is still starting waits for a child, of which the same is logged.
    if process.started is not None and kind is not ChildKind.SUPERVISOR:
        where = waits_at(process)
        _log.warning(
            "%s has been in on_start for %g s; its supervisor waits for it\n%s", process.name, SLOW_START, Lines(where)
        )


async def start(parent: Process, child: Child) -> None:
    """Start the child, and wait until its `on_start` is done.

    Raises:
        StartError: if it could not start, or was ended while it did.
    """
    starting = launch(parent, child)
    try:
        if starting is not None:
            await until_started(child, starting)
    finally:
        del starting  # as in `until_started`


async def stop_children(parent: Process, children: Iterable[Child], reason: ExitReason = SHUTDOWN) -> None:
    """Stop all these children at once, and wait for them; kill those that take longer than their `shutdown`."""
    leaving = [(child, child.ref) for child in children if child.ref is not None]
    for child, ref in leaving:
        if child.spec.shutdown is BRUTAL_KILL:
            ref.kill()
        else:
            ref.process.exit_signal(reason, parent)
    if leaving:
        # Most children exit in their next turn: they need neither a monitor nor a timer.
        await next_round()
    staying = [(child, ref) for child, ref in leaving if ref.process.alive]
    if staying:
        await _until_down(parent, staying)
    for child, _ in leaving:
        child.ref = None


def _down(process: Process) -> Future[ExitReason]:
    """Return a future of the exit reason of a child; in its own thread, where this is cheaper than `ref.down()`."""
    down = shared_future(process.scheduler, process)
    process.answer_at_end(down)
    return down


async def _until_down(parent: Process, leaving: Sequence[_Leaving]) -> None:
    timers = _arm(parent, leaving)
    try:
        for _, ref in leaving:
            if ref.process.alive:  # most end while the first ones are waited for
                await _down(ref.process).until_done(None, blames_others=True)
    finally:
        for timer in timers:
            timer.cancel()


def _arm(parent: Process, leaving: Sequence[_Leaving]) -> list[Timer]:
    """Set one timer for each `shutdown` time, which kills those of its children that have not exited."""
    late: dict[float, list[_Leaving]] = defaultdict(list)
    for child, ref in leaving:
        seconds = child.spec.shutdown
        if not isinstance(seconds, BrutalKill) and seconds != INFINITY:
            late[seconds].append((child, ref))
    clock = parent.scheduler.clock
    return [clock.call_after(seconds, partial(_kill, group)) for seconds, group in late.items()]


def _kill(late: Sequence[_Leaving]) -> None:
    for _, ref in late:
        if ref.process.alive:
            _log.warning(
                "%s did not end in time and is killed; its current message: %s", ref, ref.process.current_message()
            )
            ref.kill()
