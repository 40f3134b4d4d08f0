"""The telemetry events of supervisors.

Each function is called where the event happens; without a handler it costs one lookup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import telemetry

if TYPE_CHECKING:
    from actors.exits import ExitReason
    from actors.ref import ActorRef
    from supervisors.child import Child

__all__ = ["RESTARTED", "child_restarted"]

RESTARTED = ("ashtree", "child_restarted")


def child_restarted(supervisor: ActorRef[Any], child: Child, reason: ExitReason | Exception) -> None:
    """Report that a supervisor restarts a child that ended with `reason`, at once or after its backoff."""
    if RESTARTED in telemetry.attached:
        about = {"supervisor": supervisor, "id": child.spec.id, "reason": reason}
        telemetry.execute(RESTARTED, {"restarts": child.restarts}, about)
