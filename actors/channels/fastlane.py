"""The fastlane: the path to a client, and from it, past the mailbox of its transport actor (Phoenix's term).

Theory of operation.

A transport actor owns the connection of one client. Each frame for that client could be a message to the actor: into its
mailbox, a turn of the scheduler, out to the wire. When the actor is idle that detour changes nothing, since the frame would
be the only message and the actor does nothing with it but write it. So the sender, in the same thread, calls the actor's own
`send` at once. Frames from the client take the same shortcut in the other direction, by `receive`.

What must not change is the order. A frame may use the fastlane only if nothing is waiting in the mailbox, because it would
overtake it; and only if the actor is not traced, logged or suspended, because then every message must be seen. That is what
holds are for:

- `hold(reason)` closes the fastlane for one reason, `release(reason)` ends that hold. Reasons are independent of each other,
  and holding twice for one reason is the same as holding once.
- The kernel holds it while the actor has mail or is ending (BUSY) and while it has a `Debug` (WATCHED). Then `push` and
  `take` put the frame into the mailbox, behind all that was sent before.
- The carrier holds it while it must see each frame itself: it is collecting writes (CORKED), the client reads too slowly
  (PAUSED), what it has missed is being written (REPLAYING), or the wire is being closed (CLOSED). Then `push` still calls
  `send`, which is the carrier's; only `write` is off limits.
- A broadcast to very many clients holds it until it has been written here (OWED, see `actors/pubsub/fanout.py`). Its frame is
  in `owed`, and is written before anything that is sent to the client later: `push` and the first `hold` of the kernel, which
  comes before the mailbox is used, call `catch_up`.

`held` is the set of reasons as bits, so that a broadcast to many clients tests one integer for each (see
`actors/pubsub/lanes.py`). It is changed here, and by the loops of a fan-out.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Protocol

from actors.runtime.bypass import BUSY, WATCHED

if TYPE_CHECKING:
    from actors.channels.message import Frame, Serializer
    from actors.ref import ActorRef
    from actors.runtime.process import Process

__all__ = ["CLOSED", "CORKED", "OWED", "PAUSED", "REPLAYING", "Fastlane", "Outlet", "fastlane_of", "send_frame"]

_BY_MAILBOX = BUSY | WATCHED

# The carrier's reasons to hold a fastlane.
CORKED = 4
"""Writes are being collected, to leave in one system call."""
PAUSED = 8
"""The client reads more slowly than we write."""
CLOSED = 16
"""No more messages are written: the connection is being closed."""

OWED = 32
"""A broadcast in progress has not been written to this client."""

REPLAYING = 64
"""What the client has missed is being written, a slice in each iteration of the event loop."""

_NOT_AT_ONCE = _BY_MAILBOX | OWED


class Outlet(Protocol):
    """What the connections of one carrier have in common: the form of a frame on the wire, and the counters."""

    @property
    def watched(self) -> bool:
        """Whether each frame must pass through its transport actor, because it is reported to telemetry."""

    def wire(self, frame: Frame) -> bytes:
        """Return the frame as it is written to the wire."""

    def wrote(self, data: bytes, times: int) -> None:
        """Count `data` as written to `times` connections."""


class Fastlane:
    """The path to one client; for the thread of its event loop.

    - `send(frame)` is what the transport actor itself does with a frame.
    - `receive(data)`, if there is one, is what it does with most frames from the client; it returns False for one that needs
      a turn of the actor.
    - `write(data)`, if the carrier has set it, writes to the connection what the `outlet` makes of a frame; to be called only
      while `held` is 0.
    """

    __slots__ = ("held", "outlet", "owed", "process", "receive", "send", "serializer", "write")

    def __init__(
        self,
        process: Process,
        serializer: Serializer,
        send: Callable[[Frame], object],
        receive: Callable[[str | bytes], bool] | None = None,
    ) -> None:
        self.process, self.serializer, self.send, self.receive = process, serializer, send, receive
        self.held = 0
        # The frames of the broadcasts in progress, the oldest first; nearly always one.
        self.owed: Frame | list[Frame] | None = None
        self.outlet: Outlet | None = None
        self.write: Callable[[bytes], object] | None = None

    def open(self) -> None:
        """Make this the fastlane of its actor, which holds it from now on whenever frames must go through the mailbox."""
        self.process.open_bypass(self)

    def hold(self, reason: int) -> None:
        """Close the fastlane for one reason, until `release(reason)`."""
        if self.held & OWED and reason & _BY_MAILBOX:
            self.catch_up()
        self.held |= reason

    def release(self, reason: int) -> None:
        """End the hold for one reason."""
        self.held &= ~reason

    def push(self, frame: Frame) -> None:
        """Write a frame, after everything that was sent to the transport actor before."""
        if self.held & _NOT_AT_ONCE:
            if self.held & _BY_MAILBOX:
                self.process.put(frame)
                return
            self.catch_up()
        try:  # `_send`, without a call
            self.send(frame)
        except BaseException as error:  # noqa: BLE001  # as there
            self.process.fail(frame, error)

    def _send(self, frame: Frame) -> None:
        try:
            self.send(frame)
        except BaseException as error:  # noqa: BLE001  # it ends the actor that owns the connection, and not the sender
            self.process.fail(frame, error)

    def owe(self, frame: Frame) -> None:
        """Write a frame of a broadcast by `catch_up`, or before anything that is sent later."""
        owed = self.owed
        if self.held & _BY_MAILBOX or self.process.bypass is not self:
            # Behind what is in the mailbox. A lane that is not its actor's own is not told when that is used.
            self.push(frame)
        elif owed is None:
            self.owed = frame
            self.held |= OWED
        elif isinstance(owed, list):
            owed.append(frame)
        else:
            self.owed = [owed, frame]

    def catch_up(self) -> None:
        """Write what is owed, if anything is; nothing more is written for an actor that has ended."""
        while self.owed is not None:
            self._write_owed(self.owed)

    def catch_up_to(self, frame: Frame) -> None:
        """Write what is owed up to this frame, unless it has been written already."""
        while (owed := self.owed) is frame or (isinstance(owed, list) and frame in owed):
            self._write_owed(owed)

    def _write_owed(self, owed: Frame | list[Frame]) -> None:
        """Write the first frame that is owed."""
        if isinstance(owed, list):
            frame = owed.pop(0)
            self.owed = owed[0] if len(owed) == 1 else owed
        else:
            frame, self.owed = owed, None
            self.held &= ~OWED
        if self.process.alive:
            self._send(frame)

    def take(self, data: str | bytes) -> bool:
        """Handle a frame from the client, after everything that was received before.

        Return False if it is in the mailbox now.
        """
        receive = self.receive
        if self.held & _BY_MAILBOX or receive is None or not receive(data):
            self.process.put(data)
            return False
        return True


def fastlane_of(process: Process) -> Fastlane | None:
    """Return the fastlane of a transport actor; None if it has none, or has ended."""
    return process.bypass  # type: ignore[return-value]  # the kernel sees a Bypass; `open` is the only one to set it


def send_frame(transport: ActorRef, frame: Frame) -> None:
    """Send a frame to a transport actor for its client, from any thread; dropped if that actor is dead."""
    process = transport.process
    fastlane = process.bypass
    if fastlane is not None and process.scheduler.thread_id == get_ident():
        fastlane.push(frame)  # type: ignore[attr-defined]  # as in `fastlane_of`, without the cost of a call
    else:
        transport.send(frame)
