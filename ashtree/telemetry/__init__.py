"""Attach handlers to the events of a running system, for logs and metrics."""

from actors.telemetry import Event, Handler, attach, attached, detach, execute

__all__ = ["Event", "Handler", "attach", "attached", "detach", "execute"]
