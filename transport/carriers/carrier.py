"""The seam between a transport actor and its wire: the interface of all carriers, and what they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from transport.carriers.idle_connections import IdleConnections
from transport.carriers.intake import unreported
from transport.carriers.outbox import Outbox, OutboxPolicy
from transport.limits import Limits

if TYPE_CHECKING:
    from actors.channels.message import Frame
    from actors.exits import ExitReason
    from actors.history.backlog import Backlog
    from actors.lowlevel import Process
    from transport.carriers.deflate import Deflate
    from transport.carriers.intake import Intake
    from transport.carriers.traffic import Traffic

__all__ = [
    "CLOSE_TIMEOUT",
    "MAX_FRAME_SIZE",
    "SLICE",
    "Carrier",
    "CarrierOptions",
    "Disconnected",
    "EndConnection",
    "Pinged",
]

MAX_FRAME_SIZE = 8_000_000
"""The bytes that a message may have: Bandit's limit, under Phoenix."""

SLICE = 64
"""Messages of one connection that are handled, or written, before others get their turns."""

# Seconds that a client may take to answer a close frame, and to end its side of the connection.
CLOSE_TIMEOUT = 5.0


class Disconnected(msgspec.Struct, frozen=True):
    """Sent by a carrier when its client has disconnected, behind what it has sent.

    - `code`: the close code, 1006 without a close frame.
    - `answer()` answers the end, as by a close frame: the transport actor calls it as soon as it has handled what came before.
      If there is none, the client may still read, and the transport actor closes when the channels have ended.
    """

    code: int
    answer: Callable[[], object] | None = None


class Pinged(msgspec.Struct, frozen=True, eq=False):
    """Sent by a carrier for a ping that came behind messages which are not handled yet: `answer()` sends the pong."""

    answer: Callable[[], object]


class EndConnection(msgspec.Struct, frozen=True, eq=False):
    """Sent to a transport actor, to end with `reason` when it has handled what its client has sent before."""

    reason: ExitReason


class Carrier(Protocol):
    """A wire to one client: a WebSocket, a long-polling session, a test.

    It puts received messages into the mailbox of its transport actor, or on its fastlane: text as `str`, binary as `bytes`, and
    `Disconnected` when the client has disconnected. It never calls the actor otherwise.
    """

    kind: ClassVar[str]
    """What Phoenix calls the transport: "websocket" or "longpoll"."""

    intake: Intake
    """What its client has sent and is not handled yet; while it is held, the carrier does not read."""

    @property
    def dropped(self) -> int:
        """How many broadcasts its client has missed, as it did not keep up."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait to be written, as `asyncio.WriteTransport` does."""

    def attach(self, transport: Process) -> None:
        """Deliver to this actor from now on."""

    def send(self, frame: Frame) -> None:
        """Write one frame, after those before it; do nothing if the client has disconnected."""

    def send_backlog(self, backlog: Backlog) -> None:
        """Write what a client has missed, after what was sent before, and as there is room for it."""

    def when_taken(self, done: Callable[[], object]) -> None:
        """Call a function when nothing waits any more of what was sent before."""

    def close(self, code: int) -> None:
        """Send a close frame with this code (RFC 6455, section 7.4), then end the connection."""

    def finish(self, end: EndConnection) -> bool:
        """Read no more; return whether all that was received has been delivered. If not, `end` is delivered behind it."""

    def abort(self) -> None:
        """Cut the connection without a close frame, unless one has been sent."""


@dataclass(frozen=True, slots=True)
class CarrierOptions:
    """What all carriers of one kind on an endpoint share.

    - `traffic`: where they count messages and bytes.
    - `idle`: where they register, to be closed when the client is silent for too long.
    - `max_size`: the bytes that one message may have.
    - `outbox`: what happens to a client that reads too slowly.
    - `limits`: what one client may use.
    - `reached(limit)`: reports that a limit was reached, by the name of its option.
    - `dropped(size)`: reports that an outbox has dropped a broadcast.
    - `deflate`: how messages are compressed, if they are.
    """

    traffic: Traffic
    idle: IdleConnections = field(default_factory=IdleConnections)
    max_size: int = MAX_FRAME_SIZE
    outbox: OutboxPolicy = field(default_factory=OutboxPolicy)
    limits: Limits = field(default_factory=Limits)
    reached: Callable[[str], object] = unreported
    dropped: Callable[[int], object] = unreported
    deflate: Deflate | None = None

    def outbox_for(self, intake: Intake) -> Outbox:
        """Return the outbox of a new connection; the replies that its client caused have room beside the policy's bound."""
        room = self.limits.waiting_bytes + self.max_size
        return Outbox(self.outbox, self.dropped, room=room, intake=intake)
