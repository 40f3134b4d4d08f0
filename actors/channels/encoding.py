"""Payloads as JSON: what stands for a value that JSON does not have, and which part of a payload cannot be encoded."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections import UserString
from collections.abc import Callable, Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from math import isfinite
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from actors.callbacks import is_awaitable
from actors.channels.message import Broadcast, Reply, Serializer
from actors.exceptions import UnencodableError
from actors.redaction import class_name, function_name, safe_repr, safe_str

__all__ = [
    "ENCODING_ERRORS",
    "as_json",
    "as_plain",
    "decoded",
    "encode",
    "encode_finite",
    "payload_of",
    "too_deep",
    "unencodable",
    "unencodable_by",
]

ENCODING_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)
"""What serializers raise for a payload that they cannot encode; any other exception is a bug in one."""

# Characters of an event, a topic or a key in the text of an error.
_SHOWN = 100
# Levels that are searched for what cannot be encoded.
_LEVELS = 1_000

_ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
# What a subclass of these is to msgspec, which encodes only the classes themselves.
_PLAIN: dict[type, Callable[[Any], object]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: bytes.__bytes__,
    UserString: str,
    msgspec.Raw: msgspec.json.decode,
    PurePath: os.fspath,
    Mapping: dict,
    AbstractSet: list,
    Sequence: list,
    ValuesView: list,
    **dict.fromkeys(_ADDRESSES, str),
}

# Sequences without parts of their own.
_TEXTS = (str, bytes, bytearray, UserString)

# msgspec encodes them, but not as keys.
_ONLY_AS_KEYS = (dict, list, tuple, set, frozenset, bool, type(None))


def as_plain(value: Any) -> object:
    """Return what is encoded for a value of a class that msgspec does not know; for the `enc_hook` of a serializer.

    A pydantic model becomes what its `model_dump(mode="json")` returns. Other mappings become a dict, other sequences, sets and
    views of a dict a list, UserStrings, paths and IP addresses text; subclasses of str, int, float and bytes the plain value.

    Raises:
        TypeError: if there is no such form.
    """
    kind = type(value)
    if kind in _ONLY_AS_KEYS:
        raise TypeError("Only dicts with str-like or number-like keys are supported")
    if callable(getattr(kind, "model_dump", None)):
        return value.model_dump(mode="json")
    for known, convert in _PLAIN.items():
        if isinstance(value, known):
            return convert(value)
    raise TypeError(f"Encoding objects of type {kind.__qualname__} is unsupported")


encode = msgspec.json.Encoder(enc_hook=as_plain).encode
"""Encode a value as JSON."""


def encode_finite(value: object) -> bytes:
    """Encode a value as JSON, but no number that JSON does not have.

    Raises:
        ValueError: for NaN and the infinities.
    """
    data = encode(value)
    if b"null" in data:
        _check_finite(msgspec.to_builtins(value, enc_hook=as_plain))
    return data


def _check_finite(value: object) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is not a number in JSON")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    for part in value if isinstance(value, list | tuple) else ():
        _check_finite(part)


def as_json(what: str, payload: object) -> bytes:
    """Encode a payload as JSON; `what` names it in the error.

    Raises:
        UnencodableError: naming the part that cannot be encoded.
    """
    try:
        return encode(payload)
    except ENCODING_ERRORS as error:
        raise unencodable(error, what, payload, encode) from None


def decoded(broadcast: Broadcast) -> Broadcast:
    """Return a broadcast with a payload that can be read: one from another process, which has JSON text, is decoded."""
    if type(broadcast.payload) is not msgspec.Raw:
        return broadcast
    return Broadcast(broadcast.topic, broadcast.event, msgspec.json.decode(broadcast.payload))


# What cannot be encoded


class _Flaw(NamedTuple):
    """The part of a payload that cannot be encoded."""

    path: str
    why: str


def unencodable_by(serializer: Serializer, error: Exception, what: str, payload: object) -> Exception:
    """Return the error to raise because a serializer could not encode a payload: see `unencodable`."""
    # In a list, as not every serializer has a form for bytes as the whole payload.
    return unencodable(error, what, payload, lambda part: serializer.encode_reply(None, None, "", Reply("ok", [part])))


def payload_of(event: object, topic: object) -> str:
    """Return how a payload is named in errors."""
    return f"payload of {safe_repr(event, _SHOWN)} on {safe_repr(topic, _SHOWN)}"


def too_deep(error: RecursionError) -> UnencodableError:
    """Return the error for a payload that is nested deeper than Python can recurse."""
    return UnencodableError(f"a payload is nested too deep to be encoded as JSON: {error}", "$")


def unencodable(error: Exception, what: str, payload: object, encode_part: Callable[[Any], object]) -> Exception:
    """Return the error to raise because a payload could not be encoded: it names the part at fault.

    `encode_part` encodes any JSON value. If it cannot encode even null, it is not the payload: `error` itself is returned.
    """
    if isinstance(error, UnencodableError):
        return UnencodableError(f"{what}: {error}", error.path)
    if isinstance(error, RecursionError):
        return UnencodableError(f"{what}: {too_deep(error)}", "$")
    flaw = _find(payload, encode_part) if _failure(encode_part, None) is None else None
    if flaw is not None:
        return UnencodableError(f"{what} at {flaw.path}: {flaw.why}", flaw.path)
    if isinstance(error, UnicodeEncodeError):
        return UnencodableError(f"{what}: the event or the topic has a lone surrogate, which UTF-8 does not have")
    return error


def _find(value: object, encode_part: Callable[[Any], object]) -> _Flaw | None:
    """Return the innermost part that cannot be encoded on its own; None if the whole can be."""
    failure, path = _failure(encode_part, value), "$"
    if failure is None:
        return None
    for _ in range(_LEVELS):
        inner = _first_failing(value, encode_part)
        if inner is None:
            break
        step, value, failure = inner
        path += step
    key = _first_failing_key(value, encode_part)
    return _Flaw(path, _why(value, failure)) if key is None else _Flaw(path, f"the key {key[0]}: {key[1]}")


def _failure(encode_part: Callable[[Any], object], part: object) -> Exception | None:
    try:
        encode_part(part)
    except Exception as error:  # noqa: BLE001  # code of the author's too, such as a `model_dump`
        return error
    return None


def _first_failing(value: object, encode_part: Callable[[Any], object]) -> tuple[str, object, Exception] | None:
    for step, part in _parts(value):
        failure = _failure(encode_part, part)
        if failure is not None:
            return step, part, failure
    return None


def _first_failing_key(value: object, encode_part: Callable[[Any], object]) -> tuple[str, str] | None:
    if isinstance(value, Mapping):
        for key in value:
            failure = _failure(encode_part, {key: None})
            if failure is not None:
                return safe_repr(key, _SHOWN), _why(key, failure)
    return None


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    """Yield the parts of a value with the steps that lead to them; nothing if the author's code fails."""
    try:
        if callable(getattr(type(value), "model_dump", None)):
            value = _fields_of_model(value)
        if isinstance(value, Mapping):
            yield from [(_step(key), part) for key, part in value.items()]
        elif isinstance(value, Sequence | AbstractSet | ValuesView) and not isinstance(value, _TEXTS):
            yield from [(f"[{index}]", part) for index, part in enumerate(value)]
        else:
            yield from [(_step(name), getattr(value, name)) for name in _fields(value) if hasattr(value, name)]
    except Exception:  # noqa: BLE001  # then the value as a whole is at fault
        return


