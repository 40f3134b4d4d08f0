"""The fastlane: the way to a client, and from it, past the mailbox of its transport actor (Phoenix's word).

A frame that reaches an actor which rests would be the only thing in its mailbox, and all that the actor does with it is to
write it. So it is written at once, which spares a turn; as nothing waits, nothing is overtaken. The same goes for what comes in
for a channel that has joined. While the actor has something to do, or is looked into, all goes through its mailbox.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from actors.channels.message import Frame, Serializer
    from actors.ref import ActorRef
    from actors.runtime.process import Process

__all__ = ["BUSY", "CLOSED", "CORKED", "PAUSED", "WATCHED", "Fastlane", "Outlet", "send_frame"]

# Why a lane is held. The actor has something in its mailbox, or somebody looks into it: frames go through the mailbox.
BUSY, WATCHED = 1, 2
_BY_MAILBOX = BUSY | WATCHED
# What is written is collected; the client reads too slowly; the wire is being closed: the carrier looks at each frame.
CORKED, PAUSED, CLOSED = 4, 8, 16


class Outlet(Protocol):
    """What all wires of one kind have in common: how a frame looks there, and the count of what was written."""

    def wire(self, frame: Frame) -> bytes:
        """Return the frame as it goes on the wire."""

    def wrote(self, data: bytes, times: int) -> None:
        """Take note that the same bytes were written to so many wires."""


class Fastlane:
    """The way to one client; for the thread of its event loop.

    - `send(frame)` is what the transport actor itself does with a frame.
    - `receive(data)`, if there is one, is what it does with most of what comes in; it returns False to what needs a turn.
    - `write(bytes)`, if the carrier has given it, goes right to the wire, with the bytes that the `outlet` makes of a frame. It
      may be used as long as the lane is not `held`.
    """

    __slots__ = ("held", "outlet", "process", "receive", "send", "serializer", "write")

    def __init__(
        self,
        process: Process,
        serializer: Serializer,
        send: Callable[[Frame], object],
        receive: Callable[[str | bytes], bool] | None = None,
    ) -> None:
        self.process, self.serializer, self.send, self.receive = process, serializer, send, receive
        self.held = 0
        self.outlet: Outlet | None = None
        self.write: Callable[[bytes], object] | None = None

    def push(self, frame: Frame) -> None:
        """Write a frame, after all that was sent to the transport actor before."""
        if self.held & _BY_MAILBOX:
            self.process.put(frame)
            return
        try:
            self.send(frame)
        except Exception as error:  # noqa: BLE001  # it ends the actor whose wire it is, and not the one that calls
            self.process.fail(frame, error)

    def take(self, data: str | bytes) -> None:
        """Read what came in from the client, after all that came before."""
        receive = self.receive
        if self.held & _BY_MAILBOX or receive is None or not receive(data):
            self.process.put(data)


def send_frame(transport: ActorRef[Any], frame: Frame) -> None:
    """Send a transport actor a frame for its client, from any thread; one to the dead is dropped."""
    process = transport.process
    fastlane = process.fastlane
    if fastlane is not None and process.scheduler.thread_id == get_ident():
        fastlane.push(frame)
    else:
        transport.send(frame)
