"""What channels tell telemetry and the log: Phoenix's events and lines, and those that Phoenix lacks.

Each function is called where the thing happens. It costs a look-up or two when nobody listens and the level is not logged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from actors import telemetry
from actors.redaction import SECRETS, filter_parameters

if TYPE_CHECKING:
    from actors.channel import Channel
    from actors.channels.message import Message, Reply
    from actors.exits import ExitReason
    from actors.pubsub.pubsub import PubSub

__all__ = [
    "BROADCAST",
    "HANDLED_IN",
    "JOINED",
    "LEFT",
    "LEVELS",
    "PUSH",
    "broadcast",
    "channel_handled_in",
    "channel_joined",
    "channel_left",
    "handled_in_is_watched",
    "level",
    "pushed",
    "secrets_of",
    "took",
]

JOINED = ("phoenix", "channel_joined")
HANDLED_IN = ("phoenix", "channel_handled_in")
LEFT = ("ashtree", "channel_left")
PUSH = ("ashtree", "push")
BROADCAST = ("ashtree", "broadcast")

_log = logging.getLogger("ashtree.channels")
LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}


def took(seconds: float) -> str:
    """Write a duration as Phoenix's log does."""
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}ms" if milliseconds >= 1 else f"{milliseconds * 1000:.0f}µs"


def level(name: str | None, log: logging.Logger = _log) -> int | None:
    """Return the number of a log level such as "info"; None if nothing is to be logged at it now.

    Raises:
        KeyError: if there is no such level.
    """
    number = LEVELS[name] if name is not None else None
    return number if number is not None and log.isEnabledFor(number) else None


def secrets_of(channel: Channel) -> Sequence[str]:
    """Return the names of the parameters that its endpoint keeps out of the log."""
    secrets: Sequence[str] = getattr(channel.socket.endpoint, "filter_parameters", SECRETS)
    return secrets


def channel_joined(channel: Channel, reply: Reply, duration: float) -> None:
    """A join was answered, after `duration` seconds."""
    params = channel.join_payload
    if JOINED in telemetry.attached:
        result = "ok" if reply.status == "ok" else "error"
        telemetry.execute(JOINED, {"duration": duration}, _about(channel) | {"result": result, "params": params})
    number = level(channel.log_join)
    if number is not None:
        verb = "JOINED" if reply.status == "ok" else "REFUSED JOIN"
        text = "%s %s in %s\n  Parameters: %r"
        _log.log(number, text, verb, channel.topic, took(duration), filter_parameters(params, secrets_of(channel)))


def handled_in_is_watched(channel: Channel) -> bool:
    """Tell whether anybody wants to know of handled messages, and so how long they took."""
    if telemetry.attached and HANDLED_IN in telemetry.attached:
        return True
    name = channel.log_handle_in
    return name is not None and _log.isEnabledFor(LEVELS[name])


def channel_handled_in(channel: Channel, message: Message, duration: float) -> None:
    """A message of the client was handled, after `duration` seconds."""
    if HANDLED_IN in telemetry.attached:
        about = {"ref": message.ref, "event": message.event, "params": message.payload}
        telemetry.execute(HANDLED_IN, {"duration": duration}, _about(channel) | about)
    number = level(channel.log_handle_in)
    if number is not None:
        text = "HANDLED %s INCOMING ON %s (%s) in %s\n  Parameters: %r"
        name = type(channel).__name__
        params = filter_parameters(message.payload, secrets_of(channel))
        _log.log(number, text, message.event, channel.topic, name, took(duration), params)


def pushed(channel: Channel, event: str) -> None:
    """A channel pushed an event to its client."""
    if telemetry.attached and PUSH in telemetry.attached:
        telemetry.execute(PUSH, {"count": 1}, _about(channel) | {"event": event})


def broadcast(pubsub: PubSub, topic: str, message: object, deliveries: int, duration: float) -> None:
    """A message was put into the mailboxes of all subscribers of a topic; to be called if BROADCAST is attached."""
    about = {"pubsub": pubsub, "topic": topic, "message": message}
    telemetry.execute(BROADCAST, {"deliveries": deliveries, "duration": duration}, about)


def channel_left(channel: Channel, reason: ExitReason) -> None:
    """A channel that was joined ends; not told of one that is killed."""
    if LEFT in telemetry.attached:
        telemetry.execute(LEFT, {"count": 1}, _about(channel) | {"reason": reason})


def _about(channel: Channel) -> dict[str, Any]:
    return {"channel": channel.actor_ref, "topic": channel.topic, "socket": channel.socket}
