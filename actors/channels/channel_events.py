"""What channels report to telemetry and the log: Phoenix's events and lines, and some that Phoenix does not have.

Each function is called where the event happens. Without a handler and below the log level it costs one or two look-ups.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from actors import telemetry
from actors.log import Log
from actors.redaction import Shown, printable, shown

if TYPE_CHECKING:
    from actors.channels.channel_socket import ChannelSocket
    from actors.channels.message import Message, Reply
    from actors.exits import ExitReason
    from actors.ref import ActorRef

__all__ = [
    "HANDLED_IN",
    "JOINED",
    "LEFT",
    "LEVELS",
    "PUSH",
    "ReportedChannel",
    "channel_handled_in",
    "channel_joined",
    "channel_left",
    "handled_in_is_watched",
    "level",
    "pushed",
    "took",
]

JOINED = ("phoenix", "channel_joined")
HANDLED_IN = ("phoenix", "channel_handled_in")
LEFT = ("ashtree", "channel_left")
PUSH = ("ashtree", "push")

_log = Log("ashtree.channels")
LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


class ReportedChannel(Protocol):
    """What is reported of a channel."""

    @property
    def actor_ref(self) -> ActorRef:
        """The channel, to be named in events."""

    @property
    def socket(self) -> ChannelSocket:
        """Its socket."""

    @property
    def join_payload(self) -> object:
        """What the client sent with its join."""

    @property
    def log_join(self) -> str | None:
        """The log level of joins."""

    @property
    def log_handle_in(self) -> str | None:
        """The log level of handled messages."""


def took(seconds: float) -> str:
    """Format a duration as Phoenix's log does."""
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}ms" if milliseconds >= 1 else f"{milliseconds * 1000:.0f}µs"


def level(name: str | None, log: Log = _log) -> int | None:
    """Return the number of a log level such as "info"; None if that level is disabled.

    Raises:
        KeyError: if there is no such level.
    """
    number = LEVELS[name] if name is not None else None
    return number if number is not None and log.is_enabled_for(number) else None


def channel_joined(channel: ReportedChannel, reply: Reply, duration: float) -> None:
    """Report a join that was answered after `duration` seconds."""
    params = channel.join_payload
    if JOINED in telemetry.attached:
        result = "ok" if reply.status == "ok" else "error"
        telemetry.execute(JOINED, {"duration": duration}, _about(channel) | {"result": result, "params": params})
    number = level(channel.log_join)
    if number is not None:
        verb = "JOINED" if reply.status == "ok" else "REFUSED JOIN"
        text = "%s %s in %s\n  Parameters: %s"
        topic, payload = _shown(channel, channel.socket.topic, params)
        _log.log(number, text, verb, topic, took(duration), payload)


def handled_in_is_watched(channel: ReportedChannel) -> bool:
    """Return whether handled messages are reported, so that their duration has to be measured."""
    if telemetry.attached and HANDLED_IN in telemetry.attached:
        return True
    name = channel.log_handle_in
    return name is not None and _log.is_enabled_for(LEVELS[name])


def channel_handled_in(channel: ReportedChannel, message: Message, duration: float) -> None:
    """Report a message of the client that was handled in `duration` seconds."""
    if HANDLED_IN in telemetry.attached:
        about = {"ref": message.ref, "event": message.event, "params": message.payload}
        telemetry.execute(HANDLED_IN, {"duration": duration}, _about(channel) | about)
    number = level(channel.log_handle_in)
    if number is not None:
        text = "HANDLED %s INCOMING ON %s (%s) in %s\n  Parameters: %s"
        event, topic, payload = _shown(channel, message.event, channel.socket.topic, message.payload)
        _log.log(number, text, event, topic, type(channel).__name__, took(duration), payload)


def _shown(channel: ReportedChannel, *chosen: object) -> list[Shown]:
    """Return what a client chose as text, a str as it is except for the last, the parameters; bounded as a whole."""
    left, texts = channel.socket.log_line, list[Shown]()
    for number, value in enumerate(chosen, 1):
        if isinstance(value, str) and number < len(chosen):
            text = printable(value, left)
        else:
            text = shown(value, channel.socket.filter_parameters, left)
        texts.append(Shown(text))
        left = max(0, left - len(text))
    return texts


def pushed(channel: ReportedChannel, event: str) -> None:
    """Report an event that a channel pushed to its client."""
    if telemetry.attached and PUSH in telemetry.attached:
        telemetry.execute(PUSH, {"count": 1}, _about(channel) | {"event": event})


def channel_left(channel: ReportedChannel, reason: ExitReason) -> None:
    """Report that a joined channel ends; a channel that is killed is not reported."""
    if LEFT in telemetry.attached:
        telemetry.execute(LEFT, {"count": 1}, _about(channel) | {"reason": reason})


def _about(channel: ReportedChannel) -> dict[str, object]:
    return {"channel": channel.actor_ref, "topic": channel.socket.topic, "socket": channel.socket}
