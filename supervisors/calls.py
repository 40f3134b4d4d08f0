"""The calls of a supervisor, by its ref or its name (OTP): each is a function and the message it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from actors.exits import SHUTDOWN, ExitReason
from actors.names import ask, whereis
from actors.ref import ASK_TIMEOUT
from actors.request import Answer, Request
from supervisors.child_spec import ChildKind, ChildSpec, Supervised, child_spec

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


class StartChild(msgspec.Struct, Request["ActorRef[Any]"], frozen=True, eq=False):
    """Ask a supervisor to start one more child; the reply is its ref."""

    spec: ChildSpec


class TerminateChild(msgspec.Struct, Request[None], frozen=True, eq=False):
    """Ask a supervisor to stop a child, by an exit signal with `reason`, and not to restart it."""

    child: Hashable
    reason: ExitReason = SHUTDOWN


class RestartChild(msgspec.Struct, Request["ActorRef[Any]"], frozen=True, eq=False):
    """Ask a supervisor to start a child that is not running; the reply is its ref."""

    child: Hashable


class DeleteChild(msgspec.Struct, Request[None], frozen=True, eq=False):
    """Ask a supervisor to delete the spec of a child that is not running."""

    child: Hashable


class GetChildSpec(msgspec.Struct, Request[ChildSpec], frozen=True, eq=False):
    """Ask a supervisor for the spec of a child."""

    child: Hashable


class WhichChildren(msgspec.Struct, Request["list[ChildInfo]"], frozen=True):
    """Ask a supervisor for its children."""


class CountChildren(msgspec.Struct, Request["ChildCount"], frozen=True):
    """Ask a supervisor how many children it has."""


class ChildCount(NamedTuple):
    """How many children a supervisor has, how many of them are running, and how many are of each kind, running or not."""

    specs: int
    active: int
    supervisors: int
    workers: int


def _request(supervisor: Target, message: Request[Answer], *, timeout: float | None = ASK_TIMEOUT) -> Future[Answer]:
    ref = whereis(supervisor)
    if ref is None:
        return ask(supervisor, message, block=False)
    process = ref.process
    if getattr(process.actor_class, "kind", None) is not ChildKind.SUPERVISOR:
        raise TypeError(f"expected a supervisor, by its ref or its name, before the other arguments, got {ref!r}")
    process.must_have_started()
    return ref.ask(message, block=False, timeout=timeout)


def start_child(supervisor: Target, child: Supervised) -> Future[ActorRef[Any]]:
    """Start one more child under a running supervisor; return a future of its ref.

    Raises (in the future):
        StartError: if the child could not start; its spec is discarded.
        AlreadyStartedError, AlreadyPresentError: if a `Supervisor` has a child with that id, running or not.
        TooManyChildrenError: if a `DynamicSupervisor` has `max_children` already.
        SignificantChildError: if it is significant, and the supervisor has no `auto_shutdown`.
    """
    return _request(supervisor, StartChild(child_spec(child)), timeout=None)


def terminate_child(supervisor: Target, child: Hashable) -> Future[None]:
    """Stop a child, given by its id (or its ref, under a `DynamicSupervisor`), or cancel its pending restart.

    A `Supervisor` keeps its spec, unless it is temporary: see `restart_child` and `delete_child`.

    Raises (in the future):
        ChildNotFoundError: if there is no such child.
    """
    return _request(supervisor, TerminateChild(child), timeout=None)


def restart_child(supervisor: Target, child_id: Hashable) -> Future[ActorRef[Any]]:
    """Start a child of a `Supervisor` that is not running; return a future of its new ref.

    Raises (in the future):
        StartError: if it could not start; its spec is kept.
        ChildRunningError, ChildRestartingError: if it is running, or about to be restarted.
        ChildNotFoundError: if there is no child with that id.
        UnsupportedCallError: from a `DynamicSupervisor`.
    """
    return _request(supervisor, RestartChild(child_id), timeout=None)


def delete_child(supervisor: Target, child_id: Hashable) -> Future[None]:
    """Delete the spec of a child of a `Supervisor` that is not running.

    Raises (in the future):
        ChildRunningError, ChildRestartingError: if it is running, or about to be restarted.
        ChildNotFoundError: if there is no child with that id.
        UnsupportedCallError: from a `DynamicSupervisor`.
    """
    return _request(supervisor, DeleteChild(child_id))


def get_child_spec(supervisor: Target, child: Hashable) -> Future[ChildSpec]:
    """Return a future of the spec of a child, given by its id (or its ref, under a `DynamicSupervisor`).

    Raises (in the future):
        ChildNotFoundError: if there is no such child.
    """
    return _request(supervisor, GetChildSpec(child))


def which_children(supervisor: Target) -> Future[list[ChildInfo]]:
    """Return a future of the children, in start order."""
    return _request(supervisor, WhichChildren())


def count_children(supervisor: Target) -> Future[ChildCount]:
    """Return a future of how many children there are."""
    return _request(supervisor, CountChildren())
