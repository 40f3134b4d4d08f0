"""What the Presences of several processes tell each other, as JSON in bytes: a message of PubSub on a reserved topic.

    {"type":"diff","node":"web-1:812","run":"3q2-7w","clock":18,"joins":{"room:1":{"ann":[{"phx_ref":"…"}]}},"leaves":{}}

A meta stays JSON text until it is needed.
"""

from __future__ import annotations

from typing import Any

import msgspec

from actors.redaction import safe_repr

__all__ = [
    "PresenceBeat",
    "PresenceDiff",
    "PresenceEnd",
    "PresenceRequest",
    "PresenceState",
    "ReplicaMessage",
    "ReplicaMessageError",
    "pack_message",
    "read_meta",
    "unpack_message",
]

# {topic: {key: [meta, …]}}, and with the `phx_ref` of each meta in its place.
Joins = dict[str, dict[str, list[msgspec.Raw]]]
Leaves = dict[str, dict[str, list[str]]]


class ReplicaMessageError(ValueError):
    """What was received is not a message between Presences."""


class ReplicaMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """What each message says of its sender.

    - `node`: the name of its process.
    - `run`: a random text, another one after each start.
    - `clock`: how many diffs it has sent.
    """

    node: str
    run: str
    clock: int


class PresenceBeat(ReplicaMessage, tag="beat", frozen=True):
    """It is alive."""


class PresenceDiff(ReplicaMessage, tag="diff", frozen=True):
    """What has changed since the diff before; `clock` counts this one."""

    joins: Joins = {}
    leaves: Leaves = {}


class PresenceRequest(ReplicaMessage, tag="request", frozen=True):
    """It asks for all presences of the one that it is sent to; `number` is repeated in the answer."""

    number: int


class PresenceState(ReplicaMessage, tag="state", frozen=True):
    """A part of the answer: presences as they were at `clock`. Parts are numbered from 0."""

    number: int
    part: int
    is_last: bool
    joins: Joins = {}


class PresenceEnd(ReplicaMessage, tag="end", frozen=True):
    """It ends, and its presences with it."""


Message = PresenceBeat | PresenceDiff | PresenceRequest | PresenceState | PresenceEnd

pack_message = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Message).decode


def unpack_message(data: bytes) -> Message:
    """Return the message in `data`.

    Raises:
        ReplicaMessageError: if there is none.
    """
    try:
        message = _decode(data)
        if isinstance(message, PresenceDiff | PresenceState):
            _check(message.joins)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ReplicaMessageError(f"{error}, got {safe_repr(data)}") from None
    return message


def _check(joins: Joins) -> None:
    for of_topic in joins.values():
        for metas in of_topic.values():
            for meta in metas:
                if not isinstance(read_meta(bytes(meta)).get("phx_ref"), str):
                    raise msgspec.ValidationError("a meta has no phx_ref")


read_meta = msgspec.json.Decoder(dict[str, Any]).decode
"""Return a meta from its JSON text."""
