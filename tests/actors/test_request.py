"""Requests are ordinary messages."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import pytest

from actors.actor import Actor
from actors.request import Request
from actors.testing import ManualRuntime

T = TypeVar("T")


class Plain(Request[Any]):
    pass


@dataclass
class Changing(Request[Any]):
    key: str = "key"


@dataclass(frozen=True, slots=True)
class Frozen(Request[Any]):
    key: str = "key"


@dataclass(frozen=True, slots=True)
class OfAnyKey(Request[T], Generic[T]):
    key: T


class Struct(msgspec.Struct, Request[Any], frozen=True):
    key: str = "key"


class StructFirst(Request[Any], msgspec.Struct, tag=True, array_like=True):
    key: str = "key"


class _Key(NamedTuple):
    key: str = "key"


class Named(_Key, Request[Any]):
    __slots__ = ()


class Switch(Request[Any], enum.Enum):
    ON = "on"


class Echo(Actor):
    def on_receive(self, message: object) -> object:
        return message


MESSAGES = [Plain(), Changing(), Frozen(), OfAnyKey("key"), Struct(), StructFirst(), Named(), Switch.ON]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_request_of_any_kind_of_class_arrives_as_it_is(message: Request[Any]) -> None:
    with ManualRuntime() as runtime:
        assert runtime.ask(Echo.start(), message) is message


@pytest.mark.parametrize("make", [Frozen, Struct, StructFirst, Named], ids=lambda make: make.__name__)
def test_a_request_adds_nothing_to_a_message_with_slots(make: Callable[[], Any]) -> None:
    assert not hasattr(make(), "__dict__")
    assert make() == make()


def test_a_request_that_is_a_struct_is_encoded_and_decoded() -> None:
    for message in (Struct("a"), StructFirst("a")):
        assert msgspec.json.decode(msgspec.json.encode(message), type=type(message)) == message


def test_a_named_tuple_itself_has_no_other_base() -> None:
    with pytest.raises(TypeError, match="can only inherit from a NamedTuple type"):
        exec("class Key(NamedTuple, Request[int]): key: str", globals())  # noqa: S102  # for mypy it is an error too
