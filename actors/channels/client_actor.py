"""The actor that owns the connection of one client, as the layers below the wire see it."""

from __future__ import annotations

from typing import Any, Protocol

from actors.actor import Actor

__all__ = ["ClientActor", "ClientSocket"]


class ClientSocket(Protocol):
    """The client's socket, as its author has filled it."""

    assigns: dict[str, Any]

    def id(self) -> str | None:
        """Return the topic by which all connections of one user can be closed, or None."""


class ClientActor(Actor):
    """The base class of transport actors: tools find the connected clients by it, and read who they are from `socket`."""

    socket: ClientSocket
