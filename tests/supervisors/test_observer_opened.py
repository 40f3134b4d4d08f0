"""What is shown of values."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from actors.actor import Actor
from supervisors.observer.opened import pretty, redacted, redacted_entries

if TYPE_CHECKING:
    from actors.testing import ManualRuntime


class Account(msgspec.Struct):
    user: str
    password: str


class Sealed(msgspec.Struct):
    inside: str

    def __repr__(self) -> str:
        return "<Sealed>"


@dataclass
class Login:
    user: str
    api_token: str


Pair = namedtuple("Pair", ["user", "secret"])  # noqa: PYI024  # as authors write it too


class Plain:
    def __init__(self) -> None:
        self.user, self.secret_key, self._hidden = "ann", "s", "h"


class Slotted:
    __slots__ = ("token", "unset", "user")

    def __init__(self) -> None:
        self.user, self.token = "ann", "t"


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (1.5, "1.5"),
        ("plain", "'plain'"),
        ({"user": "ann", "password": "p"}, "{'user': 'ann', 'password': [FILTERED]}"),
        ({"a": [{"User-Token": "t"}]}, "{'a': [{'User-Token': [FILTERED]}]}"),
        ({"a": ({"secret": "t"},)}, "{'a': ({'secret': [FILTERED]},)}"),
        ({("k", 1): {2}}, "{('k', 1): {2}}"),
        (set(), "set()"),
        (b"binary", "<6 bytes>"),
        (Account("ann", "p"), "Account(user='ann', password=[FILTERED])"),
        (Sealed("p"), "<Sealed>"),
        (Login("ann", "p"), "Login(user='ann', api_token=[FILTERED])"),
        (Pair("ann", "p"), "Pair(user='ann', secret=[FILTERED])"),
        (Plain(), "Plain(user='ann', secret_key=[FILTERED])"),
        (Slotted(), "Slotted(token=[FILTERED], unset=None, user='ann')"),
        (Broken(), "<Broken that cannot be shown>"),
        (Plain, "<class 'tests.supervisors.test_observer_opened.Plain'>"),
        ("x" * 401, repr("x" * 400 + "…")),
        ([1] * 51, repr([1] * 50)[:-1] + ", … 1 more]"),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, "{'a': {'b': {'c': {'d': {…}}}}}"),
        ([[[[[1]]]]], "[[[[[…]]]]]"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else type(value).__name__,
)
def test_a_value_is_shown_short_and_without_secrets(value: Any, text: str) -> None:
    assert repr(redacted(value)) == text


def test_a_mapping_of_many_is_cut_short() -> None:
    shown = redacted_entries(dict.fromkeys(range(52)))
    assert len(shown) == 51
    assert repr(shown).endswith("49: None, …: 2 more}")


def test_the_words_that_mark_a_secret_may_be_others() -> None:
    assert repr(redacted({"password": 1, "pin": 2}, ("pin",))) == "{'password': 1, 'pin': [FILTERED]}"


def test_what_is_shown_of_a_value_leaves_the_value_as_it_is() -> None:
    value = {"password": "p", "deep": {"token": "t"}}
    redacted(value)
    assert value == {"password": "p", "deep": {"token": "t"}}


def test_an_actor_is_shown_by_its_name_however_it_is_held(runtime: ManualRuntime) -> None:
    ref = Actor.start()
    assert repr(redacted([ref, ref.process.actor])) == f"[<Actor {ref.pid}>, <Actor {ref.pid}>]"


def test_a_value_that_holds_itself_is_shown() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert repr(redacted(ring)) == "[[[[[…]]]]]"


def test_attributes_stand_on_lines_of_their_own_and_long_ones_on_several() -> None:
    state = {
        "n": 1,
        "account": Account("ann" * 10, "p"),
        "deep": {"list": ["x" * 30, "y" * 30], "next": {"a": 1}},
        "numbers": list(range(30)),
    }
    assert pretty(state, width=50).splitlines() == [
        "n = 1",
        "account = Account(",
        "    user='annannannannannannannannannann',",
        "    password=[FILTERED],",
        ")",
        "deep = {",
        "    'list': [",
        "        'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',",
        "        'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy'",
        "    ],",
        "    'next': {'a': 1},",
        "}",
        "numbers = [",
        "    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,",
        "    14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,",
        "    25, 26, 27, 28, 29",
        "]",
    ]
