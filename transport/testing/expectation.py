"""What a test expects to receive, the inbox that it is looked up in, and the failure texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from actors.channels.message import Broadcast, Message, Reply
from transport.testing.patterns import ANY, differences, take_captures

if TYPE_CHECKING:
    from transport.testing.crashes import Crashes
    from transport.testing.exceptions import UnexpectedCrashError

__all__ = ["Expectation", "Inbox", "Wanted", "WantedEvent", "WantedReply"]

M = TypeVar("M", Message, Broadcast)

_SHOWN = 20
_WIDTH = 300


@dataclass(frozen=True)
class WantedEvent:
    """A push to a client, or a broadcast on a topic."""

    kind: str
    topic: str
    event: str
    payload: object = ANY

    def __str__(self) -> str:
        return f"{self.kind} {self.event!r}{_matching(self.payload)} on {self.topic!r}"

    def concerns(self, message: Message | Broadcast) -> bool:
        """Return whether it is that event, with any payload."""
        return message.topic == self.topic and message.event == self.event

    def differences(self, message: Message | Broadcast) -> list[str]:
        """Describe where the payload does not match."""
        return list(differences(self.payload, message.payload))

    def take_captures(self, message: Message | Broadcast) -> None:
        """Store the values that the pattern captures."""
        take_captures(self.payload, message.payload)


@dataclass(frozen=True)
class WantedReply:
    """The reply to the message `ref`."""

    topic: str
    ref: str
    event: str
    status: object = ANY
    payload: object = ANY

    def __str__(self) -> str:
        status = "" if self.status is ANY else f" {self.status!r}"
        return f"reply{status}{_matching(self.payload)} to {self.event!r} (ref {self.ref!r}) on {self.topic!r}"

    def concerns(self, message: Message | Broadcast) -> bool:
        """Return whether it is a reply to that message, with any status and payload."""
        reply_to = ("phx_reply", self.ref, self.topic)
        return isinstance(message, Message) and (message.event, message.ref, message.topic) == reply_to

    def differences(self, message: Message | Broadcast) -> list[str]:
        """Describe where status and payload do not match."""
        reply: Reply = message.payload
        return [*differences(self.status, reply.status, "status"), *differences(self.payload, reply.payload)]

    def take_captures(self, message: Message | Broadcast) -> None:
        """Store the values that the pattern captures."""
        take_captures(self.payload, message.payload.payload)


Wanted = WantedEvent | WantedReply


def _matching(payload: object) -> str:
    return "" if payload is ANY else f" with {payload!r}"


class Inbox(Generic[M]):
    """Messages that were received and not taken yet, in order.

    `sent` maps the ref of each message that the client sent to its event.
    """

    def __init__(self) -> None:
        self.messages: list[M] = []
        self.sent: dict[object, str] = {}

    def find(self, wanted: Wanted) -> M | None:
        """Return the first message that matches, or None."""
        matching = (each for each in self.messages if wanted.concerns(each) and not wanted.differences(each))
        return next(matching, None)

    def take(self, wanted: Wanted) -> M | None:
        """Remove and return the first message that matches; None if there is none."""
        found = self.find(wanted)
        if found is not None:
            self._remove(found)
            wanted.take_captures(found)
        return found

    def take_first(self, matches: Callable[[M], bool]) -> M | None:
        """Remove and return the first message for which `matches` is true; None if there is none."""
        found = next(filter(matches, self.messages), None)
        if found is not None:
            self._remove(found)
        return found

    def _remove(self, found: M) -> None:
        self.messages = [message for message in self.messages if message is not found]

    def missing(self, wanted: Wanted, hints: Sequence[str] = ()) -> str:
        """Describe that there is no such message, what was received instead, and where the closest ones differ."""
        if not self.messages:
            return "\n".join([f"no {wanted}; nothing was received", *hints])
        left_out = len(self.messages) - _SHOWN
        lines: list[str] = [f"no {wanted}; received:"]
        lines += [f"  … {left_out} earlier ones"] if left_out > 0 else []
        for message in self.messages[-_SHOWN:]:
            lines.append(f"  {self._shown(message, wanted.topic)}")
            if wanted.concerns(message):
                lines += [f"    {difference}" for difference in wanted.differences(message)]
        return "\n".join([*lines, *hints])

    def unwanted(self, wanted: Wanted, found: M) -> str:
        """Describe that a message was received that the test refutes."""
        return f"expected no {wanted}; received:\n  {self._shown(found, wanted.topic)}"

    def _shown(self, message: Message | Broadcast, topic: str) -> str:
        where = "" if message.topic == topic else f" on {message.topic!r}"
        if isinstance(message, Broadcast):
            return f"broadcast {message.event!r}{where} {_short(message.payload)}"
        if not isinstance(message.payload, Reply):
            return f"push {message.event!r}{where} {_short(message.payload)}"
        event, reply = self.sent.get(message.ref), message.payload
        return f"reply {reply.status!r} to {event!r} (ref {message.ref!r}){where} {_short(reply.payload)}"


def _short(payload: object) -> str:
    text = repr(payload)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"


@dataclass(frozen=True)
class Expectation(Generic[M]):
    """A message that a test expects in an inbox, and how the test fails; a crash of an actor fails it first.

    `hints` says what may be the reason if nothing was received.
    """

    wanted: Wanted
    inbox: Inbox[M]
    crashes: Crashes
    hints: Callable[[], list[str]]

    def outcome(self) -> M | UnexpectedCrashError | None:
        """Return what decides the expectation, or None while that is open."""
        return self.crashes.first or self.inbox.find(self.wanted)

    def taken(self) -> M | None:
        """Remove and return the message, or None."""
        __tracebackhide__ = True
        self.crashes.check()
        return self.inbox.take(self.wanted)

    def required(self) -> M:
        """Remove and return the message.

        Raises:
            AssertionError: if there is none; it describes what was received.
        """
        __tracebackhide__ = True
        found = self.taken()
        if found is None:
            raise AssertionError(self.inbox.missing(self.wanted, self.hints()))
        return found

    def refuted(self) -> None:
        """Check that there is no such message.

        Raises:
            AssertionError: if there is one.
        """
        __tracebackhide__ = True
        found = self.inbox.find(self.wanted)
        if found is not None:
            raise AssertionError(self.inbox.unwanted(self.wanted, found))
