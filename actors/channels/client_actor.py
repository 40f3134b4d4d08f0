"""The actor that owns the connection of one client, as the layers below the wire see it."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from actors.actor import Actor

__all__ = ["ClientActor", "ClientLoad", "ClientSocket"]


class ClientSocket(Protocol):
    """The client's socket, as its author has filled it."""

    assigns: dict[str, Any]

    def id(self) -> str | None:
        """Return the topic by which all connections of one user can be closed, or None."""


class ClientLoad(NamedTuple):
    """What waits for one client.

    - `bytes_in`, `messages_in`: received from it and not handled yet.
    - `bytes_out`: to be written to it.
    - `dropped`: broadcasts that it has missed as it did not keep up.
    - `paused`: whether it is not read for now.
    """

    bytes_in: int = 0
    messages_in: int = 0
    bytes_out: int = 0
    dropped: int = 0
    paused: bool = False


class ClientActor(Actor):
    """The base class of transport actors: tools find the connected clients by it, and read who they are from `socket`."""

    socket: ClientSocket

    # Frames for a client that has gone, for example.
    _no_dead_letters = (object,)

    @property
    def load(self) -> ClientLoad:
        """What waits for the client."""
        return ClientLoad()
