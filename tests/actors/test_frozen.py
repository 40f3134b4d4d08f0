"""Frozen broadcasts: later changes of their payloads are not seen in them."""

from __future__ import annotations

import collections
import dataclasses
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from actors.channels.frozen import frozen, frozen_payload
from actors.channels.message import Broadcast
from actors.pickling import Local


class Point(msgspec.Struct, frozen=True):
    x: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    a: Any


class Pair(NamedTuple):
    a: Any


class Model(pydantic.BaseModel):
    a: Any


class Attribute:
    name = "a"


class OfAttrs:
    __attrs_attrs__ = (Attribute,)

    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OfAttrs) and self.a == other.a

    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize(
    "around",
    [
        lambda inner: {"a": inner},
        lambda inner: [inner],
        lambda inner: (inner,),
        lambda inner: collections.OrderedDict(a=inner),
        lambda inner: collections.defaultdict(list, a=inner),
        lambda inner: collections.deque([inner]),
        Pair,
        Point,
        Record,
        OfAttrs,
        lambda inner: Model(a=inner),
        lambda inner: {"a": [Point({"b": Record((inner,))})]},
    ],
)
def test_later_changes_are_not_seen(around: Any) -> None:
    inner: list[Any] = [1]
    payload, before = around(inner), around([1])
    copied = frozen_payload(payload)
    inner.append(2)
    assert copied == before
    assert type(copied) is type(payload)
    assert payload != before


def test_sets_bytearrays_views_and_other_mappings_are_copied() -> None:
    names, data, table = {"a"}, bytearray(b"a"), {"a": 1}
    payload = {"set": names, "data": data, "views": [table.keys(), table.values()], "proxy": MappingProxyType(table)}
    copied = frozen_payload(payload)
    names.add("b")
    data += b"b"
    table["b"] = 2
    assert copied == {"set": {"a"}, "data": b"a", "views": [["a"], [1]], "proxy": {"a": 1}}


def test_handles_and_objects_of_other_classes_are_shared() -> None:
    ref, other = Local(), object()
    copied = frozen_payload({"ref": ref, "other": other})
    assert copied["ref"] is ref
    assert copied["other"] is other


def test_what_cannot_be_copied_is_shared() -> None:
    payload: dict[str, Any] = {}
    payload["itself"] = payload
    assert frozen_payload(payload) is payload


def test_only_broadcasts_are_frozen() -> None:
    message, payload = {"a": [1]}, {"a": [1]}
    assert frozen(message) is message
    broadcast = Broadcast("t", "e", payload)
    assert frozen(broadcast) == broadcast
    assert frozen(broadcast).payload is not payload  # type: ignore[attr-defined]  # it is a Broadcast
