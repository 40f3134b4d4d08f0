"""The client's end of a connection: it is the carrier of a transport actor, and keeps what comes."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from actors.channels.message import Frame, Message
from transport.carriers.carrier import Disconnected
from transport.testing.inbox import Inbox
from transport.testing.patterns import differences
from transport.transport import Transport

if TYPE_CHECKING:
    from actors.lowlevel import Process
    from actors.ref import ActorRef

__all__ = ["ClientEnd"]


class ClientEnd:
    """Where the frames of one connection arrive, and where its messages come from.

    `close_code` is the code with which the server closed, 1006 if the connection was cut, None while it is open.
    """

    kind: ClassVar[str] = "test"

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.close_code: int | None = None
        self.transport: ActorRef[Transport]
        self._refs = count(1)

    # The carrier

    def get_write_buffer_size(self) -> int:
        """Nothing waits to be written."""
        return 0

    def attach(self, transport: Process) -> None:
        """Nothing to do: what is sent goes straight to the transport actor."""

    def send(self, frame: Frame) -> None:
        """Keep a message."""
        self.inbox.messages.append(frame.data)

    def close(self, code: int) -> None:
        """Take note of how the server closed."""
        self.close_code = code

    def abort(self) -> None:
        """Take note that the connection was cut."""
        if self.close_code is None:
            self.close_code = 1006

    # The client

    def next_ref(self) -> str:
        """Return a reference that no message has had."""
        return str(next(self._refs))

    def say(self, join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> None:
        """Send any message, valid or not."""
        self.transport.send(Message(join_ref, ref, topic, event, payload))

    def push(self, join_ref: str | None, topic: str, event: str, payload: Any) -> str:
        """Send a message with a reference of its own, and return that; without a join_ref it is the ref too, as of a join."""
        ref = self.next_ref()
        self.inbox.sent[ref] = event
        self.say(ref if join_ref is None else join_ref, ref, topic, event, {} if payload is None else payload)
        return ref

    def take(self, event: str, topic: str | None, ref: Any, payload: Any) -> Message | None:
        """Take out and return the first message that has come and fits, or None."""
        found: Message | None = self.inbox.take_first(
            lambda message: (
                message.event == event
                and topic in (None, message.topic)
                and (ref == message.ref)
                and not list(differences(payload, message.payload))
            )
        )
        return found

    def go(self) -> None:
        """Go away, as a browser does whose tab is closed."""
        self.transport.send(Disconnected(1001))

    def channel(self, topic: str) -> ActorRef[Any]:
        """Return the channel actor that serves a topic now.

        Raises:
            LookupError: if there is none.
        """
        transport = self.transport.process.actor
        joined = transport.connection.topics.get(topic) if isinstance(transport, Transport) else None
        if joined is None or joined.channel is None:
            raise LookupError(f"there is no channel for {topic!r}")
        return joined.channel
