"""What carries a connection's frames: the seam between the transport actor and its wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from actors.channels.message import Frame
    from actors.lowlevel import Process

__all__ = ["Carrier"]


class Carrier(Protocol):
    """A wire to one client: a WebSocket, a long-polling session, a test.

    It puts what comes in into the mailbox of its transport actor, or on its fastlane: text as `str`, binary as `bytes`, and
    `Disconnected` when the client has gone. It never calls the actor otherwise.
    """

    kind: ClassVar[str]
    """What Phoenix calls the transport: "websocket" or "longpoll"."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be written, as `asyncio.WriteTransport` does."""

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on."""

    def send(self, frame: Frame) -> None:
        """Write one frame, after those before it; nothing happens if the client has gone."""

    def close(self, code: int) -> None:
        """Say good-bye with a close code (RFC 6455, section 7.4), then end the connection."""

    def abort(self) -> None:
        """End the connection without a word, unless good-bye has been said."""