def _fields_of_model(model: Any) -> object:
    """Return what a pydantic model is encoded as, or its fields as they are if one of them prevents that."""
    try:
        return model.model_dump(mode="json")
    except Exception:  # noqa: BLE001  # pydantic's error does not say where
        return dict(model)


def _step(key: object) -> str:
    return f".{safe_str(key, _SHOWN)}" if isinstance(key, str) else f"[{safe_repr(key, _SHOWN)}]"


def _fields(value: Any) -> Sequence[str]:
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [field.name for field in dataclasses.fields(value)]
    return [attribute.name for attribute in getattr(type(value), "__attrs_attrs__", ())]


def _why(value: object, failure: Exception) -> str:
    """Say why a value cannot be encoded, and what to write where the mistake is a common one."""
    if is_awaitable(value):
        return f"{_awaitable(value)}: an `await` is missing"
    if inspect.isasyncgen(value):
        return f"an asynchronous generator of {function_name(value)}(); write [each async for each in …]"
    if inspect.isgenerator(value):
        return f"a generator of {function_name(value)}(); write list(…)"
    if isinstance(value, Iterator):
        return f"an iterator of the class {class_name(value)}; write list(…)"
    if inspect.isroutine(value) or isinstance(value, type):
        return f"{safe_repr(value, _SHOWN)} is not a value; is it to be called?"
    if isinstance(failure, UnicodeEncodeError):
        return f"{safe_repr(value, _SHOWN)} has a lone surrogate, which UTF-8 does not have"
    text = safe_str(failure)
    return f"{text}; make it a dict, a dataclass or a msgspec.Struct" if text.startswith(_UNSUPPORTED) else text


_UNSUPPORTED = "Encoding objects of type"


def _awaitable(value: Any) -> str:
    """Describe what was not awaited; a coroutine is closed, so that Python does not warn of it too."""
    if not inspect.iscoroutine(value):
        return f"a {class_name(value)}"
    value.close()
    return f"a coroutine of {function_name(value, '__qualname__')}()"
