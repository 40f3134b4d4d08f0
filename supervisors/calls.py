"""What a supervisor can be asked, by its ref or its name: OTP's calls, each a function and the message behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actors.exits import SHUTDOWN, ExitReason
from actors.names import ask
from supervisors.child_spec import ChildSpec, Supervised, child_spec

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.future import Future
    from actors.ref import ActorRef
    from actors.via import Target
    from supervisors.child import ChildInfo

__all__ = [
    "ChildCount",
    "CountChildren",
    "DeleteChild",
    "GetChildSpec",
    "RestartChild",
    "StartChild",
    "TerminateChild",
    "WhichChildren",
    "count_children",
    "delete_child",
    "get_child_spec",
    "restart_child",
    "start_child",
    "terminate_child",
    "which_children",
]


class StartChild(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor to start one more child; the answer is its ref."""

    spec: ChildSpec


class TerminateChild(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor to end a child, by an exit signal with `reason`, and not to start it again."""

    child: Any
    reason: ExitReason = SHUTDOWN


class RestartChild(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor to start a child that does not run; the answer is its ref."""

    child: Any


class DeleteChild(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor to forget a child that does not run."""

    child: Any


class GetChildSpec(msgspec.Struct, frozen=True, eq=False):
    """Ask a supervisor for the spec of a child."""

    child: Any


class WhichChildren(msgspec.Struct, frozen=True):
    """Ask a supervisor for its children."""


class CountChildren(msgspec.Struct, frozen=True):
    """Ask a supervisor how many children it has."""


class ChildCount(NamedTuple):
    """How many children a supervisor has, how many of them run, and how many are of each kind, whether they run or not."""

    specs: int
    active: int
    supervisors: int
    workers: int


def start_child(supervisor: Target, child: Supervised) -> Future[ActorRef[Any]]:
    """Start one more child under a running supervisor; the future is of its ref.

    Raises (in the future):
        StartError: if the child could not start; it is forgotten.
        AlreadyStartedError, AlreadyPresentError: if a `Supervisor` has a child with that id, which runs, or does not.
        TooManyChildrenError: if a `DynamicSupervisor` has as many as it may.
        ValueError: if it is significant, and the supervisor has no `auto_shutdown`.
    """
    return ask(supervisor, StartChild(child_spec(child)), block=False, timeout=None)


def terminate_child(supervisor: Target, child: Hashable) -> Future[None]:
    """End a child, given by its id (or its ref, under a `DynamicSupervisor`), or keep it from being started again.

    A `Supervisor` keeps its spec, unless it is temporary: see `restart_child` and `delete_child`.

    Raises (in the future):
        ChildNotFoundError: if there is none such.
    """
    return ask(supervisor, TerminateChild(child), block=False, timeout=None)


def restart_child(supervisor: Target, child_id: Hashable) -> Future[ActorRef[Any]]:
    """Start a child of a `Supervisor` that does not run; the future is of its new ref.

    Raises (in the future):
        StartError: if it could not start; its spec is kept.
        ChildRunningError, ChildRestartingError: if it runs, or is about to be started again.
        ChildNotFoundError: if there is none with that id.
        UnsupportedCallError: from a `DynamicSupervisor`.
    """
    return ask(supervisor, RestartChild(child_id), block=False, timeout=None)


def delete_child(supervisor: Target, child_id: Hashable) -> Future[None]:
    """Make a `Supervisor` forget a child that does not run.

    Raises (in the future):
        ChildRunningError, ChildRestartingError: if it runs, or is about to be started again.
        ChildNotFoundError: if there is none with that id.
        UnsupportedCallError: from a `DynamicSupervisor`.
    """
    return ask(supervisor, DeleteChild(child_id), block=False)


def get_child_spec(supervisor: Target, child: Hashable) -> Future[ChildSpec]:
    """Return a future of the spec of a child, given by its id (or its ref, under a `DynamicSupervisor`).

    Raises (in the future):
        ChildNotFoundError: if there is none such.
    """
    return ask(supervisor, GetChildSpec(child), block=False)


def which_children(supervisor: Target) -> Future[list[ChildInfo]]:
    """Return a future of the children, in start order."""
    return ask(supervisor, WhichChildren(), block=False)


def count_children(supervisor: Target) -> Future[ChildCount]:
    """Return a future of how many children there are."""
    return ask(supervisor, CountChildren(), block=False)
