"""Typed payloads: the payloads of declared events are validated before a channel's callbacks get them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from actors.channels.message import Reply, error
from actors.exceptions import ChannelError
from actors.pickling import Portable
from actors.redaction import safe_repr

__all__ = ["JOIN", "InvalidPayloadError", "check_payloads", "typed"]

JOIN = "phx_join"
"""The event whose payload is that of the join."""


class InvalidPayloadError(Portable):
    """A client's payload does not validate; `reply` tells the client where and why."""

    def __init__(self, path: str, expected: str) -> None:
        self.reply: Reply = error({"reason": "invalid payload", "path": path, "message": expected})
        super().__init__(f"{path}: {expected}")


def typed(payload: object, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Return a payload as the Struct declared for its event.

    Raises:
        InvalidPayloadError: if it does not validate.
    """
    try:
        # The keys of JSON objects are strings, whatever the declared type of the keys is.
        return msgspec.convert(payload, kind, str_keys=True)
    except msgspec.ValidationError as invalid:
        raise _invalid(str(invalid)) from invalid


def _invalid(text: str) -> InvalidPayloadError:
    """Split msgspec's text: "Expected `str`, got `int` - at `$.body`", or without a path for the payload itself."""
    expected, at, path = text.rpartition(" - at ")
    return InvalidPayloadError(path.replace("`", ""), expected) if at else InvalidPayloadError("$", text)


def check_payloads(channel: str, payloads: object) -> None:
    """Check the `payloads` of a channel class.

    Raises:
        ChannelError: if a declaration is invalid; it names the event.
    """
    if not isinstance(payloads, Mapping):
        raise ChannelError(
            f'{channel}.payloads must be a dict such as {{"new_msg": NewMessage}}, got {safe_repr(payloads)}'
        )
    for event, kind in payloads.items():
        where = f"{channel}.payloads[{event!r}]"
        if not isinstance(event, str):
            raise ChannelError(f"{where}: an event must be a str")
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            raise ChannelError(f"{where} must be a subclass of msgspec.Struct, got {safe_repr(kind)}")
        _check_fields(where, kind)


def _check_fields(where: str, kind: type[msgspec.Struct]) -> None:
    try:
        msgspec.inspect.type_info(kind)
    except (TypeError, NameError) as wrong:
        raise ChannelError(f"{where}: {kind.__name__} is not a type that can be decoded: {wrong}") from wrong
