"""What has come to a client, what a test wants to find there, and what it is told when that is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.channels.message import Broadcast, Message, Reply
from transport.testing.patterns import ANY, differences, take_captures

__all__ = ["Inbox", "Wanted", "WantedEvent", "WantedReply"]

_SHOWN = 20
_WIDTH = 300


@dataclass(frozen=True)
class WantedEvent:
    """A push to a client, or a broadcast on a topic."""

    kind: str
    topic: str
    event: str
    payload: Any = ANY

    def __str__(self) -> str:
        return f"{self.kind} {self.event!r}{_fitting(self.payload)} on {self.topic!r}"

    def concerns(self, message: Message | Broadcast) -> bool:
        """Tell whether it is that event, whatever its payload."""
        return message.topic == self.topic and message.event == self.event

    def differences(self, message: Message | Broadcast) -> list[str]:
        """Say where the payload does not fit."""
        return list(differences(self.payload, message.payload))

    def take_captures(self, message: Message | Broadcast) -> None:
        """Keep what the pattern captures."""
        take_captures(self.payload, message.payload)


@dataclass(frozen=True)
class WantedReply:
    """The answer to the message `ref`."""

    topic: str
    ref: str
    event: str
    status: Any = ANY
    payload: Any = ANY

    def __str__(self) -> str:
        status = "" if self.status is ANY else f" {self.status!r}"
        return f"reply{status}{_fitting(self.payload)} to {self.event!r} (ref {self.ref!r}) on {self.topic!r}"

    def concerns(self, message: Message) -> bool:
        """Tell whether it answers that message, whatever it says."""
        return (message.event, message.ref, message.topic) == ("phx_reply", self.ref, self.topic)

    def differences(self, message: Message) -> list[str]:
        """Say where status and payload do not fit."""
        reply: Reply = message.payload
        return [
            *differences(self.status, reply.status, "status"),
            *differences(self.payload, reply.payload),
        ]

    def take_captures(self, message: Message) -> None:
        """Keep what the pattern captures."""
        take_captures(self.payload, message.payload.payload)


Wanted = WantedEvent | WantedReply


def _fitting(payload: Any) -> str:
    return "" if payload is ANY else f" with {payload!r}"


class Inbox:
    """Messages that have come and were not taken yet, in order.

    `sent` knows which event a ref was for.
    """

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.sent: dict[Any, Any] = {}

    def find(self, wanted: Wanted) -> Any:
        """Return the first message that fits, or None."""
        fitting = (each for each in self.messages if wanted.concerns(each) and not wanted.differences(each))
        return next(fitting, None)

    def take(self, wanted: Wanted) -> Any:
        """Return the first message that fits, and take it out; None if there is none."""
        found = self.find(wanted)
        if found is not None:
            self.messages = [message for message in self.messages if message is not found]
            wanted.take_captures(found)
        return found

    def take_first(self, fits: Callable[[Any], bool]) -> Any:
        """Return the first message for which `fits` is true, and take it out; None if there is none."""
        found = next(filter(fits, self.messages), None)
        if found is not None:
            self.messages = [message for message in self.messages if message is not found]
        return found

    def missing(self, wanted: Wanted, hints: Sequence[str] = ()) -> str:
        """Say that there is no such message, what came instead, and where the nearest ones differ."""
        if not self.messages:
            return "\n".join([f"no {wanted}; nothing has come", *hints])
        left_out = len(self.messages) - _SHOWN
        lines = [f"no {wanted}; this has come:"]
        lines += [f"  … {left_out} earlier ones"] if left_out > 0 else []
        for message in self.messages[-_SHOWN:]:
            lines.append(f"  {self._shown(message, wanted.topic)}")
            if wanted.concerns(message):
                lines += [f"    {difference}" for difference in wanted.differences(message)]
        return "\n".join([*lines, *hints])

    def unwanted(self, wanted: Wanted, found: Any) -> str:
        """Say that a message has come that was not to."""
        return f"there was to be no {wanted}; this has come:\n  {self._shown(found, wanted.topic)}"

    def _shown(self, message: Message | Broadcast, topic: str) -> str:
        where = "" if message.topic == topic else f" on {message.topic!r}"
        if isinstance(message, Broadcast):
            return f"broadcast {message.event!r}{where} {_short(message.payload)}"
        if not isinstance(message.payload, Reply):
            return f"push {message.event!r}{where} {_short(message.payload)}"
        event, reply = self.sent.get(message.ref), message.payload
        return f"reply {reply.status!r} to {event!r} (ref {message.ref!r}){where} {_short(reply.payload)}"


def _short(payload: Any) -> str:
    text = repr(payload)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"
