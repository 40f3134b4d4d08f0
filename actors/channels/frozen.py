"""Broadcasts that are frozen: what their sender changes later is not changed in them."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any

import msgspec

from actors.channels.message import Broadcast

__all__ = ["frozen", "frozen_payload"]


def frozen(message: object) -> object:
    """Return a message as it is now: a `Broadcast` with a copy of its payload, any other message itself."""
    if type(message) is not Broadcast:
        return message
    return Broadcast(message.topic, message.event, frozen_payload(message.payload))


def frozen_payload(payload: Any) -> Any:
    """Return a copy of a payload, of its containers and records at any depth; all other values are shared.

    Mappings that are no dict become one, and the views of a dict lists.
    What contains itself, or cannot be copied, is shared as it is.
    """
    try:
        return _copied(payload)
    except Exception:  # noqa: BLE001  # a class of the author's, with a `__copy__` or `__setattr__` of its own
        return payload


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _copied(inner) for key, inner in value.items()}
    if kind is list or kind is tuple:
        return kind(map(_copied, value))
    if kind in _VALUES:
        return value
    if isinstance(value, tuple) and hasattr(kind, "_make"):
        return kind._make(map(_copied, value))
    return _copy_of_other(value)


_VALUES = frozenset((str, int, float, bool, type(None), bytes, frozenset))


def _copy_of_other(value: Any) -> Any:
    """Copy an object of a class that is not built in, if it is a container or a record."""
    if isinstance(value, dict | list | deque):
        copied = copy.copy(value)
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            copied[key] = _copied(value[key])
        return copied
    if isinstance(value, Mapping):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, KeysView | ValuesView | ItemsView):
        return [_copied(inner) for inner in value]
    if isinstance(value, set | bytearray):
        return copy.copy(value)
    if callable(getattr(type(value), "model_copy", None)):
        return value.model_copy(update={name: _copied(inner) for name, inner in dict(value).items()})
    return _copy_of_record(value)


def _copy_of_record(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        names, set_field = value.__struct_fields__, msgspec.structs.force_setattr
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        names, set_field = tuple(field.name for field in dataclasses.fields(value)), object.__setattr__
    elif hasattr(type(value), "__attrs_attrs__"):
        names, set_field = tuple(each.name for each in type(value).__attrs_attrs__), object.__setattr__
    else:
        return value
    copied = copy.copy(value)
    for name in names:
        if hasattr(value, name):
            set_field(copied, name, _copied(getattr(value, name)))
    return copied
