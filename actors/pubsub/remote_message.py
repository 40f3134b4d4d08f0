r"""The form in which messages go from process to process: a header, one line of JSON, and behind it the payload as it is.

    {"event":"new_msg","node":"web-1:812","run":"3q2-7w","seq":17}\n
    {"user":"ann","body":"hi"}

The payload of a broadcast is its JSON text, or the bytes of a binary one. It is not part of the header, so that a process whose
subscribers are all clients passes it on without reading it. The form is documented for other programs in `docs/scaling.md`.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec

from actors.channels.encoding import as_json, payload_of
from actors.channels.message import Broadcast
from actors.redaction import safe_repr

__all__ = ["Header", "RemoteMessageError", "pack", "text_or_bytes", "unpack"]


class RemoteMessageError(ValueError):
    """What was received is not a message between processes."""


class Header(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The header of a message. A program that does not number its messages leaves out all but the first three.

    - `event`: the event of a broadcast; None for any other message, which reaches actors only.
    - `binary`: whether the payload is bytes and not JSON.
    - `topic`: the topic of the broadcast, if it is not the one that it was published on.
    - `node`: the name of the process that has published it, for people.
    - `run`: a random text that the process has drawn when it started: another one after a restart.
    - `seq`: the number of the message among those of this run on this topic, which grows by one.
    - `start`: the number from which `seq` has counted.
    - `epoch`, `offset`: its place in the history of the topic, if that has one.
    - `sender`: in a history, the number of the connection of that process which is not to get it; 0 for none.
    """

    event: str | None = None
    binary: bool = False
    topic: str | None = None
    node: str = ""
    run: str = ""
    seq: int = 0
    start: int = 1
    epoch: str | None = None
    offset: int | None = None
    sender: int = 0

    def message(self, topic: str, payload: bytes) -> object:
        """Return the message that was published on `topic`; the payload of a broadcast is JSON text (`Raw`), or bytes."""
        if self.event is None:
            return payload if self.binary else msgspec.json.decode(payload)
        return Broadcast(self.topic or topic, self.event, payload if self.binary else msgspec.Raw(payload))


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Header).decode


def text_or_bytes(topic: str, message: object) -> bytes:
    """Return the payload of a message in the form in which it leaves this process.

    Raises:
        TypeError: if it cannot leave: the payload of a broadcast has no form in JSON, or another message is neither bytes nor
            a value that JSON has.
        UnicodeEncodeError: if the event or the topic of a broadcast has a lone surrogate.
    """
    if type(message) is Broadcast:
        f"{message.event}{message.topic}".encode()
        payload = message.payload
        return payload if isinstance(payload, bytes) else as_json(payload_of(message.event, topic), payload)
    if isinstance(message, bytes):
        return message
    if not _is_plain(message):
        raise TypeError(
            "only a Broadcast, bytes, and what JSON has (dicts with text as keys, lists, text, numbers, booleans, None) "
            f"can be sent to other processes, got {safe_repr(message)}; local_broadcast() sends anything within this one"
        )
    return as_json(f"a message on {safe_repr(topic)}", message)


def pack(header: Header, payload: bytes) -> bytes:
    """Return a message as it leaves this process; the payload is what `text_or_bytes` has returned for it."""
    return b"%b\n%b" % (_encode(header), payload)


def _is_plain(value: object) -> bool:
    """Return whether a value is the same after it was encoded as JSON and decoded."""
    if isinstance(value, dict):
        return type(value) is dict and all(type(key) is str and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return type(value) is list and all(map(_is_plain, value))
    return type(value) in (str, int, bool, type(None)) or (type(value) is float and isfinite(value))


def unpack(data: bytes) -> tuple[Header, bytes]:
    """Return the header of a message from another process, and its payload.

    The payload of a program that does not number its messages is checked: it may be any program. That of our own processes was
    encoded by this module.

    Raises:
        RemoteMessageError: if it is not such a message.
    """
    line, newline, payload = data.partition(b"\n")
    if not newline:
        raise RemoteMessageError(f"a message must be a line of JSON and a payload, got {safe_repr(data)}")
    try:
        header = _decode(line)
        if not header.run:
            _check(header, payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise RemoteMessageError(f"{error}, got {safe_repr(data)}") from None
    return header, payload


def _check(header: Header, payload: bytes) -> None:
    if not header.binary:
        msgspec.json.decode(payload, type=Any if header.event is None else dict)
