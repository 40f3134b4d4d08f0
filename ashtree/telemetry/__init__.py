"""Attach handlers to the events of a running system, for logs and metrics; let trace contexts go with messages."""

from actors.propagation import Propagation, propagate
from actors.telemetry import Event, Handler, attach, attached, detach, execute

__all__ = ["Event", "Handler", "Propagation", "attach", "attached", "detach", "execute", "propagate"]
