"""The client's end of a test connection: the carrier of a transport actor, which keeps what it is given."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from actors.channels.message import Frame, Message
from transport.carriers.carrier import Disconnected
from transport.carriers.intake import Intake
from transport.limits import Limits
from transport.testing.expectation import Inbox
from transport.testing.patterns import differences
from transport.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.history.backlog import Backlog
    from actors.lowlevel import Process
    from actors.ref import ActorRef

__all__ = ["ClientEnd"]


class ClientEnd:
    """Receives the frames of one connection, and sends its messages.

    `close_code` is the code with which the server closed, 1006 if the connection was cut, None while it is open.
    """

    kind: ClassVar[str] = "test"

    def __init__(self) -> None:
        self.inbox: Inbox[Message] = Inbox()
        self.intake = Intake(Limits(), lambda: None)
        self.dropped = 0
        self.close_code: int | None = None
        self.transport: ActorRef[Transport]
        self._refs = count(1)

    # The carrier

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing is buffered."""
        return 0

    def attach(self, transport: Process) -> None:
        """Do nothing: messages are sent to the transport actor directly."""

    def send(self, frame: Frame) -> None:
        """Keep a message."""
        self.inbox.messages.append(frame.data)

    def send_backlog(self, backlog: Backlog) -> None:
        """Keep what the client has missed."""
        for frame in iter(backlog.take, None):
            self.send(frame)

    def when_taken(self, done: Callable[[], object]) -> None:
        """Call a function at once: all is taken."""
        done()

    def close(self, code: int) -> None:
        """Record the code with which the server closed."""
        self.close_code = code

    def abort(self) -> None:
        """Record that the connection was cut."""
        if self.close_code is None:
            self.close_code = 1006

    # The client

    def next_ref(self) -> str:
        """Return an unused ref."""
        return str(next(self._refs))

    def send_message(self, join_ref: object, ref: object, topic: object, event: object, payload: object) -> None:
        """Send any message, valid or not."""
        self.transport.send(Message(join_ref, ref, topic, event, payload))

    def push(self, join_ref: str | None, topic: str, event: str, payload: object) -> str:
        """Send a message with a new ref, and return the ref; it is the join_ref too if none is given, as in a join."""
        ref = self.next_ref()
        self.inbox.sent[ref] = event
        self.send_message(ref if join_ref is None else join_ref, ref, topic, event, {} if payload is None else payload)
        return ref

    def take(self, event: str, topic: str | None, ref: object, payload: object) -> Message | None:
        """Remove and return the first received message that matches, or None."""
        return self.inbox.take_first(
            lambda message: (
                message.event == event
                and topic in (None, message.topic)
                and ref == message.ref
                and not list(differences(payload, message.payload))
            )
        )

    def disconnect(self) -> None:
        """Close the connection as a browser does whose tab is closed."""
        self.transport.send(Disconnected(1001))

    def channel(self, topic: str) -> ActorRef[Any]:
        """Return the channel actor that currently serves a topic.

        Raises:
            LookupError: if there is none.
        """
        transport = self.transport.process.actor
        joined = transport.connection.topics.get(topic) if isinstance(transport, Transport) else None
        if joined is None or joined.channel is None:
            raise LookupError(f"there is no channel for {topic!r}")
        channel: ActorRef[Any] = joined.channel
        return channel
