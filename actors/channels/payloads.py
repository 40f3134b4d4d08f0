"""Typed payloads: the payloads of declared events are validated before a channel's callbacks get them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard, get_origin

import msgspec

from actors.channels.encoding import ENCODING_ERRORS, encode
from actors.channels.message import Reply, error
from actors.exceptions import ChannelError
from actors.pickling import Portable
from actors.redaction import safe_repr, safe_str

__all__ = ["JOIN", "InvalidPayloadError", "check_payloads", "typed"]

JOIN = "phx_join"
"""The event whose payload is that of the join."""


class InvalidPayloadError(Portable):
    """A client's payload does not validate; `reply` tells the client where and why."""

    def __init__(self, path: str, message: str) -> None:
        self.path, self.message = path, message
        self.reply: Reply = error({"reason": "invalid payload", "path": path, "message": message})
        super().__init__(f"{path}: {message}")


def typed(payload: object, kind: type) -> object:
    """Return a payload as the class declared for its event: one of its instances, or a dict for a TypedDict.

    Raises:
        InvalidPayloadError: if it does not validate.
    """
    validator = _validator_of(kind)
    if validator is not None:
        return _validated(validator, payload)
    try:
        # The keys of JSON objects are strings, whatever the declared type of the keys is.
        return msgspec.convert(payload, kind, str_keys=True, dec_hook=_decode_part)
    except msgspec.ValidationError as invalid:
        raise _invalid(str(invalid)) from invalid


def _invalid(text: str) -> InvalidPayloadError:
    """Split msgspec's text: "Expected `str`, got `int` - at `$.body`", or without a path for the payload itself."""
    message, at, path = text.rpartition(" - at ")
    if not at:
        message, path = text, "$"
    message, _, inner = message.partition(_WITHIN)
    return InvalidPayloadError(path.replace("`", "") + inner, message)


# Pydantic's models and dataclasses, without importing it


class _Validator(Protocol):
    def validate_python(self, value: object) -> object: ...

    def validate_json(self, value: bytes) -> object: ...


def _validator_of(kind: type) -> _Validator | None:
    validator: _Validator | None = getattr(kind, "__pydantic_validator__", None)
    return validator


def _validated(validator: _Validator, payload: object) -> object:
    try:
        return validator.validate_python(payload)
    except ValueError as invalid:
        first = invalid
    try:
        # A strict model takes a date, for example, as text only if that comes from JSON.
        return validator.validate_json(encode(payload))
    except ENCODING_ERRORS as second:
        raise _invalid_by_pydantic(second if hasattr(second, "errors") else first) from second


def _invalid_by_pydantic(invalid: Any) -> InvalidPayloadError:
    """Return the first error of pydantic's ValidationError."""
    first = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return InvalidPayloadError("$" + "".join(steps), first["msg"])


# Between the message and the path within a part that pydantic has validated.
_WITHIN = "\0"


def _decode_part(kind: type, part: object) -> object:
    """Decode a part of a class that msgspec does not know; it then checks that the result is of that class."""
    validator = _validator_of(kind)
    if validator is None:
        return part
    try:
        return _validated(validator, part)
    except InvalidPayloadError as invalid:
        raise ValueError(invalid.message + _WITHIN + invalid.path.removeprefix("$")) from invalid


# Declarations


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
        if not _has_fields(kind):
            raise ChannelError(
                f"{where} must be a subclass of msgspec.Struct, or another class with fields: a dataclass, a TypedDict, "
                f"a pydantic model, a class of attrs; got {safe_repr(kind)}"
            )
        _check_fields(where, kind)


def _has_fields(kind: object) -> TypeGuard[type]:
    if not isinstance(kind, type) or get_origin(kind) is not None:
        return False
    marks = ("__required_keys__", "__attrs_attrs__", "__pydantic_validator__")  # of TypedDicts, attrs and pydantic
    known = issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind)
    return known or any(hasattr(kind, mark) for mark in marks)


def _check_fields(where: str, kind: type) -> None:
    try:
        if hasattr(kind, "__pydantic_validator__"):
            getattr(kind.__pydantic_validator__, "validate_python")  # noqa: B009  # of a model with unknown names it raises
        else:
            msgspec.inspect.type_info(kind)
    except Exception as wrong:  # pydantic has errors of its own
        text = safe_str(wrong).partition("\n")[0]
        raise ChannelError(f"{where}: {kind.__name__} is not a type that can be decoded: {text}") from wrong
